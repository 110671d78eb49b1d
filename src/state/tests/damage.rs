//! Bytes that are not what was written: a prefix of it is found and the rest told, or it is an error; and what a repair
//! makes of it.

use crate::state::names::FILE_MAX;
use crate::state::names::JOURNAL;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::base::faults::Faults;
use crate::state::frame::{FORMAT, HEADER, Head, Header};
use crate::state::repair::repair_with;

/// Entries in batches, the first of them what the file is put in place with.
fn batches() -> Vec<Vec<Entry>> {
    let mut batches = batches_of_1();
    batches[0].insert(2, decision("{\"number\":1}"));
    batches[3].insert(1, decision("{\"number\":2}"));
    batches
}

/// The same as the first format had them: without decisions.
fn batches_of_1() -> Vec<Vec<Entry>> {
    vec![
        vec![event("began"), event("staged v2"), state("{\"live\":\"v1\"}"), all_seen("[1,1]")],
        vec![state("{\"live\":\"v1\",\"canary\":\"v2\"}"), seen("[0,1]"), event("canary v2")],
        vec![seen("[2,0]")],
        vec![event("promoted v2"), state("{\"live\":\"v2\"}"), seen("[0,4]")],
    ]
}

/// The bytes of a journal, and where each of its frames begins, the end included, by batch.
fn journal(batches: &[Vec<Entry>]) -> (Vec<u8>, Vec<Vec<usize>>) {
    let lengths = batches.first().into_iter().flatten().map(|entry| frame::frame_length(entry.body.len()));
    let base = HEADER as u64 + lengths.sum::<u64>();
    let header = Header { format: FORMAT, generation: 7, salt: 0x0123_4567_89ab_cdef, dropped: 2, base };
    let (mut bytes, mut number, mut places) = (header.encode(), 0, Vec::new());
    for batch in batches {
        let (first, mut of_batch) = (number, Vec::new());
        for (index, Entry { kind, whole, body }) in batch.iter().enumerate() {
            of_batch.push(bytes.len());
            let commit = index + 1 == batch.len();
            let length = u32::try_from(body.len()).unwrap();
            let head = Head { kind: *kind, whole: *whole, commit, length, number, first };
            head.encode(&header, bytes.len() as u64, body, &mut bytes);
            number += 1;
        }
        of_batch.push(bytes.len());
        places.push(of_batch);
    }
    (bytes, places)
}

/// Returns what is there after each batch.
fn prefixes(batches: &[Vec<Entry>]) -> Vec<Snapshot> {
    let mut now = Snapshot::default();
    let mut prefixes = Vec::new();
    for batch in batches {
        now = now.and(batch);
        prefixes.push(now.clone());
    }
    prefixes
}

