//! Warms a model up until its run times are flat, and takes its time then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::clock::Clock;
use crate::base::invalid::ArgumentError;
use crate::model::error::ModelError;

/// How long a model is run before its time is taken.
///
/// Runs are counted in windows. A model is warm when the median of a window is within 10 % of that of the window before;
/// and its time is taken even so when it has had so many runs, or so much time. A window runs every input equally often.
///
/// ```
/// use std::time::Duration;
/// use switchback::repository::contract::WarmUp;
///
/// let patient = WarmUp::default().window(50)?.runs_at_most(10_000).time_at_most(Duration::from_secs(60));
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct WarmUp {
    window: usize,
    runs_at_most: usize,
    time_at_most: Duration,
}

/// Windows of 16 runs, which is enough for a median that one interruption does not move; 1,000 runs or 5 seconds at most,
/// so that staging a slow model takes seconds and not minutes.
impl Default for WarmUp {
    fn default() -> Self {
        Self { window: 16, runs_at_most: 1_000, time_at_most: Duration::from_secs(5) }
    }
}

impl WarmUp {
    /// Windows of at least `runs` runs.
    ///
    /// # Errors
    ///
    /// 0 runs.
    pub fn window(self, runs: usize) -> Result<Self, ArgumentError> {
        ArgumentError::unless(runs > 0, "the number of runs in a window of the warm-up", runs, "1 or more")?;
        Ok(Self { window: runs, ..self })
    }

    /// At most so many runs; one window at least, unless time is up.
    pub fn runs_at_most(mut self, runs: usize) -> Self {
        self.runs_at_most = runs;
        self
    }

    /// At most so much time, and as much again to take the time of one window; one run of each at least.
    pub fn time_at_most(mut self, time: Duration) -> Self {
        self.time_at_most = time;
        self
    }
}

/// The outcome of a warm-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WarmUpOutcome {
    /// How many runs it took.
    pub runs: usize,
    /// The time that the first of them took.
    pub first: Duration,
    /// Whether run times had become flat; where they had not, runs or time were up.
    pub is_flat: bool,
}

/// The time that a request takes when the model is warm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timing {
    /// The median.
    pub median: Duration,
    /// The longest.
    pub longest: Duration,
    /// Of how many runs.
    pub runs: usize,
}

impl WarmUp {
    /// Warms up and takes the time, over `inputs` inputs, one or more; `run` runs one.
    pub(crate) fn run(
        &self,
        inputs: usize,
        clock: &Clock,
        mut run: impl FnMut(usize) -> Result<(), (usize, ModelError)>,
    ) -> Result<(WarmUpOutcome, Timing), (usize, ModelError)> {
        let inputs = inputs.max(1);
        let window = self.window.div_ceil(inputs).saturating_mul(inputs);
        let mut warmth = WarmUpOutcome { runs: 0, first: Duration::ZERO, is_flat: false };
        let mut before: Option<Duration> = None;
        let started = clock.reading();
        loop {
            let left = Duration::from_nanos(clock.reading().nanos_since(started));
            let times = timed(window, inputs, self.time_at_most.saturating_sub(left), clock, &mut run)?;
            if warmth.runs == 0 {
                warmth.first = times.first().copied().unwrap_or_default();
            }
            warmth.runs = warmth.runs.saturating_add(times.len());
            let is_whole = times.len() == window;
            let median = timing(times).median;
            warmth.is_flat = is_whole && before.is_some_and(|before| is_near(before, median));
            before = Some(median);
            let is_out_of_runs = warmth.runs.saturating_add(window) > self.runs_at_most;
            if warmth.is_flat || !is_whole || is_out_of_runs {
                break;
            }
        }
        let times = timed(window, inputs, self.time_at_most, clock, &mut run)?;
        Ok((warmth, timing(times)))
    }
}

/// Measures what `runs` runs take, one at least, and no more once the time is up.
fn timed(
    runs: usize,
    inputs: usize,
    limit: Duration,
    clock: &Clock,
    run: &mut impl FnMut(usize) -> Result<(), (usize, ModelError)>,
) -> Result<Vec<Duration>, (usize, ModelError)> {
    let mut times = Vec::new();
    let started = clock.reading();
    for index in 0..runs {
        let before = clock.reading();
        run(index % inputs)?;
        let after = clock.reading();
        times.push(Duration::from_nanos(after.nanos_since(before)));
        if Duration::from_nanos(after.nanos_since(started)) >= limit {
            break;
        }
    }
    Ok(times)
}

/// Of an even number the upper one of the two in the middle.
fn timing(mut times: Vec<Duration>) -> Timing {
    times.sort_unstable();
    let at = |place: usize| times.get(place).copied().unwrap_or_default();
    Timing {
        median: at(times.len() / 2),
        longest: times.last().copied().unwrap_or_default(),
        runs: times.len(),
    }
}

fn is_near(before: Duration, now: Duration) -> bool {
    before.abs_diff(now) <= before / 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Timestamp;

    /// Warms up a model whose run number `n` takes `micros(n)`.
    fn warmed(rule: WarmUp, inputs: usize, micros: impl Fn(usize) -> u64) -> (WarmUpOutcome, Timing) {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1));
        let mut runs = 0;
        let run = |_| {
            clock.advance(Duration::from_micros(micros(runs)));
            runs += 1;
            Ok(())
        };
        rule.run(inputs, &clock, run).unwrap()
    }

    #[test]
    fn a_model_is_warm_when_two_windows_take_the_same() {
        let rule = WarmUp::default().window(10).unwrap();
        let (warmth, timing) = warmed(rule, 1, |run| if run < 25 { 1_000 - 20 * run as u64 } else { 500 });
        // Medians: 900, 700, 500, 500.
        assert_eq!(warmth, WarmUpOutcome { runs: 40, first: Duration::from_millis(1), is_flat: true });
        let steady = Duration::from_micros(500);
        assert_eq!(timing, Timing { median: steady, longest: steady, runs: 10 });
    }

    #[test]
    fn one_that_never_settles_has_so_many_runs() {
        let rule = WarmUp::default().window(10).unwrap().runs_at_most(95);
        let (warmth, timing) = warmed(rule, 1, |run| 100 + 100 * (run as u64 / 10 % 2));
        assert_eq!((warmth.runs, warmth.is_flat), (90, false));
        assert_eq!(timing.runs, 10);
    }

    #[test]
    fn a_slow_one_has_so_much_time() {
        let rule = WarmUp::default().time_at_most(Duration::from_secs(5));
        let (warmth, timing) = warmed(rule, 1, |_| 2_000_000);
        assert_eq!((warmth.runs, warmth.is_flat), (3, false));
        assert_eq!((timing.runs, timing.median), (3, Duration::from_secs(2)));
        let (warmth, timing) = warmed(rule.time_at_most(Duration::ZERO), 1, |_| 1);
        assert_eq!((warmth.runs, timing.runs), (1, 1));
    }

    #[test]
    fn a_window_runs_every_input_equally_often() {
        let rule = WarmUp::default().window(10).unwrap();
        let (warmth, timing) = warmed(rule, 4, |run| if run % 4 == 0 { 1_000 } else { 10 });
        assert_eq!((warmth.runs, warmth.is_flat, timing.runs), (24, true, 12));
    }

    #[test]
    fn a_failure_ends_it() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1));
        let outcome = WarmUp::default().run(2, &clock, |input| Err((input, ModelError::NotLoaded)));
        assert!(matches!(outcome, Err((0, ModelError::NotLoaded))));
    }
}
