//! The part of a page that says what was tried, and on whom.

use std::time::Duration;

use super::document::{Block, Column, Section, Table};
use super::report::Report;
use super::words::{long, sentence, several};
use super::{Turn, headline, pictures};
use crate::base::share::Share;
use crate::base::text::count;
use crate::rollout::phase::Phase;
use crate::stats::ArmFigures;

/// Changes of exposure that are shown from the beginning and from the end, where there are more than both together.
const FIRST_SHOWN: usize = 8;

const LAST_SHOWN: usize = 16;

pub(crate) fn section(report: &Report) -> Section {
    let mut blocks = vec![Block::Text(planned(report))];
    if !report.from_journal {
        blocks.push(Block::Text(on_whom(report)));
    }
    blocks.extend(pictures::exposure(report).map(|plot| Block::Plots(vec![plot])));
    blocks.push(Block::Table(turns(report)));
    Section::new("What was tried, and on whom", blocks)
}

/// The plan and its guards.
fn planned(report: &Report) -> String {
    let candidate = report.rollout.version;
    let mut text = match &report.plan {
        None if report.from_journal => {
            format!("Whether {candidate} followed a plan, and which, the journal has not kept.")
        }
        Some(plan) if !plan.steps().is_empty() => {
            let steps: Vec<String> = plan.steps().iter().map(|step| step.exposure().to_string()).collect();
            format!(
                "The plan was to try {candidate} as {}, and then to promote it.",
                steps.join(", then as ")
            )
        }
        Some(_) => format!("{candidate} follows a plan whose steps are chosen when it is run."),
        None => format!("{candidate} was driven by hand, without a plan."),
    };
    let guards: Vec<String> =
        headline::judges(report).iter().map(|evidence| format!("“{}”", evidence.guard)).collect();
    match guards.as_slice() {
        [] => text.push_str(" No guard has judged it."),
        [one] => text.push_str(&format!(" One guard was to judge it: {one}.")),
        more => text.push_str(&format!(" {} guards were to judge it: {}.", more.len(), more.join(", "))),
    }
    text
}

/// Whose requests it answered.
fn on_whom(report: &Report) -> String {
    let seen = report.on_trial();
    let ArmFigures { requests, shadowed, fallbacks, .. } = seen.candidate;
    // Live answered them, so they are counted there.
    let withheld = &seen.live.withheld;
    let (candidate, live) = (report.rollout.version, report.live);
    let real = requests.saturating_sub(*shadowed);
    let mut text = Vec::new();
    if *shadowed > 0 {
        text.push(format!(
            "It was given {}, and its answers to them were thrown away",
            several(*shadowed, "copy").replace("copys", "copies")
        ));
    }
    if real > 0 {
        let whom = match report.rollout.keys {
            0 => String::from("drawn at random from all requests"),
            keys => format!(
                "those of the users that had been given to it: {} of both versions count as units",
                several(keys, "key")
            ),
        };
        text.push(format!("It had to answer {} of callers, {whom}", several(real, "request")));
        text.push(match fallbacks {
            0 => format!("{live} never had to answer in its place"),
            more => {
                format!("Of these {live} answered {} in its place, because {candidate} failed", count(*more))
            }
        });
    } else {
        text.push(format!("On trial no caller had an answer of {candidate}"));
    }
    if *withheld > 0 {
        text.push(format!(
            "{} of its requests were given to {live}, because nobody judged {candidate}, it failed on everything, or its calls did not end",
            count(*withheld)
        ));
    }
    if let Some(watched) = report.watched() {
        text.push(format!(
            "As live it has answered {} while it was watched",
            several(watched.candidate.requests, "request")
        ));
    }
    text.iter().map(|part| sentence(part)).collect::<Vec<_>>().join(" ")
}

fn turns(report: &Report) -> Table {
    let until =
        |place: usize| report.turns.get(place + 1).map(|next| next.at).or(report.ended).unwrap_or(report.at);
    let row = |(place, turn): (usize, &Turn)| {
        let lasted = until(place).since(turn.at);
        // Staged, and exposed at once.
        if lasted.is_zero() && place + 1 < report.turns.len() {
            return None;
        }
        let time = |of: Duration, none: &str| if of.is_zero() { String::from(none) } else { long(of) };
        Some(vec![time(turn.at.since(report.began), "at once"), exposed(turn), time(lasted, "–")])
    };
    let mut rows: Vec<Vec<String>> = report.turns.iter().enumerate().filter_map(row).collect();
    let shown = FIRST_SHOWN + LAST_SHOWN;
    if rows.len() > shown {
        let left_out = (rows.len() - shown) as u64 + report.turns_left_out;
        let gap = vec!["…".into(), format!("{} left out", several(left_out, "change")), "–".into()];
        rows.splice(FIRST_SHOWN..rows.len() - LAST_SHOWN, [gap]);
    }
    Table {
        caption: String::from("How the candidate was exposed"),
        columns: vec![Column::text("After"), Column::text("Exposure"), Column::text("For")],
        rows,
    }
}

/// `canary of 10 %, copies of 50 %`
fn exposed(turn: &Turn) -> String {
    let Turn { phase: at, weight, sample, .. } = turn;
    let (name, copies) = (phase(*at), if *sample == Share::NONE { None } else { Some(sample) });
    match (at, copies) {
        (Phase::Shadow, _) => format!("{name} of {sample}"),
        (Phase::Canary, None) => format!("{name} of {weight}"),
        (Phase::Canary, Some(copies)) => format!("{name} of {weight}, copies of {copies}"),
        (_, Some(copies)) => format!("{name}, copies of {copies}"),
        (_, None) => name.into(),
    }
}

pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Staged => "no traffic",
        Phase::Shadow => "shadow",
        Phase::Canary => "canary",
        Phase::Baking => "live, watched",
        Phase::Promoted => "live",
        Phase::Aborted => "taken off",
        Phase::RolledBack => "taken back",
    }
}
