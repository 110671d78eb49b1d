#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::call::{Act, Lane, Reply};
use super::cut::{Cut, Found, HELD, SUM, cut};
use super::member::Member;
use super::perform::perform;
use super::rules::Rules;
use crate::base::clock::{Clock, Timestamp};
use crate::fleet::directory::Directory;
use crate::fleet::format::counts::Book;
use crate::fleet::format::envelope::{Kind, Sealer};
use crate::fleet::format::head::{Head, Timing};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::ledger::Ledger;
use crate::fleet::format::row::{Build, Row, State};
use crate::fleet::format::value::{Value, Written};
use crate::fleet::key::Key;
use crate::fleet::memory::InMemory;
use crate::fleet::simulation::Tally;
use crate::fleet::simulation::judgement::{Ramp, candidate, founding};
use crate::fleet::store::{Over, Read, Store, StoreOutcome};
use crate::handle::fleet::counts::FleetCounts;

/// Three members over a true store, one request at a time as a thread that blocks asks them.
struct Fleet<'a> {
    store: &'a dyn Store,
    sealer: Sealer,
    layout: Layout,
    clock: Clock,
    members: Vec<Member<Tally>>,
}

impl<'a> Fleet<'a> {
    fn new(store: &'a dyn Store, clock: Clock) -> Self {
        Self::of_build(store, clock, 1)
    }

    fn of_build(store: &'a dyn Store, clock: Clock, library: u32) -> Self {
        Self::founded(founding(Timing::default()), store, clock, library)
    }

    fn founded(head: Head, store: &'a dyn Store, clock: Clock, library: u32) -> Self {
        let layout = Layout::new(&Key::new("fleet").unwrap(), "late").unwrap();
        let sealer = Sealer::new(Hex(1), &[b"secret"]);
        let head = Value::<Tally>::Head(Written::new(head).unwrap().into());
        let bytes = head.write(&sealer, layout.head()).unwrap();
        store.put(layout.head(), &bytes, Over::Nothing).unwrap();
        let mut fleet = Self { store, sealer, layout, clock, members: Vec::new() };
        (1..=3).for_each(|seed| fleet.join(library, seed));
        fleet
    }

    fn join(&mut self, library: u32, seed: u64) {
        let build = Build { library, host: String::new() };
        let (layout, now) = (self.layout.clone(), self.clock.now());
        self.members.push(Member::new(layout, build, "class", seed, now, Rules::default()));
    }

    /// Lets a second pass, in which users ask each member sixty times, and a candidate fails so many times of ten.
    fn second(&mut self, fails: u64) {
        self.clock.advance(Duration::from_secs(1));
        let now = self.clock.now();
        for member in &mut self.members {
            while let Some((lane, act)) = member.due(now) {
                let reply = perform(self.store, &self.sealer, &act, &mut None);
                member.reply(lane, &Ramp { goes_on: false }, &reply, now);
            }
            if member.exposes(1, now) {
                let tally = Tally { canary: 6, failed: 6 * fails / 10, control: 54, failed_there: 0 };
                member.count_in(1, member.place().seq, &tally, now);
            }
        }
    }

    /// The one that judges, and how often it has cut.
    fn judge(&self) -> (usize, u64) {
        let judge = self.members.iter().position(|member| member.judge.judging).unwrap();
        (judge, self.members[judge].judge.ledger().unwrap().n)
    }

