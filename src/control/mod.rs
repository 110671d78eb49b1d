//! The control side: rare, may lock, writes the routing table.

// # Design decisions
//
// **The control side knows no types.** A version in its hands is a `dyn AnyVersion`: a name, an identity, how ready it is. The
// table it builds gets its types back in one place, where it is stored (`Routing::typed`). So control, rollouts, guards and
// figures are compiled once, here, and not again in every service.
//
// **A switch allocates next to nothing.** A table's exposures come from a stock that the tick refills with recycled ones.
//
// **Lowering first.** `rollback` lowers what callers meet, waits for nobody (`request/ahead`), takes the control lock, stores the
// table, then announces. The lock is never held while a
// model, a guard, a subscriber, `encode`, `decode` or a destructor runs: verdicts are formed on a snapshot and applied
// only if the rollout has not moved meanwhile.
//
// **What was exposed at a crash is not exposed unasked.** The start cannot know whether the candidate took the process with it.
// It holds the exposure back, with its buckets and its evidence, until `resume`; the second time it quarantines the identity.
// Buckets stay with the candidate meanwhile, so the same users come back to it.
//
// **Evidence and repeats are written as one.** Bits that tell repeats, labels that wait and ledgers are read under one lock, the
// ledgers just drained: an outcome is in all of them or in none, so after a crash it is neither counted twice nor lost twice.
// What was seen since the last checkpoint is lost as a whole, for both arms alike. Figures begin anew.
//
// **Waking before lowering.** A rollback wakes its target, on the caller's thread and under no lock of ours, before it takes the
// control lock. The target is marked first, and whoever empties seats looks again, under the lock that waking takes: so what
// is wanted is never emptied, and nobody waits for a load. Others may have gone back meanwhile, so under the control lock the target is
// looked at again: one that is cold, or is being woken still, is woken first. What a running watch would go back to stays hot, since a tick may
// not wait for an engine. One that cannot be woken is passed over.

#[cfg(feature = "state")]
pub(crate) mod adopt;
#[cfg(feature = "fleet")]
pub(crate) mod align;
pub(crate) mod allocate;
pub(crate) mod attempt;
pub(crate) mod circuit;
pub(crate) mod control;
pub(crate) mod counter;
#[cfg(feature = "fleet")]
pub(crate) mod decider;
pub(crate) mod desk;
pub(crate) mod doubt;
#[cfg(feature = "drift")]
pub(crate) mod drift;
pub(crate) mod event;
pub(crate) mod event_name;
#[cfg(feature = "fleet")]
pub(crate) mod handover;
pub(crate) mod loading;
pub(crate) mod loads;
#[cfg(feature = "state")]
pub(crate) mod look;
pub(crate) mod moves;
pub(crate) mod obstacles;
#[cfg(feature = "fleet")]
pub(crate) mod outside;
pub(crate) mod pins;
pub(crate) mod probe;
#[cfg(feature = "state")]
pub(crate) mod release;
#[cfg(feature = "state")]
pub(crate) mod saved;
#[cfg(feature = "fleet")]
pub(crate) mod seat;
pub(crate) mod settings;
#[cfg(feature = "state")]
pub(crate) mod standby;
pub(crate) mod table;
pub(crate) mod tick;
pub(crate) mod tiers;
pub(crate) mod traffic;
pub(crate) mod tripped;
