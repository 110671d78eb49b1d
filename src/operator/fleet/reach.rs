//! What is in a store, read without being a member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::error::FleetError;
use crate::base::chance::Dice;
use crate::base::clock::{Clock, Timestamp};
use crate::base::invalid::ArgumentError;
use crate::control::decider::Decider;
use crate::control::outside::settings;
use crate::control::saved::SavedControl;
use crate::fleet::format::envelope::{Kind, Sealer};
use crate::fleet::format::handover::Handover;
use crate::fleet::format::head::Head;
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::ledger::Ledger;
use crate::fleet::format::row::Row;
use crate::fleet::format::value::{Value, Written};
use crate::fleet::protocol::call::{Act, Reply};
use crate::fleet::protocol::cut::Found;
use crate::fleet::protocol::following::Applied;
use crate::fleet::protocol::perform::perform;
use crate::fleet::{Key, Listed, Read, Store, StoreError, Tag};
use crate::handle::fleet::agreement::{active_of, control_of, fleet_time, obey, quarantine_of};
use crate::handle::fleet::counts::FleetCounts;
use crate::handle::options::Fleet;

/// A fleet in its store.
pub(super) struct Reach {
    pub(super) store: Arc<dyn Store>,
    sealer: Sealer,
    pub(super) layout: Layout,
    pub(super) model: String,
    under: String,
    pub(super) clock: Clock,
    dice: Dice,
}

/// What is under a key.
pub(super) enum Lies {
    Nothing,
    Value(Value<FleetCounts>, Tag, Timestamp),
    /// With its tag where it may be written over, since the store could give one and it is no later release's, and why.
    Unreadable(Option<Tag>, String),
}

/// A row, or why it is none, and when it was put.
pub(super) struct FoundRow {
    pub(super) row: Result<Arc<Row<FleetCounts>>, String>,
    pub(super) at: Timestamp,
}

/// So far apart clocks are that nobody looks after.
const CLOCKS_APART: Duration = Duration::from_secs(120);

/// The ledger, and when it was put.
pub(super) type FoundLedger = (Arc<Ledger<FleetCounts>>, Timestamp);

/// The head, and what it says of the handle with all that was lowered in it.
pub(super) struct Agreed {
    pub(super) over: Applied,
    pub(super) at: Timestamp,
    pub(super) saved: SavedControl,
    pub(super) decider: Decider,
    /// The time of plans, and how long somebody has judged.
    pub(super) now: Timestamp,
    pub(super) active_ms: u64,
}

impl Agreed {
    pub(super) fn head(&self) -> &Head {
        self.over.head()
    }
}

impl Reach {
    pub(super) fn new(fleet: &Fleet, model: &str, clock: Clock) -> Result<Self, FleetError> {
        fleet.check()?;
        let (layout, sealer) = fleet.place(model)?;
        let mut seed = [0; 8];
        getrandom::fill(&mut seed)
            .map_err(|error| ArgumentError::new("the system's random numbers", error, "there"))?;
        Ok(Self {
            store: Arc::clone(&fleet.store),
            sealer,
            layout,
            model: model.to_owned(),
            under: fleet.root()?.to_string(),
            clock,
            dice: Dice::new(u64::from_le_bytes(seed), 1),
        })
    }

    /// A number that no other value has.
    pub(super) fn nonce(&self) -> Hex {
        Hex(self.dice.roll(0))
    }

    /// One request, in the words of the protocol; what the store said goes to `said`.
    pub(super) fn ask(&self, act: &Act<FleetCounts>, said: &mut Option<String>) -> Reply<FleetCounts> {
        perform(&*self.store, &self.sealer, act, said)
    }

