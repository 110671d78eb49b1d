//! What a head says of a handle, and how one is made of what was decided.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::counts::FleetCounts;
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::control::decider::{Course, Decider, Demand, Demanded};
use crate::control::event::{Cause, Event, EventKind};
use crate::control::outside::settings;
use crate::control::saved::{SavedAttempt, SavedControl, SavedVersion};
use crate::control::settings::Quarantine;
use crate::fleet::format::counts::written;
use crate::fleet::format::head::{
    Candidate, Core, EVENTS, Head, Lowering, Phase as FleetPhase, Place, Version,
};
use crate::fleet::format::value::Value;
use crate::fleet::protocol::call::Reply;
use crate::model::identity::Identity;
use crate::rollout::guard::evidence::Evidence as GuardEvidence;
use crate::rollout::phase::Phase;

/// What is told with a head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) by: Option<Arc<str>>,
    pub(crate) kind: EventKind,
}

impl Told {
    pub(crate) fn of(event: &Event) -> Self {
        Self { by: event.actor.clone(), kind: event.kind.clone() }
    }
}

/// How much time somebody has judged in until a head was agreed on, which is the time that plans count.
const ACTIVE: &str = "active_ms";
const COURSE: &str = "course";
const QUARANTINE: &str = "quarantine_ms";

/// What a head says of the handle; nothing where it is another release's.
pub(crate) fn control_of(head: &Head) -> Option<SavedControl> {
    serde_json::from_value(head.control.clone()).ok()
}

/// Bytes of a head for identities that are quarantined. Those that were tried take as many: the rest is for what runs.
const REMEMBERED_MAX: usize = 48 << 10;

/// Identities that were tried: in full some 85 bytes each, shortened eleven.
const TRIED_MAX: (usize, usize) = (256, 2_048);

/// The longest reason of a quarantine where there are many.
const REASON_MAX: usize = 256;

/// What is to be said of the handle, and what is let go of by that: a head has room for so many identities, and those that are
/// remembered for longest are shortened or forgotten first.
pub(crate) fn control_json(saved: &SavedControl) -> (Json, Vec<EventKind>) {
    let mut saved = saved.clone();
    let released = let_go_of_oldest(&mut saved.quarantine);
    saved.tries.shorten(TRIED_MAX.0, TRIED_MAX.1);
    (serde_json::to_value(&saved).unwrap_or(Json::Null), released)
}

fn let_go_of_oldest(quarantine: &mut Vec<(Identity, Quarantine)>) -> Vec<EventKind> {
    if written(quarantine) <= REMEMBERED_MAX {
        return Vec::new();
    }
    for (_, entry) in quarantine.iter_mut() {
        entry.reason.truncate(entry.reason.floor_char_boundary(REASON_MAX));
    }
    quarantine.sort_by_key(|(_, entry)| Reverse(entry.since));
    let mut bytes = 2;
    let kept = quarantine.iter().take_while(|entry| {
        bytes += written(entry) + 1;
        bytes <= REMEMBERED_MAX
    });
    let kept = kept.count();
    quarantine.drain(kept..).map(|(_, entry)| EventKind::Released { version: entry.version }).collect()
}

/// The part of it that every release can follow.
pub(crate) fn core_of(saved: &SavedControl) -> Core {
    let named = |version: SavedVersion| Version {
        version: version.version.to_string(),
        identity: told_identity(version.identity),
        digest: told_identity(version.identity),
    };
    let candidates = saved.attempts.iter().map(|attempt| candidate(attempt, named(attempt.version)));
    Core {
        live: named(saved.live),
        previous: saved.retained.iter().find(|kept| !kept.taken_back).map(|kept| named(kept.version)),
        candidates: candidates.collect(),
    }
}

fn candidate(attempt: &SavedAttempt, version: Version) -> Candidate {
    let state = &attempt.state;
    let of = |share: Share| u32::from(share.buckets());
    Candidate {
        attempt: attempt.number,
        slot: u32::from(attempt.slot),
        version,
        phase: match state.phase {
            Phase::Shadow => FleetPhase::Shadow,
            Phase::Canary => FleetPhase::Canary,
            Phase::Baking => FleetPhase::Watched,
            _ => FleetPhase::Staged,
        },
        weight: of(state.weight),
        sample: of(state.sample),
        members: 10_000,
    }
}

pub(crate) fn told_identity(identity: Identity) -> String {
    identity.to_string()
}

