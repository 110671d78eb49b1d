//! What a process leaves when it ends, and how another one takes it over.
//!
//! - **It is left in parts, and then said to be there**, in one value under the number of the process: an heir never finds half of it.
//! - **One takes it over**, the one that puts its own number into that value. What was left is read after that, and joined once.
//! - **Whoever has outcomes for a process that has no mailbox any more looks there for its heir**, and goes on from heir to heir.
//! - **They spread**: who has taken over a lot already waits longer before it takes more.

use std::sync::Arc;
use std::time::Duration;

use super::counts::FleetCounts;
use super::mail::Seen;
use super::membership::{Agent, Membership, TRIES};
use crate::base::clock::Timestamp;
use crate::base::guarded::guarded;
use crate::control::handover::HandedOver;
use crate::fleet::format::envelope::Kind;
use crate::fleet::format::handover::{Handover, HandoverPart, PARTS_MAX};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::value::Value;
use crate::fleet::key::Key;
use crate::fleet::protocol::call::{Act, Reply};
use crate::fleet::store::{Listed, StoreOutcome, Tag};
use crate::handle::core::Core;

/// Pages of bits, and rows, in one part: some megabytes each.
const PAGES_TOGETHER: usize = 2_048;
const ROWS_TOGETHER: usize = 4_096;

/// Of what is new in a listing, so much is read at one look.
const READ_AT_ONCE: usize = 64;

/// Pages of a listing that are looked at.
const LISTED_PAGES: usize = 16;

/// What is known of whoever has taken over what a process left.
pub(super) enum Heir {
    Is(Hex),
    /// Somebody will take it over: what was left is there, and counts still.
    Awaited,
    /// Nothing was left.
    None,
    /// The store did not say.
    Unknown,
}

impl Agent {
    /// Who joins outcomes of a process that has no mailbox.
    pub(super) fn heir_of(&mut self, process: Hex, now: Timestamp) -> Heir {
        let get = Act::Get { key: self.layout.handover(process), kind: Kind::Handover, known: None };
        match self.perform(&get) {
            Reply::Value { value: Value::Handover(handover), .. } => {
                let awaited = if now < handover.until { Heir::Awaited } else { Heir::None };
                handover.heir.map_or(awaited, Heir::Is)
            }
            // What has no tag could not be read this time.
            Reply::Absent | Reply::Damaged { tag: Some(_) } => Heir::None,
            _ => Heir::Unknown,
        }
    }

    /// Leaves what later outcomes need, where all of it can be put; `until` is the last moment at which one counts.
    fn leave_behind(&mut self, own: Hex, mut handed: HandedOver, until: Timestamp) {
        let parts = loop {
            if handed.is_empty() {
                return;
            }
            match self.written_parts(own, handed.clone()) {
                Some(parts) => break parts,
                // More than fits. Labels that stand as they were told are less of a loss than those that are to come.
                None if handed.leave_out_what_may_be_corrected() => {}
                None => handed.leave_out_the_older_half(),
            }
        };
        let (count, lives) = (parts.len() as u32, handed.lives() as u32);
        for (part, value) in (0_u32..).zip(parts) {
            if !self.put_once(&Act::Put { key: self.layout.handover_part(own, part), value, over: None }) {
                return;
            }
        }
        let nonce = Hex(self.chance.bits());
        let handover = Handover { nonce, process: own, until, parts: count, lives, heir: None };
        let (key, value) = (self.layout.handover(own), Value::Handover(Arc::new(handover)));
        self.put_once(&Act::Put { key, value, over: None });
    }

    /// The parts as they are put; nothing where they are more or longer than they may be.
    fn written_parts(&mut self, own: Hex, handed: HandedOver) -> Option<Vec<Value<FleetCounts>>> {
        let mut parts = Vec::new();
        for (part, handed) in (0_u32..).zip(handed.in_parts(PAGES_TOGETHER, ROWS_TOGETHER)) {
            let handed = serde_json::to_value(&handed).ok()?;
            let value =
                Value::HandoverPart(Arc::new(HandoverPart { nonce: Hex(self.chance.bits()), handed }));
            value.write(&self.sealer, &self.layout.handover_part(own, part)).ok()?;
            parts.push(value);
        }
        (parts.len() <= PARTS_MAX as usize).then_some(parts)
    }

