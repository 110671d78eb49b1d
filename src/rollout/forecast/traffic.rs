//! Traffic as it usually is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::invalid::ArgumentError;
use crate::stats::evidence::loss::{LOG_LOSS_MAX, losses};
use crate::stats::figures::tally::Tally;
use crate::stats::{Metric, QualityFigures};
use crate::task::kpi::Kpi;

/// Traffic as it usually is: what a forecast rests on.
///
/// [`ModelHandle::traffic`](crate::ModelHandle::traffic) measures it on live; a host that knows better says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests a second.
    pub requests_per_second: f64,
    /// The share of predictions whose truth becomes known.
    pub labelled: f64,
    /// How old a prediction is when its label is evidence: as was said of the handle, or as old as they are on average when their
    /// truth comes.
    pub labels_after: Duration,
    /// The share of requests on which live fails.
    pub error_rate: f64,
    /// The share of answers that are wrong.
    pub wrong: f64,
    /// The share of predictions that turn out to be yes.
    pub positives: f64,
    /// Of these, the share that is not called so.
    pub missed: f64,
    /// The share of predictions that are called yes.
    pub called_yes: f64,
    /// Of these, the share that is not.
    pub false_alarms: f64,
    /// The share of inputs that one of two equally good versions gets wrong and the other right: what makes pairs tell.
    /// Half of what live gets wrong where it is not known: two trainings on the same data are rather alike.
    pub discordant: f64,
    /// The share of inputs that one of two versions that fail equally often fails on and the other does not. As often as live
    /// fails where it is not known: half of the failures are the input's, half are chance.
    pub discordant_failures: f64,
    /// The share of inputs that a candidate answers otherwise than live. Half of what live gets wrong where it is not known.
    pub differing: f64,
    /// Losses between 0 and 1, by the task's figures.
    pub losses: Vec<Moments>,
    /// Each business figure, from 0 to 1 between its bounds where it has any.
    pub kpis: Vec<Moments>,
    /// Absolute errors.
    pub errors: Moments,
    /// How long live takes, in the order of the shares.
    pub latency: Vec<LatencyPoint>,
    /// How the requests of each hour compare with those of an average hour, beginning with the hour in which a plan would begin: 168
    /// numbers for a week, 24 for a day where no more is known, or none where traffic is even or not known for a day.
    #[serde(default)]
    pub by_hour: Vec<f64>,
    /// How many different keys come, where requests come with a key: `[KeysWithin::new(day, 50_000.0), KeysWithin::new(week, 120_000.0)]`,
    /// the shortest first. In comparisons a key is one unit, so a forecast counts those that have not come before. Between these times
    /// they come evenly, and after the longest as they did before it: where a month brings no more than a week does, both are to be said.
    /// Empty where each request is a unit.
    ///
    /// It is not measured, since a key that decides nothing is not even hashed: a host knows its daily, weekly and monthly users.
    #[serde(default)]
    pub keys: Vec<KeysWithin>,
    /// Whether `discordant` and `discordant_failures` were measured on pairs. Where they were not, a forecast says the range that the
    /// guess allows, and a rollout that has seen some pairs knows better.
    #[serde(default)]
    pub discordant_is_known: bool,
    /// In a fleet, how many processes its requests come to, as whoever judges has said last. Nothing where it is the traffic of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u64>,
}

/// How many different keys come within a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeysWithin {
    /// Within this time
    pub within: Duration,
    /// so many different keys come.
    pub keys: f64,
}

impl KeysWithin {
    /// So many different keys within a time.
    pub fn new(within: Duration, keys: f64) -> Self {
        Self { within, keys }
    }
}

/// The mean of a figure, and how far its values lie from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Moments {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of single values.
    pub standard_deviation: f64,
}

impl Moments {
    /// Values that are all the same.
    pub fn constant(mean: f64) -> Self {
        Self { mean, standard_deviation: 0.0 }
    }

    /// Values that lie so far from it.
    #[must_use]
    pub fn standard_deviation(self, of_values: f64) -> Self {
        Self { standard_deviation: of_values, ..self }
    }
}

/// A point of the distribution of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LatencyPoint {
    /// This share of requests
    pub share: f64,
    /// takes at most this long.
    pub at_most: Duration,
}

impl LatencyPoint {
    /// This share of requests takes at most this long.
    pub fn new(share: f64, at_most: Duration) -> Self {
        Self { share, at_most }
    }
}

