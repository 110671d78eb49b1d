//! What grows with what is remembered of requests, and with what waits.

use std::hint::black_box;
use std::time::{Duration, Instant};

use switchback::options::{Labels, Limits, Shadowing, Threads};
use switchback::stats::WindowConfig;
use switchback::{
    Builder, Clock, ModelHandle, Outcome as Truth, PredictionId, Task, Timestamp, closure, guard,
};

use crate::support::{Outcome, live_bytes, median};
use crate::{Candidate, Handle, Table, answer, ask, effort, micros, nanos, tick};

/// Requests between two ticks, where many are made.
const TOGETHER: usize = 2_000;

/// Predictions whose outcome may still come, and has not.
pub(crate) fn unanswered(table: &mut Table) -> Outcome {
    let sizes = [0, 10_000, 100_000, effort(1_000_000, 300_000)];
    let costs = [("predict", "ns"), ("tick", "us"), ("memory", "bytes")];
    table.rows("predictions without an outcome", "unanswered", costs, &sizes, |count| {
        let (handle, _rollout) = trial(binary("unanswered"))?;
        let before = warm(&handle);
        many(&handle, count, |_| ());
        let held = live_bytes() - before;
        Ok([nanos(|| asked(&handle)), tick(&handle), held])
    })
}

/// Outcomes that came and wait until those of their age are complete.
pub(crate) fn outcomes(table: &mut Table) -> Outcome {
    let sizes = [0, 10_000, 100_000, effort(1_000_000, 300_000)];
    let costs = [("feedback", "ns"), ("tick", "us"), ("status()", "us"), ("memory", "bytes")];
    table.rows("labels that wait for their age", "labels", costs, &sizes, |count| {
        let (handle, _rollout) = trial(binary("labels"))?;
        let before = warm(&handle);
        many(&handle, count, |id| told(&handle, id));
        let held = live_bytes() - before;
        let feedback = median((0..effort(50, 10)).map(|_| {
            let ids: Vec<PredictionId> = (0..1_000).map(|_| handle.predict(&0.5).unwrap().id()).collect();
            let started = Instant::now();
            ids.iter().for_each(|id| told(&handle, *id));
            let nanos = started.elapsed().as_nanos() as f64 / ids.len() as f64;
            handle.tick();
            nanos
        }));
        let status = micros(|| (), || _ = black_box(handle.status()));
        Ok([feedback, tick(&handle), status, held])
    })
}

/// Predictions that keep a row until silence is taken for an outcome.
pub(crate) fn silence(table: &mut Table) -> Outcome {
    let costs = [("predict", "ns"), ("tick", "us"), ("memory", "bytes")];
    table.rows("rows that wait for silence", "silence", costs, &[0, 8_000, 32_000, 128_000], |count| {
        let day = Duration::from_secs(86_400);
        let (handle, _rollout) =
            trial(binary("silence").labels(Labels::new().assumed_after(day, Truth::class(0))))?;
        let before = warm(&handle);
        many(&handle, count, |_| ());
        let held = live_bytes() - before;
        let tick = tick(&handle);
        let predict = micros(|| handle.tick(), || ask(&handle, 100)) * 10.0;
        Ok([predict, tick, held])
    })
}

/// Slots of the windows, every one of them filled.
pub(crate) fn windows(table: &mut Table) -> Outcome {
    let costs = [("tick", "us"), ("status()", "us"), ("memory", "bytes")];
    table.rows("slots of a window", "slots", costs, &[10, 30, 60, 120, 240], |slots| {
        let clock = Clock::replay(Timestamp::from_unix_seconds(1_357_034_400));
        let config = WindowConfig::default();
        let config = config.slots(slots as u16)?.predictions(50 * slots as u64)?;
        let config = config.span(Duration::from_secs(slots as u64))?;
        let (handle, _rollout) =
            trial(binary("slots").clock(clock.clone()).limits(Limits::new().windows(config)))?;
        let before = warm(&handle);
        let step = || {
            for number in 0..100 {
                told(&handle, handle.predict(&(f64::from(number) / 100.0)).unwrap().id());
            }
            clock.advance(Duration::from_secs(1));
        };
        for _ in 0..slots + 1 {
            step();
            handle.tick();
        }
        let held = live_bytes() - before;
        let tick = micros(step, || handle.tick());
        let status = micros(|| (), || _ = black_box(handle.status()));
        Ok([tick, status, held])
    })
}

