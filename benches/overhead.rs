//! What `predict` costs beyond the work itself.
//!
//! `cargo bench --bench overhead`, and `-- --quick` for a short figure. The work is an input from a view, `Session::run`
//! and reading the output, which is what a user would write by hand; the same user's other ways are a session behind a
//! mutex, and that behind an `ArcSwap`, to be replaced. Everything that `predict` does besides is switched on: a binary
//! task, latency and score distribution, ids, a thread that ticks.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

mod support;

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_utils::CachePadded;
use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::{HasSelectedOutputs, IoBinding, OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{DynTensor, TensorElementType};
use parking_lot::Mutex;
use switchback::model::onnx::ort;
use switchback::options::{Labels, Shadowing, Threads};
use switchback::{
    Builder, Clock, Kpi, ModelHandle, Outcome as Truth, Phase, Rollout, Task, Timestamp, closure, guard,
};

use support::onnx::{
    environment, file_of_rows, input, run, run_rows, session, version, version_in_rows, version_of_views,
    version_one_by_one,
};
use support::{Call, Contestant, Outcome, Report, allocations_per_call, quick, throughput, time_per_call};

type Handle = ModelHandle<[f32], f32>;

const THREADS: usize = 2;

fn main() -> Outcome {
    let environment = environment()?;
    let mut report = Report::new("overhead");
    let seconds = |full: u64, short: u64| Duration::from_secs(if quick() { short } else { full });

    library_alone(&mut report, seconds(4, 1))?;
    parts(&mut report, seconds(6, 1))?;
    control_side(&mut report, if quick() { 200 } else { 2_000 })?;
    let tiny = Bench::new(&environment, "tiny", 8)?;
    tiny.one_thread(&mut report, "tiny model", "", seconds(30, 3))?;
    tiny.allocations(&mut report);
    tiny.two_threads(&mut report, "tiny model", "", seconds(40, 4));
    batches(&mut report, &environment, seconds(10, 1))?;
    drop(tiny);
    let longer = Bench::new(&environment, "run20", 64)?;
    longer.one_thread(&mut report, "20 us model", "_20us", seconds(15, 2))?;
    longer.two_threads(&mut report, "20 us model", "_20us", seconds(40, 4));
    report.finish()
}

/// `predict` around a closure that does nothing.
fn library_alone(report: &mut Report, spent: Duration) -> Outcome {
    let answer = |input: &[f32]| Ok(input[0].abs());
    let handle = built(ModelHandle::builder("no-op").live("v1", closure("no-op@1", answer)))?;
    let input = input(8, 1);
    let contestants = [
        predicting("predict", &handle, &input),
        Contestant::new("bare", |_| Box::new(|| _ = black_box(answer(black_box(&input))))),
    ];
    let rounds = time_per_call(&contestants, spent);
    let alone = rounds.difference("predict", "bare");
    report.line(
        "a model that does nothing",
        "ns",
        rounds.median("predict"),
        Some(rounds.median("bare")),
        None,
    );
    report.figure("predict_noop_ns", alone);
    let rounds = throughput(&contestants[..1], THREADS, BLOCK, spent / 2);
    let alone = 1e9 * THREADS as f64 / rounds.median("predict");
    report.line("the same on 2 threads", "ns", alone, None, None);
    report.figure("predict_noop_2_threads_ns", alone);
    let allocations = allocations_per_call(&mut (contestants[0].calls)(0));
    report.figure("allocations_per_noop_predict", allocations);
    Ok(())
}

/// Where the nanoseconds of a request go. What can be left out is left out of a whole request, whose other parts overlap
/// with it as they always do; what cannot is done by itself, so the rest is what the parts are too much or too little by.
fn parts(report: &mut Report, spent: Duration) -> Outcome {
    let answer = |input: &[f32]| Ok(input[0].abs());
    let live = || ModelHandle::builder("no-op").live("v1", closure("no-op@1", answer));
    let whole = built(live())?;
    let still = built(live().clock(Clock::manual(Timestamp::from_unix_seconds(1_357_034_400))))?;
    let untold = live().threads(Threads::background()).build()?;
    let input = input(8, 1);
    let model: &(dyn Fn(&[f32]) -> f32 + Sync) = &|input| input[0].abs();
    let table = ArcSwap::from_pointee(0_u64);
    let stripe = CachePadded::new(Mutex::new(Stripe::default()));
    let contestants = [
        predicting("whole", &whole, &input),
        predicting("clock stands still", &still, &input),
        predicting("nothing is read", &untold, &input),
        Contestant::new("answer stays", |_| Box::new(|| _ = black_box(&whole.predict(black_box(&input))))),
        Contestant::new("nothing", |_| Box::new(|| _ = black_box(&input))),
        Contestant::new("table", |_| Box::new(|| _ = black_box(**black_box(&table).load()))),
        Contestant::new("stripe", |_| Box::new(|| black_box(&stripe).lock().record(black_box(400)))),
        Contestant::new("call", |_| {
            let called = || black_box(model)(black_box(&input));
            Box::new(move || _ = black_box(catch_unwind(AssertUnwindSafe(called))))
        }),
    ];
    let rounds = time_per_call(&contestants, spent);
    let mut rest = rounds.difference("whole", "nothing");
    for (part, key, nanos) in [
        ("the clock, read twice", "part_clock_ns", rounds.difference("whole", "clock stands still")),
        ("the table, one load", "part_table_ns", rounds.difference("table", "nothing")),
        ("the model's call, a panic caught", "part_call_ns", rounds.difference("call", "nothing")),
        ("what is kept, and its score", "part_score_ns", rounds.difference("whole", "nothing is read")),
        ("a stripe: lock, histogram, counters", "part_stripe_ns", rounds.difference("stripe", "nothing")),
        ("the answer with its id, moved once", "part_id_ns", rounds.difference("whole", "answer stays")),
    ] {
        rest -= nanos;
        report.line(&format!("    {part}"), "ns", nanos, None, None);
        report.figure(key, nanos);
    }
    report.line("    the rest: routing, rows, making the id", "ns", rest, None, None);
    report.figure("part_rest_ns", rest);
    Ok(())
}

/// What a request writes to a stripe, apart from its score: as many numbers, and a place of as large a histogram.
struct Stripe {
    counters: [u64; 6],
    sum: u128,
    longest: u64,
    places: Box<[u32]>,
}

impl Default for Stripe {
    fn default() -> Self {
        Self { counters: [0; 6], sum: 0, longest: 0, places: vec![0; 3_899].into() }
    }
}

impl Stripe {
    fn record(&mut self, nanos: u64) {
        self.counters.iter_mut().for_each(|counter| *counter += 1);
        let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(8);
        if let Some(place) = self.places.get_mut(shift as usize * 128 + (nanos >> shift) as usize) {
            *place = place.saturating_add(1);
        }
        self.sum += u128::from(nanos);
        self.longest = self.longest.max(nanos);
    }
}

/// What deciding takes, off the request's path: `status()`, and a tick after a hundred labelled requests of a canary that
/// live shadows, judged by five guards; beside a tick of the same without guards.
fn control_side(report: &mut Report, ticks: usize) -> Outcome {
    let judged = Judged::new(true)?;
    let alone = Judged::new(false)?;
    let mut took = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ticks {
        took[0].push(judged.tick());
        took[1].push(alone.tick());
        let started = Instant::now();
        black_box(judged.handle.status());
        took[2].push(started.elapsed().as_secs_f64() * 1e6);
    }
    assert!(judged.rollout.phase() == Phase::Canary, "it is still being judged");
    let [with, without, status] = took.map(support::median);
    report.line(
        "a tick with five guards, beside one without",
        "us",
        with,
        Some(without),
        Some(with / without),
    );
    report.figure("tick_with_five_guards_us", with);
    report.figure("tick_without_guards_us", without);
    report.line("status()", "us", status, None, None);
    report.figure("status_us", status);
    Ok(())
}

/// A canary under judgement, ticked by hand.
struct Judged {
    handle: ModelHandle<f64, f64>,
    rollout: Rollout<f64, f64>,
}

impl Judged {
    fn new(guarded: bool) -> Outcome<Self> {
        let answer = |input: &f64| Ok(*input);
        let handle = ModelHandle::builder("judged")
            .live("v1", closure("half@1", answer))
            .task(Task::binary(|probability: &f64| *probability).kpi(Kpi::rate("click")?))
            .labels(Labels::at_random())
            .shadowing(Shadowing::new())
            .threads(Threads::manual())
            .build()?;
        let mut rollout = handle.stage("v2", closure("half@2", answer))?;
        if guarded {
            rollout = rollout
                .guard(guard::error_rate().at_most_times_live(1.5))
                .guard(guard::latency(0.99).at_most_times_live(3.0))
                .guard(guard::accuracy().at_most_below_live(0.02))
                .guard(guard::precision().at_most_below_live(0.05))
                .guard(guard::kpi("click").at_most_below_live(0.05));
        }
        rollout.shadow(1.0)?;
        rollout.canary(0.1)?;
        Ok(Self { handle, rollout })
    }

    /// How long a tick takes, in microseconds.
    fn tick(&self) -> f64 {
        for number in 0..100 {
            let input = f64::from(number) / 100.0;
            let answer = self.handle.predict(&input).unwrap();
            let late = number % 7 == 0;
            self.handle.feedback(answer.id(), Truth::class(u16::from((input > 0.5) != late)));
            self.handle.feedback(answer.id(), Truth::kpi("click", f64::from(u8::from(late))));
        }
        self.handle.run_shadow(usize::MAX);
        let started = Instant::now();
        self.handle.tick();
        started.elapsed().as_secs_f64() * 1e6
    }
}

/// 64 requests that come together: in one run, one by one, and in one run by hand; beside a run of one by hand.
fn batches(report: &mut Report, environment: &Environment, spent: Duration) -> Outcome {
    const ROWS: usize = 64;
    const WIDTH: usize = 3;
    let together = built(ModelHandle::builder("together").live("v1", version_in_rows("rows@1")?))?;
    let apart = built(ModelHandle::builder("apart").live("v1", version_one_by_one("plain@1")?))?;
    let rows: Vec<Vec<f32>> =
        (0..ROWS).map(|row| input(WIDTH, row).iter().map(|x| x.abs() / 16.0).collect()).collect();
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let by_hand =
        || -> Outcome<_> { Ok(Mutex::new(Session::builder(environment)?.commit_from_file(file_of_rows())?)) };
    let (all, one) = (by_hand()?, by_hand()?);
    // What is compared is the same, and one run.
    let answered = |handle: &Handle| -> Vec<f32> {
        handle.request().batch(&rows).into_iter().map(|answer| answer.unwrap().into_output()).collect()
    };
    assert_eq!(answered(&together), run_rows(&mut all.lock(), &rows, WIDTH)?);
    assert_eq!(answered(&together), answered(&apart));
    let asking = |name, handle: &Handle| {
        let (handle, rows) = (handle.clone(), &rows);
        Contestant::new(name, move |_| -> Call<'_> {
            let handle = handle.clone();
            Box::new(move || _ = black_box(handle.request().batch(black_box(rows))))
        })
    };
    let contestants = [
        asking("together", &together),
        asking("apart", &apart),
        Contestant::new("by hand", |_| {
            Box::new(|| _ = black_box(run_rows(&mut all.lock(), black_box(&rows), WIDTH).unwrap()))
        }),
        Contestant::new("one by hand", |_| {
            Box::new(|| _ = black_box(run_rows(&mut one.lock(), black_box(&rows[..1]), WIDTH).unwrap()))
        }),
    ];
    let rounds = time_per_call(&contestants, spent);
    let bare = rounds.median("by hand");
    for (contestant, key) in [
        ("together", "batch_of_64_over_run_ratio"),
        ("apart", "batch_of_64_one_by_one_over_run_ratio"),
        ("one by hand", "run_of_1_over_run_of_64_ratio"),
    ] {
        let question = format!("64 requests at once, {contestant}, against one `Session::run` by hand");
        let ratio = rounds.ratio(contestant, "by hand");
        report.line(&question, "ns", rounds.median(contestant), Some(bare), Some(ratio));
        report.figure(key, ratio);
    }
    Ok(())
}

