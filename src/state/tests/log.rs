use super::*;
use crate::base::faults::Faults;
use crate::state::frame::FORMAT;
use crate::state::names::ASIDE;
use crate::state::names::JOURNAL;
use crate::state::names::Limits;

#[test]
fn what_was_added_is_found_by_the_next_start() {
    let folder = Folder::new();
    let (mut journal, found) = folder.open();
    assert_eq!(found, Found::default());
    assert_eq!(journal.wants_rewrite(), Some(Why::Opened));
    assert!(matches!(journal.append(&[state("0")]), Err(StateError::Stopped { .. })));
    journal.rewrite(b"1", &[b"[1]".to_vec()], &[b"began".to_vec()], &[]).unwrap();
    assert_eq!(journal.wants_rewrite(), None);
    journal.append(&[state("2"), seen("[2]"), event("went on")]).unwrap();
    journal.append(&[]).unwrap();
    journal.append(&[seen("[3]"), event("and on"), event("and on")]).unwrap();
    drop(journal);

    let (journal, found) = folder.open();
    assert_eq!(found.state.as_deref(), Some(b"2".as_slice()));
    assert_eq!(found.evidence, [b"[1]", b"[2]", b"[3]"]);
    assert_eq!((found.torn_bytes, found.generation, found.format), (0, 1, FORMAT));
    assert_eq!((found.events, found.dropped), (4, 0));
    assert_eq!(Snapshot::now(&folder).events, ["began", "went on", "and on", "and on"]);
    assert_eq!(journal.generation(), 1);
}

#[test]
fn evidence_that_is_whole_replaces_what_came_before_it() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.rewrite(b"1", &[b"[1]".to_vec()], &[], &[]).unwrap();
    journal.append(&[seen("[2]"), all_seen("[3]"), seen("[4]")]).unwrap();
    assert_eq!(Snapshot::now(&folder).evidence, ["[3]", "[4]"]);
    journal.append(&[seen("[5]")]).unwrap();
    journal.append(&[all_seen("[6]")]).unwrap();
    assert_eq!(Snapshot::now(&folder).evidence, ["[6]"]);
}

#[test]
fn it_is_written_anew_once_it_has_grown_and_keeps_its_events() {
    let folder = Folder::new();
    let limits = Limits { growth: 500, ..Limits::default() };
    let (mut journal, _) = Journal::open_with(Files::default(), &folder.0, limits).unwrap();
    journal.rewrite(b"0", &[b"[]".to_vec()], &[], &[]).unwrap();
    let mut model = Snapshot::now(&folder);
    let mut rewrites = 0;
    for number in 0..50 {
        let (state_now, line) = (format!("{number}"), format!("event {number}"));
        if journal.wants_rewrite() == Some(Why::Grown) {
            rewrites += 1;
            journal.rewrite(state_now.as_bytes(), &[b"[]".to_vec()], &[line.clone().into()], &[]).unwrap();
            model = model.anew(&state_now, "[]", &[line.into()]);
        } else {
            let entries = [event(&line), state(&state_now), seen("[1]")];
            journal.append(&entries).unwrap();
            model = model.and(&entries);
        }
        assert_eq!(Snapshot::now(&folder), model);
    }
    assert!(rewrites > 5, "{rewrites}");
    assert_eq!(journal.generation(), rewrites + 1);
}

#[test]
fn only_the_last_events_are_kept_and_those_dropped_are_counted() {
    let folder = Folder::new();
    let limits = Limits { events: 5, event_bytes: 20, ..Limits::default() };
    let (mut journal, _) = Journal::open_with(Files::default(), &folder.0, limits).unwrap();
    journal.rewrite(b"0", &[b"[]".to_vec()], &[], &[]).unwrap();
    let lines: Vec<Entry> = (0..9).map(|number| event(&number.to_string())).collect();
    journal.append(&lines).unwrap();
    assert_eq!(Snapshot::now(&folder).events.len(), 9, "nothing is dropped until it is written anew");
    journal.rewrite(b"1", &[b"[]".to_vec()], &[b"a".to_vec(), b"b".to_vec()], &[]).unwrap();
    assert_eq!(Snapshot::now(&folder).events, ["6", "7", "8", "a", "b"]);
    assert_eq!(history(&folder.0).unwrap().dropped(), 6);
    journal.rewrite(b"2", &[b"[]".to_vec()], &[b"0123456789abcdefg".to_vec()], &[]).unwrap();
    assert_eq!(Snapshot::now(&folder).events, ["8", "a", "b", "0123456789abcdefg"]);
    let more: Vec<Vec<u8>> = vec![b"larger than all that may be kept".to_vec(); 6];
    journal.rewrite(b"3", &[b"[]".to_vec()], &more, &[]).unwrap();
    assert_eq!(Snapshot::now(&folder).events.len(), 6, "what is new is never dropped");
    drop(journal);
    assert_eq!(folder.open().1.dropped, 12);
}

