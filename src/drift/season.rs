//! The same hour of other days.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::profile::profile::Profile;
use crate::base::clock::Timestamp;

/// The hours that an hour is compared with, in UTC.
///
/// People live by clocks that are changed twice a year, and then each hour of theirs is another one in UTC. So what drifts
/// from the same hours is held against them as they would be if clocks had been changed by an hour some time ago, too: a drift
/// is what neither explains.
///
/// Of each hour the last four are kept, so that what was normal a season ago is forgotten: with 20 features of 13 bins
/// that is 2 KB an hour, 200 KB for hours of a day and 1.4 MB for hours of a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Season {
    /// The same hour of the days before: 24 hours.
    HourOfDay,
    /// The same hour of the same day of the weeks before: 168 hours.
    HourOfWeek,
}

/// How many of each hour are kept: a month of weeks.
const DEPTH: usize = 4;

const HOUR: u64 = 3_600;

impl Season {
    fn hours(self) -> u64 {
        match self {
            Self::HourOfDay => 24,
            Self::HourOfWeek => 168,
        }
    }
}

/// A ring of hours, each with the last few of its kind from old to new.
#[derive(Debug, Clone)]
pub(crate) struct Seasons {
    season: Season,
    /// By place on the ring, each with its number since the epoch.
    hours: Vec<VecDeque<(u64, Profile)>>,
    open: Profile,
    /// The number of the open hour since the epoch.
    number: Option<u64>,
    /// The last full one, which lies at the end of its place on the ring.
    last: Option<u64>,
}

impl Seasons {
    pub(crate) fn new(season: Season, empty: &Profile) -> Self {
        let hours = (0..season.hours()).map(|_| VecDeque::new()).collect();
        Self { season, hours, open: empty.clone(), number: None, last: None }
    }

    /// The same hours, and nothing that was counted in them.
    pub(crate) fn begin_anew(&mut self) {
        self.hours.iter_mut().for_each(VecDeque::clear);
        self.open.clear();
        self.last = None;
    }

    pub(crate) fn open(&mut self) -> &mut Profile {
        &mut self.open
    }