/// How long the threads of one contestant run before it is the next one's turn.
const BLOCK: Duration = Duration::from_millis(100);

/// The contestants over one model.
struct Bench {
    name: &'static str,
    input: Vec<f32>,
    sessions: Vec<Mutex<Session>>,
    others: Vec<Mutex<Session>>,
    bound: Vec<Mutex<Bound>>,
    placed: Vec<Mutex<Placed>>,
    shared: Mutex<Session>,
    swappable: ArcSwap<Mutex<Session>>,
    idle: Handle,
    of_views: Handle,
    shadowed: (Handle, Rollout<[f32], f32>),
    canary: (Handle, Rollout<[f32], f32>),
}

impl Bench {
    fn new(environment: &Environment, name: &'static str, width: usize) -> Outcome<Self> {
        let sessions = || -> Outcome<_> {
            (0..THREADS).map(|_| Ok(Mutex::new(session(environment, name)?))).collect::<Outcome<Vec<_>>>()
        };
        let live = || -> Outcome<_> { Ok(ModelHandle::builder(name).live("v1", version(name, "plain@1")?)) };
        let with_candidate = |builder: Builder<[f32], f32>| -> Outcome<_> {
            let handle = built(builder)?;
            let rollout = handle.stage("v2", version(name, "plain@2")?)?;
            Ok((handle, rollout))
        };
        let shadowed = with_candidate(live()?.shadowing(Shadowing::new()))?;
        shadowed.1.shadow(0.1)?;
        let canary = with_candidate(live()?)?;
        canary.1.canary(0.1)?;
        let bound = (0..THREADS).map(|_| Ok(Mutex::new(Bound::new(session(environment, name)?, width)?)));
        let placed = (0..THREADS).map(|_| Ok(Mutex::new(Placed::new(session(environment, name)?, width)?)));
        Ok(Self {
            name,
            input: input(width, 1),
            sessions: sessions()?,
            others: sessions()?,
            bound: bound.collect::<Outcome<_>>()?,
            placed: placed.collect::<Outcome<_>>()?,
            shared: Mutex::new(session(environment, name)?),
            swappable: ArcSwap::from_pointee(Mutex::new(session(environment, name)?)),
            idle: built(live()?)?,
            of_views: built(ModelHandle::builder(name).live("v1", version_of_views(name, "views@1")?))?,
            shadowed,
            canary,
        })
    }

