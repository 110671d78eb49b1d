//! A window against a reference, feature by feature.

use serde::{Deserialize, Serialize};

use super::apart::Margin;
use super::distance::Distances;
use super::significance::{Compared, Test};
use super::table::{DriftRow, DriftTable, DriftVerdict};
use super::tail::two_shares;
use crate::base::invalid::{ArgumentError, checked_when_read};
use crate::drift::profile::layout::{Feature, MISSING, UNSEEN};
use crate::drift::profile::profile::{Profile, ProfileMismatchError};
use crate::drift::profile::reference::ReferenceProfile;
use crate::drift::told::What;
use crate::stats::sequential::{EValue, rejected};

/// How a window is compared.
///
/// ```
/// use switchback::drift::{Control, Options, Test};
///
/// let options = Options::default().alpha(0.001)?.test(Test::ChiSquared).control(Control::BenjaminiHochberg);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    test: Test,
    alpha: f64,
    control: Control,
    minimum_effect: f64,
    minimum_share: f64,
    minimum_rows: u64,
}

checked_when_read! {
    #[serde(default)]
    Options {
        test: Test,
        alpha: f64,
        control: Control,
        minimum_effect: f64,
        minimum_share: f64,
        minimum_rows: u64,
    }
}

/// Says what the error [`alpha`](Options::alpha) is of, where many features are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Control {
    /// That any feature is said to have drifted that has not, whatever features have to do with each other: each is
    /// tested with an equal part of it (Bonferroni). The default, since an alarm wakes somebody.
    #[default]
    Bonferroni,
    /// The share of those said to have drifted that have not, on average, where features are independent or rise
    /// together (Benjamini & Hochberg, J. R. Stat. Soc. B 57, 1995). Sees more, where many drift.
    BenjaminiHochberg,
    /// The same, whatever features have to do with each other, from the e-values that p-values can be turned into (Wang
    /// & Ramdas, J. R. Stat. Soc. B 84, 2022). Sees less.
    EBenjaminiHochberg,
    /// Each feature's own. With a hundred features there is always an alarm.
    PerFeature,
}

impl Options {
    /// Which statistic. Jensen-Shannon by default.
    #[must_use]
    pub fn test(mut self, test: Test) -> Self {
        self.test = test;
        self
    }

    /// The error of one comparison, of which [`Control`] says what it is of. 0.01 by default. A window that is
    /// compared each hour is compared 8,760 times a year: divide what you can live with by that.
    ///
    /// # Errors
    ///
    /// An error that is not above 0 and at most 1.
    pub fn alpha(self, alpha: f64) -> Result<Self, ArgumentError> {
        self.with(|options| options.alpha = alpha)
    }

    /// Says what that error is of. Bonferroni by default.
    #[must_use]
    pub fn control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// The Jensen-Shannon distance below which a drift is [`Slight`](DriftVerdict::Slight), however sure it is: with enough
    /// rows everything has drifted. 0.1 by default, a PSI of about 0.08: what most tools call a drift.
    ///
    /// # Errors
    ///
    /// A distance below 0, or that is not finite.
    pub fn minimum_effect(self, distance: f64) -> Result<Self, ArgumentError> {
        self.with(|options| options.minimum_effect = distance)
    }

    /// The same for missing values and unseen categories, as a change of their share. 0.01 by default: a hundredth of
    /// all rows.
    ///
    /// # Errors
    ///
    /// A change that is not a share, from 0 to 1.
    pub fn minimum_share(self, change: f64) -> Result<Self, ArgumentError> {
        self.with(|options| options.minimum_share = change)
    }

    /// How many rows a window and its reference have at least, for a verdict. 50 by default: five in each of ten
    /// bins, the fewest that a statistic is taken to be nearly normal with.
    ///
    /// # Errors
    ///
    /// 0 rows.
    pub fn minimum_rows(self, rows: u64) -> Result<Self, ArgumentError> {
        self.with(|options| options.minimum_rows = rows)
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Result<Self, ArgumentError> {
        change(&mut self);
        self.check().map(|()| self)
    }

    fn check(&self) -> Result<(), ArgumentError> {
        let Self { alpha, minimum_effect, minimum_share, minimum_rows, .. } = *self;
        let allowed = "more than 0 and at most 1";
        ArgumentError::unless(alpha > 0.0 && alpha <= 1.0, "alpha of a comparison", alpha, allowed)?;
        let sensible = minimum_effect >= 0.0 && minimum_effect.is_finite();
        ArgumentError::unless(sensible, "minimum_effect", minimum_effect, "0 or more, and finite")?;
        let sensible = (0.0..=1.0).contains(&minimum_share);
        ArgumentError::unless(sensible, "minimum_share", minimum_share, "a share from 0 to 1")?;
        ArgumentError::unless(minimum_rows > 0, "minimum_rows", minimum_rows, "1 or more")
    }

    /// The same at this error, for a drift of at least this distance: for looks whose error follows from their number.
    pub(crate) fn look(self, alpha: f64, margin: Margin) -> Self {
        Self { alpha, minimum_effect: margin.distance, minimum_share: margin.share.min(1.0), ..self }
    }

    /// How far apart two versions may be, where their distributions may lie apart by `distance`.
    pub(crate) fn margin(&self, distance: f64) -> Margin {
        Margin { distance, share: self.minimum_share }
    }

    /// How many rows are wanted on each side.
    pub(crate) fn rows_wanted(&self) -> u64 {
        self.minimum_rows
    }

    /// The distance from which on a drift matters.
    pub(crate) fn effect_floor(&self) -> f64 {
        self.minimum_effect
    }

    /// The error of one comparison.
    pub(crate) fn error(&self) -> f64 {
        self.alpha
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            test: Test::JensenShannon,
            alpha: 0.01,
            control: Control::Bonferroni,
            minimum_effect: 0.1,
            minimum_share: 0.01,
            minimum_rows: 50,
        }
    }
}

