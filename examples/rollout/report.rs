//! What the example says at its end: figures, decisions, the whole history, and whether everything happened.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use switchback::Phase;
use switchback::decisions::replay;
use switchback::events::{Cause, Event, EventKind};
use switchback::stats::{ArmFigures, Metric};

use crate::operator::Operator;
use crate::print;
use crate::service::{Delivery, Service};

/// Figures of every version, since the process started.
pub(crate) fn figures(service: &Service, labels: &Delivery, took: Duration) {
    let status = service.handle.status();
    println!("\nEvery version, over everything it answered since this start, for real or as a shadow:\n");
    println!(
        "version  requests  of them   errors  labels  accuracy  precision  recall    AUC  Brier   p50 us   p99 us"
    );
    println!("                    shadow");
    let mut versions = status.versions.clone();
    versions.sort_by_key(|version| version.version);
    for version in &versions {
        let ArmFigures { requests, shadowed, error_rate, outcomes, latency, quality, .. } = &version.total;
        let metric = |metric| {
            let measured = quality.as_ref().and_then(|quality| quality.measure(metric));
            measured.map_or_else(|| "-".into(), |measured| format!("{:.3}", measured.value))
        };
        let micros = |of: fn(&switchback::stats::LatencyFigures) -> Duration| {
            latency
                .as_ref()
                .map_or_else(|| "-".into(), |latency| format!("{:.1}", of(latency).as_secs_f64() * 1e6))
        };
        println!(
            "{:7} {requests:>9} {shadowed:>8} {:>7.2}% {outcomes:>7} {:>9} {:>10} {:>7} {:>6} {:>6} {:>8} {:>8}",
            version.version.as_str(),
            error_rate.unwrap_or(0.0) * 100.0,
            metric(Metric::Accuracy),
            metric(Metric::Precision),
            metric(Metric::Recall),
            metric(Metric::Auc),
            metric(Metric::Brier),
            micros(|latency| latency.p50),
            micros(|latency| latency.p99),
        );
    }
    println!(
        "\n{} labels came, {} of them count, {} had counted before a crash; {} pairs of answers still wait for theirs; {} copies dropped. {:.1} s.",
        labels.delivered,
        labels.counted,
        labels.again,
        status.feedback.pairs_waiting,
        status.shadow.dropped,
        took.as_secs_f64(),
    );
}

/// What was decided of each version, on how many labelled flights, and what the planner had said.
pub(crate) fn decisions(service: &Service, operator: &Operator<'_>, history: &[Event]) {
    println!("\nWhat was decided, on what, and how long it took:\n");
    let days = |time: Option<Duration>| {
        time.map_or_else(|| "never".into(), |time| format!("{:.1} days", time.as_secs_f64() / 86_400.0))
    };
    for version in ["v2", "v3", "v4"] {
        let first = |what: &dyn Fn(&EventKind) -> Option<bool>| {
            history.iter().find_map(|event| Some((event.at, what(&event.kind)?)))
        };
        let staged = first(&|kind| {
            matches!(kind, EventKind::Staged { version: of, .. } if *of == *version).then_some(true)
        });
        let ended = first(&|kind| match kind {
            EventKind::Promoted { version: of, .. } if *of == *version => Some(true),
            EventKind::Aborted { version: of, .. } if *of == *version => Some(false),
            _ => None,
        });
        let (Some((began, _)), Some((at, promoted))) = (staged, ended) else { continue };
        let outcome = if promoted { "promoted" } else { "taken back" };
        print!("{version} was {outcome} after {}", days(Some(at.since(began))));
        match operator.forecasts.iter().find(|said| said.version == version) {
            Some(said) => {
                let forecast = if promoted { said.promoted_after } else { said.harm_after };
                println!("; the planner had said {}", days(forecast));
            }
            None => println!("; it began before this start"),
        }
        // The last decision of its guard on labels.
        let decisions = service.handle.decisions();
        let last = decisions.iter().rev().find(|decision| {
            decision.candidate() == *version
                && decision.at() <= at
                && decision.evidence().guard.starts_with("accuracy")
        });
        if let Some(decision) = last {
            let replayed = replay(decision).is_ok_and(|evidence| evidence == *decision.evidence());
            println!("   {}", decision.evidence().sentence.as_deref().unwrap_or("no sentence"));
            println!(
                "   on {} labelled flights; judged again from its record: {}",
                decision.evidence().samples,
                if replayed { "the same" } else { "something else" }
            );
        }
    }
}

