//! A handle that follows a repository into which people copy: levels, not edges.
//!
//! Bug: a model copied with a stall, with its weights after the graph, or into a preallocated file was `Added` once, too early.
//! It failed and was never tried again, or its zeros were staged and answered requests after the files were whole.
//! Cause: what followed from a version followed from one edge, `Added`, and `Changed` did nothing; a print went one folder deep.
//! Fix: a version that failed is opened anew once its files have changed and settled, a candidate whose files change is taken
//! off at once; the settle time can be set, and following only what has a manifest is an option.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

use parking_lot::Mutex;
#[cfg(feature = "state")]
use switchback::Builder;
#[cfg(all(feature = "state", feature = "testing"))]
use switchback::RolloutError;
use switchback::events::EventKind;
use switchback::model::onnx::{Feed, Outputs};
use switchback::model::{Activity, ModelError};
use switchback::options::Threads;
use switchback::repository::contract::{Host, Pipelines, Preflight, Reservoir};
use switchback::repository::{Change, Draft, Manifest, Repository, Served};
use switchback::versions::{Follow, FollowError, Followed, OnPublish};
use switchback::{Clock, ModelHandle, Phase, Plan, StageError, Step, Timestamp, closure, guard};

use crate::common::{Folder, clock, seconds, wait_until};

fn ask(input: &f32, feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
    feed.buffer("x", &[2])?.copy_from_slice(&[*input, 0.0]);
    Ok(())
}

fn answer(outputs: &Outputs<'_>) -> Result<f32, ModelError> {
    Ok(outputs.tensor::<f32>("y")?.1.first().copied().unwrap_or(f32::NAN))
}

const GRAPH: &str = "tests/models/external.onnx";
/// Two floats, 10 and 20, that the graph adds.
const WEIGHTS: &str = "tests/models/external.data";

struct Stage {
    folder: Folder,
    clock: Clock,
    handle: ModelHandle<f32, f32>,
    served: Arc<Served<f32, f32>>,
}

impl Stage {
    fn new() -> Self {
        Self::asking(ask, |served| served)
    }

    /// With another `encode`, and something more to say of what is opened.
    fn asking(
        ask: impl Fn(&f32, &mut Feed<'_, '_>) -> Result<(), ModelError> + Send + Sync + 'static,
        more: impl FnOnce(Served<f32, f32>) -> Served<f32, f32>,
    ) -> Self {
        let (folder, clock) = (Folder::new(), clock());
        let one = folder.0.join("models/late/1");
        fs::create_dir_all(&one).unwrap();
        fs::copy(GRAPH, one.join("model.onnx")).unwrap();
        fs::copy(WEIGHTS, one.join("external.data")).unwrap();
        let mut pipelines = Pipelines::new();
        pipelines.register("sum", "1.0.0", ask, answer).unwrap();
        pipelines.default_is("sum").unwrap();
        let models = Repository::open(folder.0.join("models")).unwrap();
        let served = Arc::new(more(models.serve("late", Host::new(), pipelines)));
        let (version, model) = served.open("1").unwrap();
        let handle = ModelHandle::builder("late")
            .live(version.as_str(), model)
            .clock(clock.clone())
            .threads(Threads::manual())
            .build()
            .unwrap();
        Self { folder, clock, handle, served }
    }

    /// A process with the first version live that keeps its state.
    #[cfg(feature = "state")]
    fn with_state(&self) -> Builder<f32, f32> {
        let (version, model) = self.served.open("1").unwrap();
        ModelHandle::builder("late")
            .live(version.as_str(), model)
            .clock(self.clock.clone())
            .threads(Threads::manual())
            .state(self.folder.0.join("state"))
            .source(Arc::clone(&self.served))
    }

    /// Publishes a version with bytes of its own: with those of another one it would be that by another name.
    #[cfg(feature = "state")]
    fn publish(&self, version: &str, created: Timestamp) {
        let weights = [version.parse::<f32>().unwrap().to_le_bytes(), [0; 4]].concat();
        let draft = Draft::new(Manifest::new("late", version, created));
        let draft = draft.file("model.onnx", GRAPH).bytes("external.data", weights);
        self.served.repository().publish(draft).unwrap();
    }

    fn follow(&self, policy: OnPublish) -> Follow<f32, f32> {
        let guards = |rollout: switchback::Rollout<f32, f32>| rollout.guard(guard::error_rate().at_most(0.5));
        self.handle.follow(Arc::clone(&self.served), policy, guards).unwrap()
    }

