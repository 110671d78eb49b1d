//! The plots of a page: exposure, evidence, latency and quality over time.

use super::document::{Block, Section};
use super::headline::{better, is_share, name};
use super::plot::plot::{Band, Colour, Limit, Line, Plot};
use super::plot::{Scale, Unit};
use super::report::Report;
use super::words::capital;
use super::{ArmPoint, Point, Turn};
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::base::text::{number, percent};
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::phase::Phase;
use crate::stats::sequential::EValue;

/// Outcomes from which on a figure of quality is drawn, where there come to be many more.
const OUTCOMES_DRAWN: u64 = 50;

/// E-values below this are no evidence of anything; lines end there.
const LEAST_E: f64 = 0.01;

/// The share that the candidate answered, and that was copied to it, over time.
pub(crate) fn exposure(report: &Report) -> Option<Plot> {
    // At its end it is shown as it was exposed until then.
    let turns = report.turns.iter().filter(|turn| !turn.phase.is_over());
    let share = |of: fn(&Turn) -> Share| -> Vec<(f64, f64)> {
        let mut line: Vec<(f64, f64)> = Vec::new();
        for turn in turns.clone() {
            let (x, y) = (elapsed(report, turn.at), of(turn).fraction() * 100.0);
            // The share holds until it changes.
            line.extend(line.last().map(|(_, before)| (x, *before)));
            line.push((x, y));
        }
        line.extend(line.last().map(|(_, last)| (end(report), *last)));
        line
    };
    let (answers, copies) = (share(|turn| turn.weight), share(|turn| turn.sample));
    let mut lines = vec![Line::new("answers", Colour::Candidate, vec![answers])];
    if copies.iter().any(|(_, y)| *y > 0.0) {
        lines.push(Line::new("copies", Colour::Live, vec![copies]).thin());
    }
    let most = lines.iter().flat_map(Line::values).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    Some(Plot {
        title: String::from("Exposure"),
        description: format!(
            "The share of requests that {} answered, and of those that were copied to it.",
            report.rollout.version
        ),
        unit: String::from("% of the requests"),
        scale: Scale::linear(0.0, most),
        lines,
        limits: Vec::new(),
        bands: bands(report),
        span: span(report),
        written: |y| percent(y / 100.0),
    })
}

/// The evidence of each guard, over time.
pub(crate) fn evidence(report: &Report) -> Option<Section> {
    let names = &report.rollout.evidence;
    let most = report.points.iter().map(|point| point.guards.len()).max().unwrap_or(0);
    let plots: Vec<Plot> = (0..most).filter_map(|place| of_guard(report, place, names.get(place))).collect();
    if plots.is_empty() {
        return None;
    }
    let text = format!(
        "Each guard weighs two claims: that {} is worse than its margin allows, and that it is not. Once the evidence for harm reaches its limit the candidate is taken back; once that against it reaches its own, the next step may be taken; how much is asked for there depends on how large that step is, so it starts from nothing with each. Between the two nothing is shown yet. Scales are logarithmic: ten times the evidence is the same step everywhere.",
        report.rollout.version
    );
    Some(Section::new("The evidence, over time", vec![Block::Text(text), Block::Plots(plots)]))
}

fn of_guard(report: &Report, place: usize, last: Option<&Evidence>) -> Option<Plot> {
    let strength = |point: &Point| point.guards.get(place).and_then(|guard| guard.strength);
    let harm = segments(report, begins_anew, |point| Some(strength(point)?.harm.value().max(LEAST_E)));
    // What is shown for the next step is shown since the last change of exposure alone.
    let changed = |before: &Point, point: &Point| {
        begins_anew(before, point) || (before.phase, before.weight) != (point.phase, point.weight)
    };
    let against =
        segments(report, changed, |point| Some(strength(point)?.non_inferiority?.value().max(LEAST_E)));
    let latest = report.points.iter().filter_map(strength).next_back()?;
    let mut limits =
        asked(report, "taken back at", Colour::Harm, |point| Some(strength(point)?.harm_threshold));
    let mut lines = vec![Line::new("harm", Colour::Harm, harm)];
    if latest.non_inferiority.is_some() {
        limits.extend(asked(report, "let on at", Colour::Fine, |point| {
            Some(strength(point)?.non_inferiority_threshold)
        }));
        lines.push(Line::new("no harm", Colour::Fine, against));
    }
    // Beyond what was asked for nobody needs to see how far it went.
    let top = limits.iter().map(|limit| limit.at).fold(10.0, f64::max) * 10.0;
    let guard = last.map_or_else(|| format!("guard {}", place + 1), |evidence| evidence.guard.clone());
    Some(Plot {
        title: guard,
        description: format!(
            "Evidence for harm at last {}, of {} asked for; against harm {}, of {}.",
            latest.harm,
            latest.harm_threshold,
            latest.non_inferiority.map_or_else(|| String::from("none"), |e| e.to_string()),
            latest.non_inferiority_threshold
        ),
        unit: String::from("e-value"),
        scale: Scale::logarithmic(LEAST_E, top),
        lines,
        limits,
        bands: bands(report),
        span: span(report),
        written: weight,
    })
}