    /// Lets so many seconds pass, in which each answer to the one that judges takes so long, and no other one is asked to. What it asked for, and when.
    fn slowly(&mut self, seconds: u64, takes: u64, judge: usize) -> Vec<(Timestamp, Act<Tally>)> {
        let (mut waits, mut asked) = (None, Vec::new());
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            let now = self.clock.now();
            let due = |(_, at): &mut (_, Timestamp)| *at <= now;
            if let Some((act, _)) = waits.take_if(due) {
                let reply = perform(self.store, &self.sealer, &act, &mut None);
                self.members[judge].reply(Lane::Judge, &Ramp { goes_on: false }, &reply, now);
            }
            for (place, member) in self.members.iter_mut().enumerate() {
                while let Some((lane, act)) = member.due(now) {
                    if lane != Lane::Judge {
                        let reply = perform(self.store, &self.sealer, &act, &mut None);
                        member.reply(lane, &Ramp { goes_on: false }, &reply, now);
                    } else if place == judge {
                        asked.push((now, act.clone()));
                        waits = Some((act, now.plus(Duration::from_secs(takes))));
                    }
                }
                if member.exposes(1, now) {
                    let tally = Tally { canary: 6, failed: 0, control: 54, failed_there: 0 };
                    member.count_in(1, member.place().seq, &tally, now);
                }
            }
        }
        asked
    }

    fn head(&self) -> Arc<Written> {
        let Read::Value { bytes, .. } = self.store.get(self.layout.head(), None).unwrap() else { panic!() };
        match Value::<Tally>::read(&self.sealer, Kind::Head, self.layout.head(), &bytes).unwrap() {
            Value::Head(written) => written,
            other => panic!("{other:?}"),
        }
    }
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_unix_seconds(1_700_000_000))
}

fn goes_up_and_comes_down(store: &dyn Store, clock: Clock) {
    let mut good = Fleet::new(store, clock);
    (0..29).for_each(|_| good.second(0));
    assert!(
        good.members.iter().all(|member| !member.exposes(1, good.clock.now())),
        "nobody exposes at first"
    );
    (0..120).for_each(|_| good.second(0));
    let head = good.head();
    assert_eq!(head.head.core.candidates[0].weight, 6_000, "{:?}", head.head);
    assert!(good.members.iter().all(|member| member.place() == head.head.place));
    let now = good.clock.now();
    assert_eq!(good.members.iter().filter(|member| member.judge.judging).count(), 1);
    assert!(good.members.iter().all(|member| member.state(now) == State::Following));
    // Each head that was replaced is filed, and the chain goes back to the first.
    let filed = store.list(&Key::new("fleet/h/late/log").unwrap(), None).unwrap().entries.len() as u64;
    assert_eq!(filed, head.head.place.seq - 1);
    // By hand: here at once, and within two seconds everywhere.
    good.members[1].lower(1, "complaints", "ada", now);
    assert!(!good.members[1].exposes(1, now) && good.members[0].exposes(1, now));
    (0..3).for_each(|_| good.second(0));
    assert!(good.members.iter().all(|member| !member.exposes(1, good.clock.now())));
    assert_eq!(good.head().head.lowered[0].by, "ada");
    // One that leaves says so.
    good.members[0].leave();
    (0..6).for_each(|_| good.second(0));
    assert!(good.members[0].has_left());
}

#[test]
fn three_members_agree_in_memory() {
    let clock = clock();
    goes_up_and_comes_down(&InMemory::new(clock.clone()), clock);
}

