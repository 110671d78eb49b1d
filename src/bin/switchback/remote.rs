//! Services that are operated over HTTP: `switchback get`, `promote`, `rollback` and the like, as the library's `admin` answers.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;

use clap::{Args, Subcommand};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use switchback::Phase;
use switchback::guard::Evidence;
use ureq::http::StatusCode;

use crate::Failure;
use crate::follow::{number, told, wait};
use crate::out::{Out, remark};
use crate::progress::Progress;
use crate::state::{JUDGED, judged};

/// How long a service may take to answer what only looks, and to be connected to.
const PATIENCE: Duration = Duration::from_secs(30);
/// A status of 64 versions has some hundred kilobytes.
const ANSWER_MAX: u64 = 16 << 20;
/// How often a service is asked that is watched, at most and at least.
const OFTEN: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(3600);
/// Events that stand below what is shown anew each time.
const EVENTS_SHOWN: usize = 10;
/// What a terminal obeys: clear all.
const CLEAR: &str = "\u{1b}[2J";
/// The variable with the token of whoever may change something.
const TOKEN: &str = "SWITCHBACK_TOKEN";

pub(crate) fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        Err(String::from("say why: it stands in the log"))
    } else {
        Ok(text.to_owned())
    }
}

/// A share as people write one: 0.05, or 5 % as guards and configurations say it. A bare 1 may be meant as either of two.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = match text.strip_suffix('%') {
        // Read as a hundredth, not divided by a hundred: the bits are those of 0.05.
        Some(percent) => format!("{}e-2", percent.trim_end()).parse::<f64>(),
        None => text.parse(),
    };
    match number {
        Ok(1.0) if text.parse::<u64>().is_ok() => {
            Err(String::from("it may be meant in percent or as all of it: write \"1 %\" or \"100 %\""))
        }
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(String::from("it is no share: write 0.05 or \"5 %\"")),
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows the models of a service, or one of them.
    Get {
        /// Where the service answers for its models, such as http://127.0.0.1:9900/switchback.
        url: String,
        model: Option<String>,
        /// Goes on until it is ended: on a terminal it shows them anew each time, with the last events; elsewhere it tells what
        /// happens to them, a line for each event.
        #[arg(short, long)]
        watch: bool,
        /// How often a service is asked that is watched: once a model, at most ten times a second.
        #[arg(long, value_name = "TIME", default_value = "1s", value_parser = every)]
        every: Duration,
    },
    /// Prints the page about the last rollout of a version as HTML, or as Markdown, or with --json its data.
    Report {
        url: String,
        model: String,
        version: String,
        /// Markdown, for a ticket or a pull request.
        #[arg(long)]
        markdown: bool,
    },
    /// Makes a candidate live.
    Promote(Raising),
    /// Lets a rollout go on that was paused.
    Resume(Raising),
    /// Lets a candidate answer this share of the requests.
    Canary {
        #[command(flatten)]
        of: Raising,
        /// Such as 0.05 or "5 %".
        #[arg(value_parser = share)]
        share: f64,
    },
    /// Copies this share of live's requests to a candidate.
    Shadow {
        #[command(flatten)]
        of: Raising,
        /// Such as 0.05 or "5 %".
        #[arg(value_parser = share)]
        share: f64,
    },
    /// Holds a rollout where it is.
    Pause(Lowering),
    /// Takes a candidate back.
    Abort(Lowering),
    /// Takes every candidate back; where there is none, live goes back to the version before.
    Rollback(Whole),
    /// Makes a version live again that was live before and is retained, and takes every candidate back.
    RollbackTo(Lowering),
    /// Takes live back to the version before it, and every candidate too.
    RevertLive(Whole),
    /// Takes every candidate back. Live stays what it is.
    AbortCandidates(Whole),
    /// Lets plans try again what is quarantined.
    Release {
        url: String,
        model: String,
        /// Its identity as `get` shows it, or the first 12 digits.
        identity: String,
        #[command(flatten)]
        by: By,
    },
    /// Says that the process is about to end: it asks for no new callers, and answers those who come. It is not taken back.
    Drain(Whole),
    /// Lets no plan raise anything. What does harm is still taken back.
    Freeze(Whole),
    /// Lets plans go on.
    Unfreeze {
        url: String,
        model: String,
        #[command(flatten)]
        by: By,
    },
}

