//! What grows with how many versions there are, and with the requests themselves.

use std::hint::black_box;
use std::sync::{Barrier, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use switchback::options::{Retention, Threads};
use switchback::{ModelHandle, Task, closure, guard};

use crate::support::onnx::{environment, input, run, session, version};
use crate::support::{Contestant, Outcome, live_bytes, median, time_per_call};
use crate::{Candidate, Handle, Table, answer, ask, effort, micros, nanos, tick};

const CONTROL: [(&str, &str); 4] =
    [("predict", "ns"), ("tick", "us"), ("status()", "us"), ("memory", "bytes")];

/// Versions that were promoted one after the other and are all still there.
pub(crate) fn versions(table: &mut Table) -> Outcome {
    table.rows("versions retained", "versions", CONTROL, &[1, 4, 16, 64], |count| {
        let before = live_bytes();
        let handle = binary("versions").retention(Retention::new().versions(count)).build()?;
        for number in 1..=count {
            handle.stage(format!("v{number}"), closure(format!("v@{number}"), answer))?.promote()?;
            used(&handle);
        }
        Ok(control(&handle, before))
    })
}

/// Candidates on trial at once, each with a guard.
pub(crate) fn candidates(table: &mut Table) -> Outcome {
    table.rows("candidates", "candidates", CONTROL, &[1, 2, 4, 8, 16, 32], |count| {
        let before = live_bytes();
        let handle = binary("candidates").build()?;
        let mut candidates: Vec<Candidate> = Vec::new();
        for number in 0..count {
            let rollout = handle.stage(format!("c{number}"), closure(format!("c@{number}"), answer))?;
            let rollout = rollout.guard(guard::error_rate().at_most_times_live(1.5));
            rollout.canary(0.02)?;
            candidates.push(rollout);
            used(&handle);
        }
        Ok(control(&handle, before))
    })
}

/// Some traffic, counted: what the library keeps for a change alone is given back by then.
fn used(handle: &Handle) {
    (0..3).for_each(|_| {
        ask(handle, 100);
        handle.tick();
    });
}

fn binary(name: &str) -> switchback::Builder<f64, f64> {
    ModelHandle::builder(name)
        .live("v0", closure("v@0", answer))
        .task(Task::binary(|probability: &f64| *probability))
        .threads(Threads::manual())
}

fn control(handle: &Handle, before: f64) -> [f64; 4] {
    let held = live_bytes() - before;
    // A tick first: without one a candidate is not exposed.
    let tick = tick(handle);
    let predict = nanos(|| _ = black_box(handle.predict(black_box(&0.5)).unwrap()));
    let status = micros(|| (), || _ = black_box(handle.status()));
    [predict, tick, status, held]
}

/// Threads that ask the same handle: the time that a request keeps its thread's core busy.
pub(crate) fn threads(table: &mut Table) -> Outcome {
    let handle = binary("threads").threads(Threads::background()).build()?;
    let calls = effort(2_000_000, 300_000);
    table.rows("threads", "threads", [("predict", "ns")], &[1, 2, 4, 8], |threads| {
        let start = Barrier::new(threads);
        let work = || {
            ask(&handle, 1_000);
            start.wait();
            let started = busy_nanos();
            ask(&handle, calls);
            (busy_nanos() - started) / calls as f64
        };
        let each = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap_or(f64::NAN)).collect::<Vec<_>>()
        });
        Ok([median(each)])
    })
}

/// How long the calling thread has been on a core, where the system tells; how long it has been, elsewhere. More threads
/// than cores wait for each other, and the machine's other work makes them wait too.
fn busy_nanos() -> f64 {
    static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|numbers| numbers.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| STARTED.elapsed().as_nanos() as f64)
}

/// Features of an ONNX model that does little with them, written to its own buffer; beside a bare run from a view.
pub(crate) fn features(table: &mut Table) -> Outcome {
    let environment = environment()?;
    let by_hand = Mutex::new(session(&environment, "mean")?);
    let live = version("mean", "mean@1")?;
    let handle = ModelHandle::builder("mean").live("v1", live).threads(Threads::background()).build()?;
    let spent = Duration::from_millis(effort(1_000, 200) as u64);
    let costs = [("predict", "ns"), ("bare run", "ns")];
    table.rows("features", "features", costs, &[8, 32, 128, 512, 1_024], |width| {
        let input = input(width, 1);
        let contestants = [
            Contestant::new("predict", |_| {
                Box::new(|| _ = black_box(handle.predict(black_box(&input)).unwrap()))
            }),
            Contestant::new("run", |_| {
                let mut session = by_hand.lock();
                let input = &input;
                Box::new(move || _ = black_box(run(&mut session, black_box(input)).unwrap()))
            }),
        ];
        let rounds = time_per_call(&contestants, spent);
        Ok([rounds.median("predict"), rounds.median("run")])
    })
}
