//! Stand-ins for `faults` without the feature `testing`: there are none. Nothing here has a size.

/// There are none.
#[derive(Debug, Clone)]
pub(crate) enum Faults {}

impl Faults {
    pub(crate) fn step(&self) -> std::io::Result<()> {
        match *self {}
    }

    pub(crate) fn tears(&self) -> bool {
        match *self {}
    }
}
