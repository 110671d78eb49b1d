//! Versions switch under load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use switchback::options::Threads;
use switchback::{
    Model, ModelHandle, Task,
    model::{Identity, ModelError},
};

use crate::common::{RaisedAtTheEnd, clock};

/// A version in two parts, as real ones are: what its pipeline makes of a request, and what its model makes of that.
/// Both carry the version's mark, and the model's fill memory that is overwritten when it is freed.
struct Marked {
    pipeline: u64,
    weights: Box<[u64]>,
}

const WEIGHTS: usize = 64;

impl Marked {
    fn new(mark: u64) -> Self {
        Self { pipeline: mark, weights: vec![mark; WEIGHTS].into() }
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        self.weights.fill(u64::MAX);
    }
}

struct MarkedAnswer {
    pipeline: u64,
    model: u64,
}

impl Model<usize, MarkedAnswer> for Marked {
    fn predict(&self, input: &usize) -> Result<MarkedAnswer, ModelError> {
        let encoded = (self.pipeline, input % WEIGHTS);
        Ok(MarkedAnswer { pipeline: encoded.0, model: self.weights[encoded.1] })
    }
    fn identity(&self) -> Identity {
        Identity::of([("mark", self.pipeline.to_le_bytes().as_slice())])
    }
}

/// Invariants 1, 6 and 10: three threads ask while a fourth switches thousands of times, by promotion, rollback and
/// canary; every answer is whole, none fails, each is counted once.
#[test]
fn every_answer_comes_whole_from_one_version_while_versions_switch_thousands_of_times() {
    const SWITCHES: usize = 3_000;
    const STAGED: u64 = 30;
    let service: ModelHandle<usize, MarkedAnswer> = ModelHandle::builder("marks")
        .live("1", Marked::new(1))
        .task(Task::unlabelled())
        .clock(clock())
        .threads(Threads::manual())
        .build()
        .unwrap();
    let (done, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (service, done, asked) = (service.clone(), &done, &asked);
            scope.spawn(move || {
                let mut number = thread;
                while !done.load(Ordering::Relaxed) || number < 3_000 {
                    let answer = if number % 2 == 0 {
                        service.predict(&number).unwrap()
                    } else {
                        service.predict_keyed(number.to_le_bytes(), &number).unwrap()
                    };
                    let mark: u64 = answer.version().as_str().parse().unwrap();
                    assert_eq!((answer.output().pipeline, answer.output().model), (mark, mark));
                    asked.fetch_add(1, Ordering::Relaxed);
                    number += 3;
                }
            });
        }
        let _done = RaisedAtTheEnd(&done);
        let mut mark = 1;
        for switch in 0..SWITCHES {
            if switch % (SWITCHES / STAGED as usize) == 0 {
                mark += 1;
                let rollout = service.stage(mark.to_string(), Marked::new(mark)).unwrap();
                rollout.canary(0.3).unwrap();
                rollout.canary(0.9).unwrap();
                rollout.promote().unwrap();
            } else {
                let other = if service.live() == *mark.to_string() { mark - 1 } else { mark };
                let _ = service.rollback_to(other.to_string(), "to and fro").unwrap();
            }
            if switch % 16 == 0 {
                service.tick();
            }
        }
    });
    service.tick();
    let status = service.status();
    let counted: u64 = status.versions.iter().map(|version| version.total.requests).sum();
    let failed: u64 = status.versions.iter().flat_map(|version| version.total.errors.values()).sum();
    assert_eq!((counted, failed), (asked.into_inner(), 0));
    assert!(status.epoch as usize > SWITCHES);
}
