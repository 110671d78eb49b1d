//! Lists the differences between two versions.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::contract::{Feature, TensorSpec};
use super::error::RepositoryError;
use super::manifest::{DataSet, Manifest};
use super::store::{Entry, Repository};
use super::verify::hashed;
use crate::base::ordered::OrderedMap;
use crate::base::text::hex;

/// The difference between two versions, from the first to the second.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// Features, by name.
    pub features: Vec<Differing<Feature>>,
    /// Labels, where they differ.
    pub labels: Option<Differing<Vec<String>>>,
    /// Everything else that the manifests say of what was made, where it differs, by what it is, and written for people: of samples
    /// and of a profile how many there are, and the beginning of a digest. Names, tags and when a version was made are left out.
    pub others: Vec<Differing<String>>,
    /// Figures at training time, by name.
    pub metrics: Vec<Differing<f64>>,
    /// Files, by name: their SHA-256, where bytes differ or only one has the file.
    pub files: Vec<Differing<String>>,
}

/// The values that two versions have under one name, where they differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Differing<T> {
    /// The name.
    pub name: String,
    /// The value of the first; nothing where it has none.
    pub before: Option<T>,
    /// The value of the second.
    pub after: Option<T>,
}

impl<T> Differing<T> {
    /// What it comes to in a word, where values are not shown.
    fn told(&self, changed: &'static str) -> &'static str {
        match (&self.before, &self.after) {
            (None, Some(_)) => "new",
            (Some(_), None) => "gone",
            _ => changed,
        }
    }
}

impl Repository {
    /// Returns what is different between two versions of a model: see [`resolve`](Self::resolve) for what goes for a
    /// name. With the feature `onnx` the models' files are read, for their operator sets.
    ///
    /// # Errors
    ///
    /// One of them cannot be read.
    pub fn diff(&self, model: &str, before: &str, after: &str) -> Result<Difference, RepositoryError> {
        let (before, after) = (self.resolve(model, before)?, self.resolve(model, after)?);
        let blank = Manifest::new("", "", crate::base::clock::Timestamp::default());
        let (a, b) = (before.manifest.as_ref().unwrap_or(&blank), after.manifest.as_ref().unwrap_or(&blank));
        let mut difference = Difference {
            features: paired(features(a), features(b)),
            labels: paired(labels(a), labels(b)).pop(),
            others: Vec::new(),
            metrics: paired(metrics(a), metrics(b)),
            files: paired(digests(&before)?, digests(&after)?),
        };
        let mut other = |what: &str, before: String, after: String| {
            if before != after {
                let some = |text: String| Some(text).filter(|text| !text.is_empty());
                let (name, before, after) = (what.to_owned(), some(before), some(after));
                difference.others.push(Differing { name, before, after });
            }
        };
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let pipeline = |manifest: &Manifest| {
            let need = manifest.contract.pipeline.as_ref();
            need.map(|need| format!("{}@{}", need.name, need.version)).unwrap_or_default()
        };
        let data = |manifest: &Manifest| {
            let sets = manifest.lineage.data.iter().map(|data| {
                let digest = data.sha256.as_deref().and_then(|digest| digest.get(..12));
                [Some(data.name.as_str()), digest].into_iter().flatten().collect::<Vec<_>>().join(" ")
            });
            sets.collect::<Vec<_>>().join(", ")
        };
        let runtime = |manifest: &Manifest| manifest.contract.runtime.as_ref().map(ToString::to_string);
        other("operator sets", opsets(&before), opsets(&after));
        other("inputs", tensors(&a.contract.inputs), tensors(&b.contract.inputs));
        other("outputs", tensors(&a.contract.outputs), tensors(&b.contract.outputs));
        other("pipeline", pipeline(a), pipeline(b));
        other("runtime", text(&runtime(a)), text(&runtime(b)));
        other("data", data(a), data(b));
        other("code", text(&a.lineage.code), text(&b.lineage.code));
        other("framework", text(&a.lineage.framework), text(&b.lineage.framework));
        other("parent", text(&a.lineage.parent), text(&b.lineage.parent));
        other("profile", profile(a), profile(b));
        // Without a manifest nobody has named one, and the same model in the layout of another is no other.
        if before.manifest.is_some() && after.manifest.is_some() {
            other("model file", a.model.clone(), b.model.clone());
        }
        other("samples", samples(a), samples(b));
        other("tolerance of samples", tolerance(a), tolerance(b));
        let (before, after) = in_order(a, b);
        other("order of features", before, after);
        difference.others.extend(paired(data_sets(a), data_sets(b)));
        difference.others.extend(paired(notes(a), notes(b)));
        Ok(difference)
    }
}

/// The operator sets that a version's model is written in, as far as its file tells.
#[cfg(feature = "onnx")]
fn opsets(entry: &Entry) -> String {
    let model = crate::model::onnx::OnnxModel::from_file(entry.model_file());
    let opsets = model.iter().flat_map(|model| model.opsets());
    opsets.map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(not(feature = "onnx"))]
fn opsets(_: &Entry) -> String {
    String::new()
}

fn tensors(specs: &[TensorSpec]) -> String {
    specs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A profile in a few words: how many rows and features it has, and which it is.
fn profile(manifest: &Manifest) -> String {
    let Some(written) = &manifest.profile else { return String::new() };
    let digest = Sha256::digest(written.to_string());
    let which: String = hex(&digest).chars().take(12).collect();
    let size = manifest.profile_size();
    format!("{}, {which}", size.as_deref().unwrap_or("one that cannot be read here"))
}

/// Samples in a few words: how many there are, and which.
fn samples(manifest: &Manifest) -> String {
    let samples = &manifest.samples;
    if samples.is_empty() {
        return String::new();
    }
    let written = serde_json::to_vec(samples).unwrap_or_default();
    let which: String = hex(&Sha256::digest(written)).chars().take(12).collect();
    let many = if samples.len() == 1 { "sample" } else { "samples" };
    format!("{} {many}, {which}", samples.len())
}

/// How far answers may be from those that samples pin: the smallest and the largest.
fn tolerance(manifest: &Manifest) -> String {
    let all = || manifest.samples.iter().map(|sample| sample.tolerance);
    match (all().min_by(f64::total_cmp), all().max_by(f64::total_cmp)) {
        (Some(least), Some(most)) if least != most => format!("{least} to {most}"),
        (Some(one), _) => one.to_string(),
        _ => String::new(),
    }
}

/// The features that both have, each in its own order.
fn in_order(before: &Manifest, after: &Manifest) -> (String, String) {
    let common = |own: &Manifest, other: &Manifest| {
        let names = own.contract.features.iter().map(|feature| feature.name.as_str());
        let known = |name: &&str| other.contract.features.iter().any(|feature| feature.name == **name);
        names.filter(known).collect::<Vec<_>>().join(", ")
    };
    (common(before, after), common(after, before))
}

/// What else is said of each set of data, by its name: which it is stands in a list of all.
fn data_sets(manifest: &Manifest) -> OrderedMap<String, String> {
    let mut sets: OrderedMap<String, String> = OrderedMap::new();
    for DataSet { name, location, sha256: _, rows, from, to, attached } in &manifest.lineage.data {
        let told = [
            location.clone(),
            rows.map(|rows| format!("{rows} {}", if rows == 1 { "row" } else { "rows" })),
            from.map(|from| format!("from {from}")),
            to.map(|to| format!("to {to}")),
            attached.then(|| "kept in the repository".to_owned()),
        ];
        let told = told.into_iter().flatten().collect::<Vec<_>>().join(", ");
        // Nothing forbids two of one name.
        let set = sets.entry(format!("data {name}")).or_default();
        *set = if set.is_empty() { told } else { format!("{set}; {told}") };
    }
    sets.into_iter().filter(|(_, told)| !told.is_empty()).collect()
}

fn notes(manifest: &Manifest) -> OrderedMap<String, String> {
    manifest.notes.iter().map(|(name, note)| (format!("note {name}"), note.clone())).collect()
}

fn metrics(manifest: &Manifest) -> OrderedMap<String, f64> {
    manifest.metrics.iter().map(|(name, value)| (name.clone(), *value)).collect()
}

/// The labels that a manifest names, where it does.
fn labels(manifest: &Manifest) -> OrderedMap<String, Vec<String>> {
    let labels = &manifest.contract.labels;
    (!labels.is_empty()).then(|| ("labels".to_owned(), labels.clone())).into_iter().collect()
}

fn features(manifest: &Manifest) -> OrderedMap<String, Feature> {
    manifest.contract.features.iter().map(|feature| (feature.name.clone(), feature.clone())).collect()
}

/// The digests of a version's files: as its manifest says, or of its model where there is none.
fn digests(entry: &Entry) -> Result<OrderedMap<String, String>, RepositoryError> {
    match &entry.manifest {
        Some(manifest) => {
            Ok(manifest.files.iter().map(|file| (file.path.clone(), file.sha256.clone())).collect())
        }
        None => {
            let path = entry.model_file();
            let (_, digest) = hashed(&path).map_err(RepositoryError::disk("reading", &path))?;
            Ok(OrderedMap::from_iter([("model.onnx".to_owned(), hex(&digest))]))
        }
    }
}

/// Returns what differs between two maps: before and after.
fn paired<T: PartialEq>(before: OrderedMap<String, T>, after: OrderedMap<String, T>) -> Vec<Differing<T>> {
    let mut all: OrderedMap<String, (Option<T>, Option<T>)> = OrderedMap::new();
    for (name, value) in before {
        all.entry(name).or_default().0 = Some(value);
    }
    for (name, value) in after {
        all.entry(name).or_default().1 = Some(value);
    }
    let mut differing = Vec::new();
    for (name, (before, after)) in all {
        if before != after {
            differing.push(Differing { name, before, after });
        }
    }
    differing
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A line each.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for feature in &self.features {
            writeln!(f, "feature {}: {}", feature.name, feature.told("changed"))?;
        }
        if let Some(Differing { name, before, after }) = &self.labels {
            let text = |labels: &Option<Vec<String>>| labels.as_ref().map(|labels| labels.join(", "));
            writeln!(
                f,
                "{name}: {} -> {}",
                text(before).unwrap_or_default(),
                text(after).unwrap_or_default()
            )?;
        }
        for Differing { name, before, after } in &self.others {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            writeln!(f, "{name}: {} -> {}", text(before), text(after))?;
        }
        for Differing { name, before, after } in &self.metrics {
            let text =
                |value: &Option<f64>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
            writeln!(f, "{name}: {} -> {}", text(before), text(after))?;
        }
        self.files.iter().try_for_each(|file| writeln!(f, "{}: {}", file.name, file.told("other bytes")))
    }
}
