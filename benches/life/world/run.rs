//! One rollout in one circumstance, from its first request to what became of it.

use std::path::PathBuf;
use std::time::Duration;

use switchback::events::EventKind;
#[cfg(feature = "forecast")]
use switchback::forecast::KeysWithin;
use switchback::guard::Evidence;
use switchback::plan::Bake;
use switchback::{Answer, Clock, Outcome, Plan, PredictError, PredictionId, Rollout, Step};

use super::build::{build, folder, model};
use super::cells::{Candidate, Circumstance, Figure, Life, Routing, Sessions};
use super::requests::{Ask, Said};
use super::service::{Verdict, World, clock};
use super::side::{For, Side, is_true, relevant, tide};

/// The end of a run, and what the user gets to read.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) verdict: Verdict,
    /// Requests until then.
    pub(crate) requests: u64,
    /// What was said last: why it was taken back, what the guard saw, or why it was refused.
    pub(crate) sentence: String,
    /// What stood in the way of a verdict, as the guards say.
    pub(crate) notes: Vec<String>,
    /// Every event, in its own words.
    pub(crate) events: Vec<String>,
}

impl End {
    /// Whether the user is told why there is no verdict.
    pub(crate) fn tells_why(&self) -> bool {
        !self.notes.is_empty()
    }
}

/// Seconds before the rollout.
pub(super) const WARM_UP: u64 = 15;

/// One run.
pub(super) struct Run {
    life: Life,
    seed: u64,
    clock: Clock,
    world: World,
    rollouts: Vec<Rollout<Ask, Said>>,
    /// Users in the middle of their sessions, and what is left of them.
    sessions: Vec<(u64, u64)>,
    users: u64,
    events: Vec<EventKind>,
    told: Vec<String>,
    /// Events up to this one were heard.
    heard: u64,
    folder: Option<PathBuf>,
    refused: Option<String>,
    /// Nothing keeps its plan from going on but the evidence, and the planner was asked.
    at_once: bool,
    asked: bool,
    said: Foretold,
}

/// What the planner said, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Foretold {
    /// Half of the time it is sooner.
    pub(crate) after: Option<f64>,
    /// Eight times of ten it is between these, where it says so.
    pub(crate) between: Option<(f64, f64)>,
}

/// Users that are there at one time, where each comes ten times.
const OPEN: usize = 40;

/// The candidates.
pub(super) const NAMES: [&str; 3] = ["v2", "v3", "v4"];

impl Run {
    pub(super) fn new(life: Life, seed: u64) -> Self {
        Self::with(life, seed, false)
    }

    /// A run of which the planner says how long it takes, after a minute of live.
    pub(super) fn planned(life: Life, seed: u64) -> Self {
        Self::with(life, seed, true)
    }

    fn with(life: Life, seed: u64, at_once: bool) -> Self {
        let clock = clock();
        let folder = life.meets(Circumstance::Restart).then(folder);
        let handle = build(&life, seed, &clock, folder.as_deref());
        let mut run = Self {
            life,
            seed,
            world: World::new(handle, &clock, seed),
            clock,
            rollouts: Vec::new(),
            sessions: Vec::new(),
            users: 0,
            events: Vec::new(),
            told: Vec::new(),
            heard: 0,
            folder,
            refused: None,
            at_once,
            asked: false,
            said: Foretold::default(),
        };
        // Live is known before anything is compared with it.
        for _ in 0..if at_once { 4 * WARM_UP } else { WARM_UP } {
            run.second(true);
        }
        run.begin();
        run
    }

    fn begin(&mut self) {
        let several = self.life.meets(Circumstance::SeveralCandidates);
        for (place, name) in NAMES.iter().enumerate().take(if several { 3 } else { 1 }) {
            let version = model(&self.life, place as u64 + 1, &self.clock);
            let staged = self.world.handle.stage(name, version).unwrap().guard(self.life.rule());
            let plan = self.plan(several);
            match staged.run(plan) {
                Ok(()) => self.rollouts.push(staged),
                Err(error) => self.refused = Some(error.to_string()),
            }
        }
    }