#[test]
fn three_members_agree_in_a_folder() {
    let folder = std::env::temp_dir().join(format!("switchback-fleet-members-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    goes_up_and_comes_down(&Directory::create(&folder).unwrap(), clock());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_bad_candidate_is_taken_back_everywhere() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let mut fleet = Fleet::new(&store, clock);
    (0..60).for_each(|_| fleet.second(5));
    let head = fleet.head();
    assert_eq!((head.head.lowered.len(), head.head.core.candidates[0].weight), (1, 1_000), "{:?}", head.head);
    assert!(fleet.members.iter().all(|member| !member.exposes(1, fleet.clock.now())));
}

/// Invariant 13: a build that is older than whoever may write raises nothing, and lowers.
#[test]
fn an_older_build_only_lowers() {
    for (fails, weight, lowered) in [(0, 1_000, 0), (5, 1_000, 1)] {
        let clock = clock();
        let store = InMemory::new(clock.clone());
        let mut fleet = Fleet::of_build(&store, clock, 0);
        (0..90).for_each(|_| fleet.second(fails));
        let head = &fleet.head().head;
        assert_eq!((head.core.candidates[0].weight, head.lowered.len()), (weight, lowered), "{head:?}");
    }
}

/// Somebody who is 200 heads behind follows if the filed heads show where the newest comes from, and not if nobody can.
#[test]
fn a_sleeper_follows_only_what_can_be_proved() {
    for swept in [false, true] {
        let clock = clock();
        let store = InMemory::new(clock.clone());
        let mut fleet = Fleet::new(&store, clock.clone());
        (0..3).for_each(|_| fleet.second(0));
        let sleeper = fleet.members.pop().unwrap();
        assert_eq!(sleeper.place().seq, 1);
        // Others agree on 200 more.
        for number in 0..200 {
            let over = fleet.head();
            let next =
                Written::new(over.head.next(over.print, Hex(number + 7), "ada", "so", clock.now())).unwrap();
            let (layout, sealer) = (&fleet.layout, &fleet.sealer);
            let filed = Value::<Tally>::Head(over.clone());
            let key = layout.filed(over.head.place, over.print);
            let _ = store.put(&key, &filed.write(sealer, &key).unwrap(), Over::Nothing);
            let Read::Value { tag, .. } = store.get(layout.head(), None).unwrap() else { panic!() };
            let bytes = Value::<Tally>::Head(next.into()).write(sealer, layout.head()).unwrap();
            store.put(layout.head(), &bytes, Over::This(&tag)).unwrap();
        }
        if swept {
            for entry in store.list(&Key::new("fleet/h/late/log").unwrap(), None).unwrap().entries {
                store.remove(&entry.key, &entry.tag).unwrap();
            }
        }
        fleet.members = vec![sleeper];
        (0..3).for_each(|_| fleet.second(0));
        let sleeper = &fleet.members[0];
        let expected = if swept { State::Diverged } else { State::Following };
        assert_eq!(
            (sleeper.state(clock.now()), sleeper.place().seq),
            (expected, if swept { 1 } else { 201 })
        );
    }
}

#[test]
fn whoever_may_not_write_the_head_asks() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let mut fleet = Fleet::new(&store, clock.clone());
    (0..50).for_each(|_| fleet.second(0));
    let asks = fleet.members.iter().position(|member| !member.judge.judging).unwrap();
    fleet.members[asks].ask_to_lower(1, "complaints", "ada");
    assert!(!fleet.members[asks].exposes(1, clock.now()));
    (0..12).for_each(|_| fleet.second(0));
    assert_eq!(fleet.head().head.lowered[0].by, "ada");
    assert!(fleet.members.iter().all(|member| !member.exposes(1, clock.now())));
}

/// A store that is away: candidates stop within the lease, the table stays, and what was counted meanwhile is for neither arm.
#[test]
fn without_a_store_candidates_stop_and_nothing_is_counted() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let mut fleet = Fleet::new(&store, clock.clone());
    (0..50).for_each(|_| fleet.second(0));
    let mut member = fleet.members.remove(0);
    let place = member.place();
    let mut exposed = 0;
    for _ in 0..30 {
        clock.advance(Duration::from_secs(1));
        // Nobody answers.
        while let Some((lane, _)) = member.due(clock.now()) {
            let lost = super::call::Reply::Failed(crate::fleet::store::StoreOutcome::Unknown);
            member.reply(lane, &Ramp { goes_on: false }, &lost, clock.now());
            if lane == Lane::Judge || lane == Lane::Publish {
                break;
            }
        }
        exposed += u64::from(member.exposes(1, clock.now()));
        let tally = Tally { canary: 1, failed: 0, control: 9, failed_there: 0 };
        member.count_in(1, member.place().seq, &tally, clock.now());
    }
    assert!((8..=10).contains(&exposed), "{exposed}");
    assert_eq!((member.state(clock.now()), member.place()), (State::CutOff, place));
    let counted = member.publish.counted(1);
    assert_eq!(
        counted.control % 54,
        9 * exposed % 54,
        "{counted:?}: what came after the lease is for neither"
    );
}

