//! The headline: a rollout in a sentence or two.

use super::Turn;
use super::document::Tone;
use super::report::{Report, Seen};
use super::words::{long, moment, several, short};
use crate::base::clock::Timestamp;
use crate::base::share::Share;
use crate::base::text::{number, percent};
use crate::control::event::{Cause, Event, EventKind, most_often};
use crate::rollout::guard::evidence::Evidence;
use crate::rollout::phase::Phase;
use crate::stats::{Better, Metric};

/// The fate of the rollout, in a word or two.
pub(crate) fn outcome(report: &Report) -> (&'static str, Tone) {
    let paused = report.rollout.paused;
    match (report.rollout.phase, &report.rollout.cause) {
        (Phase::Promoted, _) if left_again(report).is_some() => ("Promoted, later replaced", Tone::Open),
        (Phase::Promoted, None | Some(Cause::Superseded { .. })) => ("Promoted", Tone::Good),
        // Whether it is live still, or another version was promoted since, is not told here.
        (Phase::Promoted, Some(_)) => ("Promoted, and did harm", Tone::Bad),
        (Phase::Baking, _) => ("Live, being watched", Tone::Good),
        (Phase::Staged | Phase::Shadow | Phase::Canary, _) if paused => ("Held: nothing decided", Tone::Open),
        (Phase::Staged, _) => ("Waiting", Tone::Open),
        (Phase::Shadow | Phase::Canary, _) => ("On trial", Tone::Open),
        (
            _,
            Some(
                Cause::Guard { .. }
                | Cause::Tripped { .. }
                | Cause::Overdue { .. }
                | Cause::Crashed { .. }
                | Cause::ProcessesEnded { .. }
                | Cause::Eliminated,
            ),
        ) => ("Taken back", Tone::Bad),
        (_, Some(Cause::Operator { .. })) => ("Taken back by hand", Tone::Bad),
        (_, Some(Cause::Futility)) => ("Given up: nothing shown", Tone::Open),
        (_, Some(Cause::Superseded { .. })) => ("Superseded", Tone::Open),
        _ => ("Ended", Tone::Open),
    }
}

/// The headline, and what is to be added to it.
pub(crate) fn lead(report: &Report) -> Vec<String> {
    let mut lead = vec![first(report)];
    let trial = report.on_trial();
    if matches!(report.rollout.phase, Phase::Promoted | Phase::Baking) {
        lead.extend(beside_live(report, &trial));
    }
    if let Some(event) = left_again(report) {
        let by = event.actor.as_ref().map(|actor| format!(", by {actor}")).unwrap_or_default();
        lead.push(format!("Since then, on {}: {event}{by}.", moment(event.at)));
    }
    if report.from_journal {
        lead.push(String::from(
            "This is told from the journal, which has kept what happened and what was decided, and no figures.",
        ));
    }
    if report.went_on {
        lead.push(format!(
            "This process has taken the rollout over as it stood: what is shown over time was seen here since {}, while the evidence is all of it.",
            moment(report.began)
        ));
    }
    lead
}

fn first(report: &Report) -> String {
    let rollout = &report.rollout;
    let (candidate, live) = (rollout.version, report.live);
    let lasted = long(report.ended.unwrap_or(report.at).since(report.began));
    match rollout.phase {
        Phase::Staged if rollout.paused => {
            format!("{candidate} takes no traffic and is paused{}.", why_paused(report))
        }
        Phase::Staged => format!("{candidate} is loaded and checked, and takes no traffic yet."),
        Phase::Shadow | Phase::Canary if rollout.paused => format!(
            "{candidate} is held after {lasted}, {}, and nothing is decided{}.",
            exposed(rollout.phase, rollout.weight, rollout.sample),
            why_paused(report)
        ),
        Phase::Shadow | Phase::Canary => format!(
            "{candidate} has been on trial against {live} for {lasted}, and is now {}: nothing is decided yet.",
            exposed(rollout.phase, rollout.weight, rollout.sample)
        ),
        Phase::Baking => {
            format!(
                "{}, and has been watched as live for {}.",
                promoted(report),
                long(report.at.since(rollout.since))
            )
        }
        Phase::Promoted => format!("{}{}.", promoted(report), proven(report)),
        Phase::Aborted | Phase::RolledBack => taken_back(report, &lasted),
    }
}

