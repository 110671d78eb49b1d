//! One rollout in one circumstance, from its first request to what became of it.

use std::f64::consts::TAU;
use std::time::Duration;

use switchback::events::EventKind;
use switchback::guard::{Evidence, InvalidRule, Rule};
use switchback::options::{Labels, Limits, Shadowing};
use switchback::plan::Bake;
use switchback::{
    Answer, Builder, Clock, Kpi, Outcome, Phase, Plan, PredictError, PredictionId, Rollout, Step, Task,
    Timestamp, Truth, guard,
};

use super::chance::Chance;
use super::requests::{Ask, Reply, Said, Version, version};
use super::service::{Handle, Verdict, World, clock, service};

/// What is judged, each with a guard of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// At most 1.5 times live's, which is 4 %.
    Error,
    /// The p95 at most 1.5 times live's.
    Latency,
    /// At most 5 points below live's, which is 85 %.
    Accuracy,
    /// At most 10 points below live's, which is 75 %.
    Precision,
    /// A business figure between 0 and 10: at most 0.5 below live's, which is 4.
    Bounded,
    /// How often something is bought: at least 0.8 times as often as live's 30 %.
    Rate,
    /// What is spent, without a bound: at most 0.4 below live's 2.
    Unbounded,
    /// Other answers than live's on at most 10 % of the inputs.
    Divergence,
    /// NDCG at most 0.05 below live's, which is 0.35; 0.27 where there are users.
    Ranking,
}

/// Who answers, and what belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Routing {
    /// Copies of all requests.
    Shadow,
    /// A canary of 50 % on a handle that does not shadow.
    Canary,
    /// A shadow, then canaries of 10 and 50 % beside it.
    Ramp,
    /// A canary of 50 % of the keys.
    Keyed(Sessions),
    /// Copies of all requests, which have keys.
    KeyedShadow(Sessions),
    /// A canary of 50 %: batches of ten rows that are routed each on its own.
    Batch,
    /// A canary of 50 %: batches of ten rows that belong together.
    AsOne,
    /// A canary of 50 %: streams of ten calls that stay with one version.
    Pinned,
}

/// How many requests a key has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sessions {
    One,
    Ten,
    /// 2,000 keys, of which a few come hundreds of times.
    HeavyTail,
}

/// What ordinary life does to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Circumstance {
    Quiet,
    /// Each version fails on 3 % of its calls, by chance of its own.
    ChanceFailures,
    /// Both fail on nearly all requests for four seconds, and on half of them for ten.
    SharedOutage,
    /// Rates and traffic go up and down by half.
    Diurnal,
    /// Truth comes after up to 50 seconds, that of one class first.
    DelayedLabels,
    /// 15 % of the truth about live's answers is lost.
    LabelLossInOneArm,
    /// 30 % of the truth is lost, whoever answered.
    LabelLossInBoth,
    /// The candidate takes 300 ms for each call of a second, now and then.
    CandidateStalls,
    /// More copies are taken than can be run.
    DroppedCopies,
    /// Nobody ticks for 20 of every 100 seconds.
    NoTicksForAWhile,
    /// The service is closed and started again in the middle.
    Restart,
    /// The plan stands still for a fifth of the time.
    PauseAndResume,
    /// Three candidates at once.
    SeveralCandidates,
    /// A tenth of the truth is wrong at first, is corrected, and then comes once more as it was at first.
    Corrections,
}

/// How good the candidate is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Candidate {
    /// As live.
    Equal,
    /// As bad as the guard allows.
    AtTheMargin,
    /// So many times as bad as the guard allows.
    Worse(f64),
}

impl Candidate {
    /// In margins.
    fn worse(self) -> f64 {
        match self {
            Self::Equal => 0.0,
            Self::AtTheMargin => 1.0,
            Self::Worse(times) => times,
        }
    }
}

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

/// One cell of the matrix, of which each seed is a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Life {
    pub(crate) figure: Figure,
    pub(crate) routing: Routing,
    pub(crate) circumstance: Circumstance,
    pub(crate) candidate: Candidate,
    /// How long it runs at most.
    pub(crate) seconds: u64,
    /// Requests a second, on average.
    pub(crate) traffic: u64,
}