/// Bug: a member that had counted much was silent from then on, and its candidates were taken to have ended its process. Cause: a row
/// that is longer than one may be was never written, and nothing followed from that. Fix: what fits into no row is told in parts,
/// each under a name of its own.
#[test]
fn what_fits_into_no_row_is_told_in_parts() {
    const ERAS: u64 = 1_500;
    for leaves in [false, true] {
        let clock = clock();
        let store = InMemory::new(clock.clone());
        let mut fleet = Fleet::new(&store, clock.clone());
        (0..40).for_each(|_| fleet.second(0));
        let counts = Tally { canary: 1, failed: 0, control: 1_000, failed_there: 0 };
        let before = fleet.members[0].publish.counted(1).control;
        for era in 0..ERAS {
            fleet.members[0].count_in(1, 1_000 + era, &counts, clock.now());
        }
        let told = before + ERAS * 1_000;
        assert_eq!(fleet.members[0].publish.counted(1).control, told);
        let (mut names, mut said) = (vec![fleet.members[0].name()], None);
        if leaves {
            fleet.members[0].leave();
        }
        for _ in 0..40 {
            clock.advance(Duration::from_secs(1));
            for member in &mut fleet.members {
                while let Some((lane, act)) = member.due(clock.now()) {
                    let reply = perform(&store, &fleet.sealer, &act, &mut said);
                    member.reply(lane, &Ramp { goes_on: false }, &reply, clock.now());
                }
            }
            let name = fleet.members[0].name();
            names.extend((names.last() != Some(&name)).then_some(name));
            // No request is counted under two names.
            let judged = fleet.members.iter().find_map(|member| member.judge.ledger());
            let judged = judged.unwrap().evidence.since(1, 1_000);
            assert!(judged.control <= ERAS * 1_000, "{judged:?}");
        }
        assert_eq!(said, None, "all that was put was short enough");
        assert!(leaves || (3..6).contains(&names.len()), "{names:?}");
        assert_eq!(fleet.members[0].has_left(), leaves);
        let ledgers = fleet.members.iter().filter_map(|member| member.judge.ledger());
        let ledger = ledgers.max_by_key(|ledger| ledger.n).unwrap();
        assert_eq!(ledger.evidence.since(1, 1_000).control, ERAS * 1_000);
        assert!(ledger.ends.trials.values().all(|trial| trial.exposed.ends == 0), "{:?}", ledger.ends);
        assert_eq!(ledger.voids, 0);
    }
}

/// Bug: what harmed could not be taken off where the head had no room for that, and was tried again for ever. Cause: a raise could fill
/// the head to its last byte. Fix: what raises leaves 64 KiB, and says so where it cannot.
#[test]
fn a_head_with_little_room_is_not_raised_and_is_lowered() {
    for (length, weight) in [(128 << 10, 6_000), (200 << 10, 1_000)] {
        let clock = clock();
        let store = InMemory::new(clock.clone());
        let head = Head { control: "x".repeat(length).into(), ..founding(Timing::default()) };
        let mut fleet = Fleet::founded(head, &store, clock.clone(), 1);
        (0..90).for_each(|_| fleet.second(0));
        assert_eq!(fleet.head().head.core.candidates[0].weight, weight);
        let refused = fleet.members.iter().find_map(|member| member.judge.refused.clone());
        assert_eq!(refused.is_some_and(|why| why.contains("head that raises exposure")), weight == 1_000);
        fleet.members[1].lower(1, &"c".repeat(3_000), "ada", clock.now());
        (0..3).for_each(|_| fleet.second(0));
        assert_eq!(fleet.head().head.lowered.len(), 1);
    }
}