/// What the guards said that judged it: those that its promotion rests on, where it does on any. A journal has no record of the host's own
/// guards, and lets go of old ones.
pub(crate) fn judges(report: &Report) -> &[Evidence] {
    let candidate = report.rollout.version;
    let rests_on = report.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Promoted { version, evidence, .. } if *version == candidate && !evidence.is_empty() => {
            Some(evidence.as_slice())
        }
        _ => None,
    });
    rests_on.unwrap_or(report.on_trial().evidence)
}

/// `v2 was promoted by its plan after 11 days of trial: both guards had passed`
fn promoted(report: &Report) -> String {
    let candidate = report.rollout.version;
    let happened = report.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Promoted { version, evidence, .. } if *version == candidate => Some((event, evidence)),
        _ => None,
    });
    let at = report
        .trial
        .as_ref()
        .map(|trial| trial.promoted)
        .or(happened.map(|(event, _)| event.at))
        .or(report.ended);
    let trial = long(at.unwrap_or(report.at).since(report.began));
    let guards = judges(report).len();
    let passed = match guards {
        1 => String::from("its guard had passed"),
        2 => String::from("both of its guards had passed"),
        more => format!("all {more} of its guards had passed"),
    };
    let by = happened
        .and_then(|(event, _)| event.actor.as_ref())
        .map(|actor| format!(" by {actor}"))
        .unwrap_or_default();
    match (happened, &report.plan) {
        (Some((_, evidence)), plan) if !evidence.is_empty() && (plan.is_some() || report.from_journal) => {
            format!("{candidate} was promoted by its plan after {trial} of trial: {passed}")
        }
        (_, Some(_)) if guards == 0 => {
            format!("{candidate} was promoted after {trial} of trial, by a plan without a guard")
        }
        (Some(_), _) => format!("{candidate} was promoted by hand{by} after {trial} of trial"),
        (None, _) => format!("{candidate} was promoted after {trial} of trial"),
    }
}

/// The result of the watch.
fn proven(report: &Report) -> String {
    let Some((trial, ended)) = report.trial.as_ref().zip(report.ended) else { return String::new() };
    let watched = long(ended.since(trial.promoted));
    match &report.rollout.cause {
        None => format!(", and it has proven itself in the {watched} that it was watched as live"),
        Some(Cause::Superseded { by }) => format!("; its watch ended after {watched}, when {by} became live"),
        Some(cause) => format!("; its watch ended after {watched} ({cause})"),
    }
}

fn taken_back(report: &Report, lasted: &str) -> String {
    let rollout = &report.rollout;
    let candidate = rollout.version;
    let was_live = rollout.phase == Phase::RolledBack;
    let began = if was_live {
        // Not always to the version before: a person has named another, or that one could not be had.
        let to = report.events.iter().rev().find_map(|event| match &event.kind {
            EventKind::RolledBack { from, to, .. } if *from == candidate => Some(*to),
            _ => None,
        });
        let live = to.unwrap_or(report.live);
        let promoted = || report.turns.iter().find(|turn| turn.phase == Phase::Promoted).map(|turn| turn.at);
        let promoted = report.trial.as_ref().map(|trial| trial.promoted).or_else(promoted);
        let watched = report.ended.zip(promoted).map(|(ended, promoted)| long(ended.since(promoted)));
        format!(
            "{candidate} was taken back to {live} after {} as live",
            watched.unwrap_or_else(|| String::from(lasted))
        )
    } else {
        let last = last_exposure(report);
        let how = last.map(|turn| exposed(turn.phase, turn.weight, turn.sample)).unwrap_or_default();
        let verb = match &rollout.cause {
            Some(Cause::Futility) => "was given up",
            Some(Cause::Superseded { .. } | Cause::Closed) => "was taken off",
            _ => "was taken back",
        };
        if how.is_empty() {
            format!("{candidate} {verb} after {lasted}, before it took any traffic")
        } else {
            format!("{candidate} {verb} after {lasted}, {how}")
        }
    };
    match &rollout.cause {
        Some(Cause::Guard { evidence }) => format!("{began}: {}.", failed(evidence, candidate.as_str())),
        Some(Cause::Operator { reason }) => format!("{began}, by hand{}: “{reason}”.", actor(report)),
        Some(Cause::Tripped { failures, mostly }) => {
            let (failures, mostly) = (several(u64::from(*failures), "request"), most_often(*mostly));
            format!("{began}: it failed on {failures} in a row{mostly}.")
        }
        Some(Cause::Superseded { by }) => format!("{began}, because {by} became live."),
        Some(cause) => format!("{began}: {cause}."),
        None => format!("{began}."),
    }
}