    fn contestants(&self) -> Vec<Contestant<'_>> {
        let Self { input, .. } = self;
        vec![
            running("run", &self.sessions, input),
            running("run again", &self.others, input),
            predicting("predict", &self.idle, input),
            predicting("predict, from views", &self.of_views, input),
            predicting("predict, 10 % shadowed", &self.shadowed.0, input),
            predicting("predict, 10 % canary", &self.canary.0, input),
            keyed("predict, keyed", &self.idle, input),
            keyed("predict, keyed, 10 % canary", &self.canary.0, input),
            Contestant::new("mutex", |_| {
                Box::new(|| _ = black_box(run(&mut self.shared.lock(), black_box(input)).unwrap()))
            }),
            Contestant::new("swap", |_| {
                let mutex = &self.swappable;
                Box::new(|| _ = black_box(run(&mut mutex.load().lock(), black_box(input)).unwrap()))
            }),
            Contestant::new("bound", move |thread| {
                let mut bound = self.bound[thread].lock();
                Box::new(move || _ = black_box(bound.run(black_box(input)).unwrap()))
            }),
            Contestant::new("placed", move |thread| {
                let mut placed = self.placed[thread].lock();
                Box::new(move || _ = black_box(placed.run(black_box(input)).unwrap()))
            }),
        ]
    }

    fn one_thread(&self, report: &mut Report, model: &str, suffix: &str, spent: Duration) -> Outcome {
        let rounds = time_per_call(&self.contestants(), spent);
        let bare = rounds.median("run");
        report.figure(&format!("peer_run{suffix}_ns"), bare);
        for (contestant, key) in [
            ("predict", "predict_over_run"),
            ("predict, from views", "predict_of_views_over_run"),
            ("predict, 10 % shadowed", "predict_shadowed_over_run"),
            ("predict, 10 % canary", "predict_canary_over_run"),
            ("predict, keyed", "predict_keyed_over_run"),
            ("predict, keyed, 10 % canary", "predict_keyed_canary_over_run"),
            ("run again", "predict_over_run_aa"),
            ("mutex", "peer_mutex_over_run"),
            ("swap", "peer_arc_swap_mutex_over_run"),
            ("bound", "peer_bound_over_run"),
            ("placed", "peer_placed_over_run"),
        ] {
            let question = format!("{model}, 1 thread: {contestant}, against `Session::run`");
            let (own, ratio) = (rounds.median(contestant), rounds.ratio(contestant, "run"));
            report.line(&question, "ns", own, Some(bare), Some(ratio));
            report.figure(&format!("{key}{suffix}_ns"), rounds.difference(contestant, "run"));
        }
        report
            .figure(&format!("predict_over_peer_placed{suffix}_ns"), rounds.difference("predict", "placed"));
        Ok(())
    }

    fn two_threads(&self, report: &mut Report, model: &str, suffix: &str, spent: Duration) {
        let rounds = throughput(&self.contestants(), THREADS, BLOCK, spent);
        let bare = rounds.median("run");
        report.figure(&format!("peer_throughput_2_threads{suffix}_per_s"), bare);
        for (contestant, key) in [
            ("predict", "throughput_ratio_2_threads"),
            ("predict, 10 % shadowed", "shadow_throughput_ratio"),
            ("predict, 10 % canary", "canary_throughput_ratio"),
            ("run again", "throughput_ratio_2_threads_aa"),
            ("mutex", "peer_mutex_throughput_ratio"),
            ("swap", "peer_arc_swap_mutex_throughput_ratio"),
            ("bound", "peer_bound_throughput_ratio"),
            ("placed", "peer_placed_throughput_ratio"),
        ] {
            let question = format!("{model}, 2 threads: {contestant}, against a session each");
            let (own, ratio) = (rounds.median(contestant), rounds.ratio(contestant, "run"));
            report.line(&question, "1000/s", own / 1e3, Some(bare / 1e3), Some(ratio));
            report.figure(&format!("{key}{suffix}"), ratio);
        }
    }

    /// Counted, not timed: one run of each will do.
    fn allocations(&self, report: &mut Report) {
        let contestants = self.contestants();
        let of = |name| {
            let contestant = contestants.iter().find(|contestant| contestant.name == name).unwrap();
            allocations_per_call(&mut (contestant.calls)(0))
        };
        let (own, bare) = (of("predict"), of("run"));
        report.line(&format!("{} model: allocations", self.name), "per call", own, Some(bare), None);
        report.figure("allocations_per_predict", (own - bare).max(0.0));
        report.figure("allocations_of_predict", own);
        report.figure("allocations_of_predict_of_views", of("predict, from views"));
        report.figure("peer_allocations_of_run", bare);
        report.figure("peer_allocations_of_bound", of("bound"));
        report.figure("peer_allocations_of_placed", of("placed"));
    }
}

