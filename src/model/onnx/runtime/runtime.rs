//! Finds ONNX Runtime when the program runs, loads it once for the whole process, and tames it.

use std::fmt;
use std::path::{Path, PathBuf};

use ort::environment::{Environment, EnvironmentBuilder, GlobalThreadPoolOptions};
use parking_lot::Mutex;
use semver::Version;
use thiserror::Error;

use super::discovery;
use super::discovery::Place;
use crate::base::causes::debug_as_told;
use crate::base::causes::in_full;
use crate::base::invalid::ArgumentError;

/// ONNX Runtime, loaded: one per process.
///
/// Nobody needs to make one. The first model that is loaded looks for the library, in this order, and stops at what it
/// was told:
///
/// 1. the path given to [`RuntimeBuilder::path`];
/// 2. the environment variable `ORT_DYLIB_PATH`;
/// 3. beside the program's executable;
/// 4. where the system's loader looks;
/// 5. the Python package `onnxruntime`, which brings it, where the folders of an environment, of the `python3` on the path,
///    of the user or of the system have it. They are read, unless [`no_python`](RuntimeBuilder::no_python) says otherwise; no
///    process is started.
///
/// A host that wants a say calls [`Runtime::builder`] first.
///
/// # What is set
///
/// - *Telemetry is off.* Official builds from 1.29 on upload it otherwise. ONNX Runtime still reports the start of the
///   process before it can be told; only the environment variable `ORT_DISABLE_TELEMETRY=1`, set before the process
///   starts, stops that too. A library must not set variables of its host, so this one does not.
/// - *One thread pool for all sessions*, as large as there are physical cores that the process may use, without
///   spinning: threads stay as many, whatever number of versions is loaded. Four sessions with spinning pools of their
///   own burnt 7.3 s of CPU where this one took 0.7 s.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    library: Option<PathBuf>,
    version: Option<Version>,
    /// The threads of its pool; unknown where the host brought its own environment.
    threads: Option<usize>,
}

impl Runtime {
    /// Settings for the process's runtime, to be built before the first model is loaded.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder { path: None, environment: None, threads: None, python: true }
    }

    /// The process's runtime; the first call finds and loads it as told above.
    ///
    /// # Errors
    ///
    /// Returns whatever keeps it from being loaded. Nothing is remembered of a failure: mended, the next call works.
    pub fn get() -> Result<Self, RuntimeError> {
        Self::builder().build()
    }

    /// The file that was loaded; unknown where the host brought its own environment.
    pub fn library(&self) -> Option<&Path> {
        self.library.as_deref()
    }

    /// The library's version; unknown where the host brought its own environment.
    pub fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// Returns what the library says of its own build: version control's revision, kind of build, compiler flags.
    pub fn build_info(&self) -> &'static str {
        ort::info()
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("library", &self.library).finish_non_exhaustive()
    }
}

/// Settings for the process's ONNX Runtime: see [`Runtime::builder`].
#[must_use]
pub struct RuntimeBuilder {
    path: Option<PathBuf>,
    environment: Option<Environment>,
    threads: Option<usize>,
    python: bool,
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, threads, python, environment: _ } = self;
        f.debug_struct("RuntimeBuilder")
            .field("path", path)
            .field("threads", threads)
            .field("python", python)
            .finish_non_exhaustive()
    }
}

/// Sessions of a pool and threads of a session or of the process, at most: each takes memory when it is made.
pub(crate) const MANY: usize = 1_024;

impl RuntimeBuilder {
    /// The library to load. Nothing else is tried then.
    pub fn path(mut self, library: impl Into<PathBuf>) -> Self {
        self.path = Some(library.into());
        self
    }

    /// The environment of a host that uses ort itself. ONNX Runtime has room for one per process; telemetry and thread
    /// pools are then the host's own affair: [`threads`](Self::threads) or a [`path`](Self::path) beside it are refused.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Does not look into Python's packages, the last of the places: for a service that brings its library and shall not take
    /// one that somebody installed beside it. They are folders that are read; no Python is ever run. It says where is looked, and nothing
    /// where nothing is looked for: a library is loaded already, or named, or an environment is given.
    pub fn no_python(mut self) -> Self {
        self.python = false;
        self
    }

