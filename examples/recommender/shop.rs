//! The shop: the handle, its readers, and the time that passes.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use switchback::events::{Event, EventKind, Subscription};
use switchback::options::{Labels, Retention, Shadowing, Threads};
use switchback::{
    Clock, Kpi, ModelHandle, Outcome, PredictionId, Rollout, Route, Task, Timestamp, Truth, closure,
    model::ModelError,
};

use crate::counts::Counts;
use crate::rankers::{PopularByGenre, Shown, Visit};
use crate::world::{Book, SHOWN, World};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// The 12th of February 2024, at midnight.
const OPENED: Timestamp = Timestamp::from_unix_seconds(1_707_696_000);
/// Who has not clicked for so long does not. Longer than from tick to tick, so that silence is known in time.
const SILENCE: Duration = Duration::from_secs(7_200);
const VISITS_AN_HOUR: u32 = 400;

/// The shop.
pub(crate) struct Shop {
    pub(crate) handle: ModelHandle<Visit, Shown>,
    pub(crate) world: World,
    pub(crate) now: Timestamp,
    pub(crate) counts: Counts,
    /// What has happened.
    pub(crate) seen: Vec<Arc<Event>>,
    pub(crate) visits: u64,
    pub(crate) clicked: u64,
    pub(crate) failed: u64,
    /// Readers who were on a canary, and who were taken off it before it was over.
    pub(crate) on_canary: u64,
    pub(crate) moved: u64,
    clock: Clock,
    /// What everybody had read when the shop opened.
    before: Vec<Vec<Book>>,
    events: Subscription,
    /// Clicks on their way: when they are known, of which visit, and on what.
    clicks: VecDeque<(Timestamp, PredictionId, Vec<Book>)>,
    /// By reader: whether they have come, and the number of the last candidate that answered them.
    readers: Vec<(bool, Option<u32>)>,
    /// The number of the last candidate; that of the one that is on trial, while it is.
    trials: u32,
    trial: Option<u32>,
}

impl Shop {
    pub(crate) fn open(readers: usize, seed: u64) -> Result<Self, Box<dyn Error>> {
        let world = World::new(readers.max(100), seed);
        let first = PopularByGenre::learn(world.histories());
        let clock = Clock::replay(OPENED);
        let task = Task::ranking(SHOWN, |shown: &Shown, ranked| {
            shown.iter().for_each(|book| ranked.push(*book as u64));
        });
        let handle = ModelHandle::builder("books")
            .live("v1", closure("popular-by-genre@1.0", move |visit: &Visit| first.rank(visit)))
            .task(task?.truth(Truth::CausedByAnswer).kpi(Kpi::rate("click")?))
            .labels(Labels::new().assumed_after(SILENCE, Outcome::kpi("click", 0.0)))
            .shadowing(Shadowing::new().canary_pairs(false))
            .inputs(switchback::options::Inputs::new().bytes(|visit: &Visit| size_of_val(&*visit.recent)))
            .threads(Threads::manual().tick_every(HOUR))
            .clock(clock.clone())
            .seed(seed)
            .retention(Retention::new().versions(3))
            .build()?;
        let histories: Vec<Vec<Book>> = world.histories().map(<[Book]>::to_vec).collect();
        Ok(Self {
            events: handle.subscribe(1_024),
            readers: vec![(false, None); histories.len()],
            counts: Counts::new(&histories)?,
            before: histories,
            handle,
            world,
            now: OPENED,
            seen: Vec::new(),
            visits: 0,
            clicked: 0,
            failed: 0,
            on_canary: 0,
            moved: 0,
            clock,
            clicks: VecDeque::new(),
            trials: 0,
            trial: None,
        })
    }

    /// What everybody has read, before the shop opened and since: what there is to learn from. Of the latter alone a
    /// version would learn what the one before has shown.
    pub(crate) fn histories(&self) -> impl Iterator<Item = &[Book]> {
        self.before.iter().map(Vec::as_slice).chain(self.world.histories())
    }

