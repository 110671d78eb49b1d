//! Going back to a large version, and what it and a load do to the requests.
//!
//! `cargo bench --bench rollback`, and `-- --quick` for a short figure. The model is `benches/models/make_large.py`'s, of 118 MB.
//! The peer is what a user would write: a plain session behind a mutex, behind something that can be replaced, loaded when it
//! is needed.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ort::environment::Environment;
use switchback::model::onnx::{PreparedCache, ort};
use switchback::options::Tiers;
use switchback::options::{Retention, Threads};
use switchback::versions::Tier;
use switchback::{ModelHandle, RollbackOutcome, model::LoadError};

use support::large::{WIDTH, empty_cache, file, folder, run, session, version};
use support::onnx::{environment, input};
use support::{Outcome, Report, median, quantile, quick};

type Handle = ModelHandle<[f32], f32>;

fn main() -> Outcome {
    for seed in 1..=2 {
        file(seed)?;
    }
    let environment = environment()?;
    let mut report = Report::new("rollback");
    let cache = empty_cache("rollback")?;
    let times = if quick() { 4 } else { 30 };
    let peer = loading_by_hand(&environment, &mut report, times)?;
    for (tier, key, what) in [
        (Tier::Hot, "first_answer_hot", "rollback to a hot version: first answer"),
        (Tier::Warm, "first_answer_warm", "rollback to a warm version: first answer"),
        (Tier::Cold, "first_answer_disk_only", "rollback to a version on disk only: first answer"),
    ] {
        first_answers(&mut report, &cache, tier, (key, what), times, false, peer)?;
    }
    let evicted = ("first_answer_cold_cache", "the same, nothing of it in the system's cache");
    first_answers(&mut report, &cache, Tier::Cold, evicted, times.min(10), true, peer)?;
    around_rollbacks(&mut report, &cache, times)?;
    staging(&environment, &mut report, &cache, if quick() { 3 } else { 20 })?;
    std::fs::remove_dir_all(folder()?.join("rollback"))?;
    report.finish()
}

fn millis(from: Instant) -> f64 {
    from.elapsed().as_secs_f64() * 1e3
}

/// What a user would do: load the file, ask it.
fn loading_by_hand(environment: &Environment, report: &mut Report, times: usize) -> Outcome<f64> {
    let (path, ask) = (file(1)?, input(WIDTH, 1));
    let mut took = Vec::new();
    for _ in 0..times.min(10) {
        let started = Instant::now();
        let mut session = session(environment, &path)?;
        run(&mut session, &ask)?;
        took.push(millis(started));
    }
    let peer = median(took);
    report.figure("peer_load_first_answer_ms", peer);
    Ok(peer)
}

/// Two large versions that take turns at being live; the other one is let down to a tier first.
fn turns(cache: &PreparedCache, tier: Tier) -> Outcome<Handle> {
    let (forever, at_once) = (Duration::from_secs(1 << 30), Duration::ZERO);
    let tiers = match tier {
        Tier::Hot => Tiers::new().hot_for(forever),
        Tier::Warm => Tiers::new().hot_for(at_once),
        _ => Tiers::new().hot_for(at_once).warm_for(at_once),
    };
    let handle = ModelHandle::builder("turns")
        .live("1", version(&file(1)?, 2, Some(cache))?)
        .retention(Retention::new().tiers(tiers))
        .threads(Threads::background().tick_every(Duration::from_millis(20)))
        .build()?;
    handle.stage("2", version(&file(2)?, 2, Some(cache))?)?.promote()?;
    Ok(handle)
}

fn tier_of(handle: &Handle, wanted: &str) -> Option<Tier> {
    handle.status().versions.iter().find(|version| version.version == *wanted)?.tier
}

