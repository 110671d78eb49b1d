//! Whole rollouts, simulated: one seed decides who asks, which models fail, stall or lie, when labels come, which ticks
//! are missed and what operators do. Checkers look at every step for what must hold whatever happens.
//!
//! A failing seed is printed, and is run alone by
//!
//! ```text
//! SIMULATION_SEED=<seed> cargo test --no-default-features --test suite simulation
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use switchback::events::{EventKind, Subscription};
use switchback::feedback::FeedbackOutcome;
use switchback::options::PinPolicy;
use switchback::options::{Labels, Limits, Retention, Shadowing};
use switchback::plan::{Bake, OnInconclusive};
use switchback::status::{Role, Status};
use switchback::testing::Script;
use switchback::{
    Answer, Clock, Outcome, Phase, PredictError, PredictionId, RollbackOutcome, Rollout, Route, Timestamp,
    guard, requests::Pinned,
};

use crate::common::*;

const STEPS: usize = 300;

#[test]
fn every_invariant_holds_at_every_step_of_every_seed() {
    let only = std::env::var("SIMULATION_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    match only {
        Some(seed) => drop(run_seeds(seed..seed + 1)),
        None => run_and_see(120),
    }
}

#[test]
#[ignore = "long: 1,000 seeds"]
fn every_invariant_holds_at_every_step_of_a_thousand_seeds() {
    run_and_see(1_000);
}

/// Runs so many seeds. A simulation in which nothing happens shows nothing, so all that can happen must have.
fn run_and_see(seeds: u64) {
    let seen = run_seeds(0..seeds);
    let Seen { predictions, errors, canary, fallbacks, withheld, joined, events } = &seen;
    for (what, often) in [("predictions", predictions), ("errors", errors), ("canary", canary)] {
        assert!(*often > 5 * seeds, "{what}: {seen:?}");
    }
    assert!(*fallbacks > seeds && *withheld > seeds, "{seen:?}");
    for outcome in ["Counted", "Repeated", "Corrected", "Settled", "Expired"] {
        assert!(joined.get(outcome).is_some_and(|often| *often > seeds / 4), "{outcome}: {seen:?}");
    }
    for event in [
        "staged",
        "phase_changed",
        "promoted",
        "watch_passed",
        "aborted",
        "rolled_back",
        "paused",
        "resumed",
        "frozen",
        "unfrozen",
        "tripped",
        "guard_failed",
        "inconclusive",
        "quarantined",
        "retired",
        "dropped",
    ] {
        assert!(events.contains_key(event), "{event} never happened: {seen:?}");
    }
}

fn run_seeds(seeds: std::ops::Range<u64>) -> Seen {
    // Seeds know nothing of each other, and one runs the same on whatever thread.
    std::thread::scope(|scope| {
        let run = |first: usize| {
            let seeds = seeds.clone();
            scope.spawn(move || seeds.skip(first).step_by(2).map(run_seed).fold(Seen::default(), Seen::add))
        };
        let (even, odd) = (run(0), run(1));
        [even, odd].into_iter().map(|half| half.join().unwrap()).fold(Seen::default(), Seen::add)
    })
}

fn run_seed(seed: u64) -> Seen {
    catch_unwind(AssertUnwindSafe(|| World::new(seed).run())).unwrap_or_else(|panic| {
        eprintln!("the simulation failed with SIMULATION_SEED={seed}");
        resume_unwind(panic)
    })
}

/// What happened in all of the seeds.
#[derive(Debug, Default)]
struct Seen {
    predictions: u64,
    errors: u64,
    canary: u64,
    fallbacks: u64,
    withheld: u64,
    joined: BTreeMap<String, u64>,
    events: BTreeMap<String, u64>,
}

impl Seen {
    fn add(mut self, other: Seen) -> Seen {
        self.predictions += other.predictions;
        self.errors += other.errors;
        self.canary += other.canary;
        self.fallbacks += other.fallbacks;
        self.withheld += other.withheld;
        for (own, others) in [(&mut self.joined, other.joined), (&mut self.events, other.events)] {
            for (name, often) in others {
                *own.entry(name).or_default() += often;
            }
        }
        self
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }
}

const VERSIONS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
const KEYS: usize = 16;
const HORIZON: u64 = 40;
const CORRECTION: u64 = 8;
const LEASE: u64 = 3;
const QUEUE: u64 = 16;
const PINS: usize = 3;
const RETAIN: usize = 1;

