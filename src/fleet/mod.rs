//! What the processes of a fleet agree in: a store, and what must hold of it.
//!
//! A handle is made a member of a fleet by `Builder::fleet`, with [`options::Fleet`](crate::options::Fleet). `docs/fleet.md` says how a fleet is
//! operated, and what happens when each thing fails.
//!
//! | | |
//! |---|---|
//! | [`Store`] | what a store must hold to, and what its errors mean |
//! | [`InMemory`], [`Directory`] | two of them |
//! | `Bucket`, `Postgres` | two more, with the features `fleet-bucket` and `fleet-postgres` (over TLS with `fleet-postgres-tls`) |
//! | [`probe()`] | whether one looks at conditions at all |
//! | `conformance`, `history` | whether another one holds to it, with the feature `testing` |
//! | `simulation` | the protocol of a fleet in an unkind world, with the feature `testing` |

// # Design decisions
//
// **A register and not a log.** What is agreed is one value that is replaced by compare-and-swap. A log of entries that are
// created where there are none has no memory: an absent entry is the next one or one that was removed, and a sleeper cannot
// tell. So nothing is decided by what is absent, and whatever is removed changes no decision.
//
// **The trait is small, and grows by methods with bodies.** `get`, `put`, `list` and `remove` are all that agreeing needs. What
// moves versions, and hints that wake whoever polls, can be added without breaking a store that somebody has written.
//
// **A directory has no lock.** A process that is stopped would hold it. A value is the hard link of the next number instead, made
// where there is none. Numbers are never used again: what is removed is replaced by an empty value, because a writer that
// slept would find the number of a removed one free. That leaves a folder with an empty file for each key that was ever
// removed. A folder for each key, and not one for all keys beside each other, so that reading one lists its 64 values and not
// those of everybody.

//
// **A store that is asked over a network asks once.** Its client would repeat a put whose answer was lost, and be told of a conflict with
// itself. Whoever uses a store polls anyway, and looks after what is unknown. And it is probed before anything is put in it, not when it
// is opened: a process must start while its store is away.
//
// # The protocol
//
// A member is `protocol::Member`: what it asks of the store, what it makes of answers, and when; nothing in it waits, reads a clock
// or holds a thread. It has four lanes of which each has one request under way: one follows the head, one writes the row, one
// merges rows and judges, one lowers. Lanes do not wait for each other, so answers come out of order. What holds, and which
// rules it rests on (`protocol::rules`; the simulation leaves out each of them):
//
// 1. Heads form one chain in a term; each names the one before, which is filed first (HeadOverRead, File).
// 2. A member's place never goes back, and it goes on only to a head that names its own (Ancestors, LateAnswers).
// 3. A raise rests on the head that it replaces, and on a ledger that was cut under that (JudgedHead, StandDown).
// 4. A candidate answers no request later than `valid_for` after the sending of the last confirmed read (LeaseFromSending), none in a
//    process that has just begun (Settle), and none where it was lowered, by hand or by whoever judges there (LowerHereFirst).
// 5. A lowering, by a guard or by hand, is over whatever head there is (Rebase); in a history that is not the member's own, too.
// 6. Evidence is what rows have more, cut by cut; no request is in two names (RowOverItself, Look, Doubt, Seal, LedgerOverRead,
//    ClosedIsFinal, WatchedTime), and what cannot be told apart is given up for all members alike (SetAside, Void).
// 7. A stretch without a lease is evidence for neither arm (Lapse); rows leave on a cadence (Cadence).
// 8. Nothing is raised against what somebody knows who could say so (RaiseAgainstSeen, Quiet).
// 9. A name ends without a word at most once, as one that exposed a candidate or not by when it was last seen; none while the ledger stood
//    still (`protocol::ends`: no rule of the simulation's, its tests are `tests/suite/fleet/ends.rs`).
//
// **Where it differs from the specification it was made from, and why.** The code in the envelope covers the fleet's id, the kind and the
// format too, or a value could be taken from another fleet with the same secret. A ledger is named by its nonce and not by
// a digest, which would be computed for every cut and says no more under the code. Evidence is kept apart from the base that it is
// cut from: a row that is set aside takes its counts out of the base, and what was evidence stays. A sum that shrinks though no row
// says why is held up and given up like a row that cannot be read; to stop for good would leave guards blind. Under one name counts
// never shrink: what an attempt left behind that is over goes when the name is sealed. A row that is found older than
// one that was acknowledged (removed by a stranger, and an earlier write arrived; restored) counts as having told all that was ever sent, and is
// sealed. A member without a head writes no row: it does not know how often. A member of another history may lower there. A sleeper that
// more than 64 heads have passed follows if filed heads prove where the newest comes from, and is diverged if they were swept.
// Attempts are over by their number, so that a judge who is one head behind drops nothing of the next one. Whoever cuts by a head that was just put
// back leaves out what runs once more under the one before: so a ledger says which attempts its head had, and what it had left out is given up. Heads are
// filed by their prints too: a file that was under way lies where another one of that number is to be filed.
//
// **No clock of a store closes anything.** It may be set, and a value be dated by whoever has put it, so what is the latest moment in a listing
// says nothing of how old the others are. A row is as old as it was seen not to move, in a time that the ledger counts: that in which somebody
// looked, by the own clocks of those who did. Whoever takes over begins with what it has found, so a row is closed late and never early. What is told by the
// store's time (when something was closed, and what a day was) goes by the own row of whoever judges. A member that finds its name closed all the
// same, since its machine was paused, takes another one.
//
// **What nobody judges is not exposed.** A store that can be read and not written goes on saying what was agreed on. So a lease needs a ledger that
// has moved too, within half of `close_after` or ten `tick` where that is longer, and each member looks at it some times in that.

#[cfg(feature = "fleet-bucket")]
pub(crate) mod bucket;
#[cfg(feature = "testing")]
pub(crate) mod conformance;
pub(crate) mod directory;
pub(crate) mod format;
#[cfg(feature = "testing")]
pub mod history;
pub(crate) mod key;
pub(crate) mod memory;
#[cfg(feature = "fleet-postgres")]
pub(crate) mod postgres;
pub(crate) mod probe;
pub(crate) mod protocol;
#[cfg(feature = "testing")]
pub mod simulation;
pub(crate) mod store;
#[cfg(feature = "fleet-postgres")]
#[cfg_attr(not(feature = "fleet-postgres-tls"), path = "tls_absent.rs")]
mod tls;
pub(crate) mod unfit;

#[cfg(feature = "fleet-bucket")]
pub use bucket::Bucket;
#[cfg(feature = "testing")]
pub use conformance::{StoreConformanceError, StoreSuite, conformance};
pub use directory::Directory;
pub use key::Key;
pub use memory::InMemory;
#[cfg(feature = "fleet-postgres")]
pub use postgres::Postgres;
pub use probe::probe;
pub use store::{Listed, Over, Page, Read, Store, StoreCause, StoreError, StoreLimits, StoreOutcome, Tag};
pub use unfit::UnfitStoreError;
