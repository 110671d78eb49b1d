//! `switchback state`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;
use switchback::decisions::{BacktestStep, Decision, ReplayError, recorded, recording, replay};
use switchback::guard::{Affected, Evidence, Rule};
use switchback::options::ErrorBudget;
use switchback::repository::Moment;
use switchback::state::{self, Repaired};
use switchback::status::{self, LookRetained, LookRollout, Quarantined, look};
use switchback::{Clock, Phase};

use crate::Failure;
use crate::out::{Out, ask};
use crate::progress::Progress;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows what is live, on trial, retained and quarantined. The handle may run meanwhile.
    Show { folder: PathBuf },
    /// Tells what happened to the handle, oldest first: who did what, when and why. It may run meanwhile.
    History {
        folder: PathBuf,
        /// No earlier than this: a time as RFC 3339, or how long ago, such as `2d` or `90m`.
        #[arg(long, value_parser = since)]
        since: Option<Since>,
        /// Goes on telling what happens, until it is ended.
        #[arg(short, long)]
        follow: bool,
    },
    /// Lists what guards have decided, oldest first: by which rule, on what counts, and why. The last 256 are kept; with --json
    /// their whole records, a line each. The handle may run meanwhile.
    Decisions {
        folder: PathBuf,
        /// Of this candidate alone.
        version: Option<String>,
    },
    /// Judges every decision again from the counts in its record. Ends with 1 where one comes out otherwise.
    Replay { folder: PathBuf },
    /// Judges what was counted in a rollout by other guards: of a version on trial all of it, of one whose rollout is over what its
    /// guards decided on last.
    Backtest {
        folder: PathBuf,
        version: String,
        /// A guard as configurations write it, such as "accuracy at most 0.01 below live".
        #[arg(long = "guard", value_name = "RULE", required = true)]
        guards: Vec<Rule>,
        /// The error of taking back one that is within all margins.
        #[arg(long, default_value_t = ErrorBudget::default().harm)]
        harm: f64,
        /// The error of promoting one that is not.
        #[arg(long, default_value_t = ErrorBudget::default().promotion)]
        promotion: f64,
    },
    /// Lets plans try again what is quarantined. Only while nothing runs on the folder: a handle that runs is told to release.
    Release {
        folder: PathBuf,
        /// Its identity as `state show` shows it, or how that begins.
        identity: String,
        /// Who does it, for the log; by default who is logged in.
        #[arg(long = "as", value_name = "NAME")]
        actor: Option<String>,
        /// Does not ask first.
        #[arg(long)]
        yes: bool,
    },
    /// Makes a journal of what is whole in one that is damaged, and keeps a copy of that. Only while nothing runs on the folder.
    Repair {
        folder: PathBuf,
        /// Does not ask first.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Copy)]
pub(crate) enum Since {
    Time(Moment),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    let ago = || humantime::parse_duration(text).map(Since::Ago);
    text.parse()
        .map(Since::Time)
        .or_else(|_| ago())
        .map_err(|_| "write a time as 2026-11-24T10:00:00Z, or how long ago as 2d, 6h or 90m".to_owned())
}

impl Command {
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        match self {
            Self::Show { folder } => show(out, &folder),
            Self::History { folder, since, follow } => {
                let now = Clock::system().now().unix_nanos();
                let begin = match since {
                    None => 0,
                    Some(Since::Time(Moment(time))) => time.unix_nanos(),
                    Some(Since::Ago(ago)) => {
                        now.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX))
                    }
                };
                crate::follow::history(out, &folder, begin, follow)
            }
            Self::Decisions { folder, version } => decisions(out, &folder, version.as_deref()),
            Self::Replay { folder } => replayed(out, &folder),
            Self::Backtest { folder, version, guards, harm, promotion } => {
                backtest(out, &folder, &version, &guards, ErrorBudget::new().harm(harm).promotion(promotion))
            }
            Self::Release { folder, identity, actor, yes } => {
                release(out, &folder, &identity, actor.or_else(|| std::env::var("USER").ok()), yes)
            }
            Self::Repair { folder, yes } => {
                if !yes {
                    let what = folder.display();
                    ask(&format!(
                        "What was decided and seen in the damaged part of the journal in {what} is lost. Has the disk been \
                         looked at, and does nothing run on the folder? Type yes to go on: "
                    ))?;
                }
                let Repaired { kept_as, lost_bytes, lost_records, state, evidence, events, .. } =
                    Progress::of(format!("reading what is whole in {}", folder.display()), || {
                        state::repair(&folder)
                    })?;
                if out.json {
                    return Ok(out.value(&json!({
                        "kept_as": kept_as, "lost_bytes": lost_bytes, "lost_records": lost_records, "state": state,
                        "evidence": evidence, "events": events,
                    }))?);
                }
                match kept_as {
                    None => out.line("nothing was damaged that is there")?,
                    Some(copy) => out.line(&format!("the journal as it was: {}", copy.display()))?,
                }
                let is = |there: bool| if there { "there" } else { "gone" };
                Ok(out.line(&format!(
                    "lost: {lost_bytes} bytes, {lost_records} records; what was decided is {}, evidence is {}; {events} events \
                     are whole",
                    is(state),
                    is(evidence)
                ))?)
            }
        }
    }
}

