//! The results of two versions on the same inputs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::loss::{Decision, loss, losses, merge_each, step, wrong_class};
use super::segment::BySegment;
use crate::stats::figures::divergence::Pair;
use crate::stats::figures::fixed::Sign;
use crate::stats::figures::latency::SHORTEST;
use crate::stats::figures::latency_limit::LatencyLimit;
use crate::stats::sequential::{Additive, Arms, Events, PairedEvents, Scores, Values};
use crate::task::kept::Kept;
use crate::task::outcome::Actual;
use crate::task::task::TaskKind;

/// The counts of pairs as soon as both have answered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct PairCounts {
    /// Who failed.
    pub(crate) failed: PairedEvents,
    /// Who took longer than each of the times that are looked for, or failed.
    pub(crate) slow: Vec<PairedEvents>,
    /// Pairs that differ, as the task sees it.
    pub(crate) differ: Events,
    /// The result of the host's own comparison, cut to 0 to 1.
    pub(crate) compared: Scores,
    /// Who failed, by segment, where requests have any.
    #[serde(default, skip_serializing_if = "BySegment::is_none")]
    pub(crate) segments: BySegment<PairedEvents>,
}

impl PairCounts {
    /// Counts a pair. `slower_than` are latencies, live's and the candidate's.
    pub(crate) fn count(
        &mut self,
        pair: &Pair<'_>,
        agreed: bool,
        slower_than: &[(LatencyLimit, LatencyLimit)],
        chance: u64,
    ) {
        let failed = |kept: &Kept| *kept == Kept::Unreadable;
        let (live, candidate) = (failed(pair.live), failed(pair.candidate));
        self.failed.count(Arms { candidate, live });
        self.slow.resize_with(slower_than.len().max(self.slow.len()), PairedEvents::default);
        let (live_nanos, own_nanos) = (pair.live_nanos.max(SHORTEST), pair.candidate_nanos.max(SHORTEST));
        for (slow, (theirs, own)) in self.slow.iter_mut().zip(slower_than) {
            // Before the times are fixed nothing can be slow, and what is counted then would stay.
            if theirs.is_fixed() {
                // By one chance: what is drawn makes no difference between the two.
                let live = live || theirs.is_exceeded_by(live_nanos, chance);
                let candidate = candidate || own.is_exceeded_by(own_nanos, chance);
                slow.count(Arms { candidate, live });
            }
        }
        // Answers differ where both answered: what befalls both, or either by chance, is no difference between them.
        if live || candidate {
            return;
        }
        self.differ.merge(&Events { events: (!agreed).into(), units: 1 });
        if let Some(difference) = pair.comparison {
            // What the host's comparison could not say is taken for the worst.
            self.compared
                .count(if difference.is_finite() { difference.clamp(0.0, 1.0) } else { 1.0 }, chance);
        }
    }
}

impl PairCounts {
    /// Counts who failed, in a segment.
    pub(crate) fn count_in(&mut self, segment: &Arc<str>, pair: &Pair<'_>) {
        let failed = |kept: &Kept| *kept == Kept::Unreadable;
        self.segments.at(segment).count(Arms { candidate: failed(pair.candidate), live: failed(pair.live) });
    }
}

impl Additive for PairCounts {
    fn merge(&mut self, other: &Self) {
        self.failed.merge(&other.failed);
        merge_each(&mut self.slow, &other.slow, PairedEvents::merge);
        self.differ.merge(&other.differ);
        self.compared.merge(&other.compared);
        self.segments.merge(&other.segments);
    }
    fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }
}

/// The counts of pairs once their truth is known, or once it is plain that it never will be.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct PairLabels {
    pub(crate) known: u64,
    /// Of a yes or no: by live's [`Decision`], the candidate's and the truth.
    pub(crate) decided: [[[u64; 2]; 3]; 3],
    /// Of classes: who was wrong.
    pub(crate) wrong: PairedEvents,
    /// By figure, in the order of [`losses`]: the candidate's loss less live's.
    pub(crate) losses: Vec<Scores>,
    /// Of numbers: the candidate's absolute error less live's, where neither failed.
    pub(crate) errors: Values,
    /// Where what was answered hides the truth.
    pub(crate) hidden: Hidden,
}

/// Pairs whose truth is hidden by what was answered: a payment that was blocked.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Hidden {
    /// Both versions decided alike, so whatever the truth is, both were right or both were wrong.
    pub(crate) alike: u64,
    /// They decided differently: the truth would tell who was right.
    pub(crate) apart: u64,
    /// Pairs that were let through by chance, decided differently, and of which the truth is known: who was wrong.
    pub(crate) explored: PairedEvents,
}

