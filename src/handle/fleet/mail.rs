//! Outcomes that come back to another process than the one that made the prediction: they are brought to it through the store.
//!
//! Each process has a mailbox there, one value under its number. Whoever is told an outcome of another's prediction adds it to that
//! one's mailbox; its owner takes everything out and joins it, as if it had come there at once. So the bits that tell repeats, the pairs
//! and the figures stay where the prediction was made, and an outcome that is delivered to several processes counts once.
//!
//! - **A letter is never lost by an answer that is**: it is kept until the mailbox was seen with it, and has a number, so that its
//!   owner reads none twice.
//! - **A process that has ended takes nothing.** Its mailbox is gone, or a letter lies in it for longer than a silent process is there: what
//!   was meant for it is given up and counted, for both arms alike. Its bits have gone with it.
//! - **Nothing grows**: what waits here is bounded in bytes, a mailbox by its format, and what does not fit is only counted.
//!
//! A log of all outcomes that one process replays would count them after a process has ended too, but it needs the other half of every
//! pair in the store as well: a write for each prediction instead of one for some outcomes.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use crate::base::clock::Timestamp;
use crate::feedback::id::PredictionId;
use crate::fleet::Tag;
use crate::fleet::format::hex::Hex;
use crate::fleet::format::mailbox::{Carried, Letter};
use crate::task::outcome::{Actual, Outcome};

/// What waits in a process for all others, letters that are under way too, in bytes as they are written.
const WAITING_BYTES: usize = 4 << 20;

/// The longest letter, so that a mailbox holds some of several processes.
const LETTER_BYTES: usize = 48 << 10;

/// What waits here for other processes.
pub(crate) struct Mail {
    pub(super) own: Hex,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    outcomes: BTreeMap<Hex, VecDeque<Carried>>,
    /// Outcomes in letters of which it is not known that they have arrived.
    under_way: u64,
    /// Of all of them.
    bytes: usize,
    /// Processes that take nothing, and until when.
    gone: BTreeMap<Hex, Timestamp>,
    counts: MailCounts,
}

/// Outcomes of other processes' predictions, and of this one's that came to others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct MailCounts {
    pub(super) waiting: u64,
    pub(super) received: u64,
    pub(super) unclaimed: u64,
}

impl Mail {
    pub(crate) fn new(process: u64) -> Self {
        Self { own: Hex(process), waiting: Mutex::default() }
    }

    /// Puts an outcome aside for the process that made the prediction; whether it will get there, as far as is known.
    pub(super) fn post(&self, process: u64, id: &PredictionId, outcome: &Outcome, now: Timestamp) -> bool {
        let known_at = Some(outcome.known_at.unwrap_or(now));
        let carried =
            Carried { id: id.to_string(), outcome: Outcome { actual: outcome.actual.clone(), known_at } };
        let (to, bytes) = (Hex(process), written(&carried));
        let waiting = &mut *self.waiting.lock();
        waiting.gone.retain(|_, until| now < *until);
        if waiting.gone.contains_key(&to) || waiting.bytes + bytes > WAITING_BYTES {
            return false;
        }
        waiting.bytes += bytes;
        waiting.outcomes.entry(to).or_default().push_back(carried);
        true
    }

    pub(super) fn counts(&self) -> MailCounts {
        let waiting = self.waiting.lock();
        let queued: u64 = waiting.outcomes.values().map(|outcomes| outcomes.len() as u64).sum();
        MailCounts { waiting: queued + waiting.under_way, ..waiting.counts }
    }

    /// Outcomes of this process's predictions came from others.
    pub(super) fn receive(&self, outcomes: usize) {
        self.waiting.lock().counts.received += outcomes as u64;
    }

    /// The processes that something waits for.
    pub(super) fn processes(&self) -> Vec<Hex> {
        self.waiting.lock().outcomes.keys().copied().collect()
    }

    /// What is sent next to a process. It waits until it is [`over`](Self::over).
    pub(super) fn letter(&self, to: Hex, n: u64, now: Timestamp) -> Option<Letter> {
        let waiting = &mut *self.waiting.lock();
        let queue = waiting.outcomes.get_mut(&to)?;
        let (mut outcomes, mut bytes) = (Vec::new(), 0);
        while let Some(next) = queue.front().map(written).filter(|next| bytes + next <= LETTER_BYTES) {
            bytes += next;
            outcomes.extend(queue.pop_front());
        }
        if queue.is_empty() {
            waiting.outcomes.remove(&to);
        }
        waiting.under_way += outcomes.len() as u64;
        (!outcomes.is_empty()).then_some(Letter { from: self.own, n, at: now, outcomes })
    }

    /// A letter is in its mailbox, or is given up.
    pub(super) fn over(&self, letter: &Letter) {
        let waiting = &mut *self.waiting.lock();
        waiting.under_way -= letter.outcomes.len() as u64;
        waiting.bytes -= letter.outcomes.iter().map(written).sum::<usize>();
    }

    /// A process takes nothing: what waits for it is given up with so much that was written to it, and nothing is taken for it for so
    /// long.
    pub(super) fn give_up(&self, to: Hex, letters: usize, until: Timestamp) {
        let waiting = &mut *self.waiting.lock();
        let left = waiting.outcomes.remove(&to).unwrap_or_default();
        waiting.bytes -= left.iter().map(written).sum::<usize>();
        waiting.counts.unclaimed += (left.len() + letters) as u64;
        waiting.gone.insert(to, until);
    }
}

/// At most so many bytes it takes in a mailbox.
pub(super) fn written(carried: &Carried) -> usize {
    let of_truth = match &carried.outcome.actual {
        // Ten digits and a comma.
        Actual::Relevant(items) => 11 * items.len(),
        // A letter that must be escaped takes six.
        Actual::Kpi { name, .. } => 6 * name.len() + 32,
        Actual::Class(_) | Actual::Value(_) => 32,
    };
    128 + carried.id.len() + of_truth
}

/// Who carries letters between this process and the store.
#[derive(Default)]
pub(super) struct Courier {
    pub(super) next: Timestamp,
    /// The number of the last letter.
    pub(super) n: u64,
    /// The process that was written to last: the next one's turn comes after it.
    pub(super) last: Hex,
    /// Letters of which it is not known that they have arrived.
    pub(super) sent: BTreeMap<Hex, Letter>,
    /// The empty mailbox that this process has left in the store, and when.
    pub(super) emptied: Option<(Tag, Timestamp)>,
    /// The last letter of each process that was read.
    pub(super) read: BTreeMap<Hex, u64>,
}
