//! How the errors that a rollout may have are divided.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::guard::numbers::written;
use crate::base::causes::debug_as_told;
use crate::base::invalid::checked_when_read;
use crate::base::ordered::OrderedMap;
use crate::base::packed::Packed;
use crate::base::share::read_fraction;
use crate::model::identity::Identity;
use crate::stats::sequential::EValue;

/// The errors that a rollout's decisions may have, over all its guards and however long it runs.
///
/// Both are probabilities between 0 and 1. Whatever takes a budget checks it, serde as it reads one.
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
#[non_exhaustive]
pub struct ErrorBudget {
    /// The probability that a candidate within all margins is ever taken back for harm. By default 1 %. A fifth of it is
    /// kept for the time after a promotion, where the plan watches it; the rest is divided over the guards.
    pub harm: f64,
    /// The probability that a candidate beyond one of the margins is ever promoted. By default 5 %. Every guard must be
    /// passed, so it need not be divided over them.
    pub promotion: f64,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    ErrorBudget {
        #[serde(deserialize_with = "read_fraction")]
        harm: f64,
        #[serde(deserialize_with = "read_fraction")]
        promotion: f64,
    }
}

impl ErrorBudget {
    /// 1 % for harm, and 5 % for a promotion.
    pub const fn new() -> Self {
        Self { harm: 0.01, promotion: 0.05 }
    }

    /// The probability that a candidate within all margins is ever taken back for harm.
    pub const fn harm(mut self, error: f64) -> Self {
        self.harm = error;
        self
    }

    /// The probability that a candidate beyond one of the margins is ever promoted.
    pub const fn promotion(mut self, error: f64) -> Self {
        self.promotion = error;
        self
    }

    /// Whether both are probabilities that a decision can have.
    pub(crate) fn check(&self) -> Result<(), ErrorBudgetError> {
        for (part, value) in [("harm", self.harm), ("promotion", self.promotion)] {
            if !(value > 0.0 && value < 1.0) {
                return Err(ErrorBudgetError { part, value: value.to_string() });
            }
        }
        Ok(())
    }
}

/// An error budget with an error that no decision can have: never to err takes for ever, always to err takes no test.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("error budget: {part} = {value} is not between 0 and 1")]
#[non_exhaustive]
pub struct ErrorBudgetError {
    /// Which error: `harm` or `promotion`.
    pub part: &'static str,
    /// The value that it was to have.
    pub value: String,
}

debug_as_told!(ErrorBudgetError);

impl Default for ErrorBudget {
    fn default() -> Self {
        Self::new()
    }
}

/// The values that evidence must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thresholds {
    pub(crate) harm: EValue,
    pub(crate) promotion: EValue,
}

/// How a rollout's errors are divided; fixed when its evidence begins, and never changed after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ErrorBudgetStatus {
    /// The budget that the handle allows for all tries of this identity together.
    pub total: ErrorBudget,
    /// Which try of its identity this is, from 1: a plan that is run again, or evidence that is begun again, is another. The
    /// first spends four fifths, all others together the rest, so that trying again until it works is no way around the
    /// guards.
    pub try_number: u32,
    /// Which candidate this is of those whose trials overlap, from 1, in the order in which their evidence began. The first
    /// spends four fifths of the whole, all others together the rest; a later try of a later candidate spends the smaller of
    /// the two parts.
    pub candidates: u32,
    /// The sequential guards that the error for harm is divided over; in a fleet one more, which looks whether processes end.
    pub guards: u32,
    /// The error of each guard's test for harm before the promotion.
    pub harm_per_guard: f64,
    /// The error of each guard's test for harm while the new live is watched.
    pub harm_per_guard_watched: f64,
    /// The error of the promotion: of each guard's test of non-inferiority, all of which must be passed.
    pub promotion: f64,
}

/// The part that the first of several spends.
const SPENT_FIRST: f64 = 0.8;

/// The part of a budget that one of several spends that are not known beforehand, with so many before it. All of them
/// together spend no more than there is, however many come: `1 / (k (k + 1))` over all k from 1 adds up to 1.
fn spent_by(before: u32) -> f64 {
    let k = f64::from(before);
    if before == 0 { SPENT_FIRST } else { (1.0 - SPENT_FIRST) / (k * (k + 1.0)) }
}

/// The part of the error for harm that is kept for the time after the promotion.
const KEPT_FOR_WATCH: f64 = 0.2;

impl ErrorBudgetStatus {
    pub(crate) fn divide(
        total: ErrorBudget,
        tries_before: u32,
        candidates: u32,
        guards: u32,
        watched: bool,
    ) -> Self {
        // Of one identity's tries and of overlapping candidates each, all together spend no more than there is.
        let spent = spent_by(tries_before.max(candidates.max(1) - 1));
        let watch = if watched { KEPT_FOR_WATCH } else { 0.0 };
        let per_guard = total.harm * spent / f64::from(guards.max(1));
        Self {
            total,
            try_number: tries_before + 1,
            candidates: candidates.max(1),
            guards,
            harm_per_guard: written(per_guard * (1.0 - watch)),
            harm_per_guard_watched: written(per_guard * watch),
            promotion: written(total.promotion * spent),
        }
    }

    /// Gives the watch all that another try may spend on harm.
    pub(crate) fn watched_as(&mut self, other: &Self) {
        self.harm_per_guard_watched = written(other.harm_per_guard + other.harm_per_guard_watched);
    }

