//! The consequences where a circuit breaker has tripped: beside a live that is well the version has failed outright and
//! is taken off; while live fails too it waits with its circuit open, and is tried again.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::Attempt;
use super::circuit::{Circuit, LiveLately};
use super::control::Control;
use super::counter::{Counter, Feeds};
use super::desk::Desk;
use super::event::{Cause, EventKind};
use crate::base::clock::Reading;
use crate::model::error::ErrorKind;
use crate::rollout::guard::tested::Tested;
use crate::rollout::phase::Phase;
use crate::stats::counting::exposure::Exposure;
use crate::version::loaded::AnyVersion;

/// How long a circuit stays open before the version is tried again.
const OPEN: Duration = Duration::from_secs(30);

/// How long it is not told again that a live that is watched was spared: in an outage its breaker trips at every tick.
const TOLD_FOR: Duration = Duration::from_secs(600);

impl Attempt {
    /// How often it may fail beside a version that fails so often: as the guards of its failures allow, and never less.
    fn may_fail(&self, rate: f64) -> f64 {
        let of_failures = self.tests().filter(|test| test.design.tested == Tested::Failures);
        let allowed = of_failures.map(|test| test.design.allows(rate)).reduce(f64::min);
        // Where no guard is of failures those of labels judge them beside what they are of.
        let by_labels = self.tests().filter(|test| test.design.needs_labels());
        let beside = || by_labels.map(|test| test.design.of_failures().allows(rate)).reduce(f64::min);
        allowed.or_else(beside).unwrap_or(rate).max(rate)
    }

    /// The most that it may fail by itself, where the other one fails on at most so many. A failure counts where the other one answers: beside
    /// one that failed on nine of ten lately there is one such request in ten, or else it has recovered and the version fails on as many as it
    /// may beside that. So it is the most of the smaller of the two, as the one falls and the other grows.
    fn may_fail_alone(&self, rate: f64) -> f64 {
        if self.may_fail(rate) <= 1.0 - rate {
            return self.may_fail(rate);
        }
        let (mut answers, mut fails) = (0.0, rate);
        for _ in 0..16 {
            let middle = f64::midpoint(answers, fails);
            if self.may_fail(middle) <= 1.0 - middle { answers = middle } else { fails = middle }
        }
        1.0 - answers
    }
}

impl Control {
    /// Tells every breaker what live fails on.
    pub(crate) fn tell_breakers(&mut self) {
        let (of_live, of_before) = (self.live_fails(), self.before_fails());
        self.live_lately.tell(of_live);
        self.before_lately.tell(of_before);
        for counter in self.counters.iter().filter(|counter| counter.current) {
            if let Some(exposure) = &counter.exposure {
                self.tell_breaker(exposure, &counter.feeds);
            }
        }
    }

    /// Tells the breaker of a place what is known for whom it counts for.
    pub(crate) fn tell_breaker(&self, exposure: &Exposure, feeds: &Feeds) {
        let Some(attempt) = feeds.attempt.filter(|_| feeds.trips).and_then(|number| self.attempt(number))
        else {
            return;
        };
        // A live that is watched is held against the version before, which is asked in its place: what it fails on itself excuses nothing.
        let is_watched = attempt.state.phase == Phase::Baking;
        let (rate, arm, lately) = if is_watched {
            (self.before_fails(), self.before_watched(), self.before_lately)
        } else {
            (self.live_fails(), self.lifetime(self.live.id), self.live_lately)
        };
        // Until enough was seen in this life of the handle, what earlier ones have seen tells too.
        let is_new = arm.is_none_or(|arm| lately.is_new_to(arm));
        let rate = attempt.seen_before.live.rate().filter(|_| is_new).map_or(rate, |before| rate.max(before));
        let asked = self.arms.get(&attempt.candidate).map_or(0, |arm| arm.total().error_rate().whole);
        exposure.breaker_knows(attempt.may_fail_alone(rate), attempt.seen_before.asked.saturating_add(asked));
    }

    /// How often live fails: by now, or in the last few ticks where that is more.
    fn live_fails(&self) -> f64 {
        self.fails(self.lifetime(self.live.id), self.live_lately)
    }

    /// The same of the version before a live that is watched.
    fn before_fails(&self) -> f64 {
        self.fails(self.before_watched(), self.before_lately)
    }

