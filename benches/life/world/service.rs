//! The service and its days: requests come, truth comes after them, somebody ticks.

use std::collections::BTreeMap;
use std::time::Duration;

use switchback::events::{Cause, EventKind};
use switchback::guard::Evidence;
use switchback::options::{Labels, Threads};
use switchback::{
    Answer, Builder, Clock, ModelHandle, Outcome, PredictError, PredictionId, Rollout, Task, Timestamp,
};

use super::chance::Chance;
use super::requests::{Ask, Said};

pub(crate) type Handle = ModelHandle<Ask, Said>;

pub(crate) fn clock() -> Clock {
    Clock::manual(BEGAN)
}

const BEGAN: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);

/// A builder with nothing left to chance but what follows from the seed. Its task is binary.
pub(crate) fn service(clock: &Clock, seed: u64) -> Builder<Ask, Said> {
    ModelHandle::builder("life")
        .task(Task::binary(|said: &Said| said.yes))
        .labels(Labels::at_random())
        .clock(clock.clone())
        .seed(seed)
        .threads(Threads::manual().stripes(1))
}

/// A service over time.
pub(crate) struct World {
    pub(crate) handle: Handle,
    pub(crate) clock: Clock,
    pub(crate) chance: Chance,
    seed: u64,
    asked: u64,
    second: u64,
    told: u64,
    /// Outcomes that are on their way, by the moment at which they arrive.
    coming: BTreeMap<(Timestamp, u64), (PredictionId, Outcome)>,
}

impl World {
    pub(crate) fn new(handle: Handle, clock: &Clock, seed: u64) -> Self {
        let chance = Chance(seed ^ 0x1234_5678_9abc_def0);
        let clock = clock.clone();
        Self { handle, clock, chance, seed, asked: 0, second: 0, told: 0, coming: BTreeMap::new() }
    }

    /// How many requests were made.
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// Whole seconds that have passed.
    pub(crate) fn second(&self) -> u64 {
        self.second
    }

    /// The next request, of a user who comes this once.
    pub(crate) fn ask(&mut self) -> Ask {
        self.ask_of(self.asked)
    }

    /// The next request, of this user.
    pub(crate) fn ask_of(&mut self, user: u64) -> Ask {
        self.asked += 1;
        Ask { number: self.asked, user, second: self.second, seed: self.seed }
    }

    /// What is true of a prediction is told at once.
    pub(crate) fn tell(&self, id: PredictionId, outcome: Outcome) {
        self.handle.feedback(id, outcome);
    }

    /// What is true of a prediction is told later.
    pub(crate) fn tell_after(&mut self, delay: Duration, id: PredictionId, outcome: Outcome) {
        self.told += 1;
        self.coming.insert((self.clock.now().plus(delay), self.told), (id, outcome));
    }

    /// Ends the second: outcomes arrive, copies are run, and the guards are asked.
    pub(crate) fn tick(&mut self) {
        self.pass();
        self.handle.run_shadow(usize::MAX);
        self.handle.tick();
    }

    /// Ends the second without anybody ticking.
    pub(crate) fn pass(&mut self) {
        self.second += 1;
        let ends = BEGAN.plus(Duration::from_secs(self.second));
        self.clock.advance(ends.since(self.clock.now()));
        self.deliver();
    }

    /// Tells what is due by now.
    fn deliver(&mut self) {
        let now = self.clock.now();
        while let Some(entry) = self.coming.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (id, outcome) = entry.remove();
            self.handle.feedback(id, outcome);
        }
    }
}

/// What became of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    TakenBack,
    Promoted,
    Undecided,
    /// It was not begun.
    Refused,
}

impl Verdict {
    /// What these events say of one rollout; nothing before anything is decided.
    pub(crate) fn of<'a>(events: impl IntoIterator<Item = &'a EventKind>) -> Option<Self> {
        events.into_iter().find_map(|event| match event {
            EventKind::GuardFailed { .. } | EventKind::Quarantined { .. } => Some(Self::TakenBack),
            EventKind::Aborted { cause: Cause::Superseded { .. } | Cause::Closed, .. } => None,
            EventKind::Aborted { .. } => Some(Self::TakenBack),
            EventKind::Promoted { .. } => Some(Self::Promoted),
            _ => None,
        })
    }
}

/// What became of one rollout, and what the user gets to read.
#[derive(Debug, Clone)]
pub(crate) struct Fate {
    pub(crate) verdict: Verdict,
    /// Requests until then.
    pub(crate) requests: u64,
    /// What the guards said last.
    pub(crate) evidence: Vec<Evidence>,
    /// Every event, in its own words.
    pub(crate) events: Vec<String>,
    /// An event says that something is not as it should be.
    pub(crate) concerns: bool,
}

impl Fate {
    /// What stands in the way of a verdict, as the guards say.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &str> {
        self.evidence.iter().filter_map(|evidence| evidence.note.as_deref())
    }

    /// Whether the user is told why there is no verdict: by a guard, or by an event that is none of the usual ones.
    pub(crate) fn tells_why(&self) -> bool {
        self.notes().next().is_some() || self.concerns
    }
}

impl World {
    /// Whether the rollout is over, one way or the other.
    pub(crate) fn is_over(&self) -> bool {
        self.verdict().is_some()
    }

    fn verdict(&self) -> Option<Verdict> {
        Verdict::of(self.handle.events().iter().map(|event| &event.kind))
    }

    /// What has become of a rollout by now.
    pub(crate) fn fate(&self, rollout: &Rollout<Ask, Said>) -> Fate {
        Fate {
            verdict: self.verdict().unwrap_or(Verdict::Undecided),
            requests: self.asked,
            evidence: rollout.status().map(|status| status.evidence).unwrap_or_default(),
            events: self.handle.events().iter().map(ToString::to_string).collect(),
            concerns: self.handle.events().iter().any(|event| !is_usual(&event.kind)),
        }
    }

    /// Seconds with so many requests each, until the rollout is over: each request is made by `ask`, and whoever has an
    /// answer is told by `truth` what was true.
    pub(crate) fn live_through(
        &mut self,
        seconds: u64,
        requests: u64,
        ask: impl Fn(&mut Self, &Ask) -> Result<Answer<Said>, PredictError>,
        truth: impl Fn(&Ask, &Answer<Said>) -> Option<Outcome>,
    ) {
        for _ in 0..seconds {
            for _ in 0..requests {
                let asked = self.ask();
                let answer = ask(self, &asked);
                if let Some((answer, outcome)) = answer.ok().and_then(|a| truth(&asked, &a).map(|t| (a, t))) {
                    self.tell(answer.id(), outcome);
                }
            }
            self.tick();
            if self.is_over() {
                return;
            }
        }
    }
}

/// Whether an event belongs to a rollout in which all goes well.
fn is_usual(event: &EventKind) -> bool {
    matches!(
        event,
        EventKind::Staged { .. }
            | EventKind::Loaded { .. }
            | EventKind::PhaseChanged { .. }
            | EventKind::Promoted { .. }
            | EventKind::Retired { .. }
            | EventKind::Dropped { .. }
    )
}

/// Asks for whoever comes this once.
pub(crate) fn anybody(world: &mut World, ask: &Ask) -> Result<Answer<Said>, PredictError> {
    world.handle.predict(ask)
}

/// Nobody ever tells what was true.
pub(crate) fn untold(_: &Ask, _: &Answer<Said>) -> Option<Outcome> {
    None
}