impl Life {
    /// Ten thousand requests in 250 seconds.
    pub(crate) fn new(figure: Figure, routing: Routing, circumstance: Circumstance) -> Self {
        Self { figure, routing, circumstance, candidate: Candidate::Equal, seconds: 250, traffic: 40 }
    }

    pub(crate) fn candidate(mut self, candidate: Candidate) -> Self {
        self.candidate = candidate;
        self
    }

    /// Runs it. The folder is for state, where there is to be any.
    pub(crate) fn run(&self, seed: u64) -> End {
        Run::new(*self, seed).run()
    }

    pub(crate) fn name(&self) -> String {
        let candidate = match self.candidate {
            Candidate::Equal => "equal".to_owned(),
            Candidate::AtTheMargin => "at-the-margin".to_owned(),
            Candidate::Worse(times) => format!("{times}-margins"),
        };
        format!("{}/{}/{}/{candidate}", self.figure.name(), self.routing.name(), self.circumstance.name())
    }

    /// Whether a candidate that is taken back for harm is one too many.
    pub(crate) fn is_within(&self) -> bool {
        // Stalls are the candidate's own, on top of what the margin allows.
        let stalls = self.circumstance == Circumstance::CandidateStalls
            && matches!(self.figure, Figure::Latency | Figure::Error);
        match self.candidate {
            Candidate::Equal => true,
            Candidate::AtTheMargin => !stalls,
            Candidate::Worse(_) => false,
        }
    }
}

impl Figure {
    pub(crate) const ALL: [Figure; 9] = [
        Self::Error,
        Self::Latency,
        Self::Accuracy,
        Self::Precision,
        Self::Bounded,
        Self::Rate,
        Self::Unbounded,
        Self::Divergence,
        Self::Ranking,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Latency => "latency",
            Self::Accuracy => "accuracy",
            Self::Precision => "precision",
            Self::Bounded => "kpi-bounded",
            Self::Rate => "kpi-rate",
            Self::Unbounded => "kpi-unbounded",
            Self::Divergence => "divergence",
            Self::Ranking => "ranking",
        }
    }

    pub(crate) fn rule(self) -> Result<Rule, InvalidRule> {
        match self {
            Self::Error => guard::error_rate().at_most_times_live(1.5),
            Self::Latency => guard::latency(0.95).at_most_times_live(1.5),
            Self::Accuracy => guard::accuracy().at_most_below_live(0.05),
            Self::Precision => guard::precision().at_most_below_live(0.1),
            Self::Bounded => guard::kpi("rating").at_most_below_live(0.5),
            Self::Rate => guard::kpi("purchase").at_least_times_live(0.8),
            Self::Unbounded => guard::kpi("revenue").at_most_below_live(0.4),
            Self::Divergence => guard::divergence().at_most(0.1),
            Self::Ranking => guard::ndcg().at_most_below_live(0.05),
        }
    }

    /// Whether it needs what turned out to be true.
    pub(crate) fn needs_truth(self) -> bool {
        !matches!(self, Self::Error | Self::Latency | Self::Divergence)
    }

    fn is_business(self) -> bool {
        matches!(self, Self::Bounded | Self::Rate | Self::Unbounded)
    }
}

impl Routing {
    pub(crate) const ALL: [Routing; 11] = [
        Self::Shadow,
        Self::Canary,
        Self::Ramp,
        Self::Keyed(Sessions::One),
        Self::Keyed(Sessions::Ten),
        Self::Keyed(Sessions::HeavyTail),
        Self::KeyedShadow(Sessions::Ten),
        Self::KeyedShadow(Sessions::HeavyTail),
        Self::Batch,
        Self::AsOne,
        Self::Pinned,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Ramp => "ramp",
            Self::Keyed(Sessions::One) => "keyed-1",
            Self::Keyed(Sessions::Ten) => "keyed-10",
            Self::Keyed(Sessions::HeavyTail) => "keyed-heavy",
            Self::KeyedShadow(Sessions::One) => "keyed-1-shadow",
            Self::KeyedShadow(Sessions::Ten) => "keyed-10-shadow",
            Self::KeyedShadow(Sessions::HeavyTail) => "keyed-heavy-shadow",
            Self::Batch => "batch",
            Self::AsOne => "as-one",
            Self::Pinned => "pinned",
        }
    }

    pub(crate) fn shadows(self) -> bool {
        matches!(self, Self::Shadow | Self::Ramp | Self::KeyedShadow(_))
    }

    fn sessions(self) -> Option<Sessions> {
        match self {
            Self::Keyed(sessions) | Self::KeyedShadow(sessions) => Some(sessions),
            _ => None,
        }
    }

    /// Whether requests of one user are alike.
    fn has_users(self) -> bool {
        self.sessions().is_some() || matches!(self, Self::AsOne | Self::Pinned)
    }
}

