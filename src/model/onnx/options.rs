//! The options that a model is loaded with.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::file::signature::Signature;
use super::runtime::runtime::{MANY, Runtime};
use super::session::form::Form;
use crate::base::guarded::guarded;
use crate::model::error::LoadError;

/// How far ONNX Runtime rewrites a model before it runs it. More is faster and slower to load, and can change the last
/// bits of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Optimization {
    /// As it is in the file.
    Disabled,
    /// Optimizations that keep every result as it is: constants are folded, nodes without effect are dropped.
    Basic,
    /// And operators are fused, the same way on every machine.
    Extended,
    /// And whatever suits the processor at hand. The default, as it is ONNX Runtime's own.
    #[default]
    All,
}

impl Optimization {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Basic => "basic",
            Self::Extended => "extended",
            Self::All => "all",
        }
    }

    const fn to_ort(self) -> GraphOptimizationLevel {
        match self {
            Self::Disabled => GraphOptimizationLevel::Disable,
            Self::Basic => GraphOptimizationLevel::Level1,
            Self::Extended => GraphOptimizationLevel::Level2,
            Self::All => GraphOptimizationLevel::All,
        }
    }
}

type Configure = Arc<dyn Fn(SessionBuilder) -> ort::Result<SessionBuilder> + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) intra_threads: Option<usize>,
    pub(crate) optimization: Optimization,
    pub(crate) execution_providers: Vec<ExecutionProviderDispatch>,
    pub(crate) pool_size: usize,
    pub(crate) max_wait: Duration,
    /// The outputs that it is run for, by name; nothing where it is run for all that can be carried.
    pub(crate) outputs: Option<Vec<String>>,
    /// Anything else, with the name that stands for it in the identity.
    pub(crate) configure: Option<(String, Configure)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            intra_threads: None,
            optimization: Optimization::default(),
            execution_providers: Vec::new(),
            pool_size: available_parallelism().map_or(1, usize::from),
            max_wait: Duration::from_secs(1),
            outputs: None,
            configure: None,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        let zero = |option| LoadError::Option { option, cause: "0 would leave nobody to answer".to_owned() };
        let many = |option, number| {
            let cause = format!("{number} is more than the {MANY} that a machine could use");
            LoadError::Option { option, cause }
        };
        match (self.pool_size, self.intra_threads) {
            (0, _) => Err(zero("pool_size")),
            (_, Some(0)) => Err(zero("intra_threads")),
            (sessions, _) if sessions > MANY => Err(many("pool_size", sessions)),
            (_, Some(threads)) if threads > MANY => Err(many("intra_threads", threads)),
            _ => Ok(()),
        }
    }

    /// Whether sessions can be asked to hand back memory: not where the host may have left them without an arena, by options of its
    /// own or by naming the provider that has it. ONNX Runtime would then refuse every such run.
    pub(crate) fn shrinks(&self) -> bool {
        let names_cpu = self.execution_providers.iter().any(|provider| provider.name() == ep::CPU::NAME);
        self.configure.is_none() && !names_cpu
    }

    /// Refuses outputs that the model does not have, or that cannot be carried.
    pub(crate) fn check_outputs(&self, signature: &Signature) -> Result<(), LoadError> {
        let wrong = |cause| LoadError::Option { option: "outputs", cause };
        let Some(names) = &self.outputs else { return Ok(()) };
        if names.is_empty() {
            return Err(wrong("none is named: name what is to be read".to_owned()));
        }
        for name in names {
            match signature.outputs.iter().find(|port| *port.name == **name) {
                Some(port) if port.kind.is_refused() => return Err(wrong(format!("`{port}`"))),
                Some(_) => {}
                None => {
                    let known: Vec<&str> = signature.outputs.iter().map(|port| &*port.name).collect();
                    return Err(wrong(format!(
                        "the model has no output `{name}`: it gives {}",
                        known.join(", ")
                    )));
                }
            }
        }
        Ok(())
    }

    /// The options that change answers, as parts of an identity.
    pub(crate) fn identity(&self) -> Vec<(&'static str, String)> {
        let providers: Vec<&str> =
            self.execution_providers.iter().map(ExecutionProviderDispatch::name).collect();
        let configured = self.configure.as_ref().map_or_else(String::new, |(name, _)| name.clone());
        let mut parts = vec![
            ("optimization", self.optimization.name().to_owned()),
            ("execution providers", providers.join(",")),
            ("session options", configured),
        ];
        // Only where it is given, so that identities from before there was such an option stay.
        parts.extend(self.outputs.as_ref().map(|names| ("outputs", names.join("\n"))));
        parts
    }

    /// A builder with these options. One per session: an execution provider cannot be registered twice with one.
    pub(crate) fn builder(&self, runtime: &Runtime) -> ort::Result<SessionBuilder> {
        let mut builder = self.with_threads(ort::session::Session::builder(runtime.environment())?)?;
        builder = builder.with_optimization_level(self.optimization.to_ort())?;
        if !self.execution_providers.is_empty() {
            builder = builder.with_execution_providers(&self.execution_providers)?;
        }
        if let Some((name, configure)) = &self.configure {
            let panicked =
                |panicked| ort::Error::new(format!("the session options `{name}` panicked: {panicked}"));
            builder = guarded(|| configure(builder)).map_err(panicked)??;
        }
        Ok(builder)
    }

    /// A builder for what is optimised already.
    pub(crate) fn builder_of_prepared(&self, runtime: &Runtime, form: Form) -> ort::Result<SessionBuilder> {
        let builder = self
            .with_threads(ort::session::Session::builder(runtime.environment())?)?
            .with_optimization_level(GraphOptimizationLevel::Disable)?;
        Ok(match form {
            Form::Mapped => builder.with_prepacking(false)?,
            // Or the arena keeps what packing needed for a moment, 16 MB a session of a model of 118 MB.
            Form::Packed => builder.with_device_allocated_initializers()?,
        })
    }

    fn with_threads(&self, builder: SessionBuilder) -> ort::Result<SessionBuilder> {
        Ok(match self.intra_threads {
            None => builder,
            Some(threads) => builder
                .with_independent_thread_pool()?
                .with_intra_threads(threads)?
                .with_intra_op_spinning(false)?,
        })
    }
}
