//! `switchback repo`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use semver::VersionReq;
use serde::Serialize;
use serde_json::json;
use switchback::Clock;
use switchback::repository::{
    DataSet, Draft, Entry, HubModel, Manifest, MlflowModel, Moment, Repository, RepositoryError, Unusable,
};

use crate::Failure;
use crate::out::{Out, bytes};
use crate::profile::Columns;
use crate::progress::Progress;

/// A manifest has some kilobytes, and golden samples more.
const MANIFEST_MAX: u64 = 4 << 20;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the models, or the versions of one.
    Ls { folder: PathBuf, model: Option<String> },
    /// Shows what is known of a version.
    Show {
        folder: PathBuf,
        model: String,
        /// A version, a tag, or `latest`.
        version: String,
    },
    /// Lists what is different between two versions.
    Diff { folder: PathBuf, model: String, before: String, after: String },
    /// Holds the files of versions against their manifests: all, those of a model, or one. Ends with 1 where one differs.
    Verify {
        folder: PathBuf,
        model: Option<String>,
        version: Option<String>,
        /// Reads the training data too that the repository keeps for them.
        #[arg(long)]
        data: bool,
        /// Loads each model into ONNX Runtime too, whose library must be there.
        #[arg(long)]
        load: bool,
        /// Takes a link for what it leads to, where that stays below the model's folder, as a service does that says so: volumes filled
        /// from a configuration, caches of model hubs.
        #[arg(long)]
        follow_links: bool,
    },
    /// Publishes a version: whole or not at all. A version is never changed afterwards.
    Publish(Box<Publish>),
    /// Brings a version here from elsewhere, held against its manifest before anybody sees it. A pull that was interrupted goes on
    /// where it was.
    Pull(crate::pull::Pull),
    /// Points a tag at a version.
    Tag {
        folder: PathBuf,
        model: String,
        tag: String,
        /// A version, a tag, or `latest`.
        version: String,
    },
    /// Takes a tag away.
    Untag { folder: PathBuf, model: String, tag: String },
    /// Removes a version that no tag points at.
    Rm { folder: PathBuf, model: String, version: String },
    /// Puts tags aside that are torn: none points anywhere then, until it is given again.
    Repair {
        folder: PathBuf,
        model: String,
        /// Does not ask first.
        #[arg(long)]
        yes: bool,
    },
    /// Removes what publishers that were killed have left behind, and data that no version refers to.
    Sweep { folder: PathBuf },
}

