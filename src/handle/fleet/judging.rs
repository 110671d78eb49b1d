//! Whoever judges for a fleet.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::agreement::{
    active_then, beside, control_json, control_of, core_of, course_of, entered, fleet_time, obey, set_course,
    told_cause, told_identity,
};
use super::counts::FleetCounts;
use crate::base::clock::Timestamp;
use crate::control::decider::Decider;
use crate::control::event::{Cause, EventKind};
use crate::control::saved::SavedControl;
use crate::control::seat::{Asked, Rate};
use crate::control::tick::{Snapshot, Verdicts};
use crate::fleet::format::counts::{Book, Counted};
use crate::fleet::format::ends::{AtOnce, Lived, TrialEnds};
use crate::fleet::format::head::{Head, Lowering, Phase};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::ledger::Ledger;
use crate::fleet::format::row::Row;
use crate::fleet::protocol::judge::{Judgement, Raise, Seen, Verdict};
use crate::model::identity::Identity;
use crate::request::shadow::ShadowCounts;
use crate::rollout::decision::Decision;
use crate::stats::figures::rolling::Windows;
use crate::stats::sequential::EValue;
use crate::stats::sequential::in_time::{InTime, more_often};
use crate::version::id::VersionId;

/// What whoever judges has at hand: it goes on from one judgement to the next, under the same head.
pub(super) struct Bench {
    decider: Decider,
    /// The time of plans when the head was agreed on: all others are counted from it.
    at: Timestamp,
    /// Of the ledger that it rests on, and of the head.
    ledger: Hex,
    head: Hex,
}

/// A member that may judge.
pub(super) struct FleetJudge<'a> {
    pub(super) bench: &'a RefCell<Option<Bench>>,
    /// A new decider, of what is agreed on.
    pub(super) decide: &'a dyn Fn(&SavedControl) -> Option<Decider>,
    pub(super) ask: &'a dyn Fn(&Snapshot) -> Verdicts,
    /// What live takes here, and which identity it is.
    pub(super) live: &'a dyn Fn() -> Option<(Identity, Windows)>,
    /// The attempts that were taken off here already, and are not yet in all.
    pub(super) taken_off: &'a [Lowering],
    /// What this process is to tell of it and to keep, and has told.
    pub(super) found: &'a RefCell<JudgedHere>,
}

/// What a judgement has come to that is in no head.
#[derive(Default)]
pub(super) struct JudgedHere {
    /// What happened that nothing follows from, and what a guard saw that has failed.
    pub(super) told: Vec<EventKind>,
    /// The records of decisions.
    pub(super) decisions: Vec<Arc<Decision>>,
    /// Those of a raise, by the ledger that it rests on: where it is not put, nobody has decided.
    pub(super) raising: Option<(Hex, Vec<Arc<Decision>>)>,
    /// The watched lives of which it was told that many processes have ended at once.
    told_ends: Vec<u32>,
    /// The attempts of which it was told that most requests have keys.
    told_keyed: Vec<u32>,
}

/// What was asked of a process lately, as its row says.
fn asked_of(row: &Row<FleetCounts>) -> Asked {
    let told = row.more.get(ASKED).and_then(|told| serde_json::from_value(told.clone()).ok());
    let (all, keyed): (u64, u64) = told.unwrap_or_default();
    Asked { all, keyed }
}

/// A key that comes to several processes would count several times, so keys count nowhere.
fn mostly_keyed(Asked { all, keyed }: Asked) -> String {
    format!(
        "{keyed} of {all} requests that were asked lately have keys, which are no evidence in a fleet, and the others are too few to speak for \
         all: use `predict` for more of them, or pause the rollout and promote it by hand"
    )
}

impl FleetJudge<'_> {
    /// Says once of each attempt that most requests have keys.
    fn tell_keyed(&self, head: &Head, reason: Option<&String>) {
        let found = &mut *self.found.borrow_mut();
        found.told_keyed.retain(|number| head.candidate(*number).is_some());
        let Some(reason) = reason else { return };
        for candidate in &head.core.candidates {
            let on_trial = matches!(candidate.phase, Phase::Shadow | Phase::Canary);
            if let Ok(version) = candidate.version.version.parse()
                && on_trial
                && !found.told_keyed.contains(&candidate.attempt)
            {
                found.told_keyed.push(candidate.attempt);
                found.told.push(EventKind::Held { version, reason: reason.clone() });
            }
        }
    }

    fn begin(&self, head: &Head, before: &Ledger<FleetCounts>) -> Option<Bench> {
        let saved = control_of(head)?;
        let mut decider = (self.decide)(&saved)?;
        let now = fleet_time(head, saved.at, before.active_ms);
        obey(&mut decider, head, &[], &saved, now);
        if let Some(course) = course_of(&before.more) {
            decider.resume(course, entered(head));
        }
        Some(Bench { decider, at: saved.at, ledger: before.nonce, head: head.nonce })
    }
}

/// How many times as often processes may end while a candidate is on trial: less is what a busier hour or another node does.
const TIMES: f64 = 2.0;

