//! The control side as it is written down: all that a start needs to go on.
//!
//! Two parts, since they change at different times. [`SavedControl`] changes with every decision and is small.
//! [`SavedEvidence`] changes with every request and is written as differences where it is large. Figures are in neither: a
//! window over the last minutes says nothing after a start.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, GuardTest, Held, Said, Watch};
use super::control::Control;
use super::counter::{Counter, EvidenceFeed};
use super::probe::Probe;
use super::settings::{Quarantine, Quarantined, Unavailable};
use crate::base::clock::{Shift, Timestamp};
use crate::base::ordered::OrderedMap;
use crate::base::packed::Packed;
use crate::base::share::Share;
use crate::feedback::join::Joins;
use crate::feedback::saved::SavedJoins;
use crate::model::error::ErrorKind;
use crate::model::identity::Identity;
use crate::rollout::budget::{ErrorBudgetStatus, Tries};
use crate::rollout::decision::Decision;
#[cfg(feature = "forecast")]
use crate::rollout::forecast::traffic::Traffic;
use crate::rollout::guard::Rule;
use crate::rollout::guard::design::{Design, Setting, TruthKind};
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::phase::Phase;
use crate::rollout::plan::{Bake, Plan};
use crate::rollout::transition::State;
use crate::stats::Metric;
use crate::stats::counting::keys::Keys;
use crate::stats::evidence::ledger::SavedLedger;
use crate::stats::figures::rolling::Windows;
use crate::stats::sequential::{DetectorState, EValue, Events, RateDetector};
use crate::task::kpi::Kpi;
use crate::task::task::TaskKind;
use crate::version::id::VersionId;
use crate::version::loaded::Known;

/// The decisions, and the rules by which they go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedControl {
    /// Of the handle.
    pub(crate) name: String,
    pub(crate) at: Timestamp,
    /// When it was last looked at what was published; nothing where nobody follows a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) followed: Option<Timestamp>,
    /// The handle was closed: whatever was exposed, it was not what ended the process.
    pub(crate) ended: bool,
    /// A candidate that is about to be exposed more than this says. Written before it is.
    pub(crate) raising: Vec<u32>,
    /// The life of the handle that wrote this.
    pub(crate) process: u64,
    /// Lives of the handle so far.
    pub(crate) lives: u64,
    pub(crate) epoch: u64,
    pub(crate) live: SavedVersion,
    pub(crate) live_since: Timestamp,
    /// The attempt that made live what it is, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) live_by: Option<u32>,
    pub(crate) retained: Vec<SavedRetained>,
    pub(crate) attempts: Vec<SavedAttempt>,
    /// The versions that have answered, of those that are live, on trial or retained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) answered: Vec<SavedVersion>,
    /// The attempts among which traffic is divided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) allocated: Vec<u32>,
    pub(crate) frozen: Option<String>,
    pub(crate) quarantine: Vec<(Identity, Quarantine)>,
    pub(crate) tries: Tries,
    /// How many candidates' trials have overlapped since one began alone.
    #[serde(default)]
    pub(crate) overlapping: u32,
    /// How often the process ended without a word while the identity was exposed.
    pub(crate) crashes: OrderedMap<Identity, u32>,
    pub(crate) decided: u64,
    pub(crate) keyed: bool,
    pub(crate) next_attempt: u32,
    pub(crate) next_event: u64,
    /// The handle's knowledge of the task, for whoever judges by other guards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) setting: Option<SavedSetting>,
    /// Traffic as live has seen it in this life of the handle.
    #[cfg(feature = "forecast")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traffic: Option<Traffic>,
    /// The print of the key that seals ids: it tells that key from another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<u64>,
    /// Decide who is on a canary.
    pub(crate) salt: String,
    pub(crate) seed: u64,
    /// Who owns each bucket, as base64; nothing where live owns all.
    pub(crate) owners: Option<String>,
}

