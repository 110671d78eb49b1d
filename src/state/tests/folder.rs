use super::*;
use crate::base::faults::Faults;
use crate::state::folder::{Held, is_held};
use crate::state::names::ASIDE;
use crate::state::names::HELD;
use crate::state::names::JOURNAL;
use crate::state::names::KEY;
use crate::state::names::KEY_ASIDE;
use crate::state::names::LOCK;

#[test]
fn one_process_has_the_folder_and_another_takes_over_once_it_is_free() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.rewrite(b"1", &[b"[]".to_vec()], &[], &[]).unwrap();
    let second = Journal::open(Files::default(), &folder.0);
    assert!(matches!(second, Err(StateError::Locked { .. })));
    assert!(matches!(repair(&folder.0), Err(StateError::Locked { .. })));
    assert_eq!(Found::read(&Files::default(), &folder.0).unwrap().state.as_deref(), Some(b"1".as_slice()));
    drop(journal);
    assert_eq!(folder.open().1.state.as_deref(), Some(b"1".as_slice()));
}

#[test]
fn folders_are_made_with_those_above_them() {
    let folder = Folder::new();
    let deep = folder.path("a").join("b");
    let (mut journal, _) = Journal::open(Files::default(), &deep).unwrap();
    journal.rewrite(b"1", &[b"[]".to_vec()], &[], &[]).unwrap();
    assert!(deep.join(JOURNAL).is_file());
}

#[test]
fn a_folder_that_is_none_and_one_that_is_missing_are_told() {
    let folder = Folder::with(b"");
    let file = folder.path(JOURNAL);
    assert!(matches!(Journal::open(Files::default(), &file), Err(StateError::Disk { .. })));
    assert!(matches!(repair(folder.path("none")), Err(StateError::Missing { .. })));
    assert!(matches!(history(folder.path("none")), Err(StateError::Missing { .. })));
    assert!(!folder.path("none").exists(), "nothing is made by looking");
}

#[test]
fn what_was_being_written_when_a_process_ended_is_removed() {
    let folder = Folder::with(b"");
    fs::remove_file(folder.path(JOURNAL)).unwrap();
    fs::write(folder.path(ASIDE), b"half").unwrap();
    fs::write(folder.path(KEY_ASIDE), b"half").unwrap();
    let (_journal, found) = folder.open();
    assert_eq!(found, Found::default());
    assert!(!folder.path(ASIDE).exists() && !folder.path(KEY_ASIDE).exists());
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_the_files_or_write_to_the_folder() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.rewrite(b"1", &[b"[]".to_vec()], &[], &[]).unwrap();
    secret(&Files::default(), &folder.0).unwrap();
    drop(journal);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.0), 0o700);
    for name in [JOURNAL, LOCK, KEY] {
        assert_eq!(mode(&folder.path(name)), 0o600, "{name}");
    }
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o702)).unwrap();
    assert!(matches!(Journal::open(Files::default(), &folder.0), Err(StateError::NotPrivate { .. })));
    assert!(matches!(Found::read(&Files::default(), &folder.0), Err(StateError::NotPrivate { .. })));
    // As those set it who manage volumes; also on what is in it.
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(Found::read(&Files::default(), &folder.0).unwrap().mended);
    assert_eq!(mode(&folder.0), 0o750);
    assert!(!folder.open().1.mended);
    fs::set_permissions(folder.path(KEY), fs::Permissions::from_mode(0o660)).unwrap();
    assert!(folder.open().1.mended);
    assert_eq!(mode(&folder.path(KEY)), 0o640);
    fs::set_permissions(folder.path(JOURNAL), fs::Permissions::from_mode(0o606)).unwrap();
    assert!(matches!(Journal::open(Files::default(), &folder.0), Err(StateError::NotPrivate { .. })));
    fs::set_permissions(folder.path(JOURNAL), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    folder.open();
}

#[cfg(unix)]
#[test]
fn links_are_not_followed() {
    let real = Folder::new();
    real.open().0.rewrite(b"1", &[b"[]".to_vec()], &[], &[]).unwrap();
    for name in [JOURNAL, LOCK, KEY] {
        let folder = Folder::new();
        folder.open();
        let _ = fs::remove_file(folder.path(name));
        std::os::unix::fs::symlink(real.path(JOURNAL), folder.path(name)).unwrap();
        let opened = Journal::open(Files::default(), &folder.0).map(|_| ());
        let opened = opened.and_then(|()| secret(&Files::default(), &folder.0));
        assert!(matches!(opened, Err(StateError::NotPlain { .. })), "{name}: {opened:?}");
    }
    let folder = Folder::new();
    folder.open();
    fs::create_dir(folder.path(JOURNAL)).unwrap();
    assert!(matches!(Journal::open(Files::default(), &folder.0), Err(StateError::NotPlain { .. })));
    assert!(matches!(history(&folder.0), Err(StateError::NotPlain { .. })));
}