/// What a head says beside: what happened, and when that was in time in which somebody judged.
pub(crate) fn beside(active_ms: u64, events: &[Arc<Event>], others: Vec<EventKind>) -> Map<String, Json> {
    // What each process keeps for a rollback it lets go of itself, and says so.
    let agreed = events.iter().filter(|event| !matches!(event.kind, EventKind::Retired { .. }));
    let others = others.into_iter().map(|kind| Told { by: None, kind });
    let told: Vec<Told> = agreed.map(|event| Told::of(event)).chain(others).collect();
    let mut more = Map::new();
    more.insert(ACTIVE.to_owned(), active_ms.into());
    more.insert(EVENTS.to_owned(), serde_json::to_value(told).unwrap_or(Json::Null));
    more
}

/// For how long somebody had judged, in all, when a head was agreed on.
pub(crate) fn active_then(head: &Head) -> u64 {
    head.more.get(ACTIVE).and_then(Json::as_u64).unwrap_or_default()
}

/// For how long somebody has judged until now, given what is there in the ledger's place. Where that is gone, or was put back, it is as long as
/// the head says: whoever judges next goes on from there.
pub(crate) fn active_of(head: &Head, ledger: &Reply<FleetCounts>) -> u64 {
    let then = active_then(head);
    match ledger {
        Reply::Value { value: Value::Ledger(ledger), .. } => ledger.active_ms.max(then),
        _ => then,
    }
}

/// How long what did harm is quarantined, as whoever has founded the fleet says, for those that have no options of their own.
pub(crate) fn set_quarantine(more: &mut Map<String, Json>, age: Option<Duration>) {
    if let Some(age) = age {
        more.insert(QUARANTINE.to_owned(), u64::try_from(age.as_millis()).unwrap_or(u64::MAX).into());
    }
}

/// The same, read; for good where nothing is said.
pub(crate) fn quarantine_of(head: &Head) -> Option<Duration> {
    head.more.get(QUARANTINE).and_then(Json::as_u64).map(Duration::from_millis)
}

/// What happened when a head was agreed on. An event that this release does not know is left out.
pub(crate) fn events_of(head: &Head) -> Vec<Told> {
    let told = head.more.get(EVENTS).and_then(Json::as_array);
    told.into_iter().flatten().cloned().filter_map(known).collect()
}

/// The same with what happened since the head of this place was agreed on.
pub(super) fn events_since(head: &Head, seen: Place) -> Vec<Told> {
    head.events_since(seen).into_iter().filter_map(known).collect()
}

/// An event of a kind that this release knows: no handle announces another.
fn known(told: Json) -> Option<Told> {
    serde_json::from_value(told).ok().filter(|told: &Told| told.kind != EventKind::Unknown)
}

/// What time it is for plans, once somebody has judged for so long in all: `at` is what the head itself says, and no later moment.
pub(crate) fn fleet_time(head: &Head, at: Timestamp, active_ms: u64) -> Timestamp {
    at.plus(Duration::from_millis(active_ms.saturating_sub(active_then(head))))
}

pub(crate) fn set_course(more: &mut Map<String, Json>, course: &Course) {
    more.insert(COURSE.to_owned(), serde_json::to_value(course).unwrap_or(Json::Null));
}

pub(crate) fn course_of(more: &Map<String, Json>) -> Option<Course> {
    serde_json::from_value(more.get(COURSE)?.clone()).ok()
}

/// Under which head an attempt came to where it is.
pub(crate) fn entered(head: &Head) -> impl Fn(u32) -> u64 + '_ {
    |attempt| head.entered.get(&attempt).map_or(0, |entered| entered.seq)
}

/// The longest cause with all of its texts: there may be as many as there are candidates.
const CAUSE_MAX: usize = 3_000;

/// A cause, as it stands in a lowering.
pub(crate) fn told_cause(cause: &Cause) -> String {
    let told = |cause: &Cause| serde_json::to_string(cause).unwrap_or_default();
    match (told(cause), cause) {
        // What kind of cause it is decides what follows from it. Texts that would make a head too long are left out.
        (long, Cause::Guard { evidence }) if long.len() > CAUSE_MAX => {
            let evidence = GuardEvidence { sentence: None, note: None, ..(**evidence).clone() };
            told(&Cause::Guard { evidence: Box::new(evidence) })
        }
        (told, _) => told,
    }
}

pub(super) fn cause_of(lowering: &Lowering) -> Cause {
    let known = serde_json::from_str(&lowering.cause).ok().filter(|cause| *cause != Cause::Unknown);
    // What a later release says stays as it is, for those who know it.
    known.unwrap_or_else(|| Cause::Operator { reason: lowering.cause.clone() })
}

/// What a head says of itself, for people: whoever judges lowers by a cause, which is no text.
pub(crate) fn why_of(head: &Head) -> String {
    let lowering = head.lowered.iter().find(|lowering| lowering.cause == head.why);
    lowering.map_or_else(|| head.why.clone(), |lowering| cause_of(lowering).to_string())
}

