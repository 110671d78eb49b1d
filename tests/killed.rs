//! Real processes that are killed at any moment, and what the next start makes of what they left.
//!
//! `SWITCHBACK_KILLS` says how many: 40 unless told, 300 and more by hand.
#![cfg(all(feature = "state", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::*;
use switchback::options::StateFolder;
use switchback::testing::Scripted;
use switchback::{AfterCrash, Builder, Lowered, Model, Phase, Rollout, closure, guard};

const FOLDER: &str = "SWITCHBACK_KILLED_FOLDER";
const STORY: &str = "SWITCHBACK_KILLED_STORY";
const SEED: &str = "SWITCHBACK_KILLED_SEED";

/// Between a fork and its exec a child has what its parent has, locks of other tests included: one test at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn scripted(name: &str) -> Scripted<f64, f64> {
    says(name, 0.5)
}

fn versions(name: &str) -> Result<Box<dyn Model<f64, f64>>, Box<dyn Error + Send + Sync>> {
    if name == "aborts" { Ok(Box::new(aborting())) } else { Ok(Box::new(scripted(name))) }
}

/// A model that takes its process with it.
fn aborting() -> impl Model<f64, f64> {
    closure("aborts@1", |x: &f64| if *x < 0.0 { std::process::abort() } else { Ok(*x) })
}

fn service(folder: &Path, after_crash: AfterCrash) -> Builder<f64, f64> {
    builder(&clock())
        .live("m0", scripted("m0"))
        .state(StateFolder::new(folder).after_crash(after_crash))
        .source(versions)
}

/// What a process says of itself: `ack` after what it names is done, `try` before.
fn say(line: &str) {
    // Not `println!`, which the test harness keeps to itself.
    let mut out = std::io::stderr().lock();
    writeln!(out, "#{line}").unwrap();
    out.flush().unwrap();
}

fn acknowledged(service: &Service) -> String {
    let status = service.status();
    assert_eq!(status.durable, Some(true));
    let running = status.rollouts.iter().find(|rollout| !rollout.phase.is_over());
    let (version, weight) =
        running.map_or(("-".to_owned(), 0.0), |r| (r.version.to_string(), r.weight.fraction()));
    format!("ack {} {version} {weight} {}", status.live, status.frozen.is_some())
}

/// The process that is killed: it does one thing after another, and says so.
#[test]
fn the_process_that_is_killed() {
    let (Ok(folder), Ok(story)) = (std::env::var(FOLDER), std::env::var(STORY)) else { return };
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    let folder = Path::new(&folder);
    match story.as_str() {
        "aborts" => abort_while_exposed(folder),
        #[cfg(feature = "repository")]
        "publishes" => publish_and_publish(folder, seed),
        _ => go_on(folder, seed),
    }
}

/// Versions of some size, so that a kill finds one half copied; tags that move, and versions that are removed.
#[cfg(feature = "repository")]
fn publish_and_publish(folder: &Path, seed: u64) {
    use switchback::repository::{Draft, Manifest, Repository};
    let models = Repository::create(folder).unwrap();
    for number in seed.. {
        let version = number.to_string();
        let mut manifest =
            Manifest::new("late", version.as_str(), switchback::Timestamp::from_unix_seconds(number));
        manifest.tags.insert("stable".into());
        say(&format!("try publish {version}"));
        let draft = Draft::new(manifest)
            .file("model.onnx", "tests/models/affine.onnx")
            .bytes("weights.bin", vec![number as u8; 300_000])
            .bytes("more/weights.bin", vec![number as u8; 300_000]);
        models.publish(draft).unwrap();
        say(&format!("published {version}"));
        if number > seed && number % 3 == 2 {
            let before = (number - 1).to_string();
            say(&format!("try remove {before}"));
            models.remove("late", &before).unwrap();
            say(&format!("removed {before}"));
        }
    }
}

