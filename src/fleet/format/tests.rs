#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::counts::{Book, Counts};
use super::ends::{AtOnce, Ends, Lived, TrialEnds};
use super::envelope::{Kind, Sealer};
use super::error::FormatError;
use super::handover::{Handover, HandoverPart, PARTS_MAX};
use super::head::{
    Ancestors, Candidate, Core, Descent, Entered, Evidence, Head, Lowering, Phase, Place, Timing, Version,
};
use super::hex::Hex;
use super::ledger::{Ledger, Mark};
use super::mailbox::{Carried, Letter, Mailbox};
use super::row::{Build, Row, State};
use super::value::{Value, Written};
use crate::base::clock::Timestamp;
use crate::fleet::key::Key;
use crate::fleet::simulation::Tally;
use crate::task::outcome::Outcome;

fn key() -> Key {
    Key::new("h/late/head").unwrap()
}

fn sealer() -> Sealer {
    Sealer::new(Hex(1), &[b"secret"])
}

prop_compose! {
    fn version()(version in ".{0,8}", identity in "[a-z@0-9]{0,8}", digest in "[0-9a-f]{0,8}") -> Version {
        Version { version, identity, digest }
    }
}

prop_compose! {
    fn head()(
        term in any::<u32>(), seq in 100_u64..u64::MAX, nonce in any::<u64>(), back in 0_u64..90, by in ".{0,20}",
        live in version(), previous in proptest::option::of(version()), weight in 0_u32..=10_000, at in any::<u64>(),
        attempts in proptest::collection::vec(any::<u32>(), 0..5), extra in any::<i64>(),
    ) -> Head {
        let mut ancestors = Ancestors::default();
        for of in (1..=back).rev() {
            ancestors = ancestors.after(seq - of, Hex(of));
        }
        let candidate = |(slot, attempt): (usize, &u32)| Candidate {
            attempt: *attempt, slot: slot as u32, version: live.clone(), phase: Phase::Canary, weight, sample: weight / 2,
            members: 10_000,
        };
        let lowering = |attempt: &u32| Lowering {
            attempt: *attempt, identity: live.identity.clone(), cause: by.clone(), by: by.clone(),
        };
        Head {
            place: Place { term, seq },
            nonce: Hex(nonce),
            ancestors,
            by: by.clone(),
            why: by.clone(),
            asked_at: Timestamp::from_unix_nanos(at),
            min_reader: 1,
            min_writer: 1,
            core: Core { live: live.clone(), previous, candidates: attempts.iter().enumerate().map(candidate).collect() },
            lowered: attempts.iter().take(2).map(lowering).collect(),
            control: json!({ "some": [extra, 1.5, null] }),
            entered: attempts.iter().map(|attempt| (*attempt, Entered { seq, at: Timestamp::default(), active_ms: at })).collect(),
            timing: Timing::default(),
            evidence: Evidence { ledger: at, nonce: Hex(nonce) },
            contract: Hex(nonce),
            key_print: Hex(at),
            more: Map::from_iter([("later".to_owned(), json!({ "x": extra }))]),
        }
    }
}

prop_compose! {
    fn book()(all in proptest::collection::vec((0_u32..4, any::<u64>(), any::<[u64; 4]>()), 0..6)) -> Book<Tally> {
        let mut book = Book::default();
        for (attempt, era, [canary, failed, control, failed_there]) in all {
            book.count(attempt, era, &Tally { canary, failed, control, failed_there });
        }
        book
    }
}

prop_compose! {
    fn row()(name in any::<u64>(), n in 1..u64::MAX, counts in book(), text in ".{0,20}") -> Row<Tally> {
        Row {
            name: Hex(name),
            life: Hex(n),
            n,
            nonce: Hex(n),
            build: Build { library: 1, host: text.clone() },
            class: text.clone(),
            has: Place { term: 1, seq: n },
            state: State::CutOff,
            ready: vec![text.clone()],
            failed: BTreeMap::from([(text.clone(), text.clone())]),
            tripped: vec![1],
            asks: vec![Lowering { attempt: 1, identity: text.clone(), cause: text.clone(), by: text.clone() }],
            counts,
            alive_ms: n,
            more: Map::from_iter([("later".to_owned(), json!(text))]),
        }
    }
}

prop_compose! {
    fn ends()(at in any::<u64>(), attempts in proptest::collection::vec((any::<u32>(), any::<bool>()), 0..4)) -> Ends {
        let (moment, lived) = (Timestamp::from_unix_nanos(at), Lived { ends: at, ms: at });
        let trial = |(attempt, over): &(u32, bool)| {
            let (until, at_once) = (over.then_some(moment), over.then_some(AtOnce { ended: at, of: 4 }));
            let recent = [moment].into_iter().collect();
            (*attempt, TrialEnds { since: moment, until, exposed: lived, spared: lived, recent, at_once })
        };
        Ends { at: moment, days: [(at, lived)].into(), trials: attempts.iter().map(trial).collect(), last_exposed: moment, last_spared: moment }
    }
}

