//! The host's side of a contract, and its comparison with a version's.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::contract::{Contract, PipelineNeed};
use super::facts::{Facts, RuntimeFacts};
use super::feature;
use super::feature::{Feature, FeatureKind};
use super::held::compare;
use super::mismatch::{Bounds, Mismatch};
use super::problem::{Problem, repeated};
use super::tensor_spec::TensorRole;
use crate::base::ordered::OrderedSet;
use crate::model::opset::Opset;

/// The host's side of a [`Contract`]: the features that its requests carry, and the labels that it knows what to do with.
///
/// ```
/// use switchback::repository::contract::{Contract, Facts, Feature, Host};
///
/// let host = Host::new()
///     .feature(Feature::number("distance").unit("mi").range(0.0..=5000.0))
///     .feature(Feature::category("carrier", ["UA", "DL", "AA"]))
///     .labels(["on time", "late"]);
/// let version = Contract::new()
///     .feature(Feature::number("distance").unit("km").range(0.0..=8000.0))
///     .feature(Feature::category("carrier", ["UA", "DL"]))
///     .labels(["late", "on time"]);
/// let mismatches = host.mismatches(&version, &[], &Facts::default());
/// assert_eq!(mismatches.len(), 3); // the unit, a category, the order of the labels
/// ```
///
/// A feature that the host has and a version does not need is no matter. Labels are compared only where the host declares
/// some.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Host {
    /// The features that a request carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Feature>,
    /// The labels that must come back, in the order in which their scores are read; nothing where any will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
}

impl Host {
    /// One that supplies nothing and takes any labels.
    pub fn new() -> Self {
        Self::default()
    }

    /// And this feature.
    #[must_use]
    pub fn feature(mut self, feature: Feature) -> Self {
        self.features.push(feature);
        self
    }

    /// With these labels, in this order, and no other.
    #[must_use]
    pub fn labels<L: Into<String>>(mut self, labels: impl IntoIterator<Item = L>) -> Self {
        self.labels = Some(labels.into_iter().map(Into::into).collect());
        self
    }

    /// Everything in which a version and this host do not fit; nothing where they do.
    ///
    /// `pipelines` are those that the host has registered, by name and version. A contract that names no pipeline is not
    /// held to one here: whether there is a default is for `Pipelines` to say.
    ///
    /// What is unknown does not fit: a host that declares no bounds may supply any number, and does not fit a version
    /// that was trained on some. What a version does not declare is not compared.
    pub fn mismatches(
        &self,
        contract: &Contract,
        pipelines: &[(&str, &Version)],
        facts: &Facts,
    ) -> Vec<Mismatch> {
        let mut found = self.mismatches_but_of_pipeline(contract, facts);
        if let Some(need) = &contract.pipeline
            && !pipelines.iter().any(|(name, version)| *name == need.name && need.version.matches(version))
        {
            found.push(pipeline_mismatch(need, pipelines));
        }
        found
    }

    pub(crate) fn mismatches_but_of_pipeline(&self, contract: &Contract, facts: &Facts) -> Vec<Mismatch> {
        let mut found: Vec<Mismatch> =
            contract.problems().into_iter().map(|problem| Mismatch::Contract { problem }).collect();
        found.extend(self.problems().map(|problem| Mismatch::Host { problem }));
        for needed in &contract.features {
            match self.features.iter().find(|supplied| supplied.name == needed.name) {
                Some(supplied) => compare_features(needed, supplied, &mut found),
                None if needed.optional => {}
                None => found.push(Mismatch::FeatureMissing { feature: needed.name.clone() }),
            }
        }
        for (role, needed, has) in [
            (TensorRole::Input, &contract.inputs, &facts.inputs),
            (TensorRole::Output, &contract.outputs, &facts.outputs),
        ] {
            let has = has.iter();
            found.extend(has.flat_map(|has| compare("the contract", role, needed, has)));
        }
        self.compare_labels(contract, facts, &mut found);
        compare_runtime(contract, facts, &mut found);
        found
    }

    fn problems(&self) -> impl Iterator<Item = Problem> {
        let labels = self.labels.iter().flat_map(|labels| repeated(labels));
        let labels = labels.map(|label| Problem::LabelRepeated { label });
        feature::problems(&self.features).into_iter().chain(labels)
    }

    fn compare_labels(&self, contract: &Contract, facts: &Facts, found: &mut Vec<Mismatch>) {
        if !contract.labels.is_empty() && !facts.labels.is_empty() && contract.labels != facts.labels {
            let (contract, file) = (contract.labels.clone(), facts.labels.clone());
            found.push(Mismatch::LabelsOfFile { contract, file });
        }
        let Some(needed) = &self.labels else { return };
        let given = if contract.labels.is_empty() { &facts.labels } else { &contract.labels };
        if given.is_empty() && !needed.is_empty() {
            found.push(Mismatch::LabelsUnnamed { needed: needed.clone() });
            return;
        }
        let missing = without(needed, given);
        let unexpected = without(given, needed);
        if missing.is_empty() && unexpected.is_empty() && needed != given {
            found.push(Mismatch::LabelsReordered { needed: needed.clone(), given: given.clone() });
        }
        if !missing.is_empty() {
            found.push(Mismatch::LabelsMissing { labels: missing });
        }
        if !unexpected.is_empty() {
            found.push(Mismatch::LabelsUnexpected { labels: unexpected });
        }
    }
}

