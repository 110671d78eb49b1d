//! One request, asked of a store.

use super::call::{Act, Reply};
use crate::fleet::format::counts::Counts;
use crate::fleet::format::envelope::Sealer;
use crate::fleet::format::value::Value;
use crate::fleet::store::{Over, Read, Store, StoreError, StoreOutcome};

/// Asks the store, on a thread that may wait.
pub(crate) fn perform<C: Counts>(store: &dyn Store, sealer: &Sealer, act: &Act<C>) -> Reply<C> {
    match act {
        Act::Get { key, kind, known } => match store.get(key, known.as_ref()) {
            Ok(Read::Absent) => Reply::Absent,
            Ok(Read::Same) => Reply::Same,
            Ok(Read::Value { bytes, tag, at }) => match Value::read(sealer, *kind, key, &bytes) {
                Ok(value) => Reply::Value { value, tag, at },
                Err(_) => Reply::Damaged { tag: Some(tag) },
            },
            Err(StoreError::Damaged { .. } | StoreError::TooLarge { .. }) => Reply::Damaged { tag: None },
            Err(error) => Reply::Failed(error.outcome()),
        },
        Act::Put { key, value, over } => {
            let over = over.as_ref().map_or(Over::Nothing, Over::This);
            // What cannot be written was not: a row that is too long is as good as none.
            let Ok(bytes) = value.write(sealer, key) else { return Reply::Failed(StoreOutcome::NotDone) };
            match store.put(key, &bytes, over) {
                Ok(tag) => Reply::Done(tag),
                Err(error) => Reply::Failed(error.outcome()),
            }
        }
        Act::List { under, after } => match store.list(under, after.as_ref()) {
            Ok(page) => Reply::Page(page),
            Err(error) => Reply::Failed(error.outcome()),
        },
    }
}