/// The evidence that processes end more often while a candidate is on trial in them.
pub(super) fn evidence(trial: &TrialEnds) -> EValue {
    let in_time = |lived: Lived| InTime { times: lived.ends, days: lived.ms as f64 / 86_400_000.0 };
    more_often(in_time(trial.exposed), in_time(trial.spared), TIMES)
}

/// Where nobody has ended for days one end is evidence enough, if rates are what they are. One or two may have another reason all the
/// same.
const FEWEST: u64 = 3;

/// Why it is to be taken off, where it is.
fn harm(trial: &TrialEnds, threshold: EValue) -> Option<Cause> {
    let evidence = evidence(trial);
    (evidence >= threshold && trial.exposed.ends >= FEWEST).then(|| Cause::ProcessesEnded {
        ends: trial.exposed.ends,
        exposed: Duration::from_millis(trial.exposed.ms),
        spared_ends: trial.spared.ends,
        spared: Duration::from_millis(trial.spared.ms),
        evidence,
    })
}

/// Whether a member is waited for. After which silence none is whoever judges has counted, so that no clock that is set leaves everybody out.
fn is_here(ledger: &Ledger<FleetCounts>, head: &Head, row: &Row<FleetCounts>) -> bool {
    let mark = ledger.marks.get(&row.name);
    let silence = mark.map_or(Duration::ZERO, |mark| mark.silence(ledger.watched_ms));
    !row.state.is_last() && silence < head.timing.gone_after()
}

impl Judgement<FleetCounts> for FleetJudge<'_> {
    fn absorb(
        &self,
        head: &Head,
        before: &Ledger<FleetCounts>,
        found: &Book<FleetCounts>,
        rows: &[&Row<FleetCounts>],
        next: &mut Ledger<FleetCounts>,
    ) {
        let here = rows.iter().filter(|row| is_here(next, head, row));
        let rates = here.map(|row| row.more.get(RATE).and_then(serde_json::Value::as_f64));
        let add = |all: Rate, rate: Option<f64>| {
            Some(Rate { processes: all.processes + 1, per_second: all.per_second + rate? })
        };
        let all = rates.into_iter().try_fold(Rate::default(), add);
        // Where one cannot say it, as a build without forecasts, nobody says what comes to all.
        next.more.remove(RATE);
        if let Some(all) = all {
            next.more.insert(RATE.to_owned(), json!([all.processes, all.per_second]));
        }
        let bench = &mut *self.bench.borrow_mut();
        if bench.as_ref().is_none_or(|bench| (bench.ledger, bench.head) != (before.nonce, head.nonce)) {
            *bench = self.begin(head, before);
        }
        let Some(bench) = bench else { return };
        // A ledger that is new, or was put back, goes on from where the time of plans was.
        next.active_ms = next.active_ms.max(active_then(head));
        let now = fleet_time(head, bench.at, next.active_ms);
        let found: Vec<Counted<FleetCounts>> = found.clone().into();
        let each = found.iter().map(|one| (one.attempt, one.era, &one.counts.evidence, one.counts.outcomes));
        bench.decider.absorb(each, entered(head), now);
        set_course(&mut next.more, &bench.decider.course(entered(head)));
        bench.ledger = next.nonce;
    }

    fn verdict(&self, head: &Head, seen: &Seen<'_, FleetCounts>) -> Verdict {
        let place = &mut *self.bench.borrow_mut();
        let Some(bench) =
            place.as_mut().filter(|bench| (bench.ledger, bench.head) == (seen.ledger.nonce, head.nonce))
        else {
            return Verdict::default();
        };
        let now = fleet_time(head, bench.at, seen.ledger.active_ms);
        let here: Vec<&Row<FleetCounts>> =
            seen.rows.iter().copied().filter(|row| is_here(seen.ledger, head, row)).collect();
        let mut asked = Asked::default();
        here.iter().for_each(|row| asked.add(asked_of(row)));
        let keyed = asked.mostly_keyed().then(|| mostly_keyed(asked));
        self.tell_keyed(head, keyed.as_ref());
        let obstacle = |identity: Identity| {
            let identity = told_identity(identity);
            let unready: Vec<&&Row<FleetCounts>> =
                here.iter().filter(|row| !row.ready.contains(&identity)).collect();
            if let Some(first) = unready.first() {
                let why = first.failed.get(&identity).map_or("it is not loaded yet", String::as_str);
                return Some(format!(
                    "{} of {} processes cannot run it, such as {}: {why}",
                    unready.len(),
                    here.len(),
                    first.name
                ));
            }
            let of = head.core.candidates.iter().find(|one| one.version.identity == identity);
            let passes_over =
                |row: &&&Row<FleetCounts>| of.is_some_and(|one| row.tripped.contains(&one.attempt));
            let mut passing_over = here.iter().filter(passes_over);
            if let Some(first) = passing_over.next() {
                return Some(format!(
                    "{} of {} processes pass it over for a while, such as {}: it failed there on many requests in a row",
                    1 + passing_over.count(),
                    here.len(),
                    first.name
                ));
            }
            keyed.clone().filter(|_| of.is_none_or(|one| one.phase != Phase::Watched))
        };
        let evidence = &seen.ledger.evidence;
        // Those of before its exposure changed are no part of what is judged.
        let since = entered(head);
        let copies =
            head.core.candidates.iter().map(|one| evidence.since(one.attempt, since(one.attempt)).copies);
        let (ran, dropped) = copies.fold((0, 0), |sum, copies| (sum.0 + copies.0, sum.1 + copies.1));
        let shadow = ShadowCounts { ran, dropped, ..ShadowCounts::default() };
        if bench.decider.awaits_live() {
            (self.live)().into_iter().for_each(|figures| bench.decider.know_live(figures));
        }
        let judged = bench.decider.judge(shadow, obstacle, self.ask, now);
        let mut lower: Vec<(u32, String)> =
            judged.lower.iter().map(|(attempt, cause)| (*attempt, told_cause(cause))).collect();
        // What was lowered becomes part of what is agreed on: until then all that begins would need what was taken off.
        let mut raised = judged.raised || !head.lowered.is_empty();
        let found = &mut *self.found.borrow_mut();
        for (attempt, trial) in seen.ledger.ends.trials.iter().filter(|(_, trial)| trial.until.is_none()) {
            if let Some(cause) = harm(trial, bench.decider.harm_threshold(*attempt)) {
                lower.push((*attempt, told_cause(&cause)));
            } else if let Some(AtOnce { ended, of }) = trial.at_once {
                let reason = format!(
                    "{ended} of {of} processes ended without a word within a minute while this version was on trial in them: \
                     resume it if they ended for another reason"
                );
                raised |= bench.decider.hold(*attempt, reason, now);
                let watched = bench.decider.watched().filter(|(number, _)| number == attempt);
                if let Some((number, version)) =
                    watched.filter(|(number, _)| !found.told_ends.contains(number))
                {
                    found.told_ends.push(number);
                    found.told.push(EventKind::EndedAtOnce { version, ended, of });
                }
            }
        }
        found.told_ends.retain(|number| head.candidate(*number).is_some());
        let raise = (raised && lower.is_empty()).then(|| {
            let saved = bench.decider.saved(now);
            let events = bench.decider.events();
            let why = events.first().map(|event| event.to_string());
            let why = why.unwrap_or_else(|| String::from("what guards look for is known now"));
            let (control, released) = control_json(&saved);
            Raise {
                core: core_of(&saved),
                control,
                more: beside(seen.ledger.active_ms, &events, released),
                why: why.chars().take(1_000).collect(),
            }
        });
        let is_known = |number: u32| self.taken_off.iter().any(|lowering| lowering.attempt == number);
        let decisions = bench.decider.take_decisions();
        let decisions = decisions.into_iter().filter(|decision| !is_known(decision.rollout));
        match raise {
            Some(_) => found.raising = Some((seen.ledger.nonce, decisions.collect())),
            None => found.decisions.extend(decisions),
        }
        if lower.is_empty() && raise.is_none() {
            let told = bench.decider.events();
            found.told.extend(told.iter().map(|event| event.kind.clone()));
        } else {
            // All that follows is told by a head; what a guard saw is not.
            let number = |version: VersionId| {
                let mut candidates = head.core.candidates.iter();
                candidates.find(|one| one.version.version == version.as_str()).map(|one| one.attempt)
            };
            let failed = bench.decider.events().into_iter().filter_map(|event| match &event.kind {
                EventKind::GuardFailed { version, .. } => {
                    (!number(*version).is_some_and(is_known)).then(|| event.kind.clone())
                }
                _ => None,
            });
            found.told.extend(failed);
            // It has gone ahead of what is agreed on.
            *place = None;
        }
        Verdict { lower, raise }
    }
}