impl Circumstance {
    pub(crate) const ALL: [Circumstance; 14] = [
        Self::Quiet,
        Self::ChanceFailures,
        Self::SharedOutage,
        Self::Diurnal,
        Self::DelayedLabels,
        Self::LabelLossInOneArm,
        Self::LabelLossInBoth,
        Self::CandidateStalls,
        Self::DroppedCopies,
        Self::NoTicksForAWhile,
        Self::Restart,
        Self::PauseAndResume,
        Self::SeveralCandidates,
        Self::Corrections,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::ChanceFailures => "chance-failures",
            Self::SharedOutage => "shared-outage",
            Self::Diurnal => "diurnal",
            Self::DelayedLabels => "delayed-labels",
            Self::LabelLossInOneArm => "label-loss-in-one-arm",
            Self::LabelLossInBoth => "label-loss-in-both",
            Self::CandidateStalls => "candidate-stalls",
            Self::DroppedCopies => "dropped-copies",
            Self::NoTicksForAWhile => "no-ticks-for-a-while",
            Self::Restart => "restart",
            Self::PauseAndResume => "pause-and-resume",
            Self::SeveralCandidates => "several-candidates",
            Self::Corrections => "corrections",
        }
    }

    /// Whether it does anything where this is judged and traffic goes so.
    pub(crate) fn concerns(self, figure: Figure, routing: Routing) -> bool {
        match self {
            Self::DelayedLabels | Self::LabelLossInOneArm | Self::LabelLossInBoth | Self::Corrections => {
                figure.needs_truth()
            }
            Self::DroppedCopies => routing.shadows(),
            Self::SeveralCandidates => !routing.shadows(),
            Self::Restart => cfg!(feature = "state"),
            _ => true,
        }
    }
}

/// What chance is drawn for. Each version has its own.
#[derive(Clone, Copy)]
enum For {
    Truth = 1,
    Failure = 2,
    Quality = 3,
    Time = 4,
    ChanceFailure = 5,
    Place = 6,
    Worth = 7,
    User = 8,
    Loss = 9,
    Delay = 10,
    Outage = 11,
    Correction = 12,
}

/// How one version behaves in one life.
#[derive(Clone, Copy)]
struct Side {
    life: Life,
    /// 0 for live, and from 1 on for candidates.
    place: u64,
}

impl Side {
    fn draw(&self, ask: &Ask, what: For) -> f64 {
        ask.chance(what as u64 * 16 + self.place)
    }

    fn worse(&self) -> f64 {
        if self.place == 0 { 0.0 } else { self.life.candidate.worse() }
    }

    /// Whether something happens to this version that happens to a share of all requests: to some users half of the time,
    /// where there are users, and by chance where there are none.
    fn happens(&self, ask: &Ask, what: For, rate: f64) -> bool {
        let own = if self.life.routing.has_users() {
            let unlucky = ask.chance_of_user(what as u64 * 16 + self.place) < 2.0 * rate;
            if unlucky { 0.5 } else { 0.0 }
        } else {
            rate
        };
        self.draw(ask, what) < own
    }

    /// What rates are multiplied by.
    fn tide(&self, ask: &Ask) -> f64 {
        tide(&self.life, ask.second)
    }

    fn answer(&self, ask: &Ask) -> (Reply, Duration) {
        let (reply, takes) = (self.reply(ask), self.takes(ask));
        (reply, takes)
    }

