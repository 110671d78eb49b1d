//! Bounds in bytes, times and extremes: what a host gives is kept within bounds that are known, or refused by name.
//!
//! Bugs: a reason of 70 MB stopped the journal; 59 copies of inputs of 100 MB waited as 1,440 bytes; `subscribe` of a
//! billion took 15 GB under the control lock, and `subscribe(0)` was taken for 1; `usize::MAX` bytes for the bits that tell
//! repeats and a clock turned by `Duration::MAX` overflowed; a queue of copies took gigabytes when it was built.
//!
//! Cause: texts of others were kept as they came, a size was taken that knows nothing of what a value owns, memory was
//! taken for what might come, and numbers were multiplied before they were looked at. Fix: texts are cut where they come
//! in, and say so; a type that owns memory needs `Inputs::bytes`; nothing is taken ahead; every setter saturates where "for
//! ever" makes sense and is refused by name where it does not, which the last test here asks of each of them.

use std::path::Path;

use std::time::Duration;

use switchback::events::EventKind;
use switchback::feedback::{FeedbackOutcome, FeedbackRefusal};
use switchback::options::{Drill, Labels, Limits, Retention, Shadowing, Threads, Tiers};
use switchback::plan::{Allocation, Bake};
use switchback::stats::WindowConfig;
use switchback::stats::sequential::{DetectorState, Part, RateDetector};
use switchback::{
    ArgumentError, BuildError, Builder, Clock, Kpi, ModelHandle, Outcome, Plan, Step, Task, Timestamp,
    closure, guard,
};

use crate::common::{Service, ask, builder, clock, events, says, seconds, tick};

/// What is kept of a text of somebody else's.
const TEXT_MAX: usize = 4_096;

const HUGE: usize = 70 << 20;

#[cfg(feature = "state")]
#[test]
fn a_reason_of_any_size_is_cut_and_the_journal_goes_on() {
    let folder = crate::common::Folder::new();
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).state(&folder.0).build().unwrap();
    let huge = || "a".repeat(HUGE);
    let rollout = service.stage("v2", says("two", 0.1)).unwrap();
    rollout.canary(0.5).unwrap();
    rollout.pause(huge()).unwrap();
    service.acting_as(huge()).freeze(huge());
    service.unfreeze();
    let _ = rollout.rollback(huge());
    let _ = (service.rollback(huge()), service.revert_live(huge()), service.abort_candidates(huge()));
    assert_eq!(service.status().durable, Some(true));
    for event in service.events() {
        let written = serde_json::to_string(&event).unwrap();
        assert!(written.len() <= 3 * TEXT_MAX, "{}", written.len());
    }
    let frozen = events(&service, |kind| match kind {
        EventKind::Frozen { reason } => Some(reason.clone()),
        _ => None,
    });
    assert!(frozen[0].ends_with("… (73396272 bytes are not shown)"), "{}", &frozen[0][4_000..]);
    assert!(switchback::state::history(&folder.0).is_ok());
}

#[test]
fn what_a_model_or_a_guard_says_is_kept_within_bounds() {
    use switchback::guard::{Comparison, Evidence, Guard, Verdict};
    struct Talks;
    impl Guard for Talks {
        fn name(&self) -> String {
            "n".repeat(HUGE)
        }
        fn judge(&self, _: &Comparison<'_>) -> Evidence {
            Evidence::new(self.name(), Verdict::Fail).note("n".repeat(HUGE))
        }
    }
    let clock = clock();
    let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
    let rollout = service.stage("v2", closure("x".repeat(HUGE), |_: &f64| Ok(0.5))).unwrap().guard(Talks);
    rollout.canary(0.5).unwrap();
    tick(&service, &clock);
    let status = serde_json::to_string(&service.status()).unwrap();
    assert!(status.len() < 20 * TEXT_MAX, "{}", status.len());
    let failed = events(&service, |kind| matches!(kind, EventKind::GuardFailed { .. }).then(|| kind.clone()));
    assert!(serde_json::to_string(&failed).unwrap().len() < 3 * TEXT_MAX);
}

#[test]
fn inputs_that_own_memory_are_shadowed_where_their_bytes_are_told_and_not_else() {
    fn of<I: Clone + Send + Sync + 'static>() -> Builder<I, f64> {
        ModelHandle::builder("x")
            .live("v1", closure("one@1", |_: &I| Ok(1.0)))
            .shadowing(Shadowing::new())
            .threads(Threads::manual())
    }
    assert!(of::<[f32; 13]>().build().is_ok());
    let refused = of::<Vec<f32>>().build().unwrap_err();
    assert!(matches!(refused, BuildError::InputBytesUnknown), "{refused}");
    assert!(refused.to_string().contains("`Inputs::bytes`"));
    let service = of::<Vec<f32>>()
        .inputs(switchback::options::Inputs::new().bytes(|input: &Vec<f32>| size_of_val(&**input)))
        .build()
        .unwrap();
    service.stage("v2", closure("two@1", |_: &Vec<f32>| Ok(2.0))).unwrap().shadow(1.0).unwrap();
    service.predict(&vec![0.0; 1_000]).unwrap();
    assert_eq!(service.status().shadow.waiting_bytes, 4_000);
}