    fn version(&self, name: &str) -> PathBuf {
        let path = self.folder.0.join("models/late").join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn phase(&self, version: &str) -> Option<Phase> {
        self.handle.rollout(version).map(|rollout| rollout.phase())
    }

    /// Looks again after some seconds: what changed, in a word each, and whether it was done.
    fn look(&self, follow: &mut Follow<f32, f32>, after: u64) -> Vec<String> {
        self.clock.advance(seconds(after));
        follow.poll().unwrap().iter().map(told).collect()
    }
}

fn told(followed: &Followed) -> String {
    let change = serde_json::to_value(&followed.change).unwrap();
    let done = if followed.done.is_ok() { "" } else { ", failed" };
    format!("{}{done}", change["change"].as_str().unwrap())
}

/// Bug: after a file had been changed, what was published was tried by the guards and the plan of before, though `reconfigure` said that the
/// next rollout has others; and whoever followed anew lost what had been published since the last look. Cause: both were fixed where the
/// following began. Fix: they are changed in place.
#[test]
fn another_policy_holds_for_what_is_looked_at_next_and_nothing_is_forgotten() {
    let stage = Stage::new();
    let mut follow = stage.follow(OnPublish::Tell);
    assert!(stage.look(&mut follow, 5).is_empty());
    // It is there before the policy is another, and nobody has looked.
    let two = stage.version("2");
    fs::copy(GRAPH, two.join("model.onnx")).unwrap();
    fs::write(two.join("external.data"), [9_f32.to_le_bytes(), [0; 4]].concat()).unwrap();
    let plan = Plan::new([Step::canary(0.2).unwrap()]).unwrap();
    follow.set_policy(OnPublish::Run(plan), |rollout| rollout.guard(guard::latency(0.9).within(seconds(1))));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.extend(stage.look(&mut follow, 60));
    }
    assert_eq!(seen, ["added"]);
    stage.clock.advance(seconds(1));
    stage.handle.tick();
    let status = stage.handle.status();
    let rollout = status.rollouts.iter().find(|rollout| rollout.version == "2").expect("it is tried");
    assert!((rollout.weight.fraction() - 0.2).abs() < 1e-3, "{rollout:?}");
    let judged: Vec<&str> = rollout.evidence.iter().map(|evidence| &*evidence.guard).collect();
    assert_eq!(judged, ["latency p90 within 1 s"]);
}

/// Bug: what was published while a process stood by was refused after it had been loaded, and tried by nobody once that process had taken the
/// state over. Cause: who has the state was looked at last, and a refusal was final. Fix: it is looked at first, and the version waits; what
/// whoever had the state has tried is not tried again.
#[cfg(feature = "state")]
#[test]
fn what_is_published_while_another_process_has_the_state_is_tried_once_this_one_has_it() {
    let first = Stage::new();
    let begin = || first.with_state().build().unwrap();
    let policy = || OnPublish::Run(Plan::new([switchback::Step::canary(0.1).unwrap()]).unwrap());
    let guards = |rollout: switchback::Rollout<f32, f32>| rollout.guard(guard::error_rate().at_most(0.5));
    let (had, stands_by) = (begin(), begin());
    assert!(stands_by.status().standby);
    let look = |follow: &mut Follow<f32, f32>| {
        first.clock.advance(seconds(60));
        let followed = follow.poll().unwrap();
        followed.into_iter().map(|followed| (told(&followed), followed.done.err())).collect::<Vec<_>>()
    };
    let mut follow = stands_by.follow(Arc::clone(&first.served), policy(), guards).unwrap();
    // It would fail if it were opened.
    let two = first.version("2");
    fs::write(two.join("model.onnx"), "no model").unwrap();
    look(&mut follow);
    let seen = look(&mut follow);
    assert!(
        matches!(&seen[..], [(_, Some(FollowError::Stage(StageError::Standby)))]),
        "it is not opened: {seen:?}"
    );
    fs::copy(WEIGHTS, two.join("external.data")).unwrap();
    write(&two.join("model.onnx"), &fs::read(GRAPH).unwrap(), 7);
    look(&mut follow);
    let seen = look(&mut follow);
    assert!(
        matches!(seen.last(), Some((_, Some(FollowError::Stage(StageError::Standby))))),
        "its files have changed: {seen:?}"
    );

    // Another one is tried, and taken off, by the process that has the state.
    let mut other = had.follow(Arc::clone(&first.served), policy(), guards).unwrap();
    let three = first.version("3");
    fs::write(three.join("external.data"), [0, 0, 128, 63, 0, 0, 128, 63]).unwrap();
    fs::copy(GRAPH, three.join("model.onnx")).unwrap();
    look(&mut other);
    look(&mut other);
    assert_eq!(had.rollout("3").unwrap().phase(), Phase::Canary);
    assert!(look(&mut follow).iter().chain(&look(&mut follow)).any(|(told, _)| told == "added, failed"));
    let _ = had.rollback("complaints");
    assert!(look(&mut follow).is_empty(), "it has the state still");
    had.close(seconds(60)).unwrap();

    stands_by.tick();
    assert!(!stands_by.status().standby);
    let seen = look(&mut follow);
    assert!(
        matches!(
            &seen[..],
            [(two, None), (three, Some(FollowError::Tried { version }))]
                if two == "added" && three == "added, failed" && *version == "3"
        ),
        "{seen:?}"
    );
    assert_eq!(stands_by.rollout("2").unwrap().phase(), Phase::Canary);
    assert!(stands_by.rollout("3").is_none());
    assert!(look(&mut follow).is_empty(), "once");
}

