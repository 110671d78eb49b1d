//! The main job: a year of departures from New York answered by a service that changes its model while it runs.
//!
//! Will this flight arrive more than 15 minutes late? v1 is live; v2 is tried as a shadow, then on a growing share of
//! the flights, and promoted by its plan; v3, whose pipeline feeds the delay in seconds to a model that learnt minutes,
//! is tried the same way and taken back by a guard on the labels that came in; the operator goes back and forth by
//! hand; and v4, which is v3 with its pipeline mended, is promoted.
//!
//! The year passes in event time: predictions are made as planes leave, labels come as they land.
//!
//! ```sh
//! cargo run --release --example rollout            # --help for options
//! cargo run --release --example rollout -- --report v3.html   # and a page about what became of v3
//! ```

mod flights;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flights::{Flight, Late};
use switchback::decisions::replay;
use switchback::events::{Cause, Event, EventKind, Subscription};
use switchback::feedback::FeedbackOutcome;
use switchback::options::{Labels, Retention, Shadowing, Threads};
use switchback::plan::{Bake, InvalidPlan};
use switchback::stats::{ArmFigures, Metric};
use switchback::{
    Clock, ModelHandle, Outcome, Phase, Plan, PredictionId, Rollout, Step, Task, Timestamp, Truth, guard,
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
/// The models have learnt from January to March: the replay begins where their knowledge ends, at midnight in New York.
const APRIL: Timestamp = Timestamp::from_unix_seconds(1_364_788_800);

const HELP: &str = "\
Replays a year of flights through a service that changes its model while it runs.

Options:
  --data FILE        flights, as examples/flights/make_data.py writes them
  --models DIR       the folder with v1.onnx, v2.onnx and v3.onnx
  --threads N        request threads                                        [2]
  --days-per-second X  how fast the year passes; 0 for as fast as it can    [0]
  --margin X         how far a version's accuracy may lie below live's      [0.02]
  --guard RULE       another guard, such as \"latency p99 at most 2 times live\"; may be repeated
  --min-labels N     labels that a step lasts for at least                  [400]
  --seed N           what chance begins with                                [2013]
  --report FILE      writes a page about the rollout that was taken back, and beside it one
                     about the one that was promoted last; Markdown where FILE ends in .md
  --help
";

/// What the command line says.
struct Options {
    data: PathBuf,
    models: PathBuf,
    threads: usize,
    days_per_second: f64,
    margin: f64,
    guards: Vec<guard::Rule>,
    min_labels: u64,
    seed: u64,
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match Options::parse() {
        Ok(Some(options)) => match run(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("rollout: {error}");
                ExitCode::FAILURE
            }
        },
        Ok(None) => {
            print!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rollout: {error}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let flights =
        flights::load(&options.data).map_err(|error| format!("{}: {error}", options.data.display()))?;
    let replay =
        flights.get(flights.partition_point(|flight| flight.departed() < APRIL)..).unwrap_or_default();
    let first = replay.first().ok_or("there are no flights from April on")?.departed();

    let service = Service::start(options, first)?;
    let mut operator = Operator::new(options, first)?;
    let mut waiting = BinaryHeap::new();
    let mut labels = Delivery::default();
    let mut progress = Progress::new(replay.len());
    let mut rest = replay;
    let mut now = first;
    while !rest.is_empty() || !waiting.is_empty() {
        now = now.plus(HOUR);
        service.clock.set(now);
        let (departing, later) = rest.split_at(rest.partition_point(|flight| flight.departed() <= now));
        rest = later;
        waiting.extend(service.predict(departing)?.into_iter().map(Reverse));
        service.handle.run_shadow(usize::MAX);
        while waiting.peek().is_some_and(|Reverse((landed, ..))| *landed <= now) {
            if let Some(Reverse((_, id, late))) = waiting.pop() {
                labels.deliver(&service.handle, &id, late)?;
            }
        }
        service.handle.tick();
        operator.act(&service.handle, now)?;
        service.timeline.print(&service.events, &mut progress);
        progress.show(now, replay.len() - rest.len(), &service.handle);
        progress.keep_pace(now.since(first), options.days_per_second);
    }
    progress.clear();
    report(&service, &labels, progress.started.elapsed());
    report_decisions(&service, &operator);
    if let Some(file) = &options.report {
        write_pages(&service, file)?;
    }
    check(&service, &labels, &operator)?;
    service.handle.close(Duration::from_secs(10))?;
    Ok(())
}

/// The service: the handle, and what its host has around it.
struct Service {
    clock: Clock,
    handle: ModelHandle<Flight, Late>,
    events: Subscription,
    timeline: Timeline,
    threads: usize,
    failed: AtomicU64,
}

/// When a plane landed, the id of the prediction made for it, and whether it was late.
type Landing = (Timestamp, String, bool);

impl Service {
    fn start(options: &Options, first: Timestamp) -> Result<Self, Box<dyn Error>> {
        let clock = Clock::replay(first);
        let handle = ModelHandle::builder("late-arrival")
            .live("v1", flights::version("v1", &options.models)?)
            .task(Task::binary(|answer: &Late| answer.probability).truth(Truth::Independent))
            // A plane lands within half a day of leaving, or never.
            .labels(Labels::complete_after(DAY))
            .shadowing(Shadowing::new())
            .threads(Threads::manual().tick_every(HOUR))
            .clock(clock.clone())
            .seed(options.seed)
            .retention(Retention::new().versions(3))
            .build()?;
        let events = handle.subscribe(1_024);
        let (threads, failed) = (options.threads.max(1), AtomicU64::new(0));
        Ok(Self { clock, handle, events, timeline: Timeline::default(), threads, failed })
    }

    /// Answers the flights that leave, on several threads at once; what comes back will land.
    fn predict(&self, departing: &[Flight]) -> Result<Vec<Landing>, Box<dyn Error>> {
        let answer = |flights: &[Flight]| -> Vec<Landing> {
            let landing = |flight: &Flight| match self.handle.predict(flight) {
                // A service would store the id with the flight: it travels as text.
                Ok(answer) => flight.truth().map(|(landed, late)| (landed, answer.id().to_string(), late)),
                Err(_) => {
                    self.failed.fetch_add(1, Ordering::Relaxed);
                    None
                }
            };
            flights.iter().filter_map(landing).collect()
        };
        let share = departing.len().div_ceil(self.threads).max(1);
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                departing.chunks(share).map(|part| scope.spawn(move || answer(part))).collect();
            let mut landings = Vec::new();
            for thread in threads {
                landings.extend(thread.join().map_err(|_| "a request thread panicked")?);
            }
            Ok(landings)
        })
    }
}