    /// Threads of the pool that all sessions share. The default is the number of physical cores that the process may
    /// use: twins on one core only get in each other's way, and ONNX Runtime's own default does not see the limits of a
    /// container. [`build`](Self::build) refuses 0 and more than 1,024.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Loads the library and makes the process's environment; where that has been done, gives what there is.
    ///
    /// # Errors
    ///
    /// [`RuntimeError::Option`] for a number of threads that no machine has, and for threads or a path beside an environment;
    /// [`RuntimeError::AlreadyLoaded`] where another library or environment than the one asked for is in use, or a pool of other threads than
    /// were said; otherwise whatever keeps it from being loaded, after which this may be tried again.
    pub fn build(self) -> Result<Runtime, RuntimeError> {
        let threads = self.threads.unwrap_or(1);
        ArgumentError::unless((1..=MANY).contains(&threads), "runtime.threads", threads, "1 to 1024")?;
        if self.environment.is_some() {
            let allowed = "left out beside an environment, which has its own";
            let path = self.path.as_ref().map(|path| path.display().to_string());
            let threads = self.threads.map(|threads| threads.to_string());
            for (argument, said) in [("runtime.path", path), ("runtime.threads", threads)] {
                said.map_or(Ok(()), |said| Err(ArgumentError::new(argument, said, allowed)))?;
            }
        }
        let mut process = PROCESS.lock();
        if let Some(runtime) = &process.runtime {
            return self.matching(runtime);
        }
        let runtime = match self.environment {
            Some(environment) => Runtime { environment, library: None, version: None, threads: None },
            None => {
                let (builder, library) = process.load(self.path, self.python)?;
                let version = crate::base::os::onnxruntime_version(&library);
                let version = version.and_then(|version| Version::parse(&version).ok());
                let threads = self.threads.unwrap_or_else(discovery::physical_cores);
                let environment = environment(builder, threads)?;
                Runtime { environment, library: Some(library), version, threads: Some(threads) }
            }
        };
        process.runtime = Some(runtime.clone());
        Ok(runtime)
    }

    fn matching(self, runtime: &Runtime) -> Result<Runtime, RuntimeError> {
        let other_path = self.path.is_some_and(|path| runtime.library.as_deref() != Some(&absolute(&path)));
        let other_threads = self.threads.is_some() && self.threads != runtime.threads;
        if other_path || other_threads || self.environment.is_some() {
            let Runtime { library, threads, .. } = runtime;
            return Err(RuntimeError::AlreadyLoaded { library: library.clone(), threads: *threads });
        }
        Ok(runtime.clone())
    }
}

/// Why there is no ONNX Runtime.
#[derive(Clone, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// There is none, or none that can be used.
    #[error(
        "ONNX Runtime was not found. Run `pip install onnxruntime`, or set ORT_DYLIB_PATH to a libonnxruntime of version \
         {} or newer. Tried: {}",
        oldest(),
        .tried.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    NotFound {
        /// Where it was looked for, and what came of it.
        tried: Vec<TriedPlace>,
    },
    /// There is one, and it is too old.
    #[error("{}: ONNX Runtime {found} is too old, {needed} or newer is needed: run `pip install --upgrade onnxruntime`", .path.display())]
    TooOld {
        /// The library.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: String,
    },
    /// The file that was named is there, and is no ONNX Runtime that can be loaded.
    #[error("{} cannot be used as ONNX Runtime: {cause}", .path.display())]
    Unusable {
        /// The library.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The process already uses another library or environment, or a pool of other threads; there is room for one, until it ends.
    #[error(
        "ONNX Runtime is already loaded{}{}, and a process has room for one",
        .library.as_ref().map_or_else(String::new, |path| format!(" from {}", path.display())),
        .threads.map_or_else(String::new, |threads| format!(", with a pool of {threads} threads"))
    )]
    AlreadyLoaded {
        /// The library in use, where it is known.
        library: Option<PathBuf>,
        /// The threads of its pool, where they are known.
        threads: Option<usize>,
    },
    /// An option makes no sense. Nothing was loaded.
    #[error(transparent)]
    Option(#[from] ArgumentError),
    /// The library was loaded, and would not start. Where the host uses ort itself, its environment is to be given to
    /// [`RuntimeBuilder::environment`].
    #[error("ONNX Runtime does not start: {cause}")]
    Environment {
        /// The library's message.
        cause: String,
    },
}