fn wait_for(handle: &Handle, version: &str, tier: Tier) {
    while tier_of(handle, version) != Some(tier) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// From the call to the first answer by the version that was gone back to; and until that is hot.
fn first_answers(
    report: &mut Report,
    cache: &PreparedCache,
    tier: Tier,
    (key, what): (&str, &str),
    times: usize,
    evicted: bool,
    peer: f64,
) -> Outcome {
    let (handle, ask) = (turns(cache, tier)?, input(WIDTH, 1));
    let (mut first, mut call, mut hot) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..times {
        let target = if turn % 2 == 0 { "1" } else { "2" };
        wait_for(&handle, target, tier);
        if evicted {
            evict(cache)?;
        }
        let started = Instant::now();
        let lowered = handle.rollback_to(target, "bench")?;
        call.push(millis(started));
        let answer = handle.predict(&ask)?;
        first.push(millis(started));
        assert!(matches!(lowered, RollbackOutcome::RolledBack { .. }) && answer.version() == target);
        wait_for(&handle, target, Tier::Hot);
        hot.push(millis(started));
    }
    let (first, call, hot) = (median(first), median(call), median(hot));
    report.line(what, "ms", first, Some(peer), Some(first / peer));
    report.line("  of which the call", "ms", call, None, None);
    report.line("  until it is as fast as it was", "ms", hot, None, None);
    report.figure(&format!("{key}_ms"), first);
    report.figure(&format!("{key}_call_ms"), call);
    report.figure(&format!("{key}_until_hot_ms"), hot);
    Ok(())
}

/// Has the system forget what it has in memory of the cache's files. Only pages that nobody maps can go.
fn evict(cache: &PreparedCache) -> Outcome {
    for entry in std::fs::read_dir(cache.folder())? {
        let data = entry?.path().join("model.data");
        if data.exists() {
            let of = format!("if={}", data.display());
            let dropped =
                Command::new("dd").args([&of, "iflag=nocache", "count=0", "status=none"]).status()?;
            if !dropped.success() {
                return Err("dd cannot have the system forget a file".into());
            }
        }
    }
    Ok(())
}

/// Requests one after the other while live goes to and fro between two large versions, each cold when it is gone back to.
fn around_rollbacks(report: &mut Report, cache: &PreparedCache, times: usize) -> Outcome {
    let (handle, ask) = (turns(cache, Tier::Cold)?, input(WIDTH, 1));
    wait_for(&handle, "1", Tier::Cold);
    let (stop, at_it) = (AtomicBool::new(false), AtomicBool::new(false));
    let (mut steady, mut around) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut steady, mut around) = (Vec::new(), Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let started = Instant::now();
                handle.predict(&ask).unwrap();
                let took = millis(started);
                if at_it.load(Ordering::Relaxed) { around.push(took) } else { steady.push(took) }
            }
            (steady, around)
        });
        for turn in 0..times {
            std::thread::sleep(Duration::from_millis(500));
            let target = if turn % 2 == 0 { "1" } else { "2" };
            at_it.store(true, Ordering::Relaxed);
            let _ = handle.rollback_to(target, "bench").unwrap();
            wait_for(&handle, target, Tier::Hot);
            at_it.store(false, Ordering::Relaxed);
            wait_for(&handle, if turn % 2 == 0 { "2" } else { "1" }, Tier::Cold);
        }
        stop.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    for (q, name) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p999")] {
        let (around, steady) = (quantile(&mut around, q), quantile(&mut steady, q));
        let question = format!("{name} of a request from a rollback until it is hot, beside steady");
        report.line(&question, "ms", around, Some(steady), Some(around / steady));
        report.figure(&format!("around_rollback_{name}_ms"), around);
        report.figure(&format!("steady_{name}_ms"), steady);
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------------------
// Staging

const THREADS: usize = 2;