    pub(super) fn get(&self, kind: Kind, key: &Key) -> Result<Lies, FleetError> {
        match self.store.get(key, None) {
            Ok(Read::Value { bytes, tag, at }) => Ok(match Value::read(&self.sealer, kind, key, &bytes) {
                Ok(value) => Lies::Value(value, tag, at),
                Err(error) => Lies::Unreadable((!error.is_newer()).then_some(tag), error.to_string()),
            }),
            // Nothing was known, so it cannot be the same.
            Ok(Read::Absent | Read::Same) => Ok(Lies::Nothing),
            Err(error @ (StoreError::Damaged { .. } | StoreError::TooLarge { .. })) => {
                Ok(Lies::Unreadable(None, error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// All that lies under a key.
    pub(super) fn list(&self, under: &Key) -> Result<Vec<Listed>, FleetError> {
        let mut all: Vec<Listed> = Vec::new();
        loop {
            let page = self.store.list(under, all.last().map(|last| &last.key))?;
            let more = page.more && !page.entries.is_empty();
            all.extend(page.entries);
            if !more {
                return Ok(all);
            }
        }
    }

    /// What is agreed on.
    pub(super) fn head(&self) -> Result<(Applied, Timestamp), FleetError> {
        let key = self.layout.head();
        match self.get(Kind::Head, key)? {
            Lies::Value(Value::Head(written), tag, at) => Ok((Applied { written, tag }, at)),
            Lies::Nothing => Err(self.missing()?),
            Lies::Value(..) => Err(unreadable(key, "it is no head")),
            Lies::Unreadable(_, reason) => Err(unreadable(key, &reason)),
        }
    }

    /// What is agreed on by now, for whoever has read what else lies there since; the one before where that cannot be read in this moment.
    pub(super) fn newest(&self, before: &Arc<Written>) -> Result<Arc<Written>, FleetError> {
        Ok(match self.get(Kind::Head, self.layout.head())? {
            Lies::Value(Value::Head(written), ..) => written,
            _ => Arc::clone(before),
        })
    }

    fn missing(&self) -> Result<FleetError, FleetError> {
        let (model, probes) = (self.model.clone(), self.layout.probes());
        let others = self.list(self.layout.handle())?;
        Ok(if others.iter().any(|entry| entry.key.below(&probes).is_none()) {
            FleetError::HeadMissing { model }
        } else {
            FleetError::NotFounded { model, under: self.under.clone() }
        })
    }

    /// What is agreed on, in the hands of whoever decides what comes next.
    pub(super) fn agreed(&self) -> Result<Agreed, FleetError> {
        let (over, at) = self.head()?;
        let key = self.layout.ledger().clone();
        let active_ms =
            active_of(over.head(), &self.ask(&Act::Get { key, kind: Kind::Ledger, known: None }, &mut None));
        self.decided(over, at, active_ms)
    }

    pub(super) fn decided(&self, over: Applied, at: Timestamp, active_ms: u64) -> Result<Agreed, FleetError> {
        let head = over.head();
        let later = || unreadable(self.layout.head(), "what it says of the handle is a later release's");
        let saved = control_of(head).ok_or_else(later)?;
        let setting = saved.setting.clone().ok_or_else(later)?;
        let settings = settings(&saved, quarantine_of(head));
        let mut decider = Decider::new(settings, setting, &saved, &[])
            .map_err(|refused| unreadable(self.layout.head(), &format!("{refused:?}")))?;
        let now = fleet_time(head, saved.at, active_ms);
        obey(&mut decider, head, &[], &saved, now);
        let saved = decider.saved(now);
        Ok(Agreed { over, at, saved, decider, now, active_ms })
    }

    /// Whether a value is dated later than it is by the own clock: that clock is wrong, or the store's, or it was dated by hand.
    pub(super) fn is_ahead(&self, at: Timestamp) -> bool {
        at > self.clock.now().plus(CLOCKS_APART)
    }

    /// At least so late is it by the store's clock, as values say that are not dated later than it is; where all are, the own clock is
    /// wrong.
    pub(super) fn latest(&self, moments: impl Iterator<Item = Timestamp> + Clone) -> Timestamp {
        let right = moments.clone().filter(|at| !self.is_ahead(*at)).max();
        right.or(moments.max()).unwrap_or_default()
    }

    /// How long nothing was written by the own clock, where that is longer than a fleet is silent that has processes.
    pub(super) fn silent(&self, head: &Head, store_now: Timestamp) -> Option<Duration> {
        let silent = self.clock.now().since(store_now);
        (silent > head.timing.gone_after().saturating_add(CLOCKS_APART)).then_some(silent)
    }

    /// The ledger, with when it was put; why it cannot be read, where it cannot.
    pub(super) fn ledger(&self) -> Result<Option<Result<FoundLedger, String>>, FleetError> {
        Ok(match self.get(Kind::Ledger, self.layout.ledger())? {
            Lies::Nothing => None,
            Lies::Value(Value::Ledger(ledger), _, at) => Some(Ok((ledger, at))),
            Lies::Value(..) => Some(Err(String::from("it is no ledger"))),
            Lies::Unreadable(_, reason) => Some(Err(reason)),
        })
    }

    /// The rows that are listed.
    pub(super) fn rows(&self, listed: &[Listed]) -> Result<BTreeMap<Hex, FoundRow>, FleetError> {
        let mut rows = BTreeMap::new();
        for entry in listed {
            let Some(name) = self.layout.name(&entry.key) else { continue };
            let found = match self.get(Kind::Row, &entry.key)? {
                Lies::Value(Value::Row(row), _, at) if row.name == name => FoundRow { row: Ok(row), at },
                Lies::Value(..) => FoundRow { row: Err(String::from("it is another's row")), at: entry.at },
                Lies::Unreadable(_, reason) => FoundRow { row: Err(reason), at: entry.at },
                // Somebody has swept it meanwhile.
                Lies::Nothing => continue,
            };
            rows.insert(name, found);
        }
        Ok(rows)
    }

    /// What is said of what processes have left, those of it that can be read, and when it was said.
    pub(super) fn handovers(
        &self,
        listed: &[Listed],
    ) -> Result<BTreeMap<Hex, (Arc<Handover>, Timestamp)>, FleetError> {
        let mut handovers = BTreeMap::new();
        for entry in listed {
            let Some(process) = self.layout.read_handover(&entry.key) else { continue };
            if let Lies::Value(Value::Handover(handover), _, at) = self.get(Kind::Handover, &entry.key)? {
                handovers.insert(process, (handover, at));
            }
        }
        Ok(handovers)
    }

    /// A head that is filed or kept.
    pub(super) fn put_aside(&self, key: &Key) -> Result<Option<Result<Arc<Written>, String>>, FleetError> {
        Ok(match self.get(Kind::Head, key)? {
            Lies::Nothing => None,
            Lies::Value(Value::Head(written), ..) => Some(Ok(written)),
            Lies::Value(..) => Some(Err(String::from("it is no head"))),
            Lies::Unreadable(_, reason) => Some(Err(reason)),
        })
    }
}

/// The same, for whoever cuts or sweeps.
pub(super) fn as_found(rows: &BTreeMap<Hex, FoundRow>) -> BTreeMap<Hex, Found<'_, FleetCounts>> {
    rows.iter()
        .map(|(name, found)| (*name, Found { row: found.row.as_ref().ok().map(|row| &**row), at: found.at }))
        .collect()
}

pub(super) fn unreadable(key: &Key, reason: &str) -> FleetError {
    FleetError::Unreadable { key: key.to_string(), reason: reason.to_owned() }
}