#[test]
fn what_would_not_be_read_again_is_refused_and_changes_nothing() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.rewrite(b"1", &[b"[]".to_vec()], &[], &[]).unwrap();
    for line in [&b"two\nlines"[..], b"two\rlines", b"\xff"] {
        let entry = Entry { body: line.into(), ..event("") };
        assert!(matches!(journal.append(&[state("2"), entry]), Err(StateError::NotALine)));
        assert!(matches!(
            journal.rewrite(b"2", &[b"[]".to_vec()], &[line.into()], &[]),
            Err(StateError::NotALine)
        ));
    }
    let large = vec![b'1'; (64 << 20) + 1];
    let error = journal.append(&[Entry { body: large, ..state("") }]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "an entry was not saved: it has 67108865 bytes, and at most 67108864 are allowed"
    );
    assert_eq!(journal.wants_rewrite(), None);
    journal.append(&[state("3")]).unwrap();
    assert_eq!(Snapshot::now(&folder).state.as_deref(), Some("3"));
}

#[test]
fn after_a_failure_nothing_is_added_until_all_of_it_was_written_anew() {
    let folder = Folder::new();
    let faults = Faults::new();
    let (mut journal, _) = Journal::open(Files::with(faults.clone()), &folder.0).unwrap();
    journal.rewrite(b"1", &[b"[1]".to_vec()], &[b"first".to_vec()], &[]).unwrap();
    faults.fail_after(1).once(); // the sync after the write
    assert!(matches!(journal.append(&[state("2"), event("refused")]), Err(StateError::Disk { .. })));
    assert_eq!(journal.wants_rewrite(), Some(Why::Failed));
    assert!(matches!(journal.append(&[state("3")]), Err(StateError::Stopped { .. })));
    faults.fail_after(0);
    journal.rewrite(b"4", &[b"[4]".to_vec()], &[], &[]).unwrap_err();
    assert_eq!(journal.wants_rewrite(), Some(Why::Failed));
    faults.mend();
    journal.rewrite(b"5", &[b"[5]".to_vec()], &[b"second".to_vec()], &[]).unwrap();
    assert_eq!(journal.wants_rewrite(), None);
    journal.append(&[seen("[6]")]).unwrap();
    let now = Snapshot::now(&folder);
    assert_eq!((now.state.as_deref(), now.evidence), (Some("5"), vec!["[5]".into(), "[6]".into()]));
    assert_eq!(
        now.events,
        ["first", "second"],
        "nothing that was acknowledged is missing, nothing refused is there"
    );
}

#[test]
fn the_journal_in_place_is_the_old_one_until_all_of_the_new_one_is_synced() {
    let folder = Folder::new();
    let faults = Faults::new();
    let (mut journal, _) = Journal::open(Files::with(faults.clone()), &folder.0).unwrap();
    journal.rewrite(b"1", &[b"[1]".to_vec()], &[], &[]).unwrap();
    let old = fs::read(folder.path(JOURNAL)).unwrap();
    // Making, writing, syncing and renaming; what comes last is the folder.
    for step in 0..4 {
        faults.fail_after(step);
        journal.rewrite(b"2", &[b"[2]".to_vec()], &[], &[]).unwrap_err();
        faults.mend();
        assert_eq!(fs::read(folder.path(JOURNAL)).unwrap(), old, "at {step}");
        assert_eq!(folder.path(ASIDE).exists(), step > 0);
        let _ = fs::remove_file(folder.path(ASIDE));
    }
    let before = faults.steps();
    journal.rewrite(b"2", &[b"[2]".to_vec()], &[], &[]).unwrap();
    assert_eq!(faults.steps() - before, 5);
}