fn compare_features(needed: &Feature, supplied: &Feature, found: &mut Vec<Mismatch>) {
    let feature = || needed.name.clone();
    if !supplied.kind.serves(needed.kind) {
        let (needed, supplied) = (needed.kind, supplied.kind);
        found.push(Mismatch::FeatureKind { feature: feature(), needed, supplied });
    }
    if let Some(unit) = &needed.unit
        && supplied.unit.as_ref() != Some(unit)
        && supplied.kind.is_numeric()
    {
        let supplied = supplied.unit.clone();
        found.push(Mismatch::FeatureUnit { feature: feature(), needed: unit.clone(), supplied });
    }
    if needed.kind.is_numeric() && supplied.kind.is_numeric() {
        let (trained, offered) = (bounds(needed), bounds(supplied));
        if !trained.hold(offered) {
            found.push(Mismatch::FeatureRange { feature: feature(), needed: trained, supplied: offered });
        }
    }
    if needed.kind == FeatureKind::Category && supplied.kind == FeatureKind::Category {
        found.extend(category_mismatch(needed, supplied));
    }
    if needed.length != supplied.length {
        let (needed, supplied) = (needed.length, supplied.length);
        found.push(Mismatch::FeatureLength { feature: feature(), needed, supplied });
    }
    if supplied.optional && !needed.optional {
        found.push(Mismatch::FeatureOptional { feature: feature() });
    }
}

fn category_mismatch(needed: &Feature, supplied: &Feature) -> Option<Mismatch> {
    let known = needed.categories.as_ref()?;
    let feature = needed.name.clone();
    match &supplied.categories {
        None => Some(Mismatch::FeatureCategoriesOpen { feature, known: known.clone() }),
        Some(supplied) => {
            let unknown = without(supplied, known);
            (!unknown.is_empty()).then_some(Mismatch::FeatureCategories { feature, unknown })
        }
    }
}

/// The mismatch of a need that none of these pipelines meets.
pub(crate) fn pipeline_mismatch(need: &PipelineNeed, pipelines: &[(&str, &Version)]) -> Mismatch {
    let pipeline = need.name.clone();
    let named = pipelines.iter().filter(|(name, _)| *name == need.name);
    let mut registered: Vec<Version> = named.map(|(_, version)| (*version).clone()).collect();
    if registered.is_empty() {
        let names: OrderedSet<&str> = pipelines.iter().map(|(name, _)| *name).collect();
        return Mismatch::PipelineUnknown {
            pipeline,
            registered: names.into_iter().map(str::to_owned).collect(),
        };
    }
    registered.sort();
    Mismatch::PipelineVersion { pipeline, needed: need.version.clone(), registered }
}

fn compare_runtime(contract: &Contract, facts: &Facts, found: &mut Vec<Mismatch>) {
    let (version, newest_opsets) = match &facts.runtime {
        RuntimeFacts::NotAsked => return,
        RuntimeFacts::Missing { cause } => {
            found.push(Mismatch::RuntimeMissing { cause: cause.clone() });
            return;
        }
        RuntimeFacts::Here { version, newest_opsets } => (version, newest_opsets),
    };
    match (&contract.runtime, version) {
        (Some(needed), None) => found.push(Mismatch::RuntimeUnknown { needed: needed.clone() }),
        (Some(needed), Some(version)) => {
            // A build of a host's own from before a release has what the release has, as far as it can be told.
            let release = Version::new(version.major, version.minor, version.patch);
            if !needed.matches(&release) {
                let (needed, found_here) = (needed.clone(), version.clone());
                found.push(Mismatch::RuntimeVersion { needed, found: found_here });
            }
        }
        (None, _) => {}
    }
    for needed in &facts.opsets {
        let newest = newest_opsets.iter().find(|known| known.domain == needed.domain);
        if let Some(&Opset { version: newest, .. }) = newest
            && needed.version > newest
        {
            let Opset { domain, version } = needed.clone();
            found.push(Mismatch::Opset { domain, needed: version, newest });
        }
    }
}

fn bounds(feature: &Feature) -> Bounds {
    Bounds { minimum: feature.minimum, maximum: feature.maximum }
}

/// Returns what is in `list` and not in `others`, in its order.
fn without(list: &[String], others: &[String]) -> Vec<String> {
    let others: OrderedSet<&String> = others.iter().collect();
    list.iter().filter(|item| !others.contains(item)).cloned().collect()
}
