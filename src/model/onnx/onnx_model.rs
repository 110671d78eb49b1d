//! An ONNX model as a whole: file, options, and its sessions once it is loaded.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ort::ep::ExecutionProviderDispatch;
use ort::session::builder::SessionBuilder;
use parking_lot::Mutex;

use super::file::files::Files;
use super::file::signature::Signature;
use super::options::{Optimization, Options};
use super::prepared::cache::PreparedCache;
use super::session::deadline::Deadline;
use super::session::load::declared;
use super::session::seats::Loaded;
use super::session::session::{Call, Session};
use super::session::trace::Trace;
use super::tensor::feed::Feed;
use super::tensor::outputs::Outputs;
use super::tensor::tensors::{Label, Tensors};
use crate::model::description::Description;
use crate::model::error::{LoadError, ModelError};
use crate::model::identity::Identity;
use crate::model::lifecycle::Lifecycle;
use crate::model::model::Model;
use crate::model::opset::Opset;
use crate::model::throttle::LoadThrottle;
use crate::model::{Doubt, Memory, TargetTier, Tier};

/// An ONNX model, with the options it is loaded with.
///
/// Opening one reads its files once, to hash them and to see whether they may be loaded; sessions are made by
/// [`load`](Lifecycle::load), which a handle calls when it stages the version. From then on any number of threads may ask
/// it, as many at a time as it has sessions.
///
/// On its own it is a [`Model<Tensors, Tensors>`](Model). A service gives it a [`pipeline`](Self::pipeline) for its own
/// types of request and answer.
///
/// ```
/// use switchback::model::onnx::{OnnxModel, Tensors};
/// use switchback::model::onnx::ndarray::array;
/// use switchback::Model;
///
/// let model = OnnxModel::from_file("tests/models/affine.onnx")?.pool_size(1);
/// model.load()?;
/// let input = Tensors::new().with("x", array![[1.0_f32, 2.0, 3.0]])?;
/// let output = model.predict(&input)?;
/// assert_eq!(output.get::<f32>("y").unwrap(), &array![[14.5_f32]].into_dyn());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Files
///
/// A version's files must stay as they are: a new version gets files of its own, put in place by a rename. What is loaded is
/// what was hashed when the model was opened, or an error. A model in one file is loaded from the memory that was hashed, so
/// an exchange in between finds nothing. External data, which is hashed too, is loaded from where it lies, between two looks
/// at it: a change in between shows by the time of the last change, which the system keeps and nobody can set; on a file
/// system over a network it shows as far as that tells. After that ONNX Runtime may have external data mapped, where nothing
/// can notice that it is written to: a [`PreparedCache`] has a form that is this user's alone.
///
/// External data stays in the folder that the model is named in or, where that name is a link as in the caches of model hubs,
/// in the folder of the file that it leads to.
pub struct OnnxModel {
    files: Files,
    options: Options,
    /// Where its prepared form is kept; nothing where it has none.
    cache: Option<PreparedCache>,
    /// The inputs and outputs that the file declares.
    declared: Option<Signature>,
    loading: Mutex<()>,
    loaded: OnceLock<Loaded>,
}

