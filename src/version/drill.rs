//! Proves that retained versions would answer, on inputs that live was asked lately.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::input::{KeptInput, NotCopied, copied};
use crate::base::clock::Timestamp;
use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::base::share::{Share, ShareError, share_of};
use crate::base::sync::Tickets;

/// How retained versions are kept proven: at every interval each of them is asked a few inputs that live has just been asked,
/// beside the requests, and `status()` says whether it would answer. What they answer is thrown away and counts nowhere.
///
/// ```
/// use std::time::Duration;
/// use switchback::options::Drill;
/// use switchback::{ModelHandle, closure};
/// use switchback::options::{Inputs, Retention, Threads};
///
/// let handle = ModelHandle::builder("late")
///     .live("v1", closure("one@1", |_: &f64| Ok(1.0)))
///     .inputs(Inputs::new().copied())
///     .retention(Retention::new().drill(Drill::new().every(Duration::from_secs(30))))
///     .threads(Threads::manual())
///     .build()?;
/// handle.stage("v2", closure("two@1", |_: &f64| Ok(2.0)))?.promote()?;
/// handle.tick(); // it begins: the next requests are copied
/// for number in 0..20 {
///     handle.predict(&f64::from(number))?;
/// }
/// handle.tick();
/// assert_eq!(handle.status().would_answer("v1").unwrap(), "v1: would answer, proven 0 s ago on 12 live inputs");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Drill {
    every: Duration,
    inputs: usize,
    share: Share,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    Drill {
        every: Duration,
        inputs: usize,
        share: Share,
    }
}

impl Drill {
    /// Every minute, on twelve inputs, for at most a hundredth of the time: a version that could not answer is known of within
    /// two minutes, and twelve inputs find whatever fails on one in four (97 % of the time) for the price of twelve runs.
    pub const fn new() -> Self {
        Self { every: Duration::from_secs(60), inputs: 12, share: Share::from_buckets(100) }
    }

    /// How often. Zero means as often as the [share of time](Self::at_most) that drills may take allows.
    pub const fn every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }

    /// How many inputs each version is asked; as many are copied each time, and no more. Twelve by default.
    ///
    /// # Errors
    ///
    /// 0 inputs, which would prove nothing.
    pub fn inputs(self, inputs: usize) -> Result<Self, ArgumentError> {
        Self { inputs, ..self }.checked()
    }

    /// The share of one core's time that drills may take, 1 % by default: a drill that took long is not repeated before
    /// that much time has passed.
    ///
    /// # Errors
    ///
    /// No share at all, for which the drill is left out instead, or what is none.
    pub fn at_most(self, share: impl TryInto<Share, Error: Into<ShareError>>) -> Result<Self, ArgumentError> {
        let share = share_of(share).map_err(|refused| refused.of("the share of time of a drill"))?;
        Self { share, ..self }.checked()
    }

    fn checked(self) -> Result<Self, ArgumentError> {
        self.check().map(|()| self)
    }

    fn check(&self) -> Result<(), ArgumentError> {
        let Self { inputs, share, .. } = *self;
        ArgumentError::unless(inputs > 0, "the number of inputs of a drill", inputs, "1 or more")?;
        let allowed = "more than nothing, or there is no drill";
        ArgumentError::unless(share != Share::NONE, "the share of time of a drill", share, allowed)
    }

    /// How long after a drill that took so long the next one is.
    fn rest(&self, took: Duration) -> Duration {
        Duration::try_from_secs_f64(took.as_secs_f64() / self.share.fraction())
            .map_or(Duration::MAX, |rest| rest.max(self.every))
    }
}

impl Default for Drill {
    fn default() -> Self {
        Self::new()
    }
}

/// The outcome of a retained version's last drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DrillOutcome {
    /// When.
    pub at: Timestamp,
    /// How many inputs of live's it was asked.
    pub inputs: u32,
    /// How many it failed on.
    pub failed: u32,
    /// How many more it was to be asked, of which no copy could be made: the `Clone` of the input panicked.
    pub not_copied: u32,
    /// The kind of the version's first failure, or what could not be copied where no input could be at all. What the
    /// version said of it is not kept: it may quote what a user sent.
    pub failure: Option<String>,
    /// How long all of it took.
    pub took: Duration,
    /// How long its drills took so far, all in all.
    pub took_in_all: Duration,
}

