//! One request: which version answers it, what is counted, and what is done aside.

// # Design decisions
//
// **One store flips everything.** `ArcSwap`, its guard held across `predict`. Loading costs 11-12 ns; cloning an `Arc` per
// request 32 ns on two threads. Not `arc_swap::Cache`: an idle thread would keep an old table, and its weights, for ever.
// Since 1.9.5 a load cannot return another instance's value; older ones are not accepted.
//
// **Evidence follows assignment.** A candidate that fails is answered for by live; the failure is the candidate's. A candidate
// that calls an input bad which live then answers has failed too: else one that refused everything would pass every guard. A
// pair exists whether or not the caller was answered: what live failed on, or refused, goes to the shadow as well.
//
// **A lease.** Beside a canary requests look at one atomic deadline that ticks renew. Nobody ticks, nobody is exposed, and what
// live does meanwhile is counted apart. A circuit breaker does the same for a version that fails outright on one stripe, from
// the fifth failure in a row on that live could answer: the next request passes it over, the next tick takes it off; where
// live fails too the tick opens its circuit for 30 s instead. Live pays for neither while there is no canary.
//
// **Lowered before the lock.** A rollback does not wait for the control lock to take effect: it suspends the lease and puts the
// version before live, which the table holds ready, in live's place by one exchange; what is done under the lock then makes the
// same of it for good. Whoever has the lock meanwhile and stores a table does it to that too (`base/sync`, `Ahead`). Under the lock
// alone, with eight readers, a checkpoint and both cores busy, one rollback in a hundred waited for 11 ms: for a reader that had
// been put aside with it.
//
// **A caller can leave a candidate and never live.** Code that does not return cannot be stopped, only left. With a deadline a
// thread of ours asks the candidate, if it can have the input; what it says is held against what an answer is by the caller, who
// has the task. What is measured is the call: to be handed over is not the candidate's doing, and a guard of latency would hold it
// against it. The place among calls under way is the call's, not the caller's.
//
// **An empty key is no key.** All who have none would be one user, on the canary together or off it.
//
// **Buckets have owners.** 10,000 buckets; a rollout that grows takes from live, one that shrinks gives back to live. So
// a key stays on its candidate while that grows, whatever other candidates do. The bucket of a key is
// `xxh3_64(salt ':' key) * 10000 >> 64`, so any other software can compute it; with a secret of the host's it is
// `siphash_2_4(key)` under what follows from that, so that only who has the secret can: a plain hash let anybody choose keys
// that are all on a canary.

pub(crate) mod ahead;
pub(crate) mod answer;
pub(crate) mod beside;
pub(crate) mod buckets;
pub(crate) mod call;
pub(crate) mod lease;
#[cfg_attr(not(feature = "tokio"), path = "pace_absent.rs")]
pub(crate) mod pace;
pub(crate) mod recall;
pub(crate) mod serving;
pub(crate) mod shadow;
pub(crate) mod table;
