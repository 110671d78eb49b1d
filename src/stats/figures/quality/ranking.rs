//! Quality of a ranked list.

use serde::{Deserialize, Serialize};

use super::metric::{Measured, Metric};
use super::misfit::Misfit;
use crate::stats::figures::fixed::{Sign, Sum, ratio, seen};
use crate::task::kept::{Kept, Ranked};

/// Ranked lists, tallied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ranking {
    depth: u8,
    lists: i64,
    unanswered: i64,
    without_relevant: i64,
    hits: i64,
    /// Relevant items in lists.
    found: i64,
    reciprocal_rank: Sum,
    ndcg: Sum,
}

impl Ranking {
    pub(crate) fn new(depth: u8) -> Self {
        Self {
            depth: depth.max(1),
            lists: 0,
            unanswered: 0,
            without_relevant: 0,
            hits: 0,
            found: 0,
            reciprocal_rank: Sum::default(),
            ndcg: Sum::default(),
        }
    }

    pub(crate) fn record(&mut self, kept: &Kept, relevant: &[u32], sign: Sign) -> Result<(), Misfit> {
        let empty = Ranked::default();
        let list = match kept {
            Kept::List(list) => list,
            // A list that did not come has no item in it.
            Kept::Unreadable => &empty,
            _ => return Err(Misfit::Answer),
        };
        self.lists += sign.unit();
        self.unanswered += if *kept == Kept::Unreadable { sign.unit() } else { 0 };
        self.without_relevant += if relevant.is_empty() { sign.unit() } else { 0 };
        let gains = list_gains(list, relevant, self.depth);
        self.found += i64::from(gains.found) * sign.unit();
        if gains.found > 0 {
            self.hits += sign.unit();
            self.reciprocal_rank.add(gains.reciprocal_rank, sign);
            self.ndcg.add(gains.ndcg, sign);
        }
        Ok(())
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.lists += other.lists;
        self.unanswered += other.unanswered;
        self.without_relevant += other.without_relevant;
        self.hits += other.hits;
        self.found += other.found;
        self.reciprocal_rank.merge(&other.reciprocal_rank);
        self.ndcg.merge(&other.ndcg);
    }

    pub(crate) fn figures(&self) -> RankingFigures {
        let lists = seen(self.lists);
        let mean = |sum: Sum| (lists > 0).then(|| (sum.value() / lists as f64).clamp(0.0, 1.0));
        RankingFigures {
            outcomes: lists,
            unanswered: seen(self.unanswered),
            without_relevant: seen(self.without_relevant),
            depth: self.depth,
            hit_rate: ratio(seen(self.hits), lists),
            reciprocal_rank: mean(self.reciprocal_rank),
            ndcg: mean(self.ndcg),
            precision: ratio(seen(self.found), lists * u64::from(self.depth)),
        }
    }
}

/// The worth of one ranked list.
pub(crate) struct ListGains {
    /// Relevant items in it.
    pub(crate) found: u32,
    /// One over the rank of the first; 0 where there is none.
    pub(crate) reciprocal_rank: f64,
    pub(crate) ndcg: f64,
}

/// Returns what a ranked list was worth down to `depth`, given the items that turned out to be relevant.
pub(crate) fn list_gains(list: &Ranked, relevant: &[u32], depth: u8) -> ListGains {
    let shown = list.hashes().iter().take(usize::from(depth));
    let (mut found, mut gain, mut first) = (0, 0.0, None);
    // An item is worth something where it is shown first: a list that repeats a right one is no better for it.
    let repeated = |rank: u32, item: &u32| {
        let before = usize::try_from(rank - 1).unwrap_or(usize::MAX);
        list.hashes().iter().take(before).any(|earlier| earlier == item)
    };
    let right = |(rank, item): &(u32, &u32)| relevant.contains(item) && !repeated(*rank, item);
    for (rank, _) in (1_u32..).zip(shown).filter(right) {
        found += 1;
        gain += discount(rank);
        first = first.or(Some(rank));
    }
    let attainable = relevant.len().min(usize::from(depth)) as u32;
    let best: f64 = (1..=attainable).map(discount).sum();
    ListGains {
        found,
        reciprocal_rank: first.map_or(0.0, |first| 1.0 / f64::from(first)),
        ndcg: if found > 0 { gain / best } else { 0.0 },
    }
}

/// How good ranked lists were, down to the task's depth.
///
/// A list of which nothing turned out to be relevant, or that did not come at all, counts 0 in every figure. An item that
/// is in a list more than once counts where it stands first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RankingFigures {
    /// Lists whose truth is known.
    pub outcomes: u64,
    /// Those of them that did not come, or were not valid: they failed.
    pub unanswered: u64,
    /// Those of them for which nothing turned out to be relevant, in the list or elsewhere.
    pub without_relevant: u64,
    /// How many items from the top are looked at: k.
    pub depth: u8,
    /// The share of lists with a relevant item.
    pub hit_rate: Option<f64>,
    /// The mean of one over the rank of the first relevant item; 0 where there is none.
    pub reciprocal_rank: Option<f64>,
    /// The normalised discounted cumulative gain: Σ 1/log2(1 + rank) over the relevant items of the list, over what the
    /// best list could have had (Järvelin and Kekäläinen 2002; relevance is yes or no).
    pub ndcg: Option<f64>,
    /// Relevant items over k, on average; a list that is shorter than k has nothing in the missing places.
    pub precision: Option<f64>,
}

impl RankingFigures {
    pub(crate) fn measure(&self, metric: Metric) -> Option<Measured> {
        match metric {
            Metric::HitRate => Measured::over(self.hit_rate, self.outcomes),
            Metric::ReciprocalRank => Measured::over(self.reciprocal_rank, self.outcomes),
            Metric::Ndcg => Measured::over(self.ndcg, self.outcomes),
            Metric::PrecisionAtK => Measured::over(self.precision, self.outcomes),
            _ => None,
        }
    }
}

fn discount(rank: u32) -> f64 {
    1.0 / f64::from(rank + 1).log2()
}