#[test]
fn a_subscription_takes_no_memory_ahead_and_one_without_room_counts_what_it_misses() {
    let service = builder(&clock()).live("v1", says("one", 0.1)).build().unwrap();
    let (all, none, one) = (service.subscribe(usize::MAX), service.subscribe(0), service.subscribe(1));
    drop(service.subscribe(0));
    for _ in 0..3 {
        service.freeze("x");
        service.unfreeze();
    }
    assert_eq!((none.try_recv().is_none(), none.missed()), (true, 6));
    assert_eq!((one.try_recv().map(|event| event.sequence), one.missed()), (Some(1), 5));
    let sequences: Vec<u64> = std::iter::from_fn(|| all.try_recv()).map(|event| event.sequence).collect();
    assert_eq!((sequences, all.missed()), ((1..=6).collect(), 0));
}

#[test]
fn an_outcome_of_too_many_items_is_refused_and_corrections_are_bounded_in_bytes() {
    let service: ModelHandle<f64, Vec<u64>> = ModelHandle::builder("list")
        .live("v1", closure("list@1", |_: &f64| Ok(vec![1, 2, 3])))
        .task(
            Task::ranking(3, |items: &Vec<u64>, ranked| items.iter().for_each(|item| ranked.push(*item)))
                .unwrap(),
        )
        .labels(Labels::at_random())
        .clock(clock())
        .threads(Threads::manual().stripes(1))
        .build()
        .unwrap();
    let told = |items: u64| {
        let id = service.predict(&1.0).unwrap().id();
        (id, service.feedback(id, Outcome::relevant(0..items)))
    };
    assert_eq!(told(1_025).1, FeedbackOutcome::Refused(FeedbackRefusal::TooManyItems));
    // 4 KiB each, of 16 MiB.
    let ids: Vec<_> = (0..4_097).map(|_| told(1_024)).collect();
    assert!(ids.iter().all(|(_, outcome)| *outcome == FeedbackOutcome::Counted));
    let feedback = service.status().feedback;
    assert_eq!((feedback.correctable, feedback.uncorrectable), (4_096, 1));
    let corrected = |place: usize| service.feedback(ids[place].0, Outcome::relevant(0..1));
    let first_and_last = [0, 1, 4_096].map(corrected);
    assert_eq!(
        first_and_last,
        [FeedbackOutcome::Settled, FeedbackOutcome::Corrected, FeedbackOutcome::Corrected],
        "the oldest goes"
    );
}

/// Bug: of more outcomes than may be corrected at one time the first ones could be, and not the last; and silence that was taken for an outcome
/// took their places. Cause: what came when all places were taken got none. Fix: the oldest gives its place, and before those that were told
/// what was assumed does.
#[test]
fn the_last_outcomes_may_be_corrected_and_silence_takes_no_place_of_theirs() {
    let clock = clock();
    let service = builder(&clock)
        .live("v1", says("one", 0.9))
        .labels(Labels::new().assumed_after(seconds(60), Outcome::class(0)))
        .build()
        .unwrap();
    let told: Vec<_> = ask(&service, 10).iter().map(|answer| answer.id()).collect();
    told.iter().for_each(|id| assert_eq!(service.feedback(*id, Outcome::class(1)), FeedbackOutcome::Counted));
    let mut silent = Vec::new();
    for _ in 0..33 {
        silent.extend(ask(&service, 2_000).iter().map(|answer| answer.id()));
        tick(&service, &clock);
    }
    clock.advance(seconds(60));
    service.tick();
    let feedback = service.status().feedback;
    assert_eq!((feedback.assumed, feedback.correctable, feedback.uncorrectable), (66_000, 65_536, 474));
    let say = |id, class| service.feedback(id, Outcome::class(class));
    assert_eq!(say(told[0], 0), FeedbackOutcome::Corrected);
    assert_eq!(say(silent[0], 1), FeedbackOutcome::Settled);
    assert_eq!([say(silent[474], 1), say(silent[65_999], 1)], [FeedbackOutcome::Corrected; 2]);
    // What is told has a place, and what was assumed and is told by now keeps its own.
    let last = service.predict(&0.0).unwrap().id();
    assert_eq!([say(last, 1), say(last, 0)], [FeedbackOutcome::Counted, FeedbackOutcome::Corrected]);
    assert_eq!(
        [say(silent[475], 1), say(silent[474], 0)],
        [FeedbackOutcome::Settled, FeedbackOutcome::Corrected]
    );
}