#[derive(Args)]
pub(crate) struct Publish {
    folder: PathBuf,
    model: String,
    version: String,
    /// The file of the model; it becomes `model.onnx`, or what the manifest calls it. With `--from-hub` which of its models, such as
    /// `onnx/model_quantized.onnx`. With `--from-mlflow` it need not be said: it is the one that MLflow has logged, with its external data.
    #[arg(long = "model", value_name = "FILE", required_unless_present_any = ["from_hub", "from_mlflow"])]
    file: Option<PathBuf>,
    /// Another file of the version, such as its external data.
    #[arg(long = "file", value_name = "PATH=FILE", value_parser = pair)]
    files: Vec<(String, String)>,
    /// A manifest whose contract, samples, profile, lineage, figures and notes this version has too, as `repo show --json` prints one. The
    /// tags of another version stay with that.
    #[arg(long, value_name = "FILE", conflicts_with = "from_mlflow")]
    manifest: Option<PathBuf>,
    /// A folder in which MLflow has logged the model: its run, its moment and its signature are taken over.
    #[arg(long, value_name = "FOLDER")]
    from_mlflow: Option<PathBuf>,
    /// A folder of a model hub's, a download or one of its cache: the model comes with its external data, labels, revision and
    /// tokenizer.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["manifest", "from_mlflow"])]
    from_hub: Option<PathBuf>,
    /// The host's code that makes tensors of requests for it, by its name and which of its versions will do, as Cargo writes that:
    /// `at-departure@1.0`. A service opens no version that names none, unless it has a default.
    #[arg(long, value_name = "NAME@VERSION", value_parser = pipeline)]
    pipeline: Option<(String, VersionReq)>,
    /// A figure at training time.
    #[arg(long = "metric", value_name = "NAME=NUMBER", value_parser = figure)]
    metrics: Vec<(String, f64)>,
    /// Data that it was trained on; the repository keeps it, once for all versions.
    #[arg(long, value_name = "FILE")]
    data: Vec<PathBuf>,
    /// A table in CSV, with a line of names: how its columns are distributed stands in the manifest, for drift to be measured
    /// against. The features of the contract are looked at; where it has none, every column.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// A column of the profile that holds categories, although they look like numbers.
    #[arg(long = "category", value_name = "COLUMN", requires = "profile")]
    categories: Vec<String>,
    /// A column that is no feature, such as the truth.
    #[arg(long = "leave-out", value_name = "COLUMN", requires = "profile")]
    left_out: Vec<String>,
    /// A tag that points at it from now on.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// The version that it began as.
    #[arg(long, value_name = "VERSION")]
    parent: Option<String>,
    /// The revision of the code that trained it.
    #[arg(long, value_name = "REVISION")]
    code: Option<String>,
    /// What trained it, with its version.
    #[arg(long, value_name = "NAME")]
    framework: Option<String>,
    /// Anything else that people should know.
    #[arg(long = "note", value_name = "NAME=TEXT", value_parser = pair)]
    notes: Vec<(String, String)>,
    /// When it was made, as RFC 3339; now, or when the manifest says, if it is left out.
    #[arg(long, value_name = "TIME")]
    created: Option<Moment>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn pipeline(text: &str) -> Result<(String, VersionReq), String> {
    let (name, version) = match text.rsplit_once('@') {
        Some((name, version)) if !name.trim().is_empty() => (name, version),
        _ => return Err("write NAME@VERSION, such as at-departure@1.0".to_owned()),
    };
    version.parse().map(|version| (name.to_owned(), version)).map_err(|error| format!("{version}: {error}"))
}

pub(crate) fn figure(text: &str) -> Result<(String, f64), String> {
    let (name, value) = pair(text)?;
    match value.parse() {
        Ok(number) if f64::is_finite(number) => Ok((name, number)),
        _ => Err(format!("{value} is no number")),
    }
}

impl Command {
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        match self {
            Self::Ls { folder, model: None } => models(out, &Repository::open(folder)?),
            Self::Ls { folder, model: Some(model) } => versions(out, &Repository::open(folder)?, &model),
            Self::Show { folder, model, version } => {
                let models = Repository::open(folder)?;
                show(out, &models, &models.resolve(&model, &version)?)
            }
            Self::Diff { folder, model, before, after } => {
                let difference = Repository::open(folder)?.diff(&model, &before, &after)?;
                if out.json {
                    return Ok(out.value(&difference)?);
                }
                let text = difference.to_string();
                if difference.is_empty() {
                    out.line("no difference")?;
                }
                Ok(text.lines().try_for_each(|line| out.line(line))?)
            }
            Self::Verify { folder, model, version, data, load, follow_links } => {
                let further = Further { data, load };
                let models = Repository::open(folder)?;
                let models = if follow_links { models.following_links() } else { models };
                verify(out, &models, model.as_deref(), version.as_deref(), further)
            }
            Self::Publish(publish) => publish.run(out),
            Self::Pull(pull) => pull.run(out),
            Self::Tag { folder, model, tag, version } => {
                let models = Repository::open(folder)?;
                let version = models.resolve(&model, &version)?.version;
                let before = models.tag(&model, &tag, version.as_str())?;
                moved(out, &model, &tag, before, Some(version.as_str()))
            }
            Self::Untag { folder, model, tag } => match Repository::open(folder)?.untag(&model, &tag)? {
                None => Err(Failure::Refused(format!("{model} has no tag {tag}"))),
                before => moved(out, &model, &tag, before, None),
            },
            Self::Rm { folder, model, version } => {
                Repository::open(folder)?.remove(&model, &version)?;
                if out.json {
                    return Ok(out.value(&json!({"model": model, "removed": version}))?);
                }
                Ok(out.line(&format!("{model} {version} is removed"))?)
            }
            Self::Repair { folder, model, yes } => repair(out, &Repository::open(folder)?, &model, yes),
            Self::Sweep { folder } => {
                let swept = Repository::open(folder)?.sweep()?;
                let (left, data, unsure) = (swept.asides, swept.data, swept.unsure);
                if out.json {
                    return Ok(out.value(&json!({"asides": left, "data": data, "unsure": unsure}))?);
                }
                Ok(out.line(&format!(
                    "removed: {left} left behind, {data} data sets; left alone, since nobody can tell whether they are in \
                     use: {unsure}"
                ))?)
            }
        }
    }
}

