//! A model of a repository as one service runs it.

use thiserror::Error;

use super::contract::{Checked, GoldenSample, Host, OpenError, Pipelines, Preflight, PreflightReport};
use super::error::{RepositoryError, VersionFileError};
use super::name;
use super::source::error::PullError;
use super::source::pull::Pull;
use super::source::source::Source;
use super::store::{Entry, Repository};
use super::verify::Look;
use crate::base::causes::{debug_as_told, in_full};
use crate::base::text::{bounded_text, digest, hex};
use crate::model::error::LoadError;
use crate::model::onnx::{OnnxModel, PreparedCache};
use crate::version::id::VersionId;

/// A model's versions with what this service supplies, expects and has code for: what opens a version by its name.
///
/// In an `Arc` it is what [`Builder::source`](crate::Builder::source) takes, so that a start finds every version again with
/// the pipeline that it had, and what [`ModelHandle::follow`](crate::ModelHandle::follow) takes, which tries what is published.
///
/// ```
/// use switchback::repository::contract::{Feature, Host, Pipelines};
/// use switchback::model::onnx::{Feed, Outputs};
/// use switchback::repository::Repository;
/// use switchback::{model::ModelError, ModelHandle};
///
/// struct Flight { delay: f32, distance: f32 }
///
/// fn encode(flight: &Flight, feed: &mut Feed<'_, '_>) -> Result<(), ModelError> {
///     feed.buffer("features", &[1, 2])?.copy_from_slice(&[flight.delay, flight.distance]);
///     Ok(())
/// }
///
/// fn decode(outputs: &Outputs<'_>) -> Result<f32, ModelError> {
///     Ok(outputs.tensor::<f32>("probabilities")?.1.get(1).copied().unwrap_or(f32::NAN))
/// }
///
/// let host = Host::new()
///     .feature(Feature::number("dep_delay").unit("min").range(-60.0..=1440.0))
///     .feature(Feature::number("distance").unit("mi").range(50.0..=5000.0));
/// let mut pipelines = Pipelines::new();
/// pipelines.register("at-departure", "1.0.0", encode, decode)?;
///
/// let late = Repository::open("tests/repository")?.serve("late", host, pipelines);
/// let (version, model) = late.open("stable")?;
/// let handle = ModelHandle::builder("late").live(version.as_str(), model).build()?;
/// assert!(*handle.predict(&Flight { delay: 90.0, distance: 500.0 })?.output() > 0.9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Served<I: ?Sized, O> {
    repository: Repository,
    model: String,
    host: Host,
    pipelines: Pipelines<I, O>,
    preflight: Box<PreflightOf<I>>,
    prepared: Option<PreparedCache>,
    source: Option<Box<dyn Source + Send + Sync>>,
}

type PreflightOf<I> = dyn Fn(&[GoldenSample]) -> Preflight<I> + Send + Sync;

impl Repository {
    /// A model as this service runs it: `host` is what its requests carry, `pipelines` the code that it has, by name and version.
    pub fn serve<I: ?Sized, O>(
        &self,
        model: impl Into<String>,
        host: Host,
        pipelines: Pipelines<I, O>,
    ) -> Served<I, O> {
        // Loads the model, and asks nothing.
        let preflight = Box::new(|_: &[GoldenSample]| Preflight::new());
        let (repository, model) = (self.clone(), model.into());
        Served { repository, model, host, pipelines, preflight, prepared: None, source: None }
    }
}

impl<I: ?Sized, O> Served<I, O> {
    /// Sets what is checked of every version before it gets any traffic, also when a start loads it again. It is given
    /// the version's golden samples. By default the version is loaded and nothing more, since only the host can read
    /// its own requests:
    ///
    /// ```
    /// # use switchback::repository::contract::{Host, Pipelines};
    /// # use switchback::repository::{Repository, Served};
    /// use std::time::Duration;
    /// use switchback::repository::contract::Preflight;
    ///
    /// # let served: Served<f32, f32> = Repository::open("tests/repository")?.serve("late", Host::new(), Pipelines::new());
    /// let served = served.preflight(|samples| {
    ///     Preflight::new()
    ///         .samples_with(samples, |request| {
    ///             request["dep_delay"].as_f64().map(|delay| delay as f32).ok_or("no delay".into())
    ///         })
    ///         .latency_at_most(Duration::from_millis(5))
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn preflight(
        self,
        preflight: impl Fn(&[GoldenSample]) -> Preflight<I> + Send + Sync + 'static,
    ) -> Self {
        Self { preflight: Box::new(preflight), ..self }
    }

