//! Traffic in windows: against training, against the window before, against the same hour of other days.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::compare::compare::{Options, compare, compare_windows};
use super::compare::table::DriftTable;
use super::profile::cell::Cell;
use super::profile::profile::{Profile, ProfileMismatchError, WrongCells};
use super::profile::reference::ReferenceProfile;
use super::season::{Season, Seasons};
use crate::base::clock::Timestamp;
use crate::base::invalid::ArgumentError;

/// When a window is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WindowSize {
    /// With so many rows, or with the merge that brings them.
    Rows(u64),
    /// At the next moment that is a multiple of so long after the Unix epoch, in UTC.
    Span(Duration),
}

impl WindowSize {
    pub(crate) fn check(self, argument: &'static str) -> Result<(), ArgumentError> {
        match self {
            Self::Rows(rows) => ArgumentError::unless(rows > 0, argument, "0 rows", "1 row or more"),
            Self::Span(span) => ArgumentError::unless(!span.is_zero(), argument, "0 s", "longer than 0 s"),
        }
    }
}

/// Profiles of traffic as it goes on: the window that is being filled, the last full one and the one before it, and, if
/// asked for, the same hours of other days.
///
/// Windows follow one another; a full one is compared, one that is being filled is not: it would be compared at another
/// size each time. What comes late counts as of now. Memory does not grow with traffic: three profiles, and those of
/// the season (see [`Season`]). A profile takes 8 bytes a bin, 100 or so a feature.
///
/// ```
/// use std::time::Duration;
/// use switchback::drift::{Cell, Options, ReferenceProfile, WindowSize, WindowedProfile};
/// use switchback::Timestamp;
///
/// let training: Vec<[Cell; 1]> = (0..1_000).map(|n| [Cell::from(f64::from(n))]).collect();
/// let reference = ReferenceProfile::builder().numeric("amount").build_from(&training)?;
///
/// let mut windows = WindowedProfile::new(reference, WindowSize::Span(Duration::from_secs(3_600)))?;
/// for second in 0..7_200 {
///     windows.record(Timestamp::from_unix_seconds(second), &[Cell::from((second * 7 % 1_000) as f64)])?;
/// }
/// windows.advance(Timestamp::from_unix_seconds(7_200));
/// assert!(!windows.against_training(&Options::default()).expect("an hour is full").has_drifted());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct WindowedProfile {
    reference: ReferenceProfile,
    size: WindowSize,
    open: Profile,
    /// The number of the open window since the epoch, where windows are of time.
    number: Option<u64>,
    last: Option<Profile>,
    before: Option<Profile>,
    closed: u64,
    seasons: Option<Seasons>,
}

impl WindowedProfile {
    /// Windows of a size, counted in the bins of a reference.
    ///
    /// # Errors
    ///
    /// A size of no rows, or of no time.
    pub fn new(reference: ReferenceProfile, size: WindowSize) -> Result<Self, ArgumentError> {
        size.check("the size of a window")?;
        Ok(Self::of(reference, size))
    }

    /// The same, of a size that was looked at before.
    pub(crate) fn of(reference: ReferenceProfile, size: WindowSize) -> Self {
        let open = reference.profile();
        Self { reference, size, open, number: None, last: None, before: None, closed: 0, seasons: None }
    }

    /// Keeps the same hours of other days too.
    #[must_use]
    pub fn season(mut self, season: Season) -> Self {
        self.seasons = Some(Seasons::new(season, &self.reference.profile()));
        self
    }

    /// Returns the profile that windows are compared with.
    pub fn reference(&self) -> &ReferenceProfile {
        &self.reference
    }

    /// Counts a row that came at a moment.
    ///
    /// # Errors
    ///
    /// [`WrongCells`] where it does not have one value of each feature; nothing is counted then.
    pub fn record(&mut self, at: Timestamp, row: &[Cell<'_>]) -> Result<(), WrongCells> {
        self.advance(at);
        self.open.record(row)?;
        if let Some(seasons) = &mut self.seasons {
            seasons.open().record(row)?;
        }
        self.close_if_full();
        Ok(())
    }

    /// Adds what was counted elsewhere until a moment, by threads of their own for example. All of it goes into one
    /// window: drain more often than a window is long.
    ///
    /// # Errors
    ///
    /// [`ProfileMismatchError`] where it was counted in the bins of another reference; nothing is added then.
    pub fn merge(&mut self, at: Timestamp, counted: &Profile) -> Result<(), ProfileMismatchError> {
        self.open.fits(counted)?;
        self.advance(at);
        self.merge_open(counted)
    }

    /// Adds what was counted elsewhere to the window that is being filled, whatever time it is.
    pub(crate) fn merge_open(&mut self, counted: &Profile) -> Result<(), ProfileMismatchError> {
        self.open.merge(counted)?;
        if let Some(seasons) = &mut self.seasons {
            seasons.open().merge(counted)?;
        }
        self.close_if_full();
        Ok(())
    }

    /// Closes windows that end before a moment; one in which nothing came is a window too, of no rows.
    pub fn advance(&mut self, now: Timestamp) {
        if let Some(seasons) = &mut self.seasons {
            seasons.advance(now);
        }
        let WindowSize::Span(span) = self.size else { return };
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1);
        let number = now.unix_nanos() / nanos;
        match self.number {
            None => self.number = Some(number),
            Some(open) if number > open => {
                self.close();
                // Only the last two are kept, so a long gap is two empty windows.
                (1..number.saturating_sub(open).min(3)).for_each(|_| self.close());
                self.number = Some(number);
            }
            Some(_) => {}
        }
    }