    /// Closes the hour that ended before a moment. Hours in which nothing came are left out: they say nothing of how
    /// what comes is distributed.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        let number = now.unix_seconds() / HOUR;
        let Some(open) = self.number else {
            self.number = Some(number);
            return;
        };
        if number <= open {
            return;
        }
        self.number = Some(number);
        if self.open.rows() == 0 {
            return;
        }
        let full = self.open.take();
        let place = usize::try_from(open % self.season.hours()).unwrap_or_default();
        if let Some(kept) = self.hours.get_mut(place) {
            // One more than are compared with: the last one itself.
            if kept.len() > DEPTH {
                kept.pop_front();
            }
            kept.push_back((open, full));
            self.last = Some(open);
        }
    }

    /// The number of the last full hour in which anything came.
    pub(crate) fn last_number(&self) -> Option<u64> {
        self.last
    }

    /// The same hours of other days as one, and the last full hour.
    pub(crate) fn last(&self) -> Option<(Profile, &Profile)> {
        let (before, hour) = self.before()?;
        Some((self.together(before.map(|(_, other)| other))?, hour))
    }

    /// The same hours as they would be if clocks had been changed by an hour, one way or the other, some seasons ago: until
    /// then the hour beside. One for each time at which they may have been.
    pub(crate) fn shifted(&self) -> impl Iterator<Item = Profile> {
        let seasons = self.before().map_or(0, |(before, _)| before.count());
        let each = (1..=seasons).rev().flat_map(|since| [(since, true), (since, false)]);
        each.filter_map(move |(since, later)| {
            let (before, _) = self.before()?;
            let others = before.enumerate().filter_map(|(place, (number, same))| {
                if place >= since {
                    return Some(same);
                }
                self.at(if later { number.checked_add(1) } else { number.checked_sub(1) }?)
            });
            self.together(others)
        })
    }

    /// The hours of the same place as the last full one, from old to new, and that one.
    fn before(&self) -> Option<(impl Iterator<Item = (u64, &Profile)>, &Profile)> {
        let kept = self.place(self.last?)?;
        let (_, hour) = kept.back()?;
        let before = kept.len().checked_sub(1).filter(|before| *before > 0)?;
        Some((kept.iter().take(before).map(|(number, other)| (*number, other)), hour))
    }

    fn place(&self, number: u64) -> Option<&VecDeque<(u64, Profile)>> {
        self.hours.get(usize::try_from(number % self.season.hours()).ok()?)
    }

    /// An hour by its number, where it is kept.
    fn at(&self, number: u64) -> Option<&Profile> {
        self.place(number)?.iter().find(|(kept, _)| *kept == number).map(|(_, hour)| hour)
    }

    fn together<'a>(&self, hours: impl Iterator<Item = &'a Profile>) -> Option<Profile> {
        let mut all = self.open.clone();
        all.clear();
        for hour in hours {
            all.merge(hour).ok()?;
        }
        Some(all)
    }

    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.hours.iter().map(VecDeque::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::Cell;
    use crate::drift::Options;
    use crate::drift::ReferenceProfile;
    use crate::drift::WindowSize;
    use crate::drift::WindowedProfile;

    /// Amounts that are small by night and large by day.
    fn amount(hour: u64, number: u64) -> f64 {
        let wave = number * 7_919 % 100;
        if (8..20).contains(&(hour % 24)) { 100.0 + wave as f64 } else { wave as f64 }
    }

    fn windows(season: Season) -> WindowedProfile {
        let rows: Vec<[Cell<'_>; 1]> = (0..2_400).map(|n| [amount(n / 100, n).into()]).collect();
        let reference = ReferenceProfile::builder().numeric("amount").build_from(&rows).unwrap();
        WindowedProfile::of(reference, WindowSize::Rows(100)).season(season)
    }

    fn at(hour: u64) -> Timestamp {
        Timestamp::from_unix_seconds(hour * HOUR + 60)
    }

    fn pass(windows: &mut WindowedProfile, hour: u64, amount: impl Fn(u64) -> f64) {
        for number in 0..100 {
            windows.record(at(hour), &[amount(number).into()]).unwrap();
        }
        windows.advance(at(hour + 1));
    }

    #[test]
    fn a_night_is_a_drift_from_training_and_none_from_other_nights() {
        let mut windows = windows(Season::HourOfDay);
        assert!(windows.against_season(&Options::default()).is_none());
        for hour in 0..24 * 10 {
            pass(&mut windows, hour, |number| amount(hour, number));
            let by_season = windows.against_season(&Options::default());
            assert_eq!(by_season.is_some(), hour >= 24, "hour {hour}");
            assert!(by_season.is_none_or(|table| !table.has_drifted()), "hour {hour}");
            assert!(windows.against_training(&Options::default()).unwrap().has_drifted());
        }
        let noon = 24 * 10 + 12;
        pass(&mut windows, noon, |number| amount(0, number));
        assert!(windows.against_season(&Options::default()).unwrap().has_drifted());
    }

    #[test]
    fn a_season_takes_a_bounded_number_of_profiles_and_forgets() {
        let mut windows = windows(Season::HourOfDay);
        let rows = windows.reference().profile();
        let mut seasons = Seasons::new(Season::HourOfWeek, &rows);
        for hour in 0..168 * 9 {
            seasons.advance(at(hour));
            seasons.open().record(&[Cell::from(1.0)]).unwrap();
        }
        assert!(seasons.kept() <= 168 * (DEPTH + 1), "{}", seasons.kept());
        assert_eq!(seasons.last().unwrap().0.rows(), DEPTH as u64);
        // What was normal a week ago is forgotten.
        (0..24 * 6).for_each(|hour| pass(&mut windows, hour, |number| amount(hour, number)));
        (24 * 6..24 * 11).for_each(|hour| pass(&mut windows, hour, |number| 50.0 + amount(hour, number)));
        assert!(!windows.against_season(&Options::default()).unwrap().has_drifted());
    }

    #[test]
    fn gaps_the_end_of_time_and_what_comes_late_are_harmless() {
        let mut windows = windows(Season::HourOfWeek);
        for hour in [5, 5_000, 4, u64::MAX, 0] {
            let at = Timestamp::from_unix_seconds(hour);
            windows.record(at, &[Cell::from(1.0)]).unwrap();
            windows.advance(at);
        }
        assert_eq!(windows.filling().rows(), 5);
    }
}
