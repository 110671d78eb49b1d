//! Looking at training data once, in bounded memory: the most frequent categories, and a sample of numbers.

use std::collections::HashMap;

use super::layout::{NAME_MAX, fingerprint};
use crate::base::chance::mix;

/// How many categories are told apart exactly; beyond, the error is a count of one in so many rows at most.
const COUNTERS: usize = 8_192;

/// How many numbers are kept: quantiles of so many are within 0.6 % of the rank they should have (DKW, 99 %).
const SAMPLE: usize = 65_536;

/// Counts of categories, in the memory of twice [`COUNTERS`].
///
/// Up to that many, they are exact. Beyond, the count of the `COUNTERS`-th most frequent is taken from all and what has
/// none left is forgotten: so a count is too low by at most rows / `COUNTERS`, and a category more frequent than that
/// is never lost (Misra & Gries, Science of Computer Programming 2, 1982, in batches).
#[derive(Debug, Default)]
pub(crate) struct Frequent {
    counts: HashMap<Category, u64>,
    /// Whether anything was forgotten.
    forgot: bool,
}

/// One that is too long to be named is known by its fingerprint only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Category {
    name: Option<Box<str>>,
    fingerprint: u32,
}

/// How many categories one row had, and how many two: from these follows how many unseen ones are to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seldom {
    pub(crate) once: u64,
    pub(crate) twice: u64,
}

/// The categories of a feature, as far as they are kept.
pub(crate) struct Found {
    /// The most frequent, most frequent first, then by name.
    pub(crate) names: Box<[Box<str>]>,
    /// The fingerprints of the rest, in order; none where there were too many.
    pub(crate) others: Option<Box<[u32]>>,
    /// How many were seen once, and twice.
    pub(crate) seldom: Seldom,
}

impl Frequent {
    pub(crate) fn add(&mut self, text: &str) {
        let fingerprint = fingerprint(text);
        let name = (text.len() <= NAME_MAX).then(|| text.into());
        *self.counts.entry(Category { name, fingerprint }).or_default() += 1;
        if self.counts.len() > 2 * COUNTERS {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let mut all: Vec<u64> = self.counts.values().copied().collect();
        let (_, less, _) = all.select_nth_unstable_by(COUNTERS - 1, |a, b| b.cmp(a));
        let less = *less;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(less);
            *count > 0
        });
        self.forgot = true;
    }

    /// The `most` most frequent, and at most `others` fingerprints of the rest.
    pub(crate) fn found(self, most: usize, others: usize) -> Found {
        let of = |times: u64| self.counts.values().filter(|count| **count == times).count() as u64;
        let seldom = Seldom { once: of(1), twice: of(2) };
        let mut ranked: Vec<(Category, u64)> = self.counts.into_iter().collect();
        ranked.sort_unstable_by(|(a, more), (b, less)| less.cmp(more).then_with(|| a.name.cmp(&b.name)));
        let (mut names, mut rest) = (Vec::new(), Vec::new());
        for (category, _) in ranked {
            match category.name {
                Some(name) if names.len() < most => names.push(name),
                _ => rest.push(category.fingerprint),
            }
        }
        rest.sort_unstable();
        rest.dedup();
        let told = !self.forgot && rest.len() <= others;
        Found {
            names: names.into(),
            others: told.then(|| rest.into()),
            seldom: if told { seldom } else { Seldom::default() },
        }
    }
}

/// A uniform sample of numbers (Vitter's algorithm R, ACM TOMS 11, 1985), all of them where they are few. Chance comes
/// from a place's own number, so the same rows in the same order give the same sample.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    kept: Vec<f64>,
    seen: u64,
}

impl Sample {
    pub(crate) fn add(&mut self, number: f64) {
        self.seen += 1;
        if self.kept.len() < SAMPLE {
            self.kept.push(number);
            return;
        }
        let place = (u128::from(mix(self.seen)) * u128::from(self.seen)) >> 64;
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.kept.get_mut(place)) {
            *kept = number;
        }
    }

    /// Returns what was kept, in order.
    pub(crate) fn sorted(mut self) -> Vec<f64> {
        self.kept.sort_unstable_by(f64::total_cmp);
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_categories_are_bounded_and_frequent_ones_are_not_lost() {
        let mut frequent = Frequent::default();
        for n in 0..1_000_000_u32 {
            frequent.add(&n.to_string());
            if n % 100 == 0 {
                frequent.add("often");
            }
            assert!(frequent.counts.len() <= 2 * COUNTERS);
        }
        let found = frequent.found(256, 4_096);
        assert_eq!(&*found.names[0], "often");
        assert_eq!((found.names.len(), found.others, found.seldom), (256, None, Seldom::default()));
    }

    #[test]
    fn few_categories_are_exact_whatever_their_order() {
        let texts: Vec<String> =
            (0..500_u32).flat_map(|n| vec![format!("c{n}"); 1 + n as usize % 7]).collect();
        let count = |texts: &mut dyn Iterator<Item = &String>| {
            let mut frequent = Frequent::default();
            texts.for_each(|text| frequent.add(text));
            frequent.found(10, 4_096)
        };
        let (there, back) = (count(&mut texts.iter()), count(&mut texts.iter().rev()));
        assert_eq!((&there.names, &there.others, there.seldom), (&back.names, &back.others, back.seldom));
        assert_eq!((there.others.map(|others| others.len()), there.seldom.once), (Some(490), 72));
    }

    #[test]
    fn a_category_too_long_to_be_named_is_known_all_the_same() {
        let mut frequent = Frequent::default();
        let long = "x".repeat(NAME_MAX + 1);
        (0..3).for_each(|_| frequent.add(&long));
        let found = frequent.found(10, 10);
        assert_eq!((found.names.len(), found.others.as_deref()), (0, Some(&[fingerprint(&long)][..])));
    }

    #[test]
    fn a_sample_of_many_is_about_as_they_are() {
        let mut sample = Sample::default();
        (0..500_000_u32).for_each(|n| sample.add(f64::from(n)));
        let sorted = sample.sorted();
        assert_eq!(sorted.len(), SAMPLE);
        assert!((sorted[SAMPLE / 2] / 250_000.0 - 1.0).abs() < 0.02, "{}", sorted[SAMPLE / 2]);
    }
}
