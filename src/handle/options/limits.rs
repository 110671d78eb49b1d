//! The limits on what is held, how long a candidate may take, and how much is remembered.

use std::time::Duration;

use crate::base::clock::Clock;
use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::control::pins::PinPolicy;
use crate::stats::figures::rolling::WindowConfig;
use crate::task::segments::SEGMENTS_DEFAULT;
use crate::version::loaded::CALLS_MAX;

/// Bounds of a handle: pinned streams, candidates that are slow or fail, and what is remembered.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Limits {
    pub(crate) pin_policy: PinPolicy,
    pub(crate) pins: usize,
    pub(crate) pin_lasts: Duration,
    pub(crate) candidate_deadline: Option<Duration>,
    pub(crate) candidates_beside: Option<bool>,
    pub(crate) candidate_calls: Option<usize>,
    pub(crate) overdue_after: Option<Duration>,
    pub(crate) staging_deadline: Duration,
    pub(crate) circuit_breaker: u32,
    pub(crate) events: usize,
    pub(crate) segments: usize,
    pub(crate) windows: WindowConfig,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    Limits {
        pin_policy: PinPolicy,
        pins: usize,
        pin_lasts: Duration,
        candidate_deadline: Option<Duration>,
        candidates_beside: Option<bool>,
        candidate_calls: Option<usize>,
        overdue_after: Option<Duration>,
        staging_deadline: Duration,
        circuit_breaker: u32,
        events: usize,
        segments: usize,
        windows: WindowConfig,
    }
}

impl Limits {
    /// 1,024 pinned streams of up to ten minutes, no deadline, as many calls of a candidate as its share
    /// and the threads allow, 30 s until one is overdue, ten minutes to stage a version, a circuit breaker of 5 failures, 1,024
    /// events, 64 segments.
    pub fn new() -> Self {
        Self {
            pin_policy: PinPolicy::default(),
            pins: 1_024,
            pin_lasts: Duration::from_secs(600),
            candidate_deadline: None,
            candidates_beside: None,
            candidate_calls: None,
            overdue_after: None,
            staging_deadline: Duration::from_secs(600),
            circuit_breaker: 5,
            events: 1_024,
            segments: SEGMENTS_DEFAULT,
            windows: WindowConfig::default(),
        }
    }

    /// Sets what becomes of pinned streams when their version is taken off. By default they finish.
    pub fn pin_policy(mut self, policy: PinPolicy) -> Self {
        self.pin_policy = policy;
        self
    }

    /// How many streams may be pinned at a time, up to 1,048,576. The default is 1,024.
    pub fn pins(mut self, streams: usize) -> Self {
        self.pins = streams;
        self
    }

    /// How long a pinned stream may last. The default is ten minutes.
    pub fn pin_lasts(mut self, time: Duration) -> Self {
        self.pin_lasts = time;
        self
    }

    /// How long a candidate may take before live answers in its place. By default there is no limit.
    ///
    /// It holds for any candidate whose input can be kept by another thread than the caller's: one that is
    /// [shared](crate::requests::Request::predict_shared), or that may be copied ([`Inputs::copied`](super::Inputs::copied),
    /// [`Builder::shadowing`](crate::Builder::shadowing)), also a batch. Then a thread of ours asks the candidate, with all of its
    /// `encode` and `decode`, and the caller has live's answer at the deadline and live's own time; that request counts as
    /// one whose deadline was missed, once. See [`candidates_beside`](Self::candidates_beside) for what it costs.
    ///
    /// Elsewhere the caller asks the candidate itself, and only models that can be interrupted are: of an ONNX model the run,
    /// and not what a pipeline does before and after it. Any other answers late, which counts as a failure all the same, or
    /// never, which keeps its caller. So it is for inputs that can be neither shared nor copied, for
    /// [pinned streams](crate::requests::Pinned), whose model may keep a state from call to call, and for the model's run time
    /// in copies, where nobody waits. What is staged or retained is asked live's recent inputs without it.
    pub fn candidate_deadline(mut self, deadline: Duration) -> Self {
        self.candidate_deadline = Some(deadline);
        self
    }

    /// Whether threads of ours ask candidates that have a [deadline](Self::candidate_deadline), where their inputs can be kept. By
    /// default they do, unless the [clock](crate::Clock::manual) is turned by hand, whose deadlines pass only when it is.
    ///
    /// It costs each request of a candidate a copy of its input, unless that is shared, and the hand-over to another thread and
    /// back: 10 to 50 us, which count as the caller's time and not as the candidate's. Requests of live pay nothing. There are as
    /// many threads as calls of candidates are under way, at most 64, and they end after a rest of ten seconds; where there is
    /// none, live answers, as where a candidate has [too many calls](Self::candidate_calls) under way. One that is in a call
    /// which is [overdue](Self::overdue_after) is given up.
    pub fn candidates_beside(mut self, beside: bool) -> Self {
        self.candidates_beside = Some(beside);
        self
    }

    /// Whether candidates are asked beside their callers.
    pub(crate) fn asks_beside(&self, clock: &Clock) -> bool {
        self.candidates_beside.unwrap_or_else(|| !clock.is_turned_by_hand())
    }