/// What a tag points at now, and did before.
fn moved(
    out: &mut Out,
    model: &str,
    tag: &str,
    before: Option<String>,
    now: Option<&str>,
) -> Result<(), Failure> {
    if out.json {
        return Ok(out.value(&json!({"model": model, "tag": tag, "before": before, "now": now}))?);
    }
    let (was, is) = (before.as_deref().unwrap_or("nothing"), now.unwrap_or("nothing"));
    Ok(out.line(&format!("{model} {tag}: {was} -> {is}"))?)
}

fn models(out: &mut Out, models: &Repository) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for model in models.models()? {
        let versions = models.versions(&model)?;
        let latest = versions.last().map(|entry| entry.version.to_string()).unwrap_or_default();
        rows.push((model.clone(), versions.len(), latest, models.tags(&model)?));
    }
    if out.json {
        let of = |(model, versions, latest, tags): &(String, usize, String, BTreeMap<String, String>)| json!({"model": model, "versions": versions, "latest": latest, "tags": tags});
        return Ok(out.value(&rows.iter().map(of).collect::<Vec<_>>())?);
    }
    let rows = rows.into_iter().map(|(model, versions, latest, tags)| {
        let tags = tags.iter().map(|(tag, version)| format!("{tag} -> {version}")).collect::<Vec<_>>();
        vec![model, versions.to_string(), or_dash(latest), or_dash(tags.join(", "))]
    });
    Ok(out.table(&["MODEL", "VERSIONS", "LATEST", "TAGS"], rows.collect())?)
}

fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The bytes of a version's files; of one without a manifest those of its model.
fn size(entry: &Entry) -> u64 {
    match &entry.manifest {
        Some(manifest) => manifest.files.iter().map(|file| file.size).sum(),
        None => std::fs::metadata(entry.model_file()).map_or(0, |metadata| metadata.len()),
    }
}

fn tags_of(tags: &BTreeMap<String, String>, entry: &Entry) -> Vec<String> {
    let of = tags.iter().filter(|(_, version)| **version == *entry.version.as_str());
    of.map(|(tag, _)| tag.clone()).collect()
}

fn versions(out: &mut Out, models: &Repository, model: &str) -> Result<(), Failure> {
    let (versions, tags) = (models.versions(model)?, models.tags(model)?);
    let unusable = models.unusable(model)?;
    if versions.is_empty() && unusable.is_empty() {
        return Err(Failure::Refused(format!("there is no version of {model}: `repo ls` lists the models")));
    }
    if out.json {
        let of = |entry: &Entry| json!({"version": entry.version.as_str(), "bytes": size(entry), "tags": tags_of(&tags, entry), "manifest": entry.manifest});
        let without = |one: &Unusable| json!({"version": one.name, "unusable": one.error.to_string()});
        let all: Vec<_> = versions.iter().map(of).chain(unusable.iter().map(without)).collect();
        return Ok(out.value(&all)?);
    }
    let rows = versions.iter().map(|entry| {
        let manifest = entry.manifest.as_ref();
        let figures = manifest.map(|manifest| {
            let each = manifest.metrics.iter().map(|(name, value)| format!("{name} {value}"));
            each.collect::<Vec<_>>().join(", ")
        });
        vec![
            entry.version.to_string(),
            manifest.map_or_else(|| "no manifest".to_owned(), |manifest| manifest.created.to_string()),
            bytes(size(entry)),
            or_dash(tags_of(&tags, entry).join(", ")),
            or_dash(figures.unwrap_or_default()),
        ]
    });
    out.table(&["VERSION", "CREATED", "SIZE", "TAGS", "FIGURES"], rows.collect())?;
    Ok(unusable
        .iter()
        .try_for_each(|one| out.line(&format!("{} cannot be used: {}", one.name, one.error)))?)
}

