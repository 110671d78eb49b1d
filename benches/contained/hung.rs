//! What callers feel of a candidate that does not come back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::sleep;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use switchback::options::{Inputs, Limits, Threads};
use switchback::{ModelHandle, Phase, closure};

use crate::support::{Outcome, Report, quantile};

const THREADS: usize = 16;
const DEADLINE: Duration = Duration::from_millis(50);
/// Between two requests of one thread: the machine has two cores, and what waits for a core is not what is asked here.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls that hang until they are let go.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn wait(&self) {
        let mut open = self.open.lock();
        while !*open {
            self.opened.wait(&mut open);
        }
    }

    fn open(&self) {
        *self.open.lock() = true;
        self.opened.notify_all();
    }
}

fn busy(input: f64) -> f64 {
    let started = Instant::now();
    while started.elapsed() < Duration::from_micros(50) {
        std::hint::spin_loop();
    }
    input
}

/// Candidates that hang on one of ten calls answer half of the requests of 16 threads, one after the other: each is on until it
/// is taken off.
///
/// # Errors
///
/// The handle cannot be built.
pub(crate) fn hung(report: &mut Report, candidates: usize) -> Outcome {
    let handle = ModelHandle::builder("hung")
        .live("live", closure("live@1", |input: &f64| Ok(busy(*input))))
        .inputs(Inputs::new().copied())
        .limits(Limits::new().candidate_deadline(DEADLINE))
        .threads(Threads::background().tick_every(Duration::from_millis(20)))
        .build()?;
    let (mut steady, _) = under_load(&handle, || sleep(Duration::from_secs(5)));
    let lives = quantile(&mut steady, 0.999);
    let mut taken_off = 0;
    let gates: Vec<Arc<Gate>> = (0..candidates).map(|_| Arc::default()).collect();
    let (mut waits, lost) = under_load(&handle, || {
        for (number, gate) in gates.iter().enumerate() {
            let (own, calls) = (Arc::clone(gate), AtomicU64::new(0));
            let model = closure(format!("hangs@{number}"), move |input: &f64| {
                if calls.fetch_add(1, Ordering::Relaxed) % 10 == 9 {
                    own.wait();
                }
                Ok(*input)
            });
            let rollout = handle.stage(format!("c{number}"), model).unwrap();
            rollout.canary(0.5).unwrap();
            let started = Instant::now();
            while rollout.phase() == Phase::Canary && started.elapsed() < Duration::from_secs(10) {
                sleep(Duration::from_millis(5));
            }
            taken_off += usize::from(rollout.phase() == Phase::Aborted);
            gate.open();
        }
    });
    let p999 = quantile(&mut waits, 0.999);
    let deadline = DEADLINE.as_secs_f64() * 1e3;
    report.line(
        "requests while candidates hang on one of ten calls",
        "count",
        waits.len() as f64,
        None,
        None,
    );
    report.line("candidates that were taken off", "count", taken_off as f64, None, None);
    report.line("answers lost meanwhile", "count", lost as f64, None, None);
    report.line("p99.9 of callers, live alone", "ms", lives, None, None);
    report.line("p99.9 of callers, beyond the deadline", "ms", p999 - deadline, None, None);
    report.figure("hung_candidates", candidates as f64);
    report.figure("hung_candidates_taken_off", taken_off as f64);
    report.figure("hung_answers_lost", lost as f64);
    report.figure("hung_live_p999_ms", lives);
    report.figure("hung_candidate_p999_over_deadline_ms", p999 - deadline);
    report.figure("hung_candidate_p999_over_allowed", p999 / (deadline + 1.2 * lives));
    report.must(lost == 0, "answers were lost while candidates hung");
    report.must(taken_off == candidates, "a candidate that hung was not taken off");
    Ok(())
}

/// Milliseconds that requests took, and how many got no answer, or a wrong one.
fn under_load(handle: &ModelHandle<f64, f64>, meanwhile: impl FnOnce()) -> (Vec<f64>, u64) {
    let (stop, together) = (AtomicBool::new(false), Barrier::new(THREADS + 1));
    let work = || {
        let (mut waits, mut lost) = (Vec::new(), 0);
        together.wait();
        while !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            match handle.predict(&0.5) {
                Ok(answer) if *answer.output() == 0.5 => {}
                _ => lost += 1,
            }
            waits.push(started.elapsed().as_secs_f64() * 1e3);
            sleep(PAUSE);
        }
        (waits, lost)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        together.wait();
        meanwhile();
        stop.store(true, Ordering::Relaxed);
        let (mut waits, mut lost) = (Vec::new(), 0);
        for worker in workers {
            let (own, lost_here) = worker.join().unwrap();
            waits.extend(own);
            lost += lost_here;
        }
        (waits, lost)
    })
}
