//! Real processes that are killed at any moment, and what the next start makes of what they left.
//!
//! Bug: the process that is killed was a `#[test]`, which returned at once where it was not a child, so that what tests
//! nothing was counted as a test that passed. Fix: a child is told what to do by `main`, before any test is looked at.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use switchback::options::AfterCrash;
use switchback::options::StateFolder;
use switchback::testing::Scripted;
use switchback::{Builder, Model, Phase, RollbackOutcome, Rollout, closure, guard};

use crate::common::*;
use crate::harness::tests;

tests! { "killed":
    after_a_kill_at_any_moment_a_start_knows_what_was_acknowledged,
    after_each_of_three_hundred_kills_a_start_knows_what_was_acknowledged long "300 kills",
    a_candidate_that_takes_the_process_with_it_is_quarantined_at_the_second_start,
    a_reader_that_is_stopped_while_it_looks_keeps_no_service_from_starting,
}

/// What a process says of itself: `try` before it does what it names, `ack` after.
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Starts a child, kills it once it has said `lines` lines, somewhere in what it does next, and hands on all that it said.
pub(crate) fn kill(child: &mut Command, lines: usize, spins: u32, mut hear: impl FnMut(&str)) {
    let mut child = child.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    said.by_ref().take(lines).for_each(|line| hear(&line));
    (0..spins).for_each(|_| std::hint::spin_loop());
    assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it was killed.
    said.for_each(|line| hear(&line));
}

// The processes that are killed.

pub(crate) fn child(told: &[String]) {
    match told {
        [story, folder, seed] if story == "goes on" => go_on(Path::new(folder), seed.parse().unwrap()),
        [story, folder] if story == "looks" => look_for_ever(Path::new(folder)),
        [story, folder] if story == "aborts" => abort_while_exposed(Path::new(folder)),
        _ => panic!("{told:?}"),
    }
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

fn acknowledged(service: &Service) -> String {
    let status = service.status();
    assert_eq!(status.durable, Some(true));
    let running = status.rollouts.iter().find(|rollout| !rollout.phase.is_over());
    let (version, weight) =
        running.map_or(("-".to_owned(), 0.0), |r| (r.version.to_string(), r.weight.fraction()));
    format!("ack {} {version} {weight} {}", status.live, status.frozen.is_some())
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
                let retained = status.versions.iter().find(|v| v.role == switchback::status::Role::Retained);
                match retained.filter(|_| !exposed) {
                    Some(to) => say(&format!("try promote {}", to.version)),
                    None => say("try rollback"),
                }
                let _: RollbackOutcome = service.rollback("so");
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

fn look_for_ever(folder: &Path) {
    loop {
        switchback::status::look(folder).unwrap();
    }
}

// What is there after each kill.

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
        ["ack", live, running, weight, frozen] => {
            let (live, running) = (live.to_owned(), running.to_owned());
            let (weight, frozen) = (weight.parse().unwrap(), frozen.parse().unwrap());
            *said = Said { live, running, weight, frozen, tried: None };
        }
        ["try", ..] => said.tried = Some(line["try ".len()..].to_owned()),
        _ => panic!("{line}"),
    }
}

fn after_a_kill_at_any_moment_a_start_knows_what_was_acknowledged() {
    kill_and_start_again(KILLS, 20_261_124);
}

fn after_each_of_three_hundred_kills_a_start_knows_what_was_acknowledged() {
    kill_and_start_again(300, 20_261_126);
}

/// Few enough for every run of `cargo test`.
pub(crate) const KILLS: u64 = 20;

/// Invariant 18.
fn kill_and_start_again(kills: u64, seed: u64) {
    let folder = Folder::new();
    // Not there yet: what a first start makes is killed too.
    let folder = folder.0.join("state");
    let mut chance = Chance(seed);
    let mut said = Said::default();
    let mut in_flight = 0;
    for kill in 0..kills {
        let mut child = crate::child("killed");
        child.args(["goes on", folder.to_str().unwrap(), &(1_000 * (kill + 1)).to_string()]);
        let lines = 1 + (chance.next() * 40.0) as usize;
        self::kill(&mut child, lines, (chance.next() * 300_000.0) as u32, |line| read(&mut said, line));

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
        service.close(Duration::from_secs(60)).unwrap();
    }
    assert!(in_flight > 0, "some were killed in the middle of something");
}

fn a_candidate_that_takes_the_process_with_it_is_quarantined_at_the_second_start() {
    let folder = Folder::new();
    for _ in 0..2 {
        let mut child = crate::child("killed");
        let status = child.args(["aborts".as_ref(), folder.0.as_os_str()]).status().unwrap();
        assert!(!status.success());
    }
    let service = service(&folder.0, AfterCrash::Resume).build().unwrap();
    let status = service.status();
    assert_eq!((status.live.as_str(), status.quarantined[0].version.as_str()), ("m0", "aborts"));
    assert!(service.rollout("aborts").is_none());
}

/// Whether a process stands still.
fn is_stopped(child: &Child) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
}

/// Bug: a process that was stopped (SIGSTOP, a debugger, a frozen container) while `switchback state show` looked at a folder made
/// a starting service wait for a second, and refused it then. Cause: to look took the lock that decides who has the folder. Fix: a
/// look takes another one, which a start does not wait for.
fn a_reader_that_is_stopped_while_it_looks_keeps_no_service_from_starting() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let folder = Folder::new();
    drop(service(&folder.0, AfterCrash::Resume).build().unwrap());
    let mut reader = crate::child("killed").arg("looks").arg(&folder.0).spawn().unwrap();
    let looks = std::fs::File::open(folder.0.join("held")).unwrap();
    let send = |which: &str| {
        let kill = format!("kill -{which} {}", reader.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    };
    // Stopped again and again, until it is with the lock in its hands.
    let caught = (0..20_000).any(|_| {
        send("STOP");
        wait_until("it is stopped", || is_stopped(&reader));
        let is_locked = looks.try_lock().is_err();
        if !is_locked {
            looks.unlock().unwrap();
            send("CONT");
        }
        is_locked
    });
    assert!(caught, "it was never stopped within a look");
    let started = service(&folder.0, AfterCrash::Resume).build();
    let is_alone = started.as_ref().is_ok_and(|service| !service.status().standby);
    let looked = switchback::status::look(&folder.0).unwrap().unwrap();
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert!(is_alone, "{started:?}");
    assert_eq!(looked.held, Some(true), "another reader is told who has it");
}