    /// Puts what nobody else puts: where something is there already, it is this, of a try whose answer was lost.
    fn put_once(&mut self, put: &Act<FleetCounts>) -> bool {
        (0..TRIES)
            .any(|_| matches!(self.perform(put), Reply::Done(_) | Reply::Failed(StoreOutcome::Conflict)))
    }

    /// Looks what processes have left that have ended, and takes over what it is this one's turn to take: one at a time.
    fn look_for_handovers(&mut self, own: Hex, now: Timestamp, every: Duration) {
        let Some(listed) = self.listed_handovers() else { return };
        let known = |process: &Hex| listed.iter().any(|(of, _)| of == process);
        self.courier.seen.retain(|process, _| known(process));
        let mut reads = 0;
        for (process, entry) in &listed {
            let seen = self.courier.seen.get(process);
            if seen.is_some_and(|seen| seen.tag == entry.tag) || reads == READ_AT_ONCE {
                continue;
            }
            reads += 1;
            let since = seen.map_or(now, |seen| seen.since);
            let get = Act::Get { key: entry.key.clone(), kind: Kind::Handover, known: None };
            let (open, tag) = match self.perform(&get) {
                Reply::Value { value: Value::Handover(handover), tag, .. } => {
                    let is_open = handover.heir.is_none() && handover.process == *process;
                    (is_open.then_some(handover), tag)
                }
                Reply::Damaged { tag: Some(tag) } => (None, tag),
                _ => continue,
            };
            self.courier.seen.insert(*process, Seen { tag, since, open });
        }
        let patience = every.saturating_mul(self.courier.held.min(2));
        let open = self.courier.seen.iter().find_map(|(process, seen)| {
            let handover = seen.open.as_ref().filter(|_| now.since(seen.since) >= patience)?;
            Some((*process, Arc::clone(handover), seen.tag.clone()))
        });
        if let Some((process, handover, tag)) = open {
            self.courier.seen.remove(&process);
            if self.claim(own, &handover, tag, now) {
                self.take(&handover, now);
            }
        }
    }

    /// What was left is this process's to read and to join, once.
    fn take(&mut self, handover: &Arc<Handover>, now: Timestamp) {
        let since = self.courier.doubted.remove(&handover.process).unwrap_or(now);
        self.courier.held = self.courier.held.saturating_add(handover.lives);
        self.courier.claimed.push((Arc::clone(handover), since));
    }

    /// Takes what a claim that was answered by nobody has made this process's meanwhile.
    fn take_doubted(&mut self, own: Hex, now: Timestamp) {
        for process in self.courier.doubted.keys().copied().collect::<Vec<_>>() {
            let get = Act::Get { key: self.layout.handover(process), kind: Kind::Handover, known: None };
            match self.perform(&get) {
                Reply::Value { value: Value::Handover(handover), .. } => match handover.heir {
                    Some(heir) if heir == own => self.take(&handover, now),
                    Some(_) => drop(self.courier.doubted.remove(&process)),
                    None => {}
                },
                Reply::Absent | Reply::Damaged { tag: Some(_) } => {
                    self.courier.doubted.remove(&process);
                }
                _ => {}
            }
        }
    }

    /// Whether this process is the heir, or may be, and has not joined yet what was left.
    pub(super) fn is_about_to_take(&self, process: Hex) -> bool {
        let courier = &self.courier;
        courier.doubted.contains_key(&process) || courier.claimed.iter().any(|(of, _)| of.process == process)
    }

    /// Whether it is about to take anything, and has been for no longer than that.
    pub(super) fn waits_for_what_it_claimed(&self, now: Timestamp, patience: Duration) -> bool {
        let claimed = self.courier.claimed.iter().map(|(_, since)| since);
        claimed.chain(self.courier.doubted.values()).any(|since| now.since(*since) < patience)
    }

    /// What lies under a key, as far as so many pages go.
    pub(super) fn listed(&mut self, under: &Key) -> Option<Vec<Listed>> {
        let (mut after, mut listed) = (None, Vec::new());
        for _ in 0..LISTED_PAGES {
            let list = Act::List { under: under.clone(), after: after.take() };
            let Reply::Page(page) = self.perform(&list) else { return None };
            after = page.entries.last().map(|entry| entry.key.clone());
            listed.extend(page.entries);
            if !page.more {
                break;
            }
        }
        Some(listed)
    }