/// Whether and how the features of a window have drifted from a reference. O(bins).
///
/// A category that is new in the window is compared with how many were to be expected: training data of which many
/// categories have a single row has never shown all there are.
///
/// # Errors
///
/// [`ProfileMismatchError`] where the window was not counted in the reference's bins.
pub fn compare(
    reference: &ReferenceProfile,
    window: &Profile,
    options: &Options,
) -> Result<DriftTable, ProfileMismatchError> {
    against(&reference.profile, |place, rows| reference.unseen_expected(place, rows), window, options)
}

/// Whether and how the features of a window have drifted from those of another: of before, or of the same hour of other
/// days. Both are counted in the bins of one reference.
///
/// # Errors
///
/// [`ProfileMismatchError`] where they are not.
pub fn compare_windows(
    before: &Profile,
    window: &Profile,
    options: &Options,
) -> Result<DriftTable, ProfileMismatchError> {
    let unseen = |place: usize, rows: u64| {
        let feature = before.layout.features.get(place);
        (feature.map_or(0, |feature| feature.count_at(&before.counts, UNSEEN)), rows)
    };
    against(before, unseen, window, options)
}

fn against(
    before: &Profile,
    unseen: impl Fn(usize, u64) -> (u64, u64),
    window: &Profile,
    options: &Options,
) -> Result<DriftTable, ProfileMismatchError> {
    before.fits(window)?;
    let features = before.layout.features.iter().enumerate();
    let mut rows: Vec<DriftRow> = features
        .flat_map(|(place, feature)| {
            let sides = Sides { feature, before, window, options };
            [Some(sides.distribution()), sides.missing(), sides.unseen(|rows| unseen(place, rows))]
        })
        .flatten()
        .collect();
    judge(&mut rows, options);
    Ok(DriftTable::new(rows, before.rows(), window.rows()))
}

/// One feature on both sides.
struct Sides<'a> {
    feature: &'a Feature,
    before: &'a Profile,
    window: &'a Profile,
    options: &'a Options,
}

impl Sides<'_> {
    /// The values that are there; of categories those that are unseen are among the rare ones.
    fn distribution(&self) -> DriftRow {
        let before = self.feature.bins_of(&self.before.counts);
        let window = self.feature.bins_of(&self.window.counts);
        let test = self.options.test;
        let (rows, found, distances) = match self.feature.bins.centres() {
            Some(centres) => (
                (total(before), total(window)),
                test.of_ordered(before, window),
                Distances::between(before, window, Some(&centres)),
            ),
            None => {
                let unseen = |profile: &Profile| self.feature.count_at(&profile.counts, UNSEEN);
                let (others, named) = (before.split_last(), window.split_last());
                let (Some((other, before)), Some((more, window))) = (others, named) else {
                    return self.row(What::Distribution, (0, 0), (0.0, None), 0.0, None);
                };
                let tail =
                    (other.saturating_add(unseen(self.before)), more.saturating_add(unseen(self.window)));
                let compared = Compared::new(before, window, tail);
                let (before, window) = compared.cells();
                let distances = Distances::between(&before, &window, None);
                ((total(&before), total(&window)), test.of(&compared), distances)
            }
        };
        let effect = distances.map_or(0.0, |distances| distances.jensen_shannon_distance());
        let statistic = found.map_or(0.0, |found| found.statistic);
        self.row(What::Distribution, rows, (statistic, found.map(|found| found.p)), effect, distances)
    }

    /// Nothing where none is missing: such a test can find nothing, and need not be paid for (Tarone, Biometrics 46,
    /// 1990).
    fn missing(&self) -> Option<DriftRow> {
        let of = |profile: &Profile| self.feature.count_at(&profile.counts, MISSING);
        let rows = self.before.rows();
        self.shares(What::Missing, rows, (of(self.before), rows), (of(self.window), self.window.rows()))
    }

    fn unseen(&self, expected: impl Fn(u64) -> (u64, u64)) -> Option<DriftRow> {
        if !self.feature.bins.tells_unseen() {
            return None;
        }
        let there = |profile: &Profile| {
            profile.rows().saturating_sub(self.feature.count_at(&profile.counts, MISSING))
        };
        let (before, window) = (there(self.before), there(self.window));
        let found = self.feature.count_at(&self.window.counts, UNSEEN);
        let (events, rows) = expected(before);
        self.shares(What::Unseen, before, (events.min(rows), rows), (found, window))
    }

    /// `before` may count as fewer rows than the reference has.
    fn shares(&self, what: What, rows: u64, before: (u64, u64), window: (u64, u64)) -> Option<DriftRow> {
        if before.0 == 0 && window.0 == 0 {
            return None;
        }
        let share = |(events, rows): (u64, u64)| events as f64 / rows.max(1) as f64;
        let change = share(window) - share(before);
        let p = two_shares(before, window);
        Some(self.row(what, (rows, window.1), (change, Some(p)), change.abs(), None))
    }

    fn row(
        &self,
        what: What,
        (reference_rows, window_rows): (u64, u64),
        (statistic, p): (f64, Option<f64>),
        effect: f64,
        distances: Option<Distances>,
    ) -> DriftRow {
        let few = reference_rows.min(window_rows) < self.options.minimum_rows.max(1);
        let p = p.filter(|_| !few);
        let verdict = if p.is_some() { DriftVerdict::Steady } else { DriftVerdict::TooFew };
        let feature = self.feature.name.to_string();
        DriftRow { feature, what, statistic, p, effect, verdict, reference_rows, window_rows, distances }
    }
}