#[derive(Args)]
pub(crate) struct Raising {
    url: String,
    model: String,
    version: String,
    /// Only if the service's routing still has this epoch, which `get` shows: nobody has changed who answers meanwhile.
    #[arg(long, value_name = "EPOCH")]
    if_epoch: Option<u64>,
    #[command(flatten)]
    by: By,
}

#[derive(Args)]
pub(crate) struct Lowering {
    url: String,
    model: String,
    version: String,
    /// Why: it stands in the log.
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    by: By,
}

#[derive(Args)]
pub(crate) struct Whole {
    url: String,
    model: String,
    /// Why: it stands in the log.
    #[arg(long, value_parser = reason)]
    reason: String,
    #[command(flatten)]
    by: By,
}

#[derive(Args)]
pub(crate) struct By {
    /// Who does it, for the log; by default who is logged in.
    #[arg(long = "as", value_name = "NAME")]
    actor: Option<String>,
    /// How long the service may take to do it: a version that has to be loaded first takes minutes. Whether it is done is not known
    /// after that.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl Command {
    /// What is to be told of a change in a process that looks on, where there is anything.
    fn on_standby(&self) -> Option<&'static str> {
        match self {
            Self::Rollback(_) | Self::RevertLive(_) | Self::RollbackTo(_) | Self::Freeze(_) => {
                Some("what is said here holds there once this one takes over; say it to that process too")
            }
            // That this one ends is its own affair.
            Self::Drain(_) => None,
            _ => Some("once this one takes over it goes on as it is there; say it to that process"),
        }
    }

    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        // A rollout that was asked to end is over, or is a watched live that has nothing to go back to.
        let goes_back =
            matches!(self, Self::Abort(_) | Self::Rollback(_) | Self::RevertLive(_) | Self::RollbackTo(_));
        let on_standby = self.on_standby();
        let answer = match self {
            Self::Get { url, model, watch: false, .. } => {
                return show(out, &asked(&url, model.as_deref())?);
            }
            Self::Get { url, model, every, .. } => return watch(out, &url, model.as_deref(), every),
            Self::Report { url, model, version, markdown } => {
                // By its ending: a page that is kept in a file does not load itself anew.
                let named = if out.json || markdown { version } else { format!("{version}.html") };
                return report(out, &address(&url, &[&model, "rollouts", &named])?, markdown);
            }
            Self::Promote(of) => of.change("promote", &json!({})),
            Self::Resume(of) => of.change("resume", &json!({})),
            Self::Canary { of, share } => of.change("canary", &json!({"share": share})),
            Self::Shadow { of, share } => of.change("shadow", &json!({"share": share})),
            Self::Pause(of) => of.change("pause"),
            Self::Abort(of) => of.change("abort"),
            Self::Rollback(of) => of.change("rollback"),
            Self::RollbackTo(Lowering { url, model, version, reason, by }) => {
                let body = json!({"version": version, "reason": reason});
                change(&url, &[&model, "rollback_to"], &by, None, &body)
            }
            Self::RevertLive(of) => of.change("revert_live"),
            Self::AbortCandidates(of) => of.change("abort_candidates"),
            Self::Release { url, model, identity, by } => {
                change(&url, &[&model, "release"], &by, None, &json!({"identity": identity}))
            }
            Self::Drain(of) => of.change("drain"),
            Self::Freeze(of) => of.change("freeze"),
            Self::Unfreeze { url, model, by } => change(&url, &[&model, "unfreeze"], &by, None, &json!({})),
        }?;
        let is_nothing = answer["outcome"] == "nothing";
        if let Some(told) = on_standby.filter(|_| answer["standby"] == true) {
            remark(&format!("another process has the state, and tries candidates: {told}"));
        }
        if let Some(told) = in_fleet(&answer) {
            remark(&told);
        }
        if out.json {
            out.value(&answer)?;
        } else if is_nothing {
            let why = if goes_back {
                "there is nothing to go back to: no candidate is exposed, and no version that was live before is retained"
            } else {
                "nothing has changed: no candidate is exposed"
            };
            out.line(&format!("{why}; live stays {}", text(&answer["live"])))?;
        } else {
            out.line(&told_of(&answer))?;
        }
        // Whoever wants no candidate exposed has that; whoever wants to go back has not gone.
        if is_nothing && goes_back { Err(Failure::Said) } else { Ok(()) }
    }
}