    fn listed_handovers(&mut self) -> Option<Vec<(Hex, Listed)>> {
        let under = self.layout.handovers();
        let listed = self.listed(&under)?;
        let of = |entry: Listed| Some((self.layout.read_handover(&entry.key)?, entry));
        Some(listed.into_iter().filter_map(of).collect())
    }

    /// Puts its own number in; whether it is there.
    fn claim(&mut self, own: Hex, handover: &Handover, tag: Tag, now: Timestamp) -> bool {
        let claimed = Handover { nonce: Hex(self.chance.bits()), heir: Some(own), ..handover.clone() };
        let key = self.layout.handover(handover.process);
        let put = Act::Put { key, value: Value::Handover(Arc::new(claimed)), over: Some(tag) };
        match self.perform(&put) {
            Reply::Done(_) => true,
            Reply::Failed(StoreOutcome::Unknown) => {
                let is_there = (0..TRIES)
                    .any(|_| matches!(self.heir_of(handover.process, now), Heir::Is(heir) if heir == own));
                if !is_there {
                    // It may arrive yet.
                    self.courier.doubted.entry(handover.process).or_insert(now);
                }
                is_there
            }
            _ => false,
        }
    }

    /// What was left, once it is all here; nothing where it has to be asked for again.
    fn read_parts(&mut self, handover: &Handover) -> Option<Result<HandedOver, String>> {
        let (mut all, mut tags) = (HandedOver::default(), Vec::new());
        for part in 0..handover.parts {
            let key = self.layout.handover_part(handover.process, part);
            match self.perform(&Act::Get { key: key.clone(), kind: Kind::HandoverPart, known: None }) {
                Reply::Value { value: Value::HandoverPart(part), tag, .. } => {
                    match serde_json::from_value(part.handed.clone()) {
                        Ok(handed) => all.merge(handed),
                        Err(error) => return Some(Err(format!("{key}: {error}"))),
                    }
                    tags.push((key, tag));
                }
                Reply::Absent => return Some(Err(format!("{key} is gone"))),
                Reply::Damaged { tag: Some(_) } => return Some(Err(format!("{key} cannot be read"))),
                _ => return None,
            }
        }
        for (key, tag) in tags {
            let store = Arc::clone(&self.store);
            // What stays is swept.
            let _ = guarded(|| store.remove(&key, &tag));
        }
        Some(Ok(all))
    }
}

impl<I: ?Sized + 'static, O: 'static> Core<I, O> {
    /// Joins nothing from here on, and hands over what later outcomes need once what was counted is told.
    pub(super) fn hand_over(&self, fleet: &Membership) -> HandedOver {
        fleet.mail.close();
        self.control.lock().hand_over(&self.serving.joins, self.serving.clock.now())
    }

    pub(super) fn leave_handover(&self, fleet: &Membership, agent: &mut Agent, handed: HandedOver) {
        let until = self.serving.clock.now().plus(self.serving.joins.limits.horizon);
        agent.leave_behind(fleet.mail.own, handed, until);
    }

    /// Looks now and then for what others have left, and joins what comes for them.
    pub(super) fn take_over_handovers(&self, fleet: &Membership, agent: &mut Agent, gone_after: Duration) {
        let now = self.serving.clock.now();
        if now >= agent.courier.looks {
            let every = gone_after / 4;
            agent.courier.looks = now.plus(every);
            agent.look_for_handovers(fleet.mail.own, now, every);
        }
        self.join_claimed(fleet, agent);
    }

    /// Joins what it has claimed and could not read, and what a late claim has made this process's: before what others have brought for it.
    pub(super) fn take_over_late(&self, fleet: &Membership, agent: &mut Agent) {
        agent.take_doubted(fleet.mail.own, self.serving.clock.now());
        self.join_claimed(fleet, agent);
    }

