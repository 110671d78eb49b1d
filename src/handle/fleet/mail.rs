//! Outcomes that come back to another process than the one that made the prediction: they are brought to it through the store.
//!
//! Each process has a mailbox there, one value under its number. Whoever is told an outcome of another's prediction adds it to that
//! one's mailbox; its owner takes everything out and joins it, as if it had come there at once. So the bits that tell repeats, the pairs
//! and the figures stay where the prediction was made, and an outcome that is delivered to several processes counts once.
//!
//! - **A letter is never lost by an answer that is**: it is kept until the mailbox was seen with it, and has a number, so that its
//!   owner reads none twice.
//! - **A process that has ended has left its bits to another one** ([`handover`](super::handover)), and what is meant for it goes there.
//!   One that was killed has left nothing: a letter lies for longer than a silent process is there, and is given up and counted, for both
//!   arms alike.
//! - **Nothing grows**: what waits here is bounded in bytes, a mailbox by its format, and what does not fit is only counted.
//!
//! A log of all outcomes that one process replays would count them after a process has ended too, but it needs the other half of every
//! pair in the store as well: a write for each prediction instead of one for some outcomes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::clock::Timestamp;
use crate::feedback::id::PredictionId;
use crate::fleet::Tag;
use crate::fleet::format::handover::Handover;
use crate::fleet::format::hex::Hex;
use crate::fleet::format::mailbox::{Carried, Letter};
use crate::task::outcome::{Actual, Outcome};

/// What waits in a process for all others, letters that are under way too, in bytes as they are written.
const WAITING_BYTES: usize = 4 << 20;

/// Processes whose heirs are remembered. Beyond it all are forgotten, and looked for again.
const HEIRS_MAX: usize = 4_096;

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
    /// Who takes what is meant for a process that has ended.
    heirs: BTreeMap<Hex, Hex>,
    /// Nothing is carried any more.
    closed: bool,
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
        let bytes = written(&carried);
        let waiting = &mut *self.waiting.lock();
        let to = waiting.heir_of(Hex(process));
        waiting.gone.retain(|_, until| now < *until);
        // What comes back to its heir is joined there, or it was left out.
        let nobody = to == self.own || waiting.gone.contains_key(&to);
        if waiting.closed || nobody || waiting.bytes + bytes > WAITING_BYTES {
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

    /// A process has ended and this is its heir: what waits for it goes there, with what could not be written to it. What there is to be joined
    /// here, where that is this process.
    pub(super) fn reroute(&self, from: Hex, heir: Hex, letter: Vec<Carried>) -> Vec<Carried> {
        let waiting = &mut *self.waiting.lock();
        if waiting.heirs.len() >= HEIRS_MAX {
            waiting.heirs.clear();
        }
        waiting.heirs.insert(from, heir);
        let queued = waiting.outcomes.remove(&from).unwrap_or_default();
        let moved = letter.into_iter().inspect(|carried| waiting.bytes += written(carried)).chain(queued);
        let moved: Vec<Carried> = moved.collect();
        if heir == self.own {
            waiting.bytes -= moved.iter().map(written).sum::<usize>();
            return moved;
        }
        waiting.outcomes.entry(heir).or_default().extend(moved);
        Vec::new()
    }

    /// Nothing is taken to be carried from here on.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
    }

    /// How many bytes wait, those that are under way too.
    pub(super) fn waits(&self) -> usize {
        self.waiting.lock().bytes
    }

    /// What waits still is given up, with what may have arrived or not.
    pub(super) fn give_all_up(&self) {
        let waiting = &mut *self.waiting.lock();
        let left: usize = std::mem::take(&mut waiting.outcomes).values().map(VecDeque::len).sum();
        waiting.counts.unclaimed += left as u64 + std::mem::take(&mut waiting.under_way);
        waiting.bytes = 0;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().closed
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

impl Waiting {
    /// Who takes what is meant for a process, from heir to heir.
    fn heir_of(&self, mut process: Hex) -> Hex {
        // No process is its own heir's heir; whatever somebody else has put into the store, it ends.
        for _ in 0..self.heirs.len() {
            match self.heirs.get(&process) {
                Some(heir) => process = *heir,
                None => break,
            }
        }
        process
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

/// What a process has left, as it was when it was last looked at.
pub(super) struct Seen {
    pub(super) tag: Tag,
    pub(super) since: Timestamp,
    /// Nobody has taken it over.
    pub(super) open: Option<Arc<Handover>>,
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
    /// When it looks next for what processes have left that have ended.
    pub(super) looks: Timestamp,
    /// What they have left, as it was at the last look.
    pub(super) seen: BTreeMap<Hex, Seen>,
    /// What this process has taken over and not read yet, and since when.
    pub(super) claimed: Vec<(Arc<Handover>, Timestamp)>,
    /// Those whose heir it may be, since nobody knows whether its claim will arrive; and since when.
    pub(super) doubted: BTreeMap<Hex, Timestamp>,
    /// Processes whose predictions it has taken over.
    pub(super) held: u32,
}
