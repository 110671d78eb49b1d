//! What versions and sessions take of memory, and of the processor while they wait.
//!
//! `cargo bench --bench memory`, and `-- --quick` for a short figure. The model is `benches/models/make_large.py`'s, of 118 MB.
//! Each row is measured in a process of its own, as what the process has more of than before it was loaded: *private* is
//! anonymous memory, which nobody else has, *resident* is that and what is in memory of mapped files, which the system may
//! drop. Everything has run once, and free memory was given back, by both sides alike.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

mod support;

use std::any::Any;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use switchback::model::onnx::{Feed, OnnxModel, Outputs, PreparedCache, ort};
use switchback::options::Tiers;
use switchback::options::{Retention, Threads};
use switchback::versions::{Lifecycle, TargetTier, Tier};
use switchback::{Model, ModelHandle, closure, model::ModelError};

use support::large::{empty_cache, file, folder, run, session, version};
use support::onnx::{environment, input, model_file};
use support::{Outcome, Report, quick};

/// How many versions are retained; each is another model.
fn retained() -> &'static [usize] {
    if quick() { &[2, 3] } else { &[1, 2, 4] }
}

fn versions_max() -> usize {
    retained().iter().copied().max().unwrap_or_default()
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--measure") {
        let number = |at: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(1);
        return measure(&arguments[at + 1], number(at + 2));
    }
    if !cfg!(target_os = "linux") {
        println!("memory: only Linux tells what a process has");
        return Ok(());
    }
    for seed in 1..=versions_max() {
        file(seed)?;
    }
    let mut report = Report::with_tables_of_its_own("memory");
    println!("{:<58} {:>12} {:>12}", "", "private, MB", "resident, MB");
    // Once, so that no row pays for making them.
    child("prepare", versions_max())?;
    sessions(&mut report)?;
    versions(&mut report)?;
    reloads(&mut report)?;
    processor(&mut report)?;
    std::fs::remove_dir_all(folder()?.join("memory"))?;
    report.finish()
}

struct Taken {
    private: f64,
    resident: f64,
}

fn row(report: &mut Report, what: &str, key: &str, of: &str, count: usize) -> Outcome<Taken> {
    let figures = child(of, count)?;
    let taken = Taken { private: figures[0], resident: figures[1] };
    println!("{what:<58} {:>12.1} {:>12.1}", taken.private, taken.resident);
    report.figure(&format!("{key}_{count}_private_mb"), taken.private);
    report.figure(&format!("{key}_{count}_resident_mb"), taken.resident);
    Ok(taken)
}

/// 1, 2 and 4 sessions of one version.
fn sessions(report: &mut Report) -> Outcome {
    let mut ends = Vec::new();
    for (what, key, of) in [
        ("ort by hand", "peer_sessions", "sessions by hand"),
        ("plain", "sessions_plain", "sessions plain"),
        ("prepared, hot", "sessions_hot", "sessions hot"),
        ("prepared, warm", "sessions_warm", "sessions warm"),
    ] {
        let mut taken = Vec::new();
        for count in [1, 2, 4] {
            taken.push(row(report, &format!("{what}, {count} sessions"), key, of, count)?);
        }
        ends.push((taken[0].private, taken[0].resident, taken[2].private, taken[2].resident));
    }
    let each = |(one, _, four, _): (f64, f64, f64, f64)| (four - one) / 3.0;
    let each_resident = |(_, one, _, four): (f64, f64, f64, f64)| (four - one) / 3.0;
    report.figure("extra_session_mb", each(ends[2]));
    report.figure("extra_session_resident_mb", each_resident(ends[2]));
    report.figure("extra_session_warm_mb", each(ends[3]));
    report.figure("peer_extra_session_mb", each(ends[0]));
    Ok(())
}

/// Versions that are retained, each with two sessions, beside a small live. What one takes is what one more takes: whoever
/// loads on a thread beside the requests has 16 MB once, the top of that thread's heap, which glibc does not hand back.
fn versions(report: &mut Report) -> Outcome {
    let mut each = Vec::new();
    for (what, key, of) in [
        ("ort by hand", "peer_versions", "versions by hand"),
        ("plain", "versions_plain", "versions plain"),
        ("prepared, hot", "versions_hot", "versions hot"),
        ("prepared, warm", "versions_warm", "versions warm"),
        ("prepared, cold", "versions_cold", "versions cold"),
    ] {
        let mut rows = Vec::new();
        for &count in retained() {
            let what = format!("{what}, {count} versions of two sessions");
            rows.push((count as f64, row(report, &what, key, of, count)?));
        }
        let [.., (fewer, less), (more, most)] = &rows[..] else { unreachable!("two rows or more") };
        let one = |less: f64, most: f64| (most - less) / (more - fewer);
        each.push((one(less.private, most.private), one(less.resident, most.resident)));
    }
    report.figure("retained_version_mb", each[3].0);
    report.figure("retained_version_resident_mb", each[3].1);
    report.figure("retained_version_hot_mb", each[2].0);
    report.figure("retained_version_cold_mb", each[4].0);
    report.figure("peer_retained_version_mb", each[0].0);
    Ok(())
}