#[cfg(unix)]
#[test]
fn a_journal_that_was_removed_is_written_again_and_one_that_was_replaced_is_left_alone() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.rewrite(b"1", &[b"[]".to_vec()], &[b"a".to_vec()], &[]).unwrap();
    fs::remove_file(folder.path(JOURNAL)).unwrap();
    assert!(matches!(journal.append(&[state("2")]), Err(StateError::Replaced { .. })));
    assert_eq!(journal.wants_rewrite(), Some(Why::Failed));
    journal.rewrite(b"2", &[b"[]".to_vec()], &[b"b".to_vec()], &[]).unwrap();
    assert_eq!(Snapshot::now(&folder).events, ["a", "b"]);

    fs::rename(folder.path(JOURNAL), folder.path("old")).unwrap();
    fs::copy(folder.path("old"), folder.path(JOURNAL)).unwrap();
    assert!(matches!(journal.append(&[state("3")]), Err(StateError::Replaced { .. })));
    assert!(matches!(journal.rewrite(b"3", &[b"[]".to_vec()], &[], &[]), Err(StateError::Replaced { .. })));
    fs::rename(folder.path("old"), folder.path(JOURNAL)).unwrap();
    journal.rewrite(b"4", &[b"[]".to_vec()], &[], &[]).unwrap();

    fs::remove_file(folder.path(LOCK)).unwrap();
    let (second, _) = folder.open();
    assert!(matches!(journal.append(&[state("5")]), Err(StateError::Replaced { .. })));
    assert!(matches!(journal.rewrite(b"5", &[b"[]".to_vec()], &[], &[]), Err(StateError::Replaced { .. })));
    assert_eq!(Snapshot::now(&folder).state.as_deref(), Some("4"));
    drop(second);
}

#[test]
fn a_journal_that_appears_after_a_first_start_is_left_alone() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    fs::write(folder.path(JOURNAL), b"somebody's").unwrap();
    assert!(matches!(journal.rewrite(b"1", &[b"[]".to_vec()], &[], &[]), Err(StateError::Replaced { .. })));
    assert_eq!(fs::read(folder.path(JOURNAL)).unwrap(), b"somebody's");
}

#[test]
fn the_key_is_made_once_and_read_ever_after() {
    let (first, second) = (Folder::with(b""), Folder::with(b""));
    let files = Files::default();
    let key = secret(&files, &first.0).unwrap();
    assert_eq!(secret(&files, &first.0).unwrap(), key);
    assert_ne!(secret(&files, &second.0).unwrap(), key);
    let bytes = fs::read(first.path(KEY)).unwrap();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        fs::write(first.path(KEY), changed).unwrap();
        assert!(matches!(secret(&files, &first.0), Err(StateError::DamagedKey { .. })));
        fs::write(first.path(KEY), &bytes[..place]).unwrap();
        assert!(matches!(secret(&files, &first.0), Err(StateError::DamagedKey { .. })));
    }
    fs::write(first.path(KEY), [0; 25]).unwrap();
    assert!(matches!(secret(&files, &first.0), Err(StateError::DamagedKey { .. })));
}

#[test]
fn a_key_that_was_given_out_stays_whatever_fails() {
    for step in 0..6 {
        let folder = Folder::with(b"");
        let faults = Faults::new();
        faults.fail_after(step).torn();
        let given = secret(&Files::with(faults), &folder.0).ok();
        let key = secret(&Files::default(), &folder.0).unwrap();
        assert!(given.is_none_or(|given| given == key));
        assert_eq!(given.is_some(), step == 5, "five steps make a key");
    }
}

/// Bug: a service that was started while `switchback state show` looked at its folder was refused, or began as a standby; a look
/// that was stopped in that moment kept every start out for as long as it was. Cause: to look took the lock that decides who has
/// the folder, shared, and a start waited for it a second. Fix: what is looked at is the lock of another file, which whoever has
/// the folder replaces where somebody has it.
#[test]
fn whoever_only_looks_keeps_nobody_from_starting() {
    let folder = Folder::new();
    drop(Held::take(&Files::default(), &folder.0).unwrap());
    assert_eq!(is_held(&folder.0), Some(false));
    // One who looks, and stops in the middle of it.
    let look = fs::File::open(folder.path(HELD)).unwrap();
    look.try_lock_shared().unwrap();
    let held = Held::take(&Files::default(), &folder.0).unwrap();
    assert_eq!(is_held(&folder.0), Some(true), "another look is told all the same");
    assert!(matches!(Held::take(&Files::default(), &folder.0), Err(StateError::Locked { .. })));
    assert_eq!(is_held(&folder.0), Some(true), "who was refused has changed nothing");
    drop(held);
    assert_eq!(is_held(&folder.0), Some(false));
    drop(look);
    // A folder of which nobody could say so.
    fs::remove_file(folder.path(HELD)).unwrap();
    assert_eq!(is_held(&folder.0), None);
}