debug_as_told!(RuntimeError);

/// A place where ONNX Runtime was looked for, and is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TriedPlace {
    /// The place: a path, a variable, or the place of another program's.
    pub place: String,
    /// Why there is none.
    pub cause: String,
}

impl fmt::Display for TriedPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)
    }
}

/// The oldest version that will do: 1.17, unless some crate of the build asks ort for more.
fn oldest() -> String {
    format!("1.{}", ort::MINOR_VERSION)
}

/// The parts of ONNX Runtime that the process has. The library stays loaded where the environment could not be made.
struct Process {
    library: Option<PathBuf>,
    runtime: Option<Runtime>,
}

static PROCESS: Mutex<Process> = Mutex::new(Process { library: None, runtime: None });

impl Process {
    /// Loads the library named or found. ort ignores the path of any load after the first good one: so they are
    /// compared here.
    fn load(
        &mut self,
        told: Option<PathBuf>,
        python: bool,
    ) -> Result<(EnvironmentBuilder, PathBuf), RuntimeError> {
        if let Some(library) = &self.library {
            if told.is_some_and(|told| absolute(&told) != *library) {
                return Err(RuntimeError::AlreadyLoaded { library: Some(library.clone()), threads: None });
            }
            return Ok((ort::init(), library.clone()));
        }
        let (builder, library) = match told {
            Some(path) => told_library("the path given", &path)?,
            None => match std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
                Some(path) => told_library("ORT_DYLIB_PATH", Path::new(&path))?,
                None => found_library(python)?,
            },
        };
        self.library = Some(library.clone());
        Ok((builder, library))
    }
}

/// A library that was named: nothing else will do.
fn told_library(who: &str, path: &Path) -> Result<(EnvironmentBuilder, PathBuf), RuntimeError> {
    let path = absolute(path);
    if !path.exists() {
        let (place, cause) = (who.to_owned(), format!("{} does not exist", path.display()));
        return Err(RuntimeError::NotFound { tried: vec![TriedPlace { place, cause }] });
    }
    open(&path).map(|builder| (builder, path))
}

/// The first that works of the places where it may be.
fn found_library(python: bool) -> Result<(EnvironmentBuilder, PathBuf), RuntimeError> {
    let mut tried = Vec::new();
    let mut too_old = None;
    for Place { place, library } in discovery::places(python) {
        let library = match library {
            Ok(library) => library,
            Err(cause) => {
                tried.push(TriedPlace { place, cause });
                continue;
            }
        };
        match open(&library) {
            Ok(builder) => return Ok((builder, library)),
            Err(error) => {
                tried.push(TriedPlace { place, cause: error.to_string() });
                too_old =
                    too_old.or(Some(error).filter(|error| matches!(error, RuntimeError::TooOld { .. })));
            }
        }
    }
    Err(too_old.unwrap_or(RuntimeError::NotFound { tried }))
}

fn open(path: &Path) -> Result<EnvironmentBuilder, RuntimeError> {
    ort::init_from(path).map_err(|error| match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => {
            RuntimeError::TooOld { path: path.to_owned(), found: version_str, needed: oldest() }
        }
        ort::LoadDynamicError::Dlopen { error, .. } => {
            // "dlopen failed" says nothing: the loader's own words are one cause further down.
            RuntimeError::Unusable { path: path.to_owned(), cause: in_full(&error) }
        }
        other => RuntimeError::Unusable { path: path.to_owned(), cause: other.to_string() },
    })
}

fn environment(builder: EnvironmentBuilder, threads: usize) -> Result<Environment, RuntimeError> {
    GlobalThreadPoolOptions::default()
        .with_intra_threads(threads)
        .and_then(|options| options.with_inter_threads(1))
        .and_then(|options| options.with_spin_control(false))
        .and_then(|options| {
            builder.with_name("switchback").with_telemetry(false).with_global_thread_pool(options).build()
        })
        .map_err(|error| RuntimeError::Environment { cause: error.to_string() })
}

/// ort resolves relative paths against the executable; here they mean what they mean everywhere else.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
