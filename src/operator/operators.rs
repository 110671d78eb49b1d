//! The handles of a service, by name.

use std::sync::Arc;

use thiserror::Error;

#[cfg(feature = "metrics")]
use super::figures::measured::Measured;
use super::figures::{self, Family};
#[cfg(feature = "metrics")]
use super::metrics::Emitter;
use super::operator::{Operator, WeakOperator};
use crate::base::causes::debug_as_told;
use crate::base::ordered::OrderedMap;

/// The handles of a service, by name and whatever their types. Clones are the same handles.
#[derive(Debug, Clone, Default)]
pub struct Operators {
    by_name: Arc<OrderedMap<String, Operator>>,
    #[cfg(feature = "metrics")]
    emitter: Arc<Emitter>,
}

impl Operators {
    /// Those of these handles.
    ///
    /// # Errors
    ///
    /// Two have one name.
    pub fn new(operators: impl IntoIterator<Item = Operator>) -> Result<Self, NameTakenError> {
        let mut by_name = OrderedMap::new();
        for operator in operators {
            if let Some(other) = by_name.insert(operator.name().to_owned(), operator) {
                return Err(NameTakenError { name: other.name().to_owned() });
            }
        }
        Ok(Self {
            by_name: Arc::new(by_name),
            #[cfg(feature = "metrics")]
            emitter: Arc::default(),
        })
    }

    /// The one of this name.
    pub fn get(&self, name: &str) -> Option<&Operator> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Operator> {
        self.by_name.values()
    }

    /// The same for whoever only looks, such as a timer: it keeps no handle alive.
    ///
    /// ```
    /// use switchback::operator::Operators;
    /// # use switchback::{ModelHandle, closure};
    /// # use switchback::options::Threads;
    /// # let late = ModelHandle::builder("late").live("v1", closure("half@1", |x: &f64| Ok(x / 2.0))).threads(Threads::manual()).build()?;
    /// let models = Operators::new([late.operator()])?.downgrade();
    /// assert_eq!(models.upgrade().iter().count(), 1);
    /// // The threads and the weights go with the handle, whoever looked at it.
    /// drop(late);
    /// assert_eq!(models.upgrade().iter().count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn downgrade(&self) -> WeakOperators {
        WeakOperators {
            operators: self.iter().map(Operator::downgrade).collect(),
            #[cfg(feature = "metrics")]
            emitter: Arc::clone(&self.emitter),
        }
    }

    /// Returns what is measured of all of them: see [`figures`].
    pub fn figures(&self) -> Vec<Family> {
        figures::families(&self.iter().map(Operator::measured).collect::<Vec<_>>())
    }

    /// Sets all figures in the recorder that the host has installed for the facade `metrics`, under the names of the
    /// [table](figures::DESCRIBED). Counters are set to what they have come to, gauges to what is so now. The host calls it on a
    /// timer, as often as its recorder is looked at; nothing is emitted by itself, and no request pays for it.
    ///
    /// ```
    /// use switchback::operator::Operators;
    /// # use switchback::{ModelHandle, closure};
    /// # use switchback::options::Threads;
    /// # let late = ModelHandle::builder("late").live("v1", closure("half@1", |x: &f64| Ok(x / 2.0))).threads(Threads::manual()).build()?;
    /// // After the recorder was installed: what is registered by the first call is kept.
    /// let models = Operators::new([late.operator()])?;
    /// // Every 15 seconds, on a thread or a task of the host's; or at the end of its own tick.
    /// models.emit_metrics();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Durations are no histogram of the facade's, since recorders keep each sample of those: they are a gauge `_sum` in seconds, a
    /// counter `_count`, and a gauge with the label `quantile` (0.5, 0.9, 0.99) over recent requests. Real histograms are what
    /// the feature `prometheus` has.
    ///
    /// The facade cannot forget a series. One whose version is gone is set for the last time: what says something (`_info`) to 0,
    /// other gauges to NaN. Give the exporter an `idle_timeout`, so that it forgets them. The operators keep their handles
    /// alive: a timer has [those that do not](Self::downgrade), and emits by `models.upgrade().emit_metrics()`.
    #[cfg(feature = "metrics")]
    pub fn emit_metrics(&self) {
        let measured: Vec<Measured> = self.iter().map(Operator::measured).collect();
        self.emitter.emit(&measured);
    }
}

/// [`Operators`] for whoever only looks. Clones are the same handles.
#[derive(Debug, Clone, Default)]
pub struct WeakOperators {
    operators: Arc<[WeakOperator]>,
    #[cfg(feature = "metrics")]
    emitter: Arc<Emitter>,
}

impl WeakOperators {
    /// Those whose handles are still held by somebody, for as long as they are needed.
    pub fn upgrade(&self) -> Operators {
        let held = self.operators.iter().filter_map(WeakOperator::upgrade);
        Operators {
            by_name: Arc::new(held.map(|operator| (operator.name().to_owned(), operator)).collect()),
            #[cfg(feature = "metrics")]
            emitter: Arc::clone(&self.emitter),
        }
    }
}

/// Two handles have one name.
#[derive(Clone, PartialEq, Eq, Error)]
#[error("two handles are called {name}: give one of them another name at `ModelHandle::builder`")]
#[non_exhaustive]
pub struct NameTakenError {
    /// The name.
    pub name: String,
}

debug_as_told!(NameTakenError);
