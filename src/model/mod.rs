//! What answers: the [`Model`] trait with its [`Lifecycle`], its identity, and ONNX models behind the feature `onnx`.

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
