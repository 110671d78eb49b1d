//! The handles of a service, by name.

use std::sync::Arc;

use thiserror::Error;

use super::figures::{self, Family};
use super::operator::Operator;
use crate::base::ordered::OrderedMap;

/// The handles of a service, by name and whatever their types. Clones share nothing that changes.
#[derive(Debug, Clone, Default)]
pub struct Operators(Arc<OrderedMap<String, Operator>>);

impl Operators {
    /// Those of these handles.
    ///
    /// # Errors
    ///
    /// Two have one name.
    pub fn new(operators: impl IntoIterator<Item = Operator>) -> Result<Self, NameTaken> {
        let mut by_name = OrderedMap::new();
        for operator in operators {
            if let Some(other) = by_name.insert(operator.name().to_owned(), operator) {
                return Err(NameTaken { name: other.name().to_owned() });
            }
        }
        Ok(Self(Arc::new(by_name)))
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Operator> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Operator> {
        self.0.values()
    }

    /// What is measured of all of them: see [`figures`].
    pub fn figures(&self) -> Vec<Family> {
        figures::of(self.iter())
    }
}

/// Two handles have one name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("two handles are called {name}: give one of them another name at `ModelHandle::builder`")]
pub struct NameTaken {
    /// The name.
    pub name: String,
}