    fn join_claimed(&self, fleet: &Membership, agent: &mut Agent) {
        let now = self.serving.clock.now();
        for (handover, since) in std::mem::take(&mut agent.courier.claimed) {
            match agent.read_parts(&handover) {
                // Beyond that nothing of it counts any more.
                None if now < handover.until => agent.courier.claimed.push((handover, since)),
                None => {
                    let why = format!("what {} has left could not be read in time", handover.process);
                    agent.say(agent.layout.handovers(), why);
                }
                Some(Err(why)) => agent.say(agent.layout.handovers(), why),
                Some(Ok(handed)) => {
                    self.control.lock().take_over_from(handed, &self.serving.joins, now);
                    self.join_mail(fleet, fleet.mail.reroute(handover.process, fleet.mail.own, Vec::new()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;
    use crate::fleet::memory::InMemory;
    use crate::handle::handle::ModelHandle;
    use crate::handle::options::{Fleet, Labels, Shadowing, Threads};
    use crate::model::closure::closure;
    use crate::task::outcome::Outcome;
    use crate::task::task::Task;
    use crate::{Clock, Timestamp};

    /// What a process that has shadowed and been told some outcomes hands over.
    fn handed() -> HandedOver {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_800_000_000));
        let handle = ModelHandle::builder("x")
            .live("v1", closure("v1@1", |_: &f64| Ok(0.2)))
            .task(Task::binary(|probability: &f64| *probability))
            .labels(Labels::new().assumed_after(Duration::from_secs(60), Outcome::class(0)))
            .shadowing(Shadowing::new())
            .threads(Threads::manual())
            .clock(clock.clone())
            .fleet(Fleet::on(InMemory::new(clock.clone())))
            .build()
            .unwrap();
        clock.advance(Duration::from_secs(31));
        handle.tick();
        handle.stage("v2", closure("v2@1", |_: &f64| Ok(0.3))).unwrap().shadow(1.0).unwrap();
        for number in 0..20_000 {
            let answer = handle.predict(&0.5).unwrap();
            handle.run_shadow(1);
            if number % 2 == 0 {
                handle.feedback(answer.id(), Outcome::class(0));
            }
            if number % 1_000 == 0 {
                handle.tick();
            }
        }
        handle.tick();
        handle.inner.hand_over(handle.inner.fleet.as_ref().unwrap())
    }

    fn json(handed: HandedOver) -> Json {
        let mut all = HandedOver::default();
        handed.in_parts(usize::MAX, usize::MAX).into_iter().for_each(|part| all.merge(part));
        let mut json = serde_json::to_value(&all).unwrap();
        let pages = json["joins"]["pages"].as_array_mut().unwrap();
        pages.sort_by_key(|page| (page["exposure"].as_u64(), page["page"].as_u64()));
        json
    }

    #[test]
    fn what_is_left_in_small_parts_is_what_was_left() {
        let handed = handed();
        let whole = json(handed.clone());
        let count = |name: &str| whole["joins"][name].as_array().unwrap().len();
        assert_eq!((count("pairs"), count("awaiting"), count("pages")), (10_000, 20_000, 5), "{whole}");
        assert_eq!(count("correctable"), 10_000);
        let parts = handed.in_parts(2, 1_000);
        assert_eq!(parts.len(), 2 + 9 + 19 + 10 + 1);
        let mut all = HandedOver::default();
        for part in parts {
            let read: HandedOver = serde_json::from_str(&serde_json::to_string(&part).unwrap()).unwrap();
            all.merge(read);
        }
        assert_eq!(json(all), whole);
    }

    /// Where it does not fit the older half goes, and in the end there is nothing.
    #[test]
    fn what_is_too_much_is_halved_until_it_fits() {
        let mut handed = handed();
        let mut sizes = Vec::new();
        while !handed.is_empty() {
            let json = json(handed.clone());
            let exposures = json["exposures"].as_array().unwrap();
            let known = |of: &Json| exposures.iter().any(|exposure| exposure["number"] == of["exposure"]);
            for rows in ["pages", "pairs", "awaiting", "correctable"] {
                let rows = json["joins"][rows].as_array();
                assert!(rows.is_none_or(|rows| rows.iter().all(known)));
            }
            sizes.push(exposures.len());
            handed.leave_out_the_older_half();
        }
        assert!(sizes.len() > 1 && sizes.is_sorted_by(|one, next| one > next), "{sizes:?}");
    }

    /// What may be corrected goes before any outcome that is to come.
    #[test]
    fn what_is_too_much_is_left_without_corrections_first() {
        let mut handed = handed();
        let before = json(handed.clone());
        assert!(handed.leave_out_what_may_be_corrected());
        let after = json(handed.clone());
        assert_eq!(after["joins"].get("correctable"), None);
        assert_eq!(
            (&after["exposures"], &after["joins"]["pairs"]),
            (&before["exposures"], &before["joins"]["pairs"])
        );
        assert!(!handed.leave_out_what_may_be_corrected(), "there is nothing left of it");
    }
}