prop_compose! {
    fn ledger()(ends in ends(), n in 1..u64::MAX, closed in book(), base in book(), evidence in book(), names in proptest::collection::vec(any::<u64>(), 0..9)) -> Ledger<Tally> {
        let mark = |name: &u64| (Hex(*name), Mark { n, closed: name.is_multiple_of(2).then_some(Timestamp::default()), seen: name.is_multiple_of(5).then_some(n), alive_ms: n, ended: name.is_multiple_of(3) });
        Ledger {
            n, nonce: Hex(n), judge: Hex(n), head: Place { term: 1, seq: n }, active_ms: n, watched_ms: n, quiet_ms: 7, voids: n, closed, base,
            evidence, marks: names.iter().map(mark).collect(), ends, before: Hex(n), runs: names.iter().map(|name| *name as u32).collect(),
            more: Map::from_iter([("later".to_owned(), json!(n))]),
        }
    }
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let truth = prop_oneof![
        any::<u16>().prop_map(Outcome::class),
        (-1e300..1e300_f64).prop_map(Outcome::value),
        proptest::collection::vec(any::<u64>(), 0..9).prop_map(Outcome::relevant),
        (".{0,9}", -1e300..1e300_f64).prop_map(|(name, worth)| Outcome::kpi(name, worth)),
    ];
    (truth, any::<u64>()).prop_map(|(truth, known)| truth.known_at(Timestamp::from_unix_nanos(known)))
}

prop_compose! {
    fn letter()(from in any::<u64>(), n in 1..u64::MAX, ids in proptest::collection::vec(".{0,99}", 0..9), outcome in outcome()) -> Letter {
        let carried = |id: String| Carried { id: id.chars().take(60).collect(), outcome: outcome.clone() };
        Letter { from: Hex(from), n, at: Timestamp::from_unix_nanos(n), outcomes: ids.into_iter().map(carried).collect() }
    }
}

prop_compose! {
    fn handover()(nonce in any::<u64>(), process in any::<u64>(), until in any::<u64>(), parts in 1..=PARTS_MAX, lives in any::<u32>(), heir in any::<Option<u64>>()) -> Handover {
        let (nonce, process, heir) = (Hex(nonce), Hex(process), heir.map(Hex));
        Handover { nonce, process, until: Timestamp::from_unix_nanos(until), parts, lives, heir }
    }
}

fn value() -> impl Strategy<Value = Value<Tally>> {
    prop_oneof![
        head().prop_map(|head| Value::Head(Written::new(head).unwrap().into())),
        row().prop_map(|row| Value::Row(row.into())),
        ledger().prop_map(|ledger| Value::Ledger(ledger.into())),
        (any::<u64>(), proptest::collection::vec(letter(), 0..5)).prop_map(
            |(nonce, letters)| Value::Mailbox(
                Mailbox { nonce: Hex(nonce), letters, ended: nonce % 2 == 0 }.into()
            )
        ),
        handover().prop_map(|handover| Value::Handover(handover.into())),
        (any::<u64>(), any::<i64>()).prop_map(|(nonce, handed)| {
            Value::HandoverPart(HandoverPart { nonce: Hex(nonce), handed: json!({ "at": handed }) }.into())
        }),
    ]
}

proptest! {
    /// What a later release has added comes back too, and a head that is written again has the print that it had.
    #[test]
    fn what_is_written_is_read(value in value()) {
        let bytes = value.write(&sealer(), &key()).unwrap();
        prop_assert_eq!(Value::read(&sealer(), value.kind(), &key(), &bytes), Ok(value));
    }

    #[test]
    fn a_value_that_was_changed_anywhere_is_none(value in value(), place in any::<prop::sample::Index>(), bits in 1_u8..=255) {
        let mut bytes = value.write(&sealer(), &key()).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= bits;
        prop_assert!(Value::<Tally>::read(&sealer(), value.kind(), &key(), &bytes).is_err());
    }

    #[test]
    fn a_value_that_was_cut_or_grew_is_none(value in value(), place in any::<prop::sample::Index>()) {
        let mut bytes = value.write(&sealer(), &key()).unwrap();
        prop_assert!(Value::<Tally>::read(&sealer(), value.kind(), &key(), &bytes[..place.index(bytes.len())]).is_err());
        bytes.push(b'\n');
        prop_assert!(Value::<Tally>::read(&sealer(), value.kind(), &key(), &bytes).is_err());
    }

    /// With the secret anybody can seal anything: it is an error or a value, never a panic.
    #[test]
    fn whatever_is_sealed_is_read_or_refused(body in "[\\[\\]{}\":,a-z0-9.\\-]{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for kind in [Kind::Head, Kind::Row, Kind::Ledger, Kind::Mailbox, Kind::Handover, Kind::HandoverPart] {
            let _ = Value::<Tally>::read(&sealer(), kind, &key(), &bytes);
            let sealed = sealer().seal(kind, &key(), &body).unwrap();
            prop_assert!(Value::<Tally>::read(&sealer(), kind, &key(), &sealed).is_err());
        }
    }

    /// Fields that are there, with values that they cannot have.
    #[test]
    fn a_field_of_another_kind_is_refused(head in head(), field in any::<prop::sample::Index>(), other in 0_usize..4) {
        let mut body = serde_json::to_value(&head).unwrap();
        let fields: Vec<String> = body.as_object().unwrap().keys().filter(|name| !["later", "control"].contains(&name.as_str())).cloned().collect();
        let field = &fields[field.index(fields.len())];
        body[field] = [json!(-1), json!(1e300), json!(true), json!("x")][other].clone();
        let sealed = sealer().seal(Kind::Head, &key(), &body.to_string()).unwrap();
        // A text may be any text.
        let read = Value::<Tally>::read(&sealer(), Kind::Head, &key(), &sealed);
        prop_assert!(read.is_err() || (other == 3 && ["by", "why"].contains(&field.as_str())), "{} {:?}", field, read);
    }
}