/// Who did what, when, and why: from the journal, so that it holds what earlier processes did.
pub(crate) fn whole_history(history: &[Event]) {
    println!("\nThe history, as the journal has it:\n");
    let decided = |event: &&Event| {
        !matches!(
            event.kind,
            EventKind::Loaded { .. }
                | EventKind::Retired { .. }
                | EventKind::Dropped { .. }
                | EventKind::TierChanged { .. }
        )
    };
    history.iter().filter(decided).for_each(print::event_by);
}

/// Writes a page about v3, which was taken back, and beside it one about v4, which was promoted.
pub(crate) fn write_pages(service: &Service, file: &Path) -> Result<(), Box<dyn Error>> {
    let markdown = file.extension().is_some_and(|extension| extension == "md");
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let extension = file.extension().unwrap_or_default().to_string_lossy();
    let beside = file.with_file_name(format!("{stem}-promoted.{extension}"));
    println!();
    for (version, file) in [("v3", file), ("v4", beside.as_path())] {
        // Of a rollout that runs, or one of the last 32.
        let report = service.handle.report(version).ok_or("the rollout is forgotten")?;
        println!("{}: {}", file.display(), report.headline());
        // HTML is one file without network or script, for a phone and for print; Markdown is for a ticket.
        std::fs::write(file, if markdown { report.markdown() } else { report.html() })?;
    }
    Ok(())
}

/// Whether everything happened that this example is to show.
pub(crate) fn check(
    service: &Service,
    labels: &Delivery,
    operator: &Operator<'_>,
    history: &[Event],
) -> Result<(), Box<dyn Error>> {
    let happened = |what: &dyn Fn(&EventKind) -> bool| history.iter().any(|event| what(&event.kind));
    let promoted = |name: &str| {
        happened(&|kind| matches!(kind, EventKind::Promoted { version, .. } if *version == *name))
    };
    let reached = |name: &str, phase: Phase| {
        happened(
            &|kind| matches!(kind, EventKind::PhaseChanged { version, to, .. } if *version == *name && *to == phase),
        )
    };
    let by_guard =
        |cause: &Cause| matches!(cause, Cause::Guard { evidence } if evidence.guard.starts_with("accuracy"));
    let went = |to: &str| {
        happened(
            &|kind| matches!(kind, EventKind::RolledBack { to: now, cause: Cause::Operator { .. }, .. } if *now == *to),
        )
    };
    let taken_back = happened(&|kind| match kind {
        EventKind::Aborted { version, cause } => *version == *"v3" && by_guard(cause),
        EventKind::RolledBack { from, cause, .. } => *from == *"v3" && by_guard(cause),
        _ => false,
    });
    let killed = happened(&|kind| matches!(kind, EventKind::Started { .. }));
    let steps = [
        ("v2 was tried as a shadow", reached("v2", Phase::Shadow)),
        ("v2 was tried as a canary", reached("v2", Phase::Canary)),
        ("v2 was promoted by its plan", promoted("v2")),
        ("v3 was taken back by a guard on labels", taken_back && !promoted("v3")),
        ("the operator went back to v1 by hand", went("v1")),
        ("the operator went forward to v2 by hand", went("v2")),
        ("v4 was promoted by its plan", promoted("v4")),
        ("v4 is live at the end", service.handle.live() == "v4"),
        ("the operator has nothing left to do", operator.has_nothing_to_do()),
        ("no request failed", service.failed.load(Ordering::Relaxed) == 0),
        (
            "every decision follows from its record",
            service
                .handle
                .decisions()
                .iter()
                .all(|decision| replay(decision).as_ref() == Ok(decision.evidence())),
        ),
        ("every label that came counts once", labels.counted + labels.again == labels.delivered),
        ("none came twice but after a crash", killed || labels.again == 0),
    ];
    println!();
    for (step, done) in steps {
        println!("{} {step}", if done { "ok  " } else { "FAIL" });
    }
    let missed = steps.iter().filter(|(_, done)| !done).count();
    if missed == 0 { Ok(()) } else { Err(format!("{missed} of {} steps did not happen", steps.len()).into()) }
}
