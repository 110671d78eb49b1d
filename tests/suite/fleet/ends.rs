//! A candidate that takes processes down is taken off, although none of them can say so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use switchback::events::{Cause, EventKind};
use switchback::fleet::InMemory;
use switchback::options::{Fleet, FleetTiming, Threads};
use switchback::plan::Bake;
use switchback::status::FleetEnds;
use switchback::{Clock, Model, ModelHandle, Task, Timestamp, closure};

use super::line::{Line, Wire};
use crate::common::Chance;

type Handle = ModelHandle<f64, f64>;

/// Several processes of a service, and whatever starts another one where one ends.
struct World {
    clock: Clock,
    store: Arc<InMemory>,
    members: Vec<(Handle, Arc<Wire>)>,
    chance: Chance,
    ended: usize,
    /// Who is asked of the candidate is drawn from it, and who judges, by each process from its own.
    seed: u64,
}

/// So often is each process asked, and ticks.
const STEP: Duration = Duration::from_secs(5);

fn version(name: &str) -> Box<dyn Model<f64, f64>> {
    let answer = if name == "v1" { 0.25 } else { 0.75 };
    Box::new(closure(format!("{name}@1"), move |_: &f64| Ok(answer)))
}

impl World {
    fn new(members: usize, seed: u64) -> Self {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_800_000_000));
        let store = Arc::new(InMemory::new(clock.clone()));
        let mut world =
            Self { clock, store, members: Vec::new(), chance: Chance(seed), ended: 0, seed: seed << 32 };
        (0..members).for_each(|_| world.start());
        world
    }

    fn start(&mut self) {
        self.seed += 1;
        let (line, wire) = Line::new(&self.store);
        let seconds = Duration::from_secs;
        let timing = FleetTiming::new().poll(seconds(5)).row(seconds(10)).tick(seconds(5));
        let timing = timing.valid_for(seconds(30)).settle(seconds(65));
        let handle = ModelHandle::builder("late")
            .live("v1", closure("v1@1", |_: &f64| Ok(0.25)))
            .source(|name: &str| Ok(version(name)))
            .task(Task::binary(|p: &f64| *p))
            .threads(Threads::manual().stripes(1).tick_every(STEP))
            .clock(self.clock.clone())
            .seed(self.seed)
            .fleet(Fleet::on(line).timing(timing).seed(self.seed))
            .build()
            .unwrap();
        self.members.push((handle, wire));
    }

    /// It is there no more, and has said nothing.
    fn kill(&mut self, place: usize) {
        std::mem::forget(self.members.remove(place));
        self.ended += 1;
    }

    /// A step: each process is asked once, and one that a candidate has answered in is there no more where it takes processes down.
    fn step(&mut self, takes_down: bool) {
        let mut place = 0;
        while place < self.members.len() {
            let candidate = *self.members[place].0.predict(&0.5).unwrap().output() > 0.5;
            if candidate && takes_down {
                self.kill(place);
                self.start();
                continue;
            }
            self.members[place].0.tick();
            place += 1;
        }
        self.clock.advance(STEP);
    }

    fn minutes(&mut self, minutes: u64, takes_down: bool) {
        (0..12 * minutes).for_each(|_| self.step(takes_down));
    }

    fn ends(&self) -> Option<FleetEnds> {
        let judge = self.members.iter().find_map(|(handle, _)| handle.fleet().filter(|fleet| fleet.judges));
        judge.and_then(|fleet| fleet.ends.into_iter().next())
    }

    fn causes(&self) -> Vec<Cause> {
        let events = self.members.iter().flat_map(|(handle, _)| handle.events());
        let cause = |kind: &EventKind| match kind {
            EventKind::Aborted { cause, .. } | EventKind::RolledBack { cause, .. } => Some(cause.clone()),
            _ => None,
        };
        events.filter_map(|event| cause(&event.kind)).collect()
    }

    fn paused(&self) -> Option<String> {
        let mut events = self.members.iter().flat_map(|(handle, _)| handle.events());
        events.find_map(|event| match &event.kind {
            EventKind::Paused { reason, .. } => Some(reason.clone()),
            _ => None,
        })
    }

    fn phases(&self) -> BTreeSet<String> {
        let phase = |handle: &Handle| handle.rollout("v2").map(|rollout| format!("{:?}", rollout.phase()));
        self.members.iter().filter_map(|(handle, _)| phase(handle)).collect()
    }
}