/// The facts about a handle that must be known before it can be said which test a rule needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedSetting {
    pub(crate) kind: TaskKind,
    pub(crate) kpis: Vec<Kpi>,
    pub(crate) truth: TruthKind,
    pub(crate) pairs: bool,
    pub(crate) canary_pairs: bool,
    pub(crate) compares: bool,
    pub(crate) matures: bool,
    pub(crate) segments: Option<usize>,
}

impl SavedSetting {
    pub(crate) fn of(setting: &Setting<'_>) -> Self {
        let Setting { kind, kpis, truth, pairs, canary_pairs, compares, matures, segments } = *setting;
        Self { kind, kpis: kpis.to_vec(), truth, pairs, canary_pairs, compares, matures, segments }
    }

    /// Whether what was counted under this is counted in another way now: by another task, with labels as they come or once they are complete,
    /// or with business figures that have other places or bounds. Those that were added after all others change nothing.
    pub(crate) fn counts_otherwise(&self, now: &Setting<'_>) -> bool {
        let is_alike = (self.kind, self.truth, self.matures) == (now.kind, now.truth, now.matures);
        !is_alike || !now.kpis.starts_with(&self.kpis)
    }

    /// The place at which a business figure is declared now; nothing where it is not.
    pub(crate) fn place_now(&self, place: usize, now: &Setting<'_>) -> Option<usize> {
        let before = self.kpis.get(place)?;
        now.kpis.iter().position(|kpi| kpi.name() == before.name())
    }

    pub(crate) fn setting(&self) -> Setting<'_> {
        let Self { kind, kpis, truth, pairs, canary_pairs, compares, matures, segments } = self;
        Setting {
            kind: *kind,
            kpis,
            truth: *truth,
            pairs: *pairs,
            canary_pairs: *canary_pairs,
            compares: *compares,
            matures: *matures,
            segments: *segments,
        }
    }
}

/// A version by name, and what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedVersion {
    pub(crate) version: VersionId,
    pub(crate) identity: Identity,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedRetained {
    #[serde(flatten)]
    pub(crate) version: SavedVersion,
    pub(crate) since: Timestamp,
    /// It was taken back.
    #[serde(default)]
    pub(crate) taken_back: bool,
    /// Why it could not be had: for whoever looks on, a start asks for it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unavailable: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedAttempt {
    pub(crate) number: u32,
    pub(crate) slot: u8,
    #[serde(flatten)]
    pub(crate) version: SavedVersion,
    pub(crate) guards: Vec<SavedGuard>,
    /// Guards of this crate's that are no rules, as sentences: a build may lack what they need.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stated: Vec<String>,
    /// The names of guards that only the host can add again: its own, and those that could not be had any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hosts: Vec<String>,
    /// Those of them that nobody has added again in the life that wrote this, by which the rollout is held.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) missing: Vec<String>,
    /// Windows of drift that were looked at.
    #[serde(default)]
    pub(crate) looks: u32,
    pub(crate) plan: Option<Plan>,
    /// A plan is to run it that nobody has given it yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) for_plan: bool,
    pub(crate) bake: Bake,
    pub(crate) state: State,
    /// The end of the wait for a cycle that was told of last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wait_told: Option<Timestamp>,
    pub(crate) held: Option<Held>,
    pub(crate) previous: Option<VersionId>,
    pub(crate) tripped: bool,
    #[serde(default)]
    pub(crate) looked: bool,
    pub(crate) probes: Vec<Probe>,
    pub(crate) error_budget: Option<ErrorBudgetStatus>,
    pub(crate) promised: Vec<(Metric, f64)>,
    /// What live's failures were before the evidence began.
    #[serde(default)]
    pub(crate) live_before: Events,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedGuard {
    pub(crate) rule: Rule,
    pub(crate) centre: f64,
    pub(crate) peak: EValue,
    pub(crate) watch: Option<(DetectorState, Events)>,
}

/// The evidence that was seen.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct SavedEvidence {
    pub(crate) attempts: Vec<SavedAttemptEvidence>,
    pub(crate) exposures: Vec<SavedExposure>,
    pub(crate) joins: SavedJoins,
    /// Records of decisions; they are in the journal one by one.
    #[serde(skip)]
    pub(crate) decisions: Vec<Decision>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedAttemptEvidence {
    pub(crate) number: u32,
    pub(crate) ledger: SavedLedger,
    /// The keys that were seen, as far as they were kept.
    pub(crate) keys: Option<Packed>,
    /// The same of those whose pairs count.
    #[serde(default)]
    pub(crate) pair_keys: Option<Packed>,
    /// Units of the candidate and outcomes of them since the step began.
    pub(crate) progress: (u64, u64),
    /// The verdicts of its guards at the last tick: for whoever looks on.
    #[serde(default)]
    pub(crate) guards: Vec<Evidence>,
}

/// Where requests were counted, of which outcomes may still come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedExposure {
    pub(crate) number: u32,
    /// The life of the handle that made its predictions, and its number there.
    pub(crate) origin: (u64, u32),
    pub(crate) retired: Option<Timestamp>,
    pub(crate) arms: Vec<Arm>,
    pub(crate) attempt: Option<u32>,
    pub(crate) evidence: Vec<EvidenceFeed>,
}