/// Refuses a size of harm, or a rate, that a forecast cannot rest on: from 0 on.
pub(crate) fn unless_finite(argument: &str, value: f64) -> Result<(), ArgumentError> {
    let valid = value >= 0.0 && value.is_finite();
    ArgumentError::unless(valid, format!("forecast.{argument}"), value, "at least 0 and finite")
}

fn unless_share(argument: &str, value: f64) -> Result<(), ArgumentError> {
    let valid = (0.0..=1.0).contains(&value);
    ArgumentError::unless(valid, format!("forecast.{argument}"), value, "between 0 and 1")
}

impl Traffic {
    /// Whether a forecast can rest on it: a host may have said what it likes.
    pub(crate) fn check(&self) -> Result<(), ArgumentError> {
        unless_finite("requests_per_second", self.requests_per_second)?;
        for (argument, value) in [
            ("labelled", self.labelled),
            ("error_rate", self.error_rate),
            ("wrong", self.wrong),
            ("positives", self.positives),
            ("missed", self.missed),
            ("called_yes", self.called_yes),
            ("false_alarms", self.false_alarms),
            ("discordant", self.discordant),
            ("discordant_failures", self.discordant_failures),
            ("differing", self.differing),
        ] {
            unless_share(argument, value)?;
        }
        let hours = self.by_hour.len();
        ArgumentError::unless(
            [0, HOURS_OF_DAY, HOURS_OF_WEEK].contains(&hours),
            "forecast.by_hour",
            hours,
            "168 numbers, 24, or none",
        )?;
        for weight in &self.by_hour {
            unless_finite("by_hour", *weight)?;
        }
        for point in &self.latency {
            unless_share("latency.share", point.share)?;
        }
        let mut before = KeysWithin::new(Duration::ZERO, 0.0);
        for point in &self.keys {
            unless_finite("keys.keys", point.keys)?;
            ArgumentError::unless(
                point.within > before.within && point.keys >= before.keys,
                "forecast.keys",
                format!(
                    "{} within {:?} after {} within {:?}",
                    point.keys, point.within, before.keys, before.within
                ),
                "longer times, each with as many keys as the one before or more",
            )?;
            let requests = self.requests_per_second * point.within.as_secs_f64();
            ArgumentError::unless(
                point.keys <= requests,
                "forecast.keys",
                format!("{} within {:?}", point.keys, point.within),
                format!("at most the {requests:.0} requests that come within it"),
            )?;
            before = *point;
        }
        let moments =
            self.losses.iter().map(|of| ("losses", of)).chain(self.kpis.iter().map(|of| ("kpis", of)));
        for (argument, Moments { mean, standard_deviation }) in moments.chain([("errors", &self.errors)]) {
            unless_finite(argument, mean.abs())?;
            unless_finite(argument, *standard_deviation)?;
        }
        Ok(())
    }

    /// Whether keys are units.
    pub(crate) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// How many different keys have come after so many seconds of the usual traffic.
    pub(crate) fn keys_by(&self, seconds: f64) -> f64 {
        let (mut before, mut per_second) = ((0.0, 0.0), 0.0);
        for point in &self.keys {
            let at = (point.within.as_secs_f64(), point.keys);
            per_second = (at.1 - before.1) / (at.0 - before.0);
            if seconds < at.0 {
                break;
            }
            before = at;
        }
        before.1 + per_second * (seconds - before.0)
    }

    /// How long traffic as it is on average takes to bring what comes between two moments, in seconds from the beginning.
    pub(crate) fn usual_seconds(&self, from: f64, until: f64) -> f64 {
        let up_to = |end: f64| {
            let Some(period) = self.period() else { return end };
            let (periods, rest) = ((end / period).floor(), end % period);
            let (whole, part) = ((rest / HOUR).floor(), rest % HOUR);
            let of_period: f64 = self.by_hour.iter().sum();
            let of_hours: f64 = self.by_hour.iter().take(whole as usize).sum();
            let of_part = self.by_hour.get(whole as usize).map_or(0.0, |weight| weight * part / HOUR);
            (periods * of_period + of_hours + of_part) * HOUR
        };
        up_to(until) - up_to(from)
    }

    /// After how many seconds the hours are the same again, where they are known.
    fn period(&self) -> Option<f64> {
        (!self.by_hour.is_empty()).then_some(self.by_hour.len() as f64 * HOUR)
    }