/// Asserts what may be read of bytes that are not what was written.
fn assert_told(folder: &Folder, bytes: &[u8], written: &[u8], prefixes: &[Snapshot]) {
    fs::write(folder.path(JOURNAL), bytes).unwrap();
    match Snapshot::read(&folder.0) {
        Ok((now, found)) => {
            let place = prefixes.iter().position(|prefix| *prefix == now).expect("it is a prefix");
            let all = place + 1 == prefixes.len();
            assert!(found.torn_bytes > 0 || bytes.len() < written.len() || (all && bytes == written));
        }
        Err(StateError::Damaged { offset, .. }) => assert!(offset <= bytes.len() as u64),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn what_is_written_here_has_the_format_of_the_module() {
    let (bytes, _) = journal(&batches());
    let folder = Folder::with(&bytes);
    let (now, found) = Snapshot::read(&folder.0).unwrap();
    assert_eq!(Some(&now), prefixes(&batches()).last());
    assert_eq!((found.generation, found.dropped, found.torn_bytes), (7, 2, 0));
}

#[test]
fn any_flipped_bit_is_told() {
    let (written, _) = journal(&batches());
    let (prefixes, folder) = (prefixes(&batches()), Folder::with(b""));
    for place in 0..written.len() {
        for bit in [0x01, 0x10, 0x80] {
            let mut bytes = written.clone();
            bytes[place] ^= bit;
            assert_told(&folder, &bytes, &written, &prefixes);
        }
    }
}

#[test]
fn a_journal_that_was_cut_off_is_torn_where_a_crash_may_have_done_it_and_damaged_where_not() {
    let (written, places) = journal(&batches());
    let (prefixes, folder) = (prefixes(&batches()), Folder::with(b""));
    let base = *places[0].last().unwrap();
    for length in 0..written.len() {
        let bytes = &written[..length];
        fs::write(folder.path(JOURNAL), bytes).unwrap();
        let read = Snapshot::read(&folder.0);
        if length < base {
            assert!(matches!(read, Err(StateError::Damaged { .. })), "at {length}");
        } else {
            let (now, found) = read.unwrap();
            let whole = places.iter().take_while(|batch| *batch.last().unwrap() <= length).count();
            assert_eq!(now, prefixes[whole - 1]);
            assert_eq!(found.torn_bytes as usize, length - places[whole - 1].last().unwrap());
        }
        assert_told(&folder, bytes, &written, &prefixes);
    }
}

#[test]
fn damage_that_a_later_batch_follows_is_told_by_its_place() {
    let (written, places) = journal(&batches());
    let folder = Folder::with(b"");
    for frame in [places[1][0], places[1][2], places[2][0]] {
        let mut bytes = written.clone();
        bytes[frame + 20] ^= 4;
        fs::write(folder.path(JOURNAL), &bytes).unwrap();
        let error = Journal::open(Files::default(), &folder.0).unwrap_err();
        assert!(
            matches!(&error, StateError::Damaged { offset, .. } if *offset == frame as u64),
            "{error} and not {frame}"
        );
        assert!(error.to_string().contains("`switchback state repair` or `state::repair`"), "{error}");
        assert_eq!(fs::read(folder.path(JOURNAL)).unwrap(), bytes, "nothing is changed by looking");
    }
}

#[test]
fn a_last_batch_whose_beginning_did_not_reach_the_disk_is_torn_and_not_damage() {
    let (mut bytes, places) = journal(&batches());
    let folder = Folder::with(b"");
    let last = &places[3];
    bytes[last[0]..last[1]].fill(0);
    fs::write(folder.path(JOURNAL), &bytes).unwrap();
    let (now, found) = Snapshot::read(&folder.0).unwrap();
    assert_eq!(now, prefixes(&batches())[2]);
    assert_eq!(found.torn_bytes as usize, last[last.len() - 1] - last[0]);
    bytes.extend([0; 5000]);
    fs::write(folder.path(JOURNAL), &bytes).unwrap();
    assert_eq!(Snapshot::now(&folder), prefixes(&batches())[2]);
}

#[test]
fn a_torn_end_is_gone_after_the_first_thing_that_is_written() {
    let (written, places) = journal(&batches());
    let folder = Folder::with(&written[..places[3][2]]);
    let (mut journal, found) = folder.open();
    assert_eq!(found.torn_bytes as usize, places[3][2] - places[3][0]);
    journal.rewrite(b"{}", &[b"[9]".to_vec()], &[b"started".to_vec()], &[]).unwrap();
    let (now, found) = Snapshot::read(&folder.0).unwrap();
    assert_eq!((found.torn_bytes, found.generation, found.dropped), (0, 8, 2));
    assert_eq!(now.events, ["began", "staged v2", "canary v2", "started"]);
}

#[test]
fn the_lines_before_the_damage_are_still_told() {
    let (mut bytes, places) = journal(&batches());
    bytes[places[2][0]] ^= 1;
    let folder = Folder::with(&bytes);
    let lines: Vec<_> = history(&folder.0).unwrap().collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[2].as_deref().unwrap(), "canary v2");
    assert!(matches!(lines[3], Err(StateError::Damaged { .. })));
}

/// Bug: an event that is no text, with the checksum of its bytes, ended a history and told of damage; a repair found none, so there was
/// no way to what came after it. Cause: a frame was whole for one and damaged for the other. Fix: what is no text in it is replaced.
#[test]
fn an_event_that_is_no_text_hides_none_that_come_after_it() {
    let no_text = Entry { kind: Kind::Event, whole: false, body: vec![0xff] };
    let (bytes, _) = journal(&[vec![event("{}"), no_text, event("[]")]]);
    let folder = Folder::with(&bytes);
    assert_eq!(repair(&folder.0).unwrap().events, 3);
    let lines: Vec<String> = history(&folder.0).unwrap().map(Result::unwrap).collect();
    assert_eq!(lines, ["{}", "\u{fffd}", "[]"]);
}

#[test]
fn a_repair_keeps_what_is_whole_and_a_copy_of_the_rest() {
    let (written, places) = journal(&batches());
    let mut bytes = written.clone();
    bytes[places[1][0] + 30] ^= 1; // the state of the second batch
    bytes[places[2][0] + 3] ^= 1; // the head of the third
    let folder = Folder::with(&bytes);
    let repaired = repair(&folder.0).unwrap();
    let expected = Repaired {
        kept_as: Some(folder.path("journal.damaged-1")),
        lost_bytes: (places[1][1] - places[1][0] + places[2][1] - places[2][0]) as u64,
        lost_records: 2,
        state: true,
        evidence: true,
        events: 4,
    };
    assert_eq!(repaired, expected);
    assert_eq!(fs::read(folder.path("journal.damaged-1")).unwrap(), bytes);
    let (now, found) = Snapshot::read(&folder.0).unwrap();
    assert_eq!(now.state.as_deref(), Some("{\"live\":\"v2\"}"));
    assert_eq!(now.evidence, ["[1,1]", "[0,1]", "[0,4]"]);
    assert_eq!(now.events, ["began", "staged v2", "canary v2", "promoted v2"]);
    assert_eq!((found.generation, found.dropped, found.torn_bytes), (8, 2, 0));

    let again = repair(&folder.0).unwrap();
    assert_eq!((again.kept_as, again.lost_bytes, again.lost_records, again.events), (None, 0, 0, 4));
    fs::write(folder.path(JOURNAL), &bytes).unwrap();
    assert_eq!(repair(&folder.0).unwrap().kept_as, Some(folder.path("journal.damaged-2")));
    folder.open();
}

#[test]
fn a_repair_takes_nothing_that_was_not_acknowledged() {
    let (mut bytes, places) = journal(&batches());
    bytes[places[1][0] + 30] ^= 1;
    bytes.truncate(places[3][2]); // what was promoted, without the end of its batch
    let folder = Folder::with(&bytes);
    let repaired = repair(&folder.0).unwrap();
    assert_eq!((repaired.lost_records, repaired.events), (1, 3));
    assert_eq!(Snapshot::now(&folder).state.as_deref(), Some("{\"live\":\"v1\"}"));
}

#[test]
fn a_damaged_header_takes_nothing_with_it_as_long_as_its_salt_is_right() {
    let (written, _) = journal(&batches());
    for place in 0..HEADER {
        let mut bytes = written.clone();
        bytes[place] ^= 2;
        let folder = Folder::with(&bytes);
        let repaired = repair(&folder.0).unwrap();
        let salt = (24..32).contains(&place);
        assert_eq!((repaired.state, repaired.events), (!salt, if salt { 0 } else { 4 }), "{place}");
        assert!(repaired.lost_bytes >= HEADER as u64 && repaired.kept_as.is_some());
        let now = Snapshot::now(&folder);
        let whole = prefixes(&batches()).pop().unwrap();
        assert_eq!(now, if salt { Snapshot::default() } else { whole });
    }
}

#[test]
fn a_repair_that_fails_at_any_step_leaves_the_damaged_journal_or_a_whole_one() {
    let (mut bytes, places) = journal(&batches());
    bytes[places[1][0] + 30] ^= 1;
    let faults = Faults::new();
    repair_with(&Files::with(faults.clone()), &Folder::with(&bytes).0).unwrap();
    for step in 0..faults.steps() {
        let folder = Folder::with(&bytes);
        let failing = Faults::new();
        failing.fail_after(step).torn();
        assert!(repair_with(&Files::with(failing), &folder.0).is_err());
        let damaged = fs::read(folder.path(JOURNAL)).unwrap() == bytes;
        assert!(damaged || step + 1 == faults.steps(), "at {step}");
        let events = repair(&folder.0).unwrap().events;
        assert_eq!(events, 4);
    }
}

#[test]
fn copies_of_damaged_journals_do_not_grow_without_bound() {
    let folder = Folder::with(b"garbage");
    for number in 1..100 {
        fs::write(folder.path(&format!("journal.damaged-{number}")), b"").unwrap();
    }
    let error = repair(&folder.0).unwrap_err();
    assert!(error.to_string().contains("move them away"), "{error}");
    assert_eq!(fs::read(folder.path(JOURNAL)).unwrap(), b"garbage");
}

#[test]
fn damage_that_shows_while_the_journal_is_in_use_does_not_keep_what_is_decided_from_the_disk() {
    let folder = Folder::new();
    let (mut journal, _) = folder.open();
    let line = "a line that is long enough to be hit".to_string();
    journal.rewrite(b"1", &[b"[]".to_vec()], &[line.clone().into(), b"second".to_vec()], &[]).unwrap();
    let mut bytes = fs::read(folder.path(JOURNAL)).unwrap();
    bytes[HEADER + 20] ^= 1;
    fs::write(folder.path(JOURNAL), &bytes).unwrap();
    let repaired = journal.rewrite(b"2", &[b"[]".to_vec()], &[b"third".to_vec()], &[]).unwrap().unwrap();
    assert_eq!(fs::read(repaired.kept_as.unwrap()).unwrap(), bytes);
    assert_eq!((repaired.lost_bytes, repaired.lost_records, repaired.events), (line.len() as u64 + 25, 1, 1));
    let now = Snapshot::now(&folder);
    assert_eq!((now.state.as_deref(), now.events), (Some("2"), vec!["second".to_string(), "third".into()]));
    assert_eq!(journal.rewrite(b"3", &[b"[]".to_vec()], &[], &[]).unwrap(), None);
}

#[test]
fn a_journal_too_large_to_be_ours_is_not_read() {
    let folder = Folder::with(b"");
    fs::File::options().write(true).open(folder.path(JOURNAL)).unwrap().set_len(FILE_MAX + 1).unwrap();
    for result in [
        Found::read(&Files::default(), &folder.0).map(drop),
        Journal::open(Files::default(), &folder.0).map(drop),
        history(&folder.0).map(drop),
        repair(&folder.0).map(drop),
    ] {
        assert!(matches!(result, Err(StateError::TooLarge { .. })), "{result:?}");
    }
}

/// Files that are kept: what a release once wrote must be read by every later one.
fn corpus(name: &str) -> (Folder, Result<(Snapshot, Found), StateError>) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/journal").join(name);
    let folder = Folder::with(&fs::read(path).unwrap());
    let read = Snapshot::read(&folder.0);
    (folder, read)
}

