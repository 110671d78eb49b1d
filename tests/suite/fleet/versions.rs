//! Versions that travel: each process has a repository of its own, and brings what any of them stages from one elsewhere.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use switchback::fleet::InMemory;
use switchback::model::ModelError;
use switchback::model::onnx::{Feed, Outputs};
use switchback::options::{Fleet, FleetTiming, Threads};
use switchback::repository::contract::{Host, Pipelines};
use switchback::repository::{Draft, FolderSource, Manifest, Repository, ServeError, Served};
use switchback::versions::{Follow, FollowError, OnPublish};
use switchback::{
    Clock, ModelHandle, Phase, Plan, Rollout, RolloutError, StageError, Step, Timestamp, closure, guard,
};

use super::line::{Line, Wire};
use crate::common::Folder;

type Versions = Arc<Served<f32, f32>>;

fn encode(input: &f32, feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
    feed.buffer("x", &[1, 3])?.copy_from_slice(&[*input; 3]);
    Ok(())
}

fn decode(outputs: &Outputs<'_>) -> Result<f32, ModelError> {
    Ok(outputs.tensor::<f32>("y")?.1[0])
}

struct World {
    folder: Folder,
    clock: Clock,
    store: Arc<InMemory>,
}

impl World {
    fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_800_000_000));
        let store = Arc::new(InMemory::new(clock.clone()));
        Self { folder: Folder::new(), clock, store }
    }

    fn publish(&self, version: &str) {
        self.publish_in("models", version);
    }

    fn publish_in(&self, folder: &str, version: &str) {
        let mut manifest = Manifest::new("late", version, Timestamp::from_unix_seconds(1_790_000_000));
        let contract = r#"{"pipeline": {"name": "plain", "version": "1.0"}}"#;
        manifest.contract = serde_json::from_str(contract).unwrap();
        let models = Repository::create(self.folder.0.join(folder)).unwrap();
        models.publish(Draft::new(manifest).file("model.onnx", "tests/models/affine.onnx")).unwrap();
    }

    /// What one process has: a folder that is empty at first, and the place that all bring versions from.
    fn versions(&self, process: &str) -> Versions {
        let mut pipelines = Pipelines::new();
        pipelines.register("plain", "1.0.0", encode, decode).unwrap();
        let here = Repository::create(self.folder.0.join(process)).unwrap();
        let elsewhere = FolderSource::open(self.folder.0.join("models")).unwrap();
        Arc::new(here.serve("late", Host::new(), pipelines).pulling_from(elsewhere))
    }

    fn join(&self, versions: &Versions) -> Result<ModelHandle<f32, f32>, Box<dyn std::error::Error>> {
        self.join_by(Line::new(&self.store).0, versions)
    }

    fn join_by(
        &self,
        line: Line,
        versions: &Versions,
    ) -> Result<ModelHandle<f32, f32>, Box<dyn std::error::Error>> {
        let (live, model) = versions.open("v1")?;
        let handle = ModelHandle::builder("late")
            .live(live.as_str(), model)
            .source(Arc::clone(versions))
            .threads(Threads::manual().stripes(1))
            .clock(self.clock.clone())
            .fleet(Fleet::on(line).timing(FleetTiming::new().settle(Duration::from_secs(5))))
            .build()?;
        Ok(handle)
    }

    fn pass(&self, members: &[&ModelHandle<f32, f32>], seconds: u64) {
        for _ in 0..2 * seconds {
            members.iter().for_each(|member| member.tick());
            self.clock.advance(Duration::from_millis(500));
        }
    }
}

/// Two processes that follow the same versions, each from a folder of its own, and their wires.
struct Two {
    world: World,
    members: [ModelHandle<f32, f32>; 2],
    follows: [Option<Follow<f32, f32>>; 2],
    wires: [Arc<Wire>; 2],
}

impl Two {
    fn new(guards: impl Fn(Rollout<f32, f32>) -> Rollout<f32, f32> + Clone + Send + 'static) -> Self {
        let world = World::new();
        world.publish("v1");
        let [first, second] = ["first", "second"].map(|process| world.versions(process));
        let [(line, wire), (other, others)] = [Line::new(&world.store), Line::new(&world.store)];
        let members = [world.join_by(line, &first).unwrap(), world.join_by(other, &second).unwrap()];
        world.pass(&[&members[0], &members[1]], 8);
        let plan = Plan::new([Step::canary(0.5).unwrap()]).unwrap();
        let follow = |member: &ModelHandle<f32, f32>, versions: Versions| {
            Some(member.follow(versions, OnPublish::Run(plan.clone()), guards.clone()).unwrap())
        };
        let follows = [follow(&members[0], first), follow(&members[1], second)];
        ["first", "second"].iter().for_each(|process| world.publish_in(process, "v2"));
        Self { world, members, follows, wires: [wire, others] }
    }

    fn look(&mut self, place: usize) -> Vec<Result<(), FollowError>> {
        let follow = self.follows[place].as_mut().unwrap();
        follow.poll().unwrap().into_iter().map(|followed| followed.done).collect()
    }