/// Bug: where the rows took half a minute to read, processes that lived counted as ended, and three within a minute held the plan. Cause: a row
/// that was read late showed how late it was, and those that were read first were old by then. Fix: how late it is a listing says, in which all
/// were asked for at once.
#[test]
fn nobody_has_ended_where_rows_are_read_slowly() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let mut fleet = Fleet::new(&store, clock);
    (4..=9).for_each(|seed| fleet.join(1, seed));
    (0..36).for_each(|_| fleet.second(0));
    let (judge, before) = fleet.judge();
    fleet.slowly(300, 5, judge);
    let ledger = fleet.members[judge].judge.ledger().unwrap();
    assert!(fleet.members[judge].judge.judging && ledger.n > before + 3, "{before} {}", ledger.n);
    let ends: Vec<u64> = ledger.ends.trials.values().map(|trial| trial.exposed.ends).collect();
    assert_eq!(ends, [0], "{:#?}", ledger.ends);
}

/// Bug: a raise was agreed against what three had said, after the store had been put back. Cause: whoever begins to judge waits until those
/// who know better have had time to say so; it had read their rows before that, and the ledger took until after it to be written. Fix:
/// what is judged was read after the wait.
#[test]
fn whoever_begins_to_judge_raises_by_what_was_read_after_it_has_waited() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let mut fleet = Fleet::new(&store, clock);
    (0..36).for_each(|_| fleet.second(0));
    let (judge, _) = fleet.judge();
    drop(fleet.members.remove(judge));
    let asked = fleet.slowly(200, 2, 0);
    let puts = |wanted: Kind| move |(_, act): &(Timestamp, Act<Tally>)| matches!(act, Act::Put { value, .. } if value.kind() == wanted);
    let begins = |(_, act): &&(Timestamp, Act<Tally>)| matches!(act, Act::Get { kind: Kind::Head, .. });
    let cut = asked.iter().position(puts(Kind::Ledger)).unwrap();
    let raised = asked.iter().position(puts(Kind::Head)).unwrap();
    let tick = asked[..raised].iter().rfind(begins).unwrap();
    let waits = Duration::from_millis(3 * Timing::default().row);
    assert!(tick.0 >= asked[cut].0.plus(waits), "{:?} {:?} {:?}", asked[cut].0, tick.0, asked[raised].0);
}

/// Bug: a raise could rest on what was read before the store was put back. Cause: whoever judges was taken to have stood still where it rested, and
/// one that reads for minutes does not rest. Fix: what took longer to read than a process may be silent raises nothing, and it is said why.
#[test]
fn what_took_long_to_read_raises_nothing() {
    for (takes, weight) in [(3, 6_000), (5, 1_000)] {
        let clock = clock();
        let store = InMemory::new(clock.clone());
        let mut fleet = Fleet::new(&store, clock);
        (0..36).for_each(|_| fleet.second(0));
        assert_eq!(fleet.head().head.core.candidates[0].weight, 1_000);
        let (judge, before) = fleet.judge();
        fleet.slowly(400, takes, judge);
        let judge = &mut fleet.members[judge].judge;
        let cuts = judge.ledger().unwrap().n;
        assert!(cuts > before + 5, "{before} {cuts}");
        let refused = judge.refused.take().is_some_and(|why| why.contains("to read"));
        assert_eq!((fleet.head().head.core.candidates[0].weight, refused), (weight, weight == 1_000));
    }
}

/// Bug: where rows took long to read, a process that had ended was waited for many times as long as it should be. Cause: what a tick took was no
/// time in which rows were watched. Fix: it is counted from one tick's beginning to the next one's.
#[test]
fn who_has_ended_is_gone_however_long_rows_take_to_read() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let mut fleet = Fleet::new(&store, clock);
    (0..40).for_each(|_| fleet.second(0));
    let (judge, _) = fleet.judge();
    let dead = (judge + 1) % fleet.members.len();
    let name = fleet.members.remove(dead).name();
    let judge = judge - usize::from(dead < judge);
    fleet.slowly(120, 3, judge);
    let ledger = fleet.members[judge].judge.ledger().unwrap();
    let silence = ledger.marks[&name].silence(ledger.watched_ms);
    assert!(silence >= Duration::from_secs(60), "{silence:?}");
}

