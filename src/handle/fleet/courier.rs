//! Letters between this process's [mail](super::mail) and the mailboxes in the store.

use std::sync::Arc;
use std::time::Duration;

use super::counts::FleetCounts;
use super::handover::Heir;
use super::mail::{Mail, written};
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
use crate::fleet::store::{StoreError, StoreOutcome};
use crate::handle::core::Core;
use crate::task::outcome::Outcome;

/// Mailboxes that a process writes to in one interval of rows, in turn: what it costs does not grow with the fleet.
const MAILBOXES: usize = 4;

/// Mailboxes that a process writes to when it ends, which must not take long.
const CLOSING: usize = 16;

/// How often a mailbox that others write to in the same moment is looked at again before it waits for the next time.
const TRIES: usize = 3;

/// Processes whose letters are remembered as read. Beyond it all are forgotten: an outcome that is read again is told to be a repeat.
const WRITERS_MAX: usize = 4_096;

/// What came of a letter.
enum Sent {
    /// It is in its mailbox, or was given up.
    Over,
    Waits,
    /// It goes to whoever has taken over what that process left.
    Moved(Hex),
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
                // Nobody can read it. Where somebody else may, letters lie in it for whoever has sent them to take them out.
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

    fn put_mailbox(&mut self, of: Hex, letters: Vec<Letter>, over: Option<Tag>) -> Reply<FleetCounts> {
        let nonce = Hex(self.chance.bits());
        let value = Value::Mailbox(Arc::new(Mailbox { nonce, letters, ended: false }));
        self.perform(&Act::Put { key: self.layout.mailbox(of), value, over })
    }

    /// Writes to the mailboxes whose turn it is, for as long as nothing is urgent. What turned out to be this process's to join.
    fn send_mail(
        &mut self,
        mail: &Mail,
        (now, gone_after): (Timestamp, Duration),
        most: usize,
        urgent: impl Fn() -> bool,
    ) -> Vec<Carried> {
        let mut here = Vec::new();
        let mut processes = mail.processes();
        processes.extend(self.courier.sent.keys());
        processes.sort_unstable();
        processes.dedup();
        let turn = processes.partition_point(|process| *process <= self.courier.last);
        processes.rotate_left(turn);
        for to in processes.into_iter().take(most) {
            if urgent() {
                break;
            }
            self.courier.last = to;
            let (n, failures) = (self.courier.n + 1, self.failures);
            let sent = self.courier.sent.remove(&to);
            let Some(letter) = sent.or_else(|| mail.letter(to, n, now)) else { continue };
            self.courier.n = self.courier.n.max(letter.n);
            match self.write_to(to, &letter, mail, (now, gone_after)) {
                Sent::Over => mail.over(&letter),
                Sent::Waits => {
                    self.courier.sent.insert(to, letter);
                }
                Sent::Moved(heir) => {
                    mail.over(&letter);
                    here.extend(mail.reroute(to, heir, letter.outcomes));
                }
            }
            // Each call of a store that does not answer lasts until its end: the others wait.
            if self.failures > failures {
                break;
            }
        }
        here
    }