fn one(seq: u64) -> Head {
    let body = json!({
        "term": 1, "seq": seq, "nonce": "0000000000000001", "ancestors": [], "by": "ada", "why": "", "asked_at": 0,
        "min_reader": 1, "min_writer": 1, "core": { "live": { "version": "v1", "identity": "a", "digest": "" }, "previous": null,
        "candidates": [] }, "lowered": [], "control": {}, "entered": {}, "timing": Timing::default(),
        "evidence": { "ledger": 0, "nonce": "0000000000000000" }, "contract": "0000000000000000", "key_print": "0000000000000000",
    });
    serde_json::from_value(body).unwrap()
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let refused = |what: &str, change: &dyn Fn(&mut Head)| {
        let mut head = one(9);
        change(&mut head);
        assert!(matches!(head.check(), Err(FormatError::Bounds { .. })), "{what}");
    };
    assert_eq!(one(9).check(), Ok(()));
    refused("ancestors of itself", &|head| head.ancestors = Ancestors::default().after(9, Hex(1)));
    refused("a long text", &|head| head.why = "x".repeat(5_000));
    refused("no poll", &|head| head.timing.poll = 0);
    refused("rows that look silent", &|head| head.timing.close_after = head.timing.row);
    refused("many lowerings", &|head| {
        let lowering =
            Lowering { attempt: 1, identity: String::new(), cause: String::new(), by: String::new() };
        head.lowered = vec![lowering; 1_025];
    });
    let long = "x".repeat(Kind::Head.limit());
    assert!(matches!(sealer().seal(Kind::Head, &key(), &long), Err(FormatError::TooLong { .. })));
    assert!(matches!(sealer().open(Kind::Row, &key(), long.as_bytes()), Err(FormatError::TooLong { .. })));
}

/// Every head of a long chain can be proved to be before the newest, by some filed ones at most; and one of another chain to be none.
#[test]
fn an_ancestor_is_found_however_far_back_it_lies() {
    let mut chain = vec![Ancestors::default()];
    for seq in 0..5_000 {
        chain.push(chain[seq as usize].after(seq, Hex(seq)));
    }
    let newest = &chain[5_000];
    let prove = |seq: u64, print: Hex| {
        let (mut asked, mut of) = (0, newest.clone());
        loop {
            match of.have(seq, print) {
                Descent::Ask(filed, told) => {
                    assert_eq!(told, Hex(filed));
                    (asked, of) = (asked + 1, chain[filed as usize].clone());
                }
                found => return (found, asked),
            }
        }
    };
    for seq in 0..5_000 {
        let (found, asked) = prove(seq, Hex(seq));
        assert!(found == Descent::Yes && asked <= 12, "{seq}: {found:?} after {asked}");
        assert_eq!(prove(seq, Hex(seq + 1)).0, Descent::No);
        assert!(asked == 0 || 5_000 - seq > 64);
    }
    assert_eq!(
        newest.have(5_000, Hex(0)),
        Descent::No,
        "what is newer than all that are named is none of them"
    );
    assert_eq!(newest.newest(), Some((4_999, Hex(4_999))));
}

#[test]
fn books_add_up_and_never_shrink_unseen() {
    let tally = |canary| Tally { canary, failed: 1, control: u64::MAX, failed_there: 0 };
    let mut book = Book::default();
    book.count(1, 5, &tally(3));
    let before = book.clone();
    book.count(1, 5, &tally(4));
    book.count(1, 9, &tally(1));
    assert_eq!(book.since(1, 0).canary, 8);
    assert_eq!((book.since(1, 6).canary, book.since(2, 0).canary), (1, 0));
    assert_eq!(book.since(1, 0).control, u64::MAX, "it stays at the largest number");
    assert!(book.covers(&before) && !before.covers(&book) && book.covers(&Book::default()));
    let more = book.less(&before);
    assert_eq!(more.since(1, 0).canary, 5);
    assert!(Tally::default().covers(&Tally::default()) && !Tally::default().covers(&tally(1)));
    book.retain(|attempt| attempt != 1);
    assert_eq!(book, Book::default());
}