fn built(builder: Builder<[f32], f32>) -> Outcome<Handle> {
    let task = Task::binary(|probability: &f32| f64::from(*probability));
    Ok(builder.task(task).threads(Threads::background()).build()?)
}

/// A session each, locked once.
fn running<'a>(name: &'static str, sessions: &'a [Mutex<Session>], input: &'a [f32]) -> Contestant<'a> {
    Contestant::new(name, move |thread| -> Call<'a> {
        let mut session = sessions[thread].lock();
        Box::new(move || _ = black_box(run(&mut session, black_box(input)).unwrap()))
    })
}

fn predicting<'a>(name: &'static str, handle: &'a Handle, input: &'a [f32]) -> Contestant<'a> {
    Contestant::new(name, |_| -> Call<'a> {
        Box::new(|| _ = black_box(handle.predict(black_box(input)).unwrap()))
    })
}

fn keyed<'a>(name: &'static str, handle: &'a Handle, input: &'a [f32]) -> Contestant<'a> {
    let key = |user: u32| u64::from(user).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    Contestant::new(name, move |_| -> Call<'a> {
        let mut user = 0_u32;
        Box::new(move || {
            user = user.wrapping_add(1);
            _ = black_box(handle.predict_keyed(key(user), black_box(input)).unwrap());
        })
    })
}

