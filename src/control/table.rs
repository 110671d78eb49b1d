//! The routing table that the present state asks for, and what each place in it counts for.

use std::sync::Arc;

use super::attempt::Attempt;
use super::control::Control;
use super::counter::{Counter, Feeds};
use super::desk::Desk;
use crate::base::share::Share;
use crate::base::sync::InFlight;
use crate::feedback::join::Joins;
use crate::request::buckets::{As, Salt};
use crate::request::table::{Arm, Before, Exposed, Routing, Shadowing, WITHHELD};
use crate::rollout::phase::Phase;
use crate::stats::counting::exposure::{Exposure, Watched};
use crate::stats::counting::keys::Keys;
use crate::stats::evidence::ledger::{Side, Split};
use crate::stats::figures::latency_limit::LatencyLimit;
use crate::stats::sequential::Odds;
use crate::version::id::VersionId;
use crate::version::loaded::AnyVersion;

/// Keeps the hashes of keys whose pairs count apart from those of keys that count in an arm.
pub(super) const PAIRS: u64 = 0x9e37_79b9_7f4a_7c15;

/// Exposures that are kept for reuse, so that a switch allocates none.
pub(crate) const SPARES_MAX: usize = 8;

/// The share of a canary's requests that live shadows where no shadow of it came first: as in
/// [`Plan::ramp`](crate::rollout::plan::Plan::ramp).
const PAIRS_BY_DEFAULT: u16 = 1_000;

impl Control {
    /// Builds the table that the present state asks for.
    pub(crate) fn table(&mut self, joins: &Joins) -> Routing<dyn AnyVersion> {
        self.epoch += 1;
        for counter in &mut self.counters {
            counter.current = false;
        }
        let baking = self.attempts.iter().position(|attempt| attempt.state.phase == Phase::Baking);
        // One whose circuit is open is asked nothing, and what live does meanwhile is not its control.
        let on_trial = |attempt: &Attempt| {
            matches!(attempt.state.phase, Phase::Shadow | Phase::Canary)
                && attempt.circuit.open_until.is_none()
        };
        let trials: Vec<usize> = (0..self.attempts.len())
            .filter(|place| self.attempts.get(*place).is_some_and(on_trial))
            .collect();

        let live_feeds = self.live_feeds(baking, &trials);
        let live_exposure = self.expose(self.buckets.live(), live_feeds.clone(), joins);
        let mut arms = vec![Arm { version: Arc::clone(&self.live), exposure: live_exposure, stands_for: 0 }];
        let mut shadowing = Vec::new();
        let mut arm_of: [Option<[u8; 3]>; 256] = [None; 256];
        let mut exposed = Vec::new();
        for place in trials {
            let Some(attempt) = self.attempts.get(place) else { continue };
            let (slot, canary) = (attempt.slot, attempt.state.weight != Share::NONE);
            let number = attempt.number;
            let by = self.trial_arm(place, &mut arms, &mut shadowing, joins);
            let unmatched = if canary { self.unmatched_arm(place, by, &mut arms, joins) } else { None };
            let control = if canary { self.control_arm(place, &live_feeds, &mut arms, joins) } else { None };
            if let Some(arm_of) = arm_of.get_mut(usize::from(slot)) {
                *arm_of = Some([by, control.unwrap_or(0), unmatched.unwrap_or(by)]);
            }
            if canary {
                exposed.push((number, Exposed { arm: by, control, without: None, alone: None }));
            }
        }
        if exposed.len() > 1 {
            for (number, exposed) in &mut exposed {
                let mut feeds = live_feeds.clone();
                feeds.evidence.retain(|feed| feed.attempt != *number);
                let exposure = self.expose(self.buckets.live(), feeds, joins);
                exposed.without = Some(Arm { version: Arc::clone(&self.live), exposure, stands_for: 0 });
            }
        }
        if exposed.len() > 2 {
            for (number, exposed) in &mut exposed {
                exposed.alone = arms
                    .get(usize::from(exposed.arm))
                    .map(|arm| Arm { exposure: self.expose_alone(*number, arm, joins), ..arm.clone() });
            }
        }
        let exposed: Vec<_> = exposed.into_iter().map(|(_, exposed)| exposed).collect();
        let withheld = (!exposed.is_empty()).then(|| {
            // Figures like live's others, and evidence of nothing.
            let (arms, answered) = (live_feeds.arms.clone(), live_feeds.answered);
            let feeds = Feeds { arms, answered, ..Feeds::default() };
            let exposure = self.expose(Share::NONE, feeds, joins);
            Arm { version: Arc::clone(&self.live), exposure, stands_for: 0 }
        });
        let left = if !exposed.is_empty() { self.calls_left(&arms) } else { Vec::new() };
        let on_trial = arms.iter().filter(|arm| arm.on_trial());
        self.calls_on_trial = on_trial.map(|arm| Arc::clone(arm.version.calls())).collect();
        let previous = baking.and_then(|place| self.previous_arm(place, &mut arms, &mut shadowing, joins));
        let before = self.before_arm(previous.as_ref(), joins);
        // A candidate that waits since a crash, or until its circuit closes, keeps its buckets, and live answers them. They are no part of
        // what the others are compared with: their odds do not know them.
        let nobody = if withheld.is_some() { [WITHHELD, 0, WITHHELD] } else { [0; 3] };
        let owner = self.buckets.table(|slot, what| {
            let [candidate, control, unmatched] =
                arm_of.get(usize::from(slot)).copied().flatten().unwrap_or(nobody);
            match what {
                As::Candidate => candidate,
                As::Control => control,
                As::Unmatched => unmatched,
            }
        });
        let lease = Arc::clone(&self.lease);
        Routing {
            arms,
            owner,
            salt: Salt::of(&self.salt, self.settings.split),
            shadowing,
            previous,
            watched: baking.and_then(|place| self.attempts.get(place)).map(|attempt| attempt.number),
            withheld,
            before,
            lease,
            several: exposed.len() > 1 || !left.is_empty(),
            exposed,
            left,
        }
    }

