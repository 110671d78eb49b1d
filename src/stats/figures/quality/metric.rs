//! Figures of quality by name.

use serde::{Deserialize, Serialize};

use crate::base::text::told_by_name;
use crate::task::task::TaskKind;

/// A figure of quality, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// The share of right answers. Binary, classes.
    Accuracy,
    /// Of what was called yes, the share that was. Binary; for classes the mean over classes.
    Precision,
    /// Of what was yes, the share that was called so. Binary; for classes the mean over classes.
    Recall,
    /// The harmonic mean of precision and recall. Binary; for classes the mean over classes.
    F1,
    /// The mean of the negative logarithm of the probability given to what happened. Binary.
    LogLoss,
    /// The mean squared distance of the probability from what happened. Binary.
    Brier,
    /// The area under the ROC curve. Binary.
    Auc,
    /// The expected calibration error. Binary, classes.
    CalibrationError,
    /// The mean absolute error. Regression.
    Mae,
    /// The root of the mean squared error. Regression.
    Rmse,
    /// The mean error, predicted less actual. Regression.
    Bias,
    /// The share of the variance that is explained. Regression.
    R2,
    /// The share of lists with a relevant item. Ranking.
    HitRate,
    /// The mean of one over the rank of the first relevant item. Ranking.
    ReciprocalRank,
    /// The normalised discounted cumulative gain. Ranking.
    Ndcg,
    /// The share of relevant items among those shown. Ranking.
    PrecisionAtK,
}

/// Which way a figure gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// The nearer to 0 the better.
    NearZero,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Accuracy,
        Self::Precision,
        Self::Recall,
        Self::F1,
        Self::LogLoss,
        Self::Brier,
        Self::Auc,
        Self::CalibrationError,
        Self::Mae,
        Self::Rmse,
        Self::Bias,
        Self::R2,
        Self::HitRate,
        Self::ReciprocalRank,
        Self::Ndcg,
        Self::PrecisionAtK,
    ];

    /// Its name, as it is written in JSON and in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::F1 => "f1",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::Auc => "auc",
            Self::CalibrationError => "calibration_error",
            Self::Mae => "mae",
            Self::Rmse => "rmse",
            Self::Bias => "bias",
            Self::R2 => "r2",
            Self::HitRate => "hit_rate",
            Self::ReciprocalRank => "reciprocal_rank",
            Self::Ndcg => "ndcg",
            Self::PrecisionAtK => "precision_at_k",
        }
    }

    /// Whether it is a share, or an area that is at most 1: 0 to 1 of something.
    pub(crate) const fn is_share(self) -> bool {
        !matches!(
            self,
            Self::LogLoss
                | Self::Brier
                | Self::CalibrationError
                | Self::Mae
                | Self::Rmse
                | Self::Bias
                | Self::R2
        )
    }

    /// Which way the figure gets better.
    pub const fn better(self) -> Better {
        match self {
            Self::LogLoss | Self::Brier | Self::CalibrationError | Self::Mae | Self::Rmse => Better::Lower,
            Self::Bias => Better::NearZero,
            _ => Better::Higher,
        }
    }

    /// The figure that stands for all of a task's where there is room for one: accuracy; the mean absolute error of
    /// numbers; NDCG of ranked lists. Nothing of a task that is told no truth.
    pub const fn key(kind: TaskKind) -> Option<Metric> {
        match kind {
            TaskKind::Unlabelled => None,
            TaskKind::Binary { .. } | TaskKind::Classes { .. } => Some(Self::Accuracy),
            TaskKind::Regression => Some(Self::Mae),
            TaskKind::Ranking { .. } => Some(Self::Ndcg),
        }
    }

    /// Whether a task of this kind has the figure.
    pub const fn is_of(self, kind: TaskKind) -> bool {
        match self {
            Self::Accuracy | Self::Precision | Self::Recall | Self::F1 | Self::CalibrationError => {
                matches!(kind, TaskKind::Binary { .. } | TaskKind::Classes { .. })
            }
            Self::LogLoss | Self::Brier | Self::Auc => matches!(kind, TaskKind::Binary { .. }),
            Self::Mae | Self::Rmse | Self::Bias | Self::R2 => matches!(kind, TaskKind::Regression),
            Self::HitRate | Self::ReciprocalRank | Self::Ndcg | Self::PrecisionAtK => {
                matches!(kind, TaskKind::Ranking { .. })
            }
        }
    }
}

told_by_name!(Metric);

/// A figure, and how much it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measured {
    /// The figure.
    pub value: f64,
    /// How many outcomes it divides by: of a precision those that were called yes, of a recall those that were yes, else
    /// all that count in it.
    pub outcomes: u64,
}

impl Measured {
    pub(crate) fn over(value: Option<f64>, outcomes: u64) -> Option<Self> {
        value.map(|value| Self { value, outcomes })
    }
}
