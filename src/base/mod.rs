//! The machine: time, chance, memory, disk, and what is shared without locks.

#[cfg(any(feature = "admin", feature = "prometheus"))]
pub(crate) mod accept;
#[cfg(any(feature = "bucket", feature = "fleet-bucket"))]
pub(crate) mod bucket;
pub(crate) mod causes;
pub(crate) mod chance;
pub(crate) mod clock;
#[cfg(any(feature = "fleet", feature = "onnx", feature = "repository", feature = "state"))]
pub(crate) mod disk;
#[cfg(any(feature = "fleet", feature = "onnx", feature = "repository", feature = "state"))]
#[cfg_attr(not(feature = "testing"), path = "faults_absent.rs")]
pub(crate) mod faults;
pub(crate) mod gate;
pub(crate) mod guarded;
pub(crate) mod invalid;
#[cfg(feature = "onnx")]
pub(crate) mod memory;
#[cfg(any(feature = "bucket", feature = "fleet-bucket", feature = "fleet-postgres"))]
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod objects;
pub(crate) mod ordered;
pub(crate) mod os;
pub(crate) mod packed;
pub(crate) mod share;
pub(crate) mod standstill;
pub(crate) mod sync;
pub(crate) mod text;

/// The primitives that `sync` is made of; loom's, where its protocols are run in every interleaving.
mod atomics {
    pub(crate) use parking_lot::{Condvar, Mutex};
    pub(crate) use std::sync::Arc;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
}
