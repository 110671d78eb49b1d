//! Pages about models as they are now. They renew themselves, and need no script.

use super::path::encoded;
use crate::base::text::{count, number, percent};
use crate::handle::status::{Role, RolloutStatus, Status, VersionStatus};
use crate::operator::Operator;
use crate::report::decided::in_words;
use crate::report::document::{Block, Column, Document, Section, Step, Table, Tone};
use crate::report::html;
use crate::report::words::{capital, moment, short};
use crate::rollout::guard::affected::{Affected, AffectedUnits};
use crate::rollout::guard::rule::{Figure, Rule};
use crate::rollout::phase::Phase;

/// How often a page is loaded again, in seconds: as often as guards are asked five times.
pub(crate) const RENEWED_EVERY: u32 = 5;

/// Events at the foot of a page.
const EVENTS_SHOWN: usize = 20;

/// Live fails on more than this of its recent requests, or nobody has ticked for so many intervals: somebody should look. As in the alerts
/// `SwitchbackLiveErrors` and `SwitchbackNobodyTicks`.
const FAILS: f64 = 0.02;
const TICKS_MISSED: u32 = 10;

/// Links to reports that the journal alone has.
const REPORTS_BEFORE: usize = 32;

/// All models of a service.
pub(crate) fn all(statuses: &[Status], under: &str) -> String {
    let rows = statuses.iter().map(|status| {
        let running = running(status);
        let trials: Vec<String> =
            running.map(|rollout| format!("{} {}", rollout.version, rollout.phase)).collect();
        vec![status.name.clone(), status.live.to_string(), trials.join(", "), trouble(status).join(", ")]
    });
    let columns = ["Model", "Live", "On trial", "To be looked at"].map(Column::text).into();
    let table = Table { caption: "Models".into(), columns, rows: rows.collect() };
    let links =
        statuses.iter().map(|status| (status.name.clone(), format!("{under}/{}", encoded(&status.name))));
    let troubled = statuses.iter().filter(|status| !trouble(status).is_empty()).count();
    let outcome = if troubled == 0 { "All is well".into() } else { format!("{troubled} to be looked at") };
    let tone = if troubled == 0 { Tone::Good } else { Tone::Bad };
    html::render(&Document {
        title: "Models".into(),
        outcome,
        tone,
        lead: vec![format!("{} models in this process.", statuses.len())],
        facts: Vec::new(),
        sections: vec![Section::new("Models", vec![Block::Table(table), Block::Links(links.collect())])],
        foot: foot(),
        renewed_every: Some(RENEWED_EVERY),
    })
}

/// One model.
pub(crate) fn model(operator: &Operator, status: &Status, under: &str) -> String {
    let troubles = trouble(status);
    let (outcome, tone) = match (troubles.is_empty(), running(status).next()) {
        (false, _) => ("To be looked at", Tone::Bad),
        (true, Some(_)) => ("A rollout runs", Tone::Open),
        (true, None) => ("All is well", Tone::Good),
    };
    let mut facts = vec![
        ("Live".to_owned(), format!("{} since {}", status.live, moment(status.live_since))),
        ("Now".to_owned(), moment(status.at)),
    ];
    facts.extend(status.last_tick.map(|at| ("Guards asked".to_owned(), moment(at))));
    if status.standby {
        let decides =
            "by another process, which has the state; this one follows it, and takes over where it ends";
        facts.push(("Decided".to_owned(), decides.to_owned()));
    }
    // Who looks on writes nothing.
    facts.extend(status.durable.filter(|_| !status.standby).map(|durable| {
        (
            "On disk".to_owned(),
            if durable { "all that happened".into() } else { "not all that happened".into() },
        )
    }));
    facts.extend(fleet_fact(status));
    let mut sections = vec![Section::new("Versions", vec![Block::Table(versions(status))])];
    let rollouts: Vec<Block> = running(status).map(on_trial).collect();
    if !rollouts.is_empty() {
        sections.push(Section::new("On trial", rollouts));
    }
    let reports = status.rollouts.iter().map(|rollout| {
        let version = rollout.version.to_string();
        let path = format!("{under}/{}/rollouts/{}", encoded(&status.name), encoded(&version));
        (format!("{version}: {}", rollout.phase), path)
    });
    let mut reports: Vec<(String, String)> = reports.collect();
    reports.extend(before(operator, status).map(|version| {
        let path = format!("{under}/{}/rollouts/{}", encoded(&status.name), encoded(&version));
        (format!("{version}: over before this process began, or long ago"), path)
    }));
    if !reports.is_empty() {
        sections.push(Section::new("Reports", vec![Block::Links(reports)]));
    }
    let events = operator.events();
    let steps = events.iter().rev().take(EVENTS_SHOWN).map(|event| Step {
        when: moment(event.at),
        what: in_words(event),
        by: event.actor.as_deref().map(str::to_owned),
        grounds: Vec::new(),
    });
    sections.push(Section::new("What happened last", vec![Block::Steps(steps.collect())]));
    html::render(&Document {
        title: status.name.clone(),
        outcome: outcome.into(),
        tone,
        lead: troubles.into_iter().map(|trouble| format!("{trouble}.")).collect(),
        facts,
        sections,
        foot: foot(),
        renewed_every: Some(RENEWED_EVERY),
    })
}