/// An arm, by what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Arm {
    Lifetime(VersionId),
    Candidate(u32),
    Control(u32),
}

/// Pages of bits in one record: some 700 bytes each.
const PAGES_TOGETHER: usize = 16_384;

/// Rows that wait in one record: up to a kilobyte each, and twice as much of a pair.
const ROWS_TOGETHER: usize = 16_384;

impl SavedControl {
    /// Whether a candidate, or a new live that is still watched, was exposed when the process ended: the numbers of their
    /// attempts.
    pub(crate) fn exposed(&self) -> Vec<u32> {
        let exposed = |attempt: &&SavedAttempt| {
            let is_asked = match attempt.state.phase {
                Phase::Shadow | Phase::Canary => {
                    attempt.state.weight != Share::NONE || attempt.state.sample != Share::NONE
                }
                phase => phase == Phase::Baking,
            };
            is_asked || self.raising.contains(&attempt.number)
        };
        self.attempts.iter().filter(exposed).map(|attempt| attempt.number).collect()
    }
}

impl SavedControl {
    /// The same on another time line.
    #[cfg(feature = "fleet")]
    pub(crate) fn on_time_line(self, shift: Shift) -> Self {
        self.moved(shift)
    }

    /// Whether a rollback that names no version takes a candidate off: see [`Attempt::is_on_trial`].
    #[cfg(feature = "fleet")]
    pub(crate) fn is_trying(&self) -> bool {
        let on_trial = |attempt: &SavedAttempt| {
            matches!(attempt.state.phase, Phase::Shadow | Phase::Canary) || attempt.held.is_some()
        };
        self.attempts.iter().any(on_trial)
    }

    /// What no plan tries again, as it is shown.
    pub(crate) fn quarantined(&self) -> Vec<Quarantined> {
        self.quarantine.iter().map(|(identity, entry)| Quarantined::of((identity, entry))).collect()
    }

    /// The same with its moments on another time line. What is in the evidence is told where that is restored.
    pub(crate) fn moved(mut self, shift: Shift) -> Self {
        let moments = [&mut self.at, &mut self.live_since].into_iter();
        let moments = moments.chain(self.retained.iter_mut().map(|kept| &mut kept.since));
        let of_attempts = self.attempts.iter_mut().flat_map(|attempt| {
            let State { entered, first_request, .. } = &mut attempt.state;
            std::iter::once(entered).chain(first_request).chain(&mut attempt.wait_told)
        });
        let quarantine = self.quarantine.iter_mut();
        let of_quarantine =
            quarantine.flat_map(|(_, entry)| std::iter::once(&mut entry.since).chain(&mut entry.until));
        moments.chain(of_attempts).chain(of_quarantine).for_each(|at| *at = shift.of(*at));
        self
    }
}