    /// The calls under way of versions that are not on trial in these arms, and those of all that are in the table before: while this one is made
    /// others may begin.
    fn calls_left(&self, arms: &[Arm<dyn AnyVersion>]) -> Vec<Arc<InFlight>> {
        let is_on_trial = |version: &Arc<dyn AnyVersion>| {
            arms.iter().any(|arm| arm.on_trial() && Arc::ptr_eq(&arm.version, version))
        };
        let known = std::iter::once(&self.live).chain(self.on_trial());
        let known = known.chain(self.retained.iter().map(|kept| &kept.version)).chain(self.retired.iter());
        let mut left: Vec<_> = known
            .filter(|version| !is_on_trial(version))
            .filter_map(|version| version.calls_left())
            .collect();
        for calls in &self.calls_on_trial {
            let is_it = |other: &Arc<InFlight>| Arc::ptr_eq(other, calls);
            let is_tried = arms.iter().any(|arm| arm.on_trial() && is_it(arm.version.calls()));
            if !is_tried && !left.iter().any(is_it) {
                left.push(Arc::clone(calls));
            }
        }
        left
    }

    /// What live's requests count for: its lifetime, every comparison that it is in, and the watch over it.
    fn live_feeds(&self, baking: Option<usize>, trials: &[usize]) -> Feeds {
        let mut feeds = Feeds { trips: true, ..Feeds::default() };
        feeds.allotted = self.allocating.as_ref().and_then(|allocating| allocating.allotted(None));
        feeds.arms.extend(self.lifetime(self.live.id));
        if let Some(attempt) = baking.and_then(|place| self.attempts.get(place)) {
            feeds.arms.push(attempt.candidate);
            feeds.attempt = Some(attempt.number);
            let slower_than = attempt.slower_than();
            feeds.add(
                attempt.number,
                attempt.ledger.era(),
                Side::Alone,
                slower_than.iter().map(|(_, own)| *own),
            );
            // Beside a canary a user who comes often must not count often; a shadow takes no user from anybody.
            feeds.any = !self.attempts.iter().any(Attempt::answers_callers);
            feeds.spares_shared = true;
            feeds.answered = (self.settings.answered_max > 0).then_some(attempt.number);
        }
        for attempt in trials.iter().filter_map(|place| self.attempts.get(*place)) {
            feeds.arms.push(attempt.control);
            if let Some(split) = self.split(attempt) {
                let slower_than = attempt.slower_than();
                feeds.add(
                    attempt.number,
                    attempt.ledger.era(),
                    Side::Live(split),
                    slower_than.iter().map(|(live, _)| *live),
                );
            }
        }
        feeds
    }

    /// How traffic is split between a canary and its control.
    pub(crate) fn split(&self, attempt: &Attempt) -> Option<Split> {
        let requests = self.split_of_requests(attempt)?;
        // Keys count in pairs of buckets.
        let control = self.buckets.control(attempt.slot);
        let keys = Odds::new(control, control);
        Some(Split { requests, keys: keys.filter(|_| attempt.keys.is_some()) })
    }