fn total(bins: &[u64]) -> u64 {
    bins.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// Says which rows have drifted, where there was enough to tell.
fn judge(rows: &mut [DriftRow], options: &Options) {
    let places: Vec<usize> =
        (0..rows.len()).filter(|place| rows.get(*place).is_some_and(|row| row.p.is_some())).collect();
    let values: Vec<f64> = places.iter().filter_map(|place| rows.get(*place).and_then(|row| row.p)).collect();
    for rejected in options.control.rejected(&values, options.alpha) {
        let Some(row) = places.get(rejected).and_then(|place| rows.get_mut(*place)) else { continue };
        let floor = match row.what {
            What::Distribution => options.minimum_effect,
            What::Missing | What::Unseen => options.minimum_share,
        };
        row.verdict = if row.effect >= floor { DriftVerdict::Drifted } else { DriftVerdict::Slight };
    }
}

impl Control {
    /// The places of those p-values that are too small for chance.
    fn rejected(self, values: &[f64], alpha: f64) -> Vec<usize> {
        let all = values.len().max(1) as f64;
        let below = |limit: f64| {
            (0..values.len()).filter(|place| values.get(*place).is_some_and(|p| *p <= limit)).collect()
        };
        match self {
            Self::PerFeature => below(alpha),
            Self::Bonferroni => below(alpha / all),
            Self::BenjaminiHochberg => {
                let mut sorted = values.to_vec();
                sorted.sort_unstable_by(f64::total_cmp);
                let steps = sorted.iter().enumerate().map(|(rank, p)| (*p, alpha * (rank + 1) as f64 / all));
                below(steps.filter(|(p, step)| p <= step).map(|(_, step)| step).fold(-1.0, f64::max))
            }
            Self::EBenjaminiHochberg => {
                let evidence: Vec<EValue> = values.iter().map(|p| calibrated(*p)).collect();
                rejected(&evidence, alpha)
            }
        }
    }
}

/// The e-value that a p-value is worth: `(1 - p + p ln p) / (p ln(p)^2)`, the mean of `k p^(k-1)` over k (Vovk & Wang,
/// Annals of Statistics 49, 2021, section 2). At most 1 on average where the p-value is uniform.
fn calibrated(p: f64) -> EValue {
    // Near 1 the formula is 0/0, and its limit 1/2.
    if p > 0.999_9 {
        return EValue::of(0.5);
    }
    let p = p.max(1e-300);
    let ln = libm::log(p);
    EValue::of((1.0 - p + p * ln) / (p * ln * ln))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Benjamini & Hochberg 1995, their example of 15 p-values at 0.05: four are rejected, by Bonferroni three.
    #[test]
    fn control_over_features_is_that_of_the_paper() {
        let values = [
            0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
            0.6528, 0.7590, 1.0,
        ];
        assert_eq!(Control::BenjaminiHochberg.rejected(&values, 0.05), [0, 1, 2, 3]);
        assert_eq!(Control::Bonferroni.rejected(&values, 0.05), [0, 1, 2]);
        assert_eq!(Control::PerFeature.rejected(&values, 0.05), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(Control::EBenjaminiHochberg.rejected(&values, 0.05).is_empty());
        assert_eq!(Control::EBenjaminiHochberg.rejected(&[1e-9, 0.4, 1e-7], 0.05), [0, 2]);
        assert!(Control::BenjaminiHochberg.rejected(&[], 0.05).is_empty());
    }

    /// Vovk & Wang 2021: an e-value is 1 on average for a uniform p-value.
    #[test]
    fn calibrated_p_values_are_e_values() {
        let steps = 2_000_000;
        let uniform = (0..steps).map(|step| (f64::from(step) + 0.5) / f64::from(steps));
        let mean = uniform.map(|p| calibrated(p).value()).sum::<f64>() / f64::from(steps);
        assert!((0.9..=1.0).contains(&mean), "{mean}");
    }
}
