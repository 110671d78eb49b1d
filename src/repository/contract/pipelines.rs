//! The pipelines that a host has, by name and version, so that a version read from a disk finds its code again.

use std::fmt;
use std::path::Path;

use semver::{Version, VersionReq};
use thiserror::Error;

use super::contract::Contract;
use super::facts::Facts;
use super::held::compare;
use super::host::{Host, pipeline_mismatch};
use super::mismatch::{IncompatibleError, Mismatch};
use super::tensor_spec::{TensorRole, TensorSpec};
use crate::base::causes::debug_as_told;
use crate::base::ordered::OrderedMap;
use crate::model::error::{LoadError, ModelError};
use crate::model::onnx::{Codec, Feed, OnnxModel, Outputs, Pipeline, version_of};

/// Pairs of `encode` and `decode`, registered once by name and version.
///
/// A version's contract names a pipeline and says which of its versions will do, as Cargo does; of those that are
/// registered the highest is taken. So code that was mended without a change of meaning is registered as a higher version,
/// and models that ask for `2.1` get it.
///
/// ```
/// use switchback::repository::contract::{Contract, Feature, Host, Pipelines};
/// use switchback::model::onnx::{Feed, Outputs};
/// use switchback::Model;
///
/// let mut pipelines = Pipelines::new();
/// pipelines.register(
///     "amount-only",
///     "1.0.0",
///     |amount: &f32, feed: &mut Feed<'_, '_>| Ok(feed.buffer("x", &[1, 3])?[0] = *amount),
///     |outputs: &Outputs<'_>| outputs.scalar::<f32>("y"),
/// )?;
/// let contract = Contract::new().feature(Feature::number("amount")).pipeline("amount-only", "1".parse()?);
/// let host = Host::new().feature(Feature::number("amount"));
///
/// let model = pipelines.open("tests/models/affine.onnx", &contract, &host)?;
/// model.load()?;
/// assert_eq!(model.predict(&2.0)?, 2.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pipelines<I: ?Sized, O> {
    /// Versions of one name, lowest first.
    by_name: OrderedMap<String, Versions<I, O>>,
    default: Option<String>,
}

type Versions<I, O> = Vec<(Version, Registered<I, O>)>;

struct Registered<I: ?Sized, O> {
    codec: Codec<I, O>,
    /// The tensors that the host says that it writes and reads; nothing where it does not say.
    declared: Option<(Vec<TensorSpec>, Vec<TensorSpec>)>,
}

impl<I: ?Sized, O> Clone for Registered<I, O> {
    fn clone(&self) -> Self {
        Self { codec: self.codec.clone(), declared: self.declared.clone() }
    }
}

impl<I: ?Sized, O> Pipelines<I, O> {
    /// None yet.
    pub fn new() -> Self {
        Self { by_name: OrderedMap::new(), default: None }
    }

