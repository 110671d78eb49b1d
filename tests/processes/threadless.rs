//! Processes that get no thread of the system's: each asks for stacks that are larger than all addresses there are.

use switchback::options::Threads;
use switchback::{ModelHandle, Phase, closure};

use crate::harness::tests;

tests! { "threadless":
    staging_leaves_the_thread_of_the_caller_as_it_is,
}

pub(crate) fn child(told: &[String]) {
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "there are threads");
    match told {
        [story] if story == "stages" => stage(),
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
