//! The protocols between threads that are more than a lock. Each is small enough to be run in every interleaving:
//! `tests/loom.rs` includes this file, with loom's primitives in the place of the standard library's.

use std::time::Duration;

use super::atomics::{Arc, AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, Ordering, fence};

/// So much of something, such as bytes or calls, that may be in use at one time.
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: AtomicUsize::new(0), max }
    }

    /// Takes `amount` out of the budget; whether there was that much left. What is larger than the whole budget is never
    /// taken.
    pub(crate) fn reserve(&self, amount: usize) -> bool {
        // Relaxed, here and below: the counter guards no other data, the channel hands the request over.
        let mut used = self.used.load(Ordering::Relaxed);
        while let Some(total) = used.checked_add(amount).filter(|total| *total <= self.max) {
            match self.used.compare_exchange_weak(used, total, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => used = now,
            }
        }
        false
    }

    /// Gives back what was reserved.
    pub(crate) fn release(&self, amount: usize) {
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Whether something is left: a load, where `reserve` writes.
    #[inline]
    pub(crate) fn any_left(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.max
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// A flag that is raised once and stays up.
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(crate) fn raise(&self) {
        // Relaxed, both: the flag carries no other data, and whoever misses it does once more what is harmless: a
        // candidate that fails is answered for by live, a copy is run in vain.
        self.0.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A moment that only ever moves forward.
pub(crate) struct Until(AtomicU64);

impl Until {
    pub(crate) fn new(nanos: u64) -> Self {
        Self(AtomicU64::new(nanos))
    }

    /// Moves to `nanos` where that is later: of two that extend at once, the later wins.
    pub(crate) fn extend(&self, nanos: u64) {
        // Relaxed: the value stands for itself. Whoever still reads the old one takes it to be over too soon, which is
        // the safe side.
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn reaches(&self, nanos: u64) -> bool {
        nanos <= self.0.load(Ordering::Relaxed)
    }

    /// How long ago it was at `nanos`.
    pub(crate) fn ago(&self, nanos: u64) -> u64 {
        // Relaxed: as above, one that still reads the old value takes it to be longer ago.
        nanos.saturating_sub(self.0.load(Ordering::Relaxed))
    }
}

/// How many hold back what a deadline would allow.
pub(crate) struct Holds(AtomicUsize);

impl Holds {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    pub(crate) fn begin(&self) {
        // Relaxed, all of them: like a deadline the count stands for itself. Whoever reads it a moment too late has begun
        // before it was raised, and whoever lowers it has stored what holds from then on.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// Those who have done something to what is in force before they had the lock under which it is done for good. Whoever has
/// the lock meanwhile and puts something else in force does it to that too.
pub(crate) struct Ahead(AtomicUsize);

impl Ahead {
    pub(crate) fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Without the lock: says so, then does it.
    pub(crate) fn go<T>(&self, act: impl FnOnce() -> T) -> T {
        // Relaxed, with a fence on either side: each of the two writes one thing and then reads the other, so one of them sees
        // what the other has written. Either this one acts on what was just put in force, or the one who put it there sees the
        // count, and does it.
        self.0.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        act()
    }

    /// Under the lock, by whoever has just put something in force.
    pub(crate) fn follow(&self, act: impl FnOnce()) {
        fence(Ordering::SeqCst);
        if self.0.load(Ordering::Relaxed) > 0 {
            act();
        }
    }

    /// Under the lock, by whoever went ahead, before it does for good what it did.
    pub(crate) fn arrive(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Something that one at a time does, for all who ask for it meanwhile: nobody waits for the turn, and nothing is left undone with nobody at it.
#[cfg_attr(not(feature = "state"), allow(dead_code, reason = "only what is kept is written down"))]
pub(crate) struct Asked(AtomicBool);

#[cfg_attr(not(feature = "state"), allow(dead_code, reason = "only what is kept is written down"))]
impl Asked {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Has it done: here or, where another has the turn, by that one.
    pub(crate) fn ask<T>(&self, turn: impl Fn() -> Option<T>, act: impl Fn(T)) {
        // An exchange, released and acquired, though it is the same for several: whoever finds that it was asked for has what each of them
        // asked because of.
        self.0.swap(true, Ordering::AcqRel);
        self.go_on(turn, act);
    }

    /// By whoever has let go of the turn: does what others have asked for while they had it. `act` lets go of the turn that it is given.
    pub(crate) fn go_on<T>(&self, turn: impl Fn() -> Option<T>, act: impl Fn(T)) {
        loop {
            // Whoever asks writes this and then tries for the turn, and whoever has that lets go of it and then reads this: with the fence
            // between, one of them sees what the other has done.
            fence(Ordering::SeqCst);
            if !self.0.load(Ordering::Relaxed) {
                return;
            }
            // Another has it by now, and looks here when they have let go of it.
            let Some(turn) = turn() else { return };
            // Before it is done: what is asked for from now on may come too late for this time.
            self.0.swap(false, Ordering::Acquire);
            act(turn);
        }
    }
}

/// Which threads have come by, by their numbers.
pub(crate) struct Came {
    numbers: Box<[AtomicU64]>,
    count: AtomicUsize,
}

impl Came {
    /// Room for so many numbers, in sixty-fours.
    pub(crate) fn new(most: usize) -> Self {
        let numbers = (0..most.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { numbers, count: AtomicUsize::new(0) }
    }

    /// Takes note of a thread; how many there are. One with a higher number than there is room for shares a lower one's, so that of many
    /// threads a few may be missed, and never all of them: numbers are the process's, and those who come here may have high ones alone.
    #[inline]
    pub(crate) fn note(&self, number: usize) -> usize {
        // Relaxed, all of them: who reads a count too early knows of a thread less.
        // Few have a number that is divided for it.
        let place = number / 64;
        let word = self.numbers.get(place).or_else(|| self.numbers.get(place % self.numbers.len().max(1)));
        if let Some(word) = word {
            let bit = 1 << (number % 64);
            if word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.load(Ordering::Relaxed)
    }
}

/// Calls that have begun and not ended, and when each of them began. As many places as calls may be under way at one time.
pub(crate) struct InFlight {
    /// When the call in each place began, in nanoseconds; 0 for none.
    began: Box<[AtomicU64]>,
}

/// A place that a call has. It is given back when this goes, also where the call panics.
pub(crate) struct Begun<'a>(&'a AtomicU64);

impl InFlight {
    pub(crate) fn new(places: usize) -> Self {
        Self { began: (0..places).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Begins a call in one of these places, where one is free. Looks first at the one that is the caller's usually, so that
    /// calls that do not meet pay for one exchange.
    #[inline]
    pub(crate) fn begin(&self, places: std::ops::Range<usize>, usual: usize, now: u64) -> Option<Begun<'_>> {
        let place = self.take(places, usual, now)?;
        // Made only then: what goes gives its place back.
        self.began.get(place).map(Begun)
    }

    /// The same, for a call that ends on another thread: whoever ends it says so.
    #[inline]
    pub(crate) fn take(&self, range: std::ops::Range<usize>, usual: usize, now: u64) -> Option<usize> {
        let (first, places) = (range.start, self.began.get(range)?);
        let (now, len) = (now.max(1), places.len());
        (0..len).find_map(|step| {
            let number = (usual % len + step) % len;
            let place = places.get(number)?;
            // Relaxed, all of them: a place stands for itself. Of two that want it one exchange fails, and whoever looks at
            // a place that has just been given back sees a call as old as one that ended this moment.
            let free = place.load(Ordering::Relaxed) == 0
                && place.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            free.then_some(first + number)
        })
    }

    /// Whether one of these places is free: a call that began now would have it. The first is looked at first, which is free as a rule.
    #[inline]
    pub(crate) fn has_free(&self, range: std::ops::Range<usize>) -> bool {
        // Relaxed, as in `take`, whose answer it tells: of the same places, at the same moment of a request.
        self.began
            .get(range)
            .is_some_and(|places| places.iter().any(|place| place.load(Ordering::Relaxed) == 0))
    }

    /// Ends the call in a place.
    pub(crate) fn end(&self, place: usize) {
        if let Some(place) = self.began.get(place) {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// A call has just begun by a table that may be out of date. Whoever loads the table after this either finds a newer one, or has begun
    /// where those who come by a newer one see it.
    #[inline]
    pub(crate) fn settle() {
        fence(Ordering::SeqCst);
    }

    /// Whether no more than `most` calls are under way in these places of all of these together. Whoever asks has begun one there, and
    /// gives it up where there are more: of several that begin at one time all may be told no, and never more than `most` yes.
    pub(crate) fn within<'a>(
        all: impl Iterator<Item = &'a Self>,
        places: std::ops::Range<usize>,
        most: usize,
    ) -> bool {
        // Each has written its own place and then reads the others': with the fence between, the last one to write sees all.
        fence(Ordering::SeqCst);
        let busy = |place: &&AtomicU64| place.load(Ordering::Relaxed) != 0;
        let under_way = |one: &'a Self| {
            one.began.get(places.clone()).map_or(0, |places| places.iter().filter(busy).count())
        };
        all.map(under_way).sum::<usize>() <= most
    }

    /// How many calls are under way, and when the oldest of them began.
    pub(crate) fn seen(&self) -> (usize, Option<u64>) {
        let began = self.began.iter().map(|place| place.load(Ordering::Relaxed)).filter(|began| *began != 0);
        began.fold((0, None), |(calls, oldest), began| {
            (calls + 1, Some(oldest.map_or(began, |oldest: u64| oldest.min(began))))
        })
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Which of many hashes were seen: each is new once, to whoever asks first. Nothing is ever taken out, so what was seen
/// stays seen.
pub(crate) struct FirstSeen {
    /// 0 is a free slot. Twice as many as hashes, so that a free one is never far.
    slots: Box<[AtomicU64]>,
    used: AtomicUsize,
    max: usize,
}

/// How far from its own slot a hash is looked for. In a table that is half full, one in 10^12 lies further off.
const REACH: usize = 64;

impl FirstSeen {
    /// Room for `max` hashes.
    pub(crate) fn new(max: usize) -> Self {
        let slots = (0..(2 * max).next_power_of_two()).map(|_| AtomicU64::new(0)).collect();
        Self { slots, used: AtomicUsize::new(0), max }
    }

    /// Takes note of a hash; whether it is new. One for which there is no room is not new.
    pub(crate) fn is_new(&self, hash: u64) -> bool {
        let hash = hash.max(1);
        let len = self.slots.len();
        for step in 0..REACH.min(len) {
            let Some(slot) = self.slots.get((hash as usize).wrapping_add(step) & (len - 1)) else {
                return false;
            };
            // Relaxed, all of them: a slot stands for itself, and whoever loses the exchange is told what is there.
            match slot.load(Ordering::Relaxed) {
                0 if self.used.load(Ordering::Relaxed) >= self.max => return false,
                0 => match slot.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => {
                        self.used.fetch_add(1, Ordering::Relaxed);
                        return true;
                    }
                    Err(taken) if taken == hash => return false,
                    Err(_) => {}
                },
                seen if seen == hash => return false,
                _ => {}
            }
        }
        false
    }

    /// The hashes that were seen.
    #[cfg(feature = "state")]
    pub(crate) fn seen(&self) -> impl Iterator<Item = u64> + '_ {
        self.slots.iter().map(|slot| slot.load(Ordering::Relaxed)).filter(|hash| *hash != 0)
    }

    /// How many hashes were seen.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }
}

/// Whether nobody else owns what `own` does, so that it can be taken for good.
///
/// Sound where nobody can make a second owner from the caller's: no `Weak` exists, and the caller's is reached by the
/// caller alone. Then one that is the only one stays it.
pub(crate) fn is_only_owner<T: ?Sized>(own: &Arc<T>) -> bool {
    let only = Arc::strong_count(own) == 1;
    if only {
        // `strong_count` is a relaxed load. This makes what the other owners did before they let go (each with release)
        // happen before whatever the caller does now: without it, counts that a last request has just written could be
        // read too early and lost.
        fence(Ordering::Acquire);
    }
    only
}

/// Tickets that are taken until none is left.
pub(crate) struct Tickets(AtomicUsize);

impl Tickets {
    pub(crate) fn none() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// As many as `count` can be taken from now on.
    pub(crate) fn issue(&self, count: usize) {
        // Relaxed, here and below: the count guards no other data. Whoever misses new tickets takes none of them.
        self.0.store(count, Ordering::Relaxed);
    }

    /// Whether there may be one: a load, where `take` writes.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Takes one; whether there was one.
    pub(crate) fn take(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }

    /// One that was taken is to be had again. No others are issued meanwhile: whoever issues them waits for what these were taken for.
    pub(crate) fn give_back(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Threads that wait until something is free which others hold. No wake-up is lost, and to let go costs a fence and a load
/// where nobody waits.
#[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only models of ONNX Runtime have sessions"))]
pub(crate) struct Bell {
    waiting: AtomicUsize,
    lock: Mutex<()>,
    rung: Condvar,
}

#[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only models of ONNX Runtime have sessions"))]
impl Bell {
    pub(crate) fn new() -> Self {
        Self { waiting: AtomicUsize::new(0), lock: Mutex::new(()), rung: Condvar::new() }
    }

    /// Returns what `attempt` gives, which is asked again whenever the bell was rung; nothing once `left` gives no time
    /// any more.
    #[cold]
    pub(crate) fn wait<T>(
        &self,
        mut attempt: impl FnMut() -> Option<T>,
        left: impl Fn() -> Option<Duration>,
    ) -> Option<T> {
        let mut lock = self.lock.lock();
        // Relaxed, both counts: the fences order the first, and one who reads the last too late rings for nobody.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // With the fence in `ring`: either this thread sees what was just let go, or the one that let it go sees this
        // thread counted, and rings once it can have the lock, which is when this thread waits. Without them both could
        // read what was there before the other wrote, and this thread would sleep beside a free place.
        fence(Ordering::SeqCst);
        let found = loop {
            if let Some(found) = attempt() {
                break Some(found);
            }
            match left() {
                Some(left) => self.rung.wait_for(&mut lock, left),
                None => break None,
            };
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        found
    }

    /// Something was let go: one of those who wait is to try again.
    #[inline]
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst); // see `wait`
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.wake_one();
        }
    }

    #[cold]
    fn wake_one(&self) {
        let _lock = self.lock.lock();
        self.rung.notify_one();
    }
}

/// A state that one thread changes to what is wanted while another may want something else: it never ends in one that
/// nobody wants any more.
///
/// Whoever wants another says so first, and then looks at the state, under the lock. Whoever changes it reads under the
/// same lock what is wanted. So of two that meet, the second one has seen the first.
#[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only models of ONNX Runtime have sessions"))]
pub(crate) struct Settled<S>(Mutex<S>);

#[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only models of ONNX Runtime have sessions"))]
impl<S: Copy + PartialEq> Settled<S> {
    pub(crate) fn new(state: S) -> Self {
        Self(Mutex::new(state))
    }

    pub(crate) fn state(&self) -> S {
        *self.0.lock()
    }

    /// Leaves `state`, where that is the one, for what `change` comes to; whether it did. Waits for whoever is changing it.
    pub(crate) fn leave<E>(&self, state: S, change: impl FnOnce() -> Result<S, E>) -> Result<bool, E> {
        let mut current = self.0.lock();
        let left = *current == state;
        if left {
            *current = change()?;
        }
        Ok(left)
    }

    /// Goes to `target` by `change`, unless something else is wanted by now.
    ///
    /// # Errors
    ///
    /// The state as it stays, where something else is wanted.
    pub(crate) fn reach<T>(
        &self,
        target: S,
        wanted: impl FnOnce() -> S,
        change: impl FnOnce() -> T,
    ) -> Result<T, S> {
        let mut current = self.0.lock();
        if wanted() != target {
            return Err(*current);
        }
        let changed = change();
        *current = target;
        Ok(changed)
    }

    /// Does something while the state stays what it is.
    pub(crate) fn while_held<T>(&self, act: impl FnOnce() -> T) -> T {
        let _state = self.0.lock();
        act()
    }
}