fn show(out: &mut Out, models: &Repository, entry: &Entry) -> Result<(), Failure> {
    let Some(manifest) = &entry.manifest else {
        if out.json {
            return Ok(out.value(&serde_json::Value::Null)?);
        }
        let file = entry.model_file();
        return Ok(out.line(&format!(
            "{} {}: no manifest; {} has {}",
            entry.model,
            entry.version,
            file.display(),
            bytes(size(entry))
        ))?);
    };
    if out.json {
        return Ok(out.value(manifest)?);
    }
    let tags = tags_of(&models.tags(&entry.model)?, entry);
    let (lineage, contract) = (&manifest.lineage, &manifest.contract);
    let mut said = vec![
        ("version", format!("{} {}", manifest.name, manifest.version)),
        ("created", manifest.created.to_string()),
        ("tags", tags.join(", ")),
        ("parent", lineage.parent.clone().unwrap_or_default()),
        ("code", lineage.code.clone().unwrap_or_default()),
        ("framework", lineage.framework.clone().unwrap_or_default()),
        (
            "pipeline",
            contract
                .pipeline
                .as_ref()
                .map(|need| format!("{} {}", need.name, need.version))
                .unwrap_or_default(),
        ),
        ("labels", contract.labels.join(", ")),
        ("golden samples", manifest.samples.len().to_string()),
    ];
    said.extend(lineage.data.iter().map(|data| ("data", one(data))));
    said.extend(contract.features.iter().map(|feature| ("feature", feature.name.clone())));
    said.extend(manifest.metrics.iter().map(|(name, value)| ("figure", format!("{name} {value}"))));
    said.extend(manifest.notes.iter().map(|(name, text)| ("note", format!("{name}: {text}"))));
    said.extend(manifest.files.iter().map(|file| {
        let digest = file.sha256.get(..12).unwrap_or(&file.sha256);
        ("file", format!("{}  {}  sha256 {digest}..", file.path, bytes(file.size)))
    }));
    let rows = said.into_iter().filter(|(_, text)| !text.is_empty());
    Ok(out.table(&["WHAT", "IS"], rows.map(|(what, text)| vec![what.to_owned(), text]).collect())?)
}

