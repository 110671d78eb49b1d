//! A year of flights, week by week: what came in, what the model said of it, and what became of it.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use switchback::drift::estimate::{Calibration, Estimate, QualityEstimator};
use switchback::drift::{Cell, DriftRow, DriftTable, DriftVerdict, Options, ReferenceProfile, What, compare};
use switchback::options::Threads;
use switchback::{Clock, ModelHandle, Task, Timestamp};

use crate::flights::{self, Flight, Late};
use crate::storms;

/// The first of January and of March, at four in the morning in New York: what was to leave in the evening has left.
const JANUARY: Timestamp = Timestamp::from_unix_seconds(1_357_030_800);
const MARCH: Timestamp = Timestamp::from_unix_seconds(1_362_128_400);
const APRIL: Timestamp = Timestamp::from_unix_seconds(1_364_806_800);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// From here on an answer counts as yes.
const THRESHOLD: f64 = 0.5;
/// Below this the model is sure that a flight will be on time.
const SURE: f64 = 0.1;

/// A week, the first from 1 January on.
pub(crate) struct Week {
    pub(crate) began: Timestamp,
    pub(crate) days: Vec<Day>,
    /// Against January and February.
    pub(crate) drift: DriftTable,
    pub(crate) accuracy: Accuracy,
    /// The accuracy that a calibration on March estimates, which the model had not learnt from.
    pub(crate) estimated_by_march: f64,
    /// Of flights that the model is sure of: the share to be late by what scores meant in the winter, and that was.
    pub(crate) sure: (f64, f64),
}

/// A day, from four in the morning on.
pub(crate) struct Day {
    pub(crate) began: Timestamp,
    pub(crate) flights: usize,
    /// The detector alarmed.
    pub(crate) alarm: bool,
    /// Of fifty departures in a row, how many left more than an hour late, at most: counted apart from the detector.
    pub(crate) worst_of_fifty: usize,
    /// How many lack each of the station's figures.
    pub(crate) without_weather: usize,
}

/// Estimated without labels, and realised.
#[derive(Clone, Copy)]
pub(crate) struct Accuracy {
    pub(crate) estimated: Estimate,
    pub(crate) realised: f64,
}

impl Accuracy {
    /// By how much the estimate was off.
    pub(crate) fn off(&self) -> f64 {
        (self.estimated.value - self.realised).abs()
    }

    /// Whether the interval holds what was realised.
    pub(crate) fn inside(&self) -> bool {
        (self.estimated.low..=self.estimated.high).contains(&self.realised)
    }
}

impl Week {
    pub(crate) fn flights(&self) -> usize {
        self.days.iter().map(|day| day.flights).sum()
    }

    /// The last week of the year is a single day.
    pub(crate) fn is_whole(&self) -> bool {
        self.days.len() == 7
    }

    /// Whether the reference was made from it.
    pub(crate) fn is_winter(&self) -> bool {
        self.began < MARCH
    }

    pub(crate) fn is_storm(&self) -> bool {
        self.days.iter().any(|day| day.alarm)
    }

    /// What became of one thing that can drift; nothing where there was none of it on either side.
    pub(crate) fn row(&self, feature: &str, what: What) -> Option<&DriftRow> {
        self.drift.rows().iter().find(|row| row.feature == feature && row.what == what)
    }
}

/// What is found in a year.
pub(crate) struct Year {
    pub(crate) weeks: Vec<Week>,
    pub(crate) things: Vec<Thing>,
    /// All flights there are, and those that were answered.
    pub(crate) flights: usize,
    pub(crate) answered: usize,
    /// In January and February, of which the reference is made.
    pub(crate) winter: usize,
    pub(crate) winter_accuracy: f64,
}

/// Something that can drift, and by how much it does so in weeks of the reference itself: a week has one weather, and
/// 2,400 flights through it are not 2,400 weathers.
pub(crate) struct Thing {
    pub(crate) feature: String,
    pub(crate) what: What,
    pub(crate) in_winter: f64,
}

impl Thing {
    /// More than chance, large enough to matter, and more than any week of the winter was from the winter.
    pub(crate) fn drifted(&self, row: &DriftRow) -> bool {
        row.verdict == DriftVerdict::Drifted && row.effect > self.in_winter
    }
}

/// A flight, what the model says of it, and whether it was late.
struct Answered<'a> {
    flight: &'a Flight,
    score: f64,
    late: Option<bool>,
}

impl Answered<'_> {
    fn right(&self) -> Option<bool> {
        Some((self.score >= THRESHOLD) == self.late?)
    }

    /// As a row of the profile: what goes in, and what comes out.
    fn cells(&self) -> Vec<Cell<'_>> {
        self.flight.cells().into_iter().chain([Cell::Number(self.score)]).collect()
    }

    fn day(&self) -> u64 {
        self.flight.departed().since(JANUARY).as_secs() / DAY.as_secs()
    }
}