    /// How many calls of one candidate for callers may be under way at one time, 1 to 64. Where as many are, live answers what
    /// belongs to the candidate, which counts as withheld and is evidence for neither: so a candidate that hangs does not take
    /// the threads that serve. Nor are live's own requests of such moments its control, though they are that of other candidates; while
    /// two candidates have as many, requests without a key are evidence for none.
    ///
    /// By default it follows from the candidate's share and from how many threads have asked this handle while a candidate answered
    /// callers (or how many requests from asynchronous code run at one time, where these are fewer): twice what falls to it on
    /// average, or one more than three times that where it is fewer than 4; and a quarter of the threads, at least one, is left to
    /// live. Of two threads a candidate has one, of four three at a share of 50 % and two at 5 %. Candidates that are on trial
    /// together leave as much to live between them: while calls of one of them hang, others answer less, also after it was taken
    /// off, until they have returned. Where a number is said it is each candidate's own, and several may take more together. Where a
    /// service asks from one thread only a
    /// [deadline](Self::candidate_deadline) helps.
    pub fn candidate_calls(mut self, calls: usize) -> Self {
        self.candidate_calls = Some(calls);
        self
    }

    /// From when on a call of a candidate that has not ended counts as one that never will: its version is taken off and
    /// quarantined by the next tick, whether or not the call ever ends, and an event tells how many calls it has under way. The
    /// default is twice the [deadline](Self::candidate_deadline), where there is one, and 100 ms at least, which a busy machine takes; and
    /// 30 s else: longer than a call takes that anybody waits for. Say more for batches that run for minutes. Of a time in which nobody
    /// ticks three intervals count: that a process stands still is no fault of its candidates.
    pub fn overdue_after(mut self, time: Duration) -> Self {
        self.overdue_after = Some(time);
        self
    }

    /// How long [`stage`](crate::ModelHandle::stage) and [`build`](crate::Builder::build) wait until a version is ready, from opening it to
    /// its last check, each one that a start or a take-over remembers too, and what a fleet has agreed on, for which a host that ticks by
    /// hand waits on that tick; and how long a retained version may take to be woken, or for a step of its upkeep. Then it is given up: `stage` returns
    /// [`StageError::Deadline`](crate::StageError::Deadline), which says what the version was doing, its name is free again, and
    /// the thread that its code keeps is [left behind](crate::status::ThreadStatus::abandoned).
    ///
    /// The default is ten minutes: many times what gigabytes take from a slow disk at low priority, and as long as those who
    /// roll services out wait for one that makes no progress. `Duration::MAX` waits for ever.
    pub fn staging_deadline(mut self, time: Duration) -> Self {
        self.staging_deadline = time;
        self
    }

    /// When a call is overdue.
    pub(crate) fn overdue(&self) -> Duration {
        const USUAL: Duration = Duration::from_secs(30);
        const LEAST: Duration = Duration::from_millis(100);
        let by_deadline =
            self.candidate_deadline.map_or(USUAL, |deadline| deadline.saturating_mul(2).max(LEAST));
        self.overdue_after.unwrap_or(by_deadline)
    }

    /// After how many failures in a row, as seen by one stripe and beside a live that is well, a version is passed over before
    /// any guard has judged it; 0 means never. The default is 5.
    ///
    /// What live fails on too does not count, nor do further failures of one user, batch or stream; and the oftener live has
    /// failed lately, or the guards of the version's failures let it fail, the more it takes: 8 where that is on a tenth, 15 where it is
    /// on a fifth, 57 where it is on half. So many are enough of the first thousand requests, and the more the version has
    /// been asked the more it takes, since chance brings a streak in a long time: 7 after ten thousand, 9 after a million. A version that
    /// trips in the tick in which live turns bad is tried again after 30 s
    /// ([`CircuitOpened`](crate::events::EventKind::CircuitOpened)); so is every one in a fleet, whose processes take nothing off for it. A live that has answered nobody, since its pipeline does not
    /// fit its own model, is taken back after as many failures.
    pub fn circuit_breaker(mut self, failures: u32) -> Self {
        self.circuit_breaker = failures;
        self
    }

    /// How many events are remembered, 1 to 1,048,576. The default is 1,024.
    pub fn events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// How many [segments](crate::options::Inputs::segment) are told apart, 1 to 256. The default is 64. What a guard asks of each
    /// grows with it, whether they come or not, so say few where there are few.
    pub fn segments(mut self, segments: usize) -> Self {
        self.segments = segments;
        self
    }

    /// How far back rolling figures look.
    pub fn windows(mut self, windows: WindowConfig) -> Self {
        self.windows = windows;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        ArgumentError::unless(self.pins <= 1 << 20, "limits.pins", self.pins, "at most 1048576")?;
        let events = self.events;
        ArgumentError::unless((1..=1 << 20).contains(&events), "limits.events", events, "1 to 1048576")?;
        ArgumentError::unless(
            (1..=256).contains(&self.segments),
            "limits.segments",
            self.segments,
            "1 to 256",
        )?;
        let calls = self.candidate_calls.unwrap_or(1);
        ArgumentError::unless((1..=CALLS_MAX).contains(&calls), "limits.candidate_calls", calls, "1 to 64")?;
        let pinned = !self.pin_lasts.is_zero();
        ArgumentError::unless(pinned, "limits.pin_lasts", "0 s", "longer than 0 s")?;
        let overdue = self.overdue_after.is_none_or(|after| !after.is_zero());
        ArgumentError::unless(overdue, "limits.overdue_after", "0 s", "longer than 0 s")?;
        let staging = !self.staging_deadline.is_zero();
        ArgumentError::unless(staging, "limits.staging_deadline", "0 s", "longer than 0 s")?;
        let deadline = self.candidate_deadline;
        let some_time = deadline.is_none_or(|deadline| !deadline.is_zero());
        ArgumentError::unless(some_time, "limits.candidate_deadline", "0 s", "longer than 0 s")
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