/// Users of a canary.
pub(crate) fn keys(table: &mut Table) -> Outcome {
    let costs = [("predict of a new key", "ns"), ("tick", "us"), ("memory", "bytes")];
    table.rows("keys seen", "keys", costs, &[0, 1_000, 10_000, 40_000, 100_000], |count| {
        let (handle, _rollout) = trial(binary("keys"))?;
        let mut user = 0_u64;
        let mut next = || {
            user += 1;
            _ = black_box(handle.predict_keyed(user.to_le_bytes(), &0.5).unwrap());
        };
        let before = live_bytes();
        for number in 0..count {
            next();
            if number % TOGETHER == 0 {
                handle.tick();
            }
        }
        handle.tick();
        let held = live_bytes() - before;
        // Few: each of them is one more.
        let predict = median((0..20).map(|_| {
            let started = Instant::now();
            (0..20).for_each(|_| next());
            started.elapsed().as_nanos() as f64 / 20.0
        }));
        Ok([predict, tick(&handle), held])
    })
}

/// Copies that wait for a worker.
pub(crate) fn copies(table: &mut Table) -> Outcome {
    let costs = [("predict with a copy", "ns"), ("tick", "us"), ("memory", "bytes")];
    table.rows("copies that wait", "copies", costs, &[0, 64, 256, 900], |depth| {
        let handle = binary("copies").shadowing(Shadowing::new()).build()?;
        let rollout = handle.stage("v2", closure("v@2", answer))?;
        rollout.shadow(1.0)?;
        // Never more than fit, or less is copied for a while.
        for _ in 0..3 {
            ask(&handle, 900);
            handle.run_shadow(usize::MAX);
            handle.tick();
        }
        let before = live_bytes();
        ask(&handle, depth);
        let held = live_bytes() - before;
        let predict = median((0..effort(500, 100)).map(|_| {
            let started = Instant::now();
            ask(&handle, 20);
            let nanos = started.elapsed().as_nanos() as f64 / 20.0;
            handle.run_shadow(20);
            nanos
        }));
        let copied_by_tick = || {
            ask(&handle, 100);
            handle.run_shadow(100);
        };
        Ok([predict, micros(copied_by_tick, || handle.tick()), held])
    })
}

fn binary(name: &str) -> Builder<f64, f64> {
    ModelHandle::builder(name)
        .live("v1", closure("v@1", answer))
        .task(Task::binary(|probability: &f64| *probability))
        .labels(Labels::complete_after(Duration::from_secs(86_400)))
        .seed(1)
        .threads(Threads::manual())
}

/// A canary on a tenth of the traffic, with a guard that needs labels.
fn trial(builder: Builder<f64, f64>) -> Outcome<(Handle, Candidate)> {
    let handle = builder.build()?;
    let rollout = handle.stage("v2", closure("v@2", answer))?;
    let rollout = rollout.guard(guard::accuracy().at_most_below_live(0.02));
    rollout.canary(0.1)?;
    Ok((handle, rollout))
}

/// Lets vectors reach the size that they keep; what is in memory then.
fn warm(handle: &Handle) -> f64 {
    (0..3).for_each(|_| {
        ask(handle, 1_000);
        handle.tick();
    });
    live_bytes()
}

fn many(handle: &Handle, count: usize, then: impl Fn(PredictionId)) {
    for number in 0..count {
        then(handle.predict(&((number % 100) as f64 / 100.0)).unwrap().id());
        if number % TOGETHER == TOGETHER - 1 {
            handle.tick();
        }
    }
}

fn asked(handle: &Handle) {
    _ = black_box(handle.predict(black_box(&0.5)).unwrap());
}

fn told(handle: &Handle, id: PredictionId) {
    handle.feedback(id, Truth::class(1));
}