/// What is to be told of a change that the process's fleet has not agreed on yet.
fn in_fleet(answer: &Value) -> Option<String> {
    let pending = answer["pending"].as_u64().filter(|pending| *pending > 0)?;
    let wait = match pending {
        1 => "1 change of that process waits".to_owned(),
        _ => format!("{pending} changes of that process wait"),
    };
    Some(format!(
        "{wait} for its fleet's store: what is taken back or frozen holds there, and the others do not have it yet; where it \
         cannot reach the store, say it by `switchback fleet rollback` or `freeze` too"
    ))
}

/// `done: live v1, epoch 7`
fn told_of(answer: &Value) -> String {
    let said = answer.as_object().into_iter().flatten().map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name} {text}"),
        None => format!("{name} {value}"),
    });
    format!("done: {}", said.collect::<Vec<_>>().join(", "))
}

impl Raising {
    fn change(&self, verb: &str, body: &Value) -> Result<Value, Failure> {
        let Self { url, model, version, if_epoch, by } = self;
        change(url, &[model, "rollouts", version, verb], by, *if_epoch, body)
    }
}

impl Lowering {
    fn change(&self, verb: &str) -> Result<Value, Failure> {
        let Self { url, model, version, reason, by } = self;
        change(url, &[model, "rollouts", version, verb], by, None, &json!({"reason": reason}))
    }
}

impl Whole {
    fn change(&self, verb: &str) -> Result<Value, Failure> {
        let Self { url, model, reason, by } = self;
        change(url, &[model, verb], by, None, &json!({"reason": reason}))
    }
}

fn change(url: &str, path: &[&str], by: &By, if_epoch: Option<u64>, body: &Value) -> Result<Value, Failure> {
    let token = std::env::var(TOKEN).map_err(|_| {
        Failure::Refused(format!(
            "whoever changes something needs the service's token in the variable {TOKEN}"
        ))
    })?;
    // As the service reads it: where it comes from a file, the end of its line is no part of it.
    let token = token.trim();
    let url = address(url, path)?;
    let actor = by.actor.clone().or_else(|| std::env::var("USER").ok());
    let mut request = agent(by.timeout)
        .post(&url)
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json");
    if let Some(actor) = actor {
        request = request.header("Switchback-Actor", actor);
    }
    if let Some(epoch) = if_epoch {
        request = request.header("If-Match", format!("\"{epoch}\""));
    }
    let lost = |error| Failure::Unknown(url.clone(), Box::new(error));
    let sent = Progress::of(format!("waiting for {url}"), || request.send(body.to_string()));
    let (status, said) = match sent {
        Err(error) if is_unsent(&error) => {
            return Err(Failure::Unreachable(url.clone(), Box::new(error)));
        }
        asked => read(asked).map_err(lost)?,
    };
    // Whoever stands between has given up, and the service may be doing it still.
    if status.is_server_error() && sentence(&said).is_none() {
        return Err(lost(ureq::Error::StatusCode(status.as_u16())));
    }
    json(&url, &accepted(&url, status, said)?)
}

/// Whether the service has seen nothing of a request that failed so.
fn is_unsent(error: &ureq::Error) -> bool {
    use std::io::ErrorKind as Kind;
    use ureq::{Error, Timeout};

    match error {
        Error::Timeout(Timeout::Resolve | Timeout::Connect)
        | Error::HostNotFound
        | Error::ConnectionFailed
        | Error::BadUri(_)
        | Error::Http(_) => true,
        Error::Io(error) => matches!(
            error.kind(),
            Kind::ConnectionRefused
                | Kind::HostUnreachable
                | Kind::NetworkUnreachable
                | Kind::NetworkDown
                | Kind::AddrNotAvailable
        ),
        _ => false,
    }
}

