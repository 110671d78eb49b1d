//! The rules of the protocol, each of which can be left out to see that it is needed.
#![cfg_attr(
    not(feature = "testing"),
    expect(dead_code, unreachable_pub, reason = "the simulation leaves them out, and nobody else does")
)]

/// A rule of the protocol. The simulation leaves out one at a time, and must catch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProtocolRule {
    /// A lease counts from when the read was sent, not from its answer.
    LeaseFromSending,
    /// A row is put over its own tag.
    RowOverItself,
    /// After an outcome that is unknown, or a conflict, what is there is looked at before the name is left.
    Look,
    /// A name in doubt is never left because of a timer.
    Doubt,
    /// A name is given up by sealing it.
    Seal,
    /// The ledger is put over the one that was read.
    LedgerOverRead,
    /// The head is put over the one that was read.
    HeadOverRead,
    /// A head is followed only if it names the one before as its ancestor.
    Ancestors,
    /// An answer is held only against what was known when it was asked.
    LateAnswers,
    /// Nothing is raised on a head that is older than what a member has.
    RaiseAgainstSeen,
    /// Nothing is raised soon after the ledger stood still.
    Quiet,
    /// A row that cannot be read is set aside after three ticks.
    SetAside,
    /// The counts of a tick that set a row aside are given up, of all members.
    Void,
    /// A row that is closed stays closed.
    ClosedIsFinal,
    /// A row is closed by the time in which somebody looked at it, and not by the store's clock.
    WatchedTime,
    /// A raise is put over the head that was judged.
    JudgedHead,
    /// Whoever loses the ledger stands down.
    StandDown,
    /// A head is filed before it is replaced.
    File,
    /// A lowering that met another head is put over that.
    Rebase,
    /// Whoever lowers stores its own table first.
    LowerHereFirst,
    /// What is counted while the lease does not hold is no evidence.
    Lapse,
    /// A member lives for a while before it exposes anything.
    Settle,
    /// Rows are written on a cadence, whatever was seen.
    Cadence,
    /// Only rows are swept that are closed, and count nothing that is on trial.
    SweepClosed,
}

impl ProtocolRule {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::LeaseFromSending,
        Self::RowOverItself,
        Self::Look,
        Self::Doubt,
        Self::Seal,
        Self::LedgerOverRead,
        Self::HeadOverRead,
        Self::Ancestors,
        Self::LateAnswers,
        Self::RaiseAgainstSeen,
        Self::Quiet,
        Self::SetAside,
        Self::Void,
        Self::ClosedIsFinal,
        Self::WatchedTime,
        Self::JudgedHead,
        Self::StandDown,
        Self::File,
        Self::Rebase,
        Self::LowerHereFirst,
        Self::Lapse,
        Self::Settle,
        Self::Cadence,
        Self::SweepClosed,
    ];
}

/// Which rules are kept: all, unless a simulation says otherwise.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rules {
    #[cfg(feature = "testing")]
    without: Option<ProtocolRule>,
}

impl Rules {
    #[cfg(feature = "testing")]
    pub(crate) fn without(rule: Option<ProtocolRule>) -> Self {
        Self { without: rule }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn keep(self, rule: ProtocolRule) -> bool {
        self.without != Some(rule)
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, reason = "with the feature `testing` it has one left out")]
    pub(crate) const fn keep(self, _: ProtocolRule) -> bool {
        true
    }
}
