//! Whether what several clients saw of one register is what a register would have shown them.
//!
//! In general that is hard to decide. Here it is a walk along a chain, because every value is written once and names the one that it
//! replaced: who came after whom is written down, and what is left is whether the order of the chain goes together with the
//! order in time. Each value has a moment at which it came, between two bounds:
//!
//! - a write came after it was called and before it returned;
//! - whoever read a value read it before the next one came, and after it came itself;
//! - whoever was refused because something else was there was refused after the next one came. (They had been told of the
//!   value that they named, so it had come by then.)
//!
//! Moments along the chain grow, so there are such moments exactly if no lower bound, of a value or of one before it, lies
//! above an upper one. The tests hold it against trying every order.

use crate::base::causes::debug_as_told;
use std::collections::BTreeMap;

use thiserror::Error;

/// What one client asked of a register, and what came of it. Moments are numbers of one counter for all clients, of which none
/// is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Before it was asked.
    pub called: u64,
    /// After it was answered; nothing where it never was, as of a client that was killed.
    pub returned: Option<u64>,
    /// What it was.
    pub act: Act,
}

impl Operation {
    /// Of a write that was never answered nothing was said.
    fn settled(&self) -> Self {
        match self.act {
            Act::Write { value, over, .. } if self.returned.is_none() => {
                Self { act: Act::Write { value, over, said: Said::Unknown }, ..*self }
            }
            _ => *self,
        }
    }
}

/// What was asked, and answered. Values are numbers of which each is written at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It was read. A read that failed is left out.
    Read {
        /// The value; nothing where there was none.
        saw: Option<u64>,
    },
    /// A value was to be written over another one.
    Write {
        /// The new one.
        value: u64,
        /// The one that it was to replace; nothing where there was to be none.
        over: Option<u64>,
        /// What was said of it.
        said: Said,
    },
}

/// What a store said of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It was done.
    Done,
    /// It was not done, something else was there.
    Conflict,
    /// It was not done, for another reason.
    NotDone,
    /// It may have been done, or may be yet. So it is of a client that was killed.
    Unknown,
}

/// In what a store was no register.
#[derive(Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// A value was seen that nobody wrote.
    #[error("value {value} was seen, and nobody wrote it")]
    Unwritten {
        /// Which.
        value: u64,
    },
    /// A value was written, or is in the history, twice.
    #[error("value {value} was written twice")]
    Twice {
        /// Which.
        value: u64,
    },
    /// Two values took the place of one.
    #[error("values {one} and {other} both took the place of {}", .over.map_or("nothing".into(), |over| over.to_string()))]
    Fork {
        /// What both replaced.
        over: Option<u64>,
        /// The one.
        one: u64,
        /// The other.
        other: u64,
    },
    /// A write was said not to be done, and its value was seen.
    #[error("value {value} was seen, and its writer was told that it was not written")]
    SaidNotDone {
        /// Which.
        value: u64,
    },
    /// A value was named by a client before anybody had been told of it: the history is not one of clients that read first.
    #[error("value {value} was to be replaced before anybody had been told of it")]
    NotTold {
        /// Which.
        value: u64,
    },
    /// A write was refused because something else was there, and nothing else was.
    #[error("a write over {} was refused, and nothing had replaced that", .over.map_or("nothing".into(), |over| over.to_string()))]
    NothingElse {
        /// What was to be replaced.
        over: Option<u64>,
    },
    /// What was seen and when do not go together: an older value was read after a newer one was there, or a newer one before it came.
    #[error("value {value} must have come after moment {after} and before moment {before}")]
    Order {
        /// Which.
        value: u64,
        /// The lower bound.
        after: u64,
        /// The upper bound.
        before: u64,
    },
}

debug_as_told!(HistoryError);

/// Between which moments a value has come.
#[derive(Clone, Copy)]
struct Bounds {
    after: u64,
    before: u64,
}