impl OnnxModel {
    /// Opens the model in the file at `path`. Reads it whole, and the files it refers to: linear in their size (about a
    /// second per gigabyte), and the file itself is in memory meanwhile.
    ///
    /// # Errors
    ///
    /// - [`LoadError::Read`] where the file is missing or cannot be read;
    /// - [`LoadError::NotAFile`] where there is a pipe, a device or a folder instead, which is not waited for;
    /// - [`LoadError::NotOnnx`] where it is empty, cut short, or something else, or has a million labels and more;
    /// - [`LoadError::Refused`] where an input has a type that cannot be carried (complex elements, optional values, sequences of
    ///   sequences, maps but those from `i64` or text to `f32`), where all outputs have, or one is a sparse tensor; where external data is missing, cannot be read or leads out of the model's
    ///   folder, directly or through a link, or where a file has more than 2 GiB or its external data more than 256.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Files::read(path.as_ref()).map(Self::of)
    }

    /// Takes a model from memory. `name` stands for the file in errors. The bytes are kept, since sessions can be
    /// replaced later, and every session has a copy of its own.
    ///
    /// # Errors
    ///
    /// Those of [`from_file`](Self::from_file), except for reading; [`LoadError::Refused`] where the model refers to
    /// files, since there is no folder to look in.
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Arc<[u8]>>) -> Result<Self, LoadError> {
        Files::of_bytes(name.into(), bytes.into()).map(Self::of)
    }

    fn of(files: Files) -> Self {
        let (options, loading, loaded) = (Options::default(), Mutex::new(()), OnceLock::new());
        let declared = declared(&files.scan);
        Self { files, options, cache: None, declared, loading, loaded }
    }

    /// Gives every session a thread pool of its own, of `threads` threads, the calling one included. The default is one
    /// pool for all sessions of the process (see [`Runtime`](super::Runtime)), so that versions that come and go leave
    /// the number of threads as it is. 1 makes runs of a session take no other thread's time.
    #[must_use]
    pub fn intra_threads(self, threads: usize) -> Self {
        self.with(|options| options.intra_threads = Some(threads))
    }

    /// How far the model is rewritten before it runs; [`Optimization::All`] by default, as it runs fastest. Part of the
    /// identity.
    #[must_use]
    pub fn optimization(self, level: Optimization) -> Self {
        self.with(|options| options.optimization = level)
    }

    /// Sets the providers that run the model, best first, the processor last of all. None by default: the processor.
    /// One that cannot be set up is an error of `load`, where ONNX Runtime would fall back to the next and say nothing.
    /// Their names are part of the identity, their settings are not: name those with
    /// [`session_options`](Self::session_options). `ep::CPU` need not be named, and turns the memory arena off unless
    /// it is told otherwise.
    #[must_use]
    pub fn execution_providers(self, providers: impl IntoIterator<Item = ExecutionProviderDispatch>) -> Self {
        let providers = providers.into_iter().map(ExecutionProviderDispatch::error_on_failure).collect();
        self.with(|options| options.execution_providers = providers)
    }

    /// How many sessions are made, which is how many requests are answered at a time. The default is the number of
    /// cores: more only share them. A session has its own copy of the weights.
    #[must_use]
    pub fn pool_size(self, sessions: usize) -> Self {
        self.with(|options| options.pool_size = sessions)
    }

    /// How long a request waits for a session, before it fails with [`ModelError::Overloaded`]. One second by default:
    /// longer than a burst takes to pass, shorter than callers' patience. Zero: not at all.
    #[must_use]
    pub fn max_wait(self, max_wait: Duration) -> Self {
        self.with(|options| options.max_wait = max_wait)
    }

    /// Runs the model for these outputs alone, by name. By default it is run for all that can be carried: one that cannot be,
    /// such as an optional one, is skipped, stands in the [`signature`](Self::signature) as
    /// [`NotCarried`](super::Kind::NotCarried), and reading it is an error that says so. Part of the identity. ONNX Runtime leaves
    /// out what only other outputs need.
    ///
    /// [`load`](Self::load) reports a name that the model does not have, as [`LoadError::Option`].
    ///
    /// ```
    /// use switchback::model::onnx::{OnnxModel, Tensors};
    /// use switchback::model::onnx::ndarray::array;
    /// use switchback::Model;
    ///
    /// let model = OnnxModel::from_file("tests/models/symbols.onnx")?.outputs(["sum"]);
    /// model.load()?;
    /// let one = || array![1.0_f32];
    /// let input = Tensors::new().with("a", one())?.with("b", one())?.with("wide", array![[[[0.0_f32], [0.0]]]])?;
    /// assert_eq!(format!("{:?}", model.predict(&input)?), "{sum: f32[1]}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn outputs<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        self.with(|options| options.outputs = Some(names))
    }

    /// Loads the model from its prepared form in this cache, and makes that where there is none: sessions share their weights,
    /// and a retained version steps down to next to nothing and comes back within milliseconds. See [`PreparedCache`]. By default
    /// there is none, since it takes twice the model's size on disk.
    ///
    /// Answers can differ from those of the plain form by rounding. A model that cannot take this form (one that is small, has
    /// loops or branches, operators, execution providers or session options of its own) is loaded plainly, and its
    /// [`description`](Lifecycle::description) says why.
    #[must_use]
    pub fn prepared(mut self, cache: &PreparedCache) -> Self {
        self.cache = Some(cache.clone());
        self.with(|_| {})
    }

    /// Anything else that ort's session builder can do. `name` stands for it in the identity, so choose another when
    /// answers change with it. It is applied last, once per session. A key that ONNX Runtime does not know is accepted
    /// in silence.
    ///
    /// ```
    /// use switchback::model::onnx::OnnxModel;
    ///
    /// let model = OnnxModel::from_file("tests/models/affine.onnx")?
    ///     .session_options("lean", |builder| Ok(builder.with_memory_pattern(false)?.with_prepacking(false)?));
    /// # Ok::<(), switchback::model::LoadError>(())
    /// ```
    #[must_use]
    pub fn session_options(
        self,
        name: impl Into<String>,
        configure: impl Fn(SessionBuilder) -> ort::Result<SessionBuilder> + Send + Sync + 'static,
    ) -> Self {
        let configure = Some((name.into(), Arc::new(configure) as _));
        self.with(|options| options.configure = configure)
    }

    /// SHA-256 of each file that was read when the model was opened: its own, under an empty name, then those that it refers
    /// to, by the names it gives them. These bytes are what [`load`](Self::load) loads, or it refuses.
    pub fn digests(&self) -> impl Iterator<Item = (&str, &[u8; 32])> {
        self.files.parts.iter().map(|(name, digest)| (name.as_str(), digest))
    }

    /// Returns what the model takes and gives: as the file declares it and, once the model is loaded, as ONNX Runtime
    /// understands it, which may know more of its outputs. Nothing for a model that is not loaded and whose file leaves
    /// a type to be inferred.
    ///
    /// ```
    /// use switchback::model::onnx::OnnxModel;
    ///
    /// let model = OnnxModel::from_file("tests/models/affine.onnx")?;
    /// let signature = model.signature().expect("it declares its types");
    /// assert_eq!(signature.inputs[0].to_string(), "x: f32[n, 3]");
    /// assert_eq!(signature.outputs[0].to_string(), "y: f32[n, 1]");
    /// # Ok::<(), switchback::model::LoadError>(())
    /// ```
    pub fn signature(&self) -> Option<&Signature> {
        self.loaded.get().map(|loaded| &loaded.signature).or(self.declared.as_ref())
    }

    /// Whether it is loaded.
    #[cfg(feature = "repository")]
    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.get().is_some()
    }

    /// The labels of a classifier that the file itself names, in the order of its scores; known before it is loaded.
    pub fn labels(&self) -> &[Label] {
        &self.files.scan.labels
    }

    /// The operator sets that the file needs; known before it is loaded.
    pub fn opsets(&self) -> &[Opset] {
        &self.files.scan.opsets
    }

    /// Returns the name that errors give it: the path as it was given, or the name given to bytes.
    pub fn name(&self) -> &str {
        &self.files.name
    }

    /// SHA-256 of the file, or over those of all files where there are several.
    pub fn digest(&self) -> &[u8; 32] {
        &self.files.digest
    }

    /// Replaces sessions that were lost to a panic inside ONNX Runtime, on this thread, and gives how many. A handle's
    /// background work does this. Until then there are fewer sessions.
    ///
    /// # Errors
    ///
    /// Those of [`load`](Self::load).
    pub fn replenish(&self) -> Result<usize, LoadError> {
        let _one_at_a_time = self.loading.lock();
        self.loaded
            .get()
            .map_or(Ok(0), |loaded| loaded.replenish(&self.files, &self.options, self.cache.as_ref()))
    }

    /// Runs the model once.
    pub(crate) fn ask<'i, R>(
        &self,
        deadline: Option<Deadline>,
        encode: impl FnOnce(&mut Feed<'_, 'i>) -> Result<(), ModelError>,
        decode: impl FnOnce(&Outputs<'_>) -> Result<R, ModelError>,
    ) -> Result<R, ModelError> {
        self.with_session(deadline, |session, call| session.answer(call, encode, decode))
    }

    /// Runs the model once, and keeps what went in and what came out.
    pub(crate) fn trace<'i, R>(
        &self,
        encode: impl FnOnce(&mut Feed<'_, 'i>) -> Result<(), ModelError>,
        decode: impl FnOnce(&Outputs<'_>) -> Result<R, ModelError>,
    ) -> Result<Trace<R>, ModelError> {
        self.with_session(None, |session, call| session.trace(call, encode, decode))
    }

    #[inline]
    fn with_session<R>(
        &self,
        deadline: Option<Deadline>,
        run: impl FnOnce(&mut Session, &Call<'_>) -> Result<R, ModelError>,
    ) -> Result<R, ModelError> {
        let Loaded { interface, pool, watches, .. } = self.loaded.get().ok_or(ModelError::NotLoaded)?;
        let max_wait = self.options.max_wait;
        let patience = deadline.map_or(max_wait, |deadline| max_wait.min(deadline.left()));
        let Some(mut lease) = pool.lease(patience) else {
            return Err(match deadline {
                Some(Deadline { limit, .. }) if patience < max_wait => ModelError::Deadline { limit },
                _ => ModelError::Overloaded { waited: max_wait },
            });
        };
        let call = Call { interface, watches, slot: lease.slot, deadline };
        match &mut lease.worker.session {
            Some(session) => run(session, &call),
            // A seat without a session is not leased.
            None => Err(ModelError::NotLoaded),
        }
    }

    #[cfg(test)]
    pub(crate) fn leases(
        &self,
    ) -> impl Iterator<Item = super::session::pool::Lease<'_, super::session::seats::Seat>> {
        self.loaded.get().into_iter().flat_map(|loaded| loaded.pool.each())
    }

    /// The parts that its identity is made of.
    pub(crate) fn identity_with(&self, pipeline: &[(&str, &[u8])]) -> Identity {
        let options = self.options.identity();
        let options = options.iter().map(|(name, value)| (*name, value.as_bytes()));
        Identity::of(
            [("files", &self.files.digest[..])].into_iter().chain(options).chain(pipeline.iter().copied()),
        )
    }

    /// Loads the model for use on its own; a handle loads what it is given. Called again, it does nothing.
    ///
    /// # Errors
    ///
    /// See [`LoadError`]; the model may be asked to load again.
    pub fn load(&self) -> Result<(), LoadError> {
        Lifecycle::load(self, &LoadThrottle::new())
    }

    /// Options come before loading; a model that was loaded before is not any more.
    fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self.loaded = OnceLock::new();
        self
    }
}

