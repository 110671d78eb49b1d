//! What a swap costs: the call, and the requests that are under way.
//!
//! `cargo bench --bench swap`, and `-- --quick` for a short figure. Two versions of 50 us take turns at being live. They
//! differ in everything: one pipeline changes the sign of its input, the other model halves its answer, and each decode
//! puts a mark of its own on it. So an answer that was not made by one version whole cannot be taken for one that was.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ort::environment::Environment;
use ort::session::Session;
use parking_lot::Mutex;
use switchback::model::onnx::{Feed, OnnxModel, Outputs, ort};
use switchback::options::Threads;
use switchback::{Answer, ModelHandle, PredictError, RollbackOutcome, Task, model::ModelError};

use support::onnx::{environment, input, model_file, run, session};
use support::{Outcome, Report, median, quantile, quick};

const THREADS: usize = 2;
const WIDTH: usize = 64;
const INPUTS: usize = 64;
/// Between two swaps of the hundred a second.
const PAUSE: Duration = Duration::from_millis(10);

type Handle = ModelHandle<[f32], Marked>;
type Answered = Result<Answer<Marked>, PredictError>;

/// An answer with the mark of the pipeline that read it.
struct Marked {
    probability: f32,
    mark: &'static str,
}

fn main() -> Outcome {
    let environment = environment()?;
    let mut report = Report::new("swap");
    let bench = Bench::new(&environment)?;
    bench.answers(&mut report, Duration::from_secs(if quick() { 2 } else { 10 }));
    bench.call(&mut report, if quick() { 300 } else { 3_000 });
    let (blocks, block) = if quick() { (4, 200) } else { (20, 1_000) };
    bench.tail(&mut report, blocks, Duration::from_millis(block));
    // The same as in the bench `contained`: how long a rollback waits for those who look, a checkpoint, a core.
    #[cfg(feature = "state")]
    support::lowering::lowering(&mut report, if quick() { 300 } else { 5_000 })?;
    report.finish()
}

/// Microseconds that calls took: the first after a pause, and those that followed it.
#[derive(Default)]
struct Times {
    own: [Vec<f64>; 2],
    peer: [Vec<f64>; 2],
}

fn micros(call: impl FnOnce()) -> f64 {
    let started = Instant::now();
    call();
    started.elapsed().as_nanos() as f64 / 1e3
}

struct Bench {
    handle: Handle,
    inputs: Vec<Vec<f32>>,
    /// What each version answers to each input.
    expected: [Vec<f32>; 2],
    peer: Peer,
}

/// What a user would write: a session behind a mutex, behind something that can be replaced.
struct Peer {
    swap: ArcSwap<Mutex<Session>>,
    sessions: [Arc<Mutex<Session>>; 2],
}

