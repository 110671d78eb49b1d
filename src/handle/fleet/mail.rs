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
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::membership::{Agent, Membership};
use crate::base::clock::Timestamp;
use crate::base::guarded::guarded;
use crate::feedback::id::PredictionId;
use crate::feedback::outcome::FeedbackOutcome;
use crate::fleet::Tag;
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::hex::Hex;
use crate::fleet::format::mailbox::{Carried, Letter, Mailbox};
use crate::fleet::format::value::Value;
use crate::fleet::protocol::call::{Act, Reply};
use crate::fleet::store::StoreOutcome;
use crate::handle::core::Core;
use crate::task::outcome::{Actual, Outcome};

/// What waits in a process for all others, in bytes as they are written: some 20,000 outcomes.
const WAITING_BYTES: usize = 4 << 20;

/// The longest letter, so that a mailbox holds some of several processes.
const LETTER_BYTES: usize = 48 << 10;

/// Mailboxes that a process writes to in one interval of rows, in turn: what it costs does not grow with the fleet.
const MAILBOXES: usize = 4;

/// How often a mailbox that others write to in the same moment is looked at again before it waits for the next time.
const TRIES: usize = 3;

/// Processes whose letters are remembered as read. Beyond it all are forgotten: an outcome that is read again is told to be a repeat.
const WRITERS_MAX: usize = 4_096;

/// What waits here for other processes.
pub(crate) struct Mail {
    own: Hex,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    outcomes: BTreeMap<Hex, VecDeque<Carried>>,
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
    fn post(&self, process: u64, id: &PredictionId, outcome: &Outcome, now: Timestamp) -> bool {
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
        let outcomes = waiting.outcomes.values().map(|outcomes| outcomes.len() as u64).sum();
        MailCounts { waiting: outcomes, ..waiting.counts }
    }

    /// The processes that something waits for.
    fn processes(&self) -> Vec<Hex> {
        self.waiting.lock().outcomes.keys().copied().collect()
    }

    /// What is sent next to a process.
    fn letter(&self, to: Hex, n: u64, now: Timestamp) -> Option<Letter> {
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
        waiting.bytes -= bytes;
        (!outcomes.is_empty()).then_some(Letter { from: self.own, n, at: now, outcomes })
    }

    /// A process takes nothing: what waits for it is given up, and nothing is taken for it for so long.
    fn give_up(&self, to: Hex, sent: usize, until: Timestamp) {
        let waiting = &mut *self.waiting.lock();
        let left = waiting.outcomes.remove(&to).unwrap_or_default();
        waiting.bytes -= left.iter().map(written).sum::<usize>();
        waiting.counts.unclaimed += (left.len() + sent) as u64;
        waiting.gone.insert(to, until);
    }
}

/// At most so many bytes it takes in a mailbox.
fn written(carried: &Carried) -> usize {
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
    next: Timestamp,
    /// The number of the last letter.
    n: u64,
    /// The process that was written to last: the next one's turn comes after it.
    last: Hex,
    /// Letters that may have arrived.
    sent: BTreeMap<Hex, Letter>,
    /// The empty mailbox that this process has left in the store, and when.
    emptied: Option<(Tag, Timestamp)>,
    /// The last letter of each process that was read.
    read: BTreeMap<Hex, u64>,
}

impl Agent {
    /// Takes what others have left for this process.
    fn take_mail(&mut self, own: Hex, now: Timestamp, every: Duration) -> Vec<Carried> {
        let (key, mut taken) = (self.layout.mailbox(own), Vec::new());
        for _ in 0..TRIES {
            let known = self.courier.emptied.as_ref().map(|(tag, _)| tag.clone());
            let get = Act::Get { key: key.clone(), kind: Kind::Mailbox, known };
            let over = match self.perform(&get) {
                Reply::Value { value: Value::Mailbox(mailbox), tag, .. } => {
                    let read = &mut self.courier.read;
                    if read.len() > WRITERS_MAX {
                        read.clear();
                    }
                    for letter in &mailbox.letters {
                        let last = read.entry(letter.from).or_default();
                        if letter.n > *last {
                            *last = letter.n;
                            taken.extend_from_slice(&letter.outcomes);
                        }
                    }
                    Some(tag)
                }
                // It is put anew before a sweep takes it for that of a process that has ended.
                Reply::Same => match &self.courier.emptied {
                    Some((tag, at)) if now.since(*at) >= every => Some(tag.clone()),
                    _ => return taken,
                },
                Reply::Absent => None,
                // Nobody can read it.
                Reply::Damaged { tag: Some(tag) } => Some(tag),
                _ => return taken,
            };
            match self.put_mailbox(own, Vec::new(), over) {
                Reply::Done(tag) => {
                    self.courier.emptied = Some((tag, now));
                    return taken;
                }
                // Somebody has put in another letter.
                Reply::Failed(StoreOutcome::Conflict) => {}
                _ => return taken,
            }
        }
        taken
    }

    fn put_mailbox(
        &mut self,
        of: Hex,
        letters: Vec<Letter>,
        over: Option<Tag>,
    ) -> Reply<super::counts::FleetCounts> {
        let nonce = Hex(self.chance.bits());
        let value = Value::Mailbox(Arc::new(Mailbox { nonce, letters }));
        self.perform(&Act::Put { key: self.layout.mailbox(of), value, over })
    }

