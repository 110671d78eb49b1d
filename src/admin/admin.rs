//! From a request to a response.

use std::fmt;
use std::sync::Arc;

use http::header::ACCEPT;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use serde_json::json;

use super::answer::{Answer, HTML, JSON_LINES, MARKDOWN};
use super::authority::{Authority, AuthorizationError};
use super::{change, path, view};
use crate::base::accept::welcome;
use crate::base::guarded::guarded;
use crate::operator::{Operator, Operators, WeakOperator};

/// The operation of a service's models over HTTP: see the [module](crate::admin). It holds the handles weakly, and clones are the
/// same.
#[derive(Clone)]
pub struct Admin {
    operators: Arc<[WeakOperator]>,
    changes: Option<Arc<dyn Authority>>,
    under: Arc<str>,
}

/// How a page is wanted.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Html,
    Markdown,
    Json,
}

impl Admin {
    /// The most that the body of a request may have; more is answered with 413.
    pub const BODY_MAX: usize = 64 << 10;

    /// Shows these models, and changes nothing.
    ///
    /// `ready`, `live` and `metrics` are paths of the whole service's: a model of such a name has no page of its own, and is seen among all
    /// models, at the service's root. What is below its name is there: reports, events, decisions and changes.
    pub fn new(operators: Operators) -> Self {
        let operators = operators.iter().map(Operator::downgrade).collect();
        Self { operators, changes: None, under: "".into() }
    }

    /// Lets those change something whom this knows: a [`Bearer`](super::Bearer), or a function of the host's.
    #[must_use]
    pub fn changes(self, authority: impl Authority) -> Self {
        Self { changes: Some(Arc::new(authority)), ..self }
    }

    /// Says the path under which it is reached, such as `/switchback`: it is taken off from what is asked, where that begins with it,
    /// and put before links.
    #[must_use]
    pub fn under(self, path: &str) -> Self {
        let path = path.trim_matches('/');
        Self { under: if path.is_empty() { "".into() } else { format!("/{path}").into() }, ..self }
    }

    /// Answers a request. A page takes some hundred microseconds for each model, one about a rollout some milliseconds, and the journal's
    /// reading where the rollout, or that there was none, is told by that alone: some hundred milliseconds of a journal that is
    /// full. Nothing else is waited for but a change's own work, of which a version that has to be woken takes longest: on a
    /// runtime let [`service`](Self::service) ask it, or a thread that may block.
    pub fn respond<B: AsRef<[u8]>>(&self, request: Request<B>) -> Response<Vec<u8>> {
        let (parts, body) = request.into_parts();
        self.answer(&parts, body.as_ref()).into_response()
    }

