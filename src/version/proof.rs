//! The proof of a version: what it was asked before it was staged.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The proof of a version: what it was asked before it was staged, through its own `encode` and `decode`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Proof {
    /// It has answered a real input: the host's [sample](crate::options::Inputs::sample), its golden samples, or inputs that
    /// live was asked.
    #[default]
    Answered,
    /// Its sessions have run on an input that was made up from its signature. Nothing went through its `encode` and
    /// `decode`.
    MadeUp,
    /// It was loaded and asked nothing: it can make up no input.
    NotAsked,
    /// It failed on an input that was made up, which may be the fault of that input.
    Failed {
        /// The error that it gave.
        reason: Arc<str>,
    },
}

impl Proof {
    pub(crate) fn is_answered(&self) -> bool {
        *self == Self::Answered
    }

    /// Why it is not proven, where something speaks against it.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        if let Self::Failed { reason } = self { Some(Arc::clone(reason)) } else { None }
    }

    /// Returns what may be said of a version that is staged.
    pub(crate) const fn told(&self) -> &'static str {
        match self {
            Self::Answered => "it is loaded, checked and warm",
            Self::MadeUp => "it is loaded and warm, and has answered no request yet",
            Self::NotAsked => "it is loaded, and has answered no request yet",
            Self::Failed { .. } => "it is loaded, and is not proven",
        }
    }
}
