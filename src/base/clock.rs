//! Where time comes from: one [`Clock`] for a whole handle, real or turned by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment, in nanoseconds since the Unix epoch. Made of a [`SystemTime`] and back by `From`.
///
/// The system clock is read once, when a [`Clock`] is made, and every moment after is that one plus what a counter of the processor's
/// or the system's has counted since: so within one process moments do not run backwards when the wall clock is set. They differ from
/// the wall clock by what it is set by, by the drift of the machine's oscillator (some seconds a month), and by the time for which
/// the machine was suspended: see [`Clock::system`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment that lies `nanos` nanoseconds after the Unix epoch. Good until the year 2554.
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment that lies `seconds` seconds after the Unix epoch; the far future where that is not representable.
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn unix_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Whether the clock that told this was set: one that was not cannot be compared with the world's.
    pub(crate) fn is_set(self) -> bool {
        self >= SET
    }

    /// How long after `earlier` this is; zero where it is not.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This moment and `duration` more; the far future where that is not representable.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(nanos(duration)))
    }

    /// This moment and `duration` less; the epoch where it is nearer than that.
    #[cfg(feature = "fleet")]
    pub(crate) fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(nanos(duration)))
    }
}

/// A moment before 1970 becomes the Unix epoch and one after 2554 the last that can be told: a file's time of 0 is common,
/// and nothing here is told apart that lies so far away.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(moment: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_nanos(moment.0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// `2013-06-24T17:05:09.120Z`: UTC, to the millisecond (RFC 3339).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No moment is beyond the year 9999, which is all that it refuses: nanoseconds end in 2554.
        humantime::format_rfc3339_millis(SystemTime::from(*self)).fmt(f)
    }
}

/// How moments of an earlier life of a handle are told on the time line of this one.
///
/// A time line is one machine's idea of the world's time when a process began, and two of them need not agree: a clock was
/// set between two lives, or was not known yet when one of them began. Ages are what counts, and they are kept: the earlier
/// life ended no later than this one begins.
#[cfg(feature = "state")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Shift(i64);

/// A clock that stands before the year 2000 is not set.
const SET: Timestamp = Timestamp::from_unix_seconds(946_684_800);

#[cfg(feature = "state")]
impl Shift {
    /// Between a life that was last heard of at one moment and one that begins at another. None where time has passed as
    /// it does: nobody knows for how long no process ran.
    pub(crate) fn between(ended: Timestamp, begins: Timestamp) -> Self {
        if ended > begins || (!ended.is_set() && begins.is_set()) {
            Self::from_wide(i128::from(begins.0) - i128::from(ended.0))
        } else {
            Self(0)
        }
    }

    /// From a time line onto another, where both moments are the same.
    #[cfg(feature = "fleet")]
    pub(crate) fn onto(there: Timestamp, here: Timestamp) -> Self {
        Self::from_wide(i128::from(here.0) - i128::from(there.0))
    }

    fn from_wide(nanos: i128) -> Self {
        let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
        Self(i64::try_from(nanos.clamp(least, most)).unwrap_or_default())
    }

    /// This one, and another that came after it.
    pub(crate) fn then(self, next: Self) -> Self {
        Self(self.0.saturating_add(next.0))
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    /// How far it is, whichever way.
    pub(crate) fn size(self) -> Duration {
        Duration::from_nanos(self.0.unsigned_abs())
    }

    /// A moment of the earlier life on this time line; the first one there is where it lies before that.
    pub(crate) fn of(self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_add_signed(self.0))
    }

    /// How old a moment of the earlier life is, also where it lies before this time line begins.
    pub(crate) fn age(self, at: Timestamp, now: Timestamp) -> Duration {
        let age = i128::from(now.0) - i128::from(at.0) - i128::from(self.0);
        Duration::from_nanos(u64::try_from(age.max(0)).unwrap_or(u64::MAX))
    }
}

