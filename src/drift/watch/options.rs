//! Options: how a handle watches drift.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::guarded::Contained;
use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::base::share::read_fraction;
use crate::drift::estimate::Calibration;
use crate::drift::{Cells, Options, ReferenceProfile, Season, WindowSize};

/// How a handle watches the drift of its data: of what its versions say, of what they lack, and of what comes in where it is
/// said how its features are read ([`Inputs::features`](crate::options::Inputs::features)).
///
/// A sampled request costs an addition for each feature, and nothing of it is kept but counts. Windows follow one
/// another; when one is full it is compared with training, with the one before, and with the same hour of other days,
/// and each version on trial with live over the same time. An [event](crate::events::EventKind::Drifted) says what has drifted,
/// whose doing it is, and what to do.
///
/// ```
/// use std::time::Duration;
/// use switchback::drift::{Cell, ReferenceProfile, Season, WindowSize};
/// use switchback::drift::{Drift, DriftScope, OnDrift};
/// use switchback::events::EventKind;
/// use switchback::options::{Inputs, Threads};
/// use switchback::{Clock, ModelHandle, Task, Timestamp, closure};
///
/// struct Flight { delay: f64, carrier: &'static str }
///
/// let training = (0..2_000).map(|n| [Cell::from(f64::from(n % 90)), Cell::from("UA")]);
/// let reference = ReferenceProfile::builder().numeric("delay").categorical("carrier").build_from(training)?;
///
/// let clock = Clock::manual(Timestamp::from_unix_seconds(1_700_000_000));
/// let late = ModelHandle::builder("late")
///     .live("v1", closure("rule@1.0", |flight: &Flight| Ok(if flight.delay > 30.0 { 0.9 } else { 0.1 })))
///     .task(Task::binary(|probability: &f64| *probability))
///     .inputs(Inputs::new().features(reference, |flight: &Flight, cells| {
///         cells.push(flight.delay);
///         cells.push(flight.carrier);
///     }))
///     .drift(
///         Drift::new()
///             .sample(1.0)
///             .window(WindowSize::Span(Duration::from_secs(3_600)))
///             .season(Season::HourOfWeek)
///             .on_shared_drift(OnDrift::Pause),
///     )
///     .clock(clock.clone())
///     .threads(Threads::manual())
///     .build()?;
///
/// for hour in 0..3 {
///     for n in 0..200 {
///         late.predict(&Flight { delay: f64::from(n % 90) + 40.0 * f64::from(hour.min(1)), carrier: "UA" })?;
///     }
///     clock.advance(Duration::from_secs(3_600));
///     late.tick();
/// }
/// let table = late.drift().and_then(|drift| drift.against_training).expect("a window is full");
/// assert_eq!(table.drifted().map(|row| &*row.feature).collect::<Vec<_>>(), ["delay"]);
/// let world = |kind: &EventKind| matches!(kind, EventKind::Drifted { whose: DriftScope::World, .. });
/// assert!(late.events().iter().any(|event| world(&event.kind)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it costs
///
/// One branch and one hash for a request that is not sampled. A profile takes 8 bytes a bin: there is one per stripe for
/// each version that answers, three for each version that is loaded, and a few for each trial.
#[derive(Debug, Clone, PartialEq)]
#[must_use = "nothing is watched before `Builder::drift`"]
pub struct Drift {
    pub(crate) sample: f64,
    pub(crate) window: WindowSize,
    pub(crate) season: Option<Season>,
    pub(crate) options: Options,
    pub(crate) begins_after: u32,
    pub(crate) ends_after: u32,
    pub(crate) calibration: Option<Calibration>,
    pub(crate) on_shared_drift: OnDrift,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    Drift {
        #[serde(deserialize_with = "read_fraction")]
        sample: f64,
        window: WindowSize,
        season: Option<Season>,
        options: Options,
        begins_after: u32,
        ends_after: u32,
        calibration: Option<Calibration>,
        on_shared_drift: OnDrift,
    }
}

/// The profile of the training data, and how a request is read in its bins.
pub(crate) struct Features<I: ?Sized> {
    pub(crate) reference: ReferenceProfile,
    pub(crate) read: Reader<I>,
}

