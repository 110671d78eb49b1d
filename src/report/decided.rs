//! The part of a page that says what was decided and why: events in their order, with the grounds of each step.

use super::document::{Block, Ground, Progress, Section, Step};
use super::report::{Decided, Report};
use super::words::{capital, moment, saw, sentence, several, weighed};
use crate::base::text::{count, percent};
use crate::control::event::{Cause, Event, EventKind};
use crate::rollout::budget::ErrorBudgetStatus;
use crate::rollout::guard::affected::Affected;
use crate::rollout::guard::evidence::{Evidence, Strength};
use crate::rollout::guard::verdict::Verdict;

/// Steps that are shown from the beginning and from the end, where there are more than both together.
const FIRST_SHOWN: usize = 20;

const LAST_SHOWN: usize = 60;

pub(crate) fn section(report: &Report) -> Section {
    let mut blocks = Vec::new();
    if report.events_missing {
        blocks.push(Block::Aside(String::from(
            "The handle's log of events has let go of the beginning: what follows is the rest.",
        )));
    }
    let mut steps = steps(report);
    if steps.is_empty() {
        blocks.push(Block::Text(String::from("Nothing was decided yet.")));
    } else if steps.len() > FIRST_SHOWN + LAST_SHOWN {
        let left_out = steps.len() - FIRST_SHOWN - LAST_SHOWN;
        let last = steps.split_off(steps.len() - LAST_SHOWN);
        steps.truncate(FIRST_SHOWN);
        blocks.push(Block::Steps(steps));
        blocks.push(Block::Aside(format!("{} in between are left out.", several(left_out as u64, "step"))));
        blocks.push(Block::Steps(last));
    } else {
        blocks.push(Block::Steps(steps));
    }
    Section::new("What was decided, and why", blocks)
}

fn steps(report: &Report) -> Vec<Step> {
    let mut told: Vec<u64> = Vec::new();
    let mut steps: Vec<(crate::Timestamp, Step)> = Vec::new();
    for event in &report.events {
        // What the guard saw stands with what followed from it.
        if matches!(event.kind, EventKind::GuardFailed { .. }) {
            continue;
        }
        let grounds = grounds(report, event);
        told.extend(grounds.iter().filter_map(|evidence| evidence.decision));
        let step = Step {
            when: moment(event.at),
            what: sentence(&in_words(event)),
            by: event.actor.as_ref().map(|actor| actor.to_string()),
            grounds: grounds.iter().map(|evidence| ground(report, evidence)).collect(),
        };
        steps.push((event.at, step));
    }
    // Decisions of which the log has let go.
    for decided in report.decisions.iter().filter(|decided| !told.contains(&decided.number)) {
        let step = Step {
            when: moment(decided.at),
            what: format!(
                "Decided as a {} that answered {} of the requests.",
                super::tried::phase(decided.phase),
                decided.weight
            ),
            by: None,
            grounds: vec![ground(report, &decided.evidence)],
        };
        let place = steps.partition_point(|(at, _)| *at <= decided.at);
        steps.insert(place, (decided.at, step));
    }
    steps.into_iter().map(|(_, step)| step).collect()
}

/// The sentence of an event, with a capital where it does not begin with a name.
pub(crate) fn in_words(event: &Event) -> String {
    let text = event.to_string();
    match &event.kind {
        EventKind::RolledBack { .. }
        | EventKind::Frozen { .. }
        | EventKind::Unfrozen
        | EventKind::Draining { .. }
        | EventKind::LeaseExpired { .. }
        | EventKind::Started { .. }
        | EventKind::StandbyBehind { .. }
        | EventKind::TookOver
        | EventKind::FleetCutOff { .. }
        | EventKind::FleetJoined { .. }
        | EventKind::FleetRejoined
        | EventKind::FleetDiverged
        | EventKind::Lapsed { .. }
        | EventKind::StateNotSaved { .. }
        | EventKind::StateSaved
        | EventKind::ThreadDied { .. }
        | EventKind::ThreadAbandoned { .. }
        | EventKind::ClockMoved { .. }
        | EventKind::Closed => capital(&text),
        _ => text,
    }
}

/// The evidence of an event.
fn grounds(report: &Report, event: &Event) -> Vec<Evidence> {
    match &event.kind {
        EventKind::PhaseChanged { evidence, .. }
        | EventKind::Inconclusive { evidence, .. }
        | EventKind::Promoted { evidence, .. }
        | EventKind::Cleared { evidence, .. } => evidence.clone(),
        EventKind::Aborted { cause: Cause::Guard { evidence }, .. }
        | EventKind::NoWayBack { cause: Cause::Guard { evidence }, .. }
        | EventKind::RolledBack { cause: Cause::Guard { evidence }, .. } => {
            // What the other guards said of it, too.
            let others = report
                .decisions
                .iter()
                .filter(|decided| decided.at == event.at && decided.evidence.decision != evidence.decision);
            std::iter::once((**evidence).clone())
                .chain(others.map(|decided| decided.evidence.clone()))
                .collect()
        }
        _ => Vec::new(),
    }
}