/// By hand, with a binding: input and output in fixed places.
struct Bound {
    session: Session,
    binding: IoBinding,
    input: DynTensor,
}

impl Bound {
    fn new(session: Session, width: usize) -> Outcome<Self> {
        let (input, mut binding) = (tensor(width)?, session.create_binding()?);
        binding.bind_input("x", &input)?;
        binding.bind_output("y", tensor(1)?)?;
        Ok(Self { session, binding, input })
    }

    fn run(&mut self, input: &[f32]) -> ort::Result<f32> {
        self.input.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(input);
        let outputs = self.session.run_binding(&self.binding)?;
        let (_, elements) = outputs[0].try_extract_tensor::<f32>()?;
        Ok(elements[0])
    }
}

/// By hand, the fastest way that ort has: run options that say where the output goes. What `predict` takes beyond this
/// is what all of the library costs.
struct Placed {
    session: Session,
    options: RunOptions<HasSelectedOutputs>,
    input: [SessionInputValue<'static>; 1],
}

impl Placed {
    fn new(session: Session, width: usize) -> Outcome<Self> {
        let options = RunOptions::new()?.with_outputs(OutputSelector::default().preallocate("y", tensor(1)?));
        Ok(Self { session, options, input: [tensor(width)?.into()] })
    }

    fn run(&mut self, input: &[f32]) -> ort::Result<f32> {
        if let [SessionInputValue::Owned(place)] = &mut self.input {
            place.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(input);
        }
        let outputs = self.session.run_with_options(&self.input[..], &self.options)?;
        let (_, elements) = outputs[0].try_extract_tensor::<f32>()?;
        Ok(elements[0])
    }
}

fn tensor(width: usize) -> ort::Result<DynTensor> {
    DynTensor::new(&Allocator::default(), TensorElementType::Float32, [1, width])
}