    fn answer(&self, parts: &Parts, body: &[u8]) -> Answer {
        let asked = parts.uri.path();
        let own = asked.strip_prefix(&*self.under).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let Some(names) = path::parts(own.unwrap_or(asked)) else {
            return Answer::refused(StatusCode::BAD_REQUEST, "the path is no text");
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        match parts.method {
            Method::GET | Method::HEAD => {
                let answer = self.look(parts, &names);
                if parts.method == Method::HEAD { answer.without_body() } else { answer }
            }
            Method::POST => self.change(parts, &names, body),
            _ if names.split_first().is_some_and(|(_, rest)| change::is_one(rest)) => Answer::only("POST"),
            _ => Answer::only("GET, HEAD"),
        }
    }

    fn there(&self) -> impl Iterator<Item = Operator> {
        self.operators.iter().filter_map(WeakOperator::upgrade)
    }

    fn look(&self, parts: &Parts, names: &[&str]) -> Answer {
        let form = form(parts);
        match names {
            [] => {
                let statuses: Vec<_> = self.there().map(|operator| operator.status()).collect();
                match form {
                    Form::Json => Answer::json(&statuses),
                    _ => Answer::new(HTML, view::all(&statuses, &self.under)),
                }
            }
            ["live"] => Answer::json(&json!({ "live": true })),
            ["ready"] => self.ready(),
            #[cfg(feature = "prometheus")]
            ["metrics"] => {
                let figures = crate::operator::Prometheus::of_distinct(self.operators.iter().cloned());
                let page = figures.answer(accepted(parts).unwrap_or_default());
                Answer::new(page.content_type, page.body)
            }
            [model, rest @ ..] => match self.there().find(|operator| operator.name() == *model) {
                Some(operator) => self.look_at(&operator, form, parts, rest),
                None => self.no_such_model(),
            },
        }
    }

    fn look_at(&self, operator: &Operator, form: Form, parts: &Parts, names: &[&str]) -> Answer {
        match names {
            [] => {
                let status = operator.status();
                let answer = match form {
                    Form::Json => Answer::json(&status),
                    _ => Answer::new(HTML, view::model(operator, &status, &self.under)),
                };
                answer.of_epoch(status.epoch)
            }
            ["events"] => events(operator, parts.uri.query()),
            ["decisions"] => Answer::json(&operator.decisions()),
            ["rollouts", version] => report(operator, version, form),
            names if change::is_one(names) => Answer::only("POST"),
            _ => Answer::not_found("such page"),
        }
    }

    fn no_such_model(&self) -> Answer {
        let names: Vec<String> = self.there().map(|operator| operator.name().to_owned()).collect();
        let names =
            if names.is_empty() { "none is left".into() } else { format!("there is {}", names.join(", ")) };
        Answer::not_found(&format!("such model: {names}"))
    }

    fn ready(&self) -> Answer {
        let because: Vec<String> = self.there().flat_map(|operator| operator.readiness().because).collect();
        let gone = self.operators.len() - self.there().count();
        let ready = because.is_empty() && gone == 0;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        Answer::json(&json!({ "ready": ready, "because": because, "gone": gone })).status(status)
    }

    fn change(&self, parts: &Parts, names: &[&str], body: &[u8]) -> Answer {
        let Some(authority) = &self.changes else {
            return Answer::refused(
                StatusCode::FORBIDDEN,
                "nothing can be changed here: see `Admin::changes`",
            );
        };
        if body.len() > Self::BODY_MAX {
            let why = format!("a change has at most {} bytes", Self::BODY_MAX);
            return Answer::refused(StatusCode::PAYLOAD_TOO_LARGE, why);
        }
        if let Err(refused) = change::refuse_foreign(parts) {
            return refused;
        }
        // Before anything is told of what there is.
        let actor = match guarded(|| authority.who(parts)) {
            Ok(Ok(actor)) => actor,
            Ok(Err(denied @ AuthorizationError::Forbidden { .. })) => {
                return Answer::refused(StatusCode::FORBIDDEN, denied.to_string());
            }
            Ok(Err(garbled @ AuthorizationError::Unreadable)) => {
                return Answer::refused(StatusCode::BAD_REQUEST, garbled.to_string());
            }
            Ok(Err(denied @ AuthorizationError::Unknown)) => return Answer::unknown(denied.to_string()),
            Err(_) => return Answer::refused(StatusCode::FORBIDDEN, "it could not be told who asks"),
        };
        let asked = match change::read(body) {
            Ok(asked) => asked,
            Err(refused) => return refused,
        };
        let Some((model, rest)) = names.split_first() else { return Answer::only("GET, HEAD") };
        let Some(operator) = self.there().find(|operator| operator.name() == *model) else {
            return self.no_such_model();
        };
        let operator = operator.acting_as(actor.0);
        change::make(&operator, rest, asked, parts).unwrap_or_else(change::none_such)
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = self.changes.is_some();
        f.debug_struct("Admin").field("operators", &self.operators).field("changes", &changes).finish()
    }
}

fn accepted(parts: &Parts) -> Option<&str> {
    parts.headers.get(ACCEPT)?.to_str().ok()
}

/// Returns the form that is asked for: a page for whoever reads, JSON for whoever says so or says nothing.
fn form(parts: &Parts) -> Form {
    let mut best = (Form::Json, 0.0);
    for (kind, weight) in welcome(accepted(parts).unwrap_or_default()) {
        let form = match kind.to_ascii_lowercase().as_str() {
            "text/html" => Form::Html,
            "text/markdown" => Form::Markdown,
            "application/json" => Form::Json,
            _ => continue,
        };
        // Of those that are as welcome as each other the first.
        if weight > best.1 {
            best = (form, weight);
        }
    }
    best.0
}

/// Events that are told at one time, unless fewer are asked for.
const EVENTS_MAX: usize = 1_000;

fn events(operator: &Operator, query: Option<&str>) -> Answer {
    let (after, limit) = match (path::number(query, "after"), path::number(query, "limit")) {
        (Ok(after), Ok(limit)) => (after, limit),
        (Err(why), _) | (_, Err(why)) => return Answer::refused(StatusCode::BAD_REQUEST, why),
    };
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
    let mut events = operator.events_since(after.map_or(0, |after| after.saturating_add(1)));
    if let (Some(after), true) = (after, events.is_empty()) {
        // A handle without a folder of state numbers its events from 1 at each start: whoever has seen the last event of the process
        // before would be told nothing until there are as many again.
        let all = operator.events_since(0);
        if all.last().is_some_and(|last| last.sequence < after) {
            events = all;
        }
    }
    // What comes after one is read in order; who names none wants to know what happened last.
    let first = if after.is_none() { events.len().saturating_sub(limit) } else { 0 };
    let mut lines = Vec::new();
    for event in events.iter().skip(first).take(limit) {
        if serde_json::to_writer(&mut lines, event).is_ok() {
            lines.push(b'\n');
        }
    }
    Answer::new(JSON_LINES, lines)
}

/// The report on a version's last rollout. A version may be called `2.md`, so that is looked for first. A page that is asked for by
/// its ending is one to be kept, which does not renew itself.
fn report(operator: &Operator, version: &str, form: Form) -> Answer {
    let endings = [(".html", Form::Html), (".md", Form::Markdown), (".json", Form::Json)];
    let found = operator.report(version).map(|report| (report, form, false)).or_else(|| {
        let mut named = endings.iter().filter_map(|(end, form)| Some((version.strip_suffix(end)?, *form)));
        named.find_map(|(version, form)| Some((operator.report(version)?, form, true)))
    });
    match found {
        Some((report, Form::Html, false)) => Answer::new(HTML, report.html_renewed(view::RENEWED_EVERY)),
        Some((report, Form::Html, true)) => Answer::new(HTML, report.html()),
        Some((report, Form::Markdown, _)) => Answer::new(MARKDOWN, report.markdown()),
        Some((report, Form::Json, _)) => Answer::json(&report),
        None => Answer::not_found(
            "rollout of such a version that this process remembers, nor one in its journal: what is older is in the history \
             (`switchback state history` and the folder of state)",
        ),
    }
}