/// Bug: the more processes there were the longer nobody judged where one that did had ended. Cause: of many some look in each tick, whose first look
/// finds a ledger that has moved since their last one, and chance had to choose one of them again. Fix: it looks once more by itself.
#[test]
fn somebody_else_judges_soon_however_many_there_are() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let mut fleet = Fleet::new(&store, clock);
    (4..=150).for_each(|seed| fleet.join(1, seed));
    (0..40).for_each(|_| fleet.second(0));
    let judge = |fleet: &Fleet<'_>| fleet.members.iter().position(|member| member.judge.judging);
    let mut took = Vec::new();
    for _ in 0..5 {
        let ends = judge(&fleet).unwrap();
        drop(fleet.members.remove(ends));
        let second = |_: &u64| {
            fleet.second(0);
            judge(&fleet).is_some()
        };
        took.push((1..100).find(second).unwrap());
        (0..25).for_each(|_| fleet.second(0));
    }
    assert!(took.iter().all(|took| *took <= 12), "{took:?}");
}

/// Bug: where all processes together had more labels of segments than are told apart, what all had counted was given up again and again. Cause: what
/// comes first takes the room, so a label that was new in one row pushed another row's to the others, and the sum of that one shrank. Fix: what was told
/// apart at the last cut has its room first.
#[test]
fn a_label_that_is_new_takes_no_room_of_one_that_was_counted() {
    let row = |name: u64, n: u64, labels: std::ops::Range<u64>, state: State| {
        let mut counts = FleetCounts::default();
        for label in labels {
            let of = counts.evidence.segments.at(&Arc::from(format!("segment {name} {label}")));
            of.failed.alone.units = 10 * n;
        }
        let mut book = Book::default();
        book.count(1, 1, &counts);
        Row {
            name: Hex(name),
            life: Hex(name),
            n,
            nonce: Hex(n),
            build: Build::default(),
            class: String::new(),
            has: crate::fleet::format::head::Place { term: 1, seq: 1 },
            state,
            ready: Vec::new(),
            failed: BTreeMap::new(),
            tripped: Vec::new(),
            asks: Vec::new(),
            counts: book,
            alive_ms: 0,
            more: Default::default(),
        }
    };
    let (head, now) = (founding(Timing::default()), clock().now());
    let after = |before: &Ledger<FleetCounts>, rows: &[Row<FleetCounts>]| {
        let found = rows.iter().map(|row| (row.name, Found { row: Some(row), at: now })).collect();
        let second = (Duration::from_secs(1), Duration::ZERO);
        match cut(before, &found, &BTreeMap::new(), &head, now, second, Rules::default()) {
            Cut::Next(next, found) => (*next, found),
            Cut::Held(names) => panic!("{names:?} held it up"),
        }
    };
    let rows = |n: u64, first: u64, state: State| -> Vec<Row<FleetCounts>> {
        let of = |name: u64| row(name, n, 0..if name == 1 { first } else { 64 }, State::Following);
        (1..=4).map(of).chain([row(5, n, 0..64, state)]).collect()
    };
    let (before, _) = after(&Ledger::empty(), &rows(1, 64, State::Following));
    assert_eq!(before.base.since(1, 0).evidence.segments.iter().count(), 258);
    // A row that is closed in the same tick adds up as it did when it was open, and so it stays.
    let (next, found) = after(&before, &rows(2, 65, State::Left));
    let more = |book: &Book<FleetCounts>| -> u64 {
        book.since(1, 0).evidence.segments.iter().map(|(_, counts)| counts.failed.alone.units).sum()
    };
    assert_eq!((more(&found), next.voids), (10 * 5 * 64 + 20, 0));
    let (last, found) = after(&next, &rows(3, 66, State::Left));
    assert_eq!((more(&found), last.voids), (10 * 4 * 64 + 10 + 30, 0));
    assert_eq!(last.base.since(1, 0).evidence.segments.iter().count(), 258);
}