/// Bug: a share that was away for one look had every old version tried again, those too that a person had rolled back. Cause: what could not
/// be looked at was not there, so each version was told as removed, and as new once the share was back. Fix: a model's folder that is gone
/// or empty is an error where versions were in it, a version that cannot be looked at is as it was, and one that was removed and comes back
/// with the bytes that were tried is not tried again.
#[test]
fn a_repository_that_is_away_for_one_look_has_nothing_tried_again() {
    let stage = Stage::new();
    let mut follow = stage.follow(OnPublish::Run(Plan::ramp([0.5]).unwrap().without_shadow().unwrap()));
    let (two, late) = (stage.version("2"), stage.folder.0.join("models/late"));
    write(&two.join("external.data"), &[0, 0, 128, 63, 0, 0, 128, 63], 0);
    fs::copy(GRAPH, two.join("model.onnx")).unwrap();
    assert!(stage.look(&mut follow, 0).is_empty());
    assert_eq!(stage.look(&mut follow, 3), ["added"]);
    assert_eq!(stage.phase("2"), Some(Phase::Canary));
    let _ = stage.handle.rollback("complaints");
    assert_eq!(stage.phase("2"), None);

    let away = stage.folder.0.join("away");
    fs::rename(&late, &away).unwrap();
    let mut refused = || {
        stage.clock.advance(seconds(30));
        follow.poll().unwrap_err().to_string()
    };
    assert!(refused().contains("mount it"));
    // The folder on which it is mounted is there.
    fs::create_dir(&late).unwrap();
    assert!(refused().contains("mount it"));
    fs::remove_dir(&late).unwrap();
    fs::rename(&away, &late).unwrap();
    for _ in 0..3 {
        assert!(stage.look(&mut follow, 3).is_empty(), "nothing has changed");
    }

    fs::rename(&two, &away).unwrap();
    assert_eq!(stage.look(&mut follow, 0), ["removed"]);
    fs::rename(&away, &two).unwrap();
    assert!(stage.look(&mut follow, 0).is_empty());
    stage.clock.advance(seconds(3));
    let followed = follow.poll().unwrap();
    assert!(
        matches!(&followed[..], [Followed { change: Change::Added { .. }, done: Err(FollowError::Tried { version }), .. }] if *version == "2"),
        "{followed:?}"
    );
    assert_eq!(stage.phase("2"), None);
    // Other bytes by that name are tried.
    fs::remove_dir_all(&two).unwrap();
    assert_eq!(stage.look(&mut follow, 0), ["removed"]);
    fs::create_dir(&two).unwrap();
    write(&two.join("external.data"), &[0, 0, 0, 64, 0, 0, 0, 64], 9);
    fs::copy(GRAPH, two.join("model.onnx")).unwrap();
    assert!(stage.look(&mut follow, 0).is_empty());
    assert_eq!(stage.look(&mut follow, 3), ["added"]);
    assert_eq!(stage.phase("2"), Some(Phase::Canary));
}

/// What the system does not resolve (here a link that leads to itself; a share that is away says so by other errors) is no change: the
/// candidate goes on.
#[cfg(unix)]
#[test]
fn a_version_that_cannot_be_looked_at_is_as_it_was() {
    use std::os::unix::fs::symlink;
    let stage = Stage::new();
    let mut follow = stage.follow(OnPublish::Run(Plan::ramp([0.5]).unwrap().without_shadow().unwrap()));
    let (kept, link) = (stage.version(".store/abc"), stage.folder.0.join("models/late/2"));
    write(&kept.join("external.data"), &[0, 0, 128, 63, 0, 0, 128, 63], 0);
    fs::copy(GRAPH, kept.join("model.onnx")).unwrap();
    symlink(".store/abc", &link).unwrap();
    assert!(stage.look(&mut follow, 0).is_empty());
    assert_eq!(stage.look(&mut follow, 3), ["added"]);
    fs::remove_file(&link).unwrap();
    symlink("2", &link).unwrap();
    let models = stage.served.repository();
    let refused = models.get("late", "2").unwrap_err();
    assert!(matches!(refused, switchback::repository::RepositoryError::Disk { .. }), "{refused}");
    assert_eq!(models.unusable("late").unwrap().len(), 1, "it is told why");
    for _ in 0..3 {
        assert!(stage.look(&mut follow, 60).is_empty());
    }
    assert_eq!(stage.phase("2"), Some(Phase::Canary));
    fs::remove_file(&link).unwrap();
    symlink(".store/abc", &link).unwrap();
    assert!(stage.look(&mut follow, 3).is_empty());
    assert_eq!(stage.phase("2"), Some(Phase::Canary));
}