fn foot() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "Made by switchback {version}. It holds no request, no key and no tensor. It renews itself every {RENEWED_EVERY} s."
    )
}

/// Versions whose rollouts are known by the records of their decisions alone, the last one first.
fn before(operator: &Operator, status: &Status) -> impl Iterator<Item = String> {
    let mut versions: Vec<String> = Vec::new();
    for decision in operator.decisions().iter().rev() {
        let version = decision.candidate.to_string();
        let is_known = status.rollouts.iter().any(|rollout| rollout.version == decision.candidate);
        if !is_known && !versions.contains(&version) {
            versions.push(version);
        }
    }
    versions.into_iter().take(REPORTS_BEFORE)
}

fn running(status: &Status) -> impl Iterator<Item = &RolloutStatus> {
    status.rollouts.iter().filter(|rollout| !rollout.phase.is_over())
}

/// Lists what somebody should look at, in a few words each.
fn trouble(status: &Status) -> Vec<String> {
    let mut troubles = Vec::new();
    if status.closed {
        troubles.push("It was closed".to_owned());
    }
    troubles.extend(status.draining.iter().map(|reason| format!("It takes no new callers: {reason}")));
    troubles.extend(status.frozen.iter().map(|reason| format!("It is frozen: {reason}")));
    if status.durable == Some(false) && !status.standby {
        troubles.push("What happens is not on disk".to_owned());
    }
    troubles.extend(
        status
            .unavailable
            .iter()
            .map(|lost| format!("{} cannot be gone back to: {}", lost.version, lost.reason)),
    );
    troubles.extend(live_trouble(status));
    // Whoever has never ticked is none of anybody's where nothing is on trial.
    let overdue = status.last_tick.filter(|at| status.at.since(*at) > status.tick_interval * TICKS_MISSED);
    if let Some(at) = overdue.filter(|_| !status.closed && !status.standby) {
        troubles.push(format!("Nobody ticks: guards were last asked {}", moment(at)));
    }
    troubles.extend(fleet_trouble(status));
    let paused = running(status).filter(|rollout| rollout.paused);
    troubles.extend(paused.map(|rollout| {
        let why = rollout.pause_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!("{} is paused{why} and waits for a person: resume its rollout, or abort it", rollout.version)
    }));
    troubles
}

/// What is wrong with the version that answers.
fn live_trouble(status: &Status) -> Vec<String> {
    let Some(live) = status.versions.iter().find(|version| version.role == Role::Live) else {
        return Vec::new();
    };
    let mut troubles = Vec::new();
    if status.quarantined.iter().any(|one| one.identity == live.identity) {
        troubles.push(format!(
            "{} answers, and is in quarantine for the harm that it does: go back to a version that is good, or stage one",
            live.version
        ));
    }
    if let Some(rate) = live.recent.error_rate.filter(|rate| *rate > FAILS) {
        troubles.push(format!("{} fails on {} of recent requests", live.version, percent(rate)));
    }
    troubles
}

/// Where the process stands in its fleet.
#[cfg(feature = "fleet")]
fn fleet_fact(status: &Status) -> Option<(String, String)> {
    let fleet = status.fleet.as_ref()?;
    let judges = if fleet.judges { ", and judges" } else { "" };
    Some(("Fleet".to_owned(), format!("{} at {}.{}{judges}", fleet.state, fleet.term, fleet.sequence)))
}

#[cfg(not(feature = "fleet"))]
fn fleet_fact(_: &Status) -> Option<(String, String)> {
    None
}

/// What stands between this process and its fleet.
#[cfg(feature = "fleet")]
fn fleet_trouble(status: &Status) -> Vec<String> {
    use crate::handle::fleet::FleetState;
    let Some(fleet) = &status.fleet else { return Vec::new() };
    let mut troubles = Vec::new();
    match fleet.state {
        FleetState::CutOff => troubles.push(format!(
            "It cannot ask the store of its fleet{}",
            fleet.store_error.as_ref().map(|why| format!(": {why}")).unwrap_or_default()
        )),
        FleetState::Diverged => {
            troubles
                .push("The store of its fleet was put back: `switchback fleet repair` mends it".to_owned());
        }
        _ => {}
    }
    if fleet.pending > 0 {
        troubles.push(format!("{} changes are not agreed on by its fleet yet", fleet.pending));
    }
    let unready = fleet.not_ready.iter();
    troubles.extend(unready.map(|one| format!("{} cannot be used here: {}", one.version, one.reason)));
    troubles
}