/// Whether there is an order of all operations in which each saw what a register would have shown it, and in which none
/// comes before another one that had returned before it was called. The values in the order in which they came.
///
/// # Errors
///
/// Where there is none: the first reason that was found.
pub fn check(operations: &[Operation]) -> Result<Vec<u64>, HistoryError> {
    let operations: Vec<Operation> = operations.iter().map(Operation::settled).collect();
    let operations = &operations[..];
    let mut writes: BTreeMap<u64, (Option<u64>, Said)> = BTreeMap::new();
    for operation in operations {
        if let Act::Write { value, over, said } = operation.act
            && writes.insert(value, (over, said)).is_some()
        {
            return Err(HistoryError::Twice { value });
        }
    }
    told_before_named(operations)?;
    let chain = chain(operations, &writes)?;
    let places: BTreeMap<u64, usize> =
        chain.iter().enumerate().map(|(place, value)| (*value, place)).collect();

    // One that nobody saw can have come last, after all that were seen: it is what a refusal may have met.
    let last = chain.last().copied();
    let unseen = |operation: &Operation| match operation.act {
        Act::Write { value, over, said: Said::Unknown } if over == last && !places.contains_key(&value) => {
            Some((operation.called, value))
        }
        _ => None,
    };
    let unseen = operations.iter().filter_map(unseen).min();

    let mut bounds = vec![Bounds { after: 0, before: u64::MAX }; chain.len() + 1];
    let place_of = |value: Option<u64>| value.map_or(Some(0), |value| Some(places.get(&value)? + 1));
    // The moment at place 0 is that at which there was nothing: always.
    let narrow = |bounds: &mut Vec<Bounds>, place: usize, after: u64, before: u64| {
        if let Some(bound) = place.checked_sub(1).and_then(|place| bounds.get_mut(place)) {
            bound.after = bound.after.max(after);
            bound.before = bound.before.min(before);
        }
    };
    if let Some((called, _)) = unseen {
        narrow(&mut bounds, chain.len() + 1, called, u64::MAX);
    }
    for operation in operations {
        let Operation { called, returned, act } = *operation;
        let until = returned.unwrap_or(u64::MAX);
        match act {
            Act::Read { saw } => {
                let place =
                    place_of(saw).ok_or(HistoryError::Unwritten { value: saw.unwrap_or_default() })?;
                narrow(&mut bounds, place, 0, until);
                narrow(&mut bounds, place + 1, called, u64::MAX);
            }
            Act::Write { value, said: Said::Done | Said::Unknown, .. } => {
                if let Some(place) = places.get(&value) {
                    // Done or not, it came at some moment of the call; where nobody knows, also later.
                    let until = if writes.get(&value).is_some_and(|(_, said)| *said == Said::Done) {
                        until
                    } else {
                        u64::MAX
                    };
                    narrow(&mut bounds, place + 1, called, until);
                }
            }
            Act::Write { over, said: Said::Conflict, .. } => {
                let place =
                    place_of(over).ok_or(HistoryError::Unwritten { value: over.unwrap_or_default() })?;
                if place == chain.len() && unseen.is_none() {
                    return Err(HistoryError::NothingElse { over });
                }
                narrow(&mut bounds, place + 1, 0, until);
            }
            Act::Write { said: Said::NotDone, .. } => {}
        }
    }
    let mut after = 0;
    for (place, bound) in bounds.iter().enumerate() {
        after = after.max(bound.after);
        if after > bound.before {
            let value = chain.get(place).copied().or(unseen.map(|(_, value)| value)).unwrap_or_default();
            return Err(HistoryError::Order { value, after, before: bound.before });
        }
    }
    Ok(chain)
}