impl Model<Tensors, Tensors> for OnnxModel {
    /// Inputs are checked and passed without a copy; outputs are copied out.
    fn predict(&self, input: &Tensors) -> Result<Tensors, ModelError> {
        self.ask(None, |feed| feed.tensors(input), |outputs| outputs.to_tensors())
    }

    fn predict_within(&self, input: &Tensors, limit: Duration) -> Result<Tensors, ModelError> {
        self.ask(Some(Deadline::after(limit)), |feed| feed.tensors(input), |outputs| outputs.to_tensors())
    }

    fn identity(&self) -> Identity {
        self.identity_with(&[])
    }

    fn lifecycle(&self) -> Option<&dyn Lifecycle> {
        Some(self)
    }
}

impl Lifecycle for OnnxModel {
    fn load(&self, throttle: &LoadThrottle) -> Result<(), LoadError> {
        let _one_at_a_time = self.loading.lock();
        if self.loaded.get().is_none() {
            // Nobody else sets it while the lock is held.
            let _ = self.loaded.set(Loaded::of(&self.files, &self.options, self.cache.as_ref(), throttle)?);
        }
        Ok(())
    }

    /// Runs every session once on zeros and empty texts, dimensions without a size being 1. `false` where that would
    /// take more than 2^26 elements.
    fn warm_up(&self) -> Result<bool, ModelError> {
        self.loaded.get().ok_or(ModelError::NotLoaded)?.warm_up()
    }

