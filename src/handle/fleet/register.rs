//! What is agreed on is replaced, by a member and by whoever operates the fleet from outside.

use std::sync::Arc;

use super::agreement::{beside, control_json, control_of, core_of};
use super::counts::FleetCounts;
use crate::base::clock::Timestamp;
use crate::control::event::Event;
use crate::control::saved::{SavedAttempt, SavedControl};
use crate::fleet::format::head::{Descent, Head};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::value::{Value, Written};
use crate::fleet::protocol::call::{Act, Reply};
use crate::fleet::protocol::following::Applied;
use crate::fleet::store::StoreOutcome;

/// What came of it.
pub(crate) enum Replaced {
    Done(Applied),
    /// Somebody else has replaced it before.
    Lost,
    /// Whoever looks will see.
    Unknown,
    /// Nothing has changed: the store cannot be asked.
    NotDone,
}

/// Puts what comes after a head in its place, once that is filed.
pub(crate) fn replace(
    ask: &mut dyn FnMut(&Act<FleetCounts>) -> Reply<FleetCounts>,
    layout: &Layout,
    over: &Applied,
    written: Arc<Written>,
    raises: bool,
) -> Replaced {
    let key = layout.filed(over.head().place, over.written.print);
    let value = Value::Head(Arc::clone(&over.written));
    match ask(&Act::Put { key, value, over: None }) {
        Reply::Done(_) | Reply::Failed(StoreOutcome::Conflict) => {}
        // Lowering does not wait for a file.
        _ if !raises => {}
        _ => return Replaced::NotDone,
    }
    let value = Value::Head(Arc::clone(&written));
    match ask(&Act::Put { key: layout.head().clone(), value, over: Some(over.tag.clone()) }) {
        Reply::Done(tag) => Replaced::Done(Applied { written, tag }),
        Reply::Failed(StoreOutcome::Conflict) => Replaced::Lost,
        Reply::Failed(StoreOutcome::Unknown) => Replaced::Unknown,
        _ => Replaced::NotDone,
    }
}

/// Whether what is there is what was written, or comes from it.
pub(crate) fn has_landed(written: &Written, there: &Written) -> bool {
    there.print == written.print
        || there.head.ancestors.have(written.head.place.seq, written.print) == Descent::Yes
}

/// What comes after a head, once that was decided. `by` did it where no event names anybody.
pub(crate) fn next_head(
    over: &Applied,
    nonce: Hex,
    by: &str,
    saved: &SavedControl,
    events: &[Arc<Event>],
    active_ms: u64,
    now: Timestamp,
) -> Head {
    let why = events.first().map_or_else(|| silent(over.head(), saved), |event| event.to_string());
    let by = events.iter().find_map(|event| event.actor.as_deref()).unwrap_or(by);
    let why: String = why.chars().take(1_000).collect();
    let mut next = over.head().next(over.written.print, nonce, by, &why, now);
    let core = core_of(saved);
    next.enter(&core, now, active_ms);
    next.core = core;
    let (control, released) = control_json(saved);
    next.control = control;
    next.more.extend(beside(active_ms, events, released));
    next.forget_lowered();
    next
}

/// What is told of a decision that no event tells of: a rollout is given its guards, what was promised of it and its watch one by
/// one, which is nothing yet that happened to anybody.
fn silent(before: &Head, saved: &SavedControl) -> String {
    let before = control_of(before);
    let known = |number: u32| before.as_ref()?.attempts.iter().find(|attempt| attempt.number == number);
    let is_other = |attempt: &&SavedAttempt| {
        known(attempt.number).is_none_or(|before| {
            let rules = before.guards.iter().map(|guard| &guard.rule);
            !rules.eq(attempt.guards.iter().map(|guard| &guard.rule))
                || (&before.stated, &before.hosts, &before.missing, &before.promised, &before.bake)
                    != (&attempt.stated, &attempt.hosts, &attempt.missing, &attempt.promised, &attempt.bake)
        })
    };
    let is_planned =
        |attempt: &&SavedAttempt| known(attempt.number).is_some_and(|before| before.plan != attempt.plan);
    if let Some(attempt) = saved.attempts.iter().find(is_planned) {
        return format!("a plan was said of {}", attempt.version.version);
    }
    match saved.attempts.iter().find(is_other) {
        Some(attempt) => format!("what {} is judged by was said", attempt.version.version),
        None => String::from("what a rollout is judged by was said"),
    }
}