fn go_on(folder: &Path, seed: u64) {
    let mut chance = Chance(seed);
    let service = service(folder, AfterCrash::Resume).build().unwrap();
    say(&acknowledged(&service));
    let mut number = seed;
    loop {
        let running = service.status().rollouts.into_iter().find(|rollout| !rollout.phase.is_over());
        let running: Option<Rollout<f64, f64>> = running.and_then(|r| service.rollout(r.version.as_str()));
        match ((chance.next() * 6.0) as u32, running) {
            (0, _) => {
                say("try freeze");
                if service.status().frozen.is_some() { service.unfreeze() } else { service.freeze("so") }
            }
            (1, Some(rollout)) => {
                say(&format!("try promote {}", rollout.version()));
                rollout.promote().unwrap();
            }
            (2, _) => {
                let status = service.status();
                let exposed = status.rollouts.iter().any(|r| matches!(r.phase, Phase::Canary));
                let retained = status.versions.iter().find(|v| v.role == switchback::Role::Retained);
                match retained.filter(|_| !exposed) {
                    Some(to) => say(&format!("try promote {}", to.version)),
                    None => say("try rollback"),
                }
                let _: Lowered = service.rollback("so");
            }
            (_, Some(rollout)) => {
                let weight = (chance.next() * 10_000.0).round() / 10_000.0;
                say(&format!("try weight {weight}"));
                rollout.canary(weight).unwrap();
                for x in 0..20 {
                    service.predict(&f64::from(x)).unwrap();
                }
                service.checkpoint().unwrap();
            }
            (_, None) => {
                number += 1;
                let name = format!("m{number}");
                say(&format!("try stage {name}"));
                let rollout = service.stage(&name, scripted(&name)).unwrap();
                let rollout = rollout.guard(guard::error_rate().at_most(0.5));
                rollout.canary(0.1).unwrap();
            }
        }
        say(&acknowledged(&service));
    }
}

fn abort_while_exposed(folder: &Path) {
    let service = service(folder, AfterCrash::Resume).build().unwrap();
    if service.rollout("aborts").is_none() {
        service.stage("aborts", aborting()).unwrap().canary(1.0).unwrap();
    }
    let _ = service.predict(&-1.0);
}