/// Bug: an outcome that was assumed, and told afterwards, could be corrected for up to twice as long as may be, and one that was told later
/// gave its place for it. Cause: once room was needed it went to the end of an order by time, behind newer ones. Fix: to where its moment belongs.
#[test]
fn what_was_assumed_and_is_told_by_now_goes_by_its_own_moment() {
    let clock = clock();
    let service: ModelHandle<f64, Vec<u64>> = ModelHandle::builder("list")
        .live("v1", closure("list@1", |_: &f64| Ok(vec![1, 2, 3])))
        .task(
            Task::ranking(3, |items: &Vec<u64>, ranked| items.iter().for_each(|item| ranked.push(*item)))
                .unwrap(),
        )
        .labels(Labels::new().assumed_after(seconds(60), Outcome::relevant(0..0)).corrections(seconds(3_600)))
        .clock(clock.clone())
        .threads(Threads::manual().stripes(1))
        .build()
        .unwrap();
    let predict = || service.predict(&1.0).unwrap().id();
    let say = |id, items: u64| service.feedback(id, Outcome::relevant(0..items));
    let assumed = [predict(), predict()];
    clock.advance(seconds(60));
    service.tick();
    assert_eq!(service.status().feedback.assumed, 2);
    assert_eq!(assumed.map(|id| say(id, 1)), [FeedbackOutcome::Corrected; 2]);
    clock.advance(seconds(3_000));
    // 4 KiB each, of 16 MiB, so that one has to go.
    let told: Vec<_> = (0..4_096).map(|_| predict()).collect();
    let (last, others) = told.split_last().unwrap();
    others.iter().for_each(|id| assert_eq!(say(*id, 1_024), FeedbackOutcome::Counted));
    assert_eq!(say(*last, 1_023), FeedbackOutcome::Counted);
    assert_eq!(say(told[0], 1_023), FeedbackOutcome::Corrected, "the oldest goes");
    assert_eq!(say(assumed[0], 2), FeedbackOutcome::Settled);
    assert_eq!(say(assumed[1], 2), FeedbackOutcome::Corrected);
    clock.advance(seconds(601));
    service.tick();
    assert_eq!(say(assumed[1], 3), FeedbackOutcome::Settled, "its hour is over");
    assert_eq!(say(told[0], 1_022), FeedbackOutcome::Corrected);
}

/// Bug: outcomes that may be corrected took far more memory than the 16 MiB that they are bounded to. Cause: the bound was looked at when an
/// outcome came and not when it was corrected, so small ones that were corrected to large ones got around it. Fix: one that would exceed it
/// counts, and cannot be corrected again, which is counted.
#[test]
fn corrections_do_not_get_around_their_bound_in_bytes() {
    let service: ModelHandle<f64, Vec<u64>> = ModelHandle::builder("list")
        .live("v1", closure("list@1", |_: &f64| Ok(vec![1, 2, 3])))
        .task(
            Task::ranking(3, |items: &Vec<u64>, ranked| items.iter().for_each(|item| ranked.push(*item)))
                .unwrap(),
        )
        .labels(Labels::at_random())
        .clock(clock())
        .threads(Threads::manual().stripes(1))
        .build()
        .unwrap();
    let ids: Vec<_> = (0..4_097).map(|_| service.predict(&1.0).unwrap().id()).collect();
    let told = |place: usize, items: u64| service.feedback(ids[place], Outcome::relevant(0..items));
    for place in 0..ids.len() {
        assert_eq!(told(place, 0), FeedbackOutcome::Counted);
    }
    // To 4 KiB each, of 16 MiB.
    for place in 0..ids.len() {
        assert_eq!(told(place, 1_024), FeedbackOutcome::Corrected);
    }
    let counts = || {
        let feedback = service.status().feedback;
        (feedback.corrected, feedback.correctable, feedback.uncorrectable)
    };
    assert_eq!(counts(), (4_097, 4_096, 1));
    assert_eq!(told(4_096, 1), FeedbackOutcome::Settled, "it was the last word");
    // What is corrected to less makes room again, and all the others are what they were.
    assert_eq!((told(0, 1), told(1, 2)), (FeedbackOutcome::Corrected, FeedbackOutcome::Corrected));
    assert_eq!(counts(), (4_099, 4_096, 1));
}

#[test]
fn names_that_stand_in_every_record_are_bounded() {
    let refused = Kpi::rate("k".repeat(257)).unwrap_err().to_string();
    assert!(
        refused.starts_with("the length of a business figure's name is 257: it must be at most 256"),
        "{refused}"
    );
    let handle: Builder<f64, f64> = ModelHandle::builder("h".repeat(257)).live("v1", says("one", 0.1));
    let refused = handle.build().unwrap_err().to_string();
    assert!(refused.starts_with("the length of the handle's name is 257"), "{refused}");
}

#[test]
fn what_was_cut_in_silence_is_refused() {
    assert!(Part::of(1, 2).is_ok());
    assert_eq!(
        Part::of(1, 3).unwrap_err().to_string(),
        "the whole that a unit adds is 3: it must be at most 2"
    );
    assert!(Part::of(2, 1).unwrap_err().to_string().starts_with("the part that a unit adds is 2"));
    let state = RateDetector::new(0.1, 100.0).unwrap().state();
    assert_eq!(RateDetector::resume(&state).unwrap().state(), state);
    let shorter = DetectorState { statistics: Vec::new(), ..state.clone() };
    assert!(RateDetector::resume(&shorter).unwrap_err().to_string().contains("statistics"));
    let beyond = DetectorState { reference: 2.0, ..state };
    assert!(RateDetector::resume(&beyond).unwrap_err().to_string().starts_with("the reference is 2"));
}

