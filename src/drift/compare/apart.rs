//! Whether two versions' answers lie further apart than is allowed, and whether they lie nearer, with an error for saying either.
//!
//! A comparison asks whether two samples are alike at all; a margin asks another question, which a small p-value does not answer, and no p-value either
//! that is not small. The statistic is the same one, `8 n m / (n + m)` times the Jensen-Shannon divergence. Where the distributions themselves lie a
//! distance d apart it is noncentral chi-squared in the limit, `8 n m / (n + m) d^2` away from the centre: so it is further out than chance puts it at the
//! margin, or nearer in. Its own variance is at most that, for every pair of distributions: of rare bins far less. Of shares it is the likelihood.
//!
//! Counts are whole: what a row could have changed is given to whoever is in doubt. Without it a share of which none is seen would be known to be 0.

use super::distance::Shares;
use super::significance::{Compared, Test};
use super::tail::{chi_squared, deviance, noncentral};
use crate::drift::profile::layout::MISSING;
use crate::drift::profile::profile::Profile;
use crate::drift::told::What;

/// How far apart two versions may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Margin {
    /// Their distributions, as a Jensen-Shannon distance.
    pub(crate) distance: f64,
    /// The shares of requests that they fail on.
    pub(crate) share: f64,
}

impl Margin {
    /// Nothing lies further apart: whatever is said, nothing is at stake.
    pub(crate) const WHATEVER: Self = Self { distance: 1.0, share: 1.0 };

    pub(crate) fn times(self, factor: f64) -> Self {
        Self { distance: self.distance * factor, share: self.share * factor }
    }

    /// How far they may lie apart in one thing.
    fn of(self, what: What) -> f64 {
        match what {
            What::Distribution => self.distance,
            _ => self.share,
        }
    }
}

/// The answers of one side beside those of another.
pub(crate) struct Apart {
    aspects: Vec<Aspect>,
}

/// One thing in which they may lie apart.
struct Aspect {
    feature: String,
    what: What,
    measured: Measured,
}

/// Rows that have something, of how many.
type Share = (f64, f64);

enum Measured {
    Distribution(Distribution),
    Failures(Share, Share),
}

struct Distribution {
    /// Rows of the reference, and of the window.
    rows: (f64, f64),
    /// The statistic of all bins, and the bins of which enough rows are to be expected to count on what chance adds.
    all: (f64, u32),
    /// The same with rare bins as one: nothing of it lies further apart for that.
    together: (f64, u32),
    /// By how much chance makes the latter larger than its degrees of freedom, in few rows.
    excess: f64,
    /// The most that one row of the smaller side changes.
    row: f64,
}

/// Whose rows go on coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grow {
    Both,
    /// Those of the window: the reference is as large as it will ever be.
    Window,
}

/// Something in which they lie too far apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Far {
    pub(crate) feature: String,
    pub(crate) what: What,
    /// They lie apart by this at least.
    pub(crate) least: f64,
    /// In margins.
    pub(crate) margins: f64,
}

impl Far {
    /// Whether it is beyond this margin too.
    pub(crate) fn is_beyond(&self, margin: Margin) -> bool {
        self.least >= margin.of(self.what)
    }
}

impl Apart {
    /// Nothing where one has no rows. Every answer has all features or, where it failed, none: one of them tells failures.
    pub(crate) fn between(reference: &Profile, window: &Profile) -> Option<Self> {
        reference.fits(window).ok()?;
        if reference.rows() == 0 || window.rows() == 0 {
            return None;
        }
        let features = || reference.layout.features.iter();
        let distributions = features().filter_map(|feature| {
            let (before, after) = (feature.bins_of(&reference.counts), feature.bins_of(&window.counts));
            let measured = Measured::Distribution(Distribution::of(before, after)?);
            Some(Aspect { feature: feature.name.to_string(), what: What::Distribution, measured })
        });
        let failures = features().last().map(|feature| {
            let of = |profile: &Profile| {
                (feature.count_at(&profile.counts, MISSING) as f64, profile.rows() as f64)
            };
            let measured = Measured::Failures(of(reference), of(window));
            Aspect { feature: feature.name.to_string(), what: What::Missing, measured }
        });
        Some(Self { aspects: distributions.chain(failures).collect() })
    }

