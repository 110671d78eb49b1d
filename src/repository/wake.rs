//! Listens for the system's word that something has moved: a reason to look, never the truth.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

/// Wakes whoever waits when something moves in a folder, where the system tells.
pub(crate) struct Waker {
    #[cfg(feature = "watch")]
    _watcher: Option<notify::RecommendedWatcher>,
    /// Kept, so that waiting lasts as long as it may where nobody tells.
    _tell: Sender<()>,
    moved: Receiver<()>,
}

impl Waker {
    pub(crate) fn of(folder: &Path) -> Self {
        let (tell, moved) = bounded(1);
        #[cfg(not(feature = "watch"))]
        let _ = folder;
        Self {
            #[cfg(feature = "watch")]
            _watcher: watcher(folder, tell.clone()),
            _tell: tell,
            moved,
        }
    }

    pub(crate) fn wait(&self, longest: Duration) {
        let _ = self.moved.recv_timeout(longest);
    }
}

/// None where the system tells nothing: a file system over a network, or too many watches.
#[cfg(feature = "watch")]
fn watcher(folder: &Path, tell: Sender<()>) -> Option<notify::RecommendedWatcher> {
    use notify::{RecursiveMode, Watcher};
    let told = move |_: notify::Result<notify::Event>| {
        // One that waits already says enough.
        let _ = tell.try_send(());
    };
    let mut watcher = notify::recommended_watcher(told).ok()?;
    watcher.watch(folder, RecursiveMode::Recursive).ok()?;
    Some(watcher)
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}