/// Bug: a candidate that took processes down was found by nobody, since none of them could say so: each process that was started in
/// the place of another exposed it again. Cause: what was judged is what processes count, and one that ends has counted nothing.
/// Fix: that they end without a word is counted.
///
/// Bug: the test failed once in a while. Cause: members drew their chance by themselves, whatever the seed of their handles, and by chance
/// three of four ended within a minute, for which the candidate is held until somebody looks, or 27 were needed for evidence. Fix:
/// members have a seed, and whoever looks lets it go on.
#[test]
fn a_candidate_that_takes_down_who_asks_it_now_and_then_is_taken_off() {
    let mut world = World::new(4, 6);
    world.minutes(60, false);
    // Processes end now and then anyway.
    world.kill(1);
    world.start();
    world.minutes(60, false);
    world.members[0].0.stage("v2", closure("v2@1", |_: &f64| Ok(0.75))).unwrap().canary(0.01).unwrap();
    let before = world.ended;
    let mut steps = 0;
    while world.causes().is_empty() && steps < 12 * 240 {
        world.step(true);
        steps += 1;
        // Whoever started it and cannot believe it.
        if steps % 12 == 0 && world.phases() == BTreeSet::from(["Staged".to_owned()]) {
            world.members[0].0.rollout("v2").unwrap().resume().unwrap();
        }
    }
    let told = world.causes();
    let Some(Cause::ProcessesEnded { ends, spared_ends, exposed, spared, .. }) = told.first() else {
        panic!("after {steps} steps, {} ended: {told:?}, {:?}", world.ended - before, world.ends());
    };
    assert_eq!(*spared_ends, 1);
    assert!((3..=20).contains(ends), "{ends}");
    assert!(
        *exposed < Duration::from_secs(4 * 7_200) && *spared > Duration::from_secs(4 * 7_000),
        "{told:?}"
    );
    // Everybody is back on live, and nobody ends any more.
    world.minutes(1, true);
    let ended = world.ended;
    world.minutes(10, true);
    assert_eq!((world.ended, world.phases()), (ended, BTreeSet::new()));
    assert!(world.members[0].0.status().quarantined.iter().any(|one| one.version == "v2"));
    let said = told[0].to_string();
    assert!(said.starts_with("processes ended without a word ") && said.contains("hours"), "{said}");
}

/// Each process is gone as soon as it exposes the candidate: long before there is evidence, it is held.
#[test]
fn a_candidate_that_takes_down_all_at_once_is_held() {
    let mut world = World::new(4, 5);
    world.minutes(5, false);
    world.members[0].0.stage("v2", closure("v2@1", |_: &f64| Ok(0.75))).unwrap().canary(0.5).unwrap();
    world.minutes(3, true);
    let ended = world.ended;
    assert!((3..=8).contains(&ended), "{ended}");
    world.minutes(10, true);
    assert_eq!((world.ended, world.phases()), (ended, BTreeSet::from(["Staged".to_owned()])));
    assert!(
        world.paused().is_some_and(|told| told.contains("of 4 processes ended without a word")),
        "{:?}",
        world.paused()
    );
}

/// Processes end by chance, each once in twenty minutes or so, whatever they expose.
#[test]
fn processes_that_end_as_often_as_ever_are_no_evidence_against_a_candidate() {
    for seed in 1..=4 {
        let mut world = World::new(4, seed);
        let live = |world: &mut World, minutes: u64| {
            for _ in 0..12 * minutes {
                world.step(false);
                for place in 0..world.members.len() {
                    if world.chance.next() < 1.0 / 240.0 {
                        world.kill(place);
                        world.start();
                    }
                }
            }
        };
        live(&mut world, 40);
        world.members[0].0.stage("v2", closure("v2@1", |_: &f64| Ok(0.75))).unwrap().canary(0.5).unwrap();
        live(&mut world, 30);
        assert!(world.causes().is_empty(), "{:?}: {:?}", world.ends(), world.causes());
        // Those that have just been started expose nothing yet.
        world.minutes(2, false);
        let ends = world.ends().unwrap();
        assert!(ends.exposed_ends >= 1 && ends.spared_ends >= 3, "{ends:?} of {}", world.ended);
        assert_eq!(world.phases(), BTreeSet::from(["Canary".to_owned()]));
    }
}