    /// Registers a pipeline. The functions are those of [`OnnxModel::pipeline`]; they are shared by all versions opened
    /// with them. `version` is `2.1.0`; parts that are left out are 0.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] where the name is empty, the version does not parse, or this version of it was registered before:
    /// two functions under one version could not be told apart afterwards.
    pub fn register<E, D>(
        &mut self,
        name: &str,
        version: &str,
        encode: E,
        decode: D,
    ) -> Result<(), RegisterError>
    where
        E: for<'a> Fn(&'a I, &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync + 'static,
        D: Fn(&Outputs<'_>) -> Result<O, ModelError> + Send + Sync + 'static,
    {
        if name.trim().is_empty() {
            return Err(RegisterError::Unnamed);
        }
        let version = version_of(version).map_err(|source| RegisterError::Version {
            pipeline: name.to_owned(),
            version: version.to_owned(),
            cause: source.to_string(),
        })?;
        let versions = self.by_name.entry(name.to_owned()).or_default();
        // By precedence: two that differ in their build metadata alone are one version to every requirement.
        match versions.binary_search_by(|(known, _)| known.cmp_precedence(&version)) {
            Ok(_) => Err(RegisterError::Repeated { pipeline: name.to_owned(), version }),
            Err(place) => {
                let codec = Codec::new(encode, decode);
                versions.insert(place, (version, Registered { codec, declared: None }));
                Ok(())
            }
        }
    }

    /// Has a pipeline that is registered answer requests that come together in one run of the model. The functions are those of
    /// [`Pipeline::in_rows`]. Asked again for the same, it replaces them for what is opened afterwards.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Unknown`] where no such version of it is registered: that comes first.
    pub fn in_rows<E, D>(
        &mut self,
        name: &str,
        version: &str,
        encode: E,
        decode: D,
    ) -> Result<(), RegisterError>
    where
        E: for<'a> Fn(&[&'a I], &mut Feed<'_, 'a>) -> Result<(), ModelError> + Send + Sync + 'static,
        D: Fn(&Outputs<'_>) -> Result<Vec<O>, ModelError> + Send + Sync + 'static,
    {
        self.known(name, version)?.codec.in_rows(encode, decode);
        Ok(())
    }

    /// Says which tensors a pipeline writes, all of them, and which it reads. A model's file that has others, or others of
    /// that name, does not fit then, and is not loaded; where a list is empty that side is not compared.
    ///
    /// Where it is not said, it is learnt: the names and types of the inputs that a pipeline wrote to the first model that
    /// took them are those that any other model must have. A pipeline that finds out by itself what a model takes says so with
    /// two empty lists.
    ///
    /// # Errors
    ///
    /// [`RegisterError`] where no such version of it is registered: that comes first.
    pub fn tensors(
        &mut self,
        name: &str,
        version: &str,
        writes: impl IntoIterator<Item = TensorSpec>,
        reads: impl IntoIterator<Item = TensorSpec>,
    ) -> Result<(), RegisterError> {
        self.known(name, version)?.declared =
            Some((writes.into_iter().collect(), reads.into_iter().collect()));
        Ok(())
    }

    /// What is registered under this name and version.
    fn known(&mut self, name: &str, version: &str) -> Result<&mut Registered<I, O>, RegisterError> {
        let unknown = || RegisterError::Unknown { pipeline: format!("{name}@{version}") };
        let parsed = version_of(version).map_err(|_| unknown())?;
        let versions = self.by_name.get_mut(name).ok_or_else(unknown)?;
        versions
            .iter_mut()
            .find(|(known, _)| *known == parsed)
            .map(|(_, registered)| registered)
            .ok_or_else(unknown)
    }

    /// Makes the highest version of this pipeline the one for models whose contract names none, such as those that came
    /// without a manifest. There is no default unless one is named: a model in the wrong pipeline may well answer.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Unknown`] where none of this name is registered: that comes first.
    pub fn default_is(&mut self, name: &str) -> Result<(), RegisterError> {
        if !self.by_name.contains_key(name) {
            return Err(RegisterError::Unknown { pipeline: name.to_owned() });
        }
        self.default = Some(name.to_owned());
        Ok(())
    }

    /// Names and versions of all, by name, lowest version first.
    pub fn registered(&self) -> impl Iterator<Item = (&str, &Version)> {
        self.by_name
            .iter()
            .flat_map(|(name, versions)| versions.iter().map(move |(version, _)| (name.as_str(), version)))
    }

    /// Opens a model's file for a host, with the pipeline that its contract asks for. Reads the file and those that it
    /// refers to, as [`OnnxModel::from_file`] does; nothing is loaded but ONNX Runtime itself.
    ///
    /// # Errors
    ///
    /// [`OpenError::Load`] where the file cannot be opened; [`OpenError::Incompatible`] with every mismatch where version
    /// and host do not fit.
    pub fn open(
        &self,
        file: impl AsRef<Path>,
        contract: &Contract,
        host: &Host,
    ) -> Result<Pipeline<I, O>, OpenError> {
        self.fit(OnnxModel::from_file(file)?, contract, host)
    }

    /// [`open`](Self::open) for a model that was opened before, with its options.
    ///
    /// # Errors
    ///
    /// [`OpenError::Incompatible`] with every mismatch where version and host do not fit.
    pub fn fit(
        &self,
        model: OnnxModel,
        contract: &Contract,
        host: &Host,
    ) -> Result<Pipeline<I, O>, OpenError> {
        let facts = Facts::of(&model);
        match (self.chosen(contract), self.mismatches(contract, host, &facts)) {
            (Ok((name, version, registered)), mismatches) if mismatches.is_empty() => {
                Ok(Pipeline::of(model, name, version, registered.codec.clone()))
            }
            (_, mismatches) => {
                let mismatches = IncompatibleError::of(mismatches);
                Err(OpenError::Incompatible { file: model.name().to_owned(), mismatches })
            }
        }
    }

    /// Everything in which a version and a host with these pipelines do not fit; nothing where they do. [`Facts::of`]
    /// tells of a model's file.
    pub fn mismatches(&self, contract: &Contract, host: &Host, facts: &Facts) -> Vec<Mismatch> {
        let mut found = host.mismatches_but_of_pipeline(contract, facts);
        match self.chosen(contract) {
            Ok((name, version, registered)) => {
                found.extend(registered.mismatches(&format!("pipeline `{name}` {version}"), facts));
            }
            Err(mismatch) => found.push(mismatch),
        }
        found
    }

    /// The pipeline for a contract: the highest version that it allows, or the default.
    fn chosen(&self, contract: &Contract) -> Result<(&str, &Version, &Registered<I, O>), Mismatch> {
        let highest = |name: &str, allowed: Option<&VersionReq>| {
            let (name, versions) = self.by_name.iter().find(|(known, _)| *known == name)?;
            let fits = |version: &Version| allowed.is_none_or(|allowed| allowed.matches(version));
            let (version, registered) = versions.iter().rev().find(|(version, _)| fits(version))?;
            Some((name.as_str(), version, registered))
        };
        match (&contract.pipeline, &self.default) {
            (Some(need), _) => highest(&need.name, Some(&need.version)).ok_or_else(|| {
                let registered: Vec<(&str, &Version)> = self.registered().collect();
                pipeline_mismatch(need, &registered)
            }),
            (None, default) => {
                default.as_deref().and_then(|default| highest(default, None)).ok_or_else(|| {
                    Mismatch::PipelineUnnamed { registered: self.by_name.keys().cloned().collect() }
                })
            }
        }
    }
}