#[test]
fn a_clock_is_turned_to_the_end_of_time_and_no_further() {
    let clock = Clock::manual(Timestamp::from_unix_seconds(7));
    for _ in 0..2 {
        clock.advance(Duration::MAX);
        assert_eq!(clock.now(), Timestamp::from_unix_nanos(u64::MAX));
    }
    assert_eq!(clock.now().plus(Duration::MAX), clock.now());
}

type Set = Box<dyn Fn(Builder<f64, f64>) -> Result<Builder<f64, f64>, ArgumentError>>;

const TIMES: [Duration; 4] =
    [Duration::ZERO, Duration::from_nanos(1), Duration::from_secs(u32::MAX as u64), Duration::MAX];
const NUMBERS: [usize; 4] = [0, 1, usize::MAX / 8, usize::MAX];
const FRACTIONS: [f64; 6] = [f64::NEG_INFINITY, -1.0, 0.0, f64::MAX, f64::INFINITY, f64::NAN];

/// A setter at each of its extremes.
fn each<T: Copy + 'static>(
    extremes: impl IntoIterator<Item = T>,
    set: impl Fn(Builder<f64, f64>, T) -> Result<Builder<f64, f64>, ArgumentError> + Clone + 'static,
) -> Vec<Set> {
    extremes
        .into_iter()
        .map(|value| {
            let set = set.clone();
            Box::new(move |builder| set(builder, value)) as Set
        })
        .collect()
}

/// Every setter of the options, by file and function.
fn setters() -> Vec<(&'static str, Vec<Set>)> {
    let labels = |labels: fn(Duration) -> Labels| each(TIMES, move |b, time| Ok(b.labels(labels(time))));
    let limits = |limits: fn(usize) -> Limits| each(NUMBERS, move |b, number| Ok(b.limits(limits(number))));
    let times = |limits: fn(Duration) -> Limits| each(TIMES, move |b, time| Ok(b.limits(limits(time))));
    let retention = |of: fn(Duration) -> Retention| each(TIMES, move |b, time| Ok(b.retention(of(time))));
    let windows =
        |config: Result<WindowConfig, ArgumentError>| config.map(|config| Limits::new().windows(config));
    vec![
        ("handle/builder.rs seed", each([0, u64::MAX], |b, seed| Ok(b.seed(seed)))),
        (
            "handle/options/labels.rs assumed_after",
            labels(|time| Labels::new().assumed_after(time, Outcome::class(0))),
        ),
        ("handle/options/labels.rs complete_after", labels(Labels::complete_after)),
        ("handle/options/labels.rs corrections", labels(|time| Labels::at_random().corrections(time))),
        (
            "handle/options/labels.rs exploration",
            each(FRACTIONS, |b, x| Ok(b.labels(Labels::at_random().exploration(x)))),
        ),
        ("handle/options/labels.rs horizon", labels(|time| Labels::at_random().horizon(time))),
        (
            "handle/options/labels.rs memory_bytes",
            each(NUMBERS, |b, n| Ok(b.labels(Labels::at_random().memory_bytes(n)))),
        ),
        ("handle/options/limits.rs candidate_calls", limits(|n| Limits::new().candidate_calls(n))),
        ("handle/options/limits.rs candidate_deadline", times(|time| Limits::new().candidate_deadline(time))),
        ("handle/options/limits.rs circuit_breaker", limits(|n| Limits::new().circuit_breaker(n as u32))),
        ("handle/options/limits.rs events", limits(|n| Limits::new().events(n))),
        ("handle/options/limits.rs overdue_after", times(|time| Limits::new().overdue_after(time))),
        ("handle/options/limits.rs pin_lasts", times(|time| Limits::new().pin_lasts(time))),
        ("handle/options/limits.rs pins", limits(|n| Limits::new().pins(n))),
        ("handle/options/limits.rs staging_deadline", times(|time| Limits::new().staging_deadline(time))),
        ("handle/options/limits.rs segments", limits(|n| Limits::new().segments(n))),
        (
            "handle/options/retention.rs answers",
            each(NUMBERS, |b, n| Ok(b.retention(Retention::new().answers(n)))),
        ),
        ("handle/options/retention.rs keep_for", retention(|time| Retention::new().keep_for(time))),
        (
            "handle/options/retention.rs quarantine_for",
            retention(|time| Retention::new().quarantine_for(time)),
        ),
        (
            "handle/options/retention.rs versions",
            each(NUMBERS, |b, n| Ok(b.retention(Retention::new().versions(n)))),
        ),
        (
            "handle/options/shadowing.rs queue_bytes",
            each(NUMBERS, |b, n| Ok(b.shadowing(Shadowing::new().queue_bytes(n)))),
        ),
        (
            "handle/options/shadowing.rs queue_entries",
            each(NUMBERS, |b, n| Ok(b.shadowing(Shadowing::new().queue_entries(n)))),
        ),
        (
            "handle/options/shadowing.rs tolerance",
            each(FRACTIONS, |b, x| Ok(b.shadowing(Shadowing::new().tolerance(x)))),
        ),
        (
            "handle/options/shadowing.rs workers",
            each(NUMBERS, |b, n| Ok(b.shadowing(Shadowing::new().workers(n)))),
        ),
        ("handle/options/state_folder.rs checkpoint_every", checkpoints()),
        (
            "handle/options/threads.rs stripes",
            each(NUMBERS, |b, n| Ok(b.threads(Threads::manual().stripes(n)))),
        ),
        (
            "handle/options/threads.rs tick_every",
            each(TIMES, |b, time| Ok(b.threads(Threads::manual().tick_every(time)))),
        ),
        (
            "stats/figures/rolling.rs predictions",
            each(
                [0, 1, u64::MAX],
                move |b, n| Ok(b.limits(windows(WindowConfig::default().predictions(n))?)),
            ),
        ),
        (
            "stats/figures/rolling.rs slots",
            each([0, 2, 240, u16::MAX], move |b, n| Ok(b.limits(windows(WindowConfig::default().slots(n))?))),
        ),
        (
            "stats/figures/rolling.rs span",
            each(TIMES, move |b, time| Ok(b.limits(windows(WindowConfig::default().span(time))?))),
        ),
        ("version/drill.rs every", retention(|time| Retention::new().drill(Drill::new().every(time)))),
        (
            "version/drill.rs at_most",
            each(FRACTIONS, |b, x| Ok(b.retention(Retention::new().drill(Drill::new().at_most(x)?)))),
        ),
        (
            "version/drill.rs inputs",
            each(NUMBERS, |b, n| Ok(b.retention(Retention::new().drill(Drill::new().inputs(n)?)))),
        ),
        ("version/tiers.rs hot_for", retention(|time| Retention::new().tiers(Tiers::new().hot_for(time)))),
        (
            "version/tiers.rs private_bytes",
            each(
                [0, u64::MAX],
                |b, n| Ok(b.retention(Retention::new().tiers(Tiers::new().private_bytes(n)))),
            ),
        ),
        ("version/tiers.rs warm_for", retention(|time| Retention::new().tiers(Tiers::new().warm_for(time)))),
    ]
}

