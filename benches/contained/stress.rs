//! All faults at once: candidates that hang, panic, lie and are slow, readers, a disk that fails, and a process that is killed.
//!
//! The bench starts itself as the service, reads what that says of its answers, kills it now and then, and starts it again on the
//! same folder. Half of the time nobody kills it, so that its memory can be seen.

use std::io::{BufRead, BufReader};
use std::panic::resume_unwind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use switchback::model::ModelError;
use switchback::options::{Inputs, Limits, Shadowing, StateFolder, Threads};
use switchback::testing::Faults;
use switchback::{Model, ModelHandle, Outcome as Actual, Task, closure, guard};

use crate::support::{Outcome, Report};

/// What the service is started with, by this bench.
const CHILD: &str = "SWITCHBACK_STRESSED";
const THREADS: usize = 4;
const DEADLINE: Duration = Duration::from_millis(20);
/// An answer that took longer than its deadline and this has been felt. A machine of two cores with all of this on them makes a
/// thread wait for tens of milliseconds by itself.
const LATE: Duration = Duration::from_millis(500);

/// What the service says, again and again; all but the memory only grow.
#[derive(Clone, Copy, Default)]
struct Said {
    answered: u64,
    lost: u64,
    wrong: u64,
    late: u64,
    dead: u64,
    candidates: u64,
    resident_kb: u64,
}

impl Said {
    fn line(self) -> String {
        let Self { answered, lost, wrong, late, dead, candidates, resident_kb } = self;
        format!("{answered} {lost} {wrong} {late} {dead} {candidates} {resident_kb}")
    }

    fn read(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self {
            answered: next()?,
            lost: next()?,
            wrong: next()?,
            late: next()?,
            dead: next()?,
            candidates: next()?,
            resident_kb: next()?,
        })
    }
}

/// Runs the service where this process was started as that; whether it was.
pub(crate) fn is_child() -> Outcome<bool> {
    match std::env::var_os(CHILD) {
        Some(folder) => serve(Path::new(&folder)).map(|()| true),
        None => Ok(false),
    }
}

/// # Errors
///
/// The service cannot be started, or ends by itself.
pub(crate) fn stress(report: &mut Report, spent: Duration) -> Outcome {
    let folder = std::env::temp_dir().join(format!("switchback-stress-{}", std::process::id()));
    let measured = killed_and_not(report, &folder, spent);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn killed_and_not(report: &mut Report, folder: &Path, spent: Duration) -> Outcome {
    let half = spent / 2;
    // Memory from a quarter of the way on: what is there from then on is there by then.
    let (steady, memory) = run(folder, half)?;
    let (mut all, started, mut kills) = (steady, Instant::now(), 0);
    while started.elapsed() < half {
        // Another moment each time: at no step of the work in particular.
        let lived = Duration::from_millis(900 + 370 * (kills % 7));
        let (said, _) = run(folder, lived)?;
        kills += 1;
        all.answered += said.answered;
        all.lost += said.lost;
        all.wrong += said.wrong;
        all.late += said.late;
        all.dead += said.dead;
        all.candidates += said.candidates;
    }
    for (question, key, count) in [
        ("answers under all faults at once", "answers", all.answered),
        ("candidates that were tried meanwhile", "candidates", all.candidates),
        ("kills", "kills", kills),
        ("answers lost", "answers_lost", all.lost),
        ("answers wrong", "answers_wrong", all.wrong),
        ("answers later than their deadline and half a second", "answers_late", all.late),
        ("threads that a fault ended", "threads_dead", all.dead),
    ] {
        report.line(question, "count", count as f64, None, None);
        report.figure(key, count as f64);
    }
    // How late they are, and how much memory it takes, the machine has a say in.
    report.must(all.answered > 0 && all.candidates > 0, "nothing was asked or tried");
    report.must((all.lost, all.wrong) == (0, 0), "answers were lost or wrong");
    report.must(all.dead == 0, "a fault ended a thread");
    report.line("memory at the end over that after a quarter of the time", "MB", memory, None, None);
    report.figure("memory_growth_mb", memory);
    report.figure("stress_seconds", spent.as_secs_f64());
    Ok(())
}

/// Starts the service, kills it after this long, and gives what it said last, and by how many MB it grew.
fn run(folder: &Path, lives: Duration) -> Outcome<(Said, f64)> {
    // glibc keeps what is freed at the top of each arena, the more the larger the largest block was: 0.17 MB with every
    // candidate, while what is in use stays the same. Told to give it back, what grows is ours.
    let mut child = Command::new(std::env::current_exe()?)
        .env(CHILD, folder)
        .env("MALLOC_TRIM_THRESHOLD_", "131072")
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().ok_or("it has no output")?).lines();
    let (mut last, mut early, started) = (None, None, None::<Instant>);
    let mut started = started;
    for line in lines {
        let line = line?;
        let said = Said::read(&line).ok_or_else(|| format!("the service said {line}"))?;
        // It counts from its first answer: a start takes what it takes.
        let began = *started.get_or_insert_with(Instant::now);
        if began.elapsed() >= lives / 4 {
            early.get_or_insert(said.resident_kb);
        }
        last = Some(said);
        if began.elapsed() >= lives {
            break;
        }
    }
    let ended = child.try_wait()?;
    child.kill()?;
    child.wait()?;
    if let Some(status) = ended {
        return Err(format!("the service ended by itself: {status}").into());
    }
    let last = last.ok_or("the service said nothing")?;
    let grown = last.resident_kb as f64 - early.unwrap_or(last.resident_kb) as f64;
    Ok((last, grown / 1e3))
}

