//! A lock that the urgent get before those who only look.

use std::ops::{Deref, DerefMut};

use parking_lot::{Mutex, MutexGuard};

/// A lock with two doors. Whoever looks, counts or writes down takes a turn first, so that of all of them one at a time
/// stands at the lock itself; whoever lowers exposure goes straight to it. So a rollback waits for the one that is inside
/// and for one more at most, however many ask for the status of a handle.
///
/// A lock of its own for readers would not do: what they look at is brought up to date for them, which is a change.
pub(crate) struct Gate<T> {
    turn: Mutex<()>,
    lock: Mutex<T>,
}

/// The value behind a gate, until this is dropped.
pub(crate) struct Inside<'a, T> {
    // Let go of first: whoever has the turn next finds the lock free, or held by somebody urgent.
    held: MutexGuard<'a, T>,
    _turn: Option<MutexGuard<'a, ()>>,
}

impl<T> Gate<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { turn: Mutex::new(()), lock: Mutex::new(value) }
    }

    /// Goes in after those who wait already.
    pub(crate) fn lock(&self) -> Inside<'_, T> {
        let turn = self.turn.lock();
        Inside { held: self.lock.lock(), _turn: Some(turn) }
    }

    /// Goes in before those who wait for their turn: to lower exposure, and for what belongs to that and takes no longer.
    pub(crate) fn lock_urgently(&self) -> Inside<'_, T> {
        Inside { held: self.lock.lock(), _turn: None }
    }
}

impl<T> Deref for Inside<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held
    }
}

impl<T> DerefMut for Inside<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    /// Bug: while eight threads asked for the status, a rollback waited 249 ms at p99. Cause: all stood at one lock, and whoever
    /// held it last got it again. Fix: those who only look stand in a line of their own.
    #[test]
    fn the_urgent_do_not_stand_in_the_line_of_those_who_look() {
        let gate = Arc::new(Gate::new(0));
        let inside = gate.lock();
        assert!(gate.turn.try_lock().is_none(), "whoever looks next waits here, and not at the lock");
        drop(inside);
        let of_somebody = gate.turn.lock();
        let (lowered, lowers) = crossbeam_channel::bounded(1);
        let urgent = Arc::clone(&gate);
        std::thread::spawn(move || {
            *urgent.lock_urgently() += 1;
            lowered.send(()).unwrap();
        });
        // Longer than any of it takes: it is waited for only where it is wrong.
        lowers.recv_timeout(Duration::from_secs(30)).unwrap();
        drop(of_somebody);
        assert_eq!(*gate.lock(), 1);
    }
}
