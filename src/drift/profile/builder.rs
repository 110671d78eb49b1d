//! Making a reference from rows.

use super::cell::{Cell, Written};
use super::layout::{
    BINS_MAX, Bins, CATEGORIES_MAX, Categories, EDGE_MAX, Edges, FEATURES_MAX, Layout, NAME_MAX, OTHERS_MAX,
    check_names,
};
use super::profile::{Profile, WrongCells};
use super::reference::ReferenceProfile;
use super::sketch::{Frequent, Sample, Seldom};
use crate::base::causes::debug_as_told;
use crate::base::invalid::ArgumentError;

/// Makes a [`ReferenceProfile`]: says what the features are, in the order of a row, and counts rows.
#[derive(Debug, Clone)]
pub struct ProfileBuilder {
    features: Vec<(Box<str>, Kind)>,
    bins: usize,
    categories: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Category,
}

/// The findings on a feature while looking at rows for the first time.
enum Looked {
    Number(Sample),
    Category(Frequent),
}

/// Two bins are kept for what lies beyond a value that many rows share.
const BINS_ASKED_MAX: usize = BINS_MAX - 2;

impl ReferenceProfile {
    /// Makes one from rows.
    pub fn builder() -> ProfileBuilder {
        ProfileBuilder { features: Vec::new(), bins: 10, categories: CATEGORIES_MAX }
    }
}

impl ProfileBuilder {
    /// The next feature of a row is a number.
    #[must_use]
    pub fn numeric(mut self, name: impl Into<String>) -> Self {
        self.features.push((name.into().into(), Kind::Number));
        self
    }

    /// The next feature of a row is a category.
    #[must_use]
    pub fn categorical(mut self, name: impl Into<String>) -> Self {
        self.features.push((name.into().into(), Kind::Category));
        self
    }

    /// Into how many bins of as many rows each the numbers of a feature go, 2 to 62. 10 by default: shifts of a whole
    /// distribution show in as few, a window of 100 rows still has ten in each, and most other tools count so.
    ///
    /// Fewer come of it where many rows share a value: that gets a bin of its own, and where it is the lowest or
    /// highest so does what lies beyond.
    #[must_use]
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = bins;
        self
    }

    /// How many categories of a feature are told apart, the most frequent; all others are one. At most 256, and that
    /// by default.
    #[must_use]
    pub fn categories(mut self, categories: usize) -> Self {
        self.categories = categories;
        self
    }

    /// Looks at the rows twice: for the bins, and to count. Memory does not grow with them: beyond 65,536 numbers edges
    /// are those of a sample; beyond some 16,000 categories the frequent ones are found approximately, and unseen ones
    /// are not told from rare ones. Counts are exact. A category of more than 256 bytes is one of the others.
    ///
    /// # Errors
    ///
    /// [`BuildProfileError`] where there are no rows, a row does not have as many values as there are features, the
    /// features have no names of their own, or there can be no such number of bins or categories.
    pub fn build_from<'a, R>(
        &self,
        rows: impl IntoIterator<Item = R, IntoIter: Clone>,
    ) -> Result<ReferenceProfile, BuildProfileError>
    where
        R: AsRef<[Cell<'a>]>,
    {
        self.check()?;
        let rows = rows.into_iter();
        let looked = self.look(rows.clone())?;
        let mut seldom = Vec::with_capacity(looked.len());
        let bins = looked.into_iter().map(|looked| match looked {
            Looked::Number(sample) => {
                seldom.push(Seldom::default());
                Bins::Numeric(edges(&sample.sorted(), self.bins))
            }
            Looked::Category(frequent) => {
                let found = frequent.found(self.categories, OTHERS_MAX);
                seldom.push(found.seldom);
                Bins::Categorical(Categories::new(found.names, found.others))
            }
        });
        let names = self.features.iter().map(|(name, _)| name.clone());
        let mut profile = Profile::empty(Layout::new(names.zip(bins)));
        for (row, cells) in rows.enumerate() {
            profile.record(cells.as_ref()).map_err(|wrong| BuildProfileError::Row { row, wrong })?;
        }
        Ok(ReferenceProfile::new(profile, seldom.into()))
    }

    fn check(&self) -> Result<(), BuildProfileError> {
        if self.features.is_empty() || self.features.len() > FEATURES_MAX {
            return Err(BuildProfileError::Features { found: self.features.len() });
        }
        let Self { bins, categories, .. } = *self;
        let valid = (2..=BINS_ASKED_MAX).contains(&bins);
        ArgumentError::unless(valid, "the number of bins", bins, format!("2 to {BINS_ASKED_MAX}"))?;
        let allowed = format!("at most {CATEGORIES_MAX}");
        ArgumentError::unless(categories <= CATEGORIES_MAX, "the number of categories", categories, allowed)?;
        check_names(self.features.iter().map(|(name, _)| &**name))
            .map_err(|feature| BuildProfileError::Name { feature })
    }

    fn look<'a, R: AsRef<[Cell<'a>]>>(
        &self,
        rows: impl Iterator<Item = R>,
    ) -> Result<Vec<Looked>, BuildProfileError> {
        let mut looked: Vec<Looked> = self
            .features
            .iter()
            .map(|(_, kind)| match kind {
                Kind::Number => Looked::Number(Sample::default()),
                Kind::Category => Looked::Category(Frequent::default()),
            })
            .collect();
        let mut empty = true;
        for (row, cells) in rows.enumerate() {
            let cells = cells.as_ref();
            if cells.len() != looked.len() {
                let wrong = WrongCells { expected: looked.len(), found: cells.len() };
                return Err(BuildProfileError::Row { row, wrong });
            }
            looked.iter_mut().zip(cells).for_each(|(looked, cell)| looked.add(*cell));
            empty = false;
        }
        if empty { Err(BuildProfileError::NoRows) } else { Ok(looked) }
    }
}

