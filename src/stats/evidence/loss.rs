//! The loss of one answer, given the truth.

use crate::stats::figures::quality::metric::Metric;
use crate::task::kept::Kept;
use crate::task::outcome::Actual;
use crate::task::task::TaskKind;

/// The figures of quality that are means of a loss between 0 and 1, by kind of task; accuracy, which every task of
/// decisions has, is kept apart.
pub(crate) fn losses(kind: TaskKind) -> &'static [Metric] {
    match kind {
        TaskKind::Binary { .. } => &[Metric::Brier, Metric::LogLoss],
        TaskKind::Ranking { .. } => {
            &[Metric::HitRate, Metric::ReciprocalRank, Metric::Ndcg, Metric::PrecisionAtK]
        }
        _ => &[],
    }
}

/// The largest log-loss that counts: of a probability of 1 % for what happened. A bound is what makes a mean provable.
pub(crate) const LOG_LOSS_MAX: f64 = 4.605_170_185_988_092;

/// How bad an answer was in the eyes of a figure, from 0 to 1. An answer that failed is as bad as can be. `None` where
/// the three do not fit.
pub(crate) fn loss(kind: TaskKind, metric: Metric, kept: &Kept, actual: &Actual) -> Option<f64> {
    match (kept, actual) {
        (Kept::Unreadable, Actual::Class(_) | Actual::Relevant(_)) => Some(1.0),
        (Kept::Probability(probability), Actual::Class(class)) => {
            let p = f64::from(*probability);
            let given = if *class == 1 { p } else { 1.0 - p };
            match metric {
                Metric::Brier => Some((1.0 - given) * (1.0 - given)),
                Metric::LogLoss => Some((-libm::log(given.max(1e-9)) / LOG_LOSS_MAX).clamp(0.0, 1.0)),
                _ => None,
            }
        }
        (Kept::List(list), Actual::Relevant(relevant)) => {
            let TaskKind::Ranking { depth } = kind else { return None };
            let gained = crate::stats::figures::quality::ranking::list_gains(list, relevant, depth);
            let gain = match metric {
                Metric::HitRate => f64::from(u8::from(gained.found > 0)),
                Metric::ReciprocalRank => gained.reciprocal_rank,
                Metric::Ndcg => gained.ndcg,
                Metric::PrecisionAtK => f64::from(gained.found) / f64::from(depth.max(1)),
                _ => return None,
            };
            Some(1.0 - gain)
        }
        _ => None,
    }
}

/// The decision on a yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// No answer, or none that is one.
    Failed = 0,
    No = 1,
    Yes = 2,
}

impl Decision {
    pub(crate) const ALL: [Decision; 3] = [Decision::Failed, Decision::No, Decision::Yes];

    /// Returns what a binary answer decided. `None` for what is no answer of a binary task.
    pub(crate) fn of(kind: TaskKind, kept: &Kept) -> Option<Self> {
        match (kind, kept) {
            (TaskKind::Binary { threshold }, Kept::Probability(probability)) => {
                Some(if *probability >= threshold as f32 { Self::Yes } else { Self::No })
            }
            (TaskKind::Binary { .. }, Kept::Unreadable) => Some(Self::Failed),
            _ => None,
        }
    }

    pub(crate) fn is_right(self, yes: bool) -> bool {
        match self {
            Self::Failed => false,
            Self::No => !yes,
            Self::Yes => yes,
        }
    }
}

/// Whether two answers decided alike, so that one truth makes both right or both wrong.
pub(crate) fn decided_alike(kind: TaskKind, (one, two): (&Kept, &Kept)) -> bool {
    match (one, two) {
        (Kept::Class { class: one, .. }, Kept::Class { class: two, .. }) => one == two,
        _ => Decision::of(kind, one).is_some_and(|decision| Decision::of(kind, two) == Some(decision)),
    }
}

/// Whether an answer of a task of classes was wrong. `None` for what is none.
pub(crate) fn wrong_class(kept: &Kept, actual: &Actual) -> Option<bool> {
    match (kept, actual) {
        (Kept::Class { class, .. }, Actual::Class(actual)) => Some(class != actual),
        (Kept::Unreadable, Actual::Class(_)) => Some(true),
        _ => None,
    }
}

/// Adds `other` to `own` place by place; the longer of the two decides how many places there are.
pub(crate) fn merge_each<T: Clone>(own: &mut Vec<T>, other: &[T], merge: impl Fn(&mut T, &T)) {
    for (own, other) in own.iter_mut().zip(other) {
        merge(own, other);
    }
    let known = own.len();
    own.extend_from_slice(other.get(known..).unwrap_or_default());
}

/// One more, or one less: what is taken back was counted before.
pub(crate) fn step(count: &mut u64, sign: crate::stats::figures::fixed::Sign) {
    *count = count.saturating_add_signed(sign.unit());
}
