//! A reference as it is written down, and what is checked when it is read.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::layout::{
    BINS_MAX, Bins, CATEGORIES_MAX, Categories, EDGE_MAX, Edges, FEATURES_MAX, FIRST_BIN, Feature, Layout,
    MISSING, NAME_MAX, OTHERS_MAX, UNSEEN, check_names,
};
use super::profile::Profile;
use super::reference::ReferenceProfile;
use super::sketch::Seldom;
use crate::base::causes::debug_as_told;
use crate::base::ordered::OrderedMap;

/// The only form so far.
const SCHEMA: u32 = 1;

/// The most rows that other languages hold exactly.
const ROWS_MAX: u64 = 1 << 53;

#[derive(Serialize, Deserialize)]
struct WrittenProfile {
    #[serde(default = "schema")]
    schema: u32,
    rows: u64,
    features: Vec<WrittenFeature>,
    #[serde(flatten, skip_serializing)]
    unknown: OrderedMap<String, IgnoredAny>,
}

fn schema() -> u32 {
    SCHEMA
}

#[derive(Serialize, Deserialize)]
struct WrittenFeature {
    name: String,
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edges: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    categories: Option<Vec<String>>,
    counts: Vec<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    other: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    others: Option<Vec<u32>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    seen_once: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    seen_twice: u64,
    #[serde(default)]
    missing: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    unseen: u64,
    #[serde(flatten, skip_serializing)]
    unknown: OrderedMap<String, IgnoredAny>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Serialize for ReferenceProfile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        WrittenProfile::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ReferenceProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WrittenProfile::deserialize(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl From<&ReferenceProfile> for WrittenProfile {
    fn from(reference: &ReferenceProfile) -> Self {
        let ReferenceProfile { profile, seldom } = reference;
        let written = |(feature, seldom): (&Feature, &Seldom)| written(feature, &profile.counts, *seldom);
        let features = profile.layout.features.iter().zip(seldom).map(written).collect();
        Self { schema: SCHEMA, rows: profile.rows, features, unknown: OrderedMap::new() }
    }
}

fn written(feature: &Feature, counts: &[u64], seldom: Seldom) -> WrittenFeature {
    let bins = feature.bins_of(counts).to_vec();
    let mut written = WrittenFeature {
        name: feature.name.to_string(),
        kind: Some(feature.bins.kind().to_owned()),
        edges: None,
        categories: None,
        counts: bins,
        other: 0,
        others: None,
        seen_once: seldom.once,
        seen_twice: seldom.twice,
        missing: feature.count_at(counts, MISSING),
        unseen: feature.count_at(counts, UNSEEN),
        unknown: OrderedMap::new(),
    };
    match &feature.bins {
        Bins::Numeric(edges) => written.edges = Some(edges.0.to_vec()),
        Bins::Categorical(categories) => {
            written.other = written.counts.pop().unwrap_or(0);
            written.categories = Some(categories.names.iter().map(|name| name.to_string()).collect());
            written.others = categories.others.as_ref().map(|others| others.to_vec());
        }
    }
    written
}

impl TryFrom<WrittenProfile> for ReferenceProfile {
    type Error = ProfileError;

    fn try_from(written: WrittenProfile) -> Result<Self, Self::Error> {
        let WrittenProfile { schema, rows, features, unknown } = written;
        if schema != SCHEMA {
            return Err(ProfileError::Schema { found: schema });
        }
        if let Some((field, _)) = unknown.into_iter().next() {
            return Err(ProfileError::Field { field: shortened(&field) });
        }
        if features.is_empty() || features.len() > FEATURES_MAX {
            return Err(ProfileError::Features { found: features.len() });
        }
        if rows > ROWS_MAX {
            return Err(ProfileError::Rows { found: rows });
        }
        check_names(features.iter().map(|feature| &*feature.name))
            .map_err(|feature| ProfileError::Name { feature })?;
        let (mut layout, mut counts, mut seldom) = (Vec::new(), Vec::new(), Vec::new());
        for feature in features {
            let name: Box<str> = feature.name.as_str().into();
            seldom.push(Seldom { once: feature.seen_once.min(rows), twice: feature.seen_twice.min(rows) });
            let (bins, slots) = feature
                .checked(rows)
                .map_err(|problem| ProfileError::Feature { feature: name.to_string(), problem })?;
            counts.extend(slots);
            layout.push((name, bins));
        }
        let profile = Profile { layout: Layout::new(layout), counts: counts.into(), rows };
        Ok(Self::new(profile, seldom.into()))
    }
}

impl WrittenFeature {
    /// Its bins, and what was counted in all of its slots.
    fn checked(self, rows: u64) -> Result<(Bins, Vec<u64>), String> {
        if let Some(field) = self.unknown.keys().next() {
            return Err(format!("has `{}`, which says nothing here", shortened(field)));
        }
        let mut slots = vec![0; FIRST_BIN];
        for (slot, count) in [(MISSING, self.missing), (UNSEEN, self.unseen)] {
            if let Some(place) = slots.get_mut(slot) {
                *place = count;
            }
        }
        slots.extend(&self.counts);
        let bins = match (self.edges, self.categories) {
            (Some(edges), None) => {
                if self.other != 0 || self.others.is_some() || self.seen_once != 0 || self.seen_twice != 0 {
                    return Err("has numbers, and others as only categories have".to_owned());
                }
                Bins::Numeric(checked_edges(edges, self.counts.len())?)
            }
            (None, Some(categories)) => {
                slots.push(self.other);
                Bins::Categorical(checked_categories(categories, self.others, self.counts.len())?)
            }
            _ => return Err("has to have either `edges` or `categories`".to_owned()),
        };
        if self.kind.as_deref().is_some_and(|kind| kind != bins.kind()) {
            return Err(format!("has the bins of a {}, and another type", bins.kind()));
        }
        let counted = slots.iter().try_fold(0_u64, |sum, count| sum.checked_add(*count));
        if counted != Some(rows) {
            return Err(format!("has counts that do not add up to the {rows} rows"));
        }
        Ok((bins, slots))
    }
}

fn checked_edges(edges: Vec<f64>, counts: usize) -> Result<Edges, String> {
    if edges.len() < 2 || edges.len() > BINS_MAX + 1 || counts + 1 != edges.len() {
        let found = edges.len();
        return Err(format!("has {found} edges for {counts} counts: give one more, 2 to {}", BINS_MAX + 1));
    }
    // Not finite counts as not increasing.
    let increasing = edges.windows(2).all(|two| matches!(two, [low, high] if low < high));
    if !increasing || edges.iter().any(|edge| edge.abs() > EDGE_MAX * 1.001 || !edge.is_finite()) {
        return Err("has edges that are not finite numbers from low to high".to_owned());
    }
    Ok(Edges(edges.into()))
}

fn checked_categories(
    names: Vec<String>,
    others: Option<Vec<u32>>,
    counts: usize,
) -> Result<Categories, String> {
    if names.len() > CATEGORIES_MAX || names.len() != counts {
        let found = names.len();
        return Err(format!(
            "has {found} categories for {counts} counts: give one each, up to {CATEGORIES_MAX}"
        ));
    }
    let mut known = std::collections::HashSet::new();
    if !names.iter().all(|name| name.len() <= NAME_MAX && known.insert(name.as_str())) {
        return Err("has a category that is too long or there twice".to_owned());
    }
    let others = others.map(|mut others| {
        others.sort_unstable();
        others.dedup();
        others
    });
    if others.as_ref().is_some_and(|others| others.len() > OTHERS_MAX) {
        return Err(format!("has more than {OTHERS_MAX} others: leave them out"));
    }
    let names = names.into_iter().map(String::into_boxed_str).collect();
    Ok(Categories::new(names, others.map(Vec::into_boxed_slice)))
}

/// Shortens what others wrote, which is not repeated at any length.
fn shortened(field: &str) -> String {
    field.chars().take(64).collect()
}

#[cfg(feature = "repository")]
impl ReferenceProfile {
    /// Reads what stands in a manifest.
    pub(crate) fn from_json(value: &serde_json::Value) -> Result<Self, ProfileError> {
        WrittenProfile::deserialize(value)
            .map_err(|error| ProfileError::Form { cause: shortened(&error.to_string()) })?
            .try_into()
    }
}

/// The error of a text that is not a profile.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// It is of a form that this version does not know.
    #[error(
        "the profile has schema {found}, and this release reads schema {SCHEMA}: write that one, or use a newer release"
    )]
    Schema {
        /// Its schema.
        found: u32,
    },
    /// It has not the form of one at all: a field is missing, or is of another type.
    #[error("it is not a profile: {cause}")]
    Form {
        /// The fault in it.
        cause: String,
    },
    /// It says something that this version does not know.
    #[error("a profile cannot have a field `{field}`: leave it out")]
    Field {
        /// The name of what is not known.
        field: String,
    },
    /// It has no feature, or too many.
    #[error("the profile has {found} features: it must have 1 to {FEATURES_MAX}")]
    Features {
        /// How many there are.
        found: usize,
    },
    /// It has more rows than other languages can hold.
    #[error("the profile has {found} rows: it must have at most 2^53")]
    Rows {
        /// How many there are.
        found: u64,
    },
    /// The name of a feature is empty, longer than 256 bytes, or that of another one too.
    #[error("the name `{feature}` of a feature is empty, too long or there twice: give each its own")]
    Name {
        /// The name.
        feature: String,
    },
    /// The bins or counts of a feature contradict themselves or are too many.
    #[error("feature `{feature}` {problem}")]
    Feature {
        /// Which.
        feature: String,
        /// The fault in it, and the remedy.
        problem: String,
    },
}