/// Asks the live version about each flight of the year as it leaves, and looks at what came in week by week.
pub(crate) fn look(data: &Path, models: &Path) -> Result<Year, Box<dyn Error>> {
    let flights = flights::load(data).map_err(|error| format!("{}: {error}", data.display()))?;
    let answered = answer(&flights, models)?;
    let place = |moment: Timestamp| answered.partition_point(|row| row.flight.departed() < moment);
    let winter = answered.get(..place(MARCH)).unwrap_or_default();
    let march = answered.get(place(MARCH)..place(APRIL)).unwrap_or_default();

    let reference = Reference {
        profile: flights::profile().numeric("score").build_from(winter.iter().map(Answered::cells))?,
        calibration: calibrated(winter)?,
        by_march: calibrated(march)?,
    };
    let alarms = storms::found(answered.iter().map(|row| row.flight.left_late()))?;
    let days: Vec<(&[Answered<'_>], bool)> = answered
        .chunk_by(|a, b| a.day() == b.day())
        .scan(0, |seen, of_day| {
            let from = *seen;
            *seen += of_day.len();
            Some((of_day, alarms.iter().any(|place| (from..*seen).contains(place))))
        })
        .collect();
    let of = |days: &(&[Answered<'_>], bool)| days.0.first().map_or(0, Answered::day) / 7;
    let weeks: Vec<Week> =
        days.chunk_by(|a, b| of(a) == of(b)).map(|days| reference.week(days)).collect::<Result<_, _>>()?;
    Ok(Year {
        things: things(&weeks, &reference.profile),
        weeks,
        flights: flights.len(),
        answered: answered.len(),
        winter: winter.len(),
        winter_accuracy: share(winter.iter().filter_map(Answered::right)),
    })
}

fn answer<'a>(flights: &'a [Flight], models: &Path) -> Result<Vec<Answered<'a>>, Box<dyn Error>> {
    let clock = Clock::replay(JANUARY);
    let handle = ModelHandle::builder("late-arrival")
        .live("v2", flights::version("v2", models)?)
        .task(Task::binary(|answer: &Late| answer.probability).threshold(THRESHOLD)?)
        .threads(Threads::manual().tick_every(DAY))
        .clock(clock.clone())
        .build()?;
    let mut answered = Vec::with_capacity(flights.len());
    for flight in flights {
        clock.set(flight.departed());
        let score = handle.predict(flight)?.output().probability;
        answered.push(Answered { flight, score, late: flight.truth().map(|(_, late)| late) });
    }
    handle.close(Duration::from_secs(10))?;
    Ok(answered)
}

/// What is known of the winter, and what scores meant then.
struct Reference {
    profile: ReferenceProfile,
    calibration: Arc<Calibration>,
    by_march: Arc<Calibration>,
}

impl Reference {
    fn week(&self, days: &[(&[Answered<'_>], bool)]) -> Result<Week, Box<dyn Error>> {
        let rows = || days.iter().flat_map(|(rows, _)| *rows);
        let began = days.first().and_then(|(rows, _)| rows.first()).ok_or("a week without flights")?;
        let mut window = self.profile.profile();
        rows().try_for_each(|row| window.record(&row.cells()))?;
        let estimated = |calibration: &Arc<Calibration>| -> Result<Estimate, Box<dyn Error>> {
            let mut estimator = QualityEstimator::new(Arc::clone(calibration), THRESHOLD)?;
            rows().for_each(|row| estimator.record(row.score));
            estimator.estimate(0.05)?.accuracy.ok_or("a week without scores".into())
        };
        let sure = || rows().filter(|row| row.score < SURE && row.late.is_some());
        let expected: f64 = sure().filter_map(|row| self.calibration.probability(row.score)).sum();
        let day = |(rows, alarm): &(&[Answered<'_>], bool)| Day {
            began: JANUARY.plus(DAY * rows.first().map_or(0, Answered::day) as u32),
            flights: rows.len(),
            alarm: *alarm,
            worst_of_fifty: storms::worst_of_fifty(rows.iter().map(|row| row.flight.left_late())),
            without_weather: rows.iter().filter(|row| !row.flight.has_weather()).count(),
        };
        Ok(Week {
            began: JANUARY.plus(DAY * 7 * (began.day() / 7) as u32),
            days: days.iter().map(day).collect(),
            drift: compare(&self.profile, &window, &Options::default())?,
            accuracy: Accuracy {
                estimated: estimated(&self.calibration)?,
                realised: share(rows().filter_map(Answered::right)),
            },
            estimated_by_march: estimated(&self.by_march)?.value,
            sure: (expected / sure().count().max(1) as f64, share(sure().filter_map(|row| row.late))),
        })
    }
}

/// What scores meant in some weeks whose truth is known.
fn calibrated(rows: &[Answered<'_>]) -> Result<Arc<Calibration>, Box<dyn Error>> {
    Ok(Arc::new(Calibration::fit(rows.iter().filter_map(|row| Some((row.score, row.late?))))?))
}

/// All that can drift, distributions first, in the order of the profile; shares that never move by a hundredth aside.
fn things(weeks: &[Week], reference: &ReferenceProfile) -> Vec<Thing> {
    let mut things: Vec<Thing> = Vec::new();
    let moved = |row: &&DriftRow| row.what == What::Distribution || row.effect >= 0.01;
    for row in weeks.iter().flat_map(|week| week.drift.rows()).filter(moved) {
        if !things.iter().any(|thing| thing.feature == row.feature && thing.what == row.what) {
            let winter = weeks.iter().filter(|week| week.is_winter());
            let effects = winter.filter_map(|week| Some(week.row(&row.feature, row.what)?.effect));
            let in_winter = effects.fold(0.0, f64::max);
            things.push(Thing { feature: row.feature.clone(), what: row.what, in_winter });
        }
    }
    let place = |thing: &Thing| reference.names().position(|name| name == thing.feature);
    things.sort_by_key(|thing| (thing.what, place(thing)));
    things
}

fn share(events: impl Iterator<Item = bool>) -> f64 {
    let (mut yes, mut all) = (0_u32, 0_u32);
    for event in events {
        yes += u32::from(event);
        all += 1;
    }
    f64::from(yes) / f64::from(all.max(1))
}
