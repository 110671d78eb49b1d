//! What a process that has ended has left for labels that come later, and who has taken it over.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::FormatError;
use super::hex::Hex;
use crate::base::clock::Timestamp;

/// The most parts of one handover: some 40 MB where all are bits, of 190 million predictions.
pub(crate) const PARTS_MAX: u32 = 24;

/// Says that a process has ended, and where outcomes of its predictions are joined from then on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Handover {
    pub(crate) nonce: Hex,
    /// The process, as ids have it.
    pub(crate) process: Hex,
    /// The last moment at which an outcome of one of its predictions counts, by its clock.
    pub(crate) until: Timestamp,
    /// The parts that it has left.
    pub(crate) parts: u32,
    /// The processes whose predictions they are about, itself included.
    pub(crate) lives: u32,
    /// Who has taken it over. Nobody does so after that.
    pub(crate) heir: Option<Hex>,
}

impl Handover {
    /// # Errors
    ///
    /// More parts than there can be.
    pub(crate) fn check(&self) -> Result<(), FormatError> {
        let (parts, allowed) = (self.parts, "1 to 24");
        FormatError::unless((1..=PARTS_MAX).contains(&parts), "number of parts", parts, allowed)
    }
}

/// A part of what was left: what it holds is known to whoever joins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HandoverPart {
    pub(crate) nonce: Hex,
    pub(crate) handed: Value,
}