#[test]
fn the_corpus_is_read_as_ever() {
    for (format, batches) in [(1, batches_of_1()), (2, batches())] {
        let prefixes = prefixes(&batches);
        let corpus = |name: &str| corpus(&format!("{name}-{format}"));
        let (now, found) = corpus("good").1.unwrap();
        assert_eq!((now, found.torn_bytes, found.format), (prefixes[3].clone(), 0, format));
        let (now, found) = corpus("torn").1.unwrap();
        assert_eq!((now, found.torn_bytes > 0), (prefixes[2].clone(), true));
        let (now, found) = corpus("torn-beginning").1.unwrap();
        assert_eq!((now, found.torn_bytes > 0), (prefixes[2].clone(), true));

        let (folder, read) = corpus("damaged-middle");
        assert!(matches!(read, Err(StateError::Damaged { .. })));
        assert!(repair(&folder.0).unwrap().state);
        let (folder, read) = corpus("damaged-header");
        assert!(matches!(read, Err(StateError::Damaged { offset: 0, .. })));
        assert_eq!(repair(&folder.0).unwrap().events, 4);
        assert_eq!(Snapshot::now(&folder).decisions, prefixes[3].decisions);
    }
    let (folder, read) = corpus("newer");
    assert!(matches!(read, Err(StateError::Newer { format: 3, known: 2, .. })));
    assert!(matches!(repair(&folder.0), Err(StateError::Newer { .. })));
    for name in ["garbage", "empty", "short"] {
        let (folder, read) = corpus(name);
        assert!(matches!(read, Err(StateError::Damaged { .. })), "{name}");
        let repaired = repair(&folder.0).unwrap();
        assert_eq!((repaired.state, repaired.events), (false, 0));
        assert_eq!(Snapshot::now(&folder), Snapshot::default());
    }
}