/// Writes a file, surely with another time than it had.
fn write(path: &Path, bytes: &[u8], at: u64) {
    fs::write(path, bytes).unwrap();
    let at = std::time::UNIX_EPOCH + seconds(1_700_000_000 + at);
    fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
}

#[test]
fn a_model_copied_with_a_stall_is_tried_once_it_is_whole() {
    let stage = Stage::new();
    let mut follow = stage.follow(OnPublish::Stage);
    let (to, graph) = (stage.version("2"), fs::read(GRAPH).unwrap());
    write(&to.join("external.data"), &fs::read(WEIGHTS).unwrap(), 0);
    write(&to.join("model.onnx"), &graph[..graph.len() / 2], 0);
    assert!(stage.look(&mut follow, 0).is_empty());
    assert_eq!(stage.look(&mut follow, 3), ["added, failed"], "it looks whole while the copy stalls");
    assert!(stage.look(&mut follow, 3).is_empty(), "it would fail again");
    write(&to.join("model.onnx"), &graph, 4);
    assert_eq!(stage.look(&mut follow, 0), ["changed"]);
    assert_eq!(stage.phase("2"), None);
    assert_eq!(stage.look(&mut follow, 2), ["settled"]);
    assert_eq!(stage.phase("2"), Some(Phase::Staged));
    assert!(stage.look(&mut follow, 60).is_empty());
}

#[test]
fn weights_that_come_after_the_graph_are_waited_for() {
    let stage = Stage::new();
    let mut follow = stage.follow(OnPublish::Stage);
    let to = stage.version("2").join("model.onnx");
    fs::create_dir(&to).unwrap();
    // In a folder of the model's name, as Triton keeps one with its weights.
    fs::copy(GRAPH, to.join("model.onnx")).unwrap();
    assert!(stage.look(&mut follow, 0).is_empty());
    assert_eq!(stage.look(&mut follow, 4), ["added, failed"]);
    fs::copy(WEIGHTS, to.join("external.data")).unwrap();
    assert_eq!(stage.look(&mut follow, 0), ["changed"]);
    assert_eq!(stage.look(&mut follow, 2), ["settled"]);
    assert_eq!(stage.phase("2"), Some(Phase::Staged));
}

#[test]
fn a_preallocated_file_of_zeros_is_taken_off_when_it_is_filled_and_answers_nobody() {
    let stage = Stage::new();
    let plan = Plan::ramp([0.5]).unwrap().without_shadow().unwrap();
    let mut follow = stage.follow(OnPublish::Run(plan));
    let to = stage.version("2");
    fs::copy(GRAPH, to.join("model.onnx")).unwrap();
    write(&to.join("external.data"), &[0; 8], 0);
    assert!(stage.look(&mut follow, 0).is_empty());
    assert_eq!(stage.look(&mut follow, 4), ["added"]);
    assert_eq!(stage.phase("2"), Some(Phase::Canary));
    write(&to.join("external.data"), &fs::read(WEIGHTS).unwrap(), 4);
    assert_eq!(stage.look(&mut follow, 0), ["changed"]);
    assert_eq!(stage.phase("2"), None, "it is taken off before it is whole");
    let answers = || (0..100).map(|_| *stage.handle.predict(&1.0).unwrap().output()).collect::<Vec<f32>>();
    assert!(answers().iter().all(|answer| *answer == 11.0), "live answers all");
    assert_eq!(stage.look(&mut follow, 2), ["settled"]);
    assert_eq!(stage.phase("2"), Some(Phase::Canary), "a version that was taken off is in no quarantine");
    assert!(answers().iter().all(|answer| *answer == 11.0), "and so does what was opened anew");
}