    /// Keeps the prepared form of every version in this cache: see [`OnnxModel::prepared`]. It is made when a version is
    /// [verified](Self::verify), as a build does after it has published one, or else when one is loaded first.
    #[must_use]
    pub fn prepared(self, cache: &PreparedCache) -> Self {
        Self { prepared: Some(cache.clone()), ..self }
    }

    /// Brings a version that is not in the repository here from `source` when it is [opened](Self::open), as [`Repository::pull`]
    /// does: whole, and held against its manifest and, where keys are trusted, its signature. So every process of a
    /// service finds whatever any of them stages, in a fleet too, and the repository here is a cache: a start needs the source only
    /// for what it has not yet had. What is here is never asked for again, nor does a tag that is known here follow the
    /// source's.
    ///
    /// Opening blocks as long as the source does then; a handle opens versions on a thread of low priority, and waits no longer
    /// than [`Limits::staging_deadline`](crate::options::Limits::staging_deadline). Nothing that was brought is
    /// removed by itself: [`Repository::remove`] does.
    ///
    /// ```
    /// # use switchback::repository::contract::{Host, Pipelines};
    /// use switchback::repository::{FolderSource, Repository, Served};
    ///
    /// # let cache = std::env::temp_dir().join(format!("switchback-doc-pulling-{}", std::process::id()));
    /// let elsewhere = FolderSource::open("tests/repository")?; // or `BucketSource::open("s3://models")?`
    /// let late: Served<f32, f32> = Repository::create(&cache)?
    ///     .serve("late", Host::new(), Pipelines::new())
    ///     .pulling_from(elsewhere);
    /// // It is brought, and does not fit: this service has no pipeline for it.
    /// assert!(late.open("stable").unwrap_err().to_string().contains("at-departure"));
    /// assert_eq!(late.repository().versions("late")?.len(), 1);
    /// # std::fs::remove_dir_all(cache)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pulling_from(self, source: impl Source + Send + Sync + 'static) -> Self {
        Self { source: Some(Box::new(source)), ..self }
    }

    /// The version of that name, brought here first where it is not.
    fn entry(&self, asked: &str) -> Result<Entry, ServeError> {
        match (self.repository.resolve(&self.model, asked), &self.source) {
            (Err(RepositoryError::Unknown { .. }), Some(source)) => {
                let pulled = self.repository.pull(Pull::new(&**source, &*self.model, asked));
                let failed = |cause| ServeError::Pull { asked: bounded_text(asked), cause };
                Ok(pulled.map_err(failed)?.entry)
            }
            (found, _) => Ok(found?),
        }
    }

    /// Opens a version by its name, a tag, or `latest`: held against its manifest, byte for byte, and against what this
    /// service supplies and expects. Reads its files once; they are loaded when a handle stages it, and are the same bytes
    /// then or are refused.
    ///
    /// # Errors
    ///
    /// See [`ServeError`]: everything that is wrong, at once.
    pub fn open(&self, asked: &str) -> Result<(VersionId, Checked<I, O>), ServeError> {
        let entry = self.entry(asked)?;
        let model = self.repository.onnx(&entry)?;
        let model = match &self.prepared {
            Some(cache) => model.prepared(cache),
            None => model,
        };
        let (contract, samples) =
            entry.manifest.map_or_else(Default::default, |manifest| (manifest.contract, manifest.samples));
        let pipeline = self.pipelines.fit(model, &contract, &self.host)?;
        Ok((entry.version, pipeline.checked((self.preflight)(&samples))))
    }

    /// Does all that staging would do to a version, without a handle: opens it, loads it, and runs its preflight. For a
    /// build that publishes versions, and for a person who wants to know.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn verify(&self, asked: &str) -> Result<PreflightReport, ServeError> {
        let entry = self.entry(asked)?;
        self.repository.verify(&entry)?;
        let (_, model) = self.open(entry.version.as_str())?;
        model.load()?;
        Ok(model.report().cloned().unwrap_or_default())
    }

    /// Which versions could be gone to right now, oldest first, and why others could not. Each is opened, loaded, held to its
    /// [preflight](Self::preflight) with its golden samples, and let go of again, one after the other: not for a thread of
    /// requests. What was asked of one that fits, its [report](Fit::report) says: without a preflight that reads golden
    /// samples, none were.
    ///
    /// # Errors
    ///
    /// The model's folder cannot be listed.
    pub fn compatible(&self) -> Result<Vec<Fit>, RepositoryError> {
        let versions = self.repository.versions(&self.model)?;
        Ok(versions
            .iter()
            .map(|entry| {
                let tried = self.open(entry.version.as_str()).and_then(|(_, model)| {
                    model.load()?;
                    Ok(model.report().cloned().unwrap_or_default())
                });
                let (result, report) = match tried {
                    Ok(report) => (Ok(()), Some(report)),
                    Err(error) => (Err(error), None),
                };
                Fit { version: entry.version, result, report }
            })
            .collect())
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }
}

