//! Traffic as it usually is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stats::evidence::loss::{LOG_LOSS_MAX, losses};
use crate::stats::figures::tally::Tally;
use crate::stats::{Metric, QualityFigures};
use crate::task::kpi::Kpi;

/// Traffic as it usually is: what a forecast rests on.
///
/// [`ModelHandle::traffic`](crate::ModelHandle::traffic) measures it on live; a host that knows better says so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Half of what live gets wrong unless known.
    pub discordant: f64,
    /// Mean and standard deviation of losses between 0 and 1, by the task's figures.
    pub losses: Vec<(f64, f64)>,
    /// Mean and standard deviation of each business figure, between its bounds where it has any.
    pub kpis: Vec<(f64, f64)>,
    /// Mean and standard deviation of absolute errors.
    pub errors: (f64, f64),
    /// How long live takes: shares of requests, and the time in seconds that they do not exceed; in order.
    pub latency: Vec<(f64, f64)>,
}

impl Traffic {
    /// The share of requests that take longer than `factor` times the quantile `quantile`.
    pub(crate) fn slower(&self, quantile: f64, factor: f64) -> f64 {
        let tail = 1.0 - quantile;
        // Where nothing is known, a tail that is usual for services: twice as long an eighth as often.
        let usual = tail * libm::pow(factor.max(1e-3), -3.0).min(1.0 / tail.max(1e-9));
        let at = |share: f64| self.latency.iter().find(|(of, _)| *of >= share).map(|(_, seconds)| *seconds);
        let Some(limit) = at(quantile).map(|seconds| seconds * factor) else { return usual };
        let beyond = self.latency.iter().find(|(_, seconds)| *seconds > limit);
        beyond.map_or(0.0, |(share, _)| 1.0 - share)
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
            errors: (0.0, 1.0),
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
        let usual = |mean: f64| (mean, 0.5 * (mean * (1.0 - mean)).max(0.0).sqrt());
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
        traffic.errors = (
            errors,
            measure(Metric::Rmse).map_or(errors, |rmse| (rmse * rmse - errors * errors).max(0.0).sqrt()),
        );
        traffic.kpis = kpis
            .iter()
            .zip(&figures.kpis)
            .map(|(kpi, seen)| {
                let (low, high) = kpi.bounds().unwrap_or((0.0, 1.0));
                let scaled = |value: f64| (value - low) / (high - low);
                let mean = seen.mean.map_or(0.5, scaled);
                (mean, seen.standard_deviation.map_or(0.5, |spread| spread / (high - low)))
            })
            .collect();
        let known = LATENCY_SHARES
            .iter()
            .filter_map(|share| Some((*share, self.latency().quantile(*share)?.as_secs_f64())));
        traffic.latency = known.collect();
        // A business figure has its own share of outcomes.
        let valued = figures.kpis.iter().map(|kpi| kpi.outcomes).max().unwrap_or(0) as f64;
        if figures.outcomes == 0 && valued > 0.0 {
            traffic.labelled = (valued / (figures.requests.max(1) as f64 * matured)).min(1.0);
        }
        traffic
    }
}
