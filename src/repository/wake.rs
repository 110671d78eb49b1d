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
            _watcher: {
                let tell = tell.clone();
                // One that waits already says enough.
                watcher(folder, move |_| {
                    let _ = tell.try_send(());
                })
            },
            _tell: tell,
            moved,
        }
    }

    pub(crate) fn wait(&self, longest: Duration) {
        let _ = self.moved.recv_timeout(longest);
    }
}

/// None where the system tells nothing: a file system over a network, or too many watches. `moved` is given the paths; none where
/// the system has lost count, which is a reason to look too.
#[cfg(feature = "watch")]
fn watcher(
    folder: &Path,
    moved: impl Fn(&[std::path::PathBuf]) + Send + 'static,
) -> Option<notify::RecommendedWatcher> {
    use notify::{RecursiveMode, Watcher};
    let told = move |event: notify::Result<notify::Event>| match event {
        // Whoever looks would wake itself by looking.
        Ok(event) if is_a_look(event.kind) => {}
        Ok(event) => moved(&event.paths),
        Err(_) => moved(&[]),
    };
    let mut watcher = notify::recommended_watcher(told).ok()?;
    watcher.watch(folder, RecursiveMode::Recursive).ok()?;
    Some(watcher)
}

/// Whether somebody has only opened, read or closed something.
#[cfg(feature = "watch")]
fn is_a_look(kind: notify::EventKind) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    matches!(kind, EventKind::Access(how) if how != AccessKind::Close(AccessMode::Write))
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waker").finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "watch"))]
mod tests {
    use std::fs;

    use super::*;

    /// Bug: with the feature `watch` a service that followed a repository in which nothing moved kept a core busy: `Follow::wait` never
    /// waited. Cause: the system tells of files that are opened and closed too, and a look opens manifests, so it was told of itself.
    /// Fix: what only looks is no reason to look.
    #[test]
    fn whoever_looks_into_a_folder_is_not_woken_by_that() {
        let folder = std::env::temp_dir().join(format!("switchback-wake-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("manifest.json"), "{}").unwrap();
        let (tell, told) = crossbeam_channel::unbounded();
        let _watcher = watcher(&folder, move |paths| {
            let _ = tell.send(paths.to_vec());
        })
        .unwrap();
        for _ in 0..10 {
            fs::read(folder.join("manifest.json")).unwrap();
            fs::read_dir(&folder).unwrap().count();
        }
        // The system tells in the order of what happened: whatever was told of the looks comes before this.
        let last = folder.join("model.onnx");
        fs::write(&last, "new").unwrap();
        assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap(), [last]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