    /// When so many seconds of traffic as it is on average have come.
    pub(crate) fn wall_seconds(&self, usual: f64) -> f64 {
        let Some(period) = self.period().filter(|_| usual.is_finite()) else { return usual };
        // Whole days or weeks bring what they bring on average; the rest is within one of them.
        let periods = (usual / period).floor() * period;
        let (mut low, mut high) = (periods, periods + period);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if self.usual_seconds(0.0, middle) < usual { low = middle } else { high = middle }
        }
        high
    }

    /// The share of requests that take longer than `factor` times the quantile `quantile`.
    pub(crate) fn slower(&self, quantile: f64, factor: f64) -> f64 {
        let tail = 1.0 - quantile;
        match self.latency.iter().find(|point| point.share >= quantile) {
            Some(at) => self.longer(at.at_most.mul_f64(factor.clamp(0.0, 1e6))),
            // Where nothing is known, a tail that is usual for services: twice as long an eighth as often.
            None => tail * libm::pow(factor.max(1e-3), -3.0).min(1.0 / tail.max(1e-9)),
        }
    }

    /// The share of requests that take longer than this.
    pub(crate) fn longer(&self, limit: Duration) -> f64 {
        let seconds = |point: &LatencyPoint| point.at_most.as_secs_f64();
        let limit = limit.as_secs_f64();
        let Some(place) = self.latency.iter().position(|point| seconds(point) > limit) else { return 0.0 };
        let Some((before, beyond)) = place.checked_sub(1).map(|at| (&self.latency[at], &self.latency[place]))
        else {
            return 1.0 - self.latency[place].share;
        };
        let part = (limit - seconds(before)) / (seconds(beyond) - seconds(before)).max(1e-12);
        1.0 - before.share - part.clamp(0.0, 1.0) * (beyond.share - before.share)
    }

    /// So many requests a second, of which each gets its truth at once, from a live that never fails and is right nine
    /// times in ten. Say what is different.
    pub fn new(requests_per_second: f64) -> Self {
        Self {
            requests_per_second,
            labelled: 1.0,
            labels_after: Duration::ZERO,
            error_rate: 0.0,
            wrong: 0.1,
            positives: 0.5,
            missed: 0.1,
            called_yes: 0.5,
            false_alarms: 0.1,
            discordant: 0.05,
            discordant_failures: 0.0,
            differing: 0.05,
            losses: Vec::new(),
            kpis: Vec::new(),
            errors: Moments { mean: 0.0, standard_deviation: 1.0 },
            latency: Vec::new(),
            by_hour: Vec::new(),
            keys: Vec::new(),
            discordant_is_known: false,
            processes: None,
        }
    }
}

pub(crate) const HOURS_OF_DAY: usize = 24;
pub(crate) const HOURS_OF_WEEK: usize = 7 * HOURS_OF_DAY;
const HOUR: f64 = 3_600.0;

/// The shares of requests whose latency a forecast knows.
const LATENCY_SHARES: [f64; 18] = [
    0.1, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.998, 0.999,
    0.9999,
];