    /// In what they lie further apart than the margin, with an error of `alpha` for saying so of any that do not. What is furthest comes first.
    pub(crate) fn beyond(&self, margin: Margin, alpha: f64) -> Vec<Far> {
        let alpha = alpha / self.aspects.len().max(1) as f64;
        let mut far: Vec<Far> =
            self.aspects.iter().filter_map(|aspect| aspect.beyond(margin, alpha)).collect();
        far.sort_by(|a, b| b.margins.total_cmp(&a.margins));
        far
    }

    /// Whether they lie no further apart than the margin in anything, with an error of `alpha` for saying so where they do: where one thing lies beyond, that
    /// alone has to look as if it did not.
    pub(crate) fn is_within(&self, margin: Margin, alpha: f64) -> bool {
        self.aspects.iter().all(|aspect| aspect.measured.within(margin, (1.0, 1.0)) <= alpha)
    }

    /// Whether both have answered something that is no failure.
    pub(crate) fn has_answers(&self) -> bool {
        self.aspects.iter().any(|aspect| aspect.what == What::Distribution)
    }

    /// How many times as many rows of those that `grow` it takes to show that, where they do not differ at all; nothing where no number does.
    pub(crate) fn rows_wanted(&self, margin: Margin, alpha: f64, grow: Grow) -> Option<f64> {
        let wanted = |aspect: &Aspect| {
            let alike = aspect.measured.alike();
            let enough = |times: f64| {
                let of_reference = if grow == Grow::Both { times } else { 1.0 };
                alike.within(margin, (of_reference, times)) <= alpha
            };
            let (mut low, mut high) = (-8.0_f64, 24.0_f64);
            if !enough(high.exp2()) {
                return None;
            }
            for _ in 0..16 {
                let middle = f64::midpoint(low, high);
                if enough(middle.exp2()) { high = middle } else { low = middle }
            }
            Some(high.exp2())
        };
        self.aspects.iter().map(wanted).try_fold(0.0, |most: f64, wanted| Some(most.max(wanted?)))
    }

    /// The largest distance, without what chance adds to it on average.
    pub(crate) fn distance(&self) -> f64 {
        let distances = self.aspects.iter().filter_map(|aspect| match &aspect.measured {
            Measured::Distribution(of) => Some(of.estimate()),
            Measured::Failures(..) => None,
        });
        distances.fold(0.0, f64::max)
    }
}

impl Aspect {
    fn beyond(&self, margin: Margin, alpha: f64) -> Option<Far> {
        let is_beyond = |times: f64| self.measured.beyond(margin.times(times)) <= alpha;
        if !is_beyond(1.0) {
            return None;
        }
        let unit = margin.of(self.what);
        // Of that many margins it is true too: nothing lies further apart than at 1.
        let (mut low, mut high) = (1.0, (1.0 / unit.max(1e-6)).max(1.0));
        for _ in 0..24 {
            let middle = f64::midpoint(low, high);
            if is_beyond(middle) { low = middle } else { high = middle }
        }
        let feature = self.feature.clone();
        Some(Far { feature, what: self.what, least: low * unit, margins: low })
    }
}

impl Measured {
    /// How likely what was seen is, or what lies further out, where they lie no further apart than the margin.
    fn beyond(&self, margin: Margin) -> f64 {
        match self {
            Self::Distribution(of) => of.beyond(margin.distance),
            Self::Failures(reference, window) => {
                let (less, more) = if share(*window) > share(*reference) {
                    (*reference, *window)
                } else {
                    (*window, *reference)
                };
                let nearer = ((more.0 - 1.0).max(0.0), more.1);
                if share(nearer) - share(less) <= margin.share {
                    return 1.0;
                }
                chi_squared(deviance(less, nearer, margin.share), 1) / 2.0
            }
        }
    }

