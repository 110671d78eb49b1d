//! What the benches share: alternating blocks, medians, the table, the file of figures; in `onnx`, the work done by hand.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[cfg(feature = "onnx")]
pub(crate) mod large;
#[cfg(feature = "state")]
pub(crate) mod lowering;
#[cfg(feature = "onnx")]
pub(crate) mod onnx;

/// What a bench does where it cannot go on.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Whether a short figure will do: `-- --quick`. Cargo's own arguments are passed over.
pub(crate) fn quick() -> bool {
    std::env::args().any(|argument| argument == "--quick")
}

// ---------------------------------------------------------------------------------------------------------------------
// Allocations

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, and how often each thread has asked it for memory and how much it has of it. ONNX Runtime has
/// an allocator of its own, which is not counted.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// What was allocated less what was freed: below 0 on a thread that frees what others allocate.
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

fn count_allocation(bytes: usize) {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    count_bytes(bytes as isize);
}

fn count_bytes(more: isize) {
    LIVE_BYTES.set(LIVE_BYTES.get() + more);
}

/// Bytes that the calling thread has allocated and not freed.
pub(crate) fn live_bytes() -> f64 {
    LIVE_BYTES.get() as f64
}

// SAFETY: every call is handed on to the system's allocator as it came. Counting touches a thread-local that needs
// neither memory nor a destructor.
#[expect(unsafe_code, reason = "there is no other way to count allocations")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_allocation(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_allocation(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_allocation(size);
        count_bytes(-(layout.size() as isize));
        unsafe { System.realloc(block, layout, size) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count_bytes(-(layout.size() as isize));
        unsafe { System.dealloc(block, layout) }
    }
}

/// Allocations per call, of the calling thread.
pub(crate) fn allocations_per_call(call: &mut dyn FnMut()) -> f64 {
    const CALLS: u64 = 10_000;
    (0..100).for_each(|_| call());
    let before = ALLOCATIONS.get();
    (0..CALLS).for_each(|_| call());
    (ALLOCATIONS.get() - before) as f64 / CALLS as f64
}

// ---------------------------------------------------------------------------------------------------------------------
// Contestants

/// One way to do the work. `calls(thread)` makes what a thread does again and again.
pub(crate) struct Contestant<'a> {
    pub(crate) name: &'static str,
    pub(crate) calls: Box<dyn Fn(usize) -> Call<'a> + Sync + 'a>,
}

pub(crate) type Call<'a> = Box<dyn FnMut() + 'a>;

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: &'static str, calls: impl Fn(usize) -> Call<'a> + Sync + 'a) -> Self {
        Self { name, calls: Box::new(calls) }
    }
}

/// What was measured of each contestant, round by round: all of a round within a moment of each other, so that whatever
/// else the machine does meets them alike.
pub(crate) struct Rounds {
    names: Vec<&'static str>,
    rounds: Vec<Vec<f64>>,
}

impl Rounds {
    fn of(contestants: &[Contestant<'_>]) -> Self {
        Self { names: contestants.iter().map(|contestant| contestant.name).collect(), rounds: Vec::new() }
    }

    fn place(&self, name: &str) -> usize {
        self.names.iter().position(|known| *known == name).unwrap_or_else(|| unreachable!("{name}"))
    }

    /// The median of a contestant's figures.
    pub(crate) fn median(&self, name: &str) -> f64 {
        let place = self.place(name);
        median(self.rounds.iter().map(|round| round[place]))
    }

    /// The median of what two contestants' figures of the same round differ by.
    pub(crate) fn difference(&self, name: &str, from: &str) -> f64 {
        let (place, from) = (self.place(name), self.place(from));
        median(self.rounds.iter().map(|round| round[place] - round[from]))
    }

    /// The median of the ratios of two contestants' figures of the same round.
    pub(crate) fn ratio(&self, name: &str, to: &str) -> f64 {
        let (place, to) = (self.place(name), self.place(to));
        median(self.rounds.iter().map(|round| round[place] / round[to]))
    }
}

/// Nanoseconds per call on this thread, in bursts of about a millisecond, each contestant once per round and in another
/// order each time.
pub(crate) fn time_per_call(contestants: &[Contestant<'_>], spent: Duration) -> Rounds {
    const BURST: Duration = Duration::from_millis(1);
    let mut calls: Vec<Call<'_>> = contestants.iter().map(|contestant| (contestant.calls)(0)).collect();
    let mut burst = |place: usize, size: u32| {
        let started = Instant::now();
        (0..size).for_each(|_| calls[place]());
        started.elapsed()
    };
    let sizes: Vec<u32> = (0..contestants.len())
        .map(|place| {
            burst(place, 1_000); // shapes repeat, caches are warm
            let fastest = (0..20).map(|_| burst(place, 50)).min().unwrap_or(BURST);
            (50.0 * BURST.as_secs_f64() / fastest.as_secs_f64().max(1e-9)).ceil() as u32
        })
        .collect();
    let mut rounds = Rounds::of(contestants);
    let started = Instant::now();
    while started.elapsed() < spent {
        let mut round = vec![0.0; contestants.len()];
        for place in order(contestants.len(), rounds.rounds.len()) {
            round[place] = burst(place, sizes[place]).as_nanos() as f64 / f64::from(sizes[place]);
        }
        rounds.rounds.push(round);
    }
    rounds
}

/// Calls a second on `threads` threads, in blocks of `block`, each contestant once per round and in another order each
/// time.
pub(crate) fn throughput(
    contestants: &[Contestant<'_>],
    threads: usize,
    block: Duration,
    spent: Duration,
) -> Rounds {
    let mut rounds = Rounds::of(contestants);
    let started = Instant::now();
    while started.elapsed() < spent {
        let mut round = vec![0.0; contestants.len()];
        for place in order(contestants.len(), rounds.rounds.len()) {
            round[place] = throughput_of(&contestants[place], threads, block);
        }
        rounds.rounds.push(round);
    }
    rounds
}

fn throughput_of(contestant: &Contestant<'_>, threads: usize, block: Duration) -> f64 {
    let (start, stop) = (Barrier::new(threads), AtomicBool::new(false));
    let work = |thread| {
        let mut call = (contestant.calls)(thread);
        (0..200).for_each(|_| call());
        start.wait();
        let started = Instant::now();
        let mut calls = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            call();
            calls += 1;
            if thread == 0 && calls.is_multiple_of(64) && started.elapsed() >= block {
                stop.store(true, Ordering::Relaxed);
            }
        }
        calls as f64 / started.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(f64::NAN)).sum()
    })
}

