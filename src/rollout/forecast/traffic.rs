//! Traffic as it usually is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::invalid::InvalidArgument;
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
    /// How old a prediction is when its label is evidence.
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
    /// Half of what live gets wrong where it is not known.
    pub discordant: f64,
    /// Losses between 0 and 1, by the task's figures.
    pub losses: Vec<Moments>,
    /// Each business figure, from 0 to 1 between its bounds where it has any.
    pub kpis: Vec<Moments>,
    /// Absolute errors.
    pub errors: Moments,
    /// How long live takes, in the order of the shares.
    pub latency: Vec<LatencyPoint>,
}

/// The mean of a figure, and how far its values lie from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moments {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of single values.
    pub standard_deviation: f64,
}

/// A point of the distribution of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyPoint {
    /// This share of requests
    pub share: f64,
    /// takes at most this long.
    pub at_most: Duration,
}

/// Refuses a size of harm, or a rate, that a forecast cannot rest on: from 0 on.
pub(crate) fn unless_finite(argument: &str, value: f64) -> Result<(), InvalidArgument> {
    let valid = value >= 0.0 && value.is_finite();
    InvalidArgument::unless(valid, format!("forecast.{argument}"), value, "at least 0 and finite")
}

fn unless_share(argument: &str, value: f64) -> Result<(), InvalidArgument> {
    let valid = (0.0..=1.0).contains(&value);
    InvalidArgument::unless(valid, format!("forecast.{argument}"), value, "between 0 and 1")
}

impl Traffic {
    /// Whether a forecast can rest on it: a host may have said what it likes.
    pub(crate) fn check(&self) -> Result<(), InvalidArgument> {
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
        ] {
            unless_share(argument, value)?;
        }
        for point in &self.latency {
            unless_share("latency.share", point.share)?;
        }
        let moments =
            self.losses.iter().map(|of| ("losses", of)).chain(self.kpis.iter().map(|of| ("kpis", of)));
        for (argument, Moments { mean, standard_deviation }) in moments.chain([("errors", &self.errors)]) {
            unless_finite(argument, mean.abs())?;
            unless_finite(argument, *standard_deviation)?;
        }
        Ok(())
    }

    /// The share of requests that take longer than `factor` times the quantile `quantile`.
    pub(crate) fn slower(&self, quantile: f64, factor: f64) -> f64 {
        let tail = 1.0 - quantile;
        // Where nothing is known, a tail that is usual for services: twice as long an eighth as often.
        let usual = tail * libm::pow(factor.max(1e-3), -3.0).min(1.0 / tail.max(1e-9));
        let seconds = |point: &LatencyPoint| point.at_most.as_secs_f64();
        let Some(at) = self.latency.iter().find(|point| point.share >= quantile) else { return usual };
        let limit = seconds(at) * factor;
        let beyond = self.latency.iter().find(|point| seconds(point) > limit);
        beyond.map_or(0.0, |point| 1.0 - point.share)
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
            losses: Vec::new(),
            kpis: Vec::new(),
            errors: Moments { mean: 0.0, standard_deviation: 1.0 },
            latency: Vec::new(),
        }
    }
}

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
        if figures.outcomes > 0 {
            traffic.labelled = known.min(1.0);
        }
        let measure = |metric| self.measure(metric).map(|measured| measured.value);
        if let Some(accuracy) = measure(Metric::Accuracy) {
            traffic.wrong = 1.0 - accuracy;
            traffic.discordant = traffic.wrong / 2.0;
        }
        if let Some(QualityFigures::Binary(binary)) = &figures.quality {
            let all = binary.outcomes.max(1) as f64;
            let yes = binary.true_positives + binary.false_negatives + binary.unanswered_positives;
            traffic.positives = yes as f64 / all;
            traffic.called_yes = (binary.true_positives + binary.false_positives) as f64 / all;
            traffic.missed = binary.recall.map_or(traffic.missed, |recall| 1.0 - recall);
            traffic.false_alarms = binary.precision.map_or(traffic.false_alarms, |precision| 1.0 - precision);
        }
        // No spread is kept of these: half of the largest that their mean allows is usual.
        let usual =
            |mean: f64| Moments { mean, standard_deviation: 0.5 * (mean * (1.0 - mean)).max(0.0).sqrt() };
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
                let (low, high) = kpi.bounds().unwrap_or((0.0, 1.0));
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
