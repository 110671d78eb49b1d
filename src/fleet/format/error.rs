//! Why a value is none.

use thiserror::Error;

/// Why bytes from a store are not a value of this fleet. All of it counts as damage: nothing that cannot be read decides anything.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FormatError {
    #[error("it has {bytes} bytes, and a {kind} has at most {limit}")]
    TooLong { kind: &'static str, bytes: usize, limit: usize },
    #[error("its first line is no envelope: {cause}")]
    Envelope { cause: String },
    #[error("it is a {found}, where a {expected} should be")]
    Kind { found: String, expected: &'static str },
    #[error("it has format {format}, and this release reads up to {known}: start the release that wrote it")]
    Newer { format: u32, known: u32 },
    #[error("it is one of a later release of this library: it asks for {asks} and this is {known}")]
    Reader { asks: u32, known: u32 },
    #[error("it is of fleet {found}, and this is fleet {expected}: look at the address of the store")]
    OtherFleet { found: String, expected: String },
    /// Other bytes than those that were sealed, another place, or another secret.
    #[error("it was not written here with the fleet's secret: it is damaged, moved or forged")]
    Forged,
    /// No secret was given, by which it could be told who has written it.
    #[error(
        "no secret was given here, and it was written with one, or is damaged, moved or forged: give the fleet's secret"
    )]
    Secretless,
    #[error("its body cannot be read: {cause}")]
    Body { cause: String },
    #[error("its {what} is {found}: it must be {allowed}")]
    Bounds { what: &'static str, found: String, allowed: &'static str },
}

impl FormatError {
    /// Whether it may be a whole value of somebody's who has a later release, or another secret: not damage that whoever finds it may write over.
    pub(crate) fn may_be_anothers(&self) -> bool {
        matches!(self, Self::Newer { .. } | Self::Reader { .. } | Self::Forged | Self::Secretless)
    }

    /// Whether it is a later release's.
    pub(crate) fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. } | Self::Reader { .. })
    }

    /// Refuses what is not within its bounds.
    pub(crate) fn unless(
        valid: bool,
        what: &'static str,
        found: impl ToString,
        allowed: &'static str,
    ) -> Result<(), Self> {
        if valid { Ok(()) } else { Err(Self::Bounds { what, found: found.to_string(), allowed }) }
    }
}