    /// Puts a letter into a mailbox.
    fn write_to(
        &mut self,
        to: Hex,
        letter: &Letter,
        mail: &Mail,
        (now, gone_after): (Timestamp, Duration),
    ) -> Sent {
        for _ in 0..TRIES {
            let get = Act::Get { key: self.layout.mailbox(to), kind: Kind::Mailbox, known: None };
            let (mailbox, tag) = match self.perform(&get) {
                Reply::Value { value: Value::Mailbox(mailbox), tag, .. } if !mailbox.ended => (mailbox, tag),
                Reply::Absent | Reply::Value { value: Value::Mailbox(_), .. } => {
                    return match self.heir_of(to, now) {
                        Heir::Is(heir) if heir == mail.own && self.is_about_to_take(to) => Sent::Waits,
                        Heir::Is(heir) => Sent::Moved(heir),
                        Heir::None if now.since(letter.at) >= gone_after => {
                            mail.give_up(to, letter.outcomes.len(), now.plus(gone_after));
                            Sent::Over
                        }
                        // It has just ended, or what it left waits for an heir.
                        Heir::None | Heir::Awaited | Heir::Unknown => Sent::Waits,
                    };
                }
                // Nobody here can, for as long as a process that is gone is waited for.
                Reply::Damaged { .. } if now.since(letter.at) >= gone_after => {
                    mail.give_up(to, letter.outcomes.len(), now.plus(gone_after));
                    return Sent::Over;
                }
                _ => return Sent::Waits,
            };
            let (own, others): (Vec<&Letter>, Vec<&Letter>) =
                mailbox.letters.iter().partition(|there| there.from == letter.from);
            let is_there = own.iter().any(|there| there.n == letter.n);
            if own.iter().any(|there| now.since(there.at) >= gone_after) {
                // They are taken out before they are given up: its owner may come after all, and then has either read them or not.
                let beside = if is_there { 0 } else { letter.outcomes.len() };
                let lying: usize = own.iter().map(|there| there.outcomes.len()).sum();
                match self.put_mailbox(to, others.into_iter().cloned().collect(), Some(tag)) {
                    Reply::Done(_) => {
                        mail.give_up(to, lying + beside, now.plus(gone_after));
                        return Sent::Over;
                    }
                    Reply::Failed(StoreOutcome::Conflict) => continue,
                    _ => return Sent::Waits,
                }
            }
            if is_there {
                return Sent::Over;
            }
            let letters = || mailbox.letters.iter().chain(std::iter::once(letter));
            let bytes: usize =
                letters().map(|one| 128 + one.outcomes.iter().map(written).sum::<usize>()).sum();
            // It is full until its owner comes.
            if bytes + 512 > Kind::Mailbox.limit() {
                return Sent::Waits;
            }
            let letters = letters().cloned().collect();
            match self.put_mailbox(to, letters, Some(tag)) {
                Reply::Done(_) => return Sent::Over,
                Reply::Failed(StoreOutcome::Conflict) => {}
                _ => return Sent::Waits,
            }
        }
        Sent::Waits
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
        if now < agent.courier.next || fleet.mail.is_closed() {
            return;
        }
        let timing = agent.member.following.timing();
        let close_after = Duration::from_millis(timing.close_after);
        agent.courier.next = now.plus(Duration::from_millis(timing.row));
        self.take_over_late(fleet, agent);
        // Others bring outcomes for what it has claimed as soon as it has, and what was left is needed to join them. They take a mailbox
        // that is not emptied for that of a process that is gone, so it does not wait for ever.
        if !agent.waits_for_what_it_claimed(now, close_after / 2) {
            let taken = agent.take_mail(fleet.mail.own, now, close_after / 2);
            self.join_mail(fleet, taken);
        }
        // Whoever lowers something waits for whoever asks the store.
        let urgent = || !fleet.demands.lock().is_empty();
        let here = agent.send_mail(&fleet.mail, (now, close_after), MAILBOXES, urgent);
        self.join_mail(fleet, here);
        if !urgent() {
            self.take_over_handovers(fleet, agent, close_after);
        }
    }

    pub(super) fn join_mail(&self, fleet: &Membership, taken: Vec<Carried>) {
        let now = self.serving.clock.now();
        fleet.mail.receive(taken.len());
        for Carried { id, outcome } in taken {
            if let Ok(id) = id.parse::<PredictionId>() {
                // One that is not of this process is told as such, and goes no further.
                self.serving.joins.feedback(&id, &outcome, now, |_| false);
            }
        }
    }

    /// Sends what waits, in rounds, for as long as it gets less and there is time; once in any case. What is left then is given up and counted.
    fn send_the_rest(
        &self,
        fleet: &Membership,
        agent: &mut Agent,
        (now, gone_after): (Timestamp, Duration),
        patience: Duration,
    ) {
        let (clock, mail) = (&self.serving.clock, &fleet.mail);
        let began = clock.reading();
        let is_late = || Duration::from_nanos(clock.reading().nanos_since(began)) >= patience;
        let mut in_vain = 0;
        for round in 0.. {
            let before = mail.waits();
            if before == 0 || round > 0 && is_late() {
                break;
            }
            let here = agent.send_mail(mail, (now, gone_after), CLOSING, || round > 0 && is_late());
            self.join_mail(fleet, here);
            in_vain = if mail.waits() < before { 0 } else { in_vain + 1 };
            // All of them have had their turn, and none of them takes anything.
            let processes = mail.processes().len() + agent.courier.sent.len();
            if in_vain >= TRIES.max(processes.div_ceil(CLOSING)) {
                break;
            }
        }
        agent.courier.sent.clear();
        mail.give_all_up();
    }

    /// What waits goes out, as far as there is time, and nobody writes to this process any more.
    pub(super) fn close_mailbox(&self, fleet: &Membership, agent: &mut Agent, patience: Duration) {
        let (now, own) = (self.serving.clock.now(), fleet.mail.own);
        let gone_after = Duration::from_millis(agent.member.following.timing().close_after);
        // Who tells an outcome from here on is told that it does not get there.
        fleet.mail.close();
        self.send_the_rest(fleet, agent, (now, gone_after), patience);
        self.take_over_late(fleet, agent);
        for _ in 0..TRIES {
            self.join_mail(fleet, agent.take_mail(own, now, gone_after));
            let Some((tag, _)) = agent.courier.emptied.take() else { return };
            let (store, key) = (Arc::clone(&agent.store), agent.layout.mailbox(own));
            match guarded(|| store.remove(&key, &tag)) {
                Ok(Ok(())) => return,
                // Somebody has put in another letter.
                Ok(Err(StoreError::Conflict)) => continue,
                Ok(Err(_)) | Err(_) => {}
            }
            // It stays, and whoever writes to it must know that nobody reads it.
            let ended = Mailbox { nonce: Hex(agent.chance.bits()), letters: Vec::new(), ended: true };
            let put = Act::Put { key, value: Value::Mailbox(Arc::new(ended)), over: Some(tag) };
            if let Reply::Done(_) = agent.perform(&put) {
                return;
            }
        }
    }
}