fn one(data: &DataSet) -> String {
    let rows = data.rows.map(|rows| format!("{rows} rows"));
    let span = data.from.zip(data.to).map(|(from, to)| format!("{from} to {to}"));
    let kept = data.attached.then(|| "kept in the repository".to_owned());
    let all = [Some(data.name.clone()), data.location.clone(), rows, span, kept];
    all.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn verify(
    out: &mut Out,
    models: &Repository,
    model: Option<&str>,
    version: Option<&str>,
    further: Further,
) -> Result<(), Failure> {
    if further.load {
        loadable()?;
    }
    let named = match model {
        Some(model) => vec![model.to_owned()],
        None => models.models()?,
    };
    let (mut results, progress) = (Vec::new(), Progress::begin());
    for model in &named {
        let entries = match version {
            Some(version) => vec![models.resolve(model, version)?],
            None => {
                let unusable = models.unusable(model)?.into_iter();
                results.extend(unusable.map(|one| Verified {
                    model: model.clone(),
                    version: one.name,
                    manifest: true,
                    data: None,
                    loaded: None,
                    faults: vec![one.error.to_string()],
                }));
                models.versions(model)?
            }
        };
        results.extend(entries.iter().map(|entry| held(models, entry, further, &progress)));
    }
    drop(progress);
    if results.is_empty() {
        return Err(Failure::Refused("there is no version to verify".to_owned()));
    }
    if out.json {
        out.value(&results)?;
    } else {
        results.iter().flat_map(Verified::lines).try_for_each(|line| out.line(&line))?;
    }
    if results.iter().all(|verified| verified.faults.is_empty()) { Ok(()) } else { Err(Failure::Said) }
}

/// What became of one version.
#[derive(Serialize)]
struct Verified {
    model: String,
    version: String,
    /// Whether there is one to hold it against.
    manifest: bool,
    /// Data sets that were held against their digests, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<usize>,
    /// What the model that was loaded takes and gives, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded: Option<String>,
    faults: Vec<String>,
}

impl Verified {
    fn lines(&self) -> Vec<String> {
        let Self { model, version, manifest, data, loaded, faults } = self;
        let whole = if *manifest { "as it was published" } else { "there is no manifest to hold it against" };
        match &faults[..] {
            [] => {
                let kept = data.map(|sets| match sets {
                    0 => "no data is kept for it".to_owned(),
                    1 => "its data too".to_owned(),
                    sets => format!("its {sets} data sets too"),
                });
                let told: Vec<&str> =
                    [Some(whole), kept.as_deref(), loaded.as_deref()].into_iter().flatten().collect();
                vec![format!("{model} {version}: {}", told.join("; "))]
            }
            faults => faults.iter().map(|fault| format!("{model} {version}: {fault}")).collect(),
        }
    }
}

/// What is looked at beside the files.
#[derive(Clone, Copy)]
struct Further {
    data: bool,
    load: bool,
}

fn held(models: &Repository, entry: &Entry, further: Further, progress: &Progress) -> Verified {
    let (model, version) = (entry.model.clone(), entry.version.to_string());
    let told = |error: RepositoryError| match error {
        RepositoryError::Faulty { faults, .. } => faults.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    };
    progress.on(format!("{model} {version}: reading {}", bytes(size(entry))));
    let mut faults: Vec<String> = models.verify(entry).err().map(told).unwrap_or_default();
    let mut data = None;
    if further.data {
        progress.on(format!("{model} {version}: reading its data"));
        match models.verify_data(entry) {
            Ok(sets) => data = Some(sets),
            Err(error) => faults.extend(told(error)),
        }
    }
    let mut loaded = None;
    // What is not what was published is not run.
    if further.load && faults.is_empty() {
        progress.on(format!("{model} {version}: loading"));
        match load(entry) {
            Ok(signature) => loaded = Some(signature),
            Err(why) => faults.push(why),
        }
    }
    Verified { model, version, manifest: entry.manifest.is_some(), data, loaded, faults }
}

/// Whether a model can be loaded here at all.
#[cfg(feature = "onnx")]
fn loadable() -> Result<(), Failure> {
    use switchback::model::onnx::Runtime;
    Runtime::builder().build().map(drop).map_err(|error| Failure::Refused(error.to_string()))
}

#[cfg(not(feature = "onnx"))]
fn loadable() -> Result<(), Failure> {
    Err(Failure::Refused(
        "this program was built without ONNX Runtime: `cargo install switchback --features cli,onnx` makes one with it"
            .to_owned(),
    ))
}

/// Loads a model, and says what it takes and gives.
#[cfg(feature = "onnx")]
fn load(entry: &Entry) -> Result<String, String> {
    use switchback::model::LoadError;
    use switchback::model::onnx::{OnnxModel, Port};
    let told = |error: LoadError| crate::with_causes(&error);
    let model = OnnxModel::from_file(entry.model_file()).map_err(told)?;
    model.load().map_err(told)?;
    let Some(signature) = model.signature() else { return Ok("it loads".to_owned()) };
    let named = |tensors: &[Port]| tensors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Ok(format!("it loads: {} -> {}", named(&signature.inputs), named(&signature.outputs)))
}

#[cfg(not(feature = "onnx"))]
fn load(_entry: &Entry) -> Result<String, String> {
    Err("this program was built without ONNX Runtime".to_owned())
}

fn repair(out: &mut Out, models: &Repository, model: &str, yes: bool) -> Result<(), Failure> {
    let torn = matches!(models.tags(model), Err(RepositoryError::Tags { .. }));
    if torn && !yes {
        crate::out::ask(&format!(
            "No tag of {model} points anywhere then, until it is given again. Type yes to go on: "
        ))?;
    }
    let aside = models.repair_tags(model)?;
    if out.json {
        return Ok(out.value(&json!({"model": model, "aside": aside}))?);
    }
    let said = match aside {
        None => format!("the tags of {model} can be read: nothing was done"),
        Some(aside) => format!("the tags of {model} as they were: {}", aside.display()),
    };
    Ok(out.line(&said)?)
}

impl Publish {
    fn run(self, out: &mut Out) -> Result<(), Failure> {
        let now = Clock::system().now();
        let hub = self.from_hub.as_deref().map(hub).transpose()?;
        let mut manifest = match (&self.manifest, &self.from_mlflow) {
            (Some(path), _) => {
                let manifest = Manifest::parse(&read(path)?);
                manifest.map_err(|cause| Failure::Refused(format!("{}: {cause}", path.display())))?
            }
            (None, Some(folder)) => MlflowModel::read(folder)?
                .ok_or_else(|| {
                    Failure::Refused(format!(
                        "{} has no file MLmodel: MLflow has logged no model there",
                        folder.display()
                    ))
                })?
                .manifest(&self.model, &self.version, now),
            (None, None) => match &hub {
                Some(hub) => {
                    let first = hub.models.first().map(PathBuf::from);
                    let model = self.file.clone().or(first).unwrap_or_default();
                    hub.manifest(&model.to_string_lossy(), &self.model, &self.version, now)
                }
                None => Manifest::new(&self.model, &self.version, now),
            },
        };
        if (&manifest.name, &manifest.version) != (&self.model, &self.version) {
            // Another version's tags stay with it: whoever follows one of them would go on to what nobody has tried.
            manifest.tags.clear();
            manifest.created = Moment(now);
        }
        manifest.name.clone_from(&self.model);
        manifest.version.clone_from(&self.version);
        manifest.created = self.created.unwrap_or(manifest.created);
        // Listed again, with what is copied.
        manifest.files.clear();
        manifest.tags.extend(self.tags);
        manifest.metrics.extend(self.metrics);
        manifest.notes.extend(self.notes);
        let lineage = &mut manifest.lineage;
        lineage.parent = self.parent.or(lineage.parent.take());
        lineage.code = self.code.or(lineage.code.take());
        lineage.framework = self.framework.or(lineage.framework.take());
        if let Some((name, version)) = self.pipeline {
            manifest.contract = manifest.contract.pipeline(name, version);
        }
        let path = manifest.model.clone();
        let (features, progress) = (manifest.contract.features.clone(), Progress::begin());
        let mut draft = match hub {
            Some(hub) => hub.draft(manifest)?,
            None => match (self.file, self.from_mlflow) {
                (None, Some(folder)) => logged(manifest, &folder)?,
                (file, _) => Draft::new(manifest).file(path, file.unwrap_or_default()),
            },
        };
        for (path, from) in self.files {
            draft = draft.file(path, from);
        }
        for from in self.data {
            let name = from.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.ok_or_else(|| Failure::Refused(format!("{} is no file", from.display())))?;
            let mut data = DataSet::default();
            data.name = name;
            draft = draft.attach(data, from);
        }
        if let Some(path) = &self.profile {
            progress.on(format!("counting {}", path.display()));
            let columns =
                Columns { features: &features, categories: &self.categories, left_out: &self.left_out };
            draft = draft.profile(&crate::profile::of(path, &columns)?);
        }
        let models = Repository::create(&self.folder)?;
        progress.on(format!("publishing {} {}", self.model, self.version));
        let entry = models.publish(draft)?;
        drop(progress);
        if out.json {
            return Ok(out.value(&entry.manifest)?);
        }
        Ok(out.line(&format!("{} {} is published: {}", entry.model, entry.version, bytes(size(&entry))))?)
    }
}

/// The model that MLflow has logged, which lies in its folder as the manifest calls it, with its external data: that is beside it, under a name
/// that ends so.
fn logged(manifest: Manifest, folder: &Path) -> Result<Draft, Failure> {
    let path = manifest.model.clone();
    let below = path.rsplit_once('/').map(|(below, _)| below);
    let beside = below.map_or_else(|| folder.to_owned(), |below| folder.join(below));
    let failed = |error| Failure::Unreadable(beside.display().to_string(), error);
    let mut draft = Draft::new(manifest).file(path.as_str(), folder.join(&path));
    for entry in std::fs::read_dir(&beside).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_data = name.ends_with(".data") || name.ends_with("_data");
        if is_data && entry.path().is_file() {
            let to = below.map_or_else(|| name.clone(), |below| format!("{below}/{name}"));
            draft = draft.file(to, entry.path());
        }
    }
    Ok(draft)
}