impl Repository {
    /// Opens a version's model, and holds what was read against the manifest. Not what lies there a moment before: a file
    /// that is swapped between a check and the load would pass that.
    fn onnx(&self, entry: &Entry) -> Result<OnnxModel, ServeError> {
        self.check(entry, Look::Sizes)?;
        let file = entry.model_file();
        let model = OnnxModel::from_file(&file)?;
        let Some(manifest) = &entry.manifest else { return Ok(model) };
        let mut faults = Vec::new();
        for (data, found) in model.digests() {
            let path =
                if data.is_empty() { manifest.model.clone() } else { name::beside(&manifest.model, data) };
            match manifest.file(&path) {
                None => faults.push(VersionFileError::Unlisted { file: path }),
                Some(listed) if digest(&listed.sha256) != Some(*found) => {
                    faults.push(VersionFileError::Digest {
                        file: path,
                        expected: listed.sha256.clone(),
                        found: hex(found),
                    });
                }
                Some(_) => {}
            }
        }
        if faults.is_empty() {
            return Ok(model);
        }
        let (model, version) = (entry.model.clone(), entry.version.to_string());
        Err(RepositoryError::Faulty { model, version, faults }.into())
    }
}

#[cfg(feature = "state")]
impl<I: ?Sized + 'static, O: 'static> crate::version::source::ModelSource<I, O> for Served<I, O> {
    fn open(
        &self,
        version: &str,
    ) -> Result<Box<dyn crate::Model<I, O>>, Box<dyn std::error::Error + Send + Sync>> {
        let (_, model) = Served::open(self, version)?;
        Ok(Box::new(model))
    }
}

impl<I: ?Sized, O> std::fmt::Debug for Served<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served")
            .field("model", &self.model)
            .field("pipelines", &self.pipelines)
            .finish_non_exhaustive()
    }
}

/// A version, and whether this service could run it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fit {
    /// The version.
    pub version: VersionId,
    /// Why this service could not run it, where it could not.
    pub result: Result<(), ServeError>,
    /// The report of what was asked of it and measured, where it could be.
    pub report: Option<PreflightReport>,
}

/// Why a version cannot be opened here, or was not fit to be used.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It is not there, or not what was published.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Its file is no model that can be loaded, it does not fit this service, or its preflight fails: every mismatch and failure.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is not here, and could not be [brought](Served::pulling_from).
    #[error("`{}` is not in the repository here, and could not be pulled: {}", .asked.escape_debug(), in_full(cause))]
    Pull {
        /// What was asked for, cut short.
        asked: String,
        /// Why not.
        cause: PullError,
    },
}

debug_as_told!(ServeError);

impl From<LoadError> for ServeError {
    fn from(error: LoadError) -> Self {
        Self::Open(error.into())
    }
}