#[test]
fn a_listed_version_whose_sizes_are_right_too_early_is_tried_again() {
    let stage = Stage::new();
    let mut follow = stage.follow(OnPublish::Stage);
    let models = stage.served.repository();
    let manifest = Manifest::new("late", "2", Timestamp::from_unix_seconds(1));
    models.publish(Draft::new(manifest).file("model.onnx", GRAPH).file("external.data", WEIGHTS)).unwrap();
    let weights = stage.version("2").join("external.data");
    write(&weights, &[0; 8], 0);
    assert_eq!(stage.look(&mut follow, 0), ["added, failed"]);
    write(&weights, &fs::read(WEIGHTS).unwrap(), 1);
    assert_eq!(stage.look(&mut follow, 0), ["changed"]);
    assert_eq!(stage.look(&mut follow, 2), ["settled"]);
    assert_eq!(stage.phase("2"), Some(Phase::Staged));
}

#[test]
fn what_is_live_stays_and_what_was_there_is_not_tried_because_it_was_touched() {
    let stage = Stage::new();
    fs::copy(GRAPH, stage.version("0").join("model.onnx")).unwrap();
    fs::copy(WEIGHTS, stage.version("0").join("external.data")).unwrap();
    let mut follow = stage.follow(OnPublish::Stage);
    assert!(stage.look(&mut follow, 3).is_empty());
    for version in ["0", "1"] {
        write(&stage.version(version).join("external.data"), &fs::read(WEIGHTS).unwrap(), 0);
    }
    assert_eq!(stage.look(&mut follow, 0), ["changed", "changed"]);
    assert_eq!(stage.look(&mut follow, 2), ["settled", "settled"]);
    assert_eq!((stage.phase("0"), stage.phase("1")), (None, None));
    assert_eq!(*stage.handle.predict(&1.0).unwrap().output(), 11.0);
}

#[test]
fn what_was_in_the_middle_of_a_copy_when_following_began_is_tried_once_it_is_whole() {
    let stage = Stage::new();
    let to = stage.version("2");
    fs::copy(GRAPH, to.join("model.onnx")).unwrap();
    let mut follow = stage.follow(OnPublish::Stage);
    fs::copy(WEIGHTS, to.join("external.data")).unwrap();
    assert!(stage.look(&mut follow, 1).is_empty());
    assert_eq!(stage.look(&mut follow, 2), ["added"]);
    assert_eq!(stage.phase("2"), Some(Phase::Staged));
}

#[test]
fn when_a_version_is_whole_is_the_hosts_to_say() {
    let stage = Stage::new();
    let mut patient = stage.follow(OnPublish::Tell).settled_after(seconds(30));
    let mut listed = stage.follow(OnPublish::Stage).listed_only();
    let to = stage.version("2");
    fs::copy(GRAPH, to.join("model.onnx")).unwrap();
    fs::copy(WEIGHTS, to.join("external.data")).unwrap();
    assert!(stage.look(&mut patient, 0).is_empty() && stage.look(&mut listed, 0).is_empty());
    assert!(stage.look(&mut patient, 29).is_empty() && stage.look(&mut listed, 0).is_empty());
    assert_eq!(stage.look(&mut patient, 1), ["added"]);
    stage.clock.advance(seconds(30));
    let followed = listed.poll().unwrap();
    let [Followed { change: Change::Broken { reason, .. }, .. }] = &followed[..] else {
        panic!("{followed:?}")
    };
    assert!(reason.contains("it has no manifest"), "{reason}");
    let manifest = Manifest::new("late", "3", Timestamp::from_unix_seconds(1));
    let draft = Draft::new(manifest).file("model.onnx", GRAPH).file("external.data", WEIGHTS);
    stage.served.repository().publish(draft).unwrap();
    assert_eq!(stage.look(&mut listed, 0), ["added"]);
    assert_eq!(stage.phase("3"), Some(Phase::Staged));
}

/// Bug: a version that hung in its preflight hung its follower, which saw no later version. Cause: staging had no bound. Fix: it
/// is given up, told, and the next one is tried.
#[test]
fn a_version_that_hangs_in_its_preflight_does_not_hold_up_the_next() {
    let (hangs, (inside, reached)) = (Arc::new(AtomicBool::new(false)), channel());
    let (let_go, waits) = channel::<()>();
    let (asked, waits) = (Arc::clone(&hangs), Mutex::new(waits));
    let ask_or_hang = move |input: &f32, feed: &mut Feed<'_, '_>| {
        if asked.swap(false, Ordering::SeqCst) {
            inside.send(()).unwrap();
            // Until the other end is gone.
            let _ = waits.lock().recv();
        }
        ask(input, feed)
    };
    let recent = Reservoir::new(1, 1);
    recent.offer_with(|| 1.0_f32);
    let stage =
        Stage::asking(ask_or_hang, |served| served.preflight(move |_| Preflight::new().recent(&recent)));
    let mut follow = stage.follow(OnPublish::Stage);
    for name in ["2", "3"] {
        let to = stage.version(name);
        fs::copy(GRAPH, to.join("model.onnx")).unwrap();
        fs::copy(WEIGHTS, to.join("external.data")).unwrap();
    }
    assert!(stage.look(&mut follow, 0).is_empty());
    hangs.store(true, Ordering::SeqCst);
    let followed = std::thread::scope(|scope| {
        let clock = &stage.clock;
        scope.spawn(move || {
            reached.recv().unwrap();
            clock.advance(seconds(600));
        });
        stage.clock.advance(seconds(3));
        follow.poll().unwrap()
    });
    let [first, second] = &followed[..] else { panic!("{followed:?}") };
    let Err(FollowError::Stage(StageError::Deadline { version, activity, .. })) = &first.done else {
        panic!("{first:?}")
    };
    assert_eq!((version.as_str(), *activity), ("2", Activity::Preflight));
    assert!(second.done.is_ok(), "{second:?}");
    assert_eq!((stage.phase("2"), stage.phase("3")), (None, Some(Phase::Staged)));
    drop(let_go);
    wait_until("its thread has ended", || stage.handle.status().threads.is_empty());
}