impl DrillOutcome {
    /// A version has not returned from an input that it was asked, for so long.
    pub(crate) fn not_returned(at: Timestamp, took: Duration) -> Self {
        let failure = Some(format!("it has not returned for {} s", took.as_secs_f64()));
        Self { at, inputs: 1, failed: 1, not_copied: 0, failure, took, took_in_all: took }
    }
}

/// Without the time: see [`Status::would_answer`](crate::status::Status::would_answer).
impl fmt::Display for DrillOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            None => write!(f, "would answer, proven on {} live inputs", self.inputs),
            Some(failure) if self.inputs == 0 => {
                write!(
                    f,
                    "was not drilled: none of {} live inputs could be copied: {failure}",
                    self.not_copied
                )
            }
            Some(failure) => {
                write!(f, "would not answer {} of {} live inputs: {failure}", self.failed, self.inputs)
            }
        }
    }
}

/// Inputs of a few recent requests, and when they are wanted.
pub(crate) struct Recent<I: ?Sized> {
    copy: fn(&I) -> Box<dyn KeptInput<I>>,
    drill: Mutex<Drill>,
    /// How many more are to be copied. All but a few requests of a minute find 0 here.
    wanted: Tickets,
    copies: Mutex<Copies<I>>,
    /// A few of the last drill, for versions that are staged before there are new ones.
    kept: Mutex<Vec<Box<dyn KeptInput<I>>>>,
    due: Mutex<Due>,
}

/// How many inputs are kept of a drill, and how many a version that is staged is asked at most.
const PROOFS: usize = 3;

/// The inputs of one drill.
pub(crate) struct Copies<I: ?Sized> {
    pub(crate) inputs: Vec<Box<dyn KeptInput<I>>>,
    /// Those of which there is no copy.
    pub(crate) not_copied: u32,
    /// Why not the first of them.
    pub(crate) panic: Option<NotCopied>,
}

impl<I: ?Sized> Default for Copies<I> {
    fn default() -> Self {
        Self { inputs: Vec::new(), not_copied: 0, panic: None }
    }
}

impl<I: ?Sized> Copies<I> {
    /// One that could not be copied counts: were another waited for in its place, each request would run into the panic.
    fn len(&self) -> usize {
        self.inputs.len() + self.not_copied as usize
    }
}

#[derive(Default)]
struct Due {
    /// When the last one was, and how long it took: when the next is due follows, also where what is wanted has changed meanwhile.
    last: Option<(Timestamp, Duration)>,
    is_collecting: bool,
    /// How many inputs are being collected.
    wanted: usize,
}

impl<I: ?Sized> Recent<I> {
    pub(crate) fn new(copy: fn(&I) -> Box<dyn KeptInput<I>>, drill: Drill) -> Self {
        let (wanted, copies, due) = (Tickets::none(), Mutex::default(), Mutex::default());
        Self { copy, drill: Mutex::new(drill), wanted, copies, kept: Mutex::new(Vec::new()), due }
    }

    /// Drills as told from now on, counted from the last one. One for which inputs are being collected has as many as were wanted then.
    pub(crate) fn set_drill(&self, drill: Drill) {
        *self.drill.lock() = drill;
    }

    /// Copies an input where some are wanted. Costs a request one load of a place that is hardly ever written to.
    #[inline]
    pub(crate) fn offer(&self, input: &I) {
        if self.wanted.any() {
            self.take(input);
        }
    }

    #[cold]
    fn take(&self, input: &I) {
        if self.wanted.take() {
            let copy = copied(input, self.copy);
            // A thread that gets only the time that nobody else wants may have been put aside with the lock: another request is copied.
            let Some(mut copies) = self.copies.try_lock() else { return self.wanted.give_back() };
            match copy {
                Ok(copy) => copies.inputs.push(copy),
                Err(panic) => {
                    copies.not_copied += 1;
                    copies.panic.get_or_insert(panic);
                }
            }
        }
    }