    /// The same of requests without a key. What is set aside of the keys takes a look at every bucket, which would be a tenth of a
    /// tick with many candidates.
    pub(crate) fn split_of_requests(&self, attempt: &Attempt) -> Option<Odds> {
        Odds::new(attempt.state.weight, self.buckets.live())
    }

    /// What the requests count for that a candidate answers.
    fn candidates_feeds(&self, attempt: &Attempt, version: VersionId, split: Option<Split>) -> Feeds {
        let number = attempt.number;
        let figures = self.lifetime(version).into_iter().chain([attempt.candidate]).collect();
        let mut feeds = Feeds { arms: figures, attempt: Some(number), trips: true, ..Feeds::default() };
        feeds.allotted = self.allocating.as_ref().and_then(|allocating| allocating.allotted(Some(number)));
        if attempt.state.weight == Share::NONE {
            return feeds;
        }
        feeds.answered = (self.settings.answered_max > 0).then_some(number);
        // Where live has nothing left nobody is its control, and live as its shadow is all that it is compared with.
        let side = split.map_or(Side::Alone, Side::Candidate);
        let slower_than = attempt.slower_than();
        feeds.add(number, attempt.ledger.era(), side, slower_than.iter().map(|(_, own)| *own));
        feeds.keys = split.and_then(|split| split.keys).map(|_| number);
        feeds.any = split.is_none();
        feeds
    }

    /// A candidate's arm, and what it shadows. Returns its place.
    fn trial_arm(
        &mut self,
        place: usize,
        arms: &mut Vec<Arm<dyn AnyVersion>>,
        shadowing: &mut Vec<Shadowing>,
        joins: &Joins,
    ) -> u8 {
        let Some(attempt) = self.attempts.get(place) else { return 0 };
        let Some(version) = attempt.loaded.clone() else { return 0 };
        let (number, era, state) = (attempt.number, attempt.ledger.era(), attempt.state.clone());
        let split = self.split(attempt);
        let slower_than: Arc<[(LatencyLimit, LatencyLimit)]> = attempt.slower_than().into();
        let keys = attempt.pair_keys.clone();
        let feeds = self.candidates_feeds(attempt, version.id, split);
        let figures = feeds.arms.clone();
        let own = Feeds { arms: figures, attempt: Some(number), trips: true, ..Feeds::default() };
        let slow = || slower_than.iter().map(|(_, own)| *own);
        let by = arms.len() as u8;
        let exposure = self.expose(state.weight, feeds, joins);
        arms.push(Arm { version, exposure, stands_for: by });
        if !self.settings.shadowing {
            return by;
        }
        if state.sample != Share::NONE {
            let mut feeds = own;
            feeds.add(number, era, Side::Alone, slow());
            let exposure = self.expose(state.sample, feeds, joins);
            let slower_than = Arc::clone(&slower_than);
            shadowing.push(Shadowing {
                of: 0,
                by,
                reversed: false,
                sample: state.sample,
                exposure,
                slower_than,
                keys: keys.clone(),
            });
        }
        if state.phase == Phase::Canary && self.settings.canary_pairs {
            let sample = state.sample.max(Share::from_buckets(PAIRS_BY_DEFAULT));
            let feeds = Feeds { attempt: Some(number), ..Feeds::default() };
            let exposure = self.expose(sample, feeds, joins);
            let reversed = true;
            shadowing.push(Shadowing { of: by, by: 0, reversed, sample, exposure, slower_than, keys });
        }
        by
    }

    /// A candidate's arm in buckets without a match: what comes there under a key is no unit. Returns its place, where there are any.
    fn unmatched_arm(
        &mut self,
        place: usize,
        by: u8,
        arms: &mut Vec<Arm<dyn AnyVersion>>,
        joins: &Joins,
    ) -> Option<u8> {
        let attempt = self.attempts.get(place)?;
        let split = self.split(attempt).filter(|_| attempt.keys.is_some())?;
        if !self.buckets.has_unmatched(attempt.slot) {
            return None;
        }
        let arm = arms.get(usize::from(by))?.clone();
        let mut feeds = self.candidates_feeds(attempt, arm.version.id, Some(split));
        feeds.keys = None;
        let exposure = self.expose(arm.exposure.share, feeds, joins);
        arms.push(Arm { exposure, ..arm });
        Some(arms.len() as u8 - 1)
    }