/// A candidate is staged and taken off, again and again.
fn reloads(report: &mut Report) -> Outcome {
    let times = if quick() { 30 } else { 200 };
    for (what, key, of) in
        [("plain", "reloads_plain", "reloads plain"), ("prepared", "reloads", "reloads prepared")]
    {
        let figures = child(of, times)?;
        let what = format!("{what}, {times} reloads: after a tenth, and after all");
        println!("{what:<58} {:>12.1} {:>12.1}", figures[0], figures[1]);
        report.figure(&format!("{key}_growth_mb"), figures[1] - figures[0]);
    }
    Ok(())
}

/// Four sessions that run in turn: what they take of the processor, beside what the same takes where each session has a
/// pool of its own whose threads spin, as ort has it unless told.
fn processor(report: &mut Report) -> Outcome {
    let runs = if quick() { 40 } else { 400 };
    let [wall, own, peer_wall, peer] =
        [child("turns switchback", runs)?, child("turns by hand", runs)?].concat()[..]
    else {
        return Err("a child did not say what it took".into());
    };
    println!(
        "{:<58} {own:>10.1} ms {wall:>10.1} ms",
        format!("{runs} runs on 4 sessions in turn: processor, time")
    );
    println!("{:<58} {peer:>10.1} ms {peer_wall:>10.1} ms", "  with a spinning pool each");
    report.figure("turns_processor_ms", own);
    report.figure("turns_ms", wall);
    report.figure("peer_turns_processor_ms", peer);
    report.figure("peer_turns_ms", peer_wall);
    Ok(())
}

/// Measures in a process of its own, which prints its figures.
fn child(of: &str, count: usize) -> Outcome<Vec<f64>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--measure", of, &count.to_string()]);
    if quick() {
        command.arg("--quick");
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("measuring {of} failed").into());
    }
    let text = String::from_utf8(output.stdout)?;
    let figures = text.lines().last().unwrap_or_default().split(' ');
    Ok(figures.map(|figure| figure.parse().unwrap_or(f64::NAN)).collect())
}

// ---------------------------------------------------------------------------------------------------------------------
// In the child

fn measure(of: &str, count: usize) -> Outcome {
    let environment = environment()?;
    let ask = input(support::large::WIDTH, 1);
    let cache = || -> Outcome<_> { Ok(PreparedCache::open(folder()?.join("memory"))?) };
    // What ONNX Runtime takes for itself is there before.
    let mut small = support::onnx::session(&environment, "tiny")?;
    support::onnx::run(&mut small, &input(8, 1))?;
    let (subject, kind) = of.split_once(' ').unwrap_or((of, ""));
    let before = taken();
    let held: Box<dyn Any> = match (subject, kind) {
        ("prepare", _) => {
            let cache = empty_cache("memory")?;
            for seed in 1..=count {
                version(&file(seed)?, 1, Some(&cache))?.load()?;
            }
            return Ok(());
        }
        ("sessions", "by hand") => {
            let mut sessions = Vec::new();
            for _ in 0..count {
                sessions.push(session(&environment, &file(1)?)?);
            }
            for session in &mut sessions {
                run(session, &ask)?;
            }
            Box::new(sessions)
        }
        ("sessions", kind) => {
            let cache = cache()?;
            let model = version(&file(1)?, count, (kind != "plain").then_some(&cache))?;
            model.load()?;
            if kind == "warm" {
                Lifecycle::settle(&model, &TargetTier::new(Tier::Warm))?;
            }
            Lifecycle::warm_up(&model)?; // every session once
            model.predict(&ask)?;
            Box::new(model)
        }
        ("versions", "by hand") => {
            let mut sessions = Vec::new();
            for seed in 1..=count {
                for _ in 0..2 {
                    let mut session = session(&environment, &file(seed)?)?;
                    run(&mut session, &ask)?;
                    sessions.push(session);
                }
            }
            Box::new(sessions)
        }
        ("versions", kind) => Box::new(retaining(count, kind, &cache()?)?),
        ("turns", "by hand") => {
            let mut sessions = Vec::new();
            for _ in 0..4 {
                let builder = ort::session::Session::builder(&environment)?.with_independent_thread_pool()?;
                sessions.push(builder.with_intra_threads(4)?.commit_from_file(file(1)?)?);
            }
            return turns(count, |turn| Ok(run(&mut sessions[turn % 4], &ask).map(drop)?));
        }
        ("turns", _) => {
            let cache = cache()?;
            let models: Vec<_> =
                (0..4).map(|_| version(&file(1)?, 1, Some(&cache))).collect::<Outcome<_>>()?;
            for model in &models {
                model.load()?;
            }
            return turns(count, |turn| Ok(models[turn % 4].predict(&ask).map(drop)?));
        }
        ("reloads", kind) => return reload(count, kind, &cache()?),
        other => return Err(format!("{other:?}").into()),
    };
    give_back();
    let after = taken();
    println!("{} {}", after.0 - before.0, after.1 - before.1);
    drop(held);
    Ok(())
}

