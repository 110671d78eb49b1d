//! Disks that fail when a test says so.

use std::sync::Arc;

use parking_lot::Mutex;

/// Steps on files that fail on cue: a disk that is full, a sync that is refused, a process that ends in the middle.
///
/// Given to whatever writes to a disk (a repository, a handle's state), each step there (a write, a sync, a rename, ...)
/// asks it first. Clones share their state.
///
/// ```
/// use switchback::testing::Faults;
///
/// let faults = Faults::new();
/// faults.fail_after(3); // the fourth step and all that follow fail
/// faults.mend();        // and now none does
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Failing>>);

#[derive(Debug, Default)]
struct Failing {
    steps: u64,
    from: Option<u64>,
    torn: bool,
    once: bool,
}

impl Faults {
    /// No faults yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The steps after the next `steps` fail, until [`mend`](Self::mend).
    pub fn fail_after(&self, steps: u64) -> &Self {
        let failing = &mut *self.0.lock();
        (failing.from, failing.torn, failing.once) = (Some(failing.steps + steps), false, false);
        self
    }

    /// The failing write leaves its first half behind, as where a process ends in the middle.
    pub fn torn(&self) -> &Self {
        self.0.lock().torn = true;
        self
    }

    /// Only one step fails, and those after it do not.
    pub fn once(&self) -> &Self {
        self.0.lock().once = true;
        self
    }

    /// No step fails any more.
    pub fn mend(&self) {
        self.0.lock().from = None;
    }

    /// How many steps were made or refused so far.
    pub fn steps(&self) -> u64 {
        self.0.lock().steps
    }

    pub(crate) fn step(&self) -> std::io::Result<()> {
        let failing = &mut *self.0.lock();
        failing.steps += 1;
        match failing.from {
            Some(from) if failing.steps > from => {
                if failing.once {
                    failing.from = None;
                }
                Err(std::io::Error::other("failed on cue"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a write that fails leaves a part behind.
    pub(crate) fn tears(&self) -> bool {
        self.0.lock().torn
    }
}