    fn takes(&self, ask: &Ask) -> Duration {
        let longer = if self.life.figure == Figure::Latency { 1.0 + 0.5 * self.worse() } else { 1.0 };
        let own = if self.life.routing.has_users() {
            0.5 * (self.draw(ask, For::Time) + ask.chance_of_user(For::Time as u64))
        } else {
            self.draw(ask, For::Time)
        };
        let stalls = self.life.circumstance == Circumstance::CandidateStalls
            && self.place > 0
            && ask.second % 80 == 40;
        let millis = (0.5 - (1.0 - own).ln()) * longer * self.tide(ask) + if stalls { 300.0 } else { 0.0 };
        Duration::from_nanos((millis * 1e6) as u64)
    }

    fn reply(&self, ask: &Ask) -> Reply {
        let Life { figure, circumstance, .. } = self.life;
        if circumstance == Circumstance::ChanceFailures && self.draw(ask, For::ChanceFailure) < 0.03 {
            return Reply::Fails;
        }
        if circumstance == Circumstance::SharedOutage {
            // Each by a chance of its own: what is out is behind both.
            let out = match ask.second.checked_sub(self.life.seconds / 3) {
                Some(0..4) => 0.98,
                Some(4..14) => 0.5,
                _ => 0.0,
            };
            if self.draw(ask, For::Outage) < out {
                return Reply::Fails;
            }
        }
        let fails =
            if figure == Figure::Error { 0.04 * (1.0 + 0.5 * self.worse()) * self.tide(ask) } else { 0.0 };
        if self.happens(ask, For::Failure, fails) {
            return Reply::Fails;
        }
        match figure {
            Figure::Precision => Reply::yes(if self.flags(ask) { 0.9 } else { 0.1 }),
            Figure::Divergence => {
                // It differs on half of what it may at first, and on as much as it may at the margin.
                let differs = self.place > 0 && self.happens(ask, For::Quality, 0.05 + 0.05 * self.worse());
                Reply::yes(if differs != is_true(&self.life, ask) { 0.9 } else { 0.1 })
            }
            Figure::Ranking => {
                // A list with a hit has an NDCG of 0.59 on average. Nothing happens to more than half of all users.
                let live = if self.life.routing.has_users() { 0.45 } else { 0.6 };
                let hit = self.happens(ask, For::Quality, live - 0.05 * self.worse() / 0.589_7);
                let place = (self.draw(ask, For::Place) * 5.0) as u64;
                Reply::list(
                    (0..5).map(|rank| if hit && rank == place { relevant(ask) } else { 1_000 + rank }),
                )
            }
            _ => {
                let wrong = if figure == Figure::Accuracy {
                    0.15 * self.tide(ask) + 0.05 * self.worse()
                } else {
                    0.15
                };
                let wrong = self.happens(ask, For::Quality, wrong);
                Reply::yes(if wrong != is_true(&self.life, ask) { 0.9 } else { 0.1 })
            }
        }
    }

    /// Of what is true it flags three quarters, and of the rest as many as its precision says.
    fn flags(&self, ask: &Ask) -> bool {
        let precision = 0.75 - 0.1 * self.worse();
        let rate = if is_true(&self.life, ask) { 0.75 } else { 0.3 * (1.0 / precision - 1.0) / 0.6 };
        self.draw(ask, For::Quality) < rate
    }

    /// What a user does whom this version has answered.
    fn worth(&self, ask: &Ask) -> Option<(&'static str, f64)> {
        let (draw, tide) = (self.draw(ask, For::Worth), self.tide(ask));
        // Users differ, by half of what they are on average.
        let user =
            if self.life.routing.has_users() { 0.5 + ask.chance_of_user(For::User as u64) } else { 1.0 };
        match self.life.figure {
            Figure::Bounded => {
                let mean = (4.0 * user - 0.5 * self.worse()).max(0.0) * (0.75 + 0.25 * tide);
                Some(("rating", (2.0 * mean * draw).min(10.0)))
            }
            Figure::Rate => {
                let rate = 0.3 * user * (1.0 - 0.2 * self.worse()) * tide;
                Some(("purchase", f64::from(u8::from(draw < rate))))
            }
            Figure::Unbounded => {
                let rate = 0.2 * user * (1.0 - 0.2 * self.worse());
                let spent = -10.0 * (1.0 - draw / rate).max(1e-12).ln();
                Some(("revenue", if draw < rate { spent } else { 0.0 }))
            }
            _ => None,
        }
    }
}