/// Answers as they come, whatever their status: what the service says of it is what is told. Nothing is followed elsewhere, and
/// no proxy is asked: a token is for the one it was made for.
fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(PATIENCE))
        .timeout_global(Some(timeout));
    config.build().into()
}

fn address(url: &str, names: &[&str]) -> Result<String, Failure> {
    if !url.starts_with("http://") {
        return Err(Failure::Refused(format!(
            "{url} begins with something else than http://: this program has no TLS, so reach the service through a tunnel"
        )));
    }
    let mut address = url.trim_end_matches('/').to_owned();
    for name in names {
        address = format!("{address}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
    }
    Ok(address)
}

type Asked = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

fn answered(url: &str, asked: Asked) -> Result<Value, Failure> {
    json(url, &answered_text(url, asked)?)
}

fn answered_text(url: &str, asked: Asked) -> Result<String, Failure> {
    let failed = |error| Failure::Unreachable(url.to_owned(), Box::new(error));
    let (status, text) = read(asked).map_err(failed)?;
    accepted(url, status, text)
}

/// The status and the body of an answer.
fn read(asked: Asked) -> Result<(StatusCode, String), ureq::Error> {
    let mut response = asked?;
    let text = response.body_mut().with_config().limit(ANSWER_MAX).read_to_string()?;
    Ok((response.status(), text))
}

fn json(url: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text)
        .map_err(|_| Failure::Refused(format!("{url} answers no JSON: no switchback is there")))
}

/// What is answered, or why not.
fn accepted(url: &str, status: StatusCode, text: String) -> Result<String, Failure> {
    if status.is_success() {
        return Ok(text);
    }
    // Its own sentence, or the status where somebody else has answered.
    Err(Failure::Refused(
        sentence(&text).map_or_else(|| format!("{url} answers {status}"), |why| format!("{why} ({status})")),
    ))
}

/// Why a switchback refuses something.
fn sentence(text: &str) -> Option<String> {
    serde_json::from_str::<Value>(text).ok()?.get("error")?.as_str().map(str::to_owned)
}

/// What a service says of its models, or of one.
fn asked(url: &str, model: Option<&str>) -> Result<Value, Failure> {
    let names: Vec<&str> = model.into_iter().collect();
    let url = address(url, &names)?;
    let url = if names.is_empty() { format!("{url}/") } else { url };
    let sent = agent(PATIENCE).get(&url).header("Accept", "application/json");
    let value = answered(&url, Progress::of(format!("waiting for {url}"), || sent.call()))?;
    if each(&value).any(|status| status.get("live").is_none()) {
        return Err(Failure::Refused(format!("{url} shows no models: no switchback is there")));
    }
    Ok(value)
}

/// The status of each model in an answer.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice).iter()
}

/// Shows the models.
fn show(out: &mut Out, value: &Value) -> Result<(), Failure> {
    if out.json {
        return Ok(out.value(value)?);
    }
    let rows = each(value).flat_map(rows_of).collect();
    out.table(&["MODEL", "EPOCH", "VERSION", "IS", "SHARE", "REQUESTS", "ERRORS"], rows)?;
    let evidence: Vec<_> = each(value).flat_map(evidence_of).collect();
    if !evidence.is_empty() {
        out.line("")?;
        let heads = ["MODEL"].into_iter().chain(JUDGED).collect::<Vec<_>>();
        out.table(&heads, evidence)?;
        out.line("")?;
    }
    for status in each(value) {
        if status["standby"] == true {
            out.line(&format!(
                "{} looks on: another process has the state, and this one takes over where that ends",
                text(&status["name"])
            ))?;
        }
        if let Some(reason) = status["frozen"].as_str() {
            out.line(&format!("{} is frozen: {reason}", text(&status["name"])))?;
        }
        if let Some(reason) = status["draining"].as_str() {
            out.line(&format!("{} takes no new callers: {reason}", text(&status["name"])))?;
        }
        for entry in status["quarantined"].as_array().into_iter().flatten() {
            let of = |name: &str| text(&entry[name]);
            let (identity, version, reason) = (of("identity"), of("version"), of("reason"));
            out.line(&format!(
                "{} has quarantined: {identity} ({version}): {reason}",
                text(&status["name"])
            ))?;
        }
    }
    Ok(())
}