/// Where a handle's time comes from.
///
/// Time has two uses, and a clock answers both. The *time line* ([`now`](Clock::now)) orders what happens: windows,
/// phases of a plan, horizons of labels. The *stopwatch* measures how long a call took, or has been under way. With [`Clock::system`] both
/// are real; [`Clock::manual`] turns both by hand, for tests; [`Clock::replay`] turns the time line by hand and
/// measures calls for real, for a host that replays recorded traffic faster than it happened.
///
/// Cloning is cheap, and clones share the time.
///
/// ```
/// use std::time::Duration;
/// use switchback::{Clock, Timestamp};
///
/// let clock = Clock::manual(Timestamp::from_unix_seconds(1_357_034_400));
/// clock.advance(Duration::from_secs(90));
/// assert_eq!(clock.now().to_string(), "2013-01-01T10:01:30.000Z");
/// ```
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System { stopwatch: Stopwatch, unix_nanos_at_zero: u64 },
    Replay { stopwatch: Stopwatch, hand: Arc<AtomicU64> },
    Manual { hand: Arc<AtomicU64> },
}

#[derive(Clone)]
struct Stopwatch {
    counter: quanta::Clock,
    zero: u64,
}

/// A reading of a clock's stopwatch, in nanoseconds since an arbitrary zero.
#[derive(Clone, Copy)]
pub(crate) struct Reading(u64);

impl Reading {
    /// Nanoseconds from `earlier` to this reading.
    #[inline]
    pub(crate) fn nanos_since(self, earlier: Reading) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long after `earlier` this is; zero where it is not.
    pub(crate) fn since(self, earlier: Reading) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }

    /// For who keeps it as a number.
    #[inline]
    pub(crate) const fn nanos(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
}

/// One moment by both of a clock's uses: how long something takes is told by the stopwatch alone, since whoever replays recorded traffic turns
/// the time line by hours within milliseconds.
#[derive(Clone, Copy)]
pub(crate) struct TimePoint {
    pub(crate) at: Timestamp,
    pub(crate) read: Reading,
}

impl TimePoint {
    /// How long after `earlier` this is.
    pub(crate) fn since(self, earlier: TimePoint) -> Duration {
        self.read.since(earlier.read)
    }
}

impl Clock {
    /// The machine's time. The first one made in a process may take up to 0.2 s: it calibrates the counter it reads.
    ///
    /// While a machine is suspended, or a virtual one paused, its counter mostly stands still, and so does this clock: afterwards it is
    /// behind the wall clock by that long, for good. Steps of a plan, labels that are waited for and windows go on from where they
    /// were, and an hour that is held against the same hour of other days is another one than people's. It is not set forward by
    /// itself: a wall clock that is ahead may as well have been set wrongly, and no time line goes back. Where machines are
    /// suspended, begin the process anew afterwards; or give it a [`replay`](Self::replay) clock, and [`set`](Self::set) that to the
    /// wall clock's time as often as there are ticks.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the system's time")]
    pub fn system() -> Self {
        let stopwatch = Stopwatch::start();
        let unix_nanos_at_zero = Timestamp::from(SystemTime::now()).0;
        Self(Source::System { stopwatch, unix_nanos_at_zero })
    }