/// What was refused, as events say it, from the first on.
fn refused(stage: &Stage) -> Vec<(String, bool, String)> {
    let events = stage.handle.events();
    let refused = events.iter().filter_map(|event| match &event.kind {
        EventKind::VersionRefused { version, digest, reason } => {
            Some((version.to_string(), digest.is_some(), reason.clone()))
        }
        _ => None,
    });
    refused.collect()
}

/// Bug: a version that was published and refused made no event, so that nobody who did not read what `poll` returns knew of it.
/// Cause: it was told by what `poll` returns alone. Fix: an event, once for a manifest and a reason.
#[test]
fn a_published_version_that_is_refused_is_an_event_once_and_not_at_each_look() {
    let stage = Stage::new();
    let mut follow = stage.follow(OnPublish::Stage);
    let manifest = Manifest::new("late", "2", Timestamp::from_unix_seconds(1));
    let draft = Draft::new(manifest).file("model.onnx", GRAPH).file("external.data", WEIGHTS);
    stage.served.repository().publish(draft).unwrap();
    let weights = stage.version("2").join("external.data");
    for at in 0..3 {
        write(&weights, &[0; 8], at);
        stage.look(&mut follow, 0);
        stage.look(&mut follow, 3);
    }
    let told = refused(&stage);
    let [(version, true, reason)] = &told[..] else { panic!("{told:?}") };
    assert!(version == "2" && reason.contains("external.data"), "{reason}");
    write(&weights, &fs::read(WEIGHTS).unwrap(), 9);
    stage.look(&mut follow, 0);
    assert_eq!(stage.look(&mut follow, 3), ["settled"]);
    assert_eq!((stage.phase("2"), refused(&stage).len()), (Some(Phase::Staged), 1));
    // In words, for a log.
    let said: Vec<String> = stage.handle.events().iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|event| event.starts_with("2 came into the repository and is not tried: ")),
        "{said:?}"
    );
}

/// Bug: a version whose plan was refused stayed in memory, under a name that nothing could be staged under, so it was not tried once its
/// files were written again. Cause: it had been staged for the plan. Fix: it is taken off.
#[test]
fn a_version_whose_plan_is_refused_is_not_kept() {
    let stage = Stage::new();
    let taken = stage.handle.stage("0", closure("half@1", |_: &f32| Ok(0.5))).unwrap();
    taken.canary(0.9).unwrap();
    let plan = Plan::new([Step::canary(0.5).unwrap()]).unwrap().unguarded();
    let mut follow = stage.follow(OnPublish::Run(plan));
    let manifest = Manifest::new("late", "2", Timestamp::from_unix_seconds(1));
    let draft = Draft::new(manifest).file("model.onnx", GRAPH).file("external.data", WEIGHTS);
    stage.served.repository().publish(draft).unwrap();
    stage.look(&mut follow, 0);
    stage.look(&mut follow, 3);
    let told = refused(&stage);
    assert!(matches!(&told[..], [(version, true, _)] if version == "2"), "{told:?}");
    assert_eq!(stage.phase("2"), None);
    assert!(stage.handle.stage("2", closure("half@2", |_: &f32| Ok(0.5))).is_ok(), "its name is free");
}

#[test]
fn a_version_that_stays_incomplete_is_an_event_too_where_nothing_follows_from_a_version() {
    let stage = Stage::new();
    let mut follow = stage.follow(OnPublish::Tell).listed_only();
    fs::copy(GRAPH, stage.version("2").join("model.onnx")).unwrap();
    assert!(stage.look(&mut follow, 0).is_empty() && refused(&stage).is_empty());
    assert_eq!(stage.look(&mut follow, 61), ["broken"]);
    assert!(stage.look(&mut follow, 61).is_empty());
    let told = refused(&stage);
    assert!(matches!(&told[..], [(_, false, reason)] if reason.contains("it has no manifest")), "{told:?}");
}

