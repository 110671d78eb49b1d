//! Changes over HTTP: what is asked for, and what became of it.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HOST, IF_MATCH, ORIGIN};
use http::request::Parts;
use serde_json::json;

use super::answer::{Answer, JSON, tag};
use crate::base::causes::in_full;
use crate::base::node::{Misread, Node, Value};
use crate::control::moves::RollbackOutcome;
use crate::handle::rollout::RolloutError;
use crate::handle::status::Status;
use crate::model::identity::Identity;
use crate::operator::{Operator, OperatorError};

/// The body of a change.
#[derive(Default)]
pub(crate) struct Asked {
    reason: Option<String>,
    share: Option<f64>,
    version: Option<String>,
    identity: Option<String>,
}

/// The fields of a change.
const FIELDS: [&str; 4] = ["reason", "share", "version", "identity"];

impl Asked {
    /// As a configuration is read: `0.05` or `"5 %"`, the same sentences, and no list.
    fn read(node: &Node) -> Result<Self, Misread> {
        let fields = Value::root(node).table(&FIELDS)?;
        let text = |field: &str| fields.read(field, |value| value.text().map(str::to_owned));
        Ok(Self {
            reason: text("reason")?,
            share: fields.read("share", Value::fraction)?,
            version: text("version")?,
            identity: text("identity")?,
        })
    }

    fn reason(self) -> Result<String, Answer> {
        let missing = "say the `reason`: it stands in the log";
        let said = self.reason.filter(|reason| !reason.trim().is_empty());
        said.ok_or_else(|| Answer::refused(StatusCode::BAD_REQUEST, missing))
    }

    fn share(&self) -> Result<f64, Answer> {
        let missing = "say the `share`, such as 0.05, \"5 %\" or \"100 %\"";
        self.share.ok_or_else(|| Answer::refused(StatusCode::BAD_REQUEST, missing))
    }
}

/// Refuses what a page of somebody else's could send: a browser asks first before it sends JSON to another origin, and says where it
/// comes from.
pub(crate) fn refuse_foreign(parts: &Parts) -> Result<(), Answer> {
    let header = |name: http::HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let kind = header(CONTENT_TYPE).and_then(|kind| kind.split(';').next()).map(str::trim);
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case(JSON)) {
        let why = format!("a change is sent with the header `Content-Type: {JSON}`");
        return Err(Answer::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let foreign =
        || Err(Answer::refused(StatusCode::FORBIDDEN, "a page of another origin changes nothing here"));
    let site = parts.headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"));
    if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return foreign();
    }
    let host = header(HOST).or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
    if let Some(origin) = header(ORIGIN) {
        let own = origin.split_once("://").map(|(_, authority)| authority);
        if own.is_none() || own != host {
            return foreign();
        }
    }
    Ok(())
}