impl Bench {
    fn new(environment: &Environment) -> Outcome<Self> {
        let inputs: Vec<Vec<f32>> = (0..INPUTS).map(|seed| input(WIDTH, seed)).collect();
        let (mut a, mut b) = (session(environment, "run50_a")?, session(environment, "run50_b")?);
        let negated = |input: &[f32]| input.iter().map(|x| -x).collect::<Vec<_>>();
        let expected_a = inputs.iter().map(|input| run(&mut a, input)).collect::<ort::Result<_>>()?;
        let expected_b =
            inputs.iter().map(|input| run(&mut b, &negated(input))).collect::<ort::Result<_>>()?;

        let pipeline = |name: &str, sign: f32, mark: &'static str| -> Outcome<_> {
            let encode = move |input: &[f32], feed: &mut Feed<'_, '_>| -> Result<(), ModelError> {
                let buffer = feed.buffer("x", &[1, input.len()])?;
                buffer.iter_mut().zip(input).for_each(|(to, from)| *to = sign * from);
                Ok(())
            };
            let decode = move |outputs: &Outputs<'_>| -> Result<Marked, ModelError> {
                Ok(Marked { probability: outputs.scalar("y")?, mark })
            };
            Ok(OnnxModel::from_file(model_file(name))?.pipeline(&format!("{mark}@1"), encode, decode))
        };
        let handle = ModelHandle::builder("swap")
            .live("a", pipeline("run50_a", 1.0, "a")?)
            .task(Task::binary(|answer: &Marked| f64::from(answer.probability)))
            .threads(Threads::background())
            .build()?;
        handle.stage("b", pipeline("run50_b", -1.0, "b")?)?.promote()?;
        let sessions = [Arc::new(Mutex::new(a)), Arc::new(Mutex::new(b))];
        let [first, _] = &sessions;
        let peer = Peer { swap: ArcSwap::new(Arc::clone(first)), sessions: sessions.clone() };
        Ok(Self { handle, inputs, expected: [expected_a, expected_b], peer })
    }

    /// Live goes to the other version, by name: a rollback pressed again goes further back, and never forward.
    fn swap(&self) {
        let other = if self.handle.live() == "a" { "b" } else { "a" };
        let lowered = self.handle.rollback_to(other, "bench").unwrap();
        assert!(matches!(lowered, RollbackOutcome::RolledBack { .. }), "{lowered:?}");
    }

    /// Whether one version made the answer, whole.
    fn is_whole(&self, place: usize, answer: &Answer<Marked>) -> bool {
        let Marked { probability, mark } = answer.output();
        let [a, b] = &self.expected;
        let expected = if *mark == "a" { a[place] } else { b[place] };
        probability.to_bits() == expected.to_bits() && answer.version() == *mark
    }

    /// Swaps as fast as they go under full load: is any answer lost, or made by two versions?
    fn answers(&self, report: &mut Report, spent: Duration) {
        #[derive(Default)]
        struct Seen {
            failed: u64,
            mixed: u64,
            of_a: u64,
            of_b: u64,
        }
        let count = |seen: &mut Seen, place: usize, answered: Answered, _| match answered {
            Ok(answer) if !self.is_whole(place, &answer) => seen.mixed += 1,
            Ok(answer) if answer.output().mark == "a" => seen.of_a += 1,
            Ok(_) => seen.of_b += 1,
            Err(_) => seen.failed += 1,
        };
        let (swaps, seen) = self.under_load(count, || {
            let (started, mut swaps) = (Instant::now(), 0_u64);
            while started.elapsed() < spent {
                self.swap();
                swaps += 1;
                // Some in a row, some with time for a few answers in between; an odd number, so by either version.
                if swaps.is_multiple_of(17) {
                    sleep(Duration::from_micros(200));
                }
            }
            swaps
        });
        let of = |count: fn(&Seen) -> u64| seen.iter().map(count).sum::<u64>() as f64;
        for (question, key, count) in [
            ("swaps while 2 threads predict", "swaps", swaps as f64),
            ("answers of one version meanwhile", "answers_a", of(|seen| seen.of_a)),
            ("answers of the other", "answers_b", of(|seen| seen.of_b)),
            ("failed answers", "failed_answers", of(|seen| seen.failed)),
            ("answers made by two versions", "mixed_answers", of(|seen| seen.mixed)),
        ] {
            report.line(question, "count", count, None, None);
            report.figure(key, count);
        }
    }

    /// How long the caller of a swap waits: on an idle handle and under full load; in a row, and after a pause, when what
    /// the call needs has to be fetched from memory first.
    fn call(&self, report: &mut Report, rounds: usize) {
        let idle = self.times_of_calls(rounds);
        let (loaded, _) =
            self.under_load(|(), _, answered, _| _ = answered.unwrap(), || self.times_of_calls(rounds));
        for (times, suffix, question) in [(idle, "_idle", "idle"), (loaded, "", "under full load")] {
            let Times { own: [own_after_pause, own], peer: [peer_after_pause, peer] } = times;
            for (name, when, mut own, peer) in
                [("", "", own, peer), ("_after_pause", ", after a pause", own_after_pause, peer_after_pause)]
            {
                let (call, store) = (quantile(&mut own, 0.5), median(peer));
                let question = format!("a swap, {question}{when}, against `ArcSwap::store`");
                report.line(&question, "us, median", call, Some(store), Some(call / store));
                report.figure(&format!("swap_call{suffix}{name}_us"), call);
                report.figure(&format!("swap_call{suffix}{name}_p99_us"), quantile(&mut own, 0.99));
                report.figure(&format!("peer_arc_swap_store{suffix}{name}_us"), store);
            }
        }
    }

    fn times_of_calls(&self, rounds: usize) -> Times {
        const IN_A_ROW: usize = 9;
        let mut times = Times::default();
        for round in 0..rounds {
            let Times { own, peer } = &mut times;
            sleep(Duration::from_millis(1));
            // What went first has had the longer pause.
            let turns: [&mut dyn FnMut(); 2] = [
                &mut || {
                    for call in 0..IN_A_ROW {
                        own[usize::from(call != 0)].push(micros(|| self.swap()));
                    }
                },
                &mut || {
                    for call in 0..IN_A_ROW {
                        let next = Arc::clone(&self.peer.sessions[call % 2]);
                        peer[usize::from(call != 0)].push(micros(|| self.peer.swap.store(next)));
                    }
                },
            ];
            let [own, peer] = turns;
            if round.is_multiple_of(2) {
                own();
                peer();
            } else {
                peer();
                own();
            }
        }
        times
    }

    /// The tail of what requests take while live changes 100 times a second, against blocks in which it does not.
    /// Between steady blocks too; and with a thread that wakes as often and does nothing, since whatever wakes up on a
    /// machine whose cores are all busy takes one of them from a request.
    fn tail(&self, report: &mut Report, rounds: usize, block: Duration) {
        let mut tails: [Vec<[f64; 3]>; 4] = Default::default();
        for round in 0..rounds {
            for step in 0..tails.len() {
                let kind = (step + round) % tails.len();
                let meanwhile: &dyn Fn() = match kind {
                    0 | 1 => &|| sleep(block),
                    2 => &|| self.repeat(block, || self.swap()),
                    _ => &|| self.repeat(block, || ()),
                };
                tails[kind].push(self.quantiles(meanwhile));
            }
        }
        let [steady, again, swapping, waking] = &tails;
        let of = |kind: &[[f64; 3]], place: usize| median(kind.iter().map(|quantiles| quantiles[place]));
        let ratio = |one: &[[f64; 3]], other: &[[f64; 3]], place: usize| {
            median(one.iter().zip(other).map(|(one, other)| one[place] / other[place]))
        };
        for (place, name) in ["p50", "p99", "p999"].into_iter().enumerate() {
            let steadily = of(steady, place);
            for (question, key, kind) in [
                ("100 swaps a second", "", swapping),
                ("steady again", "_aa", again),
                ("a thread that wakes 100 times a second", "_of_waking", waking),
            ] {
                let ratio = ratio(kind, steady, place);
                let question = format!("{name} of requests, {question}, against steady");
                report.line(&question, "us", of(kind, place), Some(steadily), Some(ratio));
                report.figure(&format!("{name}_ratio{key}"), ratio);
            }
            report.figure(&format!("{name}_steady_us"), steadily);
            report.figure(&format!("{name}_ratio_over_waking"), ratio(swapping, waking, place));
        }
    }

    /// Calls `often`, 100 times a second.
    fn repeat(&self, spent: Duration, often: impl Fn()) {
        let started = Instant::now();
        while started.elapsed() < spent {
            sleep(PAUSE);
            often();
        }
    }

    /// p50, p99 and p99.9 of all requests during `meanwhile`, in microseconds.
    fn quantiles(&self, meanwhile: &dyn Fn()) -> [f64; 3] {
        let time = |times: &mut Vec<f64>, _, _, taken: Duration| times.push(taken.as_nanos() as f64 / 1e3);
        let ((), times) = self.under_load(time, meanwhile);
        let mut times = times.concat();
        [0.5, 0.99, 0.999].map(|q| quantile(&mut times, q))
    }

    /// Predicts on all threads for as long as `meanwhile` takes. What each thread has seen is kept by `count`.
    fn under_load<R, S: Default + Send>(
        &self,
        count: impl Fn(&mut S, usize, Answered, Duration) + Sync,
        meanwhile: impl FnOnce() -> R,
    ) -> (R, Vec<S>) {
        let stop = AtomicBool::new(false);
        let work = |thread: usize| {
            let mut seen = S::default();
            for call in thread.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let place = call % INPUTS;
                let started = Instant::now();
                let answered = self.handle.predict(&self.inputs[place]);
                count(&mut seen, place, answered, started.elapsed());
            }
            seen
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn({
                        let work = &work;
                        move || work(thread)
                    })
                })
                .collect();
            let result = meanwhile();
            stop.store(true, Ordering::Relaxed);
            (result, workers.into_iter().map(|worker| worker.join().unwrap()).collect())
        })
    }
}
