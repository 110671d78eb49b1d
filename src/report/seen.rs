//! The part of a page with the figures of both versions, side by side.

use super::document::{Block, Column, Section, Table};
use super::headline::{name, value};
use super::pictures;
use super::report::{Report, Seen};
use super::words::{capital, share_of, short};
use crate::base::text::{count, number, percent};
use crate::stats::sequential::{Events, holding};
use crate::stats::{ArmFigures, Cohort, Coverage, DivergenceFigures, LatencyFigures, Metric, QualityFigures};

pub(crate) fn section(report: &Report) -> Section {
    let trial = report.on_trial();
    let watched = report.watched();
    let caption = if watched.is_some() { "On trial" } else { "Figures since the attempt began" };
    let mut blocks = vec![Block::Table(figures(report, &trial, caption))];
    blocks.extend(on_pairs(report, trial.divergence).map(Block::Text));
    blocks.extend(report.metric.and_then(|_| labelled(trial.cohorts)).map(Block::Text));
    if let Some(watched) = &watched {
        blocks.push(Block::Table(figures(report, watched, "As live, while it was watched")));
        blocks.extend(on_pairs(report, watched.divergence).map(Block::Text));
    }
    let plots = pictures::figures(report);
    if !plots.is_empty() {
        blocks.push(Block::Plots(plots));
    }
    blocks.push(Block::Aside(format!(
        "Figures of {} are of its own requests over the same time. They are counts of all that was seen; what may be concluded from them is what the guards say below, who compare like with like.",
        report.live
    )));
    Section::new("What was seen", blocks)
}

/// A table of what both versions did.
fn figures(report: &Report, seen: &Seen<'_>, caption: &str) -> Table {
    let Seen { candidate, live, .. } = seen;
    let mut rows = Vec::new();
    let mut row = |name: &str, of: &dyn Fn(&ArmFigures) -> Option<String>| {
        let (own, lives) = (of(candidate), of(live));
        if own.is_some() || lives.is_some() {
            let cell = |cell: Option<String>| cell.unwrap_or_else(|| String::from("–"));
            rows.push(vec![name.to_owned(), cell(own), cell(lives)]);
        }
    };
    row("Requests", &|arm| Some(count(arm.requests)));
    row("of them copies", &|arm| (arm.shadowed > 0).then(|| count(arm.shadowed)));
    row("Failed", &|arm| {
        let refused = arm.errors.get(&crate::model::error::ErrorKind::Input).copied().unwrap_or(0);
        let failed = arm.errors.values().sum::<u64>().saturating_sub(refused);
        (arm.requests > 0).then(|| share_of(failed, arm.requests.saturating_sub(refused)))
    });
    let latency = |of: fn(&LatencyFigures) -> std::time::Duration| {
        move |arm: &ArmFigures| arm.latency.as_ref().map(|latency| short(of(latency)))
    };
    row("Time to answer, median", &latency(|latency| latency.p50));
    row("Time to answer, 99 %", &latency(|latency| latency.p99));
    row("Mean score", &|arm| arm.scores.as_ref()?.mean.map(number));
    row("Truth known", &|arm| (arm.outcomes > 0).then(|| count(arm.outcomes)));
    for metric in METRICS {
        row(&capital(name(metric)), &|arm| {
            Some(value(
                metric,
                arm.quality.as_ref().filter(|quality| quality.outcomes() > 0)?.measure(metric)?.value,
            ))
        });
    }
    for place in 0..candidate.kpis.len().max(live.kpis.len()) {
        let known = candidate.kpis.get(place).or_else(|| live.kpis.get(place));
        let Some(kpi) = known else { continue };
        row(&format!("{} (mean)", kpi.name), &|arm| {
            let kpi = arm.kpis.get(place)?;
            Some(format!("{} of {}", number(kpi.mean?), count(kpi.outcomes)))
        });
    }
    row("Answered in another's place", &|arm| (arm.substitutes > 0).then(|| count(arm.substitutes)));
    row("Unanswered, truth known", &|arm| {
        let unanswered = unanswered(arm.quality.as_ref()?);
        (unanswered > 0).then(|| count(unanswered))
    });
    Table {
        caption: caption.into(),
        columns: vec![
            Column::text("Figure"),
            Column::number(report.rollout.version.to_string()),
            Column::number(report.live.to_string()),
        ],
        rows,
    }
}

/// The figures of quality that a page has room for; a task has those of its kind.
const METRICS: [Metric; 14] = [
    Metric::Accuracy,
    Metric::Precision,
    Metric::Recall,
    Metric::F1,
    Metric::Auc,
    Metric::Brier,
    Metric::CalibrationError,
    Metric::Mae,
    Metric::Rmse,
    Metric::Bias,
    Metric::R2,
    Metric::HitRate,
    Metric::ReciprocalRank,
    Metric::Ndcg,
];