/// What a version answers, always: an answer tells whose it is.
fn mark(version: &str) -> f64 {
    let place = VERSIONS.iter().position(|known| *known == version).unwrap();
    (place + 1) as f64 / 16.0
}

/// What the checkers know of a loaded model.
struct Loaded {
    script: Script<f64, f64>,
    name: &'static str,
    /// It has not misbehaved since it was staged.
    clean: bool,
    /// It does what it should at this moment.
    good: bool,
}

/// An attempt as its events tell of it.
struct Attempt {
    version: String,
    phase: Phase,
    weight: f64,
    planned: bool,
    paused: bool,
    /// Goes up whenever its weight goes down.
    generation: u64,
}

/// What has been told of a prediction.
struct Told {
    id: PredictionId,
    at: Timestamp,
    outcome: Option<(u16, Timestamp)>,
}

struct World {
    random: Random,
    clock: Clock,
    service: Service,
    subscription: Subscription,
    rollouts: Vec<(Rollout<f64, f64>, &'static str)>,
    pins: Vec<Pinned<f64, f64>>,
    told: Vec<Told>,
    models: Vec<Loaded>,
    // What must be, by what was done and announced.
    live: String,
    attempts: Vec<Attempt>,
    frozen: bool,
    lease: Timestamp,
    sequence: u64,
    epoch: u64,
    generations: u64,
    owners: Vec<Option<(String, u64)>>,
    ids: BTreeSet<String>,
    requests: u64,
    seen: Seen,
    /// Who acts in this step.
    act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Traffic,
    Labels,
    Shadows,
    Time,
    Tick,
    Operator,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let clock = clock();
        let policy = if random.one_in(2) { PinPolicy::Finish } else { PinPolicy::Supersede };
        let live = says("a", mark("a")).clock(&clock);
        let models = vec![Loaded { script: live.control(), name: "a", clean: true, good: true }];
        let service = builder(&clock)
            .seed(seed)
            .live("a", live)
            .shadowing(Shadowing::new().queue_entries(QUEUE as usize).queue_bytes(4_096))
            .labels(Labels::at_random().horizon(seconds(HORIZON)).corrections(seconds(CORRECTION)))
            .limits(
                Limits::new()
                    .candidate_deadline(Duration::from_millis(50))
                    .pin_policy(policy)
                    .pins(PINS)
                    .pin_lasts(seconds(15)),
            )
            .retention(Retention::new().versions(RETAIN))
            .build()
            .unwrap();
        let lease = clock.now();
        Self {
            random,
            subscription: service.subscribe(10_000),
            service,
            clock,
            rollouts: Vec::new(),
            pins: Vec::new(),
            told: Vec::new(),
            models,
            live: "a".into(),
            attempts: Vec::new(),
            frozen: false,
            lease,
            sequence: 0,
            epoch: 0,
            generations: 0,
            owners: vec![None; KEYS],
            ids: BTreeSet::new(),
            requests: 0,
            seen: Seen::default(),
            act: Act::Traffic,
        }
    }

    fn run(mut self) -> Seen {
        for step in 0..STEPS {
            self.step();
            if step % 20 == 19 {
                let status = self.service.status();
                self.check_status(&status);
            }
        }
        self.finish()
    }

    fn step(&mut self) {
        let dropped = self.dropped();
        self.act = match self.random.below(100) {
            0..44 => Act::Traffic,
            44..56 => Act::Labels,
            56..62 => Act::Shadows,
            62..65 => Act::Time,
            65..84 => Act::Tick,
            _ => Act::Operator,
        };
        match self.act {
            Act::Traffic => self.traffic(),
            Act::Labels => self.label(),
            Act::Shadows => drop(self.service.run_shadow(self.random.below(20))),
            Act::Time => {
                let pause = 1 + self.random.below(8) as u64;
                self.clock.advance(seconds(pause));
            }
            Act::Tick => {
                self.clock.advance(seconds(1));
                self.service.tick();
                self.lease = self.lease.max(self.clock.now().plus(seconds(LEASE)));
            }
            Act::Operator => self.operate(),
        }
        self.hear();
        assert_eq!(self.service.live(), *self.live, "invariant 2: live is who was announced");
        let weights: f64 = self.attempts.iter().map(|attempt| attempt.weight).sum();
        assert!(weights <= 1.0 + 1e-9, "invariant 4: {weights} of the traffic are given away");
        if self.act != Act::Tick {
            assert_eq!(self.dropped(), dropped, "invariant 10: models are freed by the tick alone");
        }
    }