#[test]
fn after_a_rename_whose_folder_was_not_synced_nothing_refused_is_kept() {
    let folder = Folder::new();
    let faults = Faults::new();
    let (mut journal, _) = Journal::open(Files::with(faults.clone()), &folder.0).unwrap();
    journal.rewrite(b"1", &[b"[1]".to_vec()], &[b"first".to_vec()], &[]).unwrap();
    let before = faults.steps();
    journal.rewrite(b"1", &[b"[1]".to_vec()], &[], &[]).unwrap();
    faults.fail_after(faults.steps() - before - 1).once();
    journal.rewrite(b"2", &[b"[2]".to_vec()], &[b"refused".to_vec()], &[]).unwrap_err();
    assert_eq!(Snapshot::now(&folder).state.as_deref(), Some("2"), "it is in place, and nobody was told");
    assert!(matches!(journal.append(&[state("3")]), Err(StateError::Stopped { .. })));
    journal.rewrite(b"3", &[b"[3]".to_vec()], &[b"second".to_vec()], &[]).unwrap();
    assert_eq!(Snapshot::now(&folder).events, ["first", "second"]);
    assert_eq!(journal.generation(), 4);
}

#[test]
fn the_last_decisions_that_fit_are_written_again() {
    let folder = Folder::new();
    let limits = Limits { decision_bytes: 10, ..Limits::default() };
    let (mut journal, _) = Journal::open_with(Files::default(), &folder.0, limits).unwrap();
    journal.rewrite(b"1", &[b"[]".to_vec()], &[], &[b"1111".to_vec()]).unwrap();
    journal.append(&[decision("2222"), event("a"), decision("333333")]).unwrap();
    assert_eq!(Snapshot::now(&folder).decisions, ["1111", "2222", "333333"]);
    let all = ["1111", "2222", "333333"].map(|body| body.as_bytes().to_vec());
    journal.rewrite(b"2", &[b"[]".to_vec()], &[], &all).unwrap();
    let now = Snapshot::now(&folder);
    assert_eq!((now.decisions, now.events), (vec!["2222".into(), "333333".into()], vec!["a".into()]));
    journal.rewrite(b"3", &[b"[]".to_vec()], &[], &[b"12345678901".to_vec()]).unwrap();
    assert_eq!(Snapshot::now(&folder).decisions, [""; 0]);
}

#[test]
fn another_process_may_look_on_and_history_goes_on_over_a_journal_that_is_replaced() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    journal.rewrite(b"1", &[b"[]".to_vec()], &[b"a".to_vec(), b"b".to_vec()], &[]).unwrap();
    let mut lines = history(&folder.0).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "a");
    journal.append(&[event("c")]).unwrap();
    journal.rewrite(b"2", &[b"[]".to_vec()], &[b"d".to_vec()], &[]).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "b");
    assert!(lines.next().is_none());
    assert!(lines.next().is_none());
    assert_eq!(Snapshot::now(&folder).events, ["a", "b", "c", "d"]);
}

#[test]
fn whoever_looks_on_finds_whole_batches_only() {
    let folder = Folder::new();
    let limits = Limits { growth: 3000, ..Limits::default() };
    let (mut journal, _) = Journal::open_with(Files::default(), &folder.0, limits).unwrap();
    journal.rewrite(b"0", &[b"0".to_vec()], &[], &[]).unwrap();
    let writing = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut last = 0;
            while writing.load(Ordering::Relaxed) {
                let found = Found::read(&Files::default(), &folder.0).unwrap();
                let number: u64 = String::from_utf8(found.state.unwrap()).unwrap().parse().unwrap();
                assert!(number >= last && found.events == number, "{number} after {last}");
                assert_eq!(found.evidence.last().unwrap(), number.to_string().as_bytes());
                last = number;
            }
            last
        });
        for number in 1..=300 {
            let body = number.to_string();
            if journal.wants_rewrite().is_some() {
                journal
                    .rewrite(body.as_bytes(), &[body.as_bytes().to_vec()], &[body.clone().into()], &[])
                    .unwrap();
            } else {
                journal.append(&[event(&body), seen(&body), state(&body)]).unwrap();
            }
        }
        writing.store(false, Ordering::Relaxed);
        assert!(reader.join().unwrap() <= 300);
    });
}