fn show(out: &mut Out, folder: &Path) -> Result<(), Failure> {
    let look = look(folder)?;
    if out.json {
        return Ok(out.value(&look)?);
    }
    let Some(look) = look else {
        return Ok(out.line("a handle has begun here, and has written nothing yet")?);
    };
    let held = match (look.held, look.closed) {
        (Some(true), _) => "held by a process",
        (Some(false), true) => "free: it was closed",
        (Some(false), false) => "free: it ended without a word",
        (None, true) => "closed; whether a process has it cannot be told",
        (None, false) => "not closed; whether a process has it cannot be told",
    };
    out.line(&format!(
        "{}  live {} since {}  {held}  generation {}, {} events, as of {}",
        look.name,
        look.live,
        Moment(look.live_since),
        look.generation,
        look.events,
        Moment(look.at),
    ))?;
    if let Some(reason) = &look.frozen {
        out.line(&format!("frozen: {reason}"))?;
    }
    let mut rows: Vec<_> = look.rollouts.iter().map(rollout_row).collect();
    rows.extend(look.retained.iter().map(retained_row));
    if !rows.is_empty() {
        out.table(&ROLLOUTS, rows)?;
    }
    let judged = look.rollouts.iter().flat_map(|rollout| {
        rollout.evidence.iter().map(|evidence| judged(rollout.version.to_string(), evidence))
    });
    let judged: Vec<_> = judged.collect();
    if !judged.is_empty() {
        out.line("")?;
        out.table(&JUDGED, judged)?;
    }
    for entry in &look.quarantined {
        let until = entry.until.map(|until| format!(" until {}", Moment(until))).unwrap_or_default();
        let Quarantined { identity, version, reason, .. } = entry;
        out.line(&format!("quarantined: {identity} ({version}){until}: {reason}"))?;
    }
    Ok(())
}

pub(crate) const ROLLOUTS: [&str; 5] = ["VERSION", "IS", "SHARE", "SINCE", "GUARDS"];

pub(crate) fn rollout_row(rollout: &LookRollout) -> Vec<String> {
    let step = rollout.step.map(|step| format!(" {}/{}", step + 1, rollout.steps)).unwrap_or_default();
    let share = match rollout.phase {
        Phase::Shadow => format!("copies of {}", rollout.sample),
        _ => rollout.weight.to_string(),
    };
    let paused = if rollout.paused { ", paused" } else { "" };
    let (version, since) = (rollout.version.to_string(), Moment(rollout.since).to_string());
    let missing = rollout.missing.iter().map(|guard| format!("missing: {guard}"));
    let guards = rollout.guards.iter().cloned().chain(missing).collect::<Vec<_>>().join("; ");
    let guards = if guards.is_empty() { "-".to_owned() } else { guards };
    vec![version, format!("{}{step}{paused}", rollout.phase), share, since, guards]
}

