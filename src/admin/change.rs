//! Changes over HTTP: what is asked for, and what became of it.

use http::StatusCode;
use http::header::{CONTENT_TYPE, HOST, IF_MATCH, ORIGIN};
use http::request::Parts;
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, JSON, tag};
use crate::control::moves::RollbackOutcome;
use crate::model::identity::Identity;
use crate::operator::{Operator, OperatorError};

/// What stands in the body of a change.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Asked {
    reason: Option<String>,
    share: Option<f64>,
    version: Option<String>,
    identity: Option<String>,
}

/// Refuses what a page of somebody else's could send: a browser asks first before it sends JSON to another origin, and says where it
/// comes from.
pub(crate) fn refuse_foreign(parts: &Parts) -> Result<(), Answer> {
    let header = |name: http::HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let kind = header(CONTENT_TYPE).and_then(|kind| kind.split(';').next()).map(str::trim);
    if kind != Some(JSON) {
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

/// What is asked for. An empty body asks for nothing in particular.
pub(crate) fn read(body: &[u8]) -> Result<Asked, Answer> {
    if body.is_empty() {
        return Ok(Asked::default());
    }
    serde_json::from_slice(body).map_err(|error| {
        let why =
            format!(r#"a change is JSON such as {{"reason": "complaints"}} or {{"share": 0.05}}: {error}"#);
        Answer::refused(StatusCode::BAD_REQUEST, why)
    })
}

/// What can be changed of a model.
const OF_HANDLE: [&str; 8] =
    ["rollback", "revert_live", "abort_candidates", "rollback_to", "freeze", "unfreeze", "drain", "release"];

/// What can be changed of a rollout.
const OF_ROLLOUT: [&str; 6] = ["shadow", "canary", "promote", "pause", "resume", "abort"];

/// Whether a path below a model's is that of a change.
pub(crate) fn is_one(path: &[&str]) -> bool {
    match path {
        ["rollouts", _, change] => OF_ROLLOUT.contains(change),
        [change] => OF_HANDLE.contains(change),
        _ => false,
    }
}

/// That there is no such change, and which there are.
pub(crate) fn none_such() -> Answer {
    let (of_handle, of_rollout) = (OF_HANDLE.join(", "), OF_ROLLOUT.join(", "));
    let why = format!(
        "there is no such change: of a model there are {of_handle}; of `rollouts/VERSION` there are {of_rollout}"
    );
    Answer::refused(StatusCode::NOT_FOUND, why)
}

/// Makes a change; `None` where there is no such one.
pub(crate) fn make(operator: &Operator, path: &[&str], asked: Asked, parts: &Parts) -> Option<Answer> {
    let made = match path {
        ["rollouts", version, change] => of_rollout(operator, version, change, asked, parts)?,
        [change] => of_handle(operator, change, asked)?,
        _ => return None,
    };
    Some(made.unwrap_or_else(|refused| refused))
}

type Made = Result<Answer, Answer>;

fn of_handle(operator: &Operator, change: &str, asked: Asked) -> Option<Made> {
    let Asked { reason, version, identity, .. } = asked;
    let because = |act: &dyn Fn(String) -> Answer| reason.clone().ok_or_else(reasonless).map(act);
    Some(match change {
        "rollback" => because(&|reason| lowered(operator, &operator.rollback(reason))),
        "revert_live" => because(&|reason| lowered(operator, &operator.revert_live(reason))),
        "abort_candidates" => because(&|reason| lowered(operator, &operator.abort_candidates(reason))),
        "rollback_to" => named(version, "version").and_then(|version| {
            let reason = reason.ok_or_else(reasonless)?;
            match operator.rollback_to(&version, reason) {
                Ok(outcome) => Ok(lowered(operator, &outcome)),
                Err(error) => Err(Answer::refused(StatusCode::CONFLICT, error.to_string())),
            }
        }),
        "freeze" => because(&|reason| {
            operator.freeze(reason);
            done(operator)
        }),
        "drain" => because(&|reason| {
            operator.drain(reason);
            done(operator)
        }),
        "unfreeze" => {
            operator.unfreeze();
            Ok(done(operator))
        }
        "release" => named(identity, "identity").and_then(|identity| {
            if operator.release(identity_of(operator, &identity)?) {
                Ok(done(operator))
            } else {
                Err(Answer::refused(StatusCode::CONFLICT, "no version of that identity is quarantined"))
            }
        }),
        _ => return None,
    })
}

/// Digits of an identity that pages, figures and reports show.
const DIGITS_SHOWN: usize = 12;

/// An identity as it is written in full, or one that is quarantined by the digits that are shown of it.
fn identity_of(operator: &Operator, written: &str) -> Result<Identity, Answer> {
    if let Ok(identity) = serde_json::from_value(json!(written)) {
        return Ok(identity);
    }
    let quarantined = operator.status().quarantined;
    let mut meant = quarantined.iter().filter(|(identity, _)| identity.to_string().starts_with(written));
    match (meant.next(), meant.next()) {
        (Some((identity, _)), None) if written.len() >= DIGITS_SHOWN => Ok(*identity),
        _ => {
            let why = format!(
                "`identity` is none of a quarantined version: it has 64 digits, of which {DIGITS_SHOWN} will do, and \
                 stands in `quarantined` of the status"
            );
            Err(Answer::refused(StatusCode::BAD_REQUEST, why))
        }
    }
}

fn of_rollout(operator: &Operator, version: &str, change: &str, asked: Asked, parts: &Parts) -> Option<Made> {
    let Asked { reason, share, .. } = asked;
    let raised = |raise: &dyn Fn() -> Result<(), OperatorError>| {
        unchanged_since(operator, parts)?;
        raise().map_err(|error| failed(operator, &error))?;
        Ok(done(operator))
    };
    let share = || {
        let missing = "say the `share`, between 0 and 1";
        share.ok_or_else(|| Answer::refused(StatusCode::BAD_REQUEST, missing))
    };
    Some(match change {
        "shadow" => share().and_then(|share| raised(&|| operator.shadow(version, share))),
        "canary" => share().and_then(|share| raised(&|| operator.canary(version, share))),
        "promote" => raised(&|| operator.promote(version)),
        "resume" => raised(&|| operator.resume(version)),
        "pause" => reason.ok_or_else(reasonless).and_then(|reason| {
            operator.pause(version, reason).map_err(|error| failed(operator, &error))?;
            Ok(done(operator))
        }),
        "abort" => reason.ok_or_else(reasonless).and_then(|reason| {
            let outcome = operator.abort(version, reason).map_err(|error| failed(operator, &error))?;
            Ok(lowered(operator, &outcome))
        }),
        _ => return None,
    })
}

fn reasonless() -> Answer {
    Answer::refused(StatusCode::BAD_REQUEST, "say the `reason`: it stands in the log")
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
        OperatorError::Rollout(_) => Answer::refused(StatusCode::CONFLICT, error.to_string()),
    }
}

/// Two may be on call: one promotes what the other has just taken back. Where a request says what was looked at, that must hold
/// still.
fn unchanged_since(operator: &Operator, parts: &Parts) -> Result<(), Answer> {
    let Some(seen) = parts.headers.get(IF_MATCH) else { return Ok(()) };
    let now = tag(operator.status().epoch);
    let seen = seen.to_str().unwrap_or_default();
    if seen == "*" || seen.split(',').any(|seen| seen.trim() == now) {
        return Ok(());
    }
    let why = format!("who answers has changed since {seen}: it is {now} now, so look again");
    Err(Answer::refused(StatusCode::PRECONDITION_FAILED, why))
}

fn done(operator: &Operator) -> Answer {
    let status = operator.status();
    Answer::json(&json!({ "live": status.live, "epoch": status.epoch })).of_epoch(status.epoch)
}

fn lowered(operator: &Operator, outcome: &RollbackOutcome) -> Answer {
    let status = operator.status();
    let outcome = match outcome {
        RollbackOutcome::Aborted(candidates) => json!({ "aborted": candidates }),
        RollbackOutcome::RolledBack { from, to } => json!({ "rolled_back": { "from": from, "to": to } }),
        RollbackOutcome::Nothing => json!("nothing"),
    };
    let answer = json!({ "outcome": outcome, "live": status.live, "epoch": status.epoch });
    Answer::json(&answer).of_epoch(status.epoch)
}
