//! The service: the handle, and what its host has around it.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use switchback::events::{Event, EventKind, Subscription};
use switchback::feedback::FeedbackOutcome;
use switchback::options::{AfterCrash, Labels, Retention, Shadowing, StateFolder, Threads};
use switchback::repository::{Repository, Served};
use switchback::{Clock, ModelHandle, Outcome, Phase, PredictionId, Task, Timestamp, Truth};

use crate::flights::{Flight, Late};
use crate::options::Options;
use crate::world::Landing;
use crate::{DAY, HOUR, print, versions};

pub(crate) struct Service {
    pub(crate) clock: Clock,
    pub(crate) versions: Served<Flight, Late>,
    pub(crate) handle: ModelHandle<Flight, Late>,
    pub(crate) events: Subscription,
    threads: usize,
    pub(crate) failed: AtomicU64,
}

impl Service {
    /// Starts it, with versions and state in `home`. Where an earlier process was killed, it goes on from there.
    pub(crate) fn start(
        options: &Options,
        home: &Path,
        flights: &[Flight],
        now: Timestamp,
    ) -> Result<Self, Box<dyn Error>> {
        let clock = Clock::replay(now);
        let repository = Repository::create(home.join("models"))?;
        versions::publish(&repository, "v1", options, flights)?;
        let versions = versions::served(&repository)?;
        let (_, first) = versions.open("v1")?;
        let handle = ModelHandle::builder(versions::MODEL)
            // Live at the first start; at a later one, what the state says.
            .live("v1", first)
            .source(versions::served(&repository)?)
            // Nobody is asked before a rollout goes on after a crash. By default a person is.
            .state(
                StateFolder::new(home.join("state"))
                    .after_crash(AfterCrash::Resume)
                    .checkpoint_every(HOUR * 6),
            )
            .task(Task::binary(|answer: &Late| answer.probability).truth(Truth::Independent))
            // A plane lands within half a day of leaving, or never.
            .labels(Labels::complete_after(DAY))
            .shadowing(Shadowing::new())
            .inputs(switchback::options::Inputs::new().bytes(Flight::bytes))
            .threads(Threads::manual().tick_every(HOUR))
            .clock(clock.clone())
            .seed(options.seed)
            .retention(Retention::new().versions(3))
            .build()?;
        let events = handle.subscribe(1_024);
        let (threads, failed) = (options.threads.max(1), AtomicU64::new(0));
        Ok(Self { clock, versions, handle, events, threads, failed })
    }

    /// Says what this start goes on with, if an earlier one left anything.
    pub(crate) fn say_what_goes_on(&self) {
        let log = self.handle.events();
        if !log.iter().any(|event| matches!(event.kind, EventKind::Started { .. })) {
            return;
        }
        log.iter().for_each(|event| print::event(event));
        let before = self.handle.status();
        // The guards look at what was seen before.
        self.handle.tick();
        let Some(rollout) = before.rollouts.iter().find(|rollout| !rollout.phase.is_over()) else { return };
        let share = if rollout.phase == Phase::Shadow { rollout.sample } else { rollout.weight };
        let step = rollout.step.map_or_else(String::new, |step| format!(", step {} of its plan", step + 1));
        println!(
            "{:18}resumed {}: {}, {} of the requests{step}, since {}",
            "",
            rollout.version,
            rollout.phase,
            share,
            print::day(rollout.since),
        );
        let after = self.handle.rollout(rollout.version.as_str()).and_then(|rollout| rollout.status());
        for evidence in after.iter().flat_map(|rollout| &rollout.evidence) {
            println!("{:18}resumed with {} samples for \"{}\"", "", evidence.samples, evidence.guard);
        }
    }

    /// What happened, from the journal: also before this process started.
    pub(crate) fn history(home: &Path) -> Result<Vec<Event>, Box<dyn Error>> {
        let lines = switchback::state::history(home.join("state"))?;
        lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
    }

    /// Answers the flights that leave, on several threads at once; what comes back will land.
    pub(crate) fn predict(&self, departing: &[Flight]) -> Result<Vec<Landing>, Box<dyn Error>> {
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
pub(crate) struct Delivery {
    pub(crate) delivered: u64,
    pub(crate) counted: u64,
    /// They had counted before the process before this one was killed, which it could not write down any more.
    pub(crate) again: u64,
}

impl Delivery {
    pub(crate) fn deliver(
        &mut self,
        handle: &ModelHandle<Flight, Late>,
        id: &str,
        late: bool,
    ) -> Result<(), Box<dyn Error>> {
        let id: PredictionId = id.parse()?;
        self.delivered += 1;
        match handle.feedback(id, Outcome::class(late.into())) {
            FeedbackOutcome::Counted => self.counted += 1,
            FeedbackOutcome::Repeated | FeedbackOutcome::Settled => self.again += 1,
            _ => {}
        }
        Ok(())
    }
}