/// The values that came, each after the one that it replaced.
fn chain(
    operations: &[Operation],
    writes: &BTreeMap<u64, (Option<u64>, Said)>,
) -> Result<Vec<u64>, HistoryError> {
    let mut came = std::collections::BTreeSet::new();
    for operation in operations {
        let mut seen = match operation.act {
            Act::Read { saw } => saw,
            Act::Write { value, said: Said::Done, .. } => Some(value),
            Act::Write { over, .. } => over,
        };
        // With those that it rests on.
        while let Some(value) = seen {
            let Some((over, said)) = writes.get(&value) else {
                return Err(HistoryError::Unwritten { value });
            };
            if matches!(said, Said::Conflict | Said::NotDone) {
                return Err(HistoryError::SaidNotDone { value });
            }
            seen = if came.insert(value) { *over } else { None };
        }
    }
    let mut next: BTreeMap<Option<u64>, u64> = BTreeMap::new();
    for value in &came {
        let over = writes.get(value).and_then(|(over, _)| *over);
        if let Some(one) = next.insert(over, *value) {
            return Err(HistoryError::Fork { over, one, other: *value });
        }
    }
    let mut chain = Vec::with_capacity(came.len());
    let mut last = None;
    while let Some(value) = next.remove(&last) {
        chain.push(value);
        last = Some(value);
    }
    // What is left goes round in a circle, of values that were named before they came.
    match next.into_values().next() {
        Some(value) => Err(HistoryError::NotTold { value }),
        None => Ok(chain),
    }
}