type Reader<I> = Box<dyn Fn(&I, &mut Cells<'_>) + Send + Sync>;

impl<I: ?Sized> Features<I> {
    pub(crate) fn new(
        reference: ReferenceProfile,
        read: impl Fn(&I, &mut Cells<'_>) + Send + Sync + 'static,
    ) -> Self {
        let read = Contained::new(read);
        Self { reference, read: Box::new(move |input: &I, cells: &mut Cells<'_>| read(input, cells)) }
    }
}

/// Says what follows where the world has drifted, for live as for a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnDrift {
    /// An event. The default: drift is not harm, and whether it matters is for a person to say.
    #[default]
    Tell,
    /// The plans of all rollouts stand still too, until somebody resumes them: what is seen now may not be what comes. Where a
    /// [`season`](Drift::season) is kept, for what has drifted from that alone.
    Pause,
}

impl Default for Drift {
    fn default() -> Self {
        Self::new()
    }
}

impl Drift {
    /// A tenth of the requests, by the hour, told by events.
    pub fn new() -> Self {
        Self {
            sample: 0.1,
            window: WindowSize::Span(Duration::from_secs(3_600)),
            season: None,
            options: Options::default(),
            begins_after: 2,
            ends_after: 3,
            calibration: None,
            on_shared_drift: OnDrift::Tell,
        }
    }

    /// The share of requests that are counted, chosen by a hash of the prediction: a tenth by default. Of a hundred
    /// requests a second that are 36,000 an hour, more than any test here needs.
    ///
    /// A number that is not above 0 and at most 1 is refused by [`build`](crate::Builder::build).
    pub fn sample(mut self, share: f64) -> Self {
        self.sample = share;
        self
    }

    /// When a window is full: every hour by default, long enough for the rows that tests want and short enough for
    /// somebody to act. Traffic that has its hours drifts from training every night, and is told to: then say a day. A tick closes windows, so one of rows holds all that came until the tick.
    ///
    /// A window of nothing is refused by [`build`](crate::Builder::build).
    pub fn window(mut self, size: WindowSize) -> Self {
        self.window = size;
        self
    }

    /// Compares each full hour with the same hour of other days, too: each once, however long a window is. What is held against training, and against what
    /// live said at first, is told as before, and pauses no plan any more: by night both drift.
    pub fn season(mut self, season: Season) -> Self {
        self.season = Some(season);
        self
    }

    /// How windows are compared: the test, its error, and how much a drift must matter. Bonferroni over features at 1 %
    /// by default.
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// After how many windows in a row that have drifted it is told: 2 by default. At an error of 1 % a window two in a row are a
    /// false alarm in one of 10,000 hours, some fourteen months. Of a [`season`](Self::season) these are hours, and of a candidate
    /// the windows that were full of both. One with too few rows to say is none.
    ///
    /// 0 windows are refused by [`build`](crate::Builder::build).
    pub fn begins_after(mut self, windows: u32) -> Self {
        self.begins_after = windows;
        self
    }

    /// After how many windows in a row that have not drifted it is told that it is over: 3 by default, so that what comes and goes
    /// is told once. Of a [`season`](Self::season) these are hours, and of a candidate the windows that were full of both. One with too few rows to say is none: that nobody asks does not end a drift.
    ///
    /// 0 windows are refused by [`build`](crate::Builder::build).
    pub fn ends_after(mut self, windows: u32) -> Self {
        self.ends_after = windows;
        self
    }

    /// Says what the scores of the version mean that the builder brings along ([`Builder::live`](crate::Builder::live)), for a
    /// binary task: its quality is estimated without labels then, **under covariate shift only** (see
    /// [`estimate`](crate::drift::estimate)). Candidates have theirs by [`Rollout::calibrated`](crate::Rollout::calibrated).
    ///
    /// It is of that version and of no other: where a start goes on with another one as live, nothing is estimated of that one.
    /// Bring along the version that the calibration was fitted for.
    pub fn calibration(mut self, calibration: Calibration) -> Self {
        self.calibration = Some(calibration);
        self
    }

    pub(crate) fn is_calibrated(&self) -> bool {
        self.calibration.is_some()
    }

    /// Says what follows where live drifts as well as a candidate: an event by default. Never a rollback.
    pub fn on_shared_drift(mut self, policy: OnDrift) -> Self {
        self.on_shared_drift = policy;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        let share = self.sample;
        let allowed = "a share above 0 and at most 1";
        ArgumentError::unless(share > 0.0 && share <= 1.0, "drift.sample", share, allowed)?;
        self.window.check("drift.window")?;
        for (argument, windows) in
            [("drift.begins_after", self.begins_after), ("drift.ends_after", self.ends_after)]
        {
            ArgumentError::unless(windows > 0, argument, windows, "1 window or more")?;
        }
        Ok(())
    }
}
