//! A profile of training data.

use std::fmt;
use std::sync::Arc;

use super::layout::UNSEEN;
use super::profile::{Profile, ProfileMismatchError};
use super::sketch::Seldom;

/// How the features of training data were distributed: what the traffic of a model is compared with.
///
/// Bins are frozen when it is made: of numbers they hold as many rows each, of categories the most frequent have one
/// each, one is for all others, and missing values and categories that training never had are counted apart.
///
/// ```
/// use switchback::drift::{Cell, Options, ReferenceProfile, compare};
///
/// let flights = |late: f64| (0..2_000).map(move |n| [Cell::from(f64::from(n % 90) + late), Cell::from("UA")]);
/// let reference = ReferenceProfile::builder().numeric("dep_delay").categorical("carrier").build_from(flights(0.0))?;
///
/// let mut today = reference.profile();
/// for row in flights(25.0) {
///     today.record(&row)?;
/// }
/// let table = compare(&reference, &today, &Options::default())?;
/// assert_eq!(table.drifted().map(|row| &*row.feature).collect::<Vec<_>>(), ["dep_delay"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # As JSON
///
/// By serde, for a manifest's `profile`; `examples/publish_sklearn.py` writes it from Python.
///
/// ```
/// use switchback::drift::ReferenceProfile;
///
/// let written = r#"{
///   "schema": 1,
///   "rows": 1000,
///   "features": [
///     {"name": "dep_delay", "type": "number", "edges": [-25.0, 0.0, 911.0], "counts": [481, 509], "missing": 10},
///     {"name": "carrier", "type": "category", "categories": ["UA", "B6"], "counts": [600, 380],
///      "other": 20, "others": [12, 408723], "seen_once": 3, "seen_twice": 1, "missing": 0}
///   ]
/// }"#;
/// let reference: ReferenceProfile = serde_json::from_str(written)?;
/// assert_eq!(reference.rows(), 1_000);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// Of numbers there is one edge more than counts, at most 65, from low to high: a bin holds its lower edge and not its
/// upper one, the outermost hold what lies beyond too. Of at most 256 categories each has a count; `other` counts the
/// rest, and `others` knows at most 4,096 of them by their fingerprint (FNV-1a of 32 bits over UTF-8), in order;
/// without it, a category that training never had counts as one of the rest. `seen_once` is how many categories a
/// single row had: so many are to be expected among as many new rows that training never had; `seen_twice`, which two
/// had, says how well that is known. `unseen` counts what a merged profile found beyond the bins. Counts, `other`,
/// `unseen` and `missing` of a feature add up to `rows`. What is not given is 0; `schema` is 1, and `type` follows from
/// the bins.
#[derive(Clone, PartialEq)]
pub struct ReferenceProfile {
    pub(crate) profile: Profile,
    /// By feature: categories that one or two rows had.
    pub(crate) seldom: Box<[Seldom]>,
}

impl ReferenceProfile {
    pub(crate) fn new(profile: Profile, seldom: Box<[Seldom]>) -> Self {
        Self { profile, seldom }
    }

    /// A profile without rows, in the bins of this one: what traffic is counted in.
    pub fn profile(&self) -> Profile {
        Profile::empty(Arc::clone(&self.profile.layout))
    }

    /// The counts.
    pub fn counted(&self) -> &Profile {
        &self.profile
    }

    /// How many rows it was made from.
    pub fn rows(&self) -> u64 {
        self.profile.rows()
    }

    /// The names of the features, in the order of a row.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.profile.names()
    }

    /// Adds the rows of another reference with the same bins.
    ///
    /// # Errors
    ///
    /// [`ProfileMismatchError`] where it has others; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), ProfileMismatchError> {
        self.profile.merge(&other.profile)?;
        for (seldom, more) in self.seldom.iter_mut().zip(&other.seldom) {
            seldom.once = seldom.once.saturating_add(more.once);
            seldom.twice = seldom.twice.saturating_add(more.twice);
        }
        Ok(())
    }

    /// Adds further rows that were counted in its bins: training data that came later, or in parts.
    ///
    /// # Errors
    ///
    /// [`ProfileMismatchError`] where they were counted in others; nothing is added then.
    pub fn add(&mut self, counted: &Profile) -> Result<(), ProfileMismatchError> {
        self.profile.merge(counted)
    }

    /// How many of how many rows are to be expected with a category that was not seen: those of rows that were merged,
    /// and one for each category that one row had (Good, Biometrika 40, 1953, after Turing).
    ///
    /// That is known less well than a share of so many rows: its variance is that of `once + 2 twice` events (Esty,
    /// Annals of Statistics 11, 1983). So it counts as a share of fewer rows.
    pub(crate) fn unseen_expected(&self, place: usize, rows: u64) -> (u64, u64) {
        let Some(feature) = self.profile.layout.features.get(place) else { return (0, rows) };
        let seldom = self.seldom.get(place).copied().unwrap_or_default();
        let events = feature.count_at(&self.profile.counts, UNSEEN).saturating_add(seldom.once);
        if events == 0 {
            return (0, rows);
        }
        let worth = events as f64 / (events as f64 + 2.0 * seldom.twice as f64);
        let counted = (events as f64 * worth).round().max(1.0);
        (counted as u64, (counted * rows as f64 / events as f64).round() as u64)
    }
}

/// Shows how much was counted, and nothing of it.
impl fmt::Debug for ReferenceProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.profile.fmt(f)
    }
}