    /// A clock that stands still until [`advance`](Self::advance)d or [`set`](Self::set), for tests.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual { hand: Arc::new(AtomicU64::new(start.0)) })
    }

    /// A clock whose time line is turned by hand while its stopwatch is real, for replaying recorded traffic.
    pub fn replay(start: Timestamp) -> Self {
        Self(Source::Replay { stopwatch: Stopwatch::start(), hand: Arc::new(AtomicU64::new(start.0)) })
    }

    /// The present moment on the time line.
    #[inline]
    pub fn now(&self) -> Timestamp {
        self.at(self.reading())
    }

    /// The present moment, by both.
    pub(crate) fn time_point(&self) -> TimePoint {
        let read = self.reading();
        TimePoint { at: self.at(read), read }
    }

    /// Moves the time line forward, at most to the last moment that can be told. Does nothing to a [`system`](Self::system) clock.
    pub fn advance(&self, by: Duration) {
        if let Some(hand) = self.hand() {
            // Relaxed, wherever the hand is touched: it stands for itself, and of one hand no thread reads an earlier
            // moment after a later one. Whoever turns it and hands work over orders both by that. Never past the end of
            // time, from where it would begin again.
            let _ = hand.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                Some(now.saturating_add(nanos(by)))
            });
        }
    }

    /// Sets the time line to `moment`, never backwards. Does nothing to a [`system`](Self::system) clock.
    pub fn set(&self, moment: Timestamp) {
        if let Some(hand) = self.hand() {
            hand.fetch_max(moment.0, Ordering::Relaxed);
        }
    }

    /// Reads the stopwatch.
    #[inline]
    pub(crate) fn reading(&self) -> Reading {
        match &self.0 {
            Source::System { stopwatch, .. } | Source::Replay { stopwatch, .. } => stopwatch.read(),
            Source::Manual { hand } => Reading(hand.load(Ordering::Relaxed)),
        }
    }

    /// Whether the stopwatch goes on while the process stands still.
    pub(crate) fn runs_by_itself(&self) -> bool {
        !matches!(self.0, Source::Manual { .. })
    }

    /// The moment on the time line at which the stopwatch showed `reading`; the present one where the time line is
    /// turned by hand.
    #[inline]
    pub(crate) fn at(&self, reading: Reading) -> Timestamp {
        match &self.0 {
            Source::System { unix_nanos_at_zero, .. } => {
                Timestamp(unix_nanos_at_zero.wrapping_add(reading.0))
            }
            Source::Replay { hand, .. } => Timestamp(hand.load(Ordering::Relaxed)),
            Source::Manual { .. } => Timestamp(reading.0),
        }
    }

    /// Whether its stopwatch stands still until somebody turns it, so that nothing can be waited for by the system's time.
    pub(crate) fn is_turned_by_hand(&self) -> bool {
        matches!(self.0, Source::Manual { .. })
    }

    fn hand(&self) -> Option<&AtomicU64> {
        match &self.0 {
            Source::System { .. } => None,
            Source::Replay { hand, .. } | Source::Manual { hand } => Some(hand),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Source::System { .. } => "system",
            Source::Replay { .. } => "replay",
            Source::Manual { .. } => "manual",
        };
        write!(f, "Clock({kind}, {})", self.now())
    }
}

impl Stopwatch {
    fn start() -> Self {
        let counter = quanta::Clock::new();
        let zero = counter.raw();
        Self { counter, zero }
    }

    #[inline]
    fn read(&self) -> Reading {
        Reading(self.counter.delta_as_nanos(self.zero, self.counter.raw()))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_as_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_372_093_509, "2013-06-24T17:05:09.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (u64::MAX / 1_000_000_000, "2554-07-21T23:34:33.000Z"),
        ] {
            assert_eq!(Timestamp::from_unix_seconds(seconds).to_string(), expected);
        }
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand_and_never_backwards() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(100));
        let started = clock.reading();
        clock.advance(Duration::from_millis(5));
        assert_eq!(clock.reading().nanos_since(started), 5_000_000);
        clock.set(Timestamp::from_unix_seconds(50));
        assert_eq!(clock.now(), Timestamp::from_unix_nanos(100_005_000_000));
    }

    #[test]
    fn a_replay_clock_keeps_its_time_line_and_measures_for_real() {
        let clock = Clock::replay(Timestamp::from_unix_seconds(7));
        let started = clock.reading();
        while clock.reading().nanos_since(started) == 0 {
            std::hint::spin_loop();
        }
        assert_eq!(clock.now(), Timestamp::from_unix_seconds(7));
    }

    #[test]
    fn moments_are_the_system_s_and_back() {
        let moment = Timestamp::from_unix_nanos(1_372_093_509_120_000_100);
        assert_eq!(Timestamp::from(SystemTime::from(moment)), moment);
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Timestamp::from(before), Timestamp::default());
    }

    #[test]
    fn far_moments_saturate() {
        let far = Timestamp::from_unix_seconds(u64::MAX);
        assert_eq!(far.plus(Duration::from_secs(1)), far);
        assert_eq!(Timestamp::default().since(far), Duration::ZERO);
    }
}
