//! What is being done, for whoever waits in front of a terminal.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// What is done sooner is not told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Says on the standard error, once a second from the first second on, what takes so long, and takes it away at the end. Nothing
/// where that is no terminal.
pub(crate) struct Progress(Option<(Sender<String>, JoinHandle<()>)>);

impl Progress {
    pub(crate) fn begin() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let (told, said) = channel();
        let thread = std::thread::spawn(move || tell(&said));
        Self(Some((told, thread)))
    }

    /// Does one thing, which that is told of, and is over before anything else is printed.
    pub(crate) fn of<T>(what: impl Into<String>, work: impl FnOnce() -> T) -> T {
        let progress = Self::begin();
        progress.on(what);
        work()
    }

    /// What is done from now on.
    pub(crate) fn on(&self, what: impl Into<String>) {
        if let Some((told, _)) = &self.0 {
            // Where nobody listens there is nobody to tell.
            let _ = told.send(what.into());
        }
    }
}

/// The line is gone before anything else is printed.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((told, thread)) = self.0.take() {
            drop(told);
            let _ = thread.join();
        }
    }
}

fn tell(said: &std::sync::mpsc::Receiver<String>) {
    let mut stderr = std::io::stderr();
    let (mut what, mut seconds, mut shown) = (String::new(), 0_u64, false);
    loop {
        match said.recv_timeout(PATIENCE) {
            Ok(next) => (what, seconds) = (next, 0),
            Err(RecvTimeoutError::Timeout) => {
                seconds += PATIENCE.as_secs();
                // Back to the beginning, and whatever stood there away.
                let line = crate::out::visible(&format!("{what} ({seconds} s)"));
                let _ = write!(stderr, "\r\u{1b}[K{line}").and_then(|()| stderr.flush());
                shown = true;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    if shown {
        let _ = write!(stderr, "\r\u{1b}[K").and_then(|()| stderr.flush());
    }
}