/// `it is wrong 7.65 points more often than v2 (..) on 941 labelled pairs; 2 more were allowed (e-value 812, limit 250)`
fn failed(evidence: &Evidence, candidate: &str) -> String {
    let sentence = super::words::saw(evidence);
    let own = sentence.strip_prefix(candidate).filter(|rest| rest.starts_with(' '));
    let text = own.map_or_else(|| sentence.clone(), |rest| format!("it{rest}"));
    match &evidence.strength {
        Some(strength) => format!("{text} (e-value {}, limit {})", strength.harm, strength.harm_threshold),
        None => text,
    }
}

/// Who took it back.
fn actor(report: &Report) -> String {
    let candidate = report.rollout.version;
    let by = report.events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Aborted { version, .. } if *version == candidate => event.actor.as_ref(),
        EventKind::RolledBack { from, .. } if *from == candidate => event.actor.as_ref(),
        _ => None,
    });
    by.map(|actor| format!(" by {actor}")).unwrap_or_default()
}

fn why_paused(report: &Report) -> String {
    report.rollout.pause_reason.as_ref().map(|reason| format!(": “{reason}”")).unwrap_or_default()
}

/// `as a shadow of 50 % of the requests`
pub(crate) fn exposed(phase: Phase, weight: Share, sample: Share) -> String {
    match phase {
        Phase::Shadow => format!("as a shadow of {sample} of the requests"),
        Phase::Canary => format!("answering {weight} of the requests"),
        Phase::Baking | Phase::Promoted => String::from("as live"),
        _ => String::new(),
    }
}

/// How the candidate was exposed last, before it was taken off.
fn last_exposure(report: &Report) -> Option<&Turn> {
    report.turns.iter().rev().find(|turn| {
        matches!(turn.phase, Phase::Shadow | Phase::Canary | Phase::Baking)
            && (turn.weight != Share::NONE || turn.sample != Share::NONE)
    })
}

/// The event by which the promoted candidate was live no more, after its rollout.
fn left_again(report: &Report) -> Option<&Event> {
    let ended = report.ended.filter(|_| report.rollout.phase == Phase::Promoted)?;
    let candidate = report.rollout.version;
    let moved = |event: &&Event| {
        event.at >= ended
            && matches!(&event.kind, EventKind::RolledBack { from, to, .. } if *from == candidate || *to == candidate)
    };
    report
        .events
        .iter()
        .rev()
        .find(moved)
        .filter(|event| matches!(&event.kind, EventKind::RolledBack { from, .. } if *from == candidate))
}

/// `Its accuracy was 90 % where v1's was 73.9 %, and its p99 12 ms where v1's was 15 ms.`
fn beside_live(report: &Report, seen: &Seen<'_>) -> Option<String> {
    let live = report.live;
    let mut parts = Vec::new();
    let quality =
        |figures: &crate::stats::ArmFigures, metric| Some(figures.quality.as_ref()?.measure(metric)?.value);
    if let Some(metric) = report.metric
        && let (Some(own), Some(lives)) = (quality(seen.candidate, metric), quality(seen.live, metric))
    {
        parts.push(format!(
            "its {} was {} where {live}'s was {}",
            name(metric),
            value(metric, own),
            value(metric, lives)
        ));
    }
    if let (Some(own), Some(lives)) = (&seen.candidate.latency, &seen.live.latency) {
        parts.push(format!(
            "99 % of its answers took at most {} where {live}'s took {}",
            short(own.p99),
            short(lives.p99)
        ));
    }
    (!parts.is_empty()).then(|| format!("On trial {}.", parts.join(", and ")))
}