impl PairLabels {
    /// Counts the truth of a pair, or takes it back. What does not fit the task does not count.
    pub(crate) fn count(
        &mut self,
        kind: TaskKind,
        (live, candidate): (&Kept, &Kept),
        actual: &Actual,
        sign: Sign,
        chance: u64,
    ) {
        // Quality is of answers, in both arms: of a request that live failed on nobody has an id, so no truth can come, and
        // counting the other half of such pairs alone would charge the candidate with what befalls both.
        if matches!((live, candidate), (Kept::Unreadable, _) | (_, Kept::Unreadable)) {
            return;
        }
        let fits = match (kind, actual) {
            (TaskKind::Binary { .. }, Actual::Class(class @ (0 | 1))) => {
                Decision::of(kind, live).zip(Decision::of(kind, candidate)).map(|(live, candidate)| {
                    if let Some(cell) = self.cell(live, candidate, *class == 1) {
                        step(cell, sign);
                    }
                })
            }
            (TaskKind::Classes { .. }, _) => {
                wrong_class(live, actual).zip(wrong_class(candidate, actual)).map(|(live, candidate)| {
                    self.wrong.record(live, candidate, sign);
                })
            }
            (TaskKind::Regression, Actual::Value(actual)) => match (live, candidate) {
                (Kept::Value(live), Kept::Value(candidate)) => {
                    self.errors.record((candidate - actual).abs() - (live - actual).abs(), sign);
                    Some(())
                }
                _ => None,
            },
            (TaskKind::Ranking { .. }, Actual::Relevant(_)) => Some(()),
            _ => None,
        };
        if fits.is_none() {
            return;
        }
        step(&mut self.known, sign);
        self.losses.resize_with(losses(kind).len(), Scores::default);
        for (scores, metric) in self.losses.iter_mut().zip(losses(kind)) {
            let of = |kept| loss(kind, *metric, kept, actual);
            if let (Some(live), Some(candidate)) = (of(live), of(candidate)) {
                scores.record(candidate - live, sign, chance);
            }
        }
    }

    /// Counts a pair whose truth is hidden.
    pub(crate) fn count_hidden(&mut self, alike: bool) {
        if alike {
            self.hidden.alike = self.hidden.alike.saturating_add(1);
        } else {
            self.hidden.apart = self.hidden.apart.saturating_add(1);
        }
    }

    /// Counts the truth of a pair that would have been hidden and was let through.
    pub(crate) fn count_explored(
        &mut self,
        kind: TaskKind,
        (live, candidate): (&Kept, &Kept),
        actual: &Actual,
        sign: Sign,
    ) {
        let right = match actual {
            Actual::Class(class) => Decision::of(kind, live)
                .zip(Decision::of(kind, candidate))
                .map(|(live, candidate)| (live.is_right(*class == 1), candidate.is_right(*class == 1)))
                .or_else(|| {
                    let wrong = wrong_class(live, actual).zip(wrong_class(candidate, actual));
                    wrong.map(|(live, candidate)| (!live, !candidate))
                }),
            _ => None,
        };
        if let Some((live, candidate)) = right {
            self.hidden.explored.record(!live, !candidate, sign);
        }
    }

    fn cell(&mut self, live: Decision, candidate: Decision, yes: bool) -> Option<&mut u64> {
        self.decided.get_mut(live as usize)?.get_mut(candidate as usize)?.get_mut(usize::from(yes))
    }

    /// Every pair of decisions, live's first, with its truth and how often it occurred.
    pub(crate) fn decisions(&self) -> impl Iterator<Item = (Decision, Decision, bool, u64)> + '_ {
        Decision::ALL.into_iter().zip(&self.decided).flat_map(|(live, by_candidate)| {
            Decision::ALL.into_iter().zip(by_candidate).flat_map(move |(candidate, by_truth)| {
                [false, true]
                    .into_iter()
                    .zip(by_truth)
                    .map(move |(yes, count)| (live, candidate, yes, *count))
            })
        })
    }
}

impl Additive for PairLabels {
    fn merge(&mut self, other: &Self) {
        self.known = self.known.saturating_add(other.known);
        let cells =
            |decided: &[[[u64; 2]; 3]; 3]| decided.iter().flatten().flatten().copied().collect::<Vec<_>>();
        for (own, other) in self.decided.iter_mut().flatten().flatten().zip(cells(&other.decided)) {
            *own = own.saturating_add(other);
        }
        self.wrong.merge(&other.wrong);
        merge_each(&mut self.losses, &other.losses, Scores::merge);
        self.errors.merge(&other.errors);
        self.hidden.alike = self.hidden.alike.saturating_add(other.hidden.alike);
        self.hidden.apart = self.hidden.apart.saturating_add(other.hidden.apart);
        self.hidden.explored.merge(&other.hidden.explored);
    }
    fn is_empty(&self) -> bool {
        let Hidden { alike, apart, explored } = self.hidden;
        self.known == 0 && alike == 0 && apart == 0 && explored.is_empty()
    }
}