    /// The part of live that was set aside as the control of a canary, where keys count. Returns its place.
    fn control_arm(
        &mut self,
        place: usize,
        live_feeds: &Feeds,
        arms: &mut Vec<Arm<dyn AnyVersion>>,
        joins: &Joins,
    ) -> Option<u8> {
        let attempt = self.attempts.get(place)?;
        let split = self.split(attempt).filter(|split| split.keys.is_some())?;
        let (number, era, slot) = (attempt.number, attempt.ledger.era(), attempt.slot);
        let slower_than = attempt.slower_than();
        let figures = (live_feeds.arms.clone(), live_feeds.attempt);
        let mut feeds = Feeds { arms: figures.0, attempt: figures.1, trips: true, ..Feeds::default() };
        feeds.add(number, era, Side::Live(split), slower_than.iter().map(|(live, _)| *live));
        feeds.keys = Some(number);
        (feeds.allotted, feeds.answered) = (live_feeds.allotted, live_feeds.answered);
        let exposure = self.expose(self.buckets.control(slot), feeds, joins);
        arms.push(Arm { version: Arc::clone(&self.live), exposure, stands_for: 0 });
        Some(arms.len() as u8 - 1)
    }

    /// A place for what a candidate answers that is compared with nothing. It counts in its figures, and in whether it fails outright.
    fn expose_alone(&mut self, number: u32, arm: &Arm<dyn AnyVersion>, joins: &Joins) -> Arc<Exposure> {
        let candidate = self.attempt(number).map(|attempt| attempt.candidate);
        let figures = self.lifetime(arm.version.id).into_iter().chain(candidate).collect();
        let answered = (self.settings.answered_max > 0).then_some(number);
        let feeds = Feeds { arms: figures, attempt: Some(number), trips: true, answered, ..Feeds::default() };
        self.expose(arm.exposure.share, feeds, joins)
    }

    /// The version before a live that is watched: it answers what live fails on, and may run as its shadow.
    fn previous_arm(
        &mut self,
        baking: usize,
        arms: &mut Vec<Arm<dyn AnyVersion>>,
        shadowing: &mut Vec<Shadowing>,
        joins: &Joins,
    ) -> Option<Arm<dyn AnyVersion>> {
        let attempt = self.attempts.get(baking)?;
        let (number, control, previous) = (attempt.number, attempt.control, attempt.previous?);
        let (sample, slower_than) = (attempt.state.sample, attempt.slower_than());
        let keys = attempt.pair_keys.clone();
        let version = Arc::clone(&self.retained.iter().find(|kept| kept.version.id == previous)?.version);
        let lifetime: Vec<u32> = self.lifetime(previous).into_iter().collect();
        let own = Feeds { arms: lifetime.clone(), ..Feeds::default() };
        let exposure = self.expose(Share::NONE, own, joins);
        let arm = Arm { version, exposure, stands_for: 0 };
        if self.settings.shadowing && sample != Share::NONE {
            let by = arms.len() as u8;
            let watched = lifetime.into_iter().chain([control]).collect();
            let feeds = Feeds { arms: watched, attempt: Some(number), ..Feeds::default() };
            let exposure = self.expose(sample, feeds, joins);
            arms.push(Arm { stands_for: by, ..arm.clone() });
            let (slower_than, reversed) = (slower_than.into(), true);
            shadowing.push(Shadowing { of: 0, by, reversed, sample, exposure, slower_than, keys });
        }
        Some(arm)
    }

    /// The version that live would be taken back to, with a place for what it answers from then on.
    fn before_arm(
        &mut self,
        previous: Option<&Arm<dyn AnyVersion>>,
        joins: &Joins,
    ) -> Option<Before<dyn AnyVersion>> {
        let version = self.ready_to_go_back().cloned();
        self.ready_before = version.as_ref().map(|version| version.id);
        let version = version?;
        let is_next = !self.is_trying_elsewhere() && !self.attempts.iter().any(Attempt::is_on_trial);
        let arm = match previous.filter(|arm| arm.version.id == version.id) {
            Some(arm) => arm.clone(),
            None => {
                let feeds =
                    Feeds { arms: self.lifetime(version.id).into_iter().collect(), ..Feeds::default() };
                let exposure = self.expose(Share::NONE, feeds, joins);
                Arm { version, exposure, stands_for: 0 }
            }
        };
        Some(Before { arm, is_next })
    }

