//! How long whoever lowers exposure waits: for those who look, for a checkpoint, for a core.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use switchback::events::EventKind;
use switchback::options::{Labels, Limits, Shadowing, StateFolder, Threads};
use switchback::{Clock, ModelHandle, Outcome as TruthOutcome, RollbackOutcome, Task, closure};

use super::{Outcome, Report, quantile};

/// Rows that wait until silence means something: of all that a checkpoint holds they take most.
const ROWS: usize = 262_144;
const READERS: usize = 8;

/// What goes on while exposure is lowered.
#[derive(Clone, Copy, Default)]
struct Meanwhile {
    /// Threads that ask for the status and the report, again and again.
    readers: usize,
    /// A thread that has all written down, again and again.
    checkpoints: bool,
    /// Threads that predict, one for each core.
    busy: usize,
}

/// Rolls back some thousand times and reports p50, p99 and p99.9 of what passes until exposure is lowered.
///
/// # Errors
///
/// The handle cannot be built.
pub(crate) fn lowering(report: &mut Report, calls: usize) -> Outcome {
    let folder = std::env::temp_dir().join(format!("switchback-lowering-{}", std::process::id()));
    let measured = of_a_handle(report, &folder, calls);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn of_a_handle(report: &mut Report, folder: &std::path::Path, calls: usize) -> Outcome {
    let clock = Clock::system();
    let handle = ModelHandle::builder("lowering")
        .clock(clock.clone())
        .live("a", closure("a@1", |input: &f64| Ok(*input)))
        .task(Task::binary(|answer: &f64| *answer))
        .labels(Labels::new().assumed_after(Duration::from_secs(86_400), TruthOutcome::class(0)))
        .shadowing(Shadowing::new())
        .limits(Limits::new())
        .state(StateFolder::new(folder))
        .threads(Threads::background())
        .build()?;
    handle.stage("b", closure("b@1", |input: &f64| Ok(*input)))?.promote()?;
    // It is taken off before the first rollback, and can be reported on all the while.
    let rollout = handle.stage("c", closure("c@1", |input: &f64| Ok(*input)))?;
    rollout.canary(0.5)?;
    for row in 0..ROWS {
        handle.predict(&0.5)?;
        if row % 16_384 == 0 {
            handle.tick();
        }
    }
    let _ = handle.abort_candidates("bench");
    handle.checkpoint()?;
    let bytes =
        std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum::<u64>();
    report.line("the journal while exposure is lowered", "MB", bytes as f64 / 1e6, None, None);
    let cores = std::thread::available_parallelism()?.get();
    let none = Meanwhile::default();
    let all = Meanwhile { readers: READERS, checkpoints: true, busy: cores };
    for (what, key, meanwhile) in [
        ("quiet", "_quiet", none),
        ("8 readers", "_of_readers", Meanwhile { readers: READERS, ..none }),
        ("checkpoints", "_of_checkpoints", Meanwhile { checkpoints: true, ..none }),
        ("busy cores", "_of_busy_cores", Meanwhile { busy: cores, ..none }),
        ("all of these", "", all),
    ] {
        let (mut waits, mut took) = waits(&handle, &clock, meanwhile, calls);
        for (quantile_of, name) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p999")] {
            let (wait, call) = (quantile(&mut waits, quantile_of), quantile(&mut took, quantile_of));
            report.line(&format!("{name} until exposure is lowered, {what}"), "ms", wait, None, None);
            report.figure(&format!("lowering_{name}_ms{key}"), wait);
            // With what it takes until that is on disk, where nobody else is writing.
            report.figure(&format!("rollback_call_{name}_ms{key}"), call);
        }
    }
    Ok(())
}

/// Milliseconds from the call until exposure was lowered, as the event of it says, and until the call returned.
fn waits(
    handle: &ModelHandle<f64, f64>,
    clock: &Clock,
    meanwhile: Meanwhile,
    calls: usize,
) -> (Vec<f64>, Vec<f64>) {
    let stop = AtomicBool::new(false);
    let going = || !stop.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        for _ in 0..meanwhile.readers {
            scope.spawn(|| {
                while going() {
                    let _ = handle.status();
                    #[cfg(feature = "report")]
                    let _ = handle.report("c");
                }
            });
        }
        if meanwhile.checkpoints {
            scope.spawn(|| {
                while going() {
                    handle.checkpoint().unwrap();
                }
            });
        }
        for _ in 0..meanwhile.busy {
            scope.spawn(|| {
                while going() {
                    handle.predict(&0.5).unwrap();
                }
            });
        }
        let waits = (0..calls).map(|_| {
            sleep(Duration::from_millis(1));
            // Forward again, which nobody is in a hurry for.
            let _ = handle.rollback_to("b", "bench");
            let events = handle.subscribe(16);
            let (from, started) = (clock.now(), Instant::now());
            let lowered = handle.rollback("bench");
            let took = started.elapsed();
            assert!(matches!(lowered, RollbackOutcome::RolledBack { .. }), "{lowered:?}");
            let lowered = std::iter::from_fn(|| events.try_recv())
                .find(|event| matches!(event.kind, EventKind::RolledBack { .. }))
                .unwrap();
            (lowered.at.since(from).as_secs_f64() * 1e3, took.as_secs_f64() * 1e3)
        });
        let waits = waits.unzip();
        stop.store(true, Ordering::Relaxed);
        waits
    })
}