fn told_before_named(operations: &[Operation]) -> Result<(), HistoryError> {
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    for operation in operations {
        let known = match operation.act {
            Act::Read { saw } => saw,
            Act::Write { value, said: Said::Done, .. } => Some(value),
            Act::Write { .. } => None,
        };
        if let (Some(value), Some(returned)) = (known, operation.returned) {
            let first = told.entry(value).or_insert(returned);
            *first = returned.min(*first);
        }
    }
    for operation in operations {
        if let Act::Write { over: Some(value), .. } = operation.act
            && told.get(&value).is_none_or(|told| *told >= operation.called)
        {
            return Err(HistoryError::NotTold { value });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::chance::SplitMix64;

    fn read(called: u64, returned: u64, saw: Option<u64>) -> Operation {
        Operation { called, returned: Some(returned), act: Act::Read { saw } }
    }

    fn write(called: u64, returned: u64, value: u64, over: Option<u64>, said: Said) -> Operation {
        Operation { called, returned: Some(returned), act: Act::Write { value, over, said } }
    }

    /// By trying every order: whether one is left of which each can be the next.
    fn by_force(left: &[Operation], there: Option<u64>) -> bool {
        let must = left.iter().filter(|operation| operation.returned.is_some());
        let mut must =
            must.filter(|operation| !matches!(operation.act, Act::Write { said: Said::Unknown, .. }));
        if must.next().is_none() {
            return true;
        }
        left.iter().enumerate().any(|(place, operation)| {
            let first = left.iter().all(|other| {
                let bound = matches!(other.act, Act::Write { said: Said::Unknown, .. });
                bound || other.returned.is_none_or(|returned| returned >= operation.called)
            });
            let mut others = left.to_vec();
            others.remove(place);
            let goes_on = |there| by_force(&others, there);
            first
                && match operation.act {
                    Act::Read { saw } => saw == there && goes_on(there),
                    Act::Write { said: Said::NotDone, .. } => goes_on(there),
                    Act::Write { over, said: Said::Conflict, .. } => over != there && goes_on(there),
                    Act::Write { value, over, said: Said::Done } => over == there && goes_on(Some(value)),
                    Act::Write { value, over, said: Said::Unknown } => over == there && goes_on(Some(value)),
                }
        })
    }

    /// What three clients see of a true register, of which something is then changed, or nothing.
    fn drawn(chance: &mut SplitMix64) -> Vec<Operation> {
        let mut draw = |below: u64| chance.bits() % below;
        let (mut there, mut moment, mut told) = (None, 0, vec![None]);
        let mut open: Vec<Option<(u64, Operation)>> = vec![None; 3];
        let mut done = Vec::new();
        for value in 1..200 {
            if done.len() == 6 {
                break;
            }
            moment += 1;
            let client = draw(3) as usize;
            match open[client].take() {
                None => {
                    let act = if draw(2) == 0 {
                        Act::Read { saw: None }
                    } else {
                        let over = told[told.len() - 1 - draw(told.len().min(2) as u64) as usize];
                        Act::Write { value, over, said: Said::Unknown }
                    };
                    open[client] = Some((0, Operation { called: moment, returned: None, act }));
                }
                // It takes effect.
                Some((0, mut operation)) => {
                    match &mut operation.act {
                        Act::Read { saw } => *saw = there,
                        Act::Write { value, over, said } if *over == there => {
                            (there, *said) =
                                (Some(*value), if draw(4) == 0 { Said::Unknown } else { Said::Done });
                        }
                        Act::Write { said, .. } => {
                            *said = if draw(4) == 0 { Said::Unknown } else { Said::Conflict }
                        }
                    }
                    open[client] = Some((1, operation));
                }
                Some((_, mut operation)) => {
                    operation.returned = Some(moment);
                    match operation.act {
                        Act::Read { saw } => told.push(saw),
                        Act::Write { value, said: Said::Done, .. } => told.push(Some(value)),
                        Act::Write { .. } => {}
                    }
                    done.push(operation);
                }
            }
        }
        let writes = open.into_iter().flatten().map(|(_, operation)| operation);
        let mut all: Vec<Operation> =
            done.into_iter().chain(writes.filter(|open| matches!(open.act, Act::Write { .. }))).collect();
        if draw(2) == 0 {
            let place = draw(all.len() as u64) as usize;
            let other = all[draw(all.len() as u64) as usize];
            match (&mut all[place].act, other.act) {
                (Act::Read { saw }, Act::Read { saw: another }) => *saw = another,
                (Act::Read { saw }, Act::Write { value, .. }) => *saw = Some(value),
                (Act::Write { said, .. }, _) => {
                    *said = [Said::Done, Said::Conflict, Said::Unknown, Said::NotDone][draw(4) as usize];
                }
            }
        }
        all
    }

    #[test]
    fn it_says_what_trying_every_order_says() {
        let mut chance = SplitMix64(17);
        let (mut good, mut bad) = (0, 0);
        for round in 0..20_000 {
            let operations = drawn(&mut chance);
            let found = check(&operations);
            // Clients that name what nobody told them of are another matter.
            if matches!(found, Err(HistoryError::NotTold { .. })) {
                continue;
            }
            let settled: Vec<Operation> = operations.iter().map(Operation::settled).collect();
            let expected = by_force(&settled, None);
            assert_eq!(found.is_ok(), expected, "round {round}: {found:?} of {operations:#?}");
            *(if expected { &mut good } else { &mut bad }) += 1;
        }
        assert!(good > 5_000 && bad > 3_000, "{good} good, {bad} bad");
    }

    #[test]
    fn each_way_to_be_no_register_is_named() {
        let first = write(1, 2, 7, None, Said::Done);
        assert_eq!(check(&[first, read(3, 4, Some(7))]), Ok(vec![7]));
        assert_eq!(
            check(&[first, read(3, 4, None)]),
            Err(HistoryError::Order { value: 7, after: 3, before: 2 })
        );
        assert_eq!(check(&[first, read(3, 4, Some(8))]), Err(HistoryError::Unwritten { value: 8 }));
        assert_eq!(check(&[first, first]), Err(HistoryError::Twice { value: 7 }));
        let fork = write(3, 4, 8, None, Said::Done);
        assert_eq!(check(&[first, fork]), Err(HistoryError::Fork { over: None, one: 7, other: 8 }));
        let refused = write(3, 4, 8, Some(7), Said::Conflict);
        assert_eq!(check(&[first, refused]), Err(HistoryError::NothingElse { over: Some(7) }));
        assert_eq!(
            check(&[first, refused, read(5, 6, Some(8))]),
            Err(HistoryError::SaidNotDone { value: 8 })
        );
        let unseen = write(3, 9, 9, Some(7), Said::Unknown);
        assert_eq!(check(&[first, refused, unseen]), Ok(vec![7]));
        let early = write(1, 4, 8, Some(9), Said::Unknown);
        assert_eq!(check(&[first, early]), Err(HistoryError::NotTold { value: 9 }));
    }
}