/// A candidate that does one of the things that candidates do.
fn candidate(number: u64) -> impl Model<f64, f64> + use<> {
    let calls = AtomicU64::new(0);
    closure(format!("candidate@{number}"), move |input: &f64| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        match (number % 6, call % 8) {
            // Longer than anybody waits; for ever would leave no thread to give up after some hundred candidates.
            (0, 7) => sleep(Duration::from_secs(3)),
            (1, 7) => resume_unwind(Box::new("on purpose")),
            // What is no probability is no answer.
            (2, 7) => return Ok(f64::NAN),
            (3, 7) => sleep(DEADLINE + Duration::from_millis(5)),
            (4, 7) => return Err(ModelError::engine("on purpose")),
            _ => {}
        }
        Ok(*input)
    })
}

/// The service: live answers what it is asked, so whatever else comes is wrong.
fn serve(folder: &Path) -> Outcome {
    let faults = Faults::new();
    let handle = ModelHandle::builder("stressed")
        .live("live", closure("live@1", |input: &f64| Ok(*input)))
        .source(|name: &str| {
            let number = name.trim_start_matches('c').parse().unwrap_or(5);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                Box::new(candidate(number)) as Box<dyn Model<f64, f64>>
            )
        })
        .task(Task::binary(|answer: &f64| *answer).check(|answer: &f64| answer.is_finite()))
        .inputs(Inputs::new().copied())
        .shadowing(Shadowing::new().workers(2))
        .limits(Limits::new().candidate_deadline(DEADLINE).overdue_after(Duration::from_millis(200)))
        .state(StateFolder::new(folder).checkpoint_every(Duration::from_millis(300)))
        .disk_faults(faults.clone())
        .threads(Threads::background().tick_every(Duration::from_millis(50)))
        .build()?;
    let (said, going) = (Arc::new([const { AtomicU64::new(0) }; 4]), AtomicBool::new(true));
    let candidates = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (said, handle, going) = (&said, &handle, &going);
            scope.spawn(move || {
                let mut number = thread as f64;
                while going.load(Ordering::Relaxed) {
                    number = (number + 0.618) % 1.0;
                    let started = Instant::now();
                    let [answered, lost, wrong, late] = &**said;
                    match handle.predict_keyed(number.to_le_bytes(), &number) {
                        Ok(answer) => {
                            answered.fetch_add(1, Ordering::Relaxed);
                            if *answer.output() != number {
                                wrong.fetch_add(1, Ordering::Relaxed);
                            }
                            if started.elapsed() > DEADLINE + LATE {
                                late.fetch_add(1, Ordering::Relaxed);
                            }
                            let _ = handle.feedback(answer.id(), Actual::class(u16::from(number > 0.5)));
                        }
                        Err(_) => _ = lost.fetch_add(1, Ordering::Relaxed),
                    }
                    sleep(Duration::from_micros(200));
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while going.load(Ordering::Relaxed) {
                    let _ = handle.status();
                    #[cfg(feature = "report")]
                    let _ = handle.report("c1");
                    sleep(Duration::from_millis(1));
                }
            });
        }
        scope.spawn(|| {
            for round in 0_u64.. {
                sleep(Duration::from_millis(40));
                match round % 5 {
                    0 => _ = faults.fail_after(round % 11),
                    1 => _ = faults.fail_after(round % 7).torn(),
                    2 => _ = faults.fail_after(0).once(),
                    _ => faults.mend(),
                }
                if !going.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        scope.spawn(|| {
            let from = handle.status().rollouts.first().map_or(0, |rollout| u64::from(rollout.number));
            for number in from.. {
                // As long as one hangs, its thread does: more than eight at a time are refused, and that is right.
                if let Ok(rollout) = handle.stage(format!("c{number}"), candidate(number)) {
                    let rollout = rollout.guard(guard::error_rate().at_most(0.02));
                    let _ = if number % 2 == 0 { rollout.canary(0.5) } else { rollout.shadow(1.0) };
                    candidates.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(150));
                    if number % 6 == 5 {
                        let _ = rollout.promote();
                        sleep(Duration::from_millis(50));
                    }
                    let _ = rollout.rollback("next");
                }
                sleep(Duration::from_millis(10));
                if !going.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        loop {
            sleep(Duration::from_millis(100));
            let [answered, lost, wrong, late] =
                [0, 1, 2, 3].map(|place: usize| said[place].load(Ordering::Relaxed));
            let dead = handle.status().threads.iter().map(|thread| thread.died).sum();
            let resident_kb = resident_kb().unwrap_or_default();
            let candidates = candidates.load(Ordering::Relaxed);
            // Where nobody reads any more it has been left behind.
            use std::io::Write;
            let line = Said { answered, lost, wrong, late, dead, candidates, resident_kb }.line();
            if writeln!(std::io::stdout(), "{line}").is_err() {
                going.store(false, Ordering::Relaxed);
                break;
            }
        }
    });
    Ok(())
}

fn resident_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