pub(crate) fn retained_row(kept: &LookRetained) -> Vec<String> {
    let taken_back = if kept.taken_back { ", taken back" } else { "" };
    let role = match &kept.unavailable {
        Some(reason) => format!("unavailable{taken_back}: {reason}"),
        None => format!("retained{taken_back}"),
    };
    let dash = || "-".to_owned();
    vec![kept.version.to_string(), role, dash(), Moment(kept.since).to_string(), dash()]
}

fn decisions(out: &mut Out, folder: &Path, version: Option<&str>) -> Result<(), Failure> {
    let mut records = recorded(folder)?;
    records.retain(|decision| version.is_none_or(|version| decision.candidate() == *version));
    if out.json {
        for decision in &records {
            out.json_line(&serde_json::to_string(decision).map_err(io::Error::from)?)?;
        }
        return Ok(());
    }
    if records.is_empty() {
        let of = version.map(|version| format!(" of {version}")).unwrap_or_default();
        return Ok(out.line(&format!("no decision{of} is recorded"))?);
    }
    let rows = records.iter().map(|decision| {
        let evidence = decision.evidence();
        vec![
            decision.number().to_string(),
            Moment(decision.at()).to_string(),
            decision.candidate().to_string(),
            decision.phase().to_string(),
            evidence.guard.clone(),
            evidence.verdict.to_string(),
            figure(evidence.observed, evidence.samples),
            figure(evidence.live, evidence.live_samples),
            evidence.limit.map_or_else(|| "-".to_owned(), short),
            why(evidence),
        ]
    });
    let heads =
        ["NUMBER", "TIME", "VERSION", "PHASE", "GUARD", "VERDICT", "CANDIDATE", "LIVE", "LIMIT", "WHY"];
    Ok(out.table(&heads, rows.collect())?)
}

pub(crate) const JUDGED: [&str; 9] =
    ["VERSION", "GUARD", "SAYS", "CANDIDATE", "LIVE", "LIMIT", "HARM", "NO HARM", "NOTE"];

/// What a guard said: how far its evidence has come, on both sides.
pub(crate) fn judged(version: String, evidence: &Evidence) -> Vec<String> {
    let dash = || "-".to_owned();
    let strength = evidence.strength.as_ref();
    let harm = strength.map(|test| format!("{} of {}", test.harm, test.harm_threshold));
    let no_harm = strength.map(|test| match &test.non_inferiority {
        Some(e) => format!("{e} of {}", test.non_inferiority_threshold),
        None => format!("none is needed before {}", test.before),
    });
    vec![
        version,
        evidence.guard.clone(),
        evidence.verdict.to_string(),
        figure(evidence.observed, evidence.samples),
        figure(evidence.live, evidence.live_samples),
        evidence.limit.map_or_else(dash, short),
        harm.unwrap_or_else(dash),
        no_harm.unwrap_or_else(dash),
        match affected(evidence).into_iter().chain(evidence.note.clone()).collect::<Vec<_>>().join("; ") {
            nothing if nothing.is_empty() => dash(),
            said => said,
        },
    ]
}

/// How many units got worse and better, where that is known.
fn affected(evidence: &Evidence) -> Option<String> {
    let counted = |affected: &Affected| matches!(affected, Affected::Counted(_));
    evidence.affected.filter(counted).map(|affected| affected.to_string())
}

fn figure(value: Option<f64>, samples: u64) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{} of {samples}", short(value)))
}

/// Four digits, as the sentences of the library have them.
fn short(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    rounded.to_string()
}

fn why(evidence: &Evidence) -> String {
    let said = evidence.sentence.iter().cloned().chain(affected(evidence)).chain(evidence.note.clone());
    let said = said.collect::<Vec<_>>().join("; ");
    if said.is_empty() { "-".to_owned() } else { said }
}