fn unanswered(quality: &QualityFigures) -> u64 {
    match quality {
        QualityFigures::Binary(figures) => figures.unanswered,
        QualityFigures::Classes(figures) => figures.unanswered,
        QualityFigures::Regression(figures) => figures.unanswered,
        QualityFigures::Ranking(figures) => figures.unanswered,
    }
}

/// The divergence of answers to the same input.
fn on_pairs(report: &Report, pairs: &DivergenceFigures) -> Option<String> {
    if pairs.pairs == 0 {
        return None;
    }
    let (candidate, live) = (report.rollout.version, report.live);
    let mut text = format!("Both versions answered {} of the same requests", count(pairs.pairs));
    match pairs.agreement {
        Some(agreement) => text.push_str(&format!(", and agreed in {}.", percent(agreement))),
        None => text.push('.'),
    }
    if report.metric == Some(Metric::Accuracy) {
        text.push_str(&format!(" {}", differ_at_most(pairs.pairs.saturating_sub(pairs.agreed), pairs.pairs)));
    }
    let labelled = pairs.labelled();
    if labelled > 0 {
        text.push_str(&format!(
            " Of {} whose truth is known, only {candidate} was right in {} and only {live} in {}.",
            count(labelled),
            count(pairs.only_candidate_right),
            count(pairs.only_live_right)
        ));
    }
    Some(text)
}

/// Where two versions give the same answer both are right or both are wrong: so their accuracies differ by no more than the
/// rate at which they disagree, whatever the truth is. The one thing that pairs say before there are any labels.
fn differ_at_most(disagreed: u64, pairs: u64) -> String {
    let most = holding(Events { events: disagreed, units: pairs }, 0.05, pairs).high;
    format!(
        "Whatever the truth is, their accuracies differ by at most {} points on these requests, and by at most {} on others like them (with 95 % confidence).",
        number(disagreed as f64 / pairs as f64 * 100.0),
        number(most * 100.0)
    )
}

/// How many predictions got their truth in time, of the last ones: no more are kept.
fn labelled(cohorts: &[Cohort]) -> Option<String> {
    let (own, lives) = (known(cohorts, |cohort| cohort.candidate)?, known(cohorts, |cohort| cohort.live));
    let beside = lives.map(|lives| format!(", and of live's that of {lives}")).unwrap_or_default();
    Some(format!(
        "Of the candidate's last predictions that were old enough to be judged, the truth of {own} was known in time{beside}."
    ))
}

/// How many of one version's, in words: predictions are counted by the tick after them and labels by their own time, so a
/// stretch may have some of its neighbour's, and what is missing is told only where it is more than that.
fn known(cohorts: &[Cohort], of: fn(&Cohort) -> Coverage) -> Option<String> {
    let matured = || cohorts.iter().filter(|cohort| cohort.matured).map(of);
    let sum = |count: fn(Coverage) -> u64| matured().map(count).fold(0_u64, u64::saturating_add);
    let (predictions, labelled) = (sum(|of| of.predictions), sum(|of| of.labelled));
    let slack = matured().map(|of| of.predictions).max()?;
    if predictions == 0 {
        return None;
    }
    let all = count(predictions);
    Some(if labelled == 0 {
        format!("none of {all}")
    } else if labelled.saturating_add(slack.saturating_mul(2)) >= predictions && labelled >= predictions / 2 {
        format!("nearly all of {all}")
    } else {
        format!("about {:.0}\u{a0}% of {all}", labelled as f64 / predictions as f64 * 100.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cohort(predictions: u64, labelled: u64, matured: bool) -> Cohort {
        Cohort { matured, candidate: Coverage { predictions, labelled }, ..Cohort::default() }
    }

    #[test]
    fn versions_that_agree_cannot_differ_in_accuracy() {
        let some = differ_at_most(20, 1_000);
        assert!(some.contains("at most 2 points on these requests, and by at most 3."), "{some}");
        assert!(differ_at_most(0, 100).contains("at most 0 points on these requests, and by"));
        assert!(differ_at_most(3, 3).contains("at most 100 points on these requests, and by at most 100 on"));
    }

    #[test]
    fn labels_that_are_missing_are_told_where_it_is_not_for_the_edges_of_stretches() {
        let known = |cohorts: &[Cohort]| known(cohorts, |cohort| cohort.candidate).unwrap_or_default();
        let shifted: Vec<Cohort> =
            (0..10).map(|place| cohort(20, if place == 0 { 0 } else { 20 }, true)).collect();
        assert_eq!(known(&shifted), "nearly all of 200");
        let half: Vec<Cohort> = (0..10).map(|_| cohort(20, 9, true)).collect();
        assert_eq!(known(&half), "about 45\u{a0}% of 200");
        assert_eq!(known(&[cohort(20, 0, true), cohort(20, 0, false)]), "none of 20");
        assert_eq!(known(&[cohort(20, 20, false)]), "");
    }
}