/// Where a member says in its row how many requests it was asked lately, and how many of them had keys.
pub(super) const ASKED: &str = "asked";

/// Where a member says in its row how many requests usually come to it in a second, and a ledger of how many processes, and how many come to all of them.
pub(super) const RATE: &str = "rate";

/// How many requests usually come to all processes in a second, as whoever judges has said last.
pub(super) fn rate_of(ledger: &Ledger<FleetCounts>) -> Option<Rate> {
    let (processes, per_second) = serde_json::from_value(ledger.more.get(RATE)?.clone()).ok()?;
    Some(Rate { processes, per_second })
}

/// What a process was asked lately: in this span of time and in the one before.
#[derive(Default)]
pub(super) struct Lately {
    since: Timestamp,
    now: Asked,
    before: Asked,
}

/// The span. As long as a slow service needs to be asked often enough to say what is usual.
const LATELY: Duration = Duration::from_secs(60);

impl Lately {
    pub(super) fn add(&mut self, asked: Asked, now: Timestamp) {
        let spans = now.since(self.since).as_secs() / LATELY.as_secs();
        if spans > 0 {
            self.before = if spans == 1 { self.now } else { Asked::default() };
            (self.since, self.now) = (now, Asked::default());
        }
        self.now.add(asked);
    }

    pub(super) fn sum(&self) -> Asked {
        let mut sum = self.before;
        sum.add(self.now);
        sum
    }
}