#[cfg(feature = "signatures")]
#[test]
fn a_version_that_nobody_trusted_has_signed_is_an_event() {
    use switchback::repository::TrustedKeys;
    const KEY: &str = "RWSCzNvEdk18d/1s4yjXGLdPN6Z8FYjzeB9fDJuBrw/wnwJFLM7n0JFC";
    let stage = Stage::new();
    let keys = TrustedKeys::required().key(KEY).unwrap();
    let models = Repository::open(stage.folder.0.join("models")).unwrap().trusting(keys);
    let mut pipelines = Pipelines::new();
    pipelines.register("sum", "1.0.0", ask, answer).unwrap();
    let served = Arc::new(models.serve("late", Host::new(), pipelines));
    let mut follow = stage.handle.follow(served, OnPublish::Stage, |rollout| rollout).unwrap();
    let manifest = Manifest::new("late", "2", Timestamp::from_unix_seconds(1));
    let draft = Draft::new(manifest).file("model.onnx", GRAPH).file("external.data", WEIGHTS);
    stage.served.repository().publish(draft).unwrap();
    assert!(stage.look(&mut follow, 0).is_empty(), "a signature may come after the manifest");
    assert_eq!(stage.look(&mut follow, 61), ["broken", "broken"], "and so is the one without a manifest");
    let told = refused(&stage);
    let unsigned: Vec<bool> = told.iter().map(|(_, listed, _)| *listed).collect();
    assert_eq!(unsigned, [false, true], "{told:?}");
    assert!(told[1].2.contains("it is not signed"), "{told:?}");
}

/// Bug: what was published while no process ran was tried by nobody, and nothing said so. Cause: what lies in the repository when a handle
/// begins to follow it is known. Fix: a handle that goes on with a state tries the newest of what was made since, and tells of the others.
#[cfg(feature = "state")]
#[test]
fn what_was_published_while_no_process_ran_is_tried_by_the_next_one() {
    let stage = Stage::new();
    let begin = || stage.with_state().build().unwrap();
    let publish = |version: &str, created: Timestamp| {
        stage.publish(version, created);
        stage.clock.advance(seconds(60));
    };
    let policy = || OnPublish::Run(Plan::new([switchback::Step::canary(0.1).unwrap()]).unwrap());
    let follow = |handle: &ModelHandle<f32, f32>| {
        let guards = |rollout: switchback::Rollout<f32, f32>| rollout.guard(guard::error_rate().at_most(0.5));
        let mut follow = handle.follow(Arc::clone(&stage.served), policy(), guards).unwrap();
        let seen: Vec<String> = follow.poll().unwrap().iter().map(told).collect();
        let rollouts = handle.status().rollouts;
        let tried: Vec<String> = rollouts.iter().map(|rollout| rollout.version.to_string()).collect();
        (seen, tried)
    };
    publish("2", stage.clock.now());
    let first = begin();
    assert_eq!(follow(&first), (vec![], vec![]), "it lay there at the first start");
    first.close(seconds(60)).unwrap();

    for version in ["3", "4"] {
        publish(version, stage.clock.now());
    }
    publish("5", stage.clock.now().plus(seconds(86_400)));
    let second = begin();
    assert_eq!(follow(&second), (vec!["added".to_owned()], vec!["4".to_owned()]));
    let refused: Vec<String> = second.events().iter().map(|event| event.to_string()).collect();
    assert!(refused.iter().any(|told| told.contains("nor was 4, which is newer")), "{refused:?}");
    let _ = second.rollback("complaints");
    // Bug: whoever followed again in one process, as after a change of a file, had tried again what a guard or a person had taken off, and
    // what was published while it ran was told as published while none did. Cause: nothing said that somebody had looked. Fix: it is looked at
    // once.
    publish("6", stage.clock.now());
    assert_eq!(follow(&second).0, Vec::<String>::new(), "nothing is published from now on");
    let told: Vec<String> = second.events().iter().map(|event| event.to_string()).collect();
    assert_eq!(
        told.iter().filter(|told| told.contains("it was not tried by the process before")).count(),
        1,
        "{told:?}"
    );
    second.close(seconds(60)).unwrap();
    let third = begin();
    assert_eq!(follow(&third), (vec![], vec![]), "it was tried by the process before");
    // And so where there was nothing to see the first time.
    publish("7", stage.clock.now());
    assert_eq!(follow(&third).0, Vec::<String>::new(), "nothing is published from now on");
    // Bug: what was published shortly before a process ended, and it had not seen yet, was tried by nobody. Cause: the next one looked at what was made
    // since that had written down what it did, at its end. Fix: since it had last looked.
    publish("8", stage.clock.now());
    third.close(seconds(1)).unwrap();
    let fourth = begin();
    assert_eq!(follow(&fourth), (vec!["added".to_owned()], vec!["8".to_owned()]));
    let _ = fourth.rollback("complaints");
    fourth.close(seconds(1)).unwrap();
    // One that is told alone has looked, and what comes of that is its host's.
    let told_alone = begin();
    let mut tells = told_alone.follow(Arc::clone(&stage.served), OnPublish::Tell, |rollout| rollout).unwrap();
    publish("10", stage.clock.now());
    assert_eq!(tells.poll().unwrap().len(), 1);
    drop(tells);
    told_alone.close(seconds(1)).unwrap();
    let after = begin();
    assert_eq!(follow(&after), (vec![], vec![]), "it was told of, and not to be tried");
    after.close(seconds(1)).unwrap();
    // One that follows nothing looks at nothing for the one after it.
    publish("9", stage.clock.now());
    begin().close(seconds(1)).unwrap();
    assert_eq!(follow(&begin()), (vec!["added".to_owned()], vec!["9".to_owned()]));
}