    /// The error for harm of the whole rollout, over all guards and the watch.
    pub fn harm(&self) -> f64 {
        f64::from(self.guards) * (self.harm_per_guard + self.harm_per_guard_watched)
    }

    pub(crate) fn thresholds(&self, watched: bool) -> Thresholds {
        let harm = if watched { self.harm_per_guard_watched } else { self.harm_per_guard };
        Thresholds { harm: EValue::against(harm), promotion: EValue::against(self.promotion) }
    }
}

/// How often each identity was tried.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Tries {
    tries: OrderedMap<Identity, (u32, u64)>,
    counted: u64,
    /// The same of those that were tried before all of these, by the first 48 bits of the identity, in the order in which they were tried. One that
    /// begins as another does is taken to have been tried as often: it spends less than it may.
    #[serde(default, skip_serializing_if = "Packed::is_empty")]
    shortened: Packed,
}

/// Identities whose tries are remembered, in full and shortened each; the one that was tried longest ago is forgotten first.
const IDENTITIES_MAX: usize = 4_096;

/// The bits of a shortened identity that say how often it was tried.
const TRIES: u64 = u16::MAX as u64;

/// The first bits of an identity, in the place where they stand in a shortened one.
fn first_of(identity: Identity) -> u64 {
    let first = identity.as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first) & !TRIES
}

impl Tries {
    /// How often an identity was tried before.
    pub(crate) fn before(&self, identity: Identity) -> u32 {
        let first = first_of(identity);
        let shortened = self.shortened.0.iter().filter(|one| **one & !TRIES == first).map(|one| one & TRIES);
        let in_full = self.tries.get(&identity).map_or(0, |(tries, _)| *tries);
        in_full.max(shortened.max().unwrap_or_default() as u32)
    }

    /// How often an identity was tried before; counts another try.
    pub(crate) fn begin(&mut self, identity: Identity) -> u32 {
        self.counted += 1;
        let before = self.before(identity);
        self.tries.insert(identity, (before + 1, self.counted));
        if self.tries.len() > IDENTITIES_MAX {
            // Half of them at a time, so that they are put in order seldom.
            self.shorten(IDENTITIES_MAX / 2, IDENTITIES_MAX);
        }
        before
    }

    /// Keeps the identities of those in full that were tried last, and shortened ones of those that were tried before them: so many of each.
    pub(crate) fn shorten(&mut self, in_full: usize, shortened: usize) {
        let of = |(identity, (tries, at)): (&Identity, &(u32, u64))| (*at, *identity, *tries);
        let mut oldest: Vec<_> = self.tries.iter().map(of).collect();
        oldest.sort_unstable();
        oldest.truncate(self.tries.len().saturating_sub(in_full));
        let mut all = self.shortened.0.to_vec();
        for (_, identity, tries) in oldest {
            self.tries.remove(&identity);
            all.push(first_of(identity) | u64::from(tries).min(TRIES));
        }
        self.shortened = all.split_off(all.len().saturating_sub(shortened)).into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_tries_and_guards_spend_is_never_more_than_the_total() {
        let total = ErrorBudget::default();
        for watched in [false, true] {
            let (mut harm, mut promotion) = (0.0, 0.0);
            for tries in 0..40 {
                let share = ErrorBudgetStatus::divide(total, tries, 1, 5, watched);
                harm += share.harm();
                promotion += share.promotion;
            }
            assert!(harm <= total.harm + 1e-12 && harm > 0.99 * total.harm);
            assert!(promotion <= total.promotion + 1e-12);
        }
        // Bug: of candidates begun one after the other each was given its part of as many as there were by then, 1 and 1/2
        // and 1/3 of it, which adds up to more than all of it.
        let beside = (1..40).map(|candidate| ErrorBudgetStatus::divide(total, 0, candidate, 2, true).harm());
        let all: f64 = beside.sum();
        assert!(all <= total.harm + 1e-12 && all > 0.99 * total.harm, "{all}");
    }

    #[test]
    fn an_error_that_no_decision_can_have_is_named() {
        let read = |json: &str| serde_json::from_str::<ErrorBudget>(json);
        assert_eq!(read(r#"{"harm": 0.02}"#).unwrap(), ErrorBudget { harm: 0.02, promotion: 0.05 });
        for (json, why) in [
            (r#"{"harm": 2}"#, "error budget: harm = 2 is not between 0 and 1"),
            (r#"{"promotion": 0}"#, "error budget: promotion = 0 is not between 0 and 1"),
            (r#"{"promotoin": 0.1}"#, "`promotoin`"),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn tries_are_counted_by_identity() {
        let mut tries = Tries::default();
        let identity = |name: &str| Identity::of([("name", name.as_bytes())]);
        assert_eq!(
            (tries.begin(identity("a")), tries.begin(identity("b")), tries.begin(identity("a"))),
            (0, 0, 1)
        );
        for number in 0..5_000 {
            tries.begin(identity(&number.to_string()));
        }
        assert!(tries.tries.len() <= IDENTITIES_MAX);
        assert_eq!(tries.begin(identity("a")), 2, "known by how it begins");
        assert_eq!(tries.before(identity("a")), 3);
        assert_eq!(tries.before(identity("c")), 0);
        for number in 0..10_000 {
            tries.begin(identity(&number.to_string()));
        }
        assert!(tries.tries.len() <= IDENTITIES_MAX && tries.shortened.0.len() <= IDENTITIES_MAX);
        assert_eq!(tries.begin(identity("a")), 0, "forgotten, since it was tried longest ago");
    }
}