    fn tier(&self) -> Tier {
        self.loaded.get().map_or(Tier::Cold, Loaded::tier)
    }

    fn wake(&self) -> Result<(), LoadError> {
        match self.loaded.get() {
            Some(loaded) => loaded.wake(&self.files, &self.options),
            None => self.load(),
        }
    }

    fn settle(&self, target: &TargetTier) -> Result<Tier, LoadError> {
        let _one_at_a_time = self.loading.lock();
        self.loaded.get().map_or(Ok(Tier::Cold), |loaded| loaded.settle(&self.files, &self.options, target))
    }

    fn memory(&self) -> Option<Memory> {
        self.loaded.get().map(Loaded::memory)
    }

    fn stop_overdue(&self) {
        if let Some(loaded) = self.loaded.get() {
            loaded.watches.stop_overdue();
        }
    }

    fn maintain(&self) -> Result<(), LoadError> {
        self.replenish().map(drop)
    }

    fn take_doubt(&self) -> Option<Doubt> {
        self.loaded.get().and_then(Loaded::take_doubt)
    }

    fn description(&self) -> Description {
        let mut description = Description { file_bytes: self.files.bytes, ..Description::default() };
        if let Some(loaded) = self.loaded.get() {
            let Loaded { signature, pool, .. } = loaded;
            description.inputs = signature.inputs.iter().map(ToString::to_string).collect();
            description.outputs = signature.outputs.iter().map(ToString::to_string).collect();
            description.sessions = pool.len();
            description.prepared = loaded.is_prepared();
            description.unprepared = loaded.unprepared();
        }
        let scan = &self.files.scan;
        let producer = [scan.producer.as_str(), scan.producer_version.as_str()].join(" ");
        let opsets =
            scan.opsets.iter().map(|opset| (format!("opset {}", opset.domain), opset.version.to_string()));
        description.metadata = scan.metadata.clone();
        // What the file is stands before what it calls the same in its own metadata, which the signature has whole.
        description.metadata.insert("producer".to_owned(), producer.trim().to_owned());
        description.metadata.extend(opsets);
        description
    }

    fn signature(&self) -> Option<Signature> {
        OnnxModel::signature(self).cloned()
    }
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnnxModel")
            .field("file", &self.files.name)
            .field("identity", &self.identity_with(&[]))
            .field("signature", &self.signature())
            .finish_non_exhaustive()
    }
}