impl Tally {
    /// Traffic as a live version has seen it. `matured` is the share of predictions that are old enough for their truth to
    /// be known.
    pub(crate) fn traffic(
        &self,
        requests_per_second: f64,
        matured: f64,
        labels_after: Duration,
        kpis: &[Kpi],
    ) -> Traffic {
        let figures = self.figures(kpis);
        let known = figures.outcomes as f64 / (figures.requests.max(1) as f64 * matured);
        let mut traffic = Traffic { labels_after, ..Traffic::new(requests_per_second) };
        traffic.error_rate = figures.error_rate.unwrap_or(0.0);
        traffic.discordant_failures = traffic.error_rate;
        if figures.outcomes > 0 {
            traffic.labelled = known.min(1.0);
        }
        let measure = |metric| self.measure(metric).map(|measured| measured.value);
        if let Some(accuracy) = measure(Metric::Accuracy) {
            traffic.wrong = 1.0 - accuracy;
            traffic.discordant = traffic.wrong / 2.0;
            traffic.differing = traffic.wrong / 2.0;
        }
        if let Some(QualityFigures::Binary(binary)) = &figures.quality {
            let all = binary.outcomes.max(1) as f64;
            let yes = binary.true_positives + binary.false_negatives + binary.unanswered_positives;
            traffic.positives = yes as f64 / all;
            traffic.called_yes = (binary.true_positives + binary.false_positives) as f64 / all;
            traffic.missed = binary.recall.map_or(traffic.missed, |recall| 1.0 - recall);
            traffic.false_alarms = binary.precision.map_or(traffic.false_alarms, |precision| 1.0 - precision);
        }
        // No spread is kept of these: three quarters of the largest that their mean allows is usual.
        let usual =
            |mean: f64| Moments { mean, standard_deviation: 0.75 * (mean * (1.0 - mean)).max(0.0).sqrt() };
        traffic.losses = losses(self.kind())
            .iter()
            .map(|metric| {
                let value = measure(*metric).unwrap_or(0.1);
                let loss = match metric {
                    Metric::Brier => value,
                    Metric::LogLoss => value / LOG_LOSS_MAX,
                    _ => 1.0 - value,
                };
                usual(loss.clamp(0.0, 1.0))
            })
            .collect();
        let errors = measure(Metric::Mae).unwrap_or(0.0);
        traffic.errors = Moments {
            mean: errors,
            standard_deviation: measure(Metric::Rmse)
                .map_or(errors, |rmse| (rmse * rmse - errors * errors).max(0.0).sqrt()),
        };
        traffic.kpis = kpis
            .iter()
            .zip(&figures.kpis)
            .map(|(kpi, seen)| {
                let (low, high) = kpi.low_and_high().unwrap_or((0.0, 1.0));
                let scaled = |value: f64| (value - low) / (high - low);
                Moments {
                    mean: seen.mean.map_or(0.5, scaled),
                    standard_deviation: seen.standard_deviation.map_or(0.5, |spread| spread / (high - low)),
                }
            })
            .collect();
        let known = LATENCY_SHARES.iter().filter_map(|share| {
            Some(LatencyPoint { share: *share, at_most: self.latency().quantile(*share)? })
        });
        traffic.latency = known.collect();
        // A business figure has its own share of outcomes.
        let valued = figures.kpis.iter().map(|kpi| kpi.outcomes).max().unwrap_or(0) as f64;
        if figures.outcomes == 0 && valued > 0.0 {
            traffic.labelled = (valued / (figures.requests.max(1) as f64 * matured)).min(1.0);
        }
        traffic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: f64 = 24.0 * HOUR;

    #[test]
    fn keys_come_as_fast_as_was_said_of_each_time() {
        let mut traffic = Traffic::new(10.0);
        traffic.keys = vec![
            KeysWithin::new(Duration::from_secs(100), 400.0),
            KeysWithin::new(Duration::from_secs(200), 500.0),
        ];
        for (seconds, keys) in [(0.0, 0.0), (50.0, 200.0), (100.0, 400.0), (150.0, 450.0), (300.0, 600.0)] {
            assert_eq!(traffic.keys_by(seconds), keys);
        }
        let whether = |keys: &[(u64, f64)]| {
            let keys = keys.iter().map(|(within, keys)| KeysWithin::new(Duration::from_secs(*within), *keys));
            Traffic { keys: keys.collect(), ..Traffic::new(10.0) }.check().is_ok()
        };
        assert!(whether(&[]) && whether(&[(100, 1_000.0), (200, 1_000.0)]));
        for bad in [
            &[(0, 0.0)][..],
            &[(100, 1_001.0)],
            &[(100, 500.0), (200, 400.0)],
            &[(200, 5.0), (100, 6.0)],
            &[(1, f64::NAN)],
        ] {
            assert!(!whether(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_day_brings_what_it_brings_on_average_and_its_hours_do_not() {
        let mut traffic = Traffic::new(1.0);
        assert_eq!(traffic.usual_seconds(10.0, 4_000.0), 3_990.0);
        assert_eq!(traffic.wall_seconds(5.0), 5.0);
        // Nothing in the first twelve hours, and twice as much in the others.
        traffic.by_hour = (0..24).map(|hour| if hour < 12 { 0.0 } else { 2.0 }).collect();
        assert_eq!(traffic.usual_seconds(0.0, DAY), DAY);
        assert_eq!(traffic.usual_seconds(0.0, 12.0 * HOUR), 0.0);
        assert_eq!(traffic.usual_seconds(DAY, DAY + 13.0 * HOUR), 2.0 * HOUR);
        assert!((traffic.wall_seconds(HOUR) - 12.5 * HOUR).abs() < 1.0);
        assert!((traffic.wall_seconds(DAY + HOUR) - (DAY + 12.5 * HOUR)).abs() < 1.0);
    }
}
