//! The sentence on what was decided, that a tired person understands.

use serde::{Deserialize, Serialize};

use super::design::{Design, Margin, Uses};
use super::evidence::{Effect, EffectKind};
use super::history::History;
use super::tested::Tested;
use crate::base::text::significant;
use crate::stats::sequential::Additive;
use crate::version::id::VersionId;

/// The names of the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Names {
    pub(crate) candidate: VersionId,
    pub(crate) live: VersionId,
}

/// `v3 is wrong 2.1 times as often as v2 (95 % interval 1.6 to 2.8) on 812 labelled pairs; 1.25 was allowed`
pub(crate) fn sentence(design: &Design, history: &History, effect: Option<Effect>, names: Names) -> String {
    let Names { candidate, live } = names;
    let units = units(design, history);
    let does = does(design.tested);
    let Some(effect) = effect else {
        let seen = design.observe(history);
        return match (seen.candidate, seen.live) {
            (Some(own), Some(lives)) if is_share(design.tested) => {
                format!("{candidate} {does} in {} and {live} in {} of {units}", percent(own), percent(lives))
            }
            _ => format!("{candidate} and {live} have nothing to be compared by yet, on {units}"),
        };
    };
    let Effect { estimate, low, high, .. } = effect;
    match (effect.kind, design.margin) {
        (EffectKind::Factor, Margin::Times(allowed)) => {
            let floor =
                design.floor.map(|floor| format!(", or {} in all", percent(floor))).unwrap_or_default();
            format!(
                "{candidate} {does} {} times as often as {live} ({}) on {units}; {}{floor} was allowed",
                short(estimate),
                between(short(low), short(high)),
                short(allowed),
            )
        }
        (EffectKind::Factor, Margin::AtLeastTimes(allowed)) => format!(
            "{candidate} succeeds {} times as often as {live} ({}) on {units}; {} was the least allowed",
            short(estimate),
            between(short(low), short(high)),
            short(allowed),
        ),
        (EffectKind::Difference, Margin::Above(allowed)) if is_share(design.tested) => {
            let points = |share: f64| short(share * 100.0);
            let (much, than) =
                if estimate < 0.0 { (points(-estimate), "less") } else { (points(estimate), "more") };
            format!(
                "{candidate} {does} {much} points {than} often than {live} ({}) on {units}; {} more were allowed",
                either_way(low, high, than, "more", "less", points),
                points(allowed),
            )
        }
        (EffectKind::Difference, Margin::Above(allowed)) => {
            // In the figure's own units.
            let size = |loss: f64| short(design.size_in_units(loss));
            let (much, than) =
                if estimate < 0.0 { (size(-estimate), "better") } else { (size(estimate), "worse") };
            format!(
                "{candidate} is {much} {than} than {live} by its {does} ({}) on {units}; {} worse was allowed",
                either_way(low, high, than, "worse", "better", size),
                size(allowed),
            )
        }
        (_, Margin::AtMost(allowed)) if is_share(design.tested) => format!(
            "{candidate} {does} in {} ({}) of {units}; {} was allowed",
            percent(estimate),
            between(percent(low), percent(high)),
            percent(allowed),
        ),
        _ => {
            let value = |loss: f64| short(design.reads(loss));
            format!(
                "{candidate} has {} ({}) on {units}; {} was the worst allowed",
                value(estimate),
                between(value(low), value(high)),
                design.limit(None).map_or_else(|| "more".into(), short),
            )
        }
    }
}

/// The same with the segments that are harmed first, and by how much.
pub(crate) fn of_segments(
    design: &Design,
    history: &History,
    harmed: &[String],
    names: Names,
    overall: String,
) -> String {
    let History::BySegment { segments, .. } = history else { return overall };
    let told = harmed.iter().filter_map(|label| {
        let (_, of) = segments.iter().find(|(known, _)| known == label)?;
        let history = History::Events(of.clone());
        let effect = design.interval(&history);
        Some(format!("in {label} {}", sentence(design, &history, effect, names)))
    });
    let told: Vec<String> = told.take(SEGMENTS_TOLD).collect();
    if told.is_empty() { overall } else { format!("{}; over all, {overall}", told.join("; ")) }
}

/// Segments that a sentence tells of: more nobody reads.
const SEGMENTS_TOLD: usize = 3;

/// Says what a version does that is counted.
fn does(tested: Tested) -> &'static str {
    match tested {
        Tested::Failures => "fails",
        Tested::Slow(_) => "is too slow",
        Tested::Wrong | Tested::WrongWithHidden => "is wrong",
        Tested::Missed => "misses what is yes",
        Tested::FalseAlarms | Tested::FalseAlarmsInArms => "is wrong when it says yes",
        Tested::F1 => "falls short (F1)",
        Tested::Differences => "differs from live",
        Tested::Loss(_) => "loss",
        Tested::Errors => "error",
        Tested::Kpi(_) | Tested::KpiValues(_) | Tested::KpiSuccesses(_) => "business figure",
        Tested::Comparisons => "comparison",
    }
}

/// Whether what is counted is a share of units.
fn is_share(tested: Tested) -> bool {
    matches!(
        tested,
        Tested::Failures
            | Tested::Slow(_)
            | Tested::Wrong
            | Tested::WrongWithHidden
            | Tested::Missed
            | Tested::FalseAlarms
            | Tested::FalseAlarmsInArms
            | Tested::F1
            | Tested::Differences
    )
}

/// Says what it rests on: `812 labelled pairs`.
fn units(design: &Design, history: &History) -> String {
    let seen = design.observe(history);
    let labelled = if design.needs_labels() { "labelled " } else { "" };
    let what = match design.uses {
        Uses::Pairs => "pairs",
        Uses::Both if design.compares_pairs(history) => "pairs",
        Uses::Alone if matches!(design.tested, Tested::Differences | Tested::Comparisons) => "pairs",
        _ => "requests",
    };
    match (design.uses, what) {
        (Uses::Arms | Uses::Both, "requests") => {
            format!("{} {labelled}requests beside {} of live's", seen.samples, seen.live_samples)
        }
        _ => format!("{} {labelled}{what}", seen.samples),
    }
}

fn between(low: String, high: String) -> String {
    format!("95 % interval {low} to {high}")
}

/// An interval of differences: in the direction that was named, or with both named where it holds both.
fn either_way(
    low: f64,
    high: f64,
    named: &str,
    above: &str,
    below: &str,
    text: impl Fn(f64) -> String,
) -> String {
    if low >= 0.0 && named == above {
        between(text(low), text(high))
    } else if high <= 0.0 && named == below {
        between(text(-high), text(-low))
    } else {
        let way = |x: f64| format!("{} {}", text(x.abs()), if x < 0.0 { below } else { above });
        between(way(low), way(high))
    }
}

fn percent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}

fn short(value: f64) -> String {
    significant(value, 3)
}

impl Design {
    /// Whether pairs are what a rule on both is shown by.
    fn compares_pairs(&self, history: &History) -> bool {
        match history {
            History::Events(stretch) | History::BySegment { all: stretch, .. } => {
                let all = stretch.blocks.total();
                let mut arms = all.requests.pooled().candidate;
                arms.merge(&all.keys.pooled().candidate);
                all.pairs.pairs() > arms.units
            }
            _ => false,
        }
    }

    /// A difference of losses, in the figure's own units.
    fn size_in_units(&self, loss: f64) -> f64 {
        (self.reads(loss) - self.reads(0.0)).abs() * loss.signum()
    }
}
