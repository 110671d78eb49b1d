//! A handle that is a member of a fleet: it follows what is agreed on, says what it has counted, and may judge.
//!
//! What members ask of the store, and what they make of answers, is [`protocol::Member`](crate::fleet::protocol); what is decided, and
//! by which rules, is [`Decider`]. Here the two meet the control side of this process:
//!
//! - **A head is made true** (`align`) before the lease that it gives is taken: no candidate answers under a table that is older than
//!   what was read last.
//! - **What raises exposure** is decided on what is agreed on, put to the others, and made true here once it is agreed on.
//! - **What lowers it** is decided on what is agreed on too (`verbs`), is true here first, and is put to the others over whatever they have agreed on meanwhile, until they agree.
//! - **Outcomes come to the process that made the prediction**, through its mailbox in the store (`mail`, `courier`), and to its heir
//!   once it has ended (`handover`).
//! - **Nothing of it is on a request's path**, which reads the table and the lease as ever.

pub(crate) mod agreement;
pub(crate) mod counts;
mod courier;
mod handover;
mod judging;
mod mail;
pub(crate) mod membership;
pub(crate) mod register;
mod standing;
mod status;
mod steps;
mod verbs;

pub(crate) use membership::{Joined, Membership};
pub use status::{FleetEnds, FleetMember, FleetNotReady, FleetState, FleetStatus, MemberNotReady};
pub(crate) use steps::{open_agreed, run_fleet};