#[cfg(not(feature = "fleet"))]
fn fleet_trouble(_: &Status) -> Vec<String> {
    Vec::new()
}

fn versions(status: &Status) -> Table {
    let names = ["Version", "Role", "Answers", "Requests", "Failed", "p50", "p99", "Ready"];
    let columns = names.iter().enumerate().map(|(place, name)| {
        if (2..7).contains(&place) { Column::number(*name) } else { Column::text(*name) }
    });
    let shown = status.versions.iter().filter(|version| version.role != Role::Past);
    let rows = shown.map(|version| {
        let VersionStatus { version: name, role, total, recent, tier, .. } = version;
        let latency = recent.latency.as_ref().or(total.latency.as_ref());
        vec![
            name.to_string(),
            capital(role.name()),
            percent(answers(status, version)),
            count(total.requests - total.shadowed.min(total.requests)),
            recent.error_rate.or(total.error_rate).map_or_else(|| "–".into(), percent),
            latency.map_or_else(|| "–".into(), |latency| short(latency.p50)),
            latency.map_or_else(|| "–".into(), |latency| short(latency.p99)),
            tier.map(|tier| tier.to_string()).unwrap_or_default(),
        ]
    });
    Table { caption: "Versions".into(), columns: columns.collect(), rows: rows.collect() }
}

/// The share of requests that a version answers.
fn answers(status: &Status, version: &VersionStatus) -> f64 {
    let weight = |rollout: &RolloutStatus| if rollout.withheld { 0.0 } else { rollout.weight.fraction() };
    let on_canary = || running(status).filter(|rollout| rollout.phase == Phase::Canary);
    if version.role == Role::Live {
        (1.0 - on_canary().map(weight).sum::<f64>()).max(0.0)
    } else {
        on_canary().filter(|rollout| rollout.version == version.version).map(weight).sum()
    }
}

/// A rollout: what its guards said, where it has any.
fn on_trial(rollout: &RolloutStatus) -> Block {
    if rollout.evidence.is_empty() {
        return Block::Text(format!("{}. No guard has said anything of it yet.", standing(rollout)));
    }
    Block::Table(evidence(rollout))
}

/// Tabulates what the guards of a rollout said last.
fn evidence(rollout: &RolloutStatus) -> Table {
    let columns = vec![
        Column::text("Guard"),
        Column::text("Says"),
        Column::number("Candidate"),
        Column::number("Live"),
        Column::number("Evidence of harm"),
        Column::number("Of no harm"),
        Column::number("Got worse"),
        Column::number("Got better"),
    ];
    let rows = rollout.evidence.iter().map(|evidence| {
        // What a guard over latencies counts is requests: beside its sentence a bare 0.0005 would be read as seconds.
        let of_latency =
            evidence.guard.parse::<Rule>().is_ok_and(|rule| matches!(rule.figure(), Figure::Latency { .. }));
        let figure = |value: Option<f64>| match value {
            Some(slow) if of_latency => format!("{} too slow", percent(slow)),
            Some(value) => number(value),
            None => "–".into(),
        };
        let progress = |reached: Option<f64>, threshold: f64| {
            reached.map_or_else(|| "–".into(), |reached| percent((reached / threshold).clamp(0.0, 1.0)))
        };
        let strength = evidence.strength.as_ref();
        let share = |of: fn(&AffectedUnits) -> u64| match &evidence.affected {
            Some(Affected::Counted(affected)) => percent(of(affected) as f64 / affected.units.max(1) as f64),
            _ => "–".into(),
        };
        vec![
            evidence.guard.clone(),
            format!("{:?}", evidence.verdict).to_lowercase(),
            figure(evidence.observed),
            figure(evidence.live),
            strength
                .map_or_else(|| "–".into(), |of| progress(Some(of.harm_peak.ln()), of.harm_threshold.ln())),
            strength.map_or_else(
                || "–".into(),
                |of| progress(of.non_inferiority.map(|e| e.ln()), of.non_inferiority_threshold.ln()),
            ),
            share(|affected| affected.worse),
            share(|affected| affected.better),
        ]
    });
    Table { caption: standing(rollout), columns, rows: rows.collect() }
}

/// `v2: canary, answers 5 %, step 2 of 3, paused`
fn standing(rollout: &RolloutStatus) -> String {
    let RolloutStatus { version, phase, weight, withheld, paused, .. } = rollout;
    let withheld = if *withheld { ", withheld: live answers it" } else { "" };
    let step = rollout.step_told().map(|step| format!(", {step}")).unwrap_or_default();
    let paused = if *paused { ", paused" } else { "" };
    format!("{version}: {phase}, answers {}{withheld}{step}{paused}", percent(weight.fraction()))
}