impl Looked {
    fn add(&mut self, cell: Cell<'_>) {
        match (self, cell) {
            (Self::Number(sample), Cell::Number(number)) if !number.is_nan() => sample.add(number),
            (Self::Category(frequent), cell) => {
                if let Some(text) = cell.category(&mut Written::new()) {
                    frequent.add(text);
                }
            }
            _ => {}
        }
    }
}

/// Edges at the quantiles of sorted numbers. A number that several quantiles share, which is so for one in `bins` rows,
/// gets a bin of its own; at either end there is a bin beyond it, so that a value that takes its place is seen. An edge that one quantile has alone is
/// mostly a value of the data: it lies a little below, or that value would fall into another bin where it comes as an `f32`.
fn edges(sorted: &[f64], bins: usize) -> Edges {
    let within: Vec<f64> = sorted.iter().map(|number| number.clamp(-EDGE_MAX, EDGE_MAX)).collect();
    let quantiles: Vec<f64> = (0..=bins).map(|place| quantile(&within, place as f64 / bins as f64)).collect();
    let mut edges: Vec<f64> = Vec::with_capacity(bins + 3);
    let mut shared = Vec::new();
    for same in quantiles.chunk_by(|a, b| a == b) {
        let Some(number) = same.first().copied() else { continue };
        let around = if same.len() > 1 { width_of(number) } else { 0.0 };
        shared.push(around);
        if around > 0.0 && edges.is_empty() {
            edges.push(number - 2.0 * around);
        }
        let (below, above) =
            if around > 0.0 { (around, Some(number + around)) } else { (width_of(number), None) };
        for edge in [Some(number - below), above].into_iter().flatten() {
            if edges.last().is_none_or(|last| *last < edge) {
                edges.push(edge);
            }
        }
    }
    let beyond = shared.last().copied().unwrap_or_default();
    match edges[..] {
        // Wider where the last edge is another number's, beside which this width would be lost.
        [.., last] if beyond > 0.0 => edges.push((last + beyond).max(last + width_of(last))),
        [_, _, ..] => {}
        // No rows have a number.
        _ => edges = vec![0.0, 1.0],
    }
    Edges(edges.into())
}

/// Half the width of the bin of a single number: beyond what is lost between f32 and f64, or in text.
fn width_of(number: f64) -> f64 {
    if number == 0.0 { 1e-12 } else { (number.abs() * 1e-6).max(1e-300) }
}

/// The quantile of sorted numbers, interpolated linearly between its neighbours, as NumPy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len().saturating_sub(1)) as f64;
    let of = |place: f64| sorted.get(place as usize).copied().unwrap_or_default();
    let (below, above) = (of(at.floor()), of(at.ceil()));
    below + (above - below) * (at - at.floor())
}

/// A reference cannot be made from this.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildProfileError {
    /// There are no rows to make bins from.
    #[error("a reference was to be made of 0 rows: give the rows that the model was trained on")]
    NoRows,
    /// A number of bins or of categories that a profile cannot have.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// No feature, or more than 4,096.
    #[error("the profile has {found} features: it must have 1 to {FEATURES_MAX}")]
    Features {
        /// How many there are.
        found: usize,
    },
    /// The name of a feature is empty, longer than 256 bytes, or that of another one too.
    #[error(
        "the name `{feature}` of a feature is empty, too long or there twice: give each one of at most {NAME_MAX} bytes"
    )]
    Name {
        /// The name.
        feature: String,
    },
    /// A row does not have a value of each feature.
    #[error("row {row} does not fit the profile: {wrong}")]
    Row {
        /// Its number, from 0.
        row: usize,
        /// How.
        wrong: WrongCells,
    },
}

debug_as_told!(BuildProfileError);