    fn fails(&self, arm: Option<u32>, lately: LiveLately) -> f64 {
        let total = |arm| self.arms.get(&arm)?.total().error_rate().value();
        let usual = arm.and_then(|arm| lately.usual(arm).or_else(|| total(arm)));
        usual.unwrap_or(0.0).max(lately.rate())
    }

    fn watched(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.state.phase == Phase::Baking)
    }

    /// The figures of the version before a live that is watched.
    pub(crate) fn before_watched(&self) -> Option<u32> {
        self.lifetime(self.watched()?.previous?)
    }

    /// Takes off whatever has failed outright, opens the circuit of what failed together with live, and closes those that
    /// have been open for long enough.
    pub(crate) fn lower_tripped(&mut self, desk: Desk<'_>) {
        let failures = self.settings.exposure.trip_after;
        self.close_circuits(desk);
        let numbers = self.attempts.iter().filter(|attempt| attempt.circuit.open_until.is_none());
        let numbers: Vec<u32> =
            numbers.map(|attempt| attempt.number).filter(|number| self.has_tripped(*number)).collect();
        let (of_live, of_before) = (self.live_lately.turned_bad(), self.before_lately.turned_bad());
        let (mut spared, mut told) = (false, Vec::new());
        for number in numbers {
            let now = desk.now;
            let Some(attempt) = self.attempt_mut(number) else { continue };
            let (version, candidate) = (attempt.version, attempt.candidate);
            let baking = attempt.state.phase == Phase::Baking;
            let shared = if baking { of_before } else { of_live };
            // What another version fails on has nothing to do with a pipeline that does not fit its own model.
            let shared = shared && !self.is_misfit(version);
            if shared && baking {
                // It goes on answering: in its place too there is only one that fails. What was counted is no reason any more.
                let mostly = self.fails_most_on(candidate);
                let next = self.next_exposure;
                let Some(attempt) = self.attempt_mut(number) else { continue };
                let before = attempt.circuit.spared.filter(|at| now.since(*at) < TOLD_FOR);
                if before.is_none() {
                    told.push(EventKind::Spared { version, failures, mostly });
                }
                let spared_at = before.or(Some(now));
                attempt.circuit = Circuit { closed_since: next, spared: spared_at, ..Circuit::default() };
                spared = true;
                continue;
            }
            if shared {
                let Some(attempt) = self.attempt_mut(number) else { continue };
                let until = now.plus(OPEN);
                attempt.circuit.open_until = Some(until);
                self.publish(desk, vec![EventKind::CircuitOpened { version, until }]);
                continue;
            }
            let mostly = self.attempt(number).and_then(|attempt| self.fails_most_on(attempt.candidate));
            self.announcer.announce(now, self.epoch, EventKind::Tripped { version, failures, mostly });
            let _ = self.lower(number, Cause::Tripped { failures, mostly }, desk);
        }
        if spared {
            // With exposures that have counted nothing yet.
            self.publish(desk, told);
        }
        self.revert_misfit(desk);
    }

    /// Passes over what has failed outright here for a while, and has those tried again that were passed over for as long. For a process that
    /// takes nothing off by itself: what one has seen may be its own fault, and guards judge what all have counted.
    pub(crate) fn pass_over_tripped(&mut self, desk: Desk<'_>) {
        let (failures, until) = (self.settings.exposure.trip_after, desk.now.plus(OPEN));
        self.close_circuits(desk);
        let is_asked = |attempt: &&Attempt| {
            // Nobody answers in the place of a live that is watched.
            attempt.circuit.open_until.is_none() && attempt.state.phase != Phase::Baking
        };
        let closed = self.attempts.iter().filter(is_asked);
        let tripped: Vec<u32> =
            closed.map(|attempt| attempt.number).filter(|number| self.has_tripped(*number)).collect();
        for number in tripped {
            let Some(attempt) = self.attempt_mut(number) else { continue };
            attempt.circuit.open_until = Some(until);
            let (version, candidate) = (attempt.version, attempt.candidate);
            let mostly = self.fails_most_on(candidate);
            self.publish(desk, vec![EventKind::Tripped { version, failures, mostly }]);
        }
    }

    /// Takes live back where it has answered nobody, since its pipeline does not fit its own model: whoever promoted it by hand
    /// had nothing watch it. One request that fits shows that the fault may be the requests', so then a person decides.
    fn revert_misfit(&mut self, desk: Desk<'_>) {
        let failures = self.settings.exposure.trip_after;
        let Some(before) = self.before_a_misfit() else { return };
        let arm = self.lifetime(self.live.id).and_then(|arm| self.arms.get(&arm));
        let failed = arm.map_or(0, |arm| arm.total().errors(ErrorKind::Pipeline));
        if failed < u64::from(failures) {
            return;
        }
        if before.is_cold() {
            // It is woken first, beside this: see `want_tiers`. Where it cannot be, an older one is to be.
            if before.is_blocked() || self.is_degraded(before.id) {
                let before = Arc::clone(before);
                self.lose(
                    &before,
                    String::from("live is to go back to it, and it cannot be woken"),
                    desk.now,
                );
            }
            return;
        }
        let (version, mostly) = (self.live.id, Some(ErrorKind::Pipeline));
        self.announcer.announce(desk.now, self.epoch, EventKind::Tripped { version, failures, mostly });
        let _ = self.revert_live(Cause::Tripped { failures, mostly }, desk);
    }

    /// The kind of failure that an arm has most of.
    fn fails_most_on(&self, arm: u32) -> Option<ErrorKind> {
        let total = self.arms.get(&arm)?.total();
        let counts = ErrorKind::ALL.into_iter().map(|kind| (total.errors(kind), kind));
        counts.filter(|(count, _)| *count > 0).max_by_key(|(count, _)| *count).map(|(_, kind)| kind)
    }

    /// The version before a live that has failed on whatever it was asked, since its pipeline does not fit its own model.
    pub(crate) fn before_a_misfit(&self) -> Option<&Arc<dyn AnyVersion>> {
        let arm = self.lifetime(self.live.id).and_then(|arm| self.arms.get(&arm))?;
        let (failed, asked) = (arm.total().errors(ErrorKind::Pipeline), arm.total().error_rate().whole);
        let is_misfit = self.settings.exposure.trip_after > 0 && failed > 0 && failed >= asked;
        self.before_live().filter(|_| is_misfit && !self.has_answered_before(self.live.id))
    }

    /// Takes off whatever has calls that do not come back. Without waiting for their end, which may never come. `lasted` says how long what
    /// began at a moment has lasted.
    pub(crate) fn lower_overdue(&mut self, desk: Desk<'_>, lasted: impl Fn(Reading) -> Duration) {
        let (after, now) = (self.settings.overdue_after, desk.now);
        // The time of a step begins with its first request, whether or not that ends.
        for attempt in self.attempts.iter_mut().filter(|attempt| attempt.state.first_request.is_none()) {
            attempt.state.first_request = attempt.in_flight().and_then(|(_, oldest)| oldest).map(|_| now);
        }
        let overdue = |attempt: &Attempt| {
            let exposed = matches!(attempt.state.phase, Phase::Shadow | Phase::Canary);
            let (calls, oldest) = attempt.in_flight().filter(|_| exposed)?;
            let oldest = lasted(oldest?);
            (oldest > after).then_some((attempt.number, attempt.version, calls, oldest))
        };
        let overdue: Vec<_> = self.attempts.iter().filter_map(overdue).collect();
        for (number, version, calls, oldest) in overdue {
            self.announcer.announce(now, self.epoch, EventKind::Overdue { version, calls, oldest });
            let _ = self.lower(number, Cause::Overdue { calls, oldest }, desk);
        }
    }

    fn close_circuits(&mut self, desk: Desk<'_>) {
        let next = self.next_exposure;
        let due = |attempt: &&mut Attempt| attempt.circuit.open_until.is_some_and(|until| desk.now >= until);
        let closed = self.attempts.iter_mut().filter(due).map(|attempt| {
            attempt.circuit = Circuit { closed_since: next, ..Circuit::default() };
            EventKind::CircuitClosed { version: attempt.version }
        });
        let closed: Vec<EventKind> = closed.collect();
        if !closed.is_empty() {
            self.publish(desk, closed);
        }
    }

    /// Whether an attempt has failed on many requests in a row, wherever it was exposed.
    pub(crate) fn has_tripped(&self, number: u32) -> bool {
        let Some(Circuit { tripped, closed_since, .. }) = self.attempt(number).map(|attempt| attempt.circuit)
        else {
            return false;
        };
        let trips = |counter: &Counter| {
            let exposure = counter.exposure.as_ref();
            counter.feeds.trips
                && counter.number >= closed_since
                && exposure.is_some_and(|exposure| exposure.is_tripped())
        };
        tripped || self.counters.iter().any(|counter| counter.feeds.attempt == Some(number) && trips(counter))
    }
}