    /// Writes to the mailboxes whose turn it is, for as long as nothing is urgent.
    fn send_mail(
        &mut self,
        mail: &Mail,
        (now, gone_after): (Timestamp, Duration),
        most: usize,
        urgent: impl Fn() -> bool,
    ) {
        let mut processes = mail.processes();
        processes.extend(self.courier.sent.keys());
        processes.sort_unstable();
        processes.dedup();
        let turn = processes.partition_point(|process| *process <= self.courier.last);
        processes.rotate_left(turn);
        for to in processes.into_iter().take(most) {
            if urgent() {
                return;
            }
            self.courier.last = to;
            let n = self.courier.n + 1;
            let sent = self.courier.sent.remove(&to);
            let Some(letter) = sent.or_else(|| mail.letter(to, n, now)) else { continue };
            self.courier.n = self.courier.n.max(letter.n);
            if let Some(letter) = self.write_to(to, letter, mail, (now, gone_after)) {
                self.courier.sent.insert(to, letter);
            }
        }
    }

    /// Puts a letter into a mailbox; the letter, where it is not known to be in it.
    fn write_to(
        &mut self,
        to: Hex,
        letter: Letter,
        mail: &Mail,
        (now, gone_after): (Timestamp, Duration),
    ) -> Option<Letter> {
        for _ in 0..TRIES {
            let get = Act::Get { key: self.layout.mailbox(to), kind: Kind::Mailbox, known: None };
            let (mailbox, tag) = match self.perform(&get) {
                Reply::Value { value: Value::Mailbox(mailbox), tag, .. } => (mailbox, tag),
                Reply::Absent => {
                    mail.give_up(to, letter.outcomes.len(), now.plus(gone_after));
                    return None;
                }
                _ => return Some(letter),
            };
            let own = || mailbox.letters.iter().filter(|there| there.from == letter.from);
            let is_there = own().any(|there| there.n == letter.n);
            if own().any(|there| now.since(there.at) >= gone_after) {
                let beside = if is_there { 0 } else { letter.outcomes.len() };
                let lying: usize = own().map(|there| there.outcomes.len()).sum();
                mail.give_up(to, lying + beside, now.plus(gone_after));
                return None;
            }
            if is_there {
                return None;
            }
            let letters = || mailbox.letters.iter().chain(std::iter::once(&letter));
            let bytes: usize =
                letters().map(|one| 128 + one.outcomes.iter().map(written).sum::<usize>()).sum();
            // It is full until its owner comes.
            if bytes + 512 > Kind::Mailbox.limit() {
                return Some(letter);
            }
            let letters = letters().cloned().collect();
            match self.put_mailbox(to, letters, Some(tag)) {
                Reply::Done(_) => return None,
                Reply::Failed(StoreOutcome::Conflict) => {}
                _ => return Some(letter),
            }
        }
        Some(letter)
    }
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    pub(crate) fn feedback(&self, id: &PredictionId, outcome: &Outcome) -> FeedbackOutcome {
        let now = self.serving.clock.now();
        let forward =
            |process| self.fleet.as_ref().is_some_and(|fleet| fleet.mail.post(process, id, outcome, now));
        self.serving.joins.feedback(id, outcome, now, forward)
    }

    /// Exchanges outcomes with the others, as often as rows are written.
    pub(super) fn carry_mail(&self, fleet: &Membership, agent: &mut Agent) {
        let now = self.serving.clock.now();
        if now < agent.courier.next {
            return;
        }
        let timing = agent.member.following.timing();
        let close_after = Duration::from_millis(timing.close_after);
        agent.courier.next = now.plus(Duration::from_millis(timing.row));
        self.join_mail(fleet, agent.take_mail(fleet.mail.own, now, close_after / 2));
        // Whoever lowers something waits for whoever asks the store.
        let urgent = || !fleet.demands.lock().is_empty();
        agent.send_mail(&fleet.mail, (now, close_after), MAILBOXES, urgent);
    }

    fn join_mail(&self, fleet: &Membership, taken: Vec<Carried>) {
        let now = self.serving.clock.now();
        fleet.mail.waiting.lock().counts.received += taken.len() as u64;
        for Carried { id, outcome } in taken {
            if let Ok(id) = id.parse::<PredictionId>() {
                // One that is not of this process is told as such, and goes no further.
                self.serving.joins.feedback(&id, &outcome, now, |_| false);
            }
        }
    }

    /// The last letters go out, and nobody writes to this process any more.
    pub(super) fn close_mailbox(&self, fleet: &Membership, agent: &mut Agent) {
        let (now, own) = (self.serving.clock.now(), fleet.mail.own);
        let gone_after = Duration::from_millis(agent.member.following.timing().close_after);
        self.join_mail(fleet, agent.take_mail(own, now, gone_after));
        agent.send_mail(&fleet.mail, (now, gone_after), usize::MAX, || false);
        if let Some((tag, _)) = agent.courier.emptied.take() {
            let (store, key) = (Arc::clone(&agent.store), agent.layout.mailbox(own));
            // Where it stays, whoever writes to it next sees that nobody reads it.
            let _ = guarded(|| store.remove(&key, &tag));
        }
    }
}
