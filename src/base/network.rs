//! A thread that waits for the network, for callers who block.

use std::error::Error;
use std::future::Future;
use std::sync::mpsc;

use tokio::runtime::{Builder, Runtime};

pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// A runtime of its own with one thread. Whoever asks waits on a channel and not in a runtime, so that it may be asked from
/// within the host's, by several threads at once.
pub(crate) struct Network {
    /// Nothing once this is dropped.
    runtime: Option<Runtime>,
}

impl Network {
    pub(crate) fn new(thread: &str) -> Result<Self, Cause> {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name(thread).enable_all().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Waits for what comes of a future, on the thread.
    ///
    /// # Errors
    ///
    /// The future has panicked.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Cause> {
        let (give, take) = mpsc::sync_channel(1);
        let runtime = self.runtime.as_ref().ok_or("the client is closed")?;
        runtime.spawn(async move {
            // Whoever waits does so until this is sent or dropped.
            let _ = give.send(future.await);
        });
        take.recv().map_err(|_| "the client has panicked".into())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // To wait for it is forbidden within another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