/// Bug: a machine that was paused for longer than `close_after` went on under a name that was closed, and nothing that it counted was evidence for as long
/// as its rollout ran. Cause: it could not know for how long it had been paused, and whoever judged told it nothing. Fix: a member that finds its
/// name closed in the ledger takes another one.
#[test]
fn a_member_that_finds_its_name_closed_takes_another_one() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let timing = Timing { close_after: 60_000, ..Timing::default() };
    let mut fleet = Fleet::founded(founding(timing), &store, clock.clone(), 1);
    (0..40).for_each(|_| fleet.second(0));
    let (judge, _) = fleet.judge();
    let mut paused = fleet.members.remove((judge + 1) % 3);
    let (name, pause) = (paused.name(), Duration::from_secs(80));
    (0..pause.as_secs()).for_each(|_| fleet.second(0));
    let ledger = |fleet: &Fleet<'_>| {
        let judge = fleet.members.iter().find(|member| member.judge.judging).unwrap();
        judge.judge.ledger().unwrap().clone()
    };
    assert!(ledger(&fleet).marks[&name].closed.is_some());
    for _ in 0..20 {
        fleet.second(0);
        let now = clock.now().minus(pause);
        while let Some((lane, act)) = paused.due(now) {
            let reply = perform(&store, &fleet.sealer, &act, &mut None);
            paused.reply(lane, &Ramp { goes_on: false }, &reply, now);
        }
    }
    assert!(paused.name() != name);
    assert!(ledger(&fleet).marks[&paused.name()].closed.is_none());
}

/// Bug: a process that was running when a later release began to decide went on by a head that it was told it cannot read, and wrote it again
/// without what it did not know. Cause: what a head asks of whoever reads it was looked at only at a start. Fix: such a head is one that cannot be read.
#[test]
fn a_head_of_a_later_release_is_not_followed_and_not_written_over() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let mut fleet = Fleet::new(&store, clock.clone());
    (0..40).for_each(|_| fleet.second(0));
    assert!(fleet.members.iter().all(|member| member.exposes(1, clock.now())));
    let over = fleet.head();
    let next = Head { min_reader: 2, ..over.head.next(over.print, Hex(7), "ada", "so", clock.now()) };
    let bytes = Value::<Tally>::Head(Written::new(next).unwrap().into())
        .write(&fleet.sealer, fleet.layout.head())
        .unwrap();
    let Read::Value { tag, .. } = store.get(fleet.layout.head(), None).unwrap() else { panic!() };
    store.put(fleet.layout.head(), &bytes, Over::This(&tag)).unwrap();
    fleet.members[0].lower(1, "complaints", "ada", clock.now());
    (0..15).for_each(|_| fleet.second(5));
    for member in &fleet.members {
        assert!(!member.exposes(1, clock.now()) && member.place() == over.head.place);
        assert_eq!(member.state(clock.now()), State::CutOff);
    }
    let Read::Value { bytes: there, .. } = store.get(fleet.layout.head(), None).unwrap() else { panic!() };
    assert_eq!(there, bytes);
    let read = Value::<Tally>::read(&fleet.sealer, Kind::Head, fleet.layout.head(), &bytes).unwrap_err();
    assert!(read.to_string().contains("later release of this library: it asks for 2"), "{read}");
}