    /// Lets go of all that was counted: what comes from here on is not to be held against it.
    pub(crate) fn begin_anew(&mut self) {
        self.open.clear();
        (self.last, self.before) = (None, None);
        self.seasons.iter_mut().for_each(Seasons::begin_anew);
    }

    fn close_if_full(&mut self) {
        if let WindowSize::Rows(rows) = self.size
            && self.open.rows() >= rows.max(1)
        {
            self.close();
        }
    }

    fn close(&mut self) {
        self.before = self.last.replace(self.open.take());
        self.closed += 1;
    }

    /// Whether the first window is as long as all others: one of time ends when the clock says.
    pub(crate) fn has_begun_with_its_first_row(&self) -> bool {
        matches!(self.size, WindowSize::Rows(_))
    }

    /// How many windows were closed so far.
    pub fn closed(&self) -> u64 {
        self.closed
    }

    /// The window that is being filled.
    pub fn filling(&self) -> &Profile {
        &self.open
    }

    /// The number of the last full hour in which anything came, since the epoch, where a season is kept.
    pub(crate) fn last_hour(&self) -> Option<u64> {
        self.seasons.as_ref()?.last_number()
    }

    /// The last full window; nothing before there was one.
    pub fn last(&self) -> Option<&Profile> {
        self.last.as_ref()
    }

    /// The last full window against the reference; nothing before there was one.
    pub fn against_training(&self, options: &Options) -> Option<DriftTable> {
        compare(&self.reference, self.last.as_ref()?, options).ok()
    }

    /// The last full window against the one before; nothing before there were two.
    pub fn against_previous(&self, options: &Options) -> Option<DriftTable> {
        compare_windows(self.before.as_ref()?, self.last.as_ref()?, options).ok()
    }

    /// The last full hour against the same hour of other days, for traffic that has its hours. Nothing where no
    /// [`season`](Self::season) was asked for, and before the same hour was there twice. Where a change of clocks by an hour
    /// explains what differs, the table is the one with those hours: see [`Season`].
    pub fn against_season(&self, options: &Options) -> Option<DriftTable> {
        let seasons = self.seasons.as_ref()?;
        let (others, hour) = seasons.last()?;
        let table = compare_windows(&others, hour, options).ok()?;
        if !table.has_drifted() {
            return Some(table);
        }
        // Of few rows nothing could be told, and that explains nothing.
        let wanted = options.rows_wanted().max(others.rows() / 2);
        let enough = seasons.shifted().filter(|shifted| shifted.rows() >= wanted);
        let mut tables = enough.filter_map(|shifted| compare_windows(&shifted, hour, options).ok());
        Some(tables.find(|shifted| !shifted.has_drifted()).unwrap_or(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: u32) -> impl Iterator<Item = f64> + Clone {
        (0..count).map(|n| f64::from(n.wrapping_mul(7_919) % 1_000))
    }

    fn of_numbers(count: u32) -> ReferenceProfile {
        let rows = numbers(count).map(|x| [Cell::Number(x)]);
        ReferenceProfile::builder().numeric("x").build_from(rows).unwrap()
    }

    #[test]
    fn windows_of_time_follow_one_another_and_a_gap_is_empty_ones() {
        let reference = of_numbers(1_000);
        let mut windows = WindowedProfile::of(reference, WindowSize::Span(Duration::from_secs(60)));
        let pass = |windows: &mut WindowedProfile, minute: u64, plus: f64| {
            let at = Timestamp::from_unix_seconds(60 * minute + 1);
            numbers(200).for_each(|x| windows.record(at, &[Cell::Number(x + plus)]).unwrap());
        };
        pass(&mut windows, 10, 0.0);
        assert!(windows.against_training(&Options::default()).is_none());
        pass(&mut windows, 11, 0.0);
        assert!(!windows.against_training(&Options::default()).unwrap().has_drifted());
        assert!(windows.against_previous(&Options::default()).is_none());
        pass(&mut windows, 12, 400.0);
        assert!(!windows.against_previous(&Options::default()).unwrap().has_drifted());
        windows.advance(Timestamp::from_unix_seconds(60 * 13));
        assert!(windows.against_training(&Options::default()).unwrap().has_drifted());
        assert!(windows.against_previous(&Options::default()).unwrap().has_drifted());
        windows.advance(Timestamp::from_unix_seconds(60 * 1_000));
        assert_eq!(windows.last().unwrap().rows(), 0);
        let table = windows.against_training(&Options::default()).unwrap();
        assert!(table.rows().iter().all(|row| row.verdict == crate::drift::DriftVerdict::TooFew));
    }

    #[test]
    fn windows_of_rows_close_with_the_merge_that_fills_them() {
        let reference = of_numbers(1_000);
        let mut drained = reference.profile();
        numbers(70).for_each(|x| drained.record(&[Cell::Number(x)]).unwrap());
        let mut windows = WindowedProfile::of(reference, WindowSize::Rows(100));
        windows.merge(Timestamp::default(), &drained).unwrap();
        assert_eq!((windows.filling().rows(), windows.last().map(Profile::rows)), (70, None));
        windows.merge(Timestamp::default(), &drained).unwrap();
        assert_eq!((windows.filling().rows(), windows.last().map(Profile::rows)), (0, Some(140)));
        let stranger = of_numbers(7);
        assert!(windows.merge(Timestamp::default(), stranger.counted()).is_err());
    }
}