    /// Stages a version, which is a name and a function.
    pub(crate) fn stage(
        &mut self,
        version: &str,
        pipeline: &str,
        rank: impl Fn(&Visit) -> Result<Shown, ModelError> + Send + Sync + 'static,
    ) -> Result<Rollout<Visit, Shown>, Box<dyn Error>> {
        let rollout = self.handle.stage(version, closure(pipeline, rank))?;
        self.trials += 1;
        self.trial = Some(self.trials);
        Ok(rollout)
    }

    /// Goes on until a rollout has come to an end, one way or the other.
    pub(crate) fn until_over(&mut self, rollout: &Rollout<Visit, Shown>) -> Result<(), Box<dyn Error>> {
        for _ in 0..60 {
            if rollout.phase().is_over() {
                return Ok(());
            }
            self.days(1)?;
        }
        let evidence = rollout.status().map(|status| status.evidence).unwrap_or_default();
        let evidence: Vec<String> = evidence.iter().map(ToString::to_string).collect();
        Err(format!("{} comes to no end: {}", rollout.version(), evidence.join("; ")).into())
    }

    pub(crate) fn days(&mut self, days: u32) -> Result<(), Box<dyn Error>> {
        (0..days * 24).try_for_each(|_| self.hour())
    }

    /// Nobody comes any more; what is on its way arrives, and silence is settled.
    pub(crate) fn close_time(&mut self) -> Result<(), Box<dyn Error>> {
        for _ in 0..4 {
            self.now = self.now.plus(HOUR);
            self.clock.set(self.now);
            self.deliver();
            self.handle.tick();
        }
        Ok(())
    }

    /// How many readers have come.
    pub(crate) fn readers_seen(&self) -> usize {
        self.readers.iter().filter(|(came, _)| *came).count()
    }

    fn hour(&mut self) -> Result<(), Box<dyn Error>> {
        for _ in 0..VISITS_AN_HOUR {
            self.now = self.now.plus(HOUR / VISITS_AN_HOUR);
            self.clock.set(self.now);
            self.deliver();
            self.visit()?;
        }
        self.handle.tick();
        while let Some(event) = self.events.try_recv() {
            if !matches!(
                event.kind,
                EventKind::Staged { .. }
                    | EventKind::Loaded { .. }
                    | EventKind::Dropped { .. }
                    | EventKind::Retired { .. }
            ) {
                crate::print(&event);
            }
            if matches!(event.kind, EventKind::Promoted { .. } | EventKind::Aborted { .. }) {
                self.trial = None;
            }
            self.seen.push(event);
        }
        Ok(())
    }

    /// Somebody comes, is shown a list, and opens something of it or nothing.
    fn visit(&mut self) -> Result<(), Box<dyn Error>> {
        let reader = self.world.visitor();
        let visit = Visit { recent: self.world.recent(reader) };
        self.visits += 1;
        let Ok(answer) = self.handle.predict_keyed(reader.to_le_bytes(), &visit) else {
            self.failed += 1;
            return Ok(());
        };
        self.failed += u64::from(answer.route() == Route::Fallback);
        self.stays(reader, answer.route());
        let opened = self.world.opens(reader, answer.output());
        self.counts.count(answer.version(), &visit.recent, opened.first().copied())?;
        if !opened.is_empty() {
            self.clicked += 1;
            self.clicks.push_back((self.now.plus(2 * MINUTE), answer.id(), opened));
        }
        Ok(())
    }

    /// Whether a reader who was answered by the candidate is again.
    fn stays(&mut self, reader: usize, route: Route) {
        let Some((came, candidate)) = self.readers.get_mut(reader) else { return };
        *came = true;
        match (self.trial, route == Route::Canary) {
            (Some(trial), true) => {
                self.on_canary += u64::from(*candidate != Some(trial));
                *candidate = Some(trial);
            }
            (Some(trial), false) => self.moved += u64::from(*candidate == Some(trial)),
            (None, _) => {}
        }
    }

    /// Clicks come a little later: that there was one, and on which books.
    fn deliver(&mut self) {
        while self.clicks.front().is_some_and(|(known, ..)| *known <= self.now) {
            let Some((_, id, opened)) = self.clicks.pop_front() else { return };
            self.handle.feedback(id, Outcome::kpi("click", 1.0));
            self.handle.feedback(id, Outcome::relevant(opened.into_iter().map(|book| book as u64)));
        }
    }
}