fn tide(life: &Life, second: u64) -> f64 {
    if life.circumstance != Circumstance::Diurnal {
        return 1.0;
    }
    1.0 + 0.5 * (TAU * second as f64 / (life.seconds as f64 / 2.5)).sin()
}

/// What turns out to be true of a request, whoever answers it.
fn is_true(life: &Life, ask: &Ask) -> bool {
    ask.chance(For::Truth as u64) < 0.4 * tide(life, ask.second)
}

fn relevant(ask: &Ask) -> u64 {
    ask.number % 1_000
}

/// One run.
struct Run {
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
    folder: Option<std::path::PathBuf>,
    refused: Option<String>,
}

const NAMES: [&str; 3] = ["v2", "v3", "v4"];

impl Run {
    fn new(life: Life, seed: u64) -> Self {
        let clock = clock();
        let folder = (life.circumstance == Circumstance::Restart).then(folder);
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
        };
        // Live is known before anything is compared with it.
        for _ in 0..WARM_UP {
            run.second(true);
        }
        run.begin();
        run
    }

    fn begin(&mut self) {
        let several = self.life.circumstance == Circumstance::SeveralCandidates;
        for (place, name) in NAMES.iter().enumerate().take(if several { 3 } else { 1 }) {
            let version = model(&self.life, place as u64 + 1, &self.clock);
            let staged = self.world.handle.stage(name, version).unwrap().guard(self.life.figure.rule());
            match staged.run(self.plan(several)) {
                Ok(()) => self.rollouts.push(staged),
                Err(error) => self.refused = Some(error.to_string()),
            }
        }
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
            Candidate::Equal => Duration::from_secs(self.life.seconds * 4 / 5),
            _ => Duration::ZERO,
        };
        Plan::new(steps).unwrap().cycle(last).bake(Bake::default())
    }

    fn run(mut self) -> End {
        let Life { seconds, circumstance, .. } = self.life;
        let mut verdict = None;
        for second in 0..seconds {
            if self.refused.is_some() {
                break;
            }
            let ticks = circumstance != Circumstance::NoTicksForAWhile || second % 100 < 80;
            match (circumstance, second) {
                (Circumstance::PauseAndResume, _) if second == seconds * 3 / 10 => {
                    self.rollouts.iter().for_each(|rollout| rollout.pause("lunch"));
                }
                (Circumstance::PauseAndResume, _) if second == seconds / 2 => {
                    self.rollouts.iter().for_each(|rollout| rollout.resume().unwrap());
                }
                (Circumstance::Restart, _) if second == seconds / 2 => self.restart(),
                _ => {}
            }
            self.second(ticks);
            self.hear();
            verdict = self.verdict();
            if verdict.is_some() {
                break;
            }
        }
        self.end(verdict)
    }

    fn second(&mut self, ticks: bool) {
        let mean = self.life.traffic as f64 * tide(&self.life, self.world.second());
        let requests = self.world.chance.poisson(mean);
        match self.life.routing {
            Routing::Batch | Routing::AsOne | Routing::Pinned => {
                for _ in 0..requests.div_ceil(10) {
                    self.users += 1;
                    let asks: Vec<Ask> = (0..10).map(|_| self.world.ask_of(self.users)).collect();
                    self.ask_together(&asks);
                }
            }
            _ => (0..requests).for_each(|_| self.ask()),
        }
        if !ticks {
            self.world.pass();
        } else if self.life.circumstance == Circumstance::DroppedCopies {
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
                if self.sessions.len() < 40 {
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
            Routing::AsOne => self.world.handle.request().batch(asks),
            Routing::Pinned => {
                let stream = self.world.handle.request().pin().unwrap();
                let answers: Vec<Option<Answer<Said>>> =
                    asks.iter().map(|ask| stream.predict(ask).ok()).collect();
                for (ask, answer) in asks.iter().zip(answers) {
                    if let Some(answer) = answer {
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
        let Life { figure, circumstance, .. } = self.life;
        let place =
            NAMES.iter().position(|name| answer.version() == *name).map_or(0, |place| place as u64 + 1);
        let lost = match circumstance {
            Circumstance::LabelLossInOneArm if place == 0 => 0.15,
            Circumstance::LabelLossInBoth => 0.3,
            _ => 0.0,
        };
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
        let delay = match circumstance {
            Circumstance::DelayedLabels if first => 1.0 + 4.0 * draw,
            Circumstance::DelayedLabels => 20.0 + 30.0 * draw,
            _ => 2.0 * draw,
        };
        let corrected = circumstance == Circumstance::Corrections && ask.chance(For::Correction as u64) < 0.1;
        if corrected {
            self.corrected(answer.id(), wrong, outcome);
        } else {
            self.world.tell_after(Duration::from_secs_f64(delay), answer.id(), outcome);
        }
    }

    /// The truth is wrong at first, is corrected, and then comes once more as it was at first.
    fn corrected(&mut self, id: PredictionId, wrong: Outcome, outcome: Outcome) {
        let now: Timestamp = self.clock.now();
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
        Verdict::of(&self.events)
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
        debug_assert!(
            verdict != Verdict::Promoted
                || self.rollouts.iter().any(|rollout| rollout.phase() == Phase::Promoted)
        );
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_dir_all(folder);
        }
        End { verdict, requests: self.world.asked(), sentence, notes, events: self.told }
    }
}

/// Seconds before the rollout.
const WARM_UP: u64 = 30;

fn model(life: &Life, place: u64, clock: &Clock) -> Version {
    let side = Side { life: *life, place };
    version(format!("side-{place}"), clock, move |ask: &Ask| side.answer(ask))
}

fn build(life: &Life, seed: u64, clock: &Clock, folder: Option<&std::path::Path>) -> Handle {
    let mut builder = service(clock, seed).live("v1", model(life, 0, clock));
    let truth = if life.figure.is_business() { Truth::CausedByAnswer } else { Truth::Independent };
    builder = builder.task(
        match life.figure {
            Figure::Ranking => {
                Task::ranking(5, |said: &Said, ranked| said.items.iter().for_each(|item| ranked.push(*item)))
                    .unwrap()
            }
            _ => Task::binary(|said: &Said| said.yes),
        }
        .truth(truth),
    );
    builder = builder
        .kpi(Kpi::rate("purchase").unwrap())
        .kpi(Kpi::bounded("rating", 0.0, 10.0).unwrap())
        .kpi(Kpi::unbounded("revenue").unwrap());
    builder = match life.circumstance {
        Circumstance::DelayedLabels => builder.labels(Labels::complete_after(Duration::from_secs(60))),
        Circumstance::Corrections => builder.labels(Labels::complete_after(Duration::from_secs(10))),
        _ => builder,
    };
    if life.routing.shadows() {
        let few = life.circumstance == Circumstance::DroppedCopies;
        let room = if few { life.traffic as usize } else { 4_096 };
        builder = builder.shadowing(Shadowing::new().queue_entries(room));
    }
    if life.circumstance == Circumstance::CandidateStalls {
        builder = builder.limits(Limits::new().candidate_deadline(Duration::from_millis(200)));
    }
    remembered(builder, life, clock, folder).build().unwrap()
}

#[cfg(feature = "state")]
fn remembered(
    builder: Builder<Ask, Said>,
    life: &Life,
    clock: &Clock,
    folder: Option<&std::path::Path>,
) -> Builder<Ask, Said> {
    use switchback::Model;
    type Opened = Result<Box<dyn Model<Ask, Said>>, Box<dyn std::error::Error + Send + Sync>>;
    let Some(folder) = folder else { return builder };
    let (life, clock) = (*life, clock.clone());
    builder.state(folder).source(move |name: &str| -> Opened {
        let place = NAMES.iter().position(|known| *known == name).map_or(0, |place| place as u64 + 1);
        Ok(Box::new(model(&life, place, &clock)))
    })
}

#[cfg(not(feature = "state"))]
fn remembered(
    builder: Builder<Ask, Said>,
    _: &Life,
    _: &Clock,
    _: Option<&std::path::Path>,
) -> Builder<Ask, Said> {
    builder
}

/// A folder of a run's own for its state.
fn folder() -> std::path::PathBuf {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("switchback-life-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    folder
}

/// Runs of a cell, one seed each.
pub(crate) fn runs(life: &Life, seeds: std::ops::Range<u64>) -> Vec<End> {
    seeds.map(|seed| life.run(Chance(seed).0.wrapping_mul(0x9e37_79b9).wrapping_add(seed))).collect()
}
