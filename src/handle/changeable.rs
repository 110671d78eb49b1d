//! The options that can be changed while a handle runs.

use parking_lot::Mutex;

#[cfg(feature = "config")]
use super::config::Told;
use super::options::Retention;
use crate::base::invalid::ArgumentError;

/// The options that can be changed, as they are now. Locked last, for moments.
pub(crate) struct Changeable(pub(super) Mutex<Options>);

pub(super) struct Options {
    pub(super) retention: Retention,
    /// The file that was followed, and what it was said on top of.
    #[cfg(feature = "config")]
    pub(super) file: Option<(Told, Retention)>,
}

impl Changeable {
    pub(crate) fn new(
        retention: Retention,
        #[cfg(feature = "config")] file: Option<(Told, Retention)>,
    ) -> Self {
        Self(Mutex::new(Options {
            retention,
            #[cfg(feature = "config")]
            file,
        }))
    }
}

/// Which parts of another retention would take a new handle.
pub(super) fn fixed(now: &Retention, wanted: &Retention) -> Option<ArgumentError> {
    let told = |is_there: bool| if is_there { "there" } else { "left out" };
    if now.answers != wanted.answers {
        let allowed = format!("{}, as the handle was built", now.answers);
        return Some(ArgumentError::new("retention.answers", wanted.answers, allowed));
    }
    if now.drill.is_some() != wanted.drill.is_some() {
        let allowed = format!("{}, as the handle was built", told(now.drill.is_some()));
        return Some(ArgumentError::new("retention.drill", told(wanted.drill.is_some()), allowed));
    }
    None
}