    /// Asks it as soon as the rollout has seen pairs, or a few seconds of them; where none come, at once.
    fn ask_the_planner(&mut self, second: u64) {
        if self.at_once
            && !self.asked
            && let Some(rollout) = self.rollouts.first()
        {
            let (said, guessed) = self.asked_of(rollout, &self.plan(false));
            self.said = if said.after.is_some() { said } else { self.said };
            self.asked = !guessed || second >= 3;
        }
    }

    #[cfg(not(feature = "forecast"))]
    fn asked_of(&self, _: &Rollout<Ask, Said>, _: &Plan) -> (Foretold, bool) {
        (Foretold::default(), false)
    }

    #[cfg(feature = "forecast")]
    fn asked_of(&self, rollout: &Rollout<Ask, Said>, plan: &Plan) -> (Foretold, bool) {
        let Some(mut traffic) = self.world.handle.traffic() else { return (Foretold::default(), true) };
        traffic.keys = self.keys_within();
        let forecast = rollout.forecast_with(plan, &traffic).unwrap();
        // One that is over has let go of its guards.
        let harm = forecast.steps[0].guards.first();
        let (after, between) = match self.life.candidate {
            Candidate::Equal => (forecast.promoted_after, forecast.promoted_between),
            _ => (harm.and_then(|guard| guard.harm_after), harm.and_then(|guard| guard.harm_between)),
        };
        let seconds = |span: Duration| span.as_secs_f64();
        let between = between.map(|between| (seconds(between.low), seconds(between.high)));
        (Foretold { after: after.map(seconds), between }, forecast.guessed)
    }

    /// How many users come within some times, as a service knows of its own; nothing where requests have no keys.
    #[cfg(feature = "forecast")]
    fn keys_within(&self) -> Vec<KeysWithin> {
        let Some(sessions) = self.life.routing.sessions() else { return Vec::new() };
        let users = |seconds: u64| {
            let requests = self.life.traffic as f64 * seconds as f64;
            match sessions {
                Sessions::One => requests,
                // Those that are there already, and a new one for each that has gone.
                Sessions::Ten => (OPEN as f64 + requests / 10.0).min(requests),
                Sessions::HeavyTail => {
                    let share = |user: u64| ((user as f64 + 1.0) / user as f64).ln() / 2_001_f64.ln();
                    (1..=2_000).map(|user| 1.0 - (-requests * share(user)).exp()).sum()
                }
            }
        };
        let within = |seconds| KeysWithin::new(Duration::from_secs(seconds), users(seconds));
        [1, 3, 10, 30, 100, 300, 1_000, 3_000].map(within).to_vec()
    }

    fn plan(&self, several: bool) -> Plan {
        let shadow = || Step::shadow(1.0).unwrap();
        let canary = |share| Step::canary(share).unwrap();
        let steps = match self.life.routing {
            Routing::Shadow | Routing::KeyedShadow(_) => vec![shadow()],
            Routing::Ramp => vec![shadow(), canary(0.1), canary(0.5)],
            _ if several => vec![canary(0.25)],
            _ => vec![canary(0.5)],
        };
        // Of an equal one it is asked whether it is ever taken back, so it stays for long; of a bad one whether it is ever
        // promoted, so it is looked at as soon and as often as can be.
        let last = match self.life.candidate {
            Candidate::Equal if !self.at_once && self.life.watched == 0 => {
                Duration::from_secs(self.life.seconds * 4 / 5)
            }
            _ => Duration::ZERO,
        };
        Plan::new(steps).unwrap().cycle(last).bake(Bake::new(Duration::from_secs(self.life.watched)))
    }

    pub(super) fn second_now(&self) -> u64 {
        self.world.second()
    }

    pub(super) fn run(self) -> End {
        self.run_on().0
    }

    /// With the second in which it ended, and what the planner had said.
    pub(super) fn run_on(mut self) -> (End, u64, Foretold) {
        let Life { seconds, .. } = self.life;
        let mut verdict = None;
        for second in 0..seconds {
            if self.refused.is_some() {
                break;
            }
            let ticks = !self.life.meets(Circumstance::NoTicksForAWhile) || second % 60 < 48;
            if self.life.meets(Circumstance::PauseAndResume) && second == seconds * 3 / 10 {
                self.rollouts.iter().for_each(|rollout| drop(rollout.pause("lunch")));
            }
            if second == seconds / 2 {
                if self.life.meets(Circumstance::Restart) {
                    self.restart();
                }
                if self.life.meets(Circumstance::PauseAndResume) {
                    self.rollouts.iter().for_each(|rollout| drop(rollout.resume()));
                }
            }
            self.second(ticks);
            self.hear();
            self.ask_the_planner(second);
            verdict = self.verdict();
            if verdict.is_some() {
                break;
            }
        }
        let ended = self.world.second();
        let said = self.said;
        (self.end(verdict), ended, said)
    }