impl SavedEvidence {
    /// The same in parts that can be written one by one, to be merged in this order: what tells repeats, and what waits, may each
    /// take more than a record holds.
    pub(crate) fn in_parts(mut self) -> Vec<SavedEvidence> {
        self.joins.unpack();
        let pages = self.joins.split_pages(PAGES_TOGETHER);
        let mut parts: Vec<SavedEvidence> = pages
            .into_iter()
            .chain(self.joins.split_rows(ROWS_TOGETHER))
            .map(|joins| SavedEvidence { joins, ..SavedEvidence::default() })
            .collect();
        // Last: of what is neither pages nor rows, the later part replaces the earlier.
        parts.push(self);
        parts
    }

    /// Goes on with what was written later, as a difference.
    pub(crate) fn merge(&mut self, later: SavedEvidence) {
        self.attempts = later.attempts;
        self.exposures = later.exposures;
        self.joins.merge(later.joins);
    }
}

impl Control {
    /// Returns what was decided. `life` is this life of the handle, and how many there were.
    pub(crate) fn saved(
        &self,
        life: (u64, u64),
        ended: bool,
        raising: Vec<u32>,
        at: Timestamp,
    ) -> SavedControl {
        SavedControl {
            name: self.settings.name.clone(),
            at,
            followed: self.followed,
            ended,
            raising,
            process: life.0,
            lives: life.1,
            epoch: self.epoch,
            live: of(&self.live),
            live_since: self.live_since,
            live_by: self.live_by,
            retained: self.saved_retained(),
            attempts: self.attempts.iter().map(saved_attempt).collect(),
            answered: self.answered(),
            allocated: self.allocating.as_ref().map_or_else(Vec::new, |it| it.candidates().to_vec()),
            frozen: self.frozen.clone(),
            quarantine: self.quarantine.iter().map(|(identity, entry)| (*identity, entry.clone())).collect(),
            tries: self.tries.clone(),
            overlapping: self.overlapping,
            crashes: self.crashes.clone(),
            decided: self.decided,
            keyed: self.keyed,
            next_attempt: self.next_attempt,
            next_event: self.announcer.next(),
            setting: None,
            #[cfg(feature = "forecast")]
            traffic: None,
            key: None,
            salt: String::from_utf8_lossy(&self.salt).into_owned(),
            seed: self.settings.seed,
            owners: self.buckets.owners().map(|owners| STANDARD_NO_PAD.encode(owners)),
        }
    }

    /// The versions in use that have answered, in this life of the handle or an earlier one.
    fn answered(&self) -> Vec<SavedVersion> {
        let has_answered = |lifetime: &u32| {
            let total = self.arms.get(lifetime).map(Windows::total);
            total.is_some_and(|total| total.error_rate().whole > total.errors(ErrorKind::Pipeline))
        };
        self.records
            .iter()
            .filter(|(version, record)| {
                self.is_in_use(**version) && (record.has_answered || has_answered(&record.lifetime))
            })
            .map(|(version, record)| SavedVersion { version: *version, identity: record.identity })
            .collect()
    }

    /// What is retained, and what is so and not to be had where it belongs among it: once it is to be had again, a rollback goes
    /// through them in this order.
    fn saved_retained(&self) -> Vec<SavedRetained> {
        let loaded = self.retained.iter().map(|kept| SavedRetained {
            version: of(&kept.version),
            since: kept.since,
            taken_back: kept.taken_back,
            unavailable: None,
        });
        let mut retained: Vec<SavedRetained> = loaded.collect();
        for Unavailable { version, identity, since, taken_back, reason } in &self.unavailable {
            let place = retained.iter().position(|kept| kept.since < *since).unwrap_or(retained.len());
            let lost = SavedRetained {
                version: SavedVersion { version: *version, identity: *identity },
                since: *since,
                taken_back: *taken_back,
                unavailable: Some(reason.clone()),
            };
            retained.insert(place, lost);
        }
        retained
    }

