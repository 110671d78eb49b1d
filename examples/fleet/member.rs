//! One process of the service: what a host writes, and what the example has it tell.

use std::error::Error;
use std::fmt;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use switchback::fleet::Directory;
use switchback::options::{Fleet, FleetTiming, Inputs, Shadowing, Threads};
use switchback::plan::Bake;
use switchback::{Model, ModelHandle, Plan, Task, guard};

use crate::flights::{self, Flight, Late};

/// What a process says of itself, ten times a second.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) live: String,
    pub(crate) candidate: String,
    pub(crate) phase: String,
    pub(crate) weight: f64,
    /// Why its plan stands still, where it does.
    pub(crate) paused: Option<String>,
    pub(crate) state: String,
    pub(crate) sequence: u64,
    pub(crate) judges: bool,
    /// Requests that were answered, and that were not.
    pub(crate) answers: u64,
    pub(crate) missing: u64,
    /// Requests that the candidate was asked here, and what whoever judges has of all.
    pub(crate) seen: u64,
    pub(crate) merged: u64,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { live, candidate, phase, weight, paused, state, sequence, judges, .. } = self;
        write!(f, "{live} is live; {state} at {sequence}")?;
        if *judges {
            f.write_str(", judges")?;
        }
        if !candidate.is_empty() {
            write!(f, "; {candidate} is {phase}, {:.0} %", weight * 100.0)?;
        }
        if let Some(reason) = paused {
            write!(f, ", paused: {reason}")?;
        }
        Ok(())
    }
}

type Handle = ModelHandle<Flight, Late>;

/// Ten times as fast as by default, so that a minute shows what ten do.
fn timing() -> FleetTiming {
    FleetTiming::new()
        .poll(Duration::from_millis(200))
        .row(Duration::from_millis(500))
        .tick(Duration::from_millis(300))
        .valid_for(Duration::from_secs(2))
        .settle(Duration::from_millis(300))
        .close_after(Duration::from_secs(4))
}

fn build(name: &str, folder: &Path) -> Result<Handle, Box<dyn Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights/models");
    let source = {
        let models = models.clone();
        move |version: &str| match flights::version(version, &models) {
            Ok(model) => Ok(Box::new(model) as Box<dyn Model<Flight, Late>>),
            Err(error) => Err(error.to_string().into()),
        }
    };
    let fleet = Fleet::on(Directory::open(folder.join("store"))?)
        .secret(b"thirty-two bytes from your secrets")
        .class("example")
        .built_as(name)
        .timing(timing());
    Ok(ModelHandle::builder("late-arrival")
        .live("v1", flights::version("v1", &models)?)
        .source(source)
        .task(Task::binary(|answer: &Late| answer.probability))
        .shadowing(Shadowing::new())
        .inputs(Inputs::new().bytes(Flight::bytes))
        .threads(Threads::background().tick_every(Duration::from_millis(100)))
        .fleet(fleet)
        .build()?)
}

/// Does what it is told.
fn obey(handle: &Handle, told: &str) -> Result<(), Box<dyn Error>> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights/models");
    match told.split_once(' ').unwrap_or((told, "")) {
        ("run", version) => {
            let plan = Plan::ramp([0.2, 0.5])?.cycle(Duration::from_secs(5)).bake(Bake::new(Duration::ZERO));
            let rollout = handle.stage(version, flights::version(version, &models)?)?;
            Ok(rollout.guard(guard::error_rate().at_most(0.01)).run(plan)?)
        }
        ("canary", version) => {
            let rollout = handle.stage(version, flights::version(version, &models)?)?;
            Ok(rollout.guard(guard::error_rate().at_most(0.01)).canary(0.5)?)
        }
        ("resume", version) => Ok(handle.rollout(version).ok_or("it is not on trial")?.resume()?),
        ("rollback", _) => {
            let _ = handle.acting_as("dispatch").rollback("complaints");
            Ok(())
        }
        (other, _) => Err(format!("what is `{other}`?").into()),
    }
}

fn told(handle: &Handle, answers: u64, missing: u64) -> Told {
    let fleet = handle.fleet();
    let status = handle.status();
    let rollout = status.rollouts.iter().find(|rollout| !rollout.phase.is_over());
    let merged = rollout.and_then(|rollout| rollout.evidence.first()).map_or(0, |evidence| evidence.samples);
    Told {
        live: status.live.to_string(),
        candidate: rollout.map(|rollout| rollout.version.to_string()).unwrap_or_default(),
        phase: rollout.map(|rollout| rollout.phase.to_string()).unwrap_or_default(),
        weight: rollout.filter(|rollout| !rollout.withheld).map_or(0.0, |rollout| rollout.weight.fraction()),
        paused: rollout
            .filter(|rollout| rollout.paused)
            .map(|rollout| rollout.pause_reason.clone().unwrap_or_default()),
        state: fleet.as_ref().map(|fleet| fleet.state.to_string()).unwrap_or_default(),
        sequence: fleet.as_ref().map_or(0, |fleet| fleet.sequence),
        judges: fleet.as_ref().is_some_and(|fleet| fleet.judges),
        answers,
        missing,
        seen: rollout.map_or(0, |rollout| rollout.candidate.units),
        merged,
    }
}

/// Answers flights, and tells what it knows, until it is told to end.
pub(crate) fn run(name: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let flights =
        flights::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flights/flights.csv.gz"))?;
    // One that is begun while the store is away waits for it, as whatever begins processes would have it do.
    let mut told_before = String::new();
    let handle = loop {
        match build(name, folder) {
            Ok(handle) => break handle,
            Err(error) => {
                let told = error.to_string();
                if told != told_before {
                    eprintln!("          {name} waits: {told}");
                    told_before = told;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
        }
    };
    let (say, said) = channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).for_each(|line| drop(say.send(line)));
    });
    serve(&handle, &flights, &said)?;
    Ok(handle.close(Duration::from_secs(5))?)
}

fn serve(handle: &Handle, flights: &[Flight], said: &Receiver<String>) -> Result<(), Box<dyn Error>> {
    let (mut answers, mut missing, mut rests) = (0, 0, false);
    let mut next = Instant::now();
    let mut out = std::io::stdout().lock();
    for flight in flights.iter().cycle() {
        if !rests {
            match handle.predict(flight) {
                Ok(_) => answers += 1,
                Err(_) => missing += 1,
            }
        }
        std::thread::sleep(Duration::from_millis(2));
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + Duration::from_millis(100);
        while let Ok(line) = said.try_recv() {
            match &*line {
                "quit" => {
                    writeln!(out, "{}", serde_json::to_string(&told(handle, answers, missing))?)?;
                    return Ok(());
                }
                "rest" => rests = true,
                other => {
                    if let Err(error) = obey(handle, other) {
                        eprintln!("{other}: {error}");
                    }
                }
            }
        }
        writeln!(out, "{}", serde_json::to_string(&told(handle, answers, missing))?)?;
        out.flush()?;
    }
    Ok(())
}