    fn second(&mut self, ticks: bool) {
        let mean = self.life.traffic as f64 * tide(&self.life, self.world.second());
        let requests = self.world.chance.poisson(mean);
        match self.life.routing {
            Routing::Batch | Routing::BatchByKey | Routing::Pinned => {
                for _ in 0..requests.div_ceil(10) {
                    // All of one user, or each of another.
                    let by_key = self.life.routing == Routing::BatchByKey;
                    self.users += 1;
                    let user = |place: u64| if by_key { 10 * self.users + place } else { self.users };
                    let users: Vec<u64> = (0..10).map(user).collect();
                    let asks: Vec<Ask> = users.into_iter().map(|user| self.world.ask_of(user)).collect();
                    self.ask_together(&asks);
                }
            }
            _ => (0..requests).for_each(|_| self.ask()),
        }
        if !ticks {
            self.world.pass();
        } else if self.life.meets(Circumstance::DroppedCopies) {
            // One in ten is more than the queue has room for.
            self.world.pass();
            self.world.handle.run_shadow(self.life.traffic as usize * 3 / 4);
            self.world.handle.tick();
        } else {
            self.world.tick();
        }
    }

    fn ask(&mut self) {
        let user = match self.life.routing.sessions() {
            Some(sessions) => self.comes(sessions),
            None => self.world.asked(),
        };
        let ask = self.world.ask_of(user);
        let answer = match self.life.routing.sessions() {
            Some(_) => self.world.handle.predict_keyed(ask.key(), &ask),
            None => self.world.handle.predict(&ask),
        };
        self.told_of(&ask, answer);
    }

    /// Whose request comes next.
    fn comes(&mut self, sessions: Sessions) -> u64 {
        match sessions {
            Sessions::One => {
                self.users += 1;
                self.users
            }
            Sessions::Ten => {
                if self.sessions.len() < OPEN {
                    self.users += 1;
                    self.sessions.push((self.users, 10));
                }
                let place = self.world.chance.below(self.sessions.len() as u64) as usize;
                let (user, left) = self.sessions[place];
                if left == 1 {
                    self.sessions.swap_remove(place);
                } else {
                    self.sessions[place].1 = left - 1;
                }
                user
            }
            Sessions::HeavyTail => 2_001_f64.powf(self.world.chance.next()) as u64,
        }
    }

    fn ask_together(&mut self, asks: &[Ask]) {
        let answers = match self.life.routing {
            Routing::BatchByKey => self.world.handle.request().batch_by_key(asks, Ask::key),
            Routing::Pinned => {
                let stream = self.world.handle.request().pin().unwrap();
                for ask in asks {
                    if let Ok(answer) = stream.predict(ask) {
                        self.told_of(ask, Ok(answer));
                    }
                }
                return;
            }
            _ => self.world.handle.request().batch(asks),
        };
        asks.iter().zip(answers).for_each(|(ask, answer)| self.told_of(ask, answer));
    }