    fn pass(&self, seconds: u64) {
        self.world.pass(&[&self.members[0], &self.members[1]], seconds);
    }

    fn phases(&self) -> [Option<Phase>; 2] {
        [0, 1].map(|place| self.members[place].rollout("v2").map(|rollout| rollout.phase()))
    }

    fn told(&self, place: usize, name: &str) -> usize {
        self.members[place].events().iter().filter(|event| event.kind.name() == name).count()
    }
}

fn guarded(rollout: Rollout<f32, f32>) -> Rollout<f32, f32> {
    rollout.guard(guard::error_rate().at_most(0.5))
}

/// Bug: a candidate that somebody had taken off came back in a whole fleet. Cause: a process whose look at the repository was late staged it and ran
/// its plan, since whether it was tried before was asked only of what had waited or had come back. Fix: in a fleet it is always asked, before it
/// is staged and once it is, of what is agreed on then.
#[test]
fn what_the_fleet_has_tried_is_not_tried_again_by_a_process_that_comes_late() {
    for knows in [true, false] {
        let mut two = Two::new(guarded);
        assert!(matches!(two.look(0)[..], [Ok(())]));
        two.world.pass(&[&two.members[0]], 3);
        assert_eq!(two.phases()[0], Some(Phase::Canary));
        let _ = two.members[0].rollback("complaints");
        if knows {
            two.pass(3);
        }
        let seen = two.look(1);
        assert!(matches!(&seen[..], [Err(FollowError::Tried { version })] if *version == "v2"), "{seen:?}");
        two.pass(3);
        assert_eq!(two.phases(), [None, None]);
        assert_eq!(two.told(0, "phase_changed"), 1, "{:#?}", two.members[0].events());
        assert_eq!(two.told(0, "staged"), if knows { 1 } else { 2 });
    }
}

/// Bug: a version whose plan was refused stayed staged in all processes of a fleet. Cause: it was taken off outside of fleets alone, since another
/// process may have begun with it. Fix: it is decided on what is agreed on, and only while nobody has.
#[test]
fn a_version_whose_plan_is_refused_is_left_in_no_process() {
    let mut two = Two::new(|rollout| rollout);
    let seen = two.look(0);
    assert!(matches!(seen[..], [Err(FollowError::Rollout(RolloutError::Unguarded))]), "{seen:?}");
    two.pass(3);
    assert_eq!((two.phases(), two.told(1, "aborted")), ([None, None], 1));
}

/// Bug: a process said of a version which it tried that it was not tried. Cause: whoever lost the race for staging it was refused as one whose moment
/// another decision was made in. Fix: it is as one that is in use.
#[test]
fn a_version_that_another_process_stages_in_the_same_moment_is_not_said_to_be_refused() {
    let mut two = Two::new(guarded);
    let mut first = two.follows[0].take().unwrap();
    two.wires[1].overtake(move || assert!(first.poll().unwrap()[0].done.is_ok()));
    let seen = two.look(1);
    assert!(matches!(seen[..], [Err(FollowError::Stage(StageError::InUse { .. }))]), "{seen:?}");
    two.pass(8);
    assert_eq!(two.phases(), [Some(Phase::Canary); 2]);
    assert_eq!(two.told(1, "version_refused"), 0, "{:#?}", two.members[1].events());
}

/// Bug: a version that was published while the store was away was tried by nobody. Cause: a refusal was final until the version's files changed. Fix:
/// one that is no fault of the version's is tried again once the store answers.
#[test]
fn what_is_published_while_the_store_is_away_is_tried_once_it_answers() {
    let mut two = Two::new(guarded);
    two.wires.iter().for_each(|wire| wire.cut(true));
    for place in [0, 1] {
        let seen = two.look(place);
        assert!(matches!(seen[..], [Err(FollowError::Stage(StageError::NotAgreed { .. }))]), "{seen:?}");
    }
    for _ in 0..5 {
        two.pass(60);
        assert!(two.look(0).is_empty() && two.look(1).is_empty());
    }
    assert_eq!([0, 1].map(|place| two.told(place, "version_refused")), [1, 1]);
    two.wires.iter().for_each(|wire| wire.cut(false));
    two.pass(3);
    assert!(matches!(two.look(0)[..], [Ok(())]));
    two.pass(5);
    let seen = two.look(1);
    assert!(matches!(seen[..], [Err(FollowError::Stage(StageError::InUse { .. }))]), "{seen:?}");
    assert_eq!(two.phases(), [Some(Phase::Canary); 2]);
    two.pass(60);
    assert!(two.look(0).is_empty() && two.look(1).is_empty(), "once");
    assert_eq!([0, 1].map(|place| two.told(place, "version_refused")), [1, 1]);
}