    /// How likely what was seen is, or what lies nearer, of so many times the rows of each side, where they lie as far apart as the margin or further.
    fn within(&self, margin: Margin, times: (f64, f64)) -> f64 {
        match self {
            Self::Distribution(of) => of.within(margin.distance, times),
            Self::Failures(reference, window) => {
                let scaled = |(events, rows): Share, times: f64| (events * times, rows * times);
                let (reference, window) = (scaled(*reference, times.0), scaled(*window, times.1));
                let on_that_side = |less: Share, more: Share| {
                    let further = ((more.0 + 1.0).min(more.1), more.1);
                    if margin.share >= 1.0 {
                        0.0
                    } else if share(further) - share(less) >= margin.share {
                        1.0
                    } else {
                        chi_squared(deviance(less, further, margin.share), 1) / 2.0
                    }
                };
                on_that_side(reference, window).max(on_that_side(window, reference))
            }
        }
    }

    /// The same rows, as they would be on average if the two sides did not differ.
    fn alike(&self) -> Self {
        match self {
            Self::Distribution(of) => {
                let degrees = f64::from(of.all.1);
                Self::Distribution(Distribution { all: (degrees, of.all.1), ..*of })
            }
            Self::Failures(reference, window) => {
                let all = (reference.0 + window.0) / (reference.1 + window.1);
                Self::Failures((all * reference.1, reference.1), (all * window.1, window.1))
            }
        }
    }
}

impl Distribution {
    fn of(reference: &[u64], window: &[u64]) -> Option<Self> {
        let all: Vec<(u64, u64)> = reference.iter().copied().zip(window.iter().copied()).collect();
        let shares = Shares::of(&all)?;
        let rows = (shares.reference, shares.window);
        let scale = scale_of(rows);
        let compared = Compared::new(reference, window, (0, 0));
        let (before, after) = compared.cells();
        let together: Vec<(u64, u64)> = before.into_iter().zip(after).filter(|bin| *bin != (0, 0)).collect();
        let of_together = Shares::of(&together)?;
        Some(Self {
            rows,
            all: (scale * shares.jensen_shannon(), compared.frequent_bins().saturating_sub(1)),
            together: (scale * of_together.jensen_shannon(), of_together.degrees()),
            excess: Test::JensenShannon.excess_of(&together, &of_together),
            row: scale * std::f64::consts::LN_2 / 2.0 / rows.0.min(rows.1),
        })
    }

    fn beyond(&self, distance: f64) -> f64 {
        let (statistic, degrees) = self.together;
        if degrees == 0 {
            return 1.0;
        }
        let centre = scale_of(self.rows) * distance * distance;
        noncentral(statistic - self.excess - self.row, degrees, centre)
    }

    /// No more is taken off for chance than it surely adds: the divergence of two samples is never smaller on average than that of what they are drawn from.
    fn within(&self, distance: f64, times: (f64, f64)) -> f64 {
        // Nothing lies further apart.
        if distance * distance >= std::f64::consts::LN_2 {
            return 0.0;
        }
        let (statistic, degrees) = self.all;
        let centre = scale_of((self.rows.0 * times.0, self.rows.1 * times.1)) * distance * distance;
        1.0 - noncentral(statistic + self.row, degrees.max(1), centre)
    }

    fn estimate(&self) -> f64 {
        let (statistic, degrees) = self.all;
        ((statistic - f64::from(degrees)).max(0.0) / scale_of(self.rows)).sqrt()
    }
}

/// By so much a squared distance is multiplied, of so many rows of either side.
fn scale_of((reference, window): (f64, f64)) -> f64 {
    8.0 * reference * window / (reference + window)
}