/// Of plans and allocations, which a builder is not told of.
const ELSEWHERE: &[&str] = &[
    "rollout/allocation.rs eliminate",
    "rollout/allocation.rs every",
    "rollout/allocation.rs floor",
    "rollout/plan.rs auto",
    "rollout/plan.rs canary",
    "rollout/plan.rs cycle",
    "rollout/plan.rs keep_previous_as_shadow",
    "rollout/plan.rs max_duration",
    "rollout/plan.rs max_predictions",
    "rollout/plan.rs min_duration",
    "rollout/plan.rs min_labels",
    "rollout/plan.rs min_predictions",
    "rollout/plan.rs new",
    "rollout/plan.rs run_length",
    "rollout/plan.rs shadow",
    "rollout/plan.rs wake",
];

#[cfg(feature = "state")]
fn checkpoints() -> Vec<Set> {
    use switchback::options::StateFolder;
    each(TIMES, |b, time| {
        let folder = std::sync::LazyLock::force(&FOLDER);
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(b.state(StateFolder::new(folder.0.join(number.to_string())).checkpoint_every(time)))
    })
}

#[cfg(feature = "state")]
static FOLDER: std::sync::LazyLock<crate::common::Folder> =
    std::sync::LazyLock::new(crate::common::Folder::new);

#[cfg(not(feature = "state"))]
fn checkpoints() -> Vec<Set> {
    Vec::new()
}

/// Days in the life of a service, whatever it was told.
fn live(service: &Service, clock: &Clock) {
    let pinned = service.request().pin();
    for version in ["v2", "v3"] {
        let rollout = service.stage(version, says(version, 0.2)).unwrap();
        let rollout =
            rollout.guard(guard::error_rate().at_most(0.5)).guard(guard::accuracy().at_most_below_live(0.5));
        let _ = rollout.shadow(0.5);
        for id in ask(service, 8).iter().map(|answer| answer.id()) {
            service.run_shadow(usize::MAX);
            let _ = service.feedback(id, Outcome::class(1));
            let _ = service.feedback(id, Outcome::class(0));
        }
        tick(service, clock);
        let _ = rollout.canary(0.5);
        ask(service, 8);
        let _ = pinned.as_ref().map(|pinned| pinned.predict(&0.5));
        for time in [seconds(1), seconds(86_400), seconds(86_400 * 400)] {
            clock.advance(time);
            service.tick();
        }
        let _ = rollout.promote();
        ask(service, 8);
        tick(service, clock);
    }
    let _ = service.rollback("x");
    tick(service, clock);
    let _ = (service.status(), service.events(), service.decisions(), service.recall("v2"));
    service.close(Duration::MAX).unwrap();
}