debug_as_told!(ProfileError);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::Cell;

    #[test]
    fn a_manifest_written_by_python_holds_a_reference() {
        let text = include_str!("../../../tests/repository/late/1/manifest.json");
        let manifest: serde_json::Value = serde_json::from_str(text).unwrap();
        let reference: ReferenceProfile = serde_json::from_value(manifest["profile"].clone()).unwrap();
        assert_eq!(reference.rows(), 10_823);
        assert_eq!(reference.names().collect::<Vec<_>>(), ["dep_delay", "distance"]);
        assert_eq!(reference.counted().bins("distance").unwrap()[..3], [981, 1_164, 994]);
        let mut profile = reference.profile();
        profile.record(&[Cell::from(-7.0), Cell::from(4_983.0)]).unwrap();
        assert_eq!(profile.bins("dep_delay").unwrap()[1], 1);
        assert_eq!(profile.bins("distance").unwrap()[9], 1);
    }

    #[test]
    fn what_is_no_profile_is_refused_and_says_what_is_wrong() {
        let feature = |rest: &str| format!("{{\"rows\": 3, \"features\": [{{\"name\": \"x\", {rest}}}]}}");
        let cases = [
            ("{\"schema\": 2, \"rows\": 3, \"features\": [], \"new\": 1}".to_owned(), "schema 2"),
            ("{\"rows\": 3, \"features\": [], \"rwos\": 1}".to_owned(), "cannot have a field `rwos`"),
            ("{\"rows\": 3, \"features\": []}".to_owned(), "0 features"),
            (
                "{\"rows\": 9007199254740993, \"features\": [{\"name\": \"x\", \"counts\": []}]}".to_owned(),
                "2^53",
            ),
            (feature("\"counts\": [3]"), "either `edges` or `categories`"),
            (
                feature("\"edges\": [0, 1], \"categories\": [], \"counts\": [3]"),
                "either `edges` or `categories`",
            ),
            (feature("\"edges\": [0, 1, 2], \"counts\": [3]"), "3 edges for 1 counts"),
            (feature("\"edges\": [1, 1], \"counts\": [3]"), "from low to high"),
            (feature("\"edges\": [-1e308, 1e308], \"counts\": [3]"), "from low to high"),
            (feature("\"edges\": [0, 1], \"counts\": [2]"), "do not add up to the 3 rows"),
            (
                feature("\"edges\": [0, 1], \"counts\": [18446744073709551615], \"missing\": 4"),
                "do not add up",
            ),
            (feature("\"edges\": [0, 1], \"counts\": [3], \"type\": \"category\""), "another type"),
            (feature("\"edges\": [0, 1], \"counts\": [3], \"egdes\": 1"), "`egdes`"),
            (feature("\"edges\": [0, 1], \"counts\": [2], \"other\": 1"), "as only categories have"),
            (feature("\"categories\": [\"a\", \"a\"], \"counts\": [1, 2]"), "there twice"),
            (feature("\"categories\": [\"a\"], \"counts\": [1, 2]"), "1 categories for 2 counts"),
            (
                "{\"rows\": 0, \"features\": [{\"name\": \"x\", \"edges\": [0, 1], \"counts\": [0]}, \
                 {\"name\": \"x\", \"edges\": [0, 1], \"counts\": [0]}]}"
                    .to_owned(),
                "`x` of a feature is empty, too long or there twice",
            ),
        ];
        for (text, expected) in cases {
            let error = serde_json::from_str::<ReferenceProfile>(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