/// Whether a plan waits for all to have this identity.
pub(crate) fn is_on_trial(head: &Head, identity: &str) -> bool {
    let mut candidates = head.core.candidates.iter();
    candidates.any(|one| one.version.identity == identity && one.phase != FleetPhase::Watched)
}

/// What is demanded by what was lowered, in a head or here, whatever the rest of the head says.
fn demands_of<'a>(lowered: &'a [Lowering], saved: &'a SavedControl) -> impl Iterator<Item = Demand> + 'a {
    lowered.iter().filter_map(|lowering| {
        let attempt = saved.attempts.iter().find(|attempt| attempt.number == lowering.attempt)?;
        let identity = attempt.version.identity;
        (told_identity(identity) == lowering.identity).then(|| Demand {
            by: None,
            what: Demanded::Lower { attempt: lowering.attempt, identity, cause: cause_of(lowering) },
        })
    })
}

/// Takes off what was lowered in a head and, once that is done, what was lowered here.
pub(crate) fn obey(
    decider: &mut Decider,
    head: &Head,
    here: &[Lowering],
    saved: &SavedControl,
    now: Timestamp,
) {
    let lowered = demands_of(&head.lowered, saved).chain(demands_of(here, saved));
    lowered.for_each(|demand| decider.obey(&demand, now));
}

/// What a head says of the handle with all that was lowered in it, for whoever is no handle yet.
pub(crate) fn with_lowered(head: &Head, saved: SavedControl) -> SavedControl {
    let setting = saved.setting.clone().filter(|_| !head.lowered.is_empty());
    let decider = setting
        .and_then(|setting| Decider::new(settings(&saved, quarantine_of(head)), setting, &saved, &[]).ok());
    let Some(mut decider) = decider else { return saved };
    obey(&mut decider, head, &[], &saved, saved.at);
    decider.saved(saved.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::handle::ModelHandle;
    use crate::handle::options::Threads;
    use crate::model::closure::closure;

    /// Bug: a rollback could not be agreed on where a service had tried some thousands of versions. Cause: all of their identities, and the
    /// reasons of all quarantines, were in the head, which was longer than one may be. Fix: the oldest are forgotten before.
    #[test]
    fn what_is_remembered_of_identities_has_a_bound_in_a_head() {
        let live = closure("v1@1", |_: &f64| Ok(1.0));
        let handle = ModelHandle::builder("x").live("v1", live).threads(Threads::manual()).build().unwrap();
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let mut saved = handle.inner.control.lock().saved((0, 0), false, Vec::new(), now);
        assert_eq!(control_json(&saved), (serde_json::to_value(&saved).unwrap(), Vec::new()));
        let identity = |number: u64| Identity::of([("number", &number.to_le_bytes()[..])]);
        for number in 0..4_096 {
            saved.tries.begin(identity(number));
            let (version, reason) = ("v2".parse().unwrap(), "\u{e4}".repeat(1_000));
            let since = now.plus(Duration::from_secs(number));
            saved.quarantine.push((identity(number), Quarantine { version, reason, since, until: None }));
        }
        let (json, released) = control_json(&saved);
        assert!(written(&json) < 110 << 10, "{}", written(&json));
        let read: SavedControl = serde_json::from_value(json).unwrap();
        assert!(read.quarantine.len() > 60 && read.quarantine.len() + released.len() == 4_096);
        assert!(read.quarantine.iter().any(|(of, _)| *of == identity(4_095)), "the newest stays");
        // Bug: a version that some six hundred others were tried after was tried as if for the first time, and so spent the error of a first try
        // again. Cause: what did not fit was forgotten altogether. Fix: of what does not fit in full the first digits are kept.
        let before = [4_095, 3_000, 2_000, 0].map(|number| read.tries.before(identity(number)));
        assert_eq!(before, [1, 1, 1, 0]);
    }

    /// Bug: in a rolling deploy a member announced an event of a kind that it does not know, and told of a cause that it does not know nothing but that.
    /// Cause: both had come to be read as unknown, where it was relied on that they cannot be read. Fix: one is left out, of the other the
    /// text stays.
    #[test]
    fn what_a_later_release_has_told_is_left_out_or_stays_as_it_is() {
        let kind = serde_json::to_value(EventKind::TookOver).unwrap();
        let later = serde_json::json!({"event": "teleported", "where": "to the moon"});
        let told = [kind, later].map(|kind| known(serde_json::json!({"by": null, "kind": kind})));
        assert!(matches!(&told, [Some(Told { kind: EventKind::TookOver, .. }), None]), "{told:?}");
        let cause = String::from(r#"{"cause":"teleported"}"#);
        let lowering =
            Lowering { attempt: 1, identity: "of v2".into(), cause: cause.clone(), by: "guard".into() };
        assert_eq!(cause_of(&lowering), Cause::Operator { reason: cause });
    }
}