proptest! {
    #[test]
    fn whatever_stands_in_a_file_it_is_a_prefix_or_an_error(
        keep in any::<prop::sample::Index>(), tail in prop::collection::vec(any::<u8>(), 0..200), again in any::<bool>()
    ) {
        let (written, places) = journal(&batches());
        let prefixes = prefixes(&batches());
        let mut bytes = written[..keep.index(written.len())].to_vec();
        bytes.extend(&tail);
        if again {
            bytes.extend(&written[places[1][0]..]);
        }
        let folder = Folder::with(&bytes);
        match Snapshot::read(&folder.0) {
            Ok((now, _)) => prop_assert!(prefixes.contains(&now)),
            Err(StateError::Damaged { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
        let damaged = Snapshot::read(&folder.0).is_err();
        prop_assert_eq!(repair(&folder.0).unwrap().kept_as.is_some(), damaged);
        prop_assert!(Snapshot::read(&folder.0).is_ok());
    }

    #[test]
    fn random_bytes_are_an_error_and_a_repair_of_them_an_empty_journal(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let folder = Folder::with(&bytes);
        let is_damaged = matches!(Snapshot::read(&folder.0), Err(StateError::Damaged { .. }));
        prop_assert!(is_damaged);
        prop_assert_eq!(repair(&folder.0).unwrap().lost_bytes, bytes.len() as u64);
        prop_assert_eq!(Snapshot::now(&folder), Snapshot::default());
    }
}

#[test]
#[ignore = "writes the corpus"]
fn write_the_corpus() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/journal");
    fs::create_dir_all(&folder).unwrap();
    let (written, places) = journal(&batches());
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    // Those of earlier formats stay as they are.
    let write_now = |name: &str, bytes: &[u8]| write(&format!("{name}-{FORMAT}"), bytes);
    write_now("good", &written);
    write_now("torn", &written[..places[3][1] + 9]);
    let mut bytes = written.clone();
    bytes[places[3][0]..places[3][1]].fill(0);
    write_now("torn-beginning", &bytes);
    let mut bytes = written.clone();
    bytes[places[1][0] + 25] ^= 0x20;
    write_now("damaged-middle", &bytes);
    let mut bytes = written.clone();
    bytes[33] ^= 0x20;
    write_now("damaged-header", &bytes);
    let newer = Header { format: FORMAT + 1, generation: 9, salt: 1, dropped: 0, base: 60 };
    write("newer", &[newer.encode(), b"....".to_vec()].concat());
    write(
        "garbage",
        b"\x00\xff\x1f\x8b not a journal, and longer than a header would be: nothing in it is ours \xfe",
    );
    write("empty", b"");
    write("short", &written[..40]);
}