fn ground(report: &Report, evidence: &Evidence) -> Ground {
    let mut detail: Vec<String> = evidence.strength.as_ref().map(weighed).into_iter().collect();
    detail.extend(
        evidence
            .affected
            .filter(|affected| matches!(affected, Affected::Counted(_)))
            .map(|affected| affected.to_string()),
    );
    detail.extend(evidence.note.clone());
    let record =
        evidence.decision.and_then(|number| report.decisions.iter().find(|decided| decided.number == number));
    if let Some(Decided { number, replayed, .. }) = record {
        let again = if *replayed {
            "judged again from its record: the same"
        } else {
            "its record does not lead to it"
        };
        detail.push(format!("decision {number}, {again}"));
    }
    Ground {
        verdict: match evidence.verdict {
            Verdict::Pass => "passed",
            Verdict::Fail => "failed",
            Verdict::Inconclusive => "open",
        },
        sentence: sentence(&if evidence.sentence.is_some() {
            saw(evidence)
        } else {
            capital(&saw(evidence))
        }),
        detail: sentence(&detail.join("; ")),
        progress: evidence.strength.as_ref().and_then(|strength| progress(strength, evidence.verdict)),
    }
}

/// How far the evidence went to what the verdict asks for.
fn progress(strength: &Strength, verdict: Verdict) -> Option<Progress> {
    let Strength { harm, harm_threshold, non_inferiority, non_inferiority_threshold, .. } = strength;
    let of_harm = verdict == Verdict::Fail;
    let (e, asked) =
        if of_harm { (*harm, *harm_threshold) } else { ((*non_inferiority)?, *non_inferiority_threshold) };
    let part = if asked.ln() > 0.0 { (e.ln() / asked.ln()).clamp(0.0, 1.0) } else { 1.0 };
    part.is_finite().then_some(Progress { part, of_harm })
}

/// How sure all of it is.
pub(crate) fn how_sure(report: &Report) -> Section {
    let mut blocks = Vec::new();
    match &report.rollout.error_budget {
        Some(error_budget) if error_budget.guards == 0 => blocks.push(Block::Text(String::from(
            "No guard that is a test with a stated error judged it: what was decided was decided by people, by the plan or by the host's own guards.",
        ))),
        Some(error_budget) => blocks.push(Block::Text(allowed(error_budget))),
        None if report.from_journal => blocks.push(Block::Text(String::from(
            "The journal has no record of a decision by a guard that is a test with a stated error.",
        ))),
        None => {
            blocks.push(Block::Text(String::from("No evidence has been taken yet, so no error was spent.")))
        }
    }
    let limit = report.on_trial().evidence.iter().find_map(|evidence| evidence.strength);
    let limit = limit.map_or(100.0, |strength| strength.harm_threshold.value());
    blocks.push(Block::Aside(format!(
        "An e-value is evidence as a number that is at most 1 on average wherever the claim against which it speaks is true: were the candidate within its margin, its evidence for harm would ever reach {limit:.0} in at most one of {limit:.0} rollouts, however often one looks. What guards say holds for the traffic that they saw; they cannot see what no figure shows.",
    )));
    blocks.extend(not_identified(report).map(Block::Aside));
    if report.rollout.labels_late > 0 {
        blocks.push(Block::Text(format!(
            "{} came after those of their time had become evidence; they count in the figures alone.",
            several(report.rollout.labels_late, "label")
        )));
    }
    if report.one_in > 1 {
        blocks.push(Block::Aside(format!(
            "Of the ticks at which something was seen, one in {} is drawn in the plots.",
            count(report.one_in)
        )));
    }
    Section::new("How sure this is", blocks)
}

/// Of which guards nobody can know who got worse.
fn not_identified(report: &Report) -> Option<String> {
    let evidence = report.on_trial().evidence.iter();
    let unknown = evidence.filter(|evidence| evidence.affected == Some(Affected::NotIdentified));
    let guards: Vec<String> = unknown.map(|evidence| format!("“{}”", evidence.guard)).collect();
    let (guards, many) = (guards.join(", "), guards.len());
    let say = if many == 1 { "says" } else { "say" };
    (many > 0).then(|| {
        format!(
            "What {guards} {say} is of means: each unit was asked of one version, so how many users got worse, and how many better, is not known. Versions that are asked about the same requests, as in a shadow, tell it.",
        )
    })
}

fn allowed(error_budget: &ErrorBudgetStatus) -> String {
    let tries = match error_budget.try_number {
        1 => String::from("This is the first try of this version"),
        number => {
            format!("This is try number {number} of this version, and the earlier ones have spent their part")
        }
    };
    format!(
        "The guards are sequential tests with a stated error, over all of them and however long the rollout runs. A candidate that is within every margin is taken back with a probability of at most {}; one that is beyond a margin is promoted with one of at most {}. {tries}.",
        percent(error_budget.harm()),
        percent(error_budget.promotion)
    )
}