fn every(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(every) if (OFTEN..=SELDOM).contains(&every) => Ok(every),
        Ok(_) => Err("write a time between 100ms and 1h".to_owned()),
        Err(_) => Err("write a time as 1s or 500ms".to_owned()),
    }
}

/// Shows the models, then tells their events as they happen; on a terminal shows the models anew each time, above their last events.
/// A service that is gone is an error.
fn watch(out: &mut Out, url: &str, model: Option<&str>, every: Duration) -> Result<(), Failure> {
    let agent = agent(PATIENCE);
    let events = |name: &str, after: u64| -> Result<Vec<String>, Failure> {
        let url = format!("{}?after={after}", address(url, &[name, "events"])?);
        Ok(answered_text(&url, agent.get(&url).call())?.lines().map(str::to_owned).collect())
    };
    // Before they are shown: what happens in between is told, and not lost.
    let names = match model {
        Some(model) => vec![model.to_owned()],
        None => each(&asked(url, None)?).map(|status| text(&status["name"])).collect(),
    };
    let mut seen = Vec::new();
    for name in names {
        let mut last = 0;
        // Only so many are told at a time.
        while let Some(further) = events(&name, last)?.iter().rev().find_map(|line| number(line)) {
            last = further;
        }
        seen.push((name, last));
    }
    let paints = !out.json && std::io::stdout().is_terminal();
    let mut recent = VecDeque::new();
    if paints {
        out.own(CLEAR.as_bytes())?;
    } else if !out.json {
        show(out, &asked(url, model)?)?;
    }
    loop {
        if paints {
            let value = asked(url, model)?;
            out.paint(|out| {
                show(out, &value)?;
                out.line("")?;
                recent.iter().try_for_each(|line: &String| Ok::<_, Failure>(out.line(line)?))
            })?;
        }
        out.flush()?;
        if !out.is_read() {
            return Ok(());
        }
        wait(every);
        for (name, last) in &mut seen {
            for line in events(name, *last)? {
                let number = number(&line).unwrap_or(*last);
                // Numbers that go back are another process's, which has no folder of state.
                let began_anew = number < *last;
                let missed = number.saturating_sub(if began_anew { 1 } else { *last + 1 });
                *last = number;
                if out.json {
                    let mut event: Value = serde_json::from_str(&line).unwrap_or_default();
                    if let Some(event) = event.as_object_mut() {
                        event.insert("model".to_owned(), name.as_str().into());
                    }
                    out.json_line(&event.to_string())?;
                    continue;
                }
                let lost = format!("{name}  {missed} events are not here: the service has let go of them");
                // What a later release says is shown as it is.
                let sentence = told(&line).map_or(line, |(_, sentence)| sentence);
                let sentences = [format!("{name}  {sentence}")];
                let anew = began_anew
                    .then(|| format!("{name}  the service began anew, and counts its events from 1"));
                for line in anew.into_iter().chain((missed > 0).then_some(lost)).chain(sentences) {
                    if paints {
                        recent.push_back(line);
                    } else {
                        out.line(&line)?;
                    }
                }
            }
        }
        recent.drain(..recent.len().saturating_sub(EVENTS_SHOWN));
    }
}

/// The page as the service has made it: text and styles, with every name in it escaped, to be kept in a file.
fn report(out: &mut Out, url: &str, markdown: bool) -> Result<(), Failure> {
    let form = match (out.json, markdown) {
        (true, _) => "application/json",
        (false, true) => "text/markdown",
        (false, false) => "text/html",
    };
    let asked = agent(PATIENCE).get(url).header("Accept", form).call();
    if out.json {
        return Ok(out.value(&answered(url, asked)?)?);
    }
    let page = answered_text(url, asked)?;
    page.lines().try_for_each(|line| out.line(line))?;
    Ok(())
}