fn share((events, rows): Share) -> f64 {
    events / rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::mix;

    /// Rows of a distribution, in its bins.
    fn drawn(shares: &[f64], rows: u64, seed: u64) -> Vec<u64> {
        let mut counts = vec![0; shares.len()];
        for row in 0..rows {
            let mut even = (mix(seed ^ mix(row)) >> 11) as f64 / (1_u64 << 53) as f64;
            let bin = shares.iter().position(|share| {
                even -= share;
                even < 0.0
            });
            counts[bin.unwrap_or(shares.len() - 1)] += 1;
        }
        counts
    }

    fn distance(one: &[f64], other: &[f64]) -> f64 {
        let part =
            |share: f64, middle: f64| if share > 0.0 { share * libm::log(share / middle) } else { 0.0 };
        let parts = one.iter().zip(other).map(|(p, q)| {
            let middle = f64::midpoint(*p, *q);
            part(*p, middle) + part(*q, middle)
        });
        (parts.sum::<f64>() / 2.0).sqrt()
    }

    /// One that lies a tenth away: bins are raised by their place as far as it takes.
    fn a_tenth_away(shares: &[f64], raised: impl Fn(usize) -> f64) -> Vec<f64> {
        let tilted = |by: f64| {
            let shares: Vec<f64> =
                shares.iter().enumerate().map(|(bin, share)| share * libm::exp(by * raised(bin))).collect();
            let all: f64 = shares.iter().sum();
            shares.into_iter().map(|share| share / all).collect::<Vec<f64>>()
        };
        let (mut low, mut high) = (0.0, 20.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if distance(shares, &tilted(middle)) < 0.1 { low = middle } else { high = middle }
        }
        tilted(low)
    }

    /// At the margin either is said by no more than its error, whatever the bins; a little within it the one, and beyond it the other, still less.
    #[test]
    fn at_the_margin_either_error_is_kept_and_few_rows_show_nothing() {
        let even = vec![1.0 / 16.0; 16];
        let falling: Vec<f64> = (0..20).map(|bin| 0.3 * 0.7_f64.powi(bin)).collect();
        let falling: Vec<f64> = falling.iter().map(|share| share / falling.iter().sum::<f64>()).collect();
        let rare: Vec<f64> = std::iter::once(0.985).chain(std::iter::repeat_n(0.001, 15)).collect();
        let all = [
            ("even", a_tenth_away(&even, |bin| bin as f64 / 16.0), even),
            ("falling", a_tenth_away(&falling, |bin| f64::from(u8::from(bin > 6))), falling),
            ("rare", a_tenth_away(&rare, |bin| f64::from(u8::from(bin > 0))), rare),
        ];
        for (name, away, shares) in &all {
            assert!((distance(shares, away) - 0.1).abs() < 1e-6, "{name}");
            for (n, m) in [(60, 60), (100, 1_000), (600, 600)] {
                let (mut beyond, mut within, mut runs) = (0, 0, 0);
                for seed in 0..400_u64 {
                    let (one, other) = (drawn(away, n, 2 * seed + 1), drawn(shares, m, mix(seed)));
                    let of = Distribution::of(&other, &one).unwrap();
                    runs += 1;
                    beyond += u32::from(of.beyond(0.1) <= 0.05);
                    within += u32::from(of.within(0.1, (1.0, 1.0)) <= 0.05);
                    assert!(n > 60 || of.within(0.05, (1.0, 1.0)) > 0.05, "{name}: sixty rows show nothing");
                }
                // Three standard deviations above one in twenty.
                assert!(beyond.max(within) <= runs / 20 + 13, "{name} {n} {m}: {beyond} {within} of {runs}");
            }
        }
    }

    /// Where one has many more failures, and where none is seen: that says little of few rows.
    #[test]
    fn shares_are_told_apart_and_none_is_not_known_to_be_0() {
        let margin = Margin { distance: 0.1, share: 0.01 };
        let of = |reference: Share, window: Share| Measured::Failures(reference, window);
        let none = |rows: f64| of((0.0, rows), (0.0, rows)).within(margin, (1.0, 1.0));
        // 0.99^100 is 0.37, and 0.99^1,000 is 4e-5.
        assert!(none(100.0) > 0.37 && none(1_000.0) > 4e-5 && none(1_000.0) < 0.001, "{}", none(1_000.0));
        let (few, many) = (of((5.0, 1_000.0), (12.0, 1_000.0)), of((5.0, 1_000.0), (60.0, 1_000.0)));
        assert_eq!(few.beyond(margin), 1.0);
        assert!(many.beyond(margin) < 1e-4 && of((60.0, 1_000.0), (5.0, 1_000.0)).beyond(margin) < 1e-4);
        assert_eq!(many.within(margin, (1.0, 1.0)), 1.0);
    }
}
