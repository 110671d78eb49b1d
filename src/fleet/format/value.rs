//! Values as they are written and read.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::envelope::{Kind, Sealer, print};
use super::error::FormatError;
use super::handover::{Handover, HandoverPart};
use super::head::{Core, Head, LIBRARY};
use super::hex::Hex;
use super::ledger::Ledger;
use super::mailbox::Mailbox;
use super::row::Row;
use crate::fleet::key::Key;

/// Bytes of a head that are kept for what lowers.
const LOWERING: usize = 64 << 10;

/// A head, as its bytes have it: it is filed and named by them, whatever a later release has put into it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    pub(crate) head: Head,
    body: String,
    pub(crate) print: Hex,
}

/// What a member reads and writes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<C: Counts> {
    Head(Arc<Written>),
    Row(Arc<Row<C>>),
    Ledger(Arc<Ledger<C>>),
    Mailbox(Arc<Mailbox>),
    Handover(Arc<Handover>),
    HandoverPart(Arc<HandoverPart>),
}

/// What a head asks of whoever reads it, whatever else is in it.
#[derive(Deserialize)]
struct Asks {
    min_reader: u32,
}

impl Written {
    /// # Errors
    ///
    /// The head is out of its bounds.
    pub(crate) fn new(head: Head) -> Result<Self, FormatError> {
        head.check()?;
        let body = body(&head)?;
        Ok(Self { head, print: print(&body), body })
    }

    /// The same of what comes after another one. Where it raises exposure it leaves room, so that what lowers can be written whatever
    /// happens.
    ///
    /// # Errors
    ///
    /// The head is out of its bounds, or leaves no room.
    pub(crate) fn after(head: Head, before: &Core) -> Result<Self, FormatError> {
        let raises = head.core.exposes_more_than(before);
        let written = Self::new(head)?;
        let (bytes, limit) = (written.body.len(), Kind::Head.room() - LOWERING);
        if raises && bytes > limit {
            return Err(FormatError::TooLong { kind: "head that raises exposure", bytes, limit });
        }
        Ok(written)
    }

    /// Whether it is short enough to be written.
    pub(crate) fn fits(&self) -> bool {
        self.body.len() <= Kind::Head.room()
    }
}

impl<C: Counts> Value<C> {
    #[cfg(feature = "testing")]
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Head(_) => Kind::Head,
            Self::Row(_) => Kind::Row,
            Self::Ledger(_) => Kind::Ledger,
            Self::Mailbox(_) => Kind::Mailbox,
            Self::Handover(_) => Kind::Handover,
            Self::HandoverPart(_) => Kind::HandoverPart,
        }
    }

    pub(crate) fn write(&self, sealer: &Sealer, key: &Key) -> Result<Vec<u8>, FormatError> {
        match self {
            Self::Head(written) => sealer.seal(Kind::Head, key, &written.body),
            Self::Row(row) => sealer.seal(Kind::Row, key, &body(&**row)?),
            Self::Ledger(ledger) => sealer.seal(Kind::Ledger, key, &body(&**ledger)?),
            Self::Mailbox(mailbox) => sealer.seal(Kind::Mailbox, key, &body(&**mailbox)?),
            Self::Handover(handover) => sealer.seal(Kind::Handover, key, &body(&**handover)?),
            Self::HandoverPart(part) => sealer.seal(Kind::HandoverPart, key, &body(&**part)?),
        }
    }

    pub(crate) fn read(sealer: &Sealer, kind: Kind, key: &Key, bytes: &[u8]) -> Result<Self, FormatError> {
        let body = sealer.open(kind, key, bytes)?;
        match kind {
            Kind::Head => {
                let Asks { min_reader } = parsed(body)?;
                if min_reader > LIBRARY {
                    return Err(FormatError::Reader { asks: min_reader, known: LIBRARY });
                }
                let head: Head = parsed(body)?;
                head.check()?;
                Ok(Self::Head(Arc::new(Written { head, body: body.to_owned(), print: print(body) })))
            }
            Kind::Row => {
                let row: Row<C> = parsed(body)?;
                row.check()?;
                Ok(Self::Row(Arc::new(row)))
            }
            Kind::Ledger => {
                let ledger: Ledger<C> = parsed(body)?;
                ledger.check()?;
                Ok(Self::Ledger(Arc::new(ledger)))
            }
            Kind::Mailbox => {
                let mailbox: Mailbox = parsed(body)?;
                mailbox.check()?;
                Ok(Self::Mailbox(Arc::new(mailbox)))
            }
            Kind::Handover => {
                let handover: Handover = parsed(body)?;
                handover.check()?;
                Ok(Self::Handover(Arc::new(handover)))
            }
            Kind::HandoverPart => Ok(Self::HandoverPart(Arc::new(parsed(body)?))),
        }
    }
}

fn body(value: &impl Serialize) -> Result<String, FormatError> {
    serde_json::to_string(value).map_err(|error| FormatError::Body { cause: error.to_string() })
}

fn parsed<T: DeserializeOwned>(body: &str) -> Result<T, FormatError> {
    serde_json::from_str(body).map_err(|error| FormatError::Body { cause: error.to_string() })
}