#[test]
fn every_setter_takes_its_extremes_or_refuses_them_by_name() {
    let mut refusals = Vec::new();
    for (name, cases) in setters() {
        let setter = name.split(' ').next_back().unwrap();
        for (place, set) in cases.iter().enumerate() {
            let clock = clock();
            let bare = builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new());
            let built = set(bare).map_err(BuildError::Option).and_then(Builder::build);
            match built {
                Ok(service) => live(&service, &clock),
                Err(BuildError::Option(refused)) => refusals.push(format!("{setter} {place}: {refused}")),
                Err(other) => panic!("{name} {place}: {other}"),
            }
        }
    }
    // What is refused names the argument, its value and what it may be.
    assert!(
        refusals.iter().all(|refused| refused.contains(" is ") && refused.contains(": it must be ")),
        "{refusals:#?}"
    );
    assert!(refusals.len() > 40, "{refusals:#?}");

    let found = in_the_sources(&[
        "handle/builder.rs",
        "handle/options/labels.rs",
        "handle/options/limits.rs",
        "handle/options/retention.rs",
        "handle/options/shadowing.rs",
        "handle/options/state_folder.rs",
        "handle/options/threads.rs",
        "rollout/allocation.rs",
        "rollout/plan.rs",
        "stats/figures/rolling.rs",
        "version/drill.rs",
        "version/tiers.rs",
    ]);
    let mut listed: Vec<String> = setters().iter().map(|(name, _)| (*name).to_owned()).collect();
    listed.extend(ELSEWHERE.iter().map(|name| (*name).to_owned()));
    listed.sort();
    assert_eq!(found, listed, "setters in the sources (left), and those that are tried here (right)");
}

