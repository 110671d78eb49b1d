//! Models: the [`Model`] trait with its [`Lifecycle`], identities, and ONNX models behind the feature `onnx`.
//!
//! **A lifecycle apart from the trait.** An implementor writes `predict` and `identity`; what else a handle does with a
//! model (load, warm up, wake, settle, mend, describe) knows neither requests nor answers, so it is a trait of its own that
//! is not generic. A wrapper hands on the [`inner`](Lifecycle::inner) one and writes what differs, where it used to forward
//! every method. `predict_within` and `predict_batch` take requests, so they stay with [`Model`]; a request to live is one
//! call through its table, as before. The other way, a deadline that the calling thread carries, would reach models that
//! pass a request on to another thread too late.
//!
//! **Errors above this room.** [`LoadError::Preflight`] and
//! [`Other`](LoadError::Other) hold any error: what a preflight finds is a type of the room `repository`, and what a
//! host's own engine says is a type of the host's.

// # Design decisions
//
// **ONNX Runtime: bound buffers.** Small inputs are written into tensors that stay bound to a session, outputs into
// tensors of the shape they had last time. Where an output's shape depends on its data, binding is given up for that
// session.
//
// **ONNX Runtime: one pool of sessions per version**, since a session runs one request at a time; a thread tries the
// session it had last, so threads that are no more than sessions share no cache line.
//
// **A closure's identity is its name.** There is nothing else to hash; rename it when it changes.
//
// **The newest operator set is read from a refusal.** ONNX Runtime does not tell, and a table of releases ages: it is shown
// a model of version 999 once per process.
//
// **One file, two forms.** ONNX Runtime writes its optimised graph with the weights in a file beside it, once as they are and once
// as its kernels want them. Loaded without packing, nothing is read before it is needed: 1 ms, and next to nothing private.
// Loaded with it, the packed weights are mapped too: 0.2 s, and as fast as a plain session. Two files would be half as large
// again for nothing. Initialisers are allocated outside of the arena, which would otherwise keep 16 MB a session that packing
// needed for a moment.
//
// **An entry's name is all that it depends on**: the model's digest, ONNX Runtime's version and build, the options, the
// processor. So none can be stale. It is made aside, held against the plain form on a made-up input, sealed with a record of
// sizes and SHA-256, synced, renamed. A process reads all of it once, against its record; from then on it compares length,
// inode and the time of the last change, which no call can set. Whoever uses it has a shared lock on it, whoever evicts it
// needs an exclusive one. Two processes that make the same one both do, and the second throws its own away.
//
// ```text
// cache/<64 hexadecimal digits>/model.onnx   the graph
//                               model.data   the weights, twice
//                               record       "switchback prepared form", the key, a line per file: name, size, SHA-256
//                               in-use       locked by whoever uses it; its time is when that began last
// cache/.aside-<random>/                     being made, or being removed; swept where nobody has its `.lock` locked
// cache/lock                                 held while an entry is put in place or evicted
// ```
//
// **Seats.** A model's sessions sit in the slots of its pool, each behind the lock that a request takes anyhow. Going from one
// tier to another exchanges what sits there, seat by seat, so requests pay nothing for it. Behind an `ArcSwap` they would pay
// 11 ns.
//
// **Loads get what nobody else wants.** Beside a thread of nice 19, requests of 0.1 ms had a p99 of 5 ms: a thread that wakes
// does not take the core before the other's slice is over. `SCHED_IDLE` gives it up at once. The price is a load of minutes on
// a machine whose cores are all busy all of the time; `Builder::load_priority` has others.

pub(crate) mod activity;
pub(crate) mod closure;
pub(crate) mod description;
pub(crate) mod error;
pub(crate) mod identity;
pub(crate) mod lifecycle;
pub(crate) mod model;
#[cfg(feature = "onnx")]
pub mod onnx;
pub(crate) mod opset;
pub(crate) mod throttle;
pub(crate) mod tier;

pub use activity::Activity;
pub use closure::{Closure, closure};
pub use description::Description;
pub use error::{InputError, LoadError, ModelError};
pub use identity::Identity;
pub use lifecycle::Lifecycle;
pub use model::Model;
pub use opset::Opset;
pub use tier::{Doubt, Memory, TargetTier, Tier};

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