    fn dropped(&self) -> usize {
        self.models.iter().filter(|model| model.script.is_dropped()).count()
    }

    fn model(&mut self, version: &str) -> &mut Loaded {
        self.models.iter_mut().rev().find(|model| model.name == version).unwrap()
    }

    // Traffic.

    fn traffic(&mut self) {
        for _ in 0..=self.random.below(8) {
            match self.random.below(10) {
                0..5 => {
                    let key = self.random.below(KEYS);
                    let answer = self.service.predict_keyed(format!("user-{key}"), &1.0);
                    self.check_key(key, &answer);
                    self.check_answer(answer);
                }
                5..8 => {
                    let answer = self.service.predict(&1.0);
                    self.check_answer(answer);
                }
                8 => {
                    let inputs = vec![1.0; 1 + self.random.below(4)];
                    let answers = self.service.request().batch(&inputs);
                    assert_eq!(answers.len(), inputs.len());
                    answers.into_iter().for_each(|answer| self.check_answer(answer));
                }
                _ => self.stream(),
            }
        }
    }

    fn stream(&mut self) {
        if self.pins.is_empty() || self.random.one_in(3) {
            match self.service.request().pin() {
                Ok(pin) => self.pins.push(pin),
                Err(full) => assert_eq!((full.max, self.pins.len()), (PINS, PINS)),
            }
        }
        let Some(place) = self.pins.len().checked_sub(1).map(|last| self.random.below(last + 1)) else {
            return;
        };
        let version = self.pins[place].version();
        match self.pins[place].predict(&1.0) {
            Ok(answer) => {
                self.requests += 1;
                assert_eq!(answer.version(), version, "invariant 12: never another version in silence");
                assert_eq!(*answer.output(), mark(version.as_str()));
                self.keep(&answer);
            }
            Err(switchback::requests::PinnedError::Predict(_)) => {
                self.requests += 1;
                assert!(!self.models.iter().all(|model| model.clean));
            }
            Err(_) => drop(self.pins.swap_remove(place)),
        }
    }