/// An e-value as people read it: how far beyond a million it is says nothing more.
fn weight(e: f64) -> String {
    if e >= 1e6 { EValue::of(e).to_string() } else { number(e) }
}

/// The limits of evidence, each for as long as it was the same.
fn asked(report: &Report, what: &str, colour: Colour, of: impl Fn(&Point) -> Option<EValue>) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    for point in &report.points {
        let Some(at) = of(point).map(EValue::value).filter(|at| at.is_finite()) else { continue };
        let now = elapsed(report, point.at);
        match limits.last_mut() {
            Some(last) if last.at == at => last.to = now,
            last => {
                // It changed somewhere between two points.
                let from = last.map_or(0.0, |last| last.to);
                limits.push(Limit { name: format!("{what} {}", number(at)), colour, at, from, to: now });
            }
        }
    }
    limits.last_mut().into_iter().for_each(|last| last.to = span(report));
    limits
}

/// Latency, failures and quality, over time.
pub(crate) fn figures(report: &Report) -> Vec<Plot> {
    [latency(report), quality(report), failures(report)].into_iter().flatten().collect()
}

fn latency(report: &Report) -> Option<Plot> {
    let seconds = |of: fn(&ArmPoint) -> Option<std::time::Duration>, arm: fn(&Point) -> &ArmPoint| {
        segments(report, begins_anew, move |point| of(arm(point)).map(|time| time.as_secs_f64()))
    };
    let (own, lives) = (report.rollout.version, report.live);
    let lines = vec![
        Line::new(format!("{own} 99 %"), Colour::Candidate, seconds(|arm| arm.p99, |point| &point.candidate)),
        Line::new(format!("{lives} 99 %"), Colour::Live, seconds(|arm| arm.p99, |point| &point.live)),
        Line::new(format!("{own} half"), Colour::Candidate, seconds(|arm| arm.p50, |point| &point.candidate))
            .thin(),
        Line::new(format!("{lives} half"), Colour::Live, seconds(|arm| arm.p50, |point| &point.live)).thin(),
    ];
    let (lines, (low, high)) = drawn(lines)?;
    let unit = Unit::of_seconds(high);
    let lines: Vec<Line> = lines.into_iter().map(|line| line.times(unit.per_second)).collect();
    let (low, high) = (low * unit.per_second, high * unit.per_second);
    let scale =
        if low > 0.0 && high > 5.0 * low { Scale::logarithmic(low, high) } else { Scale::linear(0.0, high) };
    Some(Plot {
        title: String::from("Time to answer"),
        description: String::from("What 99 % of the answers, and half of them, did not exceed, so far."),
        unit: String::from(unit.name),
        scale,
        lines,
        limits: Vec::new(),
        bands: bands(report),
        span: span(report),
        written: number,
    })
}

fn quality(report: &Report) -> Option<Plot> {
    let metric = report.metric?;
    let times = if is_share(metric) { 100.0 } else { 1.0 };
    let most = report.points.iter().map(|point| point.candidate.outcomes.min(point.live.outcomes)).max()?;
    let least = if most > 5 * OUTCOMES_DRAWN { OUTCOMES_DRAWN } else { 1 };
    let draw = |arm: fn(&Point) -> &ArmPoint| {
        segments(report, begins_anew, move |point| {
            arm(point).quality.filter(|_| arm(point).outcomes >= least).map(|quality| quality * times)
        })
    };
    let lines = vec![
        Line::new(report.rollout.version.to_string(), Colour::Candidate, draw(|point| &point.candidate)),
        Line::new(report.live.to_string(), Colour::Live, draw(|point| &point.live)),
    ];
    let (lines, (low, high)) = drawn(lines)?;
    Some(Plot {
        title: capital(name(metric)),
        description: format!(
            "So far, over all predictions whose truth was known by then; {}.",
            better(metric)
        ),
        unit: String::from(if is_share(metric) { "%" } else { name(metric) }),
        scale: Scale::linear(low, high),
        lines,
        limits: Vec::new(),
        bands: bands(report),
        span: span(report),
        written: number,
    })
}