/// Bug: a version stayed staged in all processes of a fleet, without a plan and without a word, where whoever had staged it was killed before it ran
/// one, or could not take it off again. Cause: nothing said what it was staged for, and whoever came next left it at that. Fix: it is written down,
/// and who follows goes on with it a minute later; what a person has staged it leaves alone.
#[test]
fn what_is_left_staged_without_its_plan_is_run_by_whoever_follows() {
    for is_killed in [true, false] {
        let (ends, wires) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::<Arc<Wire>>::new())));
        let (once, cut) = (Arc::clone(&ends), Arc::clone(&wires));
        let mut two = Two::new(move |rollout| {
            if once.swap(false, Ordering::Relaxed) {
                assert!(!is_killed, "the process is killed here");
                cut.lock().unwrap().iter().for_each(|wire| wire.cut(true));
            }
            guarded(rollout)
        });
        *wires.lock().unwrap() = two.wires.to_vec();
        let by_hand = {
            let models = closure("half@1", |_: &f32| Ok(0.5));
            two.members[1].stage("by-hand", models).unwrap().version()
        };
        two.pass(3);
        let looks = if is_killed {
            let killed = catch_unwind(AssertUnwindSafe(|| two.look(0)));
            assert!(killed.is_err());
            two.follows[0] = None;
            1
        } else {
            let seen = two.look(0);
            assert!(
                matches!(seen[..], [Err(FollowError::Rollout(RolloutError::NotAgreed { .. }))]),
                "{seen:?}"
            );
            two.wires.iter().for_each(|wire| wire.cut(false));
            0
        };
        two.pass(35);
        let seen = two.look(looks);
        assert!(matches!(seen[..], [Err(FollowError::Stage(StageError::InUse { .. }))]), "{seen:?}");
        assert_eq!(two.phases(), [Some(Phase::Staged); 2], "whoever staged it may be about to run it");
        two.pass(61);
        let seen = two.look(looks);
        assert!(matches!(seen[..], [Ok(())]), "{seen:?}");
        two.pass(3);
        assert_eq!(two.phases(), [Some(Phase::Canary); 2]);
        assert_eq!(two.members[1].rollout(by_hand.as_str()).unwrap().phase(), Phase::Staged);
        assert!(two.look(looks).is_empty());
    }
}

fn here(versions: &Versions) -> Vec<String> {
    versions.repository().versions("late").unwrap().iter().map(|entry| entry.version.to_string()).collect()
}

#[test]
fn what_one_process_stages_the_others_bring_from_elsewhere_and_only_once() {
    let world = World::new();
    world.publish("v1");
    let (first, second) = (world.versions("first"), world.versions("second"));
    let (a, b) = (world.join(&first).unwrap(), world.join(&second).unwrap());
    world.pass(&[&a, &b], 8);
    world.publish("v2");
    assert_eq!((here(&first), here(&second)), (vec!["v1".to_owned()], vec!["v1".to_owned()]));

    // Only one process is told of v2: the other one brings it, has it ready, and only then does it take traffic there.
    let (version, model) = first.open("v2").unwrap();
    let rollout = a.stage(version.as_str(), model).unwrap();
    rollout.canary(1.0).unwrap();
    world.pass(&[&a, &b], 12);
    assert_eq!(here(&second), ["v1", "v2"]);
    assert_eq!(b.predict(&1.0).unwrap().version(), "v2", "{:?}", b.events());
    rollout.promote().unwrap();
    world.pass(&[&a, &b], 5);
    assert_eq!(b.live(), "v2");

    // A process that comes later finds what is live now, although nobody gave it anything but v1.
    let third = world.versions("third");
    let c = world.join(&third).unwrap();
    assert_eq!((c.live().as_str(), here(&third)), ("v2", vec!["v1".to_owned(), "v2".to_owned()]));
    assert_eq!(c.predict(&1.0).unwrap().output(), a.predict(&1.0).unwrap().output());

    // What was brought is here: the place elsewhere may go away. Who has not brought it says what is missing.
    let (again, fourth) = (world.versions("third"), world.versions("fourth"));
    fs::rename(world.folder.0.join("models"), world.folder.0.join("away")).unwrap();
    drop(c);
    assert_eq!(world.join(&again).unwrap().live(), "v2");
    let refused = fourth.open("v2").map(drop).unwrap_err();
    assert!(matches!(&refused, ServeError::Pull { asked, .. } if asked == "v2"), "{refused}");
    let said = refused.to_string();
    assert!(said.starts_with("`v2` is not in the repository here, and could not be pulled: "), "{said}");
}

#[test]
fn other_bytes_under_one_name_are_not_used() {
    let world = World::new();
    world.publish("v1");
    let versions = world.versions("first");
    let a = world.join(&versions).unwrap();
    world.pass(&[&a], 8);
    // Somebody exchanges what lies elsewhere: its manifest says otherwise, so it comes nowhere.
    world.publish("v2");
    let model = world.folder.0.join("models/late/v2/model.onnx");
    fs::write(&model, [fs::read(&model).unwrap(), vec![0]].concat()).unwrap();
    let refused = versions.open("v2").map(drop).unwrap_err();
    assert!(refused.to_string().contains("goes on after the"), "{refused}");
    assert_eq!(here(&versions), ["v1"]);
    assert_eq!(a.live(), "v1");
}