    /// The truth about an answer sets out.
    fn told_of(&mut self, ask: &Ask, answer: Result<Answer<Said>, PredictError>) {
        let Ok(answer) = answer else { return };
        let Life { figure, .. } = self.life;
        let place =
            NAMES.iter().position(|name| answer.version() == *name).map_or(0, |place| place as u64 + 1);
        let lost = if self.life.meets(Circumstance::LabelLossInBoth) { 0.3 } else { 0.0 };
        let lost =
            lost + if place == 0 && self.life.meets(Circumstance::LabelLossInOneArm) { 0.15 } else { 0.0 };
        if !figure.needs_truth() || ask.chance(For::Loss as u64) < lost {
            return;
        }
        let side = Side { life: self.life, place };
        let (outcome, wrong, first) = match figure {
            Figure::Ranking => (
                Outcome::relevant([relevant(ask)]),
                Outcome::relevant([5_000]),
                ask.chance(For::Truth as u64) < 0.5,
            ),
            _ if figure.is_business() => {
                let Some((name, value)) = side.worth(ask) else { return };
                (Outcome::kpi(name, value), Outcome::kpi(name, 0.0), value == 0.0)
            }
            _ => {
                let truth = is_true(&self.life, ask);
                (Outcome::class(u16::from(truth)), Outcome::class(u16::from(!truth)), !truth)
            }
        };
        let draw = ask.chance(For::Delay as u64);
        let delay = match (self.life.meets(Circumstance::DelayedLabels), first) {
            (true, true) => 1.0 + 3.0 * draw,
            (true, false) => 8.0 + 11.0 * draw,
            (false, _) => 2.0 * draw,
        };
        let corrected =
            self.life.meets(Circumstance::Corrections) && ask.chance(For::Correction as u64) < 0.1;
        if corrected {
            self.corrected(answer.id(), wrong, outcome);
        } else {
            self.world.tell_after(Duration::from_secs_f64(delay), answer.id(), outcome);
        }
    }

    /// The truth is wrong at first, is corrected, and then comes once more as it was at first.
    fn corrected(&mut self, id: PredictionId, wrong: Outcome, outcome: Outcome) {
        let now = self.clock.now();
        let (first, second) = (now.plus(Duration::from_secs(1)), now.plus(Duration::from_secs(3)));
        let wrong = wrong.known_at(first);
        for (after, outcome) in [(1, wrong.clone()), (3, outcome.known_at(second)), (5, wrong)] {
            self.world.tell_after(Duration::from_secs(after), id, outcome);
        }
    }

    fn restart(&mut self) {
        self.hear();
        self.rollouts.clear();
        self.world.handle.close(Duration::from_secs(1)).unwrap();
        self.heard = 0;
        self.world.handle = build(&self.life, self.seed, &self.clock, self.folder.as_deref());
        self.rollouts.extend(NAMES.iter().filter_map(|name| self.world.handle.rollout(name)));
        self.rollouts.iter().for_each(|rollout| drop(rollout.resume()));
    }

    fn hear(&mut self) {
        for event in self.world.handle.events() {
            if event.sequence > self.heard {
                self.heard = event.sequence;
                self.told.push(event.to_string());
                self.events.push(event.kind.clone());
            }
        }
    }

    fn verdict(&self) -> Option<Verdict> {
        let verdict = Verdict::of(&self.events);
        let watched = self.life.watched > 0 && verdict == Some(Verdict::Promoted);
        if !watched {
            return verdict;
        }
        let taken_back = |event: &EventKind| matches!(event, EventKind::RolledBack { .. });
        let over = self.world.second() >= self.life.seconds;
        if self.events.iter().any(taken_back) { Some(Verdict::TakenBack) } else { verdict.filter(|_| over) }
    }

    fn end(mut self, verdict: Option<Verdict>) -> End {
        self.hear();
        let evidence: Vec<Evidence> =
            self.rollouts.iter().filter_map(Rollout::status).flat_map(|status| status.evidence).collect();
        let mut notes: Vec<String> = evidence.iter().filter_map(|evidence| evidence.note.clone()).collect();
        let paused = |event: &EventKind| match event {
            EventKind::Paused { reason, .. } if reason != "lunch" => Some(reason.clone()),
            _ => None,
        };
        notes.extend(self.events.iter().filter_map(paused));
        let failed = self.events.iter().find_map(|event| match event {
            EventKind::GuardFailed { evidence, .. } => Some(evidence.to_string()),
            _ => None,
        });
        let last = || evidence.first().map_or_else(String::new, ToString::to_string);
        let sentence = self.refused.clone().or(failed).unwrap_or_else(last);
        let verdict = match (&self.refused, verdict) {
            (Some(_), _) => Verdict::Refused,
            (None, verdict) => verdict.unwrap_or(Verdict::Undecided),
        };
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
        End { verdict, requests: self.world.asked(), sentence, notes, events: self.told }
    }
}
