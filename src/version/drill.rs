//! Keeping retained versions proven: now and then each is asked what live was asked lately.

use std::fmt;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::input::KeptInput;
use crate::base::clock::Timestamp;
use crate::base::sync::Tickets;

/// How retained versions are kept proven: at every interval each of them is asked a few inputs that live has just been asked,
/// beside the requests, and `status()` says whether it would answer. What they answer is thrown away and counts nowhere.
///
/// ```
/// use std::time::Duration;
/// use switchback::{Drill, ModelHandle, closure};
/// use switchback::options::{Retention, Threads};
///
/// let handle = ModelHandle::builder("late")
///     .live("v1", closure("one@1", |_: &f64| Ok(1.0)))
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[must_use]
pub struct Drill {
    every: Duration,
    inputs: usize,
    share: f64,
}

impl Drill {
    /// Every minute, on twelve inputs, for at most a hundredth of the time: a version that could not answer is known of within
    /// two minutes, and twelve inputs find whatever fails on one in four (97 % of the time) for the price of twelve runs.
    pub const fn new() -> Self {
        Self { every: Duration::from_secs(60), inputs: 12, share: 0.01 }
    }

    /// How often.
    pub const fn every(mut self, interval: Duration) -> Self {
        self.every = interval;
        self
    }

    /// How many inputs; as many are copied each time, and no more.
    pub const fn inputs(mut self, inputs: usize) -> Self {
        self.inputs = inputs;
        self
    }

    /// The share of the time that drills may take, of one core, 0.01 unless told: one that took long is not repeated before
    /// that much time has passed.
    pub const fn at_most(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// How long after a drill that took so long the next one is.
    fn rest(&self, took: Duration) -> Duration {
        let share = if self.share > 0.0 { self.share.min(1.0) } else { 1e-6 };
        Duration::try_from_secs_f64(took.as_secs_f64() / share)
            .map_or(Duration::MAX, |rest| rest.max(self.every))
    }
}

impl Default for Drill {
    fn default() -> Self {
        Self::new()
    }
}

/// What a retained version answered in its last drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Drilled {
    /// When.
    pub at: Timestamp,
    /// How many inputs of live's it was asked.
    pub inputs: u32,
    /// How many it failed on.
    pub failed: u32,
    /// How it failed first, where it did.
    pub failure: Option<String>,
    /// How long all of it took.
    pub took: Duration,
    /// How long its drills took so far, all in all.
    pub took_in_all: Duration,
}

/// Without the time: see [`Status::would_answer`](crate::Status::would_answer).
impl fmt::Display for Drilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            None => write!(f, "would answer, proven on {} live inputs", self.inputs),
            Some(failure) => {
                write!(f, "would not answer {} of {} live inputs: {failure}", self.failed, self.inputs)
            }
        }
    }
}

/// Inputs of a few recent requests, and when they are wanted.
pub(crate) struct Recent<I: ?Sized> {
    copy: fn(&I) -> Box<dyn KeptInput<I>>,
    drill: Drill,
    /// How many more are to be copied. All but a few requests of a minute find 0 here.
    wanted: Tickets,
    kept: Mutex<Vec<Box<dyn KeptInput<I>>>>,
    due: Mutex<Due>,
}

#[derive(Default)]
struct Due {
    next: Option<Timestamp>,
    is_collecting: bool,
}

impl<I: ?Sized> Recent<I> {
    pub(crate) fn new(copy: fn(&I) -> Box<dyn KeptInput<I>>, drill: Drill) -> Self {
        let (wanted, kept, due) = (Tickets::none(), Mutex::default(), Mutex::default());
        Self { copy, drill, wanted, kept, due }
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
            let copy = (self.copy)(input);
            self.kept.lock().push(copy);
        }
    }

    /// The inputs of a drill that is due, once there are enough; and begins to collect them when one is.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Vec<Box<dyn KeptInput<I>>>> {
        let mut due = self.due.lock();
        if due.next.is_some_and(|next| now < next) {
            return None;
        }
        if !due.is_collecting {
            due.is_collecting = true;
            self.wanted.issue(self.drill.inputs);
            return None;
        }
        let mut kept = self.kept.lock();
        if kept.len() < self.drill.inputs || kept.is_empty() {
            return None; // little traffic: it is waited for
        }
        due.is_collecting = false;
        due.next = Some(now.plus(self.drill.every));
        Some(std::mem::take(&mut *kept))
    }

    /// A drill took so long.
    pub(crate) fn rest(&self, now: Timestamp, took: Duration) {
        self.due.lock().next = Some(now.plus(self.drill.rest(took)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::input::Keep;

    #[test]
    fn as_many_inputs_are_copied_as_are_wanted_and_no_more() {
        let recent: Recent<u32> = Recent::new(|input| Box::new(Keep(*input)), Drill::new().inputs(3));
        let at = Timestamp::from_unix_seconds;
        recent.offer(&7);
        assert!(recent.due(at(0)).is_none());
        recent.offer(&8);
        assert!(recent.due(at(1)).is_none(), "one of three");
        (9..20).for_each(|input| recent.offer(&input));
        let inputs = recent.due(at(2)).unwrap();
        assert_eq!(inputs.iter().map(|copy| *copy.input()).collect::<Vec<_>>(), [8, 9, 10]);
        recent.rest(at(2), Duration::from_millis(1));
        assert!(recent.due(at(61)).is_none());
        assert!(!recent.wanted.any(), "not before it is due");
        assert!(recent.due(at(62)).is_none());
        assert!(recent.wanted.any());
    }

    #[test]
    fn a_drill_that_takes_long_is_seldom() {
        let drill = Drill::new().at_most(0.01);
        assert_eq!(drill.rest(Duration::from_millis(1)), Duration::from_secs(60));
        assert_eq!(drill.rest(Duration::from_secs(3)), Duration::from_secs(300));
        assert_eq!(drill.at_most(0.0).rest(Duration::from_secs(1)), Duration::from_secs(1_000_000));
    }
}