/// What became of the labels.
#[derive(Default)]
struct Delivery {
    delivered: u64,
    counted: u64,
}

impl Delivery {
    fn deliver(
        &mut self,
        handle: &ModelHandle<Flight, Late>,
        id: &str,
        late: bool,
    ) -> Result<(), Box<dyn Error>> {
        let id: PredictionId = id.parse()?;
        self.delivered += 1;
        self.counted +=
            u64::from(handle.feedback(id, Outcome::class(late.into())) == FeedbackOutcome::Counted);
        Ok(())
    }
}

/// Who works with the service: stages versions and changes their mind.
struct Operator {
    plan: Plan,
    models: PathBuf,
    margin: f64,
    guards: Vec<guard::Rule>,
    /// What there is to do, the next thing last.
    to_do: Vec<(Deed, Duration)>,
    since: Timestamp,
    current: Option<Rollout<Flight, Late>>,
    forecasts: Vec<Said>,
}

/// What the planner said of a rollout before it began.
struct Said {
    version: &'static str,
    began: Timestamp,
    promoted_after: Option<Duration>,
    harm_after: Option<Duration>,
}

/// Something the operator does, some time after the thing before it is done.
#[derive(Clone, Copy)]
enum Deed {
    Try(&'static str),
    GoBack(&'static str),
    GoForward(&'static str),
}

impl Operator {
    fn new(options: &Options, first: Timestamp) -> Result<Self, InvalidPlan> {
        let to_do = vec![
            (Deed::Try("v4"), DAY * 7),
            (Deed::GoForward("v2"), DAY * 2),
            (Deed::GoBack("dispatch prefers the old warnings"), DAY * 7),
            (Deed::Try("v3"), DAY * 14),
            (Deed::Try("v2"), DAY * 7),
        ];
        let (models, margin) = (options.models.clone(), options.margin);
        Ok(Self {
            plan: plan(options.min_labels)?,
            models,
            margin,
            guards: options.guards.clone(),
            to_do,
            since: first,
            current: None,
            forecasts: Vec::new(),
        })
    }

    fn act(&mut self, handle: &ModelHandle<Flight, Late>, now: Timestamp) -> Result<(), Box<dyn Error>> {
        if let Some(rollout) = &self.current {
            if !rollout.phase().is_over() {
                self.since = now;
                return Ok(());
            }
            self.current = None;
        }
        let Some((task, after)) = self.to_do.last().copied() else { return Ok(()) };
        if now.since(self.since) < after {
            return Ok(());
        }
        match task {
            Deed::Try(name) => {
                let rollout = handle
                    .stage(name, flights::version(name, &self.models)?)?
                    .guard(guard::error_rate().at_most(0.01))
                    .guard(guard::accuracy().at_most_below_live(self.margin));
                let rollout = self.guards.iter().cloned().fold(rollout, Rollout::guard);
                self.forecasts.extend(Said::of(name, handle, &rollout, self, now)?);
                rollout.run(self.plan.clone())?;
                self.current = Some(rollout);
            }
            Deed::GoBack(reason) => drop(handle.rollback(reason)),
            Deed::GoForward(version) => {
                drop(handle.rollback_to(version, "the new warnings were right after all")?)
            }
        }
        self.to_do.pop();
        self.since = now;
        Ok(())
    }
}

impl Said {
    fn of(
        version: &'static str,
        handle: &ModelHandle<Flight, Late>,
        rollout: &Rollout<Flight, Late>,
        operator: &Operator,
        began: Timestamp,
    ) -> Result<Option<Self>, Box<dyn Error>> {
        let (Some(forecast), Some(traffic)) = (rollout.forecast(&operator.plan), handle.traffic()) else {
            return Ok(None);
        };
        println!("{}  {version}, says the planner: {forecast}", day(began));
        // A mistake in the pipeline costs a dozen points, not two: how soon would that be seen?
        let rule = guard::accuracy().at_most_below_live(operator.margin)?;
        let shadow = operator.plan.steps().first().ok_or("the plan has no step")?.exposure();
        let harm_after = handle.forecast_harm(&rule, shadow, 0.12 / operator.margin, &traffic)?;
        Ok(Some(Self { version, began, promoted_after: forecast.promoted_after, harm_after }))
    }
}

/// A shadow of half the flights, then a tenth and a half of them for real, each for days and enough labels: delays come
/// in storms, so a thousand flights of one day say less than they seem to.
fn plan(min_labels: u64) -> Result<Plan, InvalidPlan> {
    let days =
        |step: Step, days: u32| step.min_duration(DAY * days).min_labels(min_labels).max_duration(DAY * 30);
    let bake = Bake::new(DAY * 5).keep_previous_as_shadow(0.2)?;
    let steps = [days(Step::shadow(0.5)?, 4), days(Step::canary(0.1)?, 4), days(Step::canary(0.5)?, 3)];
    Ok(Plan::new(steps)?.bake(bake))
}

/// Prints what happens as it happens.
#[derive(Default)]
struct Timeline {
    seen: std::sync::Mutex<Vec<Event>>,
}

impl Timeline {
    fn print(&self, events: &Subscription, progress: &mut Progress) {
        while let Some(event) = events.try_recv() {
            progress.clear();
            println!("{}  {event}", day(event.at));
            let evidence = match &event.kind {
                EventKind::PhaseChanged { evidence, .. } | EventKind::Promoted { evidence, .. } => {
                    evidence.as_slice()
                }
                _ => &[],
            };
            for evidence in evidence {
                match &evidence.sentence {
                    Some(sentence) => println!("{:18}because {sentence}", ""),
                    None => println!("{:18}because {evidence}", ""),
                }
            }
            self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Event::clone(&event));
        }
    }

    fn seen(&self) -> Vec<Event> {
        self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// `2013-06-24 17:05`
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(16).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// A line that is written over again and again, on a terminal; elsewhere one a month.
struct Progress {
    total: usize,
    started: Instant,
    shown: Option<String>,
    terminal: bool,
}

impl Progress {
    #[expect(clippy::disallowed_methods, reason = "how long the example takes, in real time")]
    fn new(total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { total, started: Instant::now(), shown: None, terminal }
    }

    fn show(&mut self, now: Timestamp, done: usize, handle: &ModelHandle<Flight, Late>) {
        let every = if self.terminal { 10 } else { 7 };
        let line: String = now.to_string().chars().take(every).collect();
        if self.shown.as_ref() == Some(&line) {
            return;
        }
        let text = format!("{line}  {done} of {} flights answered, {} is live", self.total, handle.live());
        if self.terminal {
            eprint!("\r\x1b[2K{text}");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("{text}");
        }
        self.shown = Some(line);
    }

    /// Waits until the year has passed no faster than was asked for.
    #[expect(clippy::disallowed_methods, reason = "how fast a person wants to watch, in real time")]
    fn keep_pace(&self, passed: Duration, days_per_second: f64) {
        if days_per_second > 0.0 {
            let due = Duration::from_secs_f64(passed.as_secs_f64() / 86_400.0 / days_per_second);
            std::thread::sleep(due.saturating_sub(self.started.elapsed()));
        }
    }

    fn clear(&mut self) {
        if self.terminal && self.shown.take().is_some() {
            eprint!("\r\x1b[2K");
        }
    }
}

fn report(service: &Service, labels: &Delivery, took: Duration) {
    let status = service.handle.status();
    println!("\nEvery version, over everything it answered for real or as a shadow:\n");
    println!(
        "version  requests  of them   errors  labels  accuracy  precision  recall    AUC  Brier   p50 us   p99 us"
    );
    println!("                    shadow");
    let mut versions = status.versions.clone();
    versions.sort_by_key(|version| version.version);
    for version in &versions {
        let ArmFigures { requests, shadowed, error_rate, outcomes, latency, quality, .. } = &version.total;
        let metric = |metric| {
            let measured = quality.as_ref().and_then(|quality| quality.measure(metric));
            measured.map_or_else(|| "-".into(), |measured| format!("{:.3}", measured.value))
        };
        let micros = |of: fn(&switchback::stats::LatencyFigures) -> Duration| {
            latency
                .as_ref()
                .map_or_else(|| "-".into(), |latency| format!("{:.1}", of(latency).as_secs_f64() * 1e6))
        };
        println!(
            "{:7} {requests:>9} {shadowed:>8} {:>7.2}% {outcomes:>7} {:>9} {:>10} {:>7} {:>6} {:>6} {:>8} {:>8}",
            version.version.as_str(),
            error_rate.unwrap_or(0.0) * 100.0,
            metric(Metric::Accuracy),
            metric(Metric::Precision),
            metric(Metric::Recall),
            metric(Metric::Auc),
            metric(Metric::Brier),
            micros(|latency| latency.p50),
            micros(|latency| latency.p99),
        );
    }
    println!(
        "\n{} labels came, {} of them count; {} pairs of answers still wait for theirs; {} copies dropped. {:.1} s.",
        labels.delivered,
        labels.counted,
        status.feedback.pairs_waiting,
        status.shadow.dropped,
        took.as_secs_f64(),
    );
}

/// What was decided of each version, on how many labelled flights, and what the planner had said.
fn report_decisions(service: &Service, operator: &Operator) {
    println!("\nWhat was decided, on what, and how long it took:\n");
    let days = |time: Option<Duration>| {
        time.map_or_else(|| "never".into(), |time| format!("{:.1} days", time.as_secs_f64() / 86_400.0))
    };
    let decided = |event: &Event| match &event.kind {
        EventKind::Promoted { version, .. } => Some((*version, true)),
        EventKind::Aborted { version, .. } => Some((*version, false)),
        _ => None,
    };
    for said in &operator.forecasts {
        let seen = service.timeline.seen();
        let ended = seen
            .iter()
            .find_map(|event| Some((event.at, decided(event).filter(|(v, _)| *v == *said.version)?)));
        let Some((at, (version, promoted))) = ended else { continue };
        let (outcome, forecast) =
            if promoted { ("promoted", said.promoted_after) } else { ("taken back", said.harm_after) };
        println!(
            "{version} was {outcome} after {}; the planner had said {}",
            days(Some(at.since(said.began))),
            days(forecast)
        );
        // The last decision of its guard on labels.
        let decisions = service.handle.decisions();
        let last = decisions.iter().rev().find(|decision| {
            decision.candidate() == version
                && decision.at() <= at
                && decision.evidence().guard.starts_with("accuracy")
        });
        if let Some(decision) = last {
            let replayed = replay(decision).is_ok_and(|evidence| evidence == *decision.evidence());
            println!("   {}", decision.evidence().sentence.as_deref().unwrap_or("no sentence"));
            println!(
                "   on {} labelled flights; judged again from its record: {}",
                decision.evidence().samples,
                if replayed { "the same" } else { "something else" }
            );
        }
    }
}

/// Writes a page about v3, which was taken back, and beside it one about v4, which was promoted.
fn write_pages(service: &Service, file: &Path) -> Result<(), Box<dyn Error>> {
    let markdown = file.extension().is_some_and(|extension| extension == "md");
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!("{stem}-promoted.{extension}"));
    println!();
    for (version, file) in [("v3", file), ("v4", beside.as_path())] {
        let report = service.handle.report(version).ok_or("the rollout is forgotten")?;
        println!("{}: {}", file.display(), report.headline());
        std::fs::write(file, if markdown { report.markdown() } else { report.html() })?;
    }
    Ok(())
}

/// Whether everything happened that this example is to show.
fn check(service: &Service, labels: &Delivery, operator: &Operator) -> Result<(), Box<dyn Error>> {
    let seen = service.timeline.seen();
    let happened = |what: &dyn Fn(&EventKind) -> bool| seen.iter().any(|event| what(&event.kind));
    let promoted = |name: &str| {
        happened(&|kind| matches!(kind, EventKind::Promoted { version, .. } if *version == *name))
    };
    let reached = |name: &str, phase: Phase| {
        happened(
            &|kind| matches!(kind, EventKind::PhaseChanged { version, to, .. } if *version == *name && *to == phase),
        )
    };
    let by_guard =
        |cause: &Cause| matches!(cause, Cause::Guard { evidence } if evidence.guard.starts_with("accuracy"));
    let went = |to: &str| {
        happened(
            &|kind| matches!(kind, EventKind::RolledBack { to: now, cause: Cause::Operator { .. }, .. } if *now == *to),
        )
    };
    let taken_back = happened(&|kind| match kind {
        EventKind::Aborted { version, cause } => *version == *"v3" && by_guard(cause),
        EventKind::RolledBack { from, cause, .. } => *from == *"v3" && by_guard(cause),
        _ => false,
    });
    let steps = [
        ("v2 was tried as a shadow", reached("v2", Phase::Shadow)),
        ("v2 was tried as a canary", reached("v2", Phase::Canary)),
        ("v2 was promoted by its plan", promoted("v2")),
        ("v3 was taken back by a guard on labels", taken_back && !promoted("v3")),
        ("the operator went back to v1 by hand", went("v1")),
        ("the operator went forward to v2 by hand", went("v2")),
        ("v4 was promoted by its plan", promoted("v4")),
        ("v4 is live at the end", service.handle.live() == "v4"),
        ("the operator has nothing left to do", operator.to_do.is_empty()),
        ("no request failed", service.failed.load(Ordering::Relaxed) == 0),
        (
            "every decision follows from its record",
            service
                .handle
                .decisions()
                .iter()
                .all(|decision| replay(decision).as_ref() == Ok(decision.evidence())),
        ),
        ("every label counts", labels.delivered > 0 && labels.counted == labels.delivered),
    ];
    println!();
    for (step, done) in steps {
        println!("{} {step}", if done { "ok  " } else { "FAIL" });
    }
    let missed = steps.iter().filter(|(_, done)| !done).count();
    if missed == 0 { Ok(()) } else { Err(format!("{missed} of {} steps did not happen", steps.len()).into()) }
}

impl Options {
    /// The options; nothing where help was asked for.
    fn parse() -> Result<Option<Self>, Box<dyn Error>> {
        use lexopt::prelude::*;
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/flights");
        let mut options = Self {
            data: here.join("flights.csv.gz"),
            models: here.join("models"),
            threads: 2,
            days_per_second: 0.0,
            margin: 0.02,
            guards: Vec::new(),
            min_labels: 400,
            seed: 2013,
            report: None,
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("data") => options.data = arguments.value()?.into(),
                Long("models") => options.models = arguments.value()?.into(),
                Long("threads") => options.threads = arguments.value()?.parse()?,
                Long("days-per-second") => options.days_per_second = arguments.value()?.parse()?,
                Long("margin") => options.margin = arguments.value()?.parse()?,
                Long("guard") => options.guards.push(arguments.value()?.parse()?),
                Long("min-labels") => options.min_labels = arguments.value()?.parse()?,
                Long("seed") => options.seed = arguments.value()?.parse()?,
                Long("report") => options.report = Some(arguments.value()?.into()),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}