/// A handle with a small live that retains so many large versions, all in one tier.
fn retaining(count: usize, kind: &str, cache: &PreparedCache) -> Outcome<ModelHandle<[f32], f32>> {
    let (forever, at_once) = (Duration::from_secs(1 << 30), Duration::ZERO);
    let (tiers, tier) = match kind {
        "warm" => (Tiers::new().hot_for(at_once), Tier::Warm),
        "cold" => (Tiers::new().hot_for(at_once).warm_for(at_once), Tier::Cold),
        _ => (Tiers::new().hot_for(forever), Tier::Hot),
    };
    let cache = (kind != "plain").then_some(cache);
    let handle = ModelHandle::builder("memory")
        .live("1", version(&file(1)?, 2, cache)?)
        .retention(Retention::new().versions(count).tiers(tiers))
        .threads(Threads::manual())
        .build()?;
    for seed in 2..=count {
        handle.stage(seed.to_string(), version(&file(seed)?, 2, cache)?)?.promote()?;
    }
    let encode = |input: &[f32], feed: &mut Feed<'_, '_>| feed_small(input, feed);
    let small = OnnxModel::from_file(model_file("tiny"))?.pool_size(1).pipeline(
        "small@1",
        encode,
        |outputs: &Outputs<'_>| outputs.scalar("y"),
    );
    handle.stage("small", small)?.promote()?;
    for _ in 0..2 {
        handle.tick();
    }
    let status = handle.status();
    let retained = status.versions.iter().filter(|version| version.version != "small");
    assert!(retained.clone().count() == count && retained.clone().all(|version| version.tier == Some(tier)));
    if tier != Tier::Cold {
        // Each is asked once, as it is by a drill.
        for seed in (1..=count).map(|seed| seed.to_string()) {
            let _ = handle.rollback_to(&seed, "bench")?;
            handle.predict(&input(support::large::WIDTH, 1))?;
            let _ = handle.rollback_to("small", "bench")?;
        }
        handle.tick();
    }
    Ok(handle)
}

fn feed_small(input: &[f32], feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
    feed.buffer::<f32>("x", &[1, 8])?.copy_from_slice(&input[..8]);
    Ok(())
}

/// Milliseconds that so many runs take, and that they take of the processor, other threads of the process included.
fn turns(runs: usize, mut run: impl FnMut(usize) -> Outcome) -> Outcome {
    for turn in 0..8 {
        run(turn)?;
    }
    let (started, before) = (Instant::now(), processor_seconds());
    for turn in 0..runs {
        run(turn)?;
    }
    println!("{} {}", started.elapsed().as_secs_f64() * 1e3, (processor_seconds() - before) * 1e3);
    Ok(())
}

/// Of all threads of the process. The system counts in hundredths of a second.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may have blanks in it: the 12th and 13th are the user's and the system's time.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

/// What the process has after a tenth, and after all.
fn reload(times: usize, kind: &str, cache: &PreparedCache) -> Outcome {
    let small = support::onnx::version("tiny", "small@1")?;
    let handle: ModelHandle<[f32], f32> =
        ModelHandle::builder("reloads").live("small", small).threads(Threads::manual()).build()?;
    let mut private = Vec::new();
    for _ in 0..times {
        let large = version(&file(1)?, 1, (kind == "prepared").then_some(cache))?;
        let rollout = handle.stage("large", large)?;
        rollout.canary(0.01)?;
        let _ = rollout.rollback("bench");
        handle.tick();
        private.push(taken().0);
    }
    let most = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
    let tenth = (times / 10).max(3);
    println!("{} {}", most(&private[..tenth]), most(&private[times - tenth..]));
    Ok(())
}

/// Megabytes that are private, and resident.
fn taken() -> (f64, f64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1_024.0
    };
    (of("RssAnon:"), of("VmRSS:"))
}

/// Hands free memory back to the system, for both sides alike: a version is dropped where nothing else is, and that ends
/// with it.
fn give_back() {
    let started = Instant::now();
    let handle: ModelHandle<f64, f64> = ModelHandle::builder("nothing")
        .live("a", closure("a@1", |x: &f64| Ok(*x)))
        .threads(Threads::manual())
        .build()
        .unwrap();
    let _ = handle.stage("b", closure("b@1", |x: &f64| Ok(*x))).unwrap().rollback("bench");
    while started.elapsed() < Duration::from_secs(10) && handle.status().versions.len() > 2 {
        handle.tick();
    }
    handle.tick();
}