/// Bug: evidence of an attempt was there twice after a store was put back. Cause: whoever had judged cut the ledger once more by the head that was no
/// longer there, in which the next attempt was on trial, and so left the one before it out; all that rows had of that one was new at the next
/// cut. Fix: a ledger says which attempts its head had, and of what runs once more nothing that was counted before is evidence.
#[test]
fn what_was_left_out_of_a_ledger_and_runs_once_more_is_no_evidence_a_second_time() {
    let now = clock().now();
    let of_attempt = |attempt: u32| {
        let mut head = founding(Timing::default());
        head.core.candidates = vec![candidate(attempt)];
        head
    };
    let row = |canary: u64| {
        let mut counts = Book::default();
        counts.count(1, 1, &Tally { canary, ..Tally::default() });
        Row {
            name: Hex(1),
            life: Hex(1),
            n: canary,
            nonce: Hex(canary),
            build: Build::default(),
            class: String::new(),
            has: crate::fleet::format::head::Place { term: 1, seq: 1 },
            state: State::Following,
            ready: Vec::new(),
            failed: BTreeMap::new(),
            tripped: Vec::new(),
            asks: Vec::new(),
            counts,
            alive_ms: 0,
            more: Default::default(),
        }
    };
    let after = |before: &Ledger<Tally>, head: &Head, canary: u64, held: u32| {
        let row = row(canary);
        let found = [(row.name, Found { row: Some(&row), at: now })].into();
        let second = (Duration::from_secs(1), Duration::ZERO);
        let held = [(SUM, held)].into();
        match cut(before, &found, &held, head, now, second, Rules::default()) {
            Cut::Next(next, _) => Ok(*next),
            Cut::Held(names) => Err(names),
        }
    };
    let first = after(&Ledger::empty(), &of_attempt(1), 10, 0).unwrap();
    assert_eq!((first.evidence.since(1, 0).canary, first.voids), (10, 0));
    let second = after(&first, &of_attempt(2), 20, 0).unwrap();
    assert_eq!((second.evidence.since(1, 0).canary, second.voids), (0, 0));
    // The head was put back.
    assert_eq!(after(&second, &of_attempt(1), 30, 0), Err(vec![SUM]));
    let third = after(&second, &of_attempt(1), 30, HELD).unwrap();
    assert_eq!((third.evidence.since(1, 0).canary, third.voids), (0, 1));
    let fourth = after(&third, &of_attempt(1), 40, 0).unwrap();
    assert_eq!((fourth.evidence.since(1, 0).canary, fourth.voids), (10, 1));
    // What is gone for good runs no more, though a row has it still and no later one is there.
    let mut three = of_attempt(1);
    three.core.candidates.push(candidate(5));
    let fifth = after(&fourth, &three, 45, 0).unwrap();
    let gone = Ledger { runs: vec![3, 5], ..fifth.clone() };
    let mut none = of_attempt(1);
    none.core.candidates.clear();
    assert_eq!(after(&gone, &none, 46, 0).map(|next| next.voids), Ok(1));
    // One that begins under the next head was left out by none.
    let mut both = of_attempt(1);
    both.core.candidates.push(candidate(2));
    assert_eq!(after(&fourth, &both, 50, 0).unwrap().evidence.since(1, 0).canary, 20);
}

/// Bug: a process that left took a lowering with it that the store had not taken yet. Cause: nothing more was asked once the goodbye was there. Fix: what
/// is to be lowered is put to the others by one that has said goodbye too, as long as it is there.
#[test]
fn a_lowering_that_the_store_has_not_taken_outlasts_the_goodbye() {
    let clock = clock();
    let store = InMemory::new(clock.clone());
    let mut fleet = Fleet::new(&store, clock.clone());
    (0..40).for_each(|_| fleet.second(0));
    let mut leaves = fleet.members.remove(0);
    leaves.lower(1, "complaints", "ada", clock.now());
    leaves.leave();
    let asks = |leaves: &mut Member<Tally>, takes: bool| {
        while let Some((lane, act)) = leaves.due(clock.now()) {
            let reply = if takes || lane == Lane::Publish {
                perform(&store, &fleet.sealer, &act, &mut None)
            } else {
                Reply::Failed(StoreOutcome::NotDone)
            };
            leaves.reply(lane, &Ramp { goes_on: false }, &reply, clock.now());
        }
    };
    asks(&mut leaves, false);
    assert!(leaves.has_left() && leaves.is_lowering() && fleet.head().head.lowered.is_empty());
    clock.advance(Duration::from_secs(1));
    asks(&mut leaves, true);
    assert!(fleet.head().head.is_lowered(1));
    clock.advance(Duration::from_secs(1));
    asks(&mut leaves, true);
    assert!(!leaves.is_lowering(), "it is agreed on");
}