fn hub(folder: &Path) -> Result<HubModel, Failure> {
    HubModel::read(folder)?.ok_or_else(|| {
        Failure::Refused(format!("{} has no ONNX model, nor has its folder onnx", folder.display()))
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let failed = |error| Failure::Unreadable(path.display().to_string(), error);
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MANIFEST_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MANIFEST_MAX {
        return Err(Failure::Refused(format!("{} has more than 4 MiB: it is no manifest", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: `repo tag` took versions alone, although it is said of all commands that a version may be named by a tag or as
    /// `latest`. Cause: what was asked for was never resolved. Fix: it is, and what the tag points at is the version's own name.
    #[test]
    fn a_tag_is_pointed_at_what_another_one_or_latest_means() {
        let root = std::env::temp_dir().join(format!("switchback-repo-tag-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let models = Repository::create(&root).unwrap();
        for version in ["1", "2"] {
            let manifest = Manifest::new("late", version, Clock::system().now());
            models.publish(Draft::new(manifest).bytes("model.onnx", *b"a model")).unwrap();
        }
        let tag = |tag: &str, version: &str| {
            let (folder, model) = (root.clone(), "late".to_owned());
            let tag = Command::Tag { folder, model, tag: tag.to_owned(), version: version.to_owned() };
            tag.run(&mut Out::new(false)).is_ok()
        };
        assert!(tag("candidate", "latest") && tag("stable", "1"));
        assert!(tag("stable", "candidate") && !tag("stable", "nobody"));
        let tags = models.tags("late").unwrap();
        assert_eq!((tags["candidate"].as_str(), tags["stable"].as_str()), ("2", "2"));
        std::fs::remove_dir_all(root).unwrap();
    }
}
