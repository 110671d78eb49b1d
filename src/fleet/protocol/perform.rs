//! One request, asked of a store.

use super::call::{Act, Reply};
use crate::fleet::format::counts::Counts;
use crate::fleet::format::envelope::{Kind, Sealer};
use crate::fleet::format::value::Value;
use crate::fleet::store::{Over, Read, Store, StoreError, StoreOutcome};

/// Asks the store, on a thread that may wait. What it said where nothing came of it, or where a value is none of the fleet's, goes to
/// `said`.
pub(crate) fn perform<C: Counts>(
    store: &dyn Store,
    sealer: &Sealer,
    act: &Act<C>,
    said: &mut Option<String>,
) -> Reply<C> {
    let mut failed = |error: StoreError| {
        let outcome = error.outcome();
        if outcome != StoreOutcome::Conflict {
            *said = Some(error.to_string());
        }
        Reply::Failed(outcome)
    };
    match act {
        Act::Get { key, kind, known } => match store.get(key, known.as_ref()) {
            Ok(Read::Absent) => Reply::Absent,
            Ok(Read::Same) => Reply::Same,
            Ok(Read::Value { bytes, tag, at }) => match Value::read(sealer, *kind, key, &bytes) {
                Ok(value) => Reply::Value { value, tag, at },
                Err(error) => {
                    *said = Some(format!("{key}: {error}"));
                    // What others have left there may wait for somebody who can read it. All else has one writer, or is none's to mend.
                    let is_anothers = *kind == Kind::Mailbox && error.may_be_anothers();
                    Reply::Damaged { tag: (!is_anothers).then_some(tag) }
                }
            },
            Err(error @ (StoreError::Damaged { .. } | StoreError::TooLarge { .. })) => {
                failed(error);
                Reply::Damaged { tag: None }
            }
            Err(error) => failed(error),
        },
        Act::Put { key, value, over } => {
            let over = over.as_ref().map_or(Over::Nothing, Over::This);
            // What cannot be written was not: a row that is too long is as good as none.
            let bytes = match value.write(sealer, key) {
                Ok(bytes) => bytes,
                Err(error) => {
                    *said = Some(format!("{key}: {error}"));
                    return Reply::Failed(StoreOutcome::NotDone);
                }
            };
            match store.put(key, &bytes, over) {
                Ok(tag) => Reply::Done(tag),
                Err(error) => failed(error),
            }
        }
        Act::List { under, after } => match store.list(under, after.as_ref()) {
            Ok(page) => Reply::Page(page),
            Err(error) => failed(error),
        },
    }
}