/// Another order in every round: forwards and backwards, from another place each time.
fn order(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |step| {
        let place = (step + round / 2) % count;
        if round.is_multiple_of(2) { place } else { count - 1 - place }
    })
}

pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    quantile(&mut values.into_iter().collect::<Vec<_>>(), 0.5)
}

/// The value that a share of `q` does not exceed.
pub(crate) fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (values.len() as f64 * q).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

// ---------------------------------------------------------------------------------------------------------------------
// The report

/// The table that is printed, and the figures that are written.
pub(crate) struct Report {
    bench: &'static str,
    figures: serde_json::Map<String, serde_json::Value>,
    broken: Vec<String>,
}

impl Report {
    /// With a table of lines as its first.
    pub(crate) fn new(bench: &'static str) -> Self {
        let report = Self::with_tables_of_its_own(bench);
        println!("{:<78} {:>12} {:>12} {:>8}", "", "switchback", "by hand", "ratio");
        report
    }

    pub(crate) fn with_tables_of_its_own(bench: &'static str) -> Self {
        println!("{bench}: {} figures", if quick() { "short" } else { "full" });
        Self { bench, figures: serde_json::Map::new(), broken: Vec::new() }
    }

    /// A figure for the file.
    pub(crate) fn figure(&mut self, key: &str, value: f64) {
        let rounded = (value * 1e4).round() / 1e4;
        self.figures.insert(key.to_owned(), rounded.into());
    }

    /// What holds on any machine, however slow: where it does not, the bench fails once its figures are written.
    pub(crate) fn must(&mut self, holds: bool, what: &str) {
        if !holds {
            self.broken.push(what.to_owned());
        }
    }

    /// A list, or whatever else is no number, for the file.
    pub(crate) fn details(&mut self, key: &str, value: serde_json::Value) {
        self.figures.insert(key.to_owned(), value);
    }

    /// A line of the table: ours, the peer's where there is one, and the ratio of the two.
    pub(crate) fn line(&self, question: &str, unit: &str, own: f64, peer: Option<f64>, ratio: Option<f64>) {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        let question = format!("{question}, {unit}");
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.3}"));
        println!("{question:<78} {:>12} {:>12} {ratio:>8}", number(Some(own)), number(peer));
    }

    /// Where this bench puts a file of its own: `figures/<bench>.<extension>` in the target directory.
    pub(crate) fn path(&self, extension: &str) -> Outcome<PathBuf> {
        let target = std::env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty());
        let target = target
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from)
            .join("figures");
        std::fs::create_dir_all(&target)?;
        Ok(target.join(format!("{}.{extension}", self.bench)))
    }

    /// Writes the figures to `figures/<bench>.json` in the target directory.
    pub(crate) fn finish(self) -> Outcome {
        let path = self.path("json")?;
        std::fs::write(&path, format!("{:#}\n", serde_json::Value::Object(self.figures)))?;
        println!("written to {}", path.display());
        if self.broken.is_empty() { Ok(()) } else { Err(self.broken.join("; ").into()) }
    }
}