    /// The inputs of a drill that is due, once there are enough; and begins to collect them when one is.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Copies<I>> {
        let drill = self.drill.lock().clone();
        let mut due = self.due.lock();
        if due.last.is_some_and(|(at, took)| now < at.plus(drill.rest(took))) {
            return None;
        }
        if !due.is_collecting {
            due.is_collecting = true;
            due.wanted = drill.inputs;
            self.wanted.issue(drill.inputs);
            return None;
        }
        let mut copies = self.copies.lock();
        if copies.len() < due.wanted {
            return None; // little traffic: it is waited for
        }
        due.is_collecting = false;
        if copies.len() == 0 {
            return None; // all of them were lent to a version that has not come back
        }
        due.last = Some((now, Duration::ZERO));
        Some(std::mem::take(&mut *copies))
    }

    /// Keeps a few inputs of a drill that is over, in place of those before.
    pub(crate) fn keep(&self, mut inputs: Vec<Box<dyn KeptInput<I>>>) {
        inputs.truncate(PROOFS);
        if !inputs.is_empty() {
            let before = std::mem::replace(&mut *self.kept.lock(), inputs);
            drop(before);
        }
    }

    /// Lends a few inputs to whoever asks a version that is staged, and takes them back: no lock is held meanwhile.
    pub(crate) fn lend<T>(&self, ask: impl FnOnce(&[Box<dyn KeptInput<I>>]) -> T) -> T {
        let mut kept = std::mem::take(&mut *self.kept.lock());
        let places = PROOFS.saturating_sub(kept.len());
        // A version that is asked may never come back, and no more are copied in the place of what it has then.
        let mut waiting: Vec<_> = {
            let mut due = self.due.lock();
            let inputs = &mut self.copies.lock().inputs;
            let from = inputs.len().saturating_sub(places);
            due.wanted = due.wanted.saturating_sub(inputs.len() - from);
            inputs.drain(from..).collect()
        };
        let of_drill = kept.len();
        kept.append(&mut waiting);
        let asked = ask(&kept);
        let waiting = kept.split_off(of_drill);
        {
            let mut due = self.due.lock();
            due.wanted += waiting.len();
            self.copies.lock().inputs.extend(waiting);
        }
        let mut place = self.kept.lock();
        if place.is_empty() {
            *place = kept;
        }
        asked
    }

    /// A drill took so long.
    pub(crate) fn rest(&self, now: Timestamp, took: Duration) {
        self.due.lock().last = Some((now, took));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::version::input::Keep;

    /// Bug: a drill of no inputs, or of no time, could be read and not said; it proves nothing and says so of nothing. Cause: serde went
    /// around the constructors. Fix: what is read is checked as what is said.
    #[test]
    fn a_drill_that_cannot_be_said_cannot_be_read() {
        let read = |text: &str| serde_json::from_str::<Drill>(text).map_err(|error| error.to_string());
        for (text, cause) in [
            (r#"{"inputs": 0}"#, "the number of inputs of a drill is 0"),
            (r#"{"share": 0.0}"#, "the share of time of a drill is 0"),
            (r#"[{"secs": 1, "nanos": 0}, 3, 0.5]"#, "a list"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(cause), "{text}: {error}");
        }
        let drill = Drill::new().inputs(3).unwrap();
        assert_eq!(read(&serde_json::to_string(&drill).unwrap()), Ok(drill));
        assert_eq!(read("{}"), Ok(Drill::new()));
    }

    #[test]
    fn as_many_inputs_are_copied_as_are_wanted_and_no_more() {
        let recent: Recent<u32> =
            Recent::new(|input| Box::new(Keep::new(*input)), Drill::new().inputs(3).unwrap());
        let at = Timestamp::from_unix_seconds;
        recent.offer(&7);
        assert!(recent.due(at(0)).is_none());
        recent.offer(&8);
        assert!(recent.due(at(1)).is_none(), "one of three");
        (9..20).for_each(|input| recent.offer(&input));
        let Copies { inputs, not_copied, .. } = recent.due(at(2)).unwrap();
        assert_eq!(not_copied, 0);
        assert_eq!(inputs.iter().map(|copy| *copy.input()).collect::<Vec<_>>(), [8, 9, 10]);
        recent.rest(at(2), Duration::from_millis(1));
        assert!(recent.due(at(61)).is_none());
        assert!(!recent.wanted.any(), "not before it is due");
        assert!(recent.due(at(62)).is_none());
        assert!(recent.wanted.any());
    }

    /// Bug: a request could wait for as long as a thread of idle priority was put aside. Cause: both took the lock of what is copied. Fix: a request
    /// that finds it taken goes on, and the next one is copied.
    #[test]
    fn a_request_waits_for_nobody_who_looks_at_what_was_copied() {
        let recent: Recent<u32> =
            Recent::new(|input| Box::new(Keep::new(*input)), Drill::new().inputs(1).unwrap());
        let at = Timestamp::from_unix_seconds;
        assert!(recent.due(at(0)).is_none());
        let recent = Arc::new(recent);
        let held = recent.copies.lock();
        let (own, (tell, told)) = (Arc::clone(&recent), crossbeam_channel::bounded(1));
        std::thread::spawn(move || {
            own.offer(&7);
            let _ = tell.send(());
        });
        assert!(told.recv_timeout(Duration::from_secs(60)).is_ok(), "it waits");
        drop(held);
        assert!(recent.due(at(1)).is_none());
        recent.offer(&8);
        assert_eq!(
            recent.due(at(1)).unwrap().inputs.iter().map(|copy| *copy.input()).collect::<Vec<_>>(),
            [8]
        );
    }

    /// Bug: a version that hung while it was asked for what was copied for the next drill kept that, and no drill came any more. Cause: as
    /// many copies were waited for as before, and no more were made. Fix: as many fewer.
    #[test]
    fn what_a_version_that_never_comes_back_was_lent_is_not_waited_for() {
        let recent: Recent<u32> =
            Recent::new(|input| Box::new(Keep::new(*input)), Drill::new().inputs(5).unwrap());
        let at = Timestamp::from_unix_seconds;
        assert!(recent.due(at(0)).is_none());
        (0..2).for_each(|input| recent.offer(&input));
        // What unwinds gives nothing back, as what never returns.
        let lent = std::panic::AssertUnwindSafe(|| recent.lend(|inputs| panic!("{} are gone", inputs.len())));
        assert!(std::panic::catch_unwind(lent).is_err());
        (2..9).for_each(|input| recent.offer(&input));
        let copies = recent.due(at(1)).unwrap();
        assert_eq!(copies.inputs.iter().map(|copy| *copy.input()).collect::<Vec<_>>(), [2, 3, 4]);
        // What comes back is there, and no more is waited for than can come.
        recent.rest(at(1), Duration::ZERO);
        assert!(recent.due(at(100)).is_none());
        recent.offer(&10);
        recent.lend(|inputs| assert_eq!(inputs.len(), 1));
        (11..20).for_each(|input| recent.offer(&input));
        assert_eq!(recent.due(at(101)).unwrap().inputs.len(), 5);
    }

    /// Bug: a panic in the `Clone` of an input reached the caller of the request that was copied.
    #[test]
    fn a_clone_that_panics_costs_a_copy_and_nothing_else() {
        struct Fragile(u32);
        impl Clone for Fragile {
            fn clone(&self) -> Self {
                assert!(self.0.is_multiple_of(2), "odd ones cannot be copied");
                Self(self.0)
            }
        }
        let recent: Recent<Fragile> =
            Recent::new(|input| Box::new(Keep::new(input.clone())), Drill::new().inputs(4).unwrap());
        let at = Timestamp::from_unix_seconds;
        assert!(recent.due(at(0)).is_none());
        (0..9).for_each(|number| recent.offer(&Fragile(number)));
        let copies = recent.due(at(1)).unwrap();
        assert_eq!(copies.inputs.iter().map(|copy| copy.input().0).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(copies.not_copied, 2);
        // What it said may quote the input.
        assert_eq!(copies.panic.unwrap().to_string(), "the `Clone` of an input panicked");
        // The next drill begins with none of this.
        assert!(recent.due(at(100)).is_none());
        (0..8).for_each(|number| recent.offer(&Fragile(number * 2)));
        assert_eq!(recent.due(at(101)).unwrap().not_copied, 0);
    }

    #[test]
    fn a_drill_that_takes_long_is_seldom() {
        let drill = Drill::new();
        assert_eq!(drill.rest(Duration::from_millis(1)), Duration::from_secs(60));
        assert_eq!(drill.rest(Duration::from_secs(3)), Duration::from_secs(300));
        let seldom = drill.at_most(Share::new(0.0001).unwrap()).unwrap();
        assert_eq!(seldom.rest(Duration::from_secs(1)), Duration::from_secs(10_000));
    }

    #[test]
    fn a_drill_that_would_prove_nothing_is_refused() {
        let refused = Drill::new().inputs(0).unwrap_err();
        assert_eq!(refused.to_string(), "the number of inputs of a drill is 0: it must be 1 or more");
        assert_eq!(
            Drill::new().at_most(0.02).unwrap(),
            Drill::new().at_most(Share::new(0.02).unwrap()).unwrap()
        );
        assert_eq!(Drill::new().at_most(2.0).unwrap_err().value, "2");
        let refused = Drill::new().at_most(Share::NONE).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the share of time of a drill is 0 %: it must be more than nothing, or there is no drill"
        );
    }
}