/// Whoever says goodbye has not ended without a word, and neither has anybody while the store could not be asked.
#[test]
fn deploys_and_outages_of_the_store_are_no_ends() {
    let mut world = World::new(3, 5);
    world.minutes(2, false);
    world.members[0].0.stage("v2", closure("v2@1", |_: &f64| Ok(0.75))).unwrap().canary(0.5).unwrap();
    world.minutes(2, false);
    for _ in 0..3 {
        let (handle, _) = world.members.remove(0);
        handle.close(Duration::from_secs(1)).unwrap();
        drop(handle);
        world.start();
        world.minutes(2, false);
    }
    let cut = |world: &World, is_cut| world.members.iter().for_each(|(_, wire)| wire.cut(is_cut));
    cut(&world, true);
    world.minutes(5, false);
    cut(&world, false);
    world.minutes(5, false);
    let ends = world.ends().unwrap();
    assert_eq!((ends.exposed_ends, ends.spared_ends), (0, 0), "{ends:?}");
    assert!(ends.exposed > Duration::from_secs(600), "{ends:?}");
}

/// A node that goes down takes its processes along: once. So many at once may be the candidate's doing all the same: it is held, and
/// somebody lets it go on.
#[test]
fn a_candidate_is_held_where_many_processes_end_at_once_and_goes_on_when_it_is_told_to() {
    let mut world = World::new(6, 5);
    world.minutes(60, false);
    world.members[0].0.stage("v2", closure("v2@1", |_: &f64| Ok(0.75))).unwrap().canary(0.5).unwrap();
    world.minutes(3, false);
    (0..3).for_each(|_| world.kill(3));
    (0..3).for_each(|_| world.start());
    world.minutes(2, false);
    assert_eq!(world.phases(), BTreeSet::from(["Staged".to_owned()]), "{:?}", world.ends());
    let told = world.paused();
    assert!(told.as_deref().is_some_and(|told| told.starts_with("3 of 6 processes ended")), "{told:?}");
    // What was held is not held again for the same ends.
    world.members[1].0.rollout("v2").unwrap().resume().unwrap();
    world.minutes(3, false);
    assert_eq!(world.phases(), BTreeSet::from(["Canary".to_owned()]), "{:?}", world.ends());
    assert_eq!(world.ends().unwrap().exposed_ends, 1);
    assert!(world.causes().is_empty());
}

/// Bug: where many processes ended at once with a new live that was watched nothing said so, though the page promised that it is held. Cause: it cannot be, and
/// what was not held was told to nobody. Fix: whoever judges tells it, once, and the watch goes on.
#[test]
fn a_watched_live_under_which_many_processes_end_at_once_is_told() {
    let mut world = World::new(6, 5);
    world.minutes(60, false);
    let rollout = world.members[0].0.stage("v2", closure("v2@1", |_: &f64| Ok(0.75))).unwrap();
    rollout.bake(Bake::new(Duration::from_secs(86_400))).promote().unwrap();
    world.minutes(3, false);
    (0..3).for_each(|_| world.kill(3));
    (0..3).for_each(|_| world.start());
    world.minutes(10, false);
    let events = world.members.iter().flat_map(|(handle, _)| handle.events());
    let told: Vec<_> = events.filter(|event| event.kind.name() == "ended_at_once").collect();
    assert!(
        matches!(&told[..], [one] if matches!(one.kind, EventKind::EndedAtOnce { ended: 3, of: 6, .. })),
        "{told:?}"
    );
    assert_eq!(world.phases(), BTreeSet::from(["Baking".to_owned()]));
    assert!(world.causes().is_empty() && world.paused().is_none());
}