impl<I: ?Sized, O> Registered<I, O> {
    /// Returns the mismatches of what it writes and reads with a model's file.
    fn mismatches(&self, by: &str, facts: &Facts) -> Vec<Mismatch> {
        let (writes, reads) = match &self.declared {
            Some(declared) => declared.clone(),
            None => {
                let spec = |(name, element): (&str, &str)| TensorSpec::new(name, element);
                (self.codec.has_written().map(spec).collect(), Vec::new())
            }
        };
        let sides = [(TensorRole::Input, writes, &facts.inputs), (TensorRole::Output, reads, &facts.outputs)];
        let compared = sides.into_iter().flat_map(|(role, needed, has)| {
            let has = has.iter();
            has.flat_map(|has| compare(by, role, &needed, has)).collect::<Vec<_>>()
        });
        compared.collect()
    }
}

impl<I: ?Sized, O> Default for Pipelines<I, O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<I: ?Sized, O> Clone for Pipelines<I, O> {
    fn clone(&self) -> Self {
        Self { by_name: self.by_name.clone(), default: self.default.clone() }
    }
}

/// Names and versions.
impl<I: ?Sized, O> fmt::Debug for Pipelines<I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registered = self.registered().map(|(name, version)| format!("{name}@{version}"));
        f.debug_struct("Pipelines")
            .field("registered", &registered.collect::<Vec<_>>())
            .field("default", &self.default)
            .finish()
    }
}

/// Why a pipeline was not registered. Nothing has changed.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// It has no name.
    #[error("a pipeline has no name: give it one")]
    Unnamed,
    /// Its version does not parse.
    #[error(
        "the version `{version}` of pipeline `{pipeline}` does not parse ({cause}): write it like `2.1.0`"
    )]
    Version {
        /// The pipeline.
        pipeline: String,
        /// The text that was given as its version.
        version: String,
        /// The fault in it.
        cause: String,
    },
    /// It was registered before.
    #[error("pipeline `{pipeline}` {version} is registered already: give changed code a higher version")]
    Repeated {
        /// The pipeline.
        pipeline: String,
        /// Its version.
        version: Version,
    },
    /// None of that name is registered.
    #[error("pipeline `{pipeline}` is not registered: register it first")]
    Unknown {
        /// The name.
        pipeline: String,
    },
}

debug_as_told!(RegisterError);

/// Why a version could not be opened for a host. Nothing was loaded, and nothing has changed.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its file cannot be opened.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It does not fit the host.
    #[error("{file}: {mismatches}")]
    Incompatible {
        /// The model's file.
        file: String,
        /// Every mismatch.
        mismatches: IncompatibleError,
    },
}

debug_as_told!(OpenError);