/// The name of a figure of quality.
pub(crate) fn name(metric: Metric) -> &'static str {
    match metric {
        Metric::Accuracy => "accuracy",
        Metric::Precision => "precision",
        Metric::Recall => "recall",
        Metric::F1 => "F1",
        Metric::LogLoss => "log-loss",
        Metric::Brier => "Brier score",
        Metric::Auc => "AUC",
        Metric::CalibrationError => "calibration error",
        Metric::Mae => "mean absolute error",
        Metric::Rmse => "root mean squared error",
        Metric::Bias => "mean error",
        Metric::R2 => "explained variance (R²)",
        Metric::HitRate => "hit rate",
        Metric::ReciprocalRank => "reciprocal rank",
        Metric::Ndcg => "NDCG",
        Metric::PrecisionAtK => "precision at k",
    }
}

/// Whether a figure is a share, which people read in percent.
pub(crate) fn is_share(metric: Metric) -> bool {
    matches!(
        metric,
        Metric::Accuracy | Metric::Precision | Metric::Recall | Metric::HitRate | Metric::PrecisionAtK
    )
}

pub(crate) fn value(metric: Metric, of: f64) -> String {
    if is_share(metric) { percent(of) } else { number(of) }
}

/// Says for a caption which way of a figure is good.
pub(crate) fn better(metric: Metric) -> &'static str {
    match metric.better() {
        Better::Higher => "higher is better",
        Better::Lower => "lower is better",
        Better::NearZero => "near 0 is better",
    }
}

/// The facts of the rollout, by name.
pub(crate) fn facts(report: &Report) -> Vec<(String, String)> {
    let rollout = &report.rollout;
    let identity = |identity: &Option<crate::model::identity::Identity>| {
        identity.as_ref().map(|identity| format!(" ({identity:?})")).unwrap_or_default()
    };
    let when = |at: Timestamp| moment(at);
    let mut facts = vec![
        ("Candidate".into(), format!("{}{}", rollout.version, identity(&report.candidate_identity))),
        ("Compared with".into(), format!("{}{}", report.live, identity(&report.live_identity))),
        (if report.went_on { "Goes on since" } else { "Staged" }.into(), when(report.began)),
    ];
    if let Some(trial) = &report.trial {
        facts.push(("Promoted".into(), when(trial.promoted)));
    }
    match report.ended {
        Some(ended) => {
            facts.push(("Ended".into(), when(ended)));
            facts.push(("Took".into(), long(ended.since(report.began))));
        }
        None => facts.push(("Runs for".into(), long(report.at.since(report.began)))),
    }
    if let Some(step) = rollout.step_told() {
        let exposure = report.plan.as_ref().zip(rollout.step).and_then(|(plan, at)| plan.steps().get(at));
        let exposure = exposure.map(|step| format!(": {}", step.exposure())).unwrap_or_default();
        facts.push(("Its plan is at".into(), format!("{step}{exposure}")));
    }
    if rollout.paused {
        let reason = rollout.pause_reason.clone().unwrap_or_else(|| "the log has no reason any more".into());
        facts.push(("Paused".into(), reason));
    }
    let most = report.turns.iter().filter(|turn| turn.phase == Phase::Canary).map(|turn| turn.weight).max();
    facts.push((
        "Most that it answered on trial".into(),
        most.filter(|most| *most != Share::NONE)
            .map_or_else(|| "nothing".into(), |most| format!("{most} of the requests")),
    ));
    let labels = report.on_trial().candidate.outcomes;
    if report.metric.is_some() {
        facts.push(("Truth known of".into(), several(labels, "prediction")));
    }
    facts
}