    /// The version that live is taken back to before the control lock is had; nothing where it would have to be woken, or where the fleet has
    /// another live than answers here, and goes back to another one.
    fn ready_to_go_back(&self) -> Option<&Arc<dyn AnyVersion>> {
        #[cfg(feature = "fleet")]
        if self.seat.as_ref().is_some_and(|seat| seat.stands_in) {
            return None;
        }
        self.before_live().filter(|version| !version.is_cold())
    }

    /// Whether a candidate is on trial in the fleet: it need not be exposed here.
    fn is_trying_elsewhere(&self) -> bool {
        #[cfg(feature = "fleet")]
        return self.seat.as_ref().is_some_and(|seat| seat.is_trying);
        #[cfg(not(feature = "fleet"))]
        false
    }

    /// Stores the table again where it has not the version ready that live would be taken back to now: that was let go of, has
    /// gone cold, or has been woken.
    pub(crate) fn ready_before(&mut self, desk: Desk<'_>) {
        let ready = self.ready_to_go_back().map(|version| version.id);
        if ready != self.ready_before {
            self.publish(desk, Vec::new());
        }
    }

    /// A place to count requests: one that has counted for the same until now, or since the last tick; or else a new
    /// one, recycled where there is one in stock.
    ///
    /// Going to and fro between two versions so makes two places, not one for each time. That is what a swap in less
    /// than 2 us rests on (one that makes a place takes 30), and it keeps outcomes welcome: only so many places are
    /// remembered.
    fn expose(&mut self, share: Share, feeds: Feeds, joins: &Joins) -> Arc<Exposure> {
        // A table that changes for another's sake does not give a version that fails outright a new chance.
        let tripped = feeds.trips && feeds.attempt.is_some_and(|attempt| self.has_tripped(attempt));
        // The last ones first: before them lie those of earlier lives, which are never free.
        let mut free = self.counters.iter_mut().rev().filter(|_| !tripped);
        if let Some(exposure) = free.find_map(|counter| counter.take_up(share, &feeds)) {
            self.tell_breaker(&exposure, &feeds);
            return exposure;
        }
        let number = self.next_exposure;
        self.next_exposure += 1;
        let watched = Watched {
            slower_than: feeds.slower_than.as_slice().into(),
            keys: feeds.keys.and_then(|number| self.attempt(number)?.keys.clone()),
            any: feeds.any,
            answered: feeds.answered.is_some(),
            spares_shared: feeds.spares_shared,
        };
        let exposure = match self.spares.pop() {
            Some(spare) => spare.renumbered(number, share, self.settings.seed, watched),
            None => Exposure::new(number, share, self.settings.seed, self.settings.exposure, watched),
        };
        if tripped {
            exposure.trip();
        }
        // Before its first request: until the next tick it would take live for one that never fails.
        self.tell_breaker(&exposure, &feeds);
        let exposure = Arc::new(exposure);
        let intake = Arc::clone(&exposure.intake);
        joins.register(number, Arc::clone(&intake));
        self.counters.push(Counter {
            number,
            exposure: Some(Arc::clone(&exposure)),
            intake,
            feeds,
            current: true,
            retired: None,
            bits_seen: 0,
        });
        exposure
    }

    pub(crate) fn restock(&mut self) {
        while self.spares.len() < SPARES_MAX / 2 {
            let (seed, options) = (self.settings.seed, self.settings.exposure);
            self.spares.push(Exposure::new(0, Share::NONE, seed, options, Watched::default()));
        }
    }

    /// Gives every canary a place for the keys it sees, once any key was seen; whether any was given. In a fleet a key that comes to several
    /// processes would count in each, so none counts there.
    pub(crate) fn welcome_keys(&mut self) -> bool {
        if !self.keyed || self.is_seated() {
            return false;
        }
        let (seed, shadowing) = (self.settings.seed, self.settings.shadowing);
        let mut given = false;
        for attempt in &mut self.attempts {
            let fresh = |salt: u64| Some(Arc::new(Keys::new(seed ^ u64::from(attempt.number) ^ salt)));
            let (canary, paired) = match attempt.state.phase {
                Phase::Canary => (attempt.state.weight != Share::NONE, shadowing),
                Phase::Shadow | Phase::Baking => (false, shadowing),
                _ => (false, false),
            };
            if canary && attempt.keys.is_none() {
                (attempt.keys, given) = (fresh(0), true);
            }
            if paired && attempt.pair_keys.is_none() {
                (attempt.pair_keys, given) = (fresh(PAIRS), true);
            }
        }
        given
    }
}