    fn check_answer(&mut self, answer: Result<Answer<f64>, PredictError>) {
        self.requests += 1;
        self.seen.predictions += 1;
        let live = self.live.clone();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.seen.errors += 1;
                assert!(!self.model(&live).good, "invariant 7: {error}, while live is well");
                return;
            }
        };
        let version = answer.version();
        assert_eq!(
            *answer.output(),
            mark(version.as_str()),
            "invariant 1: an answer is one version's, whole"
        );
        match answer.route() {
            Route::Live => assert_eq!(version, *live),
            Route::Canary => {
                self.seen.canary += 1;
                let exposed =
                    |attempt: &&Attempt| attempt.phase == Phase::Canary && version == *attempt.version;
                let attempt = self.attempts.iter().find(exposed).expect("invariant 3: an exposed candidate");
                assert!(attempt.weight > 0.0);
                assert!(self.clock.now() <= self.lease.plus(seconds(1)), "invariant 8: nobody judges it");
            }
            Route::Fallback => {
                self.seen.fallbacks += 1;
                assert!(self.models.iter().any(|model| !model.clean), "nobody has ever failed");
            }
            other => panic!("{other:?}"),
        }
        self.keep(&answer);
    }

    /// Invariant 4.
    fn check_key(&mut self, key: usize, answer: &Result<Answer<f64>, PredictError>) {
        let Ok(answer) = answer else { return };
        if let Some((owner, generation)) = self.owners[key].clone() {
            let grows = self.attempts.iter().any(|a| a.version == owner && a.generation == generation);
            let judged = self.clock.now() <= self.lease;
            let clean = self.model(&owner).clean;
            if grows && judged && clean {
                let found = (answer.version().to_string(), answer.route());
                assert_eq!(
                    found,
                    (owner, Route::Canary),
                    "invariant 4: a key leaves a canary that only grew"
                );
            }
        }
        if answer.route() == Route::Canary {
            let version = answer.version().to_string();
            let attempt = self.attempts.iter().find(|attempt| attempt.version == version);
            self.owners[key] = attempt.map(|attempt| (version, attempt.generation));
        }
    }

    fn keep(&mut self, answer: &Answer<f64>) {
        assert!(self.ids.insert(answer.id().to_string()), "every prediction has an id of its own");
        self.told.push(Told { id: answer.id(), at: answer.id().at(), outcome: None });
    }

    // Labels: late, twice, contradicting, never.

    fn label(&mut self) {
        for _ in 0..8 {
            if self.told.is_empty() {
                return;
            }
            // Mostly soon, sometimes late.
            let recent = self.told.len().min(if self.random.one_in(3) { usize::MAX } else { 30 });
            let place = self.told.len() - 1 - self.random.below(recent);
            let class = u16::from(self.random.one_in(3));
            let now = self.clock.now();
            let told = &mut self.told[place];
            let id = if self.random.one_in(2) { told.id } else { told.id.to_string().parse().unwrap() };
            let joined = self.service.feedback(id, Outcome::class(class));
            let open = |since: Timestamp| now.since(since) <= seconds(CORRECTION);
            let expected: &[FeedbackOutcome] = match told.outcome {
                _ if now.since(told.at) > seconds(HORIZON) => &[FeedbackOutcome::Expired],
                None => &[FeedbackOutcome::Counted],
                Some((first, since)) if open(since) && first == class => &[FeedbackOutcome::Repeated],
                Some((_, since)) if open(since) => &[FeedbackOutcome::Corrected],
                // The window is over; the next tick forgets what could be corrected.
                Some((first, _)) if first == class => &[FeedbackOutcome::Settled, FeedbackOutcome::Repeated],
                Some(_) => &[FeedbackOutcome::Settled, FeedbackOutcome::Corrected],
            };
            assert!(expected.contains(&joined), "invariant 6: {joined:?} instead of {expected:?}");
            match joined {
                FeedbackOutcome::Counted => told.outcome = Some((class, now)),
                FeedbackOutcome::Corrected => told.outcome = told.outcome.map(|(_, since)| (class, since)),
                _ => {}
            }
            *self.seen.joined.entry(format!("{joined:?}")).or_default() += 1;
        }
    }

    // Operators.

    fn operate(&mut self) {
        match self.random.below(36) {
            0..7 => self.stage(),
            7..17 => self.expose(),
            17..25 => self.plan(),
            25..30 => self.mislead(),
            30 if self.random.one_in(2) => {
                let exposed = |a: &Attempt| matches!(a.phase, Phase::Shadow | Phase::Canary);
                let any_exposed = self.attempts.iter().any(exposed);
                let lowered = self.service.rollback("an operator");
                // Invariant 3: done when it returns.
                match lowered {
                    RollbackOutcome::Aborted(versions) => assert!(any_exposed && !versions.is_empty()),
                    RollbackOutcome::RolledBack { to, .. } => {
                        assert!(!any_exposed && self.service.live() == to)
                    }
                    RollbackOutcome::Nothing => assert!(!any_exposed),
                    other => panic!("{other:?}"),
                }
            }
            30 | 31 => {
                let status = self.service.status();
                let retained: Vec<_> = status.versions.iter().filter(|v| v.role == Role::Retained).collect();
                if let Some(version) = retained.first() {
                    let _ = self.service.rollback_to(version.version.as_str(), "an operator").unwrap();
                    assert_eq!(self.service.live(), version.version);
                }
            }
            32 if self.random.one_in(2) => {
                self.service.freeze("an operator");
            }
            32 | 33 => self.service.unfreeze(),
            34 => {
                if let Some((rollout, _)) = self.some_rollout() {
                    rollout.pause("an operator").unwrap();
                }
            }
            _ => {
                if let Some((rollout, _)) = self.some_rollout() {
                    rollout.resume().unwrap();
                }
            }
        }
    }

    fn some_rollout(&mut self) -> Option<&(Rollout<f64, f64>, &'static str)> {
        self.rollouts.retain(|(rollout, _)| !rollout.phase().is_over());
        let place = self.rollouts.len().checked_sub(1).map(|last| self.random.below(last + 1))?;
        self.rollouts.get(place)
    }

    fn stage(&mut self) {
        let name = VERSIONS[self.random.below(VERSIONS.len())];
        let model = says(name, mark(name)).clock(&self.clock);
        let script = model.control();
        if let Ok(rollout) = self.service.stage(name, model) {
            assert_eq!((script.loads(), script.warm_ups(), script.calls()), (1, 1, 0), "invariant 2");
            self.models.push(Loaded { script, name, clean: true, good: true });
            let rollout = rollout
                .guard(guard::error_rate().at_most(0.2))
                .guard(guard::accuracy().at_most_below_live(0.4));
            self.rollouts.push((rollout, name));
            if self.random.one_in(2) {
                self.expose();
            }
        }
    }

    fn expose(&mut self) {
        let (share, how) = (self.random.below(60) as f64 / 100.0, self.random.below(9));
        let Some((rollout, _)) = self.some_rollout() else { return };
        // What is refused has changed nothing, which `hear` would notice.
        let _ = match how {
            0..2 => rollout.shadow(share),
            2..8 => rollout.canary(share),
            _ => rollout.promote(),
        };
    }

    fn plan(&mut self) {
        let quick = |step: switchback::Step| step.min_predictions(5).max_duration(seconds(10));
        let policy = [OnInconclusive::Pause, OnInconclusive::RollBack, OnInconclusive::Continue];
        let policy = policy[self.random.below(3)];
        let bake = match self.random.below(3) as u64 * 3 {
            0 => Bake::default(),
            watch => Bake::new(seconds(watch)).keep_previous_as_shadow(0.5).unwrap(),
        };
        let plan = ramp([0.2, 0.6]).each(quick).unwrap().on_inconclusive(policy).bake(bake);
        let Some((rollout, name)) = self.some_rollout() else { return };
        let (started, name) = (rollout.run(plan).is_ok(), *name);
        if started {
            self.hear();
            self.attempts.iter_mut().filter(|a| a.version == name).for_each(|attempt| attempt.planned = true);
        }
    }

    /// Somebody's model goes wrong, or is mended.
    fn mislead(&mut self) {
        let candidates = !self.attempts.is_empty() && !self.random.one_in(3);
        let loaded: Vec<usize> = (0..self.models.len())
            .filter(|place| {
                let Loaded { script, name, .. } = &self.models[*place];
                !script.is_dropped() && (!candidates || self.attempts.iter().any(|a| a.version == *name))
            })
            .collect();
        let place = loaded[self.random.below(loaded.len())];
        // Live is mended soon, or there would be little to see.
        let how = match self.models[place].name == self.live {
            true => 2 + self.random.below(6),
            false => self.random.below(8),
        };
        let model = &mut self.models[place];
        model.script.behave();
        model.good = how >= 5;
        model.clean &= model.good;
        match how {
            0 => model.script.fail(),
            1 => model.script.panic(),
            2 => model.script.lie(|_| f64::NAN),
            3 => model.script.refuse(),
            4 => {
                model.script.panic_next(2);
                model.script.fail_next(1);
            }
            5 => {
                // Slow is late for a candidate, and merely slow for live.
                model.script.stall(Duration::from_millis(80));
                model.clean = false;
            }
            _ => {}
        }
    }

    // Checkers.

    /// Takes in what was announced, and checks that whoever acted was allowed to.
    fn hear(&mut self) {
        while let Some(event) = self.subscription.try_recv() {
            self.sequence += 1;
            assert_eq!(event.sequence, self.sequence, "invariant 9: numbered without gaps");
            assert!(event.epoch >= self.epoch);
            self.epoch = event.epoch;
            let name = names(&[std::sync::Arc::clone(&event)]).remove(0);
            *self.seen.events.entry(name).or_default() += 1;
            let by_hand = self.act == Act::Operator;
            // Whoever looks first says that a lease has run out.
            let told = matches!(event.kind, EventKind::LeaseExpired { .. });
            assert!(by_hand || told || self.act == Act::Tick, "requests and labels change nothing: {event}");
            match &event.kind {
                EventKind::Staged { version, .. } => {
                    assert!(by_hand);
                    self.generations += 1;
                    let (version, generation) = (version.to_string(), self.generations);
                    let (phase, weight, planned, paused) = (Phase::Staged, 0.0, false, false);
                    self.attempts.push(Attempt { version, phase, weight, planned, paused, generation });
                }
                EventKind::PhaseChanged { version, to, weight, .. } => {
                    self.lease = self.lease.max(self.clock.now().plus(seconds(LEASE)));
                    let (frozen, next) = (self.frozen, self.generations + 1);
                    let attempt = self.attempts.iter_mut().find(|a| *version == *a.version).unwrap();
                    let weight = weight.fraction();
                    let allowed = by_hand || (attempt.planned && !attempt.paused && !frozen);
                    assert!(allowed || weight <= attempt.weight, "invariant 3: automation raised {event}");
                    if weight < attempt.weight {
                        (attempt.generation, self.generations) = (next, next);
                    }
                    (attempt.phase, attempt.weight) = (*to, weight);
                }
                EventKind::Promoted { version, previous, .. } => {
                    assert_eq!(*previous, *self.live);
                    let place = self.attempts.iter().position(|a| *version == *a.version).unwrap();
                    let attempt = &mut self.attempts[place];
                    assert!(by_hand || (attempt.planned && !attempt.paused && !self.frozen), "invariant 3");
                    self.live = version.to_string();
                    // Watched or not, it is no candidate any more.
                    self.attempts.remove(place);
                }
                EventKind::Aborted { version, .. } => {
                    self.attempts.retain(|attempt| *version != *attempt.version);
                }
                EventKind::RolledBack { from, to, .. } => {
                    assert_eq!(*from, *self.live);
                    self.live = to.to_string();
                }
                EventKind::Paused { version, .. } | EventKind::Resumed { version } => {
                    let paused = matches!(event.kind, EventKind::Paused { .. });
                    self.attempts
                        .iter_mut()
                        .filter(|a| *version == *a.version)
                        .for_each(|a| a.paused = paused);
                }
                EventKind::Frozen { .. } => self.frozen = true,
                EventKind::Unfrozen => self.frozen = false,
                EventKind::Dropped { .. } => assert_eq!(self.act, Act::Tick, "invariant 10"),
                _ => {}
            }
        }
    }

    fn check_status(&mut self, status: &Status) {
        assert_eq!(status.live, *self.live);
        assert_eq!(status.frozen.is_some(), self.frozen);
        let counted: u64 = status.versions.iter().map(|v| v.total.requests - v.total.shadowed).sum();
        assert_eq!(counted, self.requests, "invariant 6: every prediction is counted once");
        let withheld: u64 = status.versions.iter().map(|version| version.total.withheld).sum();
        self.seen.withheld = withheld;
        let fallbacks: u64 = status.versions.iter().map(|version| version.total.fallbacks).sum();
        let substitutes: u64 = status.versions.iter().map(|version| version.total.substitutes).sum();
        assert!(substitutes >= fallbacks, "whoever fell back was answered by somebody");

        assert!(status.shadow.waiting <= QUEUE && status.shadow.waiting_bytes <= 4_096, "invariant 11");
        assert!(status.pins <= PINS && status.feedback.bitmap_bytes <= 1 << 20, "invariant 11");
        let retained = status.versions.iter().filter(|version| version.role == Role::Retained).count();
        assert!(retained <= RETAIN + 1, "invariant 11: {retained} versions are retained");
        for version in &status.versions {
            let loaded = version.role != Role::Past;
            assert!(!loaded || !self.model(version.version.as_str()).script.is_dropped(), "invariant 2");
        }
        for attempt in &self.attempts {
            let running = |rollout: &&switchback::status::RolloutStatus| {
                rollout.version == *attempt.version && !rollout.phase.is_over()
            };
            let rollout = status.rollouts.iter().find(running).expect("an attempt that was announced");
            assert_eq!((rollout.phase, rollout.weight.fraction()), (attempt.phase, attempt.weight));
            assert_eq!(rollout.paused, attempt.paused);
            let arm = &rollout.candidate;
            assert!(arm.labelled_units <= arm.units && arm.units <= arm.requests, "{arm:?}");
            assert!(arm.shadowed <= arm.requests && arm.fallbacks <= arm.errors.values().sum(), "{arm:?}");
        }
        let feedback = &status.feedback;
        let told = |outcome: &str| self.seen.joined.get(outcome).copied().unwrap_or(0);
        assert_eq!((feedback.counted, feedback.corrected), (told("Counted"), told("Corrected")));
        assert_eq!((feedback.expired, feedback.unknown), (told("Expired"), 0));
        assert_eq!(feedback.one_in, 1);
    }

    /// Nothing is left when the handle goes.
    fn finish(mut self) -> Seen {
        self.act = Act::Operator;
        self.service.close(seconds(60)).unwrap();
        self.act = Act::Tick;
        self.pins.clear();
        self.service.tick();
        self.hear();
        let status = self.service.status();
        self.check_status(&status);
        assert_eq!(status.shadow.waiting, 0);
        assert!(status.waiting_to_drop.is_empty(), "{:?}", status.waiting_to_drop);
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap().epoch, status.epoch);
        drop(self.rollouts);
        drop(self.service);
        assert!(self.models.iter().all(|model| model.script.is_dropped()), "a model outlives its handle");
        self.seen
    }
}