fn failures(report: &Report) -> Option<Plot> {
    if report.points.iter().all(|point| point.candidate.failures == 0 && point.live.failures == 0) {
        return None;
    }
    let draw = |arm: fn(&Point) -> &ArmPoint| {
        segments(report, begins_anew, move |point| {
            let ArmPoint { requests, failures, .. } = arm(point);
            (*requests > 0).then(|| *failures as f64 / *requests as f64 * 100.0)
        })
    };
    let lines = vec![
        Line::new(report.rollout.version.to_string(), Colour::Candidate, draw(|point| &point.candidate)),
        Line::new(report.live.to_string(), Colour::Live, draw(|point| &point.live)),
    ];
    let (lines, (_, high)) = drawn(lines)?;
    Some(Plot {
        title: String::from("Failures"),
        description: String::from(
            "The share of the requests so far that each version failed on; lower is better.",
        ),
        unit: String::from("% of the requests"),
        scale: Scale::linear(0.0, high),
        lines,
        limits: Vec::new(),
        bands: bands(report),
        span: span(report),
        written: number,
    })
}

/// The lines that have something to draw, and the range of all; nothing where there is nothing to be seen over time.
fn drawn(lines: Vec<Line>) -> Option<(Vec<Line>, (f64, f64))> {
    let lines: Vec<Line> = lines.into_iter().filter(|line| line.values().next().is_some()).collect();
    let long_enough = lines.iter().any(|line| line.values().count() > 1);
    let values = || lines.iter().flat_map(Line::values);
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    (long_enough && low.is_finite() && high.is_finite()).then_some((lines, (low, high)))
}

/// Whether figures start from nothing between two points: with the watch over a new live, or with another guard.
fn begins_anew(before: &Point, point: &Point) -> bool {
    before.candidate.requests > point.candidate.requests
        || (before.phase == Phase::Baking) != (point.phase == Phase::Baking)
}

/// The values of points, in stretches over which it was counted without a break.
fn segments(
    report: &Report,
    breaks: impl Fn(&Point, &Point) -> bool,
    of: impl Fn(&Point) -> Option<f64>,
) -> Vec<Vec<(f64, f64)>> {
    let mut all: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut before: Option<&Point> = None;
    for point in &report.points {
        if all.is_empty() || before.is_some_and(|before| breaks(before, point)) {
            all.push(Vec::new());
        }
        if let (Some(value), Some(line)) = (of(point).filter(|value| !value.is_nan()), all.last_mut()) {
            line.push((elapsed(report, point.at), value));
        }
        before = Some(point);
    }
    all.retain(|line| !line.is_empty());
    all
}

/// The phases, as bands behind the lines.
fn bands(report: &Report) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for (place, turn) in report.turns.iter().enumerate() {
        let from = elapsed(report, turn.at);
        let to = report.turns.get(place + 1).map_or(end(report), |next| elapsed(report, next.at));
        let name = match turn.phase {
            Phase::Staged => String::from("no traffic"),
            Phase::Shadow => String::from("shadow"),
            Phase::Canary => turn.weight.to_string().replace(' ', "\u{a0}"),
            Phase::Baking => String::from("live"),
            _ => continue,
        };
        match bands.last_mut() {
            // Only the copies have changed.
            Some(last) if last.name == name => last.to = to,
            _ => bands.push(Band { from, to, name }),
        }
    }
    bands
}

fn elapsed(report: &Report, at: Timestamp) -> f64 {
    at.since(report.began).as_secs_f64()
}

fn end(report: &Report) -> f64 {
    elapsed(report, report.ended.unwrap_or(report.at))
}

fn span(report: &Report) -> f64 {
    let last = report.points.last().map_or(0.0, |point| elapsed(report, point.at));
    end(report).max(last)
}