fn start(folder: &Path, story: &str, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(STORY, story)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("switchback-killed-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

/// What was said last: what is done, and what may be.
#[derive(Default)]
struct Said {
    live: String,
    running: String,
    weight: f64,
    frozen: bool,
    tried: Option<String>,
}

fn read(said: &mut Said, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["#ack", live, running, weight, frozen] => {
            let (live, running) = (live.to_owned(), running.to_owned());
            let (weight, frozen) = (weight.parse().unwrap(), frozen.parse().unwrap());
            *said = Said { live, running, weight, frozen, tried: None };
        }
        ["#try", ..] => said.tried = Some(line["#try ".len()..].to_owned()),
        _ => {}
    }
}

#[test]
fn after_a_kill_at_any_moment_a_start_knows_what_was_acknowledged() {
    let _turn = turn();
    let kills: u64 = std::env::var("SWITCHBACK_KILLS").map_or(40, |kills| kills.parse().unwrap());
    let folder = folder("any");
    let mut chance = Chance(20_261_124);
    let mut said = Said::default();
    let mut in_flight = 0;
    for kill in 0..kills {
        let mut child = start(&folder, "goes on", 1_000 * (kill + 1));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let wanted = 1 + (chance.next() * 40.0) as usize;
        lines
            .by_ref()
            .filter(|line| line.starts_with('#'))
            .take(wanted)
            .for_each(|line| read(&mut said, &line));
        // Somewhere in what it does next, not at its end.
        (0..(chance.next() * 300_000.0) as u32).for_each(|_| std::hint::spin_loop());
        assert!(child.try_wait().unwrap().is_none(), "kill {kill}: it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said before it was killed.
        lines.for_each(|line| read(&mut said, &line));

        let service =
            service(&folder, AfterCrash::Resume).build().unwrap_or_else(|e| panic!("kill {kill}: {e}"));
        let status = service.status();
        let tried =
            said.tried.as_deref().map(|tried| tried.split(' ').collect::<Vec<_>>()).unwrap_or_default();
        in_flight += u32::from(!tried.is_empty());
        let context = format!("kill {kill}, after {:?}", said.tried);
        let promoted = matches!(tried[..], ["promote", to] if status.live == *to);
        assert!(
            promoted || status.live == *said.live,
            "{context}: {} is live, not {}",
            status.live,
            said.live
        );
        let frozen = status.frozen.is_some();
        assert!(frozen == said.frozen || tried == ["freeze"], "{context}");
        match service.rollout(&said.running).map(|rollout| rollout.status().unwrap().weight.fraction()) {
            Some(weight) => {
                let raised = matches!(tried[..], ["weight", to] if to.parse() == Ok(weight));
                assert!(weight == said.weight || raised, "{context}: {weight} instead of {}", said.weight);
            }
            None => {
                let ended = matches!(tried[..], ["promote" | "rollback", ..]);
                assert!(said.running == "-" || ended, "{context}: {} is gone", said.running);
            }
        }
        // With a word, so that the next kill is the first again.
        said = Said::default();
        service.close(Duration::from_secs(1)).unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(in_flight > 0, "some were killed in the middle of something");
}

#[test]
fn a_candidate_that_takes_the_process_with_it_is_quarantined_at_the_second_start() {
    let _turn = turn();
    let folder = folder("aborts");
    for _ in 0..2 {
        let mut child = start(&folder, "aborts", 0);
        assert!(!child.wait().unwrap().success());
    }
    let service = service(&folder, AfterCrash::Resume).build().unwrap();
    let status = service.status();
    assert_eq!((status.live.as_str(), status.quarantined[0].1.version.as_str()), ("m0", "aborts"));
    assert!(service.rollout("aborts").is_none());
    drop(service);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[cfg(feature = "repository")]
#[test]
fn after_a_kill_at_any_moment_every_version_of_a_repository_is_whole() {
    let _turn = turn();
    use std::collections::BTreeSet;
    use switchback::repository::Repository;
    let kills: u64 = std::env::var("SWITCHBACK_KILLS").map_or(40, |kills| kills.parse().unwrap());
    let folder = folder("publishes");
    let mut chance = Chance(20_261_125);
    let (mut there, mut halves) = (BTreeSet::new(), 0);
    for kill in 0..kills {
        let mut child = start(&folder, "publishes", 1_000 * (kill + 1));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let wanted = 1 + (chance.next() * 12.0) as usize;
        let mut tried = None;
        let mut read = |line: String| match line.split_once(' ') {
            Some(("#published", version)) => tried = Some(there.insert(version.to_owned())).and(None),
            Some(("#removed", version)) => tried = Some(there.remove(version)).and(None),
            Some(("#try", what)) => tried = Some(what.to_owned()),
            _ => {}
        };
        lines.by_ref().filter(|line| line.starts_with('#')).take(wanted).for_each(&mut read);
        (0..(chance.next() * 3_000_000.0) as u32).for_each(|_| std::hint::spin_loop());
        assert!(child.try_wait().unwrap().is_none(), "kill {kill}: it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(&mut read);

        let models = Repository::open(&folder).unwrap();
        let entries = models.versions("late").unwrap();
        // Those of earlier rounds were looked at then.
        let newest = entries.iter().rev().take(30);
        newest.for_each(|entry| models.verify(entry).unwrap_or_else(|error| panic!("kill {kill}: {error}")));
        let found: BTreeSet<String> = entries.iter().map(|entry| entry.version.to_string()).collect();
        let doubtful =
            tried.as_deref().and_then(|tried| tried.split_once(' ')).map(|(_, version)| version.to_owned());
        let differ: Vec<&String> = found.symmetric_difference(&there).collect();
        assert!(
            differ.iter().all(|version| Some(*version) == doubtful.as_ref()),
            "kill {kill}: {differ:?}, {tried:?}"
        );
        for version in models.tags("late").unwrap().values() {
            models.get("late", version).unwrap();
        }
        halves += models.sweep().unwrap().asides;
        there = found;
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(halves > 0, "some were killed in the middle of something");
}
