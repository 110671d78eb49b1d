//! The main job: a year of departures from New York answered by a service that changes its model while it runs.
//!
//! Will this flight arrive more than 15 minutes late? v1 is live; v2 is tried as a shadow, then on a growing share of
//! the flights, and promoted by its plan; v3, whose pipeline feeds the delay in seconds to a model that learnt minutes,
//! is tried the same way and taken back by a guard on the labels that came in; the operator goes back and forth by
//! hand; and v4, which is v3 with its pipeline mended, is promoted.
//!
//! Versions are published into a repository, and what is decided and seen is kept as state: a process that is killed in
//! the middle of v2's ramp goes on from there when it is started again. The year passes in event time: predictions are made
//! as planes leave, labels come as they land.
//!
//! ```sh
//! cargo run --release --example rollout            # --help for options
//! cargo run --release --example rollout -- --state year        # kill it, and start it again: `--stop-at` says where
//! cargo run --release --example rollout -- --report v3.html    # and a page about what became of v3
//! ```

#[path = "../flights/mod.rs"]
mod flights;
mod operator;
mod options;
mod print;
mod report;
mod service;
mod versions;
mod world;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use operator::Operator;
use options::{HELP, Options};
use print::Progress;
use service::{Delivery, Service};
use versions::APRIL;
use world::World;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

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
    let home = Home::of(options.state.as_deref());

    let mut world = World::open(home.0.join("planes-in-the-air"), replay)?;
    let first = world.now;
    let service = Service::start(options, &home.0, &flights, world.now)?;
    if let Some(folder) = &options.state {
        println!("versions and state are in {}", folder.display());
    }
    service.say_what_goes_on();
    let mut operator = Operator::new(options, &flights, &service, &Service::history(&home.0)?)?;
    let mut labels = Delivery::default();
    let mut progress = Progress::new(replay.len());
    while let Some(leaving) = world.hour_passes() {
        service.clock.set(world.now);
        world.take_off(service.predict(leaving)?);
        service.handle.run_shadow(usize::MAX);
        while let Some((_, id, late)) = world.landed() {
            labels.deliver(&service.handle, &id, late)?;
        }
        service.handle.tick();
        operator.act(&service, world.now)?;
        while let Some(event) = service.events.try_recv() {
            progress.clear();
            print::event(&event);
        }
        if options.stop_at.is_some_and(|time| time <= world.now) {
            stand_still(&service)?;
        }
        world.keep()?;
        progress.show(world.now, replay.len() - world.remaining(), &service.handle);
        progress.keep_pace(world.now.since(first), options.days_per_second);
    }
    progress.clear();
    report::figures(&service, &labels, progress.started.elapsed());

    service.handle.checkpoint()?;
    let history = Service::history(&home.0)?;
    report::decisions(&service, &operator, &history);
    report::whole_history(&history);
    if let Some(file) = &options.report {
        report::write_pages(&service, file)?;
    }
    report::check(&service, &labels, &operator, &history)?;
    service.handle.close(Duration::from_secs(10))?;
    Ok(())
}

/// Waits to be killed, where a crash costs most: the labels of this hour are in a checkpoint, and that they were
/// delivered is not yet written down, so the process after this one delivers them again.
fn stand_still(service: &Service) -> Result<(), Box<dyn Error>> {
    service.handle.checkpoint()?;
    println!(
        "{}  process {} stands still, to be killed",
        print::day(service.clock.now()),
        std::process::id()
    );
    loop {
        std::thread::park();
    }
}

/// Where versions, state and the planes in the air are kept.
struct Home(PathBuf, bool);

impl Home {
    /// This folder; or a temporary one, which is removed at the end.
    fn of(folder: Option<&Path>) -> Self {
        match folder {
            Some(folder) => Self(folder.to_owned(), false),
            None => Self(env::temp_dir().join(format!("switchback-rollout-{}", std::process::id())), true),
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.1 {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