/// Setters that take a time, a size or a number, by file and function, in order.
fn in_the_sources(files: &[&str]) -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(src.join(file)).unwrap();
        for signature in text.split("\n    pub ").skip(1) {
            let signature = signature.split(['{', ';']).next().unwrap_or_default();
            let signature = signature.strip_prefix("const ").unwrap_or(signature);
            let Some(signature) = signature.strip_prefix("fn ") else { continue };
            let arguments = signature.split("->").next().unwrap_or_default();
            let kinds = ["Duration", "usize", "u64", "u32", "u16", "u8", "f64"];
            let number = |kind| [")", ","].iter().any(|end| arguments.contains(&format!(": {kind}{end}")));
            if kinds.iter().any(number) || arguments.contains("impl TryInto<Share,") {
                found.push(format!("{file} {}", signature.split(['(', '<']).next().unwrap_or_default()));
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

#[test]
fn plans_and_allocations_take_their_extremes_or_refuse_them() {
    let steps: Vec<Step> = TIMES
        .into_iter()
        .flat_map(|time| {
            [Step::canary(0.5).unwrap().min_duration(time), Step::canary(0.5).unwrap().max_duration(time)]
        })
        .chain([0, 1, u64::MAX].into_iter().flat_map(|number| {
            let step = Step::canary(0.5).unwrap();
            [step.min_predictions(number), step.max_predictions(number), step.min_labels(number)]
        }))
        .collect();
    for x in FRACTIONS {
        if x != 0.0 {
            assert!(Step::canary(x).is_err() && Step::shadow(x).is_err(), "{x}");
            assert!(
                Bake::new(seconds(1)).wake(x).is_err()
                    && Bake::new(seconds(1)).keep_previous_as_shadow(x).is_err(),
                "{x}"
            );
        }
        assert!(Bake::new(seconds(1)).run_length(x).is_err(), "{x}");
        assert!(Allocation::top_two(guard::accuracy()).floor(x).is_err(), "{x}");
        assert!(Allocation::top_two(guard::accuracy()).eliminate(x).is_err() || x == 0.0, "{x}");
    }
    let mut plans: Vec<Plan> = steps.into_iter().filter_map(|step| Plan::new([step]).ok()).collect();
    plans.extend(TIMES.map(|time| Plan::ramp([0.5]).unwrap().cycle(time).bake(Bake::new(time))));
    #[cfg(feature = "forecast")]
    plans.extend(TIMES.map(Plan::auto));
    for plan in plans {
        let clock = clock();
        let service =
            builder(&clock).live("v1", says("one", 0.1)).shadowing(Shadowing::new()).build().unwrap();
        ask(&service, 8);
        tick(&service, &clock);
        let rollout = service.stage("v2", says("two", 0.1)).unwrap();
        let _ = rollout.run(plan.unguarded());
        for time in [seconds(1), seconds(1), seconds(86_400), seconds(86_400 * 400), Duration::MAX] {
            ask(&service, 4);
            clock.advance(time);
            service.tick();
        }
        let _ = (service.status(), service.rollback("x"));
    }
    for time in TIMES {
        let clock = clock();
        let service = builder(&clock).live("v1", says("one", 0.1)).build().unwrap();
        let rollout = service.stage("v2", says("two", 0.1)).unwrap();
        service.allocate(Allocation::top_two(guard::accuracy()).every(time), &[&rollout]).unwrap();
        for _ in 0..3 {
            ask(&service, 4);
            tick(&service, &clock);
        }
    }
}

/// The same of what stands beside a handle: models, caches, contracts, preflights, profiles.
#[cfg(all(feature = "onnx", feature = "repository", feature = "drift"))]
mod beside {
    use std::path::PathBuf;

    use serde_json::json;
    use switchback::drift::{Cell, Drift, Options, ReferenceProfile};
    use switchback::model::LoadError;
    use switchback::model::onnx::{Feed, OnnxModel, Outputs, Pipeline, PreparedCache, Runtime};
    use switchback::repository::contract::{
        Contract, Feature, GoldenSample, PinnedTensor, Preflight, Reservoir, WarmUp,
    };

    use super::*;
    use crate::common::Folder;

    /// Why it was refused; nothing where it was taken, and did what it is for.
    type Tried = Result<(), String>;

    /// What a setter makes of each of its extremes.
    fn each<T: Copy>(extremes: impl IntoIterator<Item = T>, tried: impl Fn(T) -> Tried) -> Vec<Tried> {
        extremes.into_iter().map(tried).collect()
    }

    fn said<T, E: std::fmt::Display>(result: Result<T, E>) -> Tried {
        result.map(drop).map_err(|error| error.to_string())
    }

    fn affine() -> OnnxModel {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/models/affine.onnx");
        OnnxModel::from_file(file).unwrap().pool_size(1)
    }

    fn pipeline(model: OnnxModel) -> Pipeline<f32, f32> {
        let encode = |amount: &f32, feed: &mut Feed<'_, '_>| {
            feed.buffer("x", &[1, 3])?.copy_from_slice(&[*amount, 0.0, 0.0]);
            Ok(())
        };
        model.pipeline("amount@1", encode, |outputs: &Outputs<'_>| outputs.scalar("y"))
    }

    fn loaded(model: OnnxModel) -> Tried {
        let loaded = model.load();
        assert!(matches!(loaded, Ok(()) | Err(LoadError::Option { .. })), "{loaded:?}");
        said(loaded)
    }

    fn cached(set: impl Fn(PreparedCache) -> PreparedCache) -> Tried {
        let folder = Folder::new();
        loaded(affine().prepared(&set(PreparedCache::open(&folder.0).unwrap())))
    }

    fn preflight(preflight: Preflight<f32>) -> Tried {
        said(preflight.run(&pipeline(affine())))
    }

    fn sample() -> GoldenSample {
        GoldenSample::new("two", json!(2.0)).output("y", PinnedTensor::new("f32", [1, 1], [json!(2.5)]))
    }

    fn contract(feature: Feature) -> Tried {
        let contract = Contract::new().feature(feature);
        let written = serde_json::to_string(&contract).map_err(|error| error.to_string())?;
        said(serde_json::from_str::<Contract>(&written))
    }

    fn reservoir(reservoir: &Reservoir<f64>) {
        (0..100).for_each(|number| reservoir.offer_with(|| f64::from(number)));
        assert!(reservoir.entries().len() <= 100);
    }

    fn profile(
        set: impl Fn(switchback::drift::ProfileBuilder) -> switchback::drift::ProfileBuilder,
    ) -> Tried {
        let rows: Vec<[Cell<'_>; 2]> =
            (0..100_u8).map(|row| [Cell::Number(row.into()), Cell::Text("x")]).collect();
        said(set(ReferenceProfile::builder().numeric("a").categorical("b")).build_from(&rows))
    }

    fn watched(set: impl Fn(Drift) -> Drift) -> Tried {
        let rows: Vec<[Cell<'_>; 1]> = (0..100_u8).map(|row| [Cell::Number(row.into())]).collect();
        let profile = ReferenceProfile::builder().numeric("a").build_from(&rows).unwrap();
        let features =
            switchback::options::Inputs::new().features(profile, |input: &f64, cells| cells.push(*input));
        let clock = clock();
        let built =
            builder(&clock).live("v1", says("one", 0.1)).inputs(features).drift(set(Drift::new())).build();
        if let Ok(service) = &built {
            for time in [seconds(1), seconds(86_400), Duration::MAX] {
                ask(service, 8);
                clock.advance(time);
                service.tick();
            }
            let _ = service.drift();
        }
        said(built)
    }

    fn tried() -> Vec<(&'static str, Vec<Tried>)> {
        let warm_up = |rule: WarmUp| preflight(Preflight::new().samples(&[sample()]).warm_up(rule));
        vec![
            ("drift/compare/compare.rs alpha", each(FRACTIONS, |x| said(Options::default().alpha(x)))),
            (
                "drift/compare/compare.rs minimum_effect",
                each(FRACTIONS, |x| said(Options::default().minimum_effect(x))),
            ),
            (
                "drift/compare/compare.rs minimum_rows",
                each([0, 1, u64::MAX], |n| {
                    watched(|drift| match Options::default().minimum_rows(n) {
                        Ok(options) => drift.options(options),
                        Err(_) => drift,
                    })?;
                    said(Options::default().minimum_rows(n))
                }),
            ),
            (
                "drift/compare/compare.rs minimum_share",
                each(FRACTIONS, |x| said(Options::default().minimum_share(x))),
            ),
            ("drift/profile/builder.rs bins", each(NUMBERS, |n| profile(|builder| builder.bins(n)))),
            (
                "drift/profile/builder.rs categories",
                each(NUMBERS, |n| profile(|builder| builder.categories(n))),
            ),
            (
                "drift/watch/options.rs begins_after",
                each([0, 1, u32::MAX], |n| watched(|drift| drift.begins_after(n))),
            ),
            (
                "drift/watch/options.rs ends_after",
                each([0, 1, u32::MAX], |n| watched(|drift| drift.ends_after(n))),
            ),
            ("drift/watch/options.rs sample", each(FRACTIONS, |x| watched(|drift| drift.sample(x)))),
            ("model/onnx/onnx_model.rs intra_threads", each(NUMBERS, |n| loaded(affine().intra_threads(n)))),
            (
                "model/onnx/onnx_model.rs max_wait",
                each(TIMES, |time| {
                    let model = pipeline(affine().max_wait(time));
                    model.load().unwrap();
                    assert_eq!(switchback::Model::predict(&model, &2.0).unwrap(), 2.5);
                    Ok(())
                }),
            ),
            ("model/onnx/onnx_model.rs pool_size", each(NUMBERS, |n| loaded(affine().pool_size(n)))),
            (
                "model/onnx/prepared/cache.rs limit",
                each([0, 1, u64::MAX], |n| cached(|c| c.smallest(0).limit(n))),
            ),
            ("model/onnx/prepared/cache.rs smallest", each([0, 1, u64::MAX], |n| cached(|c| c.smallest(n)))),
            (
                "model/onnx/runtime/runtime.rs threads",
                each(NUMBERS, |n| said(Runtime::builder().threads(n).build())),
            ),
            (
                "repository/contract/feature.rs vector",
                each(NUMBERS, |n| contract(Feature::number("a").vector(n))),
            ),
            (
                "repository/contract/golden.rs within",
                each(FRACTIONS, |x| preflight(Preflight::new().samples(&[sample().within(x)]))),
            ),
            (
                "repository/contract/preflight/preflight.rs latency_at_most",
                each(TIMES, |time| preflight(Preflight::new().samples(&[sample()]).latency_at_most(time))),
            ),
            (
                "repository/contract/preflight/preflight.rs memory_at_most",
                each([0, u64::MAX], |n| preflight(Preflight::new().samples(&[sample()]).memory_at_most(n))),
            ),
            (
                "repository/contract/preflight/warm_up.rs runs_at_most",
                each(NUMBERS, |n| warm_up(WarmUp::default().runs_at_most(n))),
            ),
            (
                "repository/contract/preflight/warm_up.rs time_at_most",
                each(TIMES, |time| warm_up(WarmUp::default().time_at_most(time))),
            ),
            (
                "repository/contract/preflight/warm_up.rs window",
                each(NUMBERS, |n| {
                    let rule = WarmUp::default().window(n).map_err(|error| error.to_string())?;
                    warm_up(rule.time_at_most(Duration::from_millis(10)))
                }),
            ),
            (
                "repository/contract/reservoir.rs horizon",
                each([0, 1, 2, u64::MAX], |n| {
                    let made = Reservoir::new(2, 1).horizon(n).map_err(|error| error.to_string())?;
                    reservoir(&made);
                    Ok(())
                }),
            ),
            (
                "repository/contract/reservoir.rs new",
                each(NUMBERS, |n| {
                    reservoir(&Reservoir::new(n, u64::MAX));
                    Ok(())
                }),
            ),
        ]
    }

    #[test]
    fn what_stands_beside_a_handle_takes_its_extremes_or_refuses_them_by_name() {
        let tried = tried();
        let refused: Vec<&String> =
            tried.iter().flat_map(|(_, tried)| tried).filter_map(|tried| tried.as_ref().err()).collect();
        for refused in &refused {
            assert!(refused.contains(" is ") || refused.contains(':'), "{refused}");
        }
        assert!(refused.len() > 30, "{refused:#?}");
        // What would take memory or threads for each of them is refused, and not only something somewhere.
        for setter in [" threads", " pool_size", " intra_threads", " bins", " categories"] {
            let (_, tried) = tried.iter().find(|(name, _)| name.ends_with(setter)).unwrap();
            assert!(tried[2].is_err() && tried[3].is_err(), "{setter}: {tried:?}");
        }
        let found = in_the_sources(&[
            "drift/compare/compare.rs",
            "drift/profile/builder.rs",
            "drift/watch/options.rs",
            "model/onnx/onnx_model.rs",
            "model/onnx/prepared/cache.rs",
            "model/onnx/runtime/runtime.rs",
            "repository/contract/feature.rs",
            "repository/contract/golden.rs",
            "repository/contract/preflight/preflight.rs",
            "repository/contract/preflight/warm_up.rs",
            "repository/contract/reservoir.rs",
        ]);
        let listed: Vec<&str> = tried.iter().map(|(name, _)| *name).collect();
        assert_eq!(found, listed, "setters in the sources (left), and those that are tried here (right)");
    }
}