/// Reads what is asked for. An empty body asks for nothing in particular.
pub(crate) fn read(body: &[u8]) -> Result<Asked, Answer> {
    if body.is_empty() {
        return Ok(Asked::default());
    }
    let refused = |error: &dyn std::fmt::Display| {
        let why =
            format!(r#"a change is JSON such as {{"reason": "complaints"}} or {{"share": "5 %"}}: {error}"#);
        Answer::refused(StatusCode::BAD_REQUEST, why)
    };
    let node = serde_json::from_slice(body).map_err(|error| refused(&error))?;
    Asked::read(&node).map_err(|error| refused(&error))
}

/// A change of a model: what it does, and what becomes of it.
type OfHandle = fn(&Operator, Asked) -> Made;

/// The same of a rollout.
type OfRollout = fn(&Operator, Tried<'_>, Asked) -> Made;

type Made = Result<Answer, Answer>;

/// The changes that can be made of a model: looked at, listed and made from here alone.
const OF_HANDLE: [(&str, OfHandle); 8] = [
    ("rollback", |operator, asked| {
        let reason = asked.reason()?;
        Ok(lowered(operator, &operator.rollback(reason)))
    }),
    ("revert_live", |operator, asked| {
        let reason = asked.reason()?;
        Ok(lowered(operator, &operator.revert_live(reason)))
    }),
    ("abort_candidates", |operator, asked| {
        let reason = asked.reason()?;
        Ok(lowered(operator, &operator.abort_candidates(reason)))
    }),
    ("rollback_to", |operator, mut asked| {
        let version = named(asked.version.take(), "version")?;
        match operator.rollback_to(version, asked.reason()?) {
            Ok(outcome) => Ok(lowered(operator, &outcome)),
            Err(error) => Err(Answer::refused(StatusCode::CONFLICT, in_full(&error))),
        }
    }),
    ("freeze", |operator, asked| {
        operator.freeze(asked.reason()?);
        Ok(done(operator))
    }),
    ("unfreeze", |operator, _| {
        operator.unfreeze();
        Ok(done(operator))
    }),
    ("drain", |operator, asked| {
        operator.drain(asked.reason()?);
        Ok(done(operator))
    }),
    ("release", |operator, asked| {
        let identity = named(asked.identity, "identity")?;
        if operator.release(identity_of(operator, &identity)?) {
            Ok(done(operator))
        } else {
            Err(Answer::refused(StatusCode::CONFLICT, "no version of that identity is quarantined"))
        }
    }),
];

/// The changes that can be made of a rollout: the same.
const OF_ROLLOUT: [(&str, OfRollout); 6] = [
    ("shadow", |operator, tried, asked| {
        let share = asked.share()?;
        raised(operator, tried, |operator| operator.shadow(tried.version, share))
    }),
    ("canary", |operator, tried, asked| {
        let share = asked.share()?;
        raised(operator, tried, |operator| operator.canary(tried.version, share))
    }),
    ("promote", |operator, tried, _| raised(operator, tried, |operator| operator.promote(tried.version))),
    ("pause", |operator, tried, asked| {
        let reason = asked.reason()?;
        operator.pause(tried.version, reason).map_err(|error| failed(operator, &error))?;
        Ok(done(operator))
    }),
    ("resume", |operator, tried, _| raised(operator, tried, |operator| operator.resume(tried.version))),
    ("abort", |operator, tried, asked| {
        let reason = asked.reason()?;
        let outcome = operator.abort(tried.version, reason).map_err(|error| failed(operator, &error))?;
        Ok(lowered(operator, &outcome))
    }),
];

/// A version that is tried, and what was sent beside the body.
#[derive(Clone, Copy)]
struct Tried<'a> {
    version: &'a str,
    parts: &'a Parts,
}

fn find<Change: Copy>(changes: &[(&str, Change)], name: &str) -> Option<Change> {
    changes.iter().find(|(known, _)| *known == name).map(|(_, change)| *change)
}

fn names<Change>(changes: &[(&str, Change)]) -> String {
    changes.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// Whether a path below a model's is that of a change.
pub(crate) fn is_one(path: &[&str]) -> bool {
    match path {
        ["rollouts", _, change] => find(&OF_ROLLOUT, change).is_some(),
        [change] => find(&OF_HANDLE, change).is_some(),
        _ => false,
    }
}

/// That there is no such change, and which there are.
pub(crate) fn none_such() -> Answer {
    let (of_handle, of_rollout) = (names(&OF_HANDLE), names(&OF_ROLLOUT));
    let why = format!(
        "there is no such change: of a model there are {of_handle}; of `rollouts/VERSION` there are {of_rollout}"
    );
    Answer::refused(StatusCode::NOT_FOUND, why)
}

/// Makes a change; `None` where there is no such one.
pub(crate) fn make(operator: &Operator, path: &[&str], asked: Asked, parts: &Parts) -> Option<Answer> {
    let made = match path {
        ["rollouts", version, change] => {
            find(&OF_ROLLOUT, change)?(operator, Tried { version, parts }, asked)
        }
        [change] => find(&OF_HANDLE, change)?(operator, asked),
        _ => return None,
    };
    Some(made.unwrap_or_else(|refused| refused))
}

/// Digits of an identity that pages, figures and reports show.
const DIGITS_SHOWN: usize = 12;

/// An identity as it is written in full, or one that is quarantined by the digits that are shown of it.
fn identity_of(operator: &Operator, written: &str) -> Result<Identity, Answer> {
    if let Ok(identity) = serde_json::from_value(json!(written)) {
        return Ok(identity);
    }
    let quarantined = operator.status().quarantined;
    let mut meant = quarantined.iter().filter(|entry| entry.identity.to_string().starts_with(written));
    match (meant.next(), meant.next()) {
        (Some(entry), None) if written.len() >= DIGITS_SHOWN => Ok(entry.identity),
        _ => {
            let why = format!(
                "`identity` is none of a quarantined version: it has 64 digits, of which {DIGITS_SHOWN} will do, and \
                 stands in `quarantined` of the status"
            );
            Err(Answer::refused(StatusCode::BAD_REQUEST, why))
        }
    }
}

/// Raises what a version is exposed to, unless somebody has changed who answers.
fn raised(
    operator: &Operator,
    tried: Tried<'_>,
    raise: impl Fn(&Operator) -> Result<(), OperatorError>,
) -> Made {
    let operator = &unchanged_since(operator, tried.parts)?;
    raise(operator).map_err(|error| failed(operator, &error))?;
    Ok(done(operator))
}

fn named(value: Option<String>, name: &str) -> Result<String, Answer> {
    value.ok_or_else(|| Answer::refused(StatusCode::BAD_REQUEST, format!("say the `{name}`")))
}

fn failed(operator: &Operator, error: &OperatorError) -> Answer {
    match error {
        // Whoever asks over HTTP has no `status().rollouts`.
        OperatorError::NoRollout { version } => {
            let status = operator.status();
            let running = status.rollouts.iter().filter(|rollout| !rollout.phase.is_over());
            let running: Vec<String> = running.map(|rollout| rollout.version.to_string()).collect();
            let there = if running.is_empty() {
                "none runs".into()
            } else {
                format!("there is {}", running.join(", "))
            };
            Answer::refused(StatusCode::NOT_FOUND, format!("no rollout that runs tries {version}: {there}"))
        }
        OperatorError::Rollout(RolloutError::EpochChanged { .. }) => {
            Answer::refused(StatusCode::PRECONDITION_FAILED, in_full(error))
        }
        // Nothing speaks against it: a disk is in the way, or a store, or what others have agreed on in the same moment, and it may pass. Of a
        // store that took it and did not say so the reason says that it may be true in a moment.
        OperatorError::Rollout(RolloutError::NotRecorded { .. } | RolloutError::NotAgreed { .. }) => {
            Answer::refused(StatusCode::SERVICE_UNAVAILABLE, in_full(error))
        }
        OperatorError::Rollout(_) => Answer::refused(StatusCode::CONFLICT, in_full(error)),
    }
}

/// Two may be on call: one promotes what the other has just taken back. Where a request says what was looked at, that must hold
/// still, in the moment of the change too.
fn unchanged_since(operator: &Operator, parts: &Parts) -> Result<Operator, Answer> {
    let Some(seen) = parts.headers.get(IF_MATCH) else { return Ok(operator.clone()) };
    let epoch = operator.status().epoch;
    let now = tag(epoch);
    let seen = seen.to_str().unwrap_or_default();
    if seen == "*" {
        return Ok(operator.clone());
    }
    // A proxy that compresses makes a tag weak. It numbers who answers and not the bytes of a page, so it says the same.
    if seen.split(',').map(str::trim).any(|seen| seen.strip_prefix("W/").unwrap_or(seen) == now) {
        return Ok(operator.at_epoch(epoch));
    }
    let why = format!("who answers has changed since {seen}: it is {now} now, so look again");
    Err(Answer::refused(StatusCode::PRECONDITION_FAILED, why))
}

fn done(operator: &Operator) -> Answer {
    changed(&operator.status(), None)
}

/// What has come of it. That another process has the state is told where it is so: of what is said here a rollback and a freeze hold once this one
/// takes over, a quarantine that was lifted and a freeze that was ended are then as they are there, and that it drains is its own affair.
/// So is how much of what was said here its fleet has not agreed on yet, since the store cannot be asked, or is being asked for something else.
fn changed(status: &Status, outcome: Option<serde_json::Value>) -> Answer {
    let mut answer = json!({ "live": status.live, "epoch": status.epoch });
    if let Some(outcome) = outcome {
        answer["outcome"] = outcome;
    }
    if status.standby {
        answer["standby"] = json!(true);
    }
    #[cfg(feature = "fleet")]
    if let Some(fleet) = status.fleet.as_ref().filter(|fleet| fleet.pending > 0) {
        answer["pending"] = json!(fleet.pending);
    }
    Answer::json(&answer).of_epoch(status.epoch)
}

fn lowered(operator: &Operator, outcome: &RollbackOutcome) -> Answer {
    let status = operator.status();
    changed(&status, Some(json!(outcome)))
}