    /// Returns what was seen: all of it, or of what is large only what has come since the last time. The caller has
    /// just collected it, and still holds the lock: what was drained and what was not are then saved as one.
    pub(crate) fn saved_evidence(&self, joins: &Joins, all: bool) -> SavedEvidence {
        SavedEvidence {
            attempts: self.attempts.iter().map(|attempt| self.attempt_evidence(attempt)).collect(),
            exposures: self.counters.iter().map(|counter| self.saved_exposure(counter, joins)).collect(),
            joins: joins.save(all, &self.evidence_exposures()),
            decisions: Vec::new(),
        }
    }

    /// The exposures whose labels are evidence in a rollout that runs, or will be.
    pub(super) fn evidence_exposures(&self) -> HashSet<u32> {
        let runs = |feed: &EvidenceFeed| self.attempt(feed.attempt).is_some();
        let counters = self.counters.iter().filter(|counter| counter.feeds.evidence.iter().any(runs));
        counters.map(|counter| counter.number).collect()
    }

    pub(super) fn attempt_evidence(&self, attempt: &Attempt) -> SavedAttemptEvidence {
        let (requests, labels) = self.progress(attempt.number);
        let seen = |keys: &Arc<Keys>| keys.seen().collect();
        let (keys, pair_keys) = (attempt.keys.as_ref().map(seen), attempt.pair_keys.as_ref().map(seen));
        SavedAttemptEvidence {
            number: attempt.number,
            ledger: attempt.ledger.saved(),
            keys,
            pair_keys,
            progress: (
                requests.saturating_sub(attempt.before_step.0) + attempt.carried.0,
                labels.saturating_sub(attempt.before_step.1) + attempt.carried.1,
            ),
            guards: attempt.evidence.clone(),
        }
    }

    pub(super) fn saved_exposure(&self, counter: &Counter, joins: &Joins) -> SavedExposure {
        let arms = counter.feeds.arms.iter().filter_map(|arm| self.named(*arm));
        SavedExposure {
            number: counter.number,
            origin: joins.origin(counter.number),
            retired: counter.retired,
            arms: arms.collect(),
            attempt: counter.feeds.attempt,
            evidence: counter.feeds.evidence.clone(),
        }
    }

    fn named(&self, arm: u32) -> Option<Arm> {
        let lifetime = self.records.iter().find(|(_, record)| record.lifetime == arm);
        let of_attempt = |attempt: &Attempt| match arm {
            _ if attempt.candidate == arm => Some(Arm::Candidate(attempt.number)),
            _ if attempt.control == arm => Some(Arm::Control(attempt.number)),
            _ => None,
        };
        let lifetime = lifetime.map(|(version, _)| Arm::Lifetime(*version));
        lifetime.or_else(|| self.attempts.iter().find_map(of_attempt))
    }
}

fn of(version: &Known) -> SavedVersion {
    SavedVersion { version: version.id, identity: version.identity }
}

fn saved_attempt(attempt: &Attempt) -> SavedAttempt {
    let (mut stated, mut hosts) = (Vec::new(), attempt.missing.clone());
    for guarded in attempt.guards.iter().filter(|guarded| guarded.test.is_none()) {
        match &guarded.said {
            Said::Stated(sentence) => stated.push(sentence.to_string()),
            Said::Hosts { name, .. } => hosts.push(name.clone()),
        }
    }
    SavedAttempt {
        number: attempt.number,
        slot: attempt.slot,
        version: SavedVersion { version: attempt.version, identity: attempt.identity },
        guards: attempt.tests().map(GuardTest::saved).collect(),
        stated,
        hosts,
        missing: attempt.missing.clone(),
        looks: attempt.looks,
        plan: attempt.plan.clone(),
        for_plan: attempt.for_plan,
        bake: attempt.bake,
        state: attempt.state.clone(),
        wait_told: attempt.wait_told,
        held: attempt.held,
        previous: attempt.previous,
        // Where it tripped while live failed too, the next life has to see for itself whether it fails alone.
        tripped: attempt.circuit.tripped && attempt.circuit.open_until.is_none(),
        looked: attempt.looked,
        probes: attempt.probes.clone(),
        error_budget: attempt.error_budget,
        promised: attempt.promised.clone(),
        live_before: attempt.live_before,
    }
}