/// `canary 2/3, paused: complaints`
fn standing(rollout: &Value) -> String {
    let step = rollout["step"].as_u64().zip(rollout["steps"].as_u64().filter(|steps| *steps > 0));
    let step = step.map(|(at, of)| format!(" {}/{of}", at + 1)).unwrap_or_default();
    let paused = match (&rollout["paused"], rollout["pause_reason"].as_str()) {
        (Value::Bool(true), Some(reason)) => format!(", paused: {reason}"),
        (Value::Bool(true), None) => ", paused".to_owned(),
        _ => String::new(),
    };
    format!("{}{step}{paused}", text(&rollout["phase"]))
}

/// A row for each version that is loaded.
fn rows_of(status: &Value) -> Vec<Vec<String>> {
    let list = |name: &str| status[name].as_array().into_iter().flatten();
    let loaded = list("versions").filter(|version| version["role"] != "past");
    let row = |version: &Value| {
        let name = text(&version["version"]);
        // One that runs: an earlier one of the same name may be over, and live's is watched.
        let rollout =
            list("rollouts").filter(|rollout| runs(rollout)).find(|one| text(&one["version"]) == name);
        let is_live = version["role"] == "live";
        let is = match rollout {
            None => text(&version["role"]),
            Some(rollout) if is_live => format!("live, {}", standing(rollout)),
            Some(rollout) => standing(rollout),
        };
        let share = match rollout.filter(|_| !is_live) {
            None => "-".to_owned(),
            Some(rollout) if rollout["phase"] == "shadow" => {
                format!("copies of {}", percent(&rollout["sample"]))
            }
            Some(rollout) if rollout["withheld"] == true => {
                format!("{}, withheld", percent(&rollout["weight"]))
            }
            Some(rollout) => percent(&rollout["weight"]),
        };
        let figures = &version["total"];
        vec![
            text(&status["name"]),
            text(&status["epoch"]),
            name,
            is,
            share,
            requests(figures),
            errors(&figures["errors"]),
        ]
    };
    loaded.map(row).collect()
}

/// A row for what each guard said of a rollout that runs.
fn evidence_of(status: &Value) -> Vec<Vec<String>> {
    let rollouts = status["rollouts"].as_array().into_iter().flatten();
    let rows = rollouts.filter(|rollout| runs(rollout)).flat_map(|rollout| {
        let row = |said: &Value| {
            let version = text(&rollout["version"]);
            let row = match Evidence::deserialize(said) {
                Ok(evidence) => judged(version, &evidence),
                // Of a later release: which guard it is and what it says can be shown all the same.
                Err(_) => {
                    let mut row = vec![version, text(&said["guard"]), text(&said["verdict"])];
                    row.resize(JUDGED.len(), "-".to_owned());
                    row
                }
            };
            [text(&status["name"])].into_iter().chain(row).collect()
        };
        rollout["evidence"].as_array().into_iter().flatten().map(row)
    });
    rows.collect()
}

/// Whether a rollout is not over, as far as this release knows its phase.
fn runs(rollout: &Value) -> bool {
    !Phase::deserialize(&rollout["phase"]).is_ok_and(Phase::is_over)
}

