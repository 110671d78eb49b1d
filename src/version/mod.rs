//! Versions: a model with its pipeline under a name, from the moment it is loaded until it is freed.

// # Design decisions
//
// **Retired versions.** The control side owns an `Arc` of every version and frees one when its own is the last; no
// `Weak` exists that could make another. A thread of its own does, since a destructor may never return. Then freed memory is handed back to the system (`malloc_trim`).
//
// **A drill asks what live was asked.** Copies of a few requests a minute, taken when they are wanted and gone after they were
// used; a request pays one load of a place that is hardly ever written to.

pub(crate) mod ask;
pub(crate) mod drill;
pub(crate) mod id;
pub(crate) mod in_flight;
pub(crate) mod input;
pub(crate) mod load_impact;
pub(crate) mod loaded;
pub(crate) mod post;
pub(crate) mod prepare;
pub(crate) mod priority;
pub(crate) mod proof;
pub(crate) mod retired;
#[cfg(feature = "state")]
pub(crate) mod source;
pub(crate) mod tiers;