/// Bug: a version whose plan came while the disk was full was never tried. Cause: a refusal was final until the version's files changed. Fix: one that
/// is no fault of the version's is tried again once it can be written down. And one that was staged for a plan by a process that ended before it
/// ran that, stayed so in the next one, which took it for one in use: that goes on with it.
#[cfg(all(feature = "state", feature = "testing"))]
#[test]
fn what_could_not_be_written_down_and_what_is_left_staged_is_tried_in_the_end() {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use switchback::testing::Faults;
    let (stage, faults) = (Stage::new(), Faults::new());
    let begin = || stage.with_state().disk_faults(faults.clone()).build().unwrap();
    let publish = |version: &str| stage.publish(version, stage.clock.now());
    let ends = Arc::new(AtomicBool::new(false));
    let follow = |handle: &ModelHandle<f32, f32>| {
        let ends = Arc::clone(&ends);
        let guards = move |rollout: switchback::Rollout<f32, f32>| {
            assert!(!ends.swap(false, Ordering::SeqCst), "the process is killed here");
            rollout.guard(guard::error_rate().at_most(0.5))
        };
        let plan = Plan::new([Step::canary(0.1).unwrap()]).unwrap();
        handle.follow(Arc::clone(&stage.served), OnPublish::Run(plan), guards).unwrap()
    };
    let phase = |handle: &ModelHandle<f32, f32>, version: &str| {
        handle.rollout(version).map(|rollout| rollout.phase())
    };
    let first = begin();
    let mut follows = follow(&first);
    publish("2");
    faults.fail_after(0);
    let seen = follows.poll().unwrap();
    assert!(
        matches!(
            &seen[..],
            [Followed { done: Err(FollowError::Rollout(RolloutError::NotRecorded { .. })), .. }]
        ),
        "{seen:?}"
    );
    for _ in 0..3 {
        stage.clock.advance(seconds(60));
        first.tick();
        assert!(follows.poll().unwrap().is_empty());
    }
    assert_eq!(phase(&first, "2"), None);
    faults.mend();
    first.tick();
    let seen = follows.poll().unwrap();
    assert_eq!(seen.iter().map(told).collect::<Vec<_>>(), ["added"], "{seen:?}");
    assert_eq!(phase(&first, "2"), Some(Phase::Canary));
    let refused = |event: &EventKind| matches!(event, EventKind::VersionRefused { .. });
    assert_eq!(first.events().iter().filter(|event| refused(&event.kind)).count(), 1);
    let _ = first.rollback("complaints");

    publish("3");
    ends.store(true, Ordering::SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| follows.poll())).is_err());
    drop((follows, first));
    let next = begin();
    let mut follows = follow(&next);
    assert!(follows.poll().unwrap().is_empty());
    assert_eq!(phase(&next, "3"), Some(Phase::Staged));
    stage.clock.advance(seconds(61));
    // Where that cannot be written down it is kept for later as well.
    faults.fail_after(0);
    let seen = follows.poll().unwrap();
    assert!(matches!(&seen[..], [Followed { done: Err(FollowError::Rollout(_)), .. }]), "{seen:?}");
    faults.mend();
    stage.clock.advance(seconds(61));
    next.tick();
    let seen = follows.poll().unwrap();
    assert_eq!(seen.iter().map(told).collect::<Vec<_>>(), ["added"], "{seen:?}");
    assert_eq!(phase(&next, "3"), Some(Phase::Canary));
}