fn percent(share: &Value) -> String {
    share.as_f64().map_or_else(|| text(share), |share| format!("{} %", (share * 1e4).round() / 1e2))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Without copies, whose answers nobody got: as the page counts them.
fn requests(figures: &Value) -> String {
    match (figures["requests"].as_u64(), figures["shadowed"].as_u64()) {
        (Some(all), Some(copies)) => all.saturating_sub(copies).to_string(),
        _ => text(&figures["requests"]),
    }
}

/// Of all kinds that are the version's own: what callers got wrong is not.
fn errors(by_kind: &Value) -> String {
    match by_kind.as_object() {
        Some(kinds) => {
            let own = kinds.iter().filter(|(kind, _)| *kind != "input");
            own.filter_map(|(_, count)| count.as_u64()).sum::<u64>().to_string()
        }
        None => text(by_kind),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Bug: of every change in a process that looks on it was told that it holds once that takes over. A quarantine that was lifted there and a
    /// freeze that was ended there do not, and that it drains is its own affair. Fix: each is told what it comes to.
    #[test]
    fn what_a_change_in_a_process_that_looks_on_comes_to_is_told_of_each() {
        #[derive(Parser)]
        struct Said {
            #[command(subcommand)]
            command: Command,
        }
        let told = |said: &str| {
            let words = format!("switchback {said}");
            Said::try_parse_from(words.split_whitespace()).unwrap().command.on_standby()
        };
        for holds in ["rollback", "revert-live", "freeze"] {
            let said = told(&format!("{holds} http://here late --reason complaints"));
            assert!(said.unwrap().contains("what is said here holds there"), "{holds}");
        }
        let forward = told("rollback-to http://here late v1 --reason complaints");
        assert!(forward.unwrap().contains("what is said here holds there"));
        let identity = "0".repeat(64);
        for ends in ["unfreeze http://here late".to_owned(), format!("release http://here late {identity}")] {
            assert!(told(&ends).unwrap().contains("it goes on as it is there"), "{ends}");
        }
        assert_eq!(told("drain http://here late --reason deploy"), None);
    }

    /// Bug: a rollback in a process that could not ask its fleet's store was told as done. Cause: the answer was shown as it came. Fix: what waits there
    /// is told, and what to do about it.
    #[test]
    fn a_change_that_a_fleet_has_not_agreed_on_is_told_as_such() {
        let told = in_fleet(&json!({"live": "v1", "epoch": 7, "pending": 1})).unwrap();
        assert!(
            told.starts_with("1 change of that process waits") && told.contains("switchback fleet rollback"),
            "{told}"
        );
        assert!(
            in_fleet(&json!({"live": "v1", "pending": 2}))
                .unwrap()
                .starts_with("2 changes of that process wait ")
        );
        assert_eq!(in_fleet(&json!({"live": "v1", "epoch": 7})), None);
    }

    /// Bug: a canary whose share live answers was shown as if it answered, a live that is watched and paused as "live", a name that is tried
    /// again by how it ended before; requests counted copies, and errors what callers got wrong. Cause: rollouts were looked up by the role
    /// candidate and from the end, and figures were added up. Fix: by the version and whether they run; as the page counts.
    #[test]
    fn each_version_is_shown_by_the_rollout_of_it_that_runs() {
        let version = |name: &str, role: &str| {
            let total = json!({"requests": 50, "shadowed": 20, "errors": {"input": 7, "engine": 3}});
            json!({"version": name, "role": role, "total": total})
        };
        let rollout = |name: &str, phase: &str| json!({"version": name, "phase": phase, "weight": 0.05});
        let mut withheld = rollout("v3", "canary");
        withheld["withheld"] = json!(true);
        let mut watched = rollout("v2", "baking");
        (watched["paused"], watched["pause_reason"]) = (json!(true), json!("complaints"));
        let status = json!({
            "name": "late",
            "epoch": 7,
            "versions": [version("v2", "live"), version("v3", "candidate"), version("v1", "retained")],
            "rollouts": [withheld, watched, rollout("v3", "aborted"), rollout("v1", "promoted")],
        });
        let shown: Vec<_> = rows_of(&status).iter().map(|row| row[2..].join(" | ")).collect();
        assert_eq!(
            shown,
            [
                "v2 | live, baking, paused: complaints | - | 30 | 3",
                "v3 | canary | 5 %, withheld | 30 | 3",
                "v1 | retained | - | 30 | 3",
            ]
        );
    }

    #[test]
    fn what_a_later_release_says_of_a_guard_is_shown_as_far_as_it_is_understood() {
        let evidence = json!([{"guard": "charm at least 0.9", "verdict": "undecided"}]);
        let rollout = |phase: &str| json!({"version": "v2", "phase": phase, "evidence": evidence});
        let status = json!({"name": "late", "rollouts": [rollout("canary"), rollout("aborted")]});
        let rows = evidence_of(&status);
        assert_eq!(rows.len(), 1, "one of them is over");
        assert_eq!(rows[0][..5], ["late", "v2", "charm at least 0.9", "undecided", "-"]);
        assert_eq!(rows[0].len(), JUDGED.len() + 1);
    }
}