/// Live is a model of 50 us, asked at half of its capacity, while a large one is loaded beside it: latencies from when a
/// request was due, so that one that had to wait for a core has waited.
fn staging(environment: &Environment, report: &mut Report, cache: &PreparedCache, blocks: usize) -> Outcome {
    let handle = ModelHandle::builder("staging")
        .live("live", support::onnx::version("run50_a", "small@1")?)
        .threads(Threads::background())
        .build()?;
    let ask = input(64, 1);
    let capacity = capacity(&handle, &ask);
    let pause = Duration::from_secs_f64(2.0 * THREADS as f64 / capacity);
    report.figure("live_capacity_per_s", capacity);
    let opened = |cache: Option<&PreparedCache>| {
        wide(&file(1).unwrap(), cache).map_err(|error| LoadError::other(error.to_string()))
    };
    let staged = || -> Outcome {
        let cache = cache.clone();
        let _ = handle.stage_with("large", move || opened(Some(&cache)))?.rollback("bench");
        Ok(())
    };
    let unprepared = || -> Outcome {
        let _ = handle.stage_with("large", move || opened(None))?.rollback("bench");
        Ok(())
    };
    // What is prepared is prepared when it is published.
    staged()?;
    let made = || -> Outcome {
        let cache = empty_cache("rollback-made")?;
        let _ = handle.stage_with("large", move || opened(Some(&cache)))?.rollback("bench");
        Ok(())
    };
    let by_hand = || -> Outcome {
        // As many sessions, on a thread of its own, as a service would.
        let path = file(1)?;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut sessions: Vec<_> =
                    (0..THREADS).map(|_| session(environment, &path).unwrap()).collect();
                sessions.iter_mut().for_each(|session| _ = run(session, &input(WIDTH, 1)).unwrap());
            });
        });
        Ok(())
    };
    let nothing = || -> Outcome {
        std::thread::sleep(Duration::from_millis(600));
        Ok(())
    };
    let mut ratios: [(&str, &str, Vec<f64>, Vec<f64>); 5] = [
        ("staging a prepared one", "staging", Vec::new(), Vec::new()),
        ("staging one, its form made on the way", "staging_first", Vec::new(), Vec::new()),
        ("staging a plain one", "staging_plain", Vec::new(), Vec::new()),
        ("nothing at all", "staging_aa", Vec::new(), Vec::new()),
        ("loading one by hand", "peer_staging", Vec::new(), Vec::new()),
    ];
    for _ in 0..blocks {
        let works: [&dyn Fn() -> Outcome; 5] = [&staged, &made, &unprepared, &nothing, &by_hand];
        for (work, (_, _, ratios, times)) in works.iter().zip(&mut ratios) {
            let (mut before, _) = latencies(&handle, &ask, pause, &nothing)?;
            let (mut during, took) = latencies(&handle, &ask, pause, work)?;
            let (mut after, _) = latencies(&handle, &ask, pause, &nothing)?;
            let steady = (quantile(&mut before, 0.99) + quantile(&mut after, 0.99)) / 2.0;
            ratios.push(quantile(&mut during, 0.99) / steady);
            times.push(took);
        }
    }
    for (what, key, ratios, times) in ratios {
        let (ratio, took) = (median(ratios), median(times));
        report.line(&format!("p99 of live, {what}, beside steady"), "ratio", ratio, None, None);
        report.line("  which takes", "ms", took, None, None);
        report.figure(
            &format!("{key}_p99_ratio").replace("staging_aa_p99_ratio", "staging_p99_ratio_aa"),
            ratio,
        );
        report.figure(&format!("{key}_ms"), took);
    }
    std::fs::remove_dir_all(folder()?.join("rollback-made"))?;
    Ok(())
}

/// A large version that takes what the small live is asked.
fn wide(
    file: &std::path::Path,
    cache: Option<&PreparedCache>,
) -> Outcome<impl switchback::Model<[f32], f32> + use<>> {
    struct Wide(switchback::model::onnx::Pipeline<[f32], f32>);
    impl switchback::Model<[f32], f32> for Wide {
        fn predict(&self, input: &[f32]) -> Result<f32, switchback::model::ModelError> {
            self.0.predict(&input.repeat(WIDTH / 64))
        }
        fn identity(&self) -> switchback::model::Identity {
            self.0.identity()
        }
        fn lifecycle(&self) -> Option<&dyn switchback::versions::Lifecycle> {
            self.0.lifecycle()
        }
    }
    Ok(Wide(version(file, THREADS, cache)?))
}

/// Requests a second of two threads that do nothing else.
fn capacity(handle: &Handle, ask: &[f32]) -> f64 {
    let contestant = support::Contestant::new("live", |_| Box::new(|| _ = handle.predict(ask).unwrap()));
    let spent = Duration::from_secs(if quick() { 1 } else { 4 });
    support::throughput(&[contestant], THREADS, Duration::from_millis(200), spent).median("live")
}

/// Milliseconds of requests that are due at even times, from when they were due, while some work is done; and how long that
/// took.
fn latencies(
    handle: &Handle,
    ask: &[f32],
    pause: Duration,
    work: &dyn Fn() -> Outcome,
) -> Outcome<(Vec<f64>, f64)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut latencies = Vec::new();
                    let mut due = Instant::now();
                    while !stop.load(Ordering::Relaxed) {
                        // A service that is a second behind sheds load.
                        due = (due + pause).max(Instant::now() - Duration::from_secs(1));
                        if let Some(early) = due.checked_duration_since(Instant::now()) {
                            std::thread::sleep(early);
                        }
                        handle.predict(ask).unwrap();
                        latencies.push(millis(due));
                    }
                    latencies
                })
            })
            .collect();
        let started = Instant::now();
        let done = work();
        let took = millis(started);
        stop.store(true, Ordering::Relaxed);
        let latencies = asking.into_iter().flat_map(|asking| asking.join().unwrap()).collect();
        done.map(|()| (latencies, took))
    })
}