fn replayed(out: &mut Out, folder: &Path) -> Result<(), Failure> {
    let progress = Progress::begin();
    progress.on(format!("reading {}", folder.display()));
    let records = recorded(folder)?;
    let of = records.len();
    let again = |(place, decision)| {
        progress.on(format!("decision {} of {of}", place + 1));
        (decision, replay(decision).err())
    };
    let judged: Vec<(&Decision, Option<ReplayError>)> = records.iter().enumerate().map(again).collect();
    drop(progress);
    let differ = judged.iter().filter(|(_, error)| error.is_some()).count();
    if out.json {
        let of = |(decision, error): &(&Decision, Option<ReplayError>)| {
            let why = error.as_ref().map(ToString::to_string);
            json!({"number": decision.number(), "candidate": decision.candidate(),
                "guard": decision.evidence().guard, "agrees": why.is_none(), "why": why})
        };
        out.value(&judged.iter().map(of).collect::<Vec<_>>())?;
    } else {
        for (decision, error) in &judged {
            let (number, evidence) = (decision.number(), decision.evidence());
            let begin =
                format!("{number}  {}  {}: {}", decision.candidate(), evidence.guard, evidence.verdict);
            match error {
                None => out.line(&format!("{begin}, again"))?,
                Some(error) => out.line(&format!("{begin}, but {error}"))?,
            }
        }
        let all = judged.len();
        out.line(&match (all, differ) {
            (0, _) => "no decision is recorded".to_owned(),
            (_, 0) => format!("all {all} come out as they were recorded"),
            _ => format!("{differ} of {all} come out otherwise"),
        })?;
    }
    if differ == 0 { Ok(()) } else { Err(Failure::Said) }
}

fn backtest(
    out: &mut Out,
    folder: &Path,
    version: &str,
    guards: &[Rule],
    budget: ErrorBudget,
) -> Result<(), Failure> {
    let read = || recording(folder, version);
    let recording = Progress::of(format!("reading {}", folder.display()), read)?.ok_or_else(|| {
        Failure::Refused(format!(
            "nothing that was counted of a rollout of {version} is in {}",
            folder.display()
        ))
    })?;
    let tried = Progress::of("judging block after block", || recording.backtest(guards, budget));
    let tried = tried.map_err(|cause| Failure::Refused(cause.to_string()))?;
    if out.json {
        return Ok(out.value(&tried)?);
    }
    let (candidate, live, blocks) = (recording.candidate(), recording.live(), tried.steps().len());
    let of_time = if blocks == 1 { "block of time" } else { "blocks of time" };
    let after = |step: &BacktestStep| {
        let place =
            tried.steps().iter().position(|other| std::ptr::eq(other, step)).map_or(0, |place| place + 1);
        let units = step.units().iter().max().copied().unwrap_or(0);
        format!("after {place} of {blocks} {of_time}, with {units} units of {candidate}")
    };
    out.line(&match (tried.harm_at(), tried.passed_at()) {
        (Some(step), _) => format!("{candidate} against {live}: taken back {}", after(step)),
        (None, Some(step)) => format!("{candidate} against {live}: promoted {}", after(step)),
        (None, None) => format!("{candidate} against {live}: nothing is decided in {blocks} {of_time}"),
    })?;
    let decisive = tried.harm_at().or(tried.passed_at()).or(tried.steps().last());
    let rows = decisive.into_iter().flat_map(BacktestStep::evidence);
    out.table(&JUDGED, rows.map(|evidence| judged(candidate.to_string(), evidence)).collect())?;
    Ok(())
}

fn release(
    out: &mut Out,
    folder: &Path,
    identity: &str,
    actor: Option<String>,
    yes: bool,
) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::Refused(why));
    let quarantined = look(folder)?.map(|look| look.quarantined).unwrap_or_default();
    let begins = |entry: &&Quarantined| entry.identity.to_string().starts_with(identity);
    let found: Vec<_> = quarantined.iter().filter(begins).collect();
    let Quarantined { identity: known, version, reason, .. } = match found[..] {
        [] => return refused(format!("nothing is quarantined whose identity begins with {identity}")),
        [one] => one,
        _ => return refused(format!("{} identities begin with {identity}: write more of it", found.len())),
    };
    if !yes {
        ask(&format!(
            "{version} was quarantined, because {reason}. May plans try it again? Type yes to go on: "
        ))?;
    }
    if !status::release(folder, *known, actor.as_deref(), Clock::system().now())? {
        return refused(format!("{known} has been released meanwhile"));
    }
    if out.json {
        return Ok(out.value(&json!({"released": known, "version": version}))?);
    }
    Ok(out.line(&format!("{version} is released: plans may try it again"))?)
}
