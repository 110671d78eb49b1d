//! Handles of one fleet in one process, on a clock that is turned by hand: how soon what is decided holds, how often equal
//! versions are taken back, and how long it takes to see harm.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use switchback::fleet::{Directory, InMemory};
use switchback::model::ModelError;
use switchback::options::{Fleet, FleetTiming, Threads};
use switchback::{Clock, Model, ModelHandle, Plan, Step, Task, Timestamp, closure, guard};

use crate::line::{Line, Wire};

type Handle = ModelHandle<f64, f64>;

/// Live fails on one request of a hundred; the candidate on so many of ten thousand, which its name says.
fn version(name: &str) -> Box<dyn Model<f64, f64>> {
    let fails = match name.strip_prefix("fails") {
        Some(of) => of.parse::<f64>().unwrap_or(100.0) / 10_000.0,
        None => 0.01,
    };
    Box::new(closure(format!("{name}@1"), move |x: &f64| {
        if *x < fails { Err(ModelError::engine("out of reach")) } else { Ok(0.5) }
    }))
}

pub(crate) struct Members {
    clock: Clock,
    store: Arc<InMemory>,
    all: Vec<(Handle, Arc<Wire>)>,
    chance: u64,
}

impl Members {
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_800_000_000));
        let store = Arc::new(InMemory::new(clock.clone()));
        let mut members = Self { clock, store, all: Vec::new(), chance: seed };
        for _ in 0..count {
            members.join();
        }
        members.pass(Duration::from_secs(32), Duration::from_millis(500), 0);
        members
    }

    fn join(&mut self) {
        let (line, wire) = Line::new(&self.store);
        let seed = self.draw_bits();
        let handle =
            ModelHandle::builder("late")
                .live(
                    "v1",
                    closure("v1@1", |x: &f64| {
                        if *x < 0.01 { Err(ModelError::engine("out of reach")) } else { Ok(0.25) }
                    }),
                )
                .source(|name: &str| Ok(version(name)))
                .task(Task::binary(|p: &f64| *p))
                .threads(Threads::manual().stripes(1).tick_every(Duration::from_secs(1)))
                .clock(self.clock.clone())
                .seed(seed)
                .fleet(Fleet::on(line).timing(FleetTiming::new()))
                .build()
                .unwrap();
        self.all.push((handle, wire));
    }

    fn draw_bits(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.chance;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn draw(&mut self) -> f64 {
        (self.draw_bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Time passes in steps, in each of which every member is asked so often.
    fn pass(&mut self, span: Duration, step: Duration, requests: usize) {
        let steps = span.as_nanos() / step.as_nanos();
        for _ in 0..steps {
            for place in 0..self.all.len() {
                for _ in 0..requests {
                    let input = self.draw();
                    let _ = self.all[place].0.predict(&input);
                }
                self.all[place].0.tick();
            }
            self.clock.advance(step);
        }
    }

    fn stage(&self, name: &str) -> switchback::Rollout<f64, f64> {
        struct Named(Box<dyn Model<f64, f64>>);
        impl Model<f64, f64> for Named {
            fn identity(&self) -> switchback::model::Identity {
                self.0.identity()
            }
            fn predict(&self, input: &f64) -> Result<f64, ModelError> {
                self.0.predict(input)
            }
        }
        self.all[0].0.stage(name, Named(version(name))).unwrap()
    }

    fn begin(&self, name: &str) {
        let step = Step::canary(0.1).unwrap().min_duration(Duration::from_secs(86_400));
        let rollout = self.stage(name).guard(guard::error_rate().at_most_times_live(1.1));
        rollout.run(Plan::new([step]).unwrap()).unwrap();
    }

    fn runs(&self, name: &str) -> usize {
        self.all.iter().filter(|(handle, _)| handle.rollout(name).is_some()).count()
    }
}

/// How long it takes until what one member decides holds in each of the others, in seconds.
pub(crate) fn applied(seeds: u64) -> Vec<f64> {
    let mut spans = Vec::new();
    let step = Duration::from_millis(50);
    for seed in 0..seeds {
        let mut members = Members::new(8, seed);
        members.stage("fails100").promote().unwrap();
        members.pass(Duration::from_secs(5), step, 0);
        let from = (seed % 8) as usize;
        let offset = members.draw();
        members.pass(Duration::from_secs_f64(offset), step, 0);
        let _ = members.all[from].0.rollback("now");
        let mut open: Vec<usize> = (0..8).filter(|place| *place != from).collect();
        for steps in 1..200_u32 {
            members.pass(step, step, 0);
            let spent = step * steps;
            open.retain(|place| {
                let holds = members.all[*place].0.live() == "v1";
                if holds {
                    spans.push(spent.as_secs_f64());
                }
                !holds
            });
        }
        assert!(open.is_empty(), "what was decided does not hold everywhere");
    }
    spans.sort_by(f64::total_cmp);
    spans
}

/// For how long a candidate goes on answering in a member that is cut off, after it was taken off in another.
pub(crate) fn after_lowering(seeds: u64) -> f64 {
    let step = Duration::from_millis(50);
    let mut longest: f64 = 0.0;
    for seed in 0..seeds {
        let mut members = Members::new(2, seed);
        members.stage("fails100").canary(1.0).unwrap();
        members.pass(Duration::from_secs(5), step, 0);
        let offset = members.draw();
        members.pass(Duration::from_secs_f64(offset), step, 0);
        assert!(members.all[1].0.predict(&0.5).unwrap().version() == "fails100");
        members.all[1].1.cut(true);
        let _ = members.all[0].0.rollback("now");
        let mut spent = Duration::ZERO;
        while members.all[1].0.predict(&0.5).unwrap().version() == "fails100" {
            members.pass(step, step, 0);
            spent += step;
        }
        longest = longest.max(spent.as_secs_f64());
    }
    longest
}

/// The share of fleets that take an equal version back within so long.
pub(crate) fn false_alarms(count: usize, runs: u64, span: Duration) -> (u64, u64) {
    let alarms = AtomicU64::new(0);
    each(runs, |seed| {
        let mut members = Members::new(count, 1_000 + seed);
        members.begin("fails100");
        // Some come and go, and one is cut off for a while: as in life.
        let quarter = span / 4;
        for part in 0..4 {
            members.pass(quarter, Duration::from_millis(500), 5);
            if part == 1 {
                // Killed: nothing is said. Another begins in its place.
                drop(members.all.pop());
                members.join();
            }
            let cut = part == 2;
            members.all[0].1.cut(cut);
        }
        members.all[0].1.cut(false);
        members.pass(Duration::from_secs(5), Duration::from_millis(500), 0);
        if members.runs("fails100") < members.all.len() {
            alarms.fetch_add(1, Ordering::Relaxed);
        }
    });
    (alarms.into_inner(), runs)
}

/// How long it takes until a candidate that fails twice as often is taken off everywhere, in seconds: the half and nine tenths of runs.
pub(crate) fn seen(count: usize, runs: u64) -> (f64, f64) {
    let spans = Mutex::new(Vec::new());
    each(runs, |seed| {
        let mut members = Members::new(count, 2_000 + seed);
        members.begin("fails200");
        let step = Duration::from_millis(500);
        let mut spent = Duration::ZERO;
        members.pass(Duration::from_secs(3), step, 5);
        while members.runs("fails200") > 0 && spent < Duration::from_secs(40_000) {
            members.pass(step, step, 5);
            spent += step;
        }
        spans.lock().unwrap().push(spent.as_secs_f64());
    });
    let mut spans = spans.into_inner().unwrap();
    spans.sort_by(f64::total_cmp);
    let at = |share: f64| spans[((spans.len() - 1) as f64 * share).round() as usize];
    (at(0.5), at(0.9))
}

/// What a fleet asks its store for in a second: reads, and what is billed like a write. While nothing is on trial, and with a candidate.
pub(crate) fn requests(count: usize) -> [(f64, f64); 2] {
    let mut members = Members::new(count, 3_000);
    let (span, step) = (Duration::from_secs(300), Duration::from_millis(500));
    let measured = |members: &mut Members| {
        let sum = |members: &Members| {
            let all = members.all.iter().map(|(_, wire)| wire.requests());
            all.fold((0, 0), |(reads, writes), (more, others)| (reads + more, writes + others))
        };
        let before = sum(members);
        members.pass(span, step, 5);
        let after = sum(members);
        let rate = |from: u64, to: u64| (to - from) as f64 / span.as_secs_f64();
        (rate(before.0, after.0), rate(before.1, after.1))
    };
    let idle = measured(&mut members);
    members.begin("fails100");
    [idle, measured(&mut members)]
}

/// The share of a core that a handle takes which nobody asks anything, with a thread of its own: alone, and as a member in a folder.
pub(crate) fn idle(span: Duration) -> [f64; 2] {
    let folder = std::env::temp_dir().join(format!("switchback-idle-{}", std::process::id()));
    let of = |fleet: Option<Fleet>| {
        let builder =
            ModelHandle::<f64, f64>::builder("late").live("v1", closure("v1@1", |_: &f64| Ok(0.25)));
        let handle = match fleet {
            Some(fleet) => builder.fleet(fleet).build().unwrap(),
            None => builder.build().unwrap(),
        };
        let spent = spent_seconds();
        std::thread::sleep(span);
        let share = (spent_seconds() - spent) / span.as_secs_f64();
        handle.close(Duration::from_secs(5)).unwrap();
        share
    };
    let alone = of(None);
    let member = of(Some(Fleet::on(Directory::create(&folder).unwrap())));
    let _ = std::fs::remove_dir_all(&folder);
    [alone, member]
}

/// Seconds of processor that this process has taken, of all its threads: nanoseconds of each, where the system tells.
fn spent_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let told = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        told.split_whitespace().next()?.parse::<f64>().ok()
    });
    nanos.sum::<f64>() / 1e9
}

/// Runs on all cores.
fn each(runs: u64, run: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    run(seed);
                }
            });
        }
    });
}
