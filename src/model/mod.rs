//! Models: the [`Model`] trait with its [`Lifecycle`], identities, and ONNX models behind the feature `onnx`.
//!
//! **A lifecycle apart from the trait.** An implementor writes `predict` and `identity`; what else a handle does with a
//! model (load, warm up, wake, settle, mend, describe) knows neither requests nor answers, so it is a trait of its own that
//! is not generic. A wrapper hands on the [`inner`](Lifecycle::inner) one and writes what differs, where it used to forward
//! every method. `predict_within` and `predict_batch` take requests, so they stay with [`Model`]; a request to live is one
//! call through its table, as before. The other way, a deadline that the calling thread carries, would reach models that
//! pass a request on to another thread too late.
//!
//! **Errors above this room.** [`LoadError::Preflight`](crate::LoadError::Preflight) and
//! [`Other`](crate::LoadError::Other) hold any error: what a preflight finds is a type of the room `repository`, and what a
//! host's own engine says is a type of the host's.

pub(crate) mod causes;
pub(crate) mod closure;
pub(crate) mod description;
pub(crate) mod error;
pub(crate) mod identity;
pub(crate) mod lifecycle;
pub(crate) mod model;
#[cfg(feature = "onnx")]
pub mod onnx;
pub(crate) mod throttle;
pub(crate) mod tier;

pub use closure::{Closure, closure};
pub use description::Description;
pub use identity::Identity;
pub use lifecycle::Lifecycle;
pub use model::Model;
pub use tier::{Memory, TargetTier, Tier};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_identity_do_not_run_into_each_other() {
        let parts = |list: &[(&'static str, &'static str)]| {
            Identity::of(list.iter().map(|(name, value)| (*name, value.as_bytes())).collect::<Vec<_>>())
        };
        assert_ne!(parts(&[("a", "bc")]), parts(&[("ab", "c")]));
        assert_ne!(parts(&[("a", "b"), ("c", "d")]), parts(&[("c", "d"), ("a", "b")]));
        assert_eq!(parts(&[("a", "b")]), parts(&[("a", "b")]));
    }

    #[test]
    fn an_identity_survives_serde_and_bad_ones_are_refused() {
        let identity = Identity::of([("model", b"bytes".as_slice())]);
        let json = serde_json::to_string(&identity).unwrap();
        assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
        assert!(serde_json::from_str::<Identity>("\"zz\"").is_err());
        assert!(serde_json::from_str::<Identity>("\"00\"").is_err());
    }
}