impl GuardTest {
    pub(crate) fn saved(&self) -> SavedGuard {
        SavedGuard {
            rule: self.rule.clone(),
            centre: self.design.centre,
            peak: self.peak,
            watch: self.watch.as_ref().map(|watch| (watch.detector.state(), watch.seen)),
        }
    }

    /// Goes on from where the guard stood.
    pub(crate) fn restore(&mut self, saved: &SavedGuard) {
        self.design = Arc::new(Design { centre: saved.centre, ..Design::clone(&self.design) });
        self.tests = Arc::default();
        self.peak = saved.peak;
        self.watch = saved
            .watch
            .as_ref()
            // One of another release begins again, at the same rate.
            .map(|(state, seen)| {
                let resumed = RateDetector::resume(state);
                let detector =
                    resumed.unwrap_or_else(|_| RateDetector::nearest(state.reference, state.run_length));
                Watch { detector, seen: *seen, told: None }
            });
    }
}

/// The owners of buckets that were written as base64.
pub(crate) fn owners(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::share::Share;
    use crate::feedback::id::{Body, Flags, PredictionId, Seal, SealKey};
    use crate::feedback::join::JoinLimits;
    use crate::feedback::outcome::FeedbackOutcome;
    use crate::feedback::saved::Earlier;
    use crate::stats::counting::exposure::Awaited;
    use crate::stats::counting::intake::Intake;
    use crate::stats::evidence::waiting::Maturity;
    use crate::task::kept::{Kept, RANKING_DEPTH, Ranked};
    use crate::task::outcome::{Outcome, Truth};

    /// Bug: the state of a ranking service of 1,000 requests a second, where silence means something, could never be written again.
    /// Cause: all rows that wait were one record, and one of more than 64 MiB is refused. Fix: they are written in parts, as pages are.
    #[test]
    fn rows_that_wait_are_written_in_parts_that_a_record_holds() {
        const ROWS: u64 = 40_000;
        let kind = TaskKind::Ranking { depth: RANKING_DEPTH as u8 };
        let joins = || {
            let (key, limits) = (SealKey::new([1; 16]), JoinLimits::default());
            Joins::new(1, key, kind, Truth::CausedByAnswer, Arc::from([]), limits, None).unwrap()
        };
        let now = Timestamp::from_unix_seconds(1_700_000_000);
        let intake = || Arc::new(Intake::new(kind, 0, Maturity::AsTheyCome));
        let before = joins();
        before.register(1, intake());
        let kept = Kept::List(Ranked::from_hashes([u32::MAX; RANKING_DEPTH]));
        before.await_outcomes((0..ROWS).map(|row| Awaited {
            exposure: 1,
            sequence: u64::MAX / 2 + row,
            row,
            unit: Some(row),
            at: now,
            kept,
            keyed: false,
            counts: true,
            hidden: false,
            segment: None,
        }));
        let parts = SavedEvidence { joins: before.save(true, &HashSet::new()), ..SavedEvidence::default() }
            .in_parts();
        let written: Vec<Vec<u8>> = parts.iter().map(|part| serde_json::to_vec(part).unwrap()).collect();
        let largest = written.iter().map(Vec::len).max().unwrap();
        // So many rows are less than a record holds, whatever is in each.
        assert!(largest < ROWS_TOGETHER * 512, "{largest} bytes in one of {} records", written.len());
        let mut read = SavedEvidence::default();
        written.iter().for_each(|part| read.merge(serde_json::from_slice(part).unwrap()));
        let after = joins();
        let earlier = Earlier {
            origin: (1, 1),
            number: 1,
            intake: intake(),
            retired: now,
            counts_until_retired: false,
        };
        after.restore(read.joins, &std::iter::once((1, earlier)).collect(), Shift::default(), now);
        assert_eq!(after.counts().awaiting, ROWS);
    }

    /// So are outcomes that may be corrected, of which each may have a thousand relevant items; and what a later record says of one, or that
    /// it cannot be corrected any more, holds.
    #[test]
    fn outcomes_that_may_be_corrected_are_written_in_parts_and_as_they_are_in_the_end() {
        const ROWS: u64 = 300;
        let kind = TaskKind::Ranking { depth: RANKING_DEPTH as u8 };
        let key = SealKey::new([1; 16]);
        let joins = || {
            let limits = JoinLimits { correctable_max: 400, ..JoinLimits::default() };
            Joins::new(1, key, kind, Truth::Independent, Arc::from([]), limits, None).unwrap()
        };
        let now = Timestamp::from_unix_seconds(1_700_000_000);
        let intake = || Arc::new(Intake::new(kind, 0, Maturity::After(Duration::from_secs(86_400))));
        let before = joins();
        before.register(1, intake());
        let tell = |joins: &Joins, row: u64, items: u64| {
            let (unit, share, flags) = (row, Share::NONE, Flags::default());
            let kept = Kept::List(Ranked::from_hashes([u32::MAX; RANKING_DEPTH]));
            let (process, exposure, sequence, at) = (1, 1, row, now);
            let (row, segment) = (Some(row), None);
            let body = Body { process, exposure, sequence, unit, row, at, share, flags, kept, segment };
            let id = PredictionId { body, seal: Seal::Made(key) };
            joins.feedback(&id, &Outcome::relevant(0..items), now, |_| false)
        };
        (0..ROWS).for_each(|row| assert_eq!(tell(&before, row, 1_000), FeedbackOutcome::Counted));
        let evidence = HashSet::from([1]);
        let mut written = before.save(true, &evidence);
        written.unpack();
        let parts = written.split_rows(1_024);
        let sizes: Vec<usize> = parts.iter().map(|part| serde_json::to_vec(part).unwrap().len()).collect();
        assert!(sizes.len() > 5 && sizes.iter().all(|bytes| *bytes < 1_024 * 1_024), "{sizes:?}");
        let mut read = SavedJoins::default();
        parts.into_iter().chain([written]).for_each(|part| read.merge(part));
        // One is corrected, and two hundred new ones push out the first hundred.
        assert_eq!(tell(&before, 299, 5), FeedbackOutcome::Corrected);
        (ROWS..ROWS + 200).for_each(|row| assert_eq!(tell(&before, row, 2), FeedbackOutcome::Counted));
        let mut written = before.save(false, &evidence);
        written.unpack();
        assert!(serde_json::to_vec(&written).unwrap().len() < 100_000, "what has changed");
        read.merge(written);

        let after = joins();
        let (number, retired, counts_until_retired) = (1, now, false);
        let earlier = Earlier { origin: (1, 1), number, intake: intake(), retired, counts_until_retired };
        after.restore(read, &std::iter::once((1, earlier)).collect(), Shift::default(), now);
        assert_eq!(after.counts().correctable, 400);
        assert_eq!(tell(&after, 99, 1_000), FeedbackOutcome::Settled);
        assert_eq!(tell(&after, 100, 1_000), FeedbackOutcome::Repeated);
        assert_eq!(tell(&after, 299, 5), FeedbackOutcome::Repeated);
        assert_eq!(tell(&after, 499, 3), FeedbackOutcome::Corrected);
    }
}
