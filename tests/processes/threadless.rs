//! Processes that get no thread of the system's: each asks for stacks that are larger than all addresses there are.

use std::error::Error;
use std::path::Path;

use switchback::events::EventKind;
use switchback::options::{AfterCrash, StateFolder, Threads};
use switchback::{BuildError, Builder, Model, ModelHandle, Phase, closure};

use crate::common::*;
use crate::harness::tests;

tests! { "threadless":
    staging_leaves_the_thread_of_the_caller_as_it_is,
    a_build_that_fails_for_want_of_threads_is_no_crash_of_what_is_on_trial,
}

pub(crate) fn child(told: &[String]) {
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "there are threads");
    match told {
        [story] if story == "stages" => stage(),
        [story, folder] if story == "builds" => {
            let built = service(Path::new(folder)).build();
            assert!(matches!(built, Err(BuildError::Thread(_))), "{built:?}");
        }
        _ => panic!("{told:?}"),
    }
}

/// Has a child do something without threads.
fn without_threads(told: &[&str]) {
    let mut child = crate::child("threadless");
    let ended = child.args(told).env("RUST_MIN_STACK", (1_u64 << 47).to_string()).status().unwrap();
    assert!(ended.success(), "{told:?}: {ended}");
}

/// The nice value of this thread, and how the system schedules it.
fn scheduled() -> [String; 2] {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // The fields 19 and 41 of proc(5), of which the first two are gone.
    [fields[16], fields[38]].map(String::from)
}

fn stage() {
    let before = scheduled();
    let service = ModelHandle::builder("late")
        .live("v1", closure("v1", |x: &f64| Ok(*x)))
        .threads(Threads::manual())
        .build()
        .unwrap();
    let rollout = service.stage("v2", closure("v2", |x: &f64| Ok(*x))).unwrap();
    assert_eq!(rollout.phase(), Phase::Staged);
    assert_eq!(scheduled(), before);
}

/// Bug: a host's thread that staged a version while the system had no thread to give got, for the rest of its life, only the time of the
/// processor's that nobody else wanted. Cause: the load was done on it then, and its first step was to take the priority of a load, which
/// cannot be given back. Fix: a thread of ours takes it, and nobody else.
fn staging_leaves_the_thread_of_the_caller_as_it_is() {
    if cfg!(target_os = "linux") {
        without_threads(&["stages"]);
    }
}

fn versions(name: &str) -> Result<Box<dyn Model<f64, f64>>, Box<dyn Error + Send + Sync>> {
    Ok(Box::new(closure(name, |x: &f64| Ok(*x))))
}

fn service(folder: &Path) -> Builder<f64, f64> {
    ModelHandle::builder("late")
        .live("v1", closure("v1", |x: &f64| Ok(*x)))
        .state(StateFolder::new(folder).after_crash(AfterCrash::Resume))
        .source(versions)
}

/// Bug: a candidate was quarantined after two starts that failed, in neither of which it was asked anything. Cause: that it is exposed was
/// written down before the threads of the handle were started, and a start that got none ended without a word, which counts as a crash of
/// what is on trial. Fix: such a start writes down that it has ended.
fn a_build_that_fails_for_want_of_threads_is_no_crash_of_what_is_on_trial() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let folder = Folder::new();
    let first = service(&folder.0).build().unwrap();
    first.stage("v2", closure("v2", |x: &f64| Ok(*x))).unwrap().canary(0.5).unwrap();
    first.close(seconds(60)).unwrap();
    let path = folder.0.to_str().unwrap();
    for _ in 0..3 {
        without_threads(&["builds", path]);
    }
    let service = service(&folder.0).build().unwrap();
    let crashed: Vec<bool> = service
        .events()
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::Started { crashed, .. } => Some(crashed),
            _ => None,
        })
        .collect();
    let status = service.status();
    assert!(status.quarantined.is_empty(), "{:?}", status.quarantined);
    assert_eq!(crashed, [false]);
    assert_eq!(service.rollout("v2").unwrap().phase(), Phase::Canary);
    service.close(seconds(60)).unwrap();
}
