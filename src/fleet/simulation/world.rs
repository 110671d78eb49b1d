//! What happens, and when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use super::checks::{Checks, Followed, LoweredAt};
use super::judgement::{Ramp, founding};
use super::process::{Process, SkewedClock};
use super::store::Bucket;
use super::tally::Tally;
use crate::base::chance::SplitMix64;
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::Counts;
use crate::fleet::format::head::{Head, Place, Timing};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::layout::Layout;
use crate::fleet::format::row::{Build, State};
use crate::fleet::format::value::{Value, Written};
use crate::fleet::key::Key;
use crate::fleet::protocol::call::{Act, Lane, Reply};
use crate::fleet::protocol::cut::Found;
use crate::fleet::protocol::member::Member;
use crate::fleet::protocol::rules::{ProtocolRule, Rules};
use crate::fleet::protocol::sweep::Sweep;
use crate::fleet::store::{StoreOutcome, Tag};

/// One run of a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How unkind the world is.
    pub world: World,
    /// Whether candidates fail one request of five; one of a hundred otherwise, as live does.
    pub bad: bool,
    /// The rule that members do not keep.
    pub without: Option<ProtocolRule>,
    /// Whether writes that are under way when the store is put back land on what was put back. Operators see to it that none does.
    pub lands: bool,
}

/// How unkind a world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum World {
    /// Nothing goes wrong but time.
    Calm,
    /// Messages are lost, late and doubled, processes killed, stopped and cut off, the store away.
    Faults,
    /// The same, and strangers remove what they take for old.
    Sweeps,
    /// The same, and the store is put back to an earlier copy.
    Restores,
    /// The same, and rows are damaged, mostly of processes that have just ended.
    Damage,
    /// Directed: silences about as long as those after which a row is closed, writes that arrive after them, and clocks that stand still.
    Silences,
    /// Directed: the store is put back while it is away, and processes are killed as it comes back.
    Storm,
    /// Directed: operators lower while others raise, again and again.
    Contention,
    /// As `Faults`, and the fleet's operator sweeps what nobody can miss, some time after it has looked.
    Swept,
    /// As `Faults`, and the store's clock is set forward, and back, by half a minute and more.
    Steps,
}

impl World {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Calm,
        Self::Faults,
        Self::Sweeps,
        Self::Restores,
        Self::Damage,
        Self::Silences,
        Self::Storm,
        Self::Contention,
        Self::Swept,
        Self::Steps,
    ];

    fn restores(self) -> bool {
        matches!(self, Self::Restores | Self::Storm)
    }

    /// Whether what a name has told stays in the store for as long as it is needed.
    fn keeps_rows(self) -> bool {
        !matches!(self, Self::Sweeps | Self::Restores | Self::Damage | Self::Storm)
    }
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Findings {
    /// What must not be and was: the first five.
    pub violations: Vec<String>,
    /// Requests that a candidate answered.
    pub exposed: u64,
    /// Heads that raised exposure, and heads that lowered it.
    pub raises: u64,
    /// Heads that lowered it.
    pub lowerings: u64,
    /// Ledgers that were cut.
    pub cuts: u64,
    /// Cuts whose counts were given up.
    pub voids: u64,
    /// How long after it was lowered in the store a candidate answered last, in milliseconds of the process's own clock.
    pub latest_ms: u64,
    /// Things that went wrong on purpose.
    pub faults: u64,
}

const SECOND: u64 = 1_000_000_000;
const MILLI: u64 = 1_000_000;
const PROCESSES: usize = 8;
/// The last part is quiet: whoever is away comes back, and what is agreed must be right.
const CALM_FROM: u64 = 150 * SECOND;
/// No other candidate is tried after this: the last one comes to its end.
const GOES_ON_UNTIL: u64 = 170 * SECOND;
/// Counting ends here, so that all that was counted is told by the end.
const TRAFFIC_UNTIL: u64 = 190 * SECOND;
const END: u64 = 215 * SECOND;
/// And not before the last head has stood for so long: until then it is not yet followed by all, and the ledger is the one that it was judged by.
const STANDS: u64 = 3 * TIMING.tick * MILLI;
const WAKE: u64 = 250 * MILLI;
/// How long one that leaves has for what it wants lowered.
const PATIENCE: u64 = 10 * SECOND;
/// Whoever has waited for so long gives an answer up.
const TIMEOUT: u64 = 4 * SECOND;
/// The true time is the store's, but for what its clock is set by.
const EPOCH: u64 = 1_700_000_000 * SECOND;

const TIMING: Timing =
    Timing { poll: 1_000, row: 5_000, tick: 2_000, valid_for: 10_000, settle: 5_000, close_after: 50_000 };

enum Event {
    Wake(usize),
    Arrive { from: usize, life: usize, lane: Lane, ticket: u64, act: Box<Act<Tally>>, loses_reply: bool },
    Answer { to: usize, life: usize, lane: Lane, ticket: u64, reply: Box<Reply<Tally>> },
    Fault,
    Restart(usize),
    Sweep,
    Copy,
    Restore,
    Repair,
    Operator,
    Meanwhile(usize),
    Away,
    Look,
    Remove(Vec<(Key, Tag)>),
    Step,
}

struct Run {
    setup: Setup,
    rules: Rules,
    chance: SplitMix64,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    bodies: BTreeMap<u64, Event>,
    bucket: Bucket,
    copy: Option<Bucket>,
    layout: Layout,
    processes: Vec<Process>,
    lives: usize,
    tickets: u64,
    away_until: u64,
    /// By how much the store's clock is ahead.
    ahead: u64,
    restored: bool,
    restored_at: u64,
    /// When a head was last put.
    agreed_at: u64,
    checks: Checks,
    lowered_at: LoweredAt,
    /// What each life was told to lower by its operator.
    lowered_here: BTreeMap<usize, Vec<u32>>,
    by_operator: Vec<u32>,
    /// When each life has sent its rows, on the cadence.
    sent_rows: BTreeMap<usize, u64>,
    report: Findings,
    undoes: bool,
}

/// What comes together in a storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storm {
    /// All begin anew but one, which knows better and is not heard until they have gone on.
    Sleeper,
    /// Some begin anew, and the others say what they know.
    Some,
    /// A lowering is taken back before anybody but its maker has heard of it, and the store is away until the ledger has stood still.
    Undone,
}

pub(crate) fn run(setup: &Setup) -> Findings {
    // Runs without a rule are those with it, up to the moment at which it would have mattered.
    let rules = Rules::without(setup.without);
    let seed = setup.seed.wrapping_mul(2).wrapping_add(u64::from(setup.bad));
    let Some(layout) = Key::new("fleet").ok().and_then(|root| Layout::new(&root, "late").ok()) else {
        return Findings::default();
    };
    let mut run = Run {
        setup: *setup,
        rules,
        chance: SplitMix64(crate::base::chance::mix(seed)),
        now: 0,
        order: 0,
        events: BinaryHeap::new(),
        bodies: BTreeMap::new(),
        bucket: Bucket::new(rules, setup.seed.is_multiple_of(16)),
        copy: None,
        layout,
        processes: Vec::new(),
        lives: 0,
        tickets: 0,
        away_until: 0,
        ahead: 0,
        restored: false,
        restored_at: 0,
        agreed_at: 0,
        checks: Checks::default(),
        lowered_at: LoweredAt::new(),
        lowered_here: BTreeMap::new(),
        by_operator: Vec::new(),
        sent_rows: BTreeMap::new(),
        report: Findings::default(),
        undoes: false,
    };
    run.begin();
    while let Some(Reverse((at, order))) = run.events.pop() {
        if at > run.ends_at() {
            break;
        }
        run.now = at;
        if let Some(event) = run.bodies.remove(&order) {
            run.happens(event);
        }
    }
    run.end();
    run.report
}

impl Run {
    fn ends_at(&self) -> u64 {
        END.max(self.agreed_at + STANDS)
    }

    fn below(&mut self, below: u64) -> u64 {
        self.chance.bits() % below.max(1)
    }

    /// Once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order)));
        self.bodies.insert(self.order, event);
    }

    fn store_now(&self) -> Timestamp {
        Timestamp::from_unix_nanos(EPOCH + self.now + self.ahead)
    }

    fn local(&self, process: usize) -> Timestamp {
        self.processes[process].clock.shows(self.now)
    }

    fn begin(&mut self) {
        let Ok(first) = Written::new(founding(TIMING)) else { return };
        self.checks.founded(&first);
        let key = self.layout.head().clone();
        self.bucket.put(&key, Value::Head(first.into()), Timestamp::from_unix_nanos(EPOCH));
        for process in 0..PROCESSES {
            let skew = self.below(2 * 86_400) * SECOND;
            let fast = self.below(1_001) as i64 - 500;
            self.processes.push(Process {
                life: 0,
                member: None,
                clock: SkewedClock { offset: EPOCH - 86_400 * SECOND + skew, fast, stands: Vec::new() },
                stopped_until: 0,
                cut_until: 0,
                hindered: 0,
                leaves_at: None,
                waits: BTreeMap::new(),
            });
            let at = self.below(4 * SECOND);
            self.at(at, Event::Restart(process));
        }
        let world = self.setup.world;
        if world != World::Calm {
            self.at(4 * SECOND, Event::Fault);
        }
        if world == World::Sweeps {
            self.at(15 * SECOND, Event::Sweep);
        }
        if world == World::Swept {
            self.at(60 * SECOND, Event::Look);
        }
        if world == World::Steps {
            let at = (15 + self.below(30)) * SECOND;
            self.at(at, Event::Step);
        }
        if world.restores() {
            let copy = (20 + self.below(50)) * SECOND;
            self.at(copy, Event::Copy);
            if self.storm() != Some(Storm::Undone) {
                let restore = copy + (5 + self.below(50)) * SECOND;
                self.at(restore, Event::Restore);
            }
            self.at(CALM_FROM + SECOND, Event::Repair);
        }
        let first = (15 + self.below(30)) * SECOND;
        self.at(first, Event::Operator);
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Restart(process) => self.restart(process),
            Event::Wake(process) => {
                if self.runs(process) {
                    self.traffic(process);
                    self.pump(process);
                    if self.is_over(process) {
                        self.processes[process].member = None;
                        let at = self.now + self.below(4 * SECOND);
                        return self.at(at, Event::Restart(process));
                    }
                }
                if self.processes[process].member.is_some() {
                    let at = self.now.max(self.processes[process].stopped_until) + WAKE;
                    self.at(at, Event::Wake(process));
                }
            }
            Event::Arrive { from, life, lane, ticket, act, loses_reply } => {
                self.arrive(from, life, lane, ticket, &act, loses_reply);
            }
            Event::Answer { to, life, lane, ticket, reply } => self.answer(to, life, lane, ticket, reply),
            Event::Fault => self.fault(),
            Event::Sweep => self.sweep(),
            Event::Copy => {
                self.copy = Some(self.bucket.clone());
                if self.storm() == Some(Storm::Undone) {
                    let judges = |of: &Process| of.member.as_ref().is_some_and(|member| member.judge.judging);
                    let other = (0..PROCESSES)
                        .find(|process| self.runs(*process) && !judges(&self.processes[*process]));
                    self.undoes = true;
                    self.lower(other.unwrap_or_default());
                }
            }
            Event::Away => {
                let back = self.now + (8 + self.below(8)) * SECOND;
                self.away_until = self.away_until.max(back.min(CALM_FROM));
                self.at(self.now + 2 * SECOND, Event::Restore);
            }
            Event::Restore => self.restore(),
            Event::Repair => self.repair(),
            Event::Operator => self.operator(),
            Event::Meanwhile(process) => self.lower(process),
            Event::Look => self.look(),
            Event::Remove(swept) => {
                let gone = swept.iter().filter(|(key, tag)| self.bucket.remove(key, tag)).count();
                self.report.faults += gone as u64;
            }
            Event::Step => self.step(),
        }
    }

    fn storm(&self) -> Option<Storm> {
        let which = [Storm::Sleeper, Storm::Some, Storm::Undone];
        let which = which.get((self.setup.seed % 3) as usize).copied();
        which.filter(|_| self.setup.world == World::Storm)
    }

    /// Whether one that leaves has ended: it has said goodbye, and what it wants lowered is agreed on, or there was no more time for it.
    fn is_over(&self, process: usize) -> bool {
        let Process { member, leaves_at, .. } = &self.processes[process];
        let is_late = leaves_at.is_some_and(|at| self.now >= at + PATIENCE);
        member.as_ref().is_some_and(|member| member.has_left() && (is_late || !member.is_lowering()))
    }

    fn runs(&self, process: usize) -> bool {
        let process = &self.processes[process];
        process.member.is_some() && self.now >= process.stopped_until
    }

    fn restart(&mut self, process: usize) {
        self.lives += 1;
        let (life, seed, now) = (self.lives, self.chance.bits(), self.local(process));
        let build = Build { library: 1, host: "host".into() };
        let member = Member::new(self.layout.clone(), build, "class", seed, now, self.rules);
        let of = &mut self.processes[process];
        (of.life, of.member, of.hindered, of.leaves_at) = (life, Some(member), self.now, None);
        of.waits.clear();
        self.at(self.now, Event::Wake(process));
    }

    /// Three requests of users: the candidate answers some, and live the others.
    fn traffic(&mut self, process: usize) {
        let has_left = self.processes[process].member.as_ref().is_some_and(Member::has_left);
        if self.now >= TRAFFIC_UNTIL || has_left {
            return;
        }
        let now = self.local(process);
        for _ in 0..3 {
            let (bucket, fate) = (self.below(10_000), self.below(100));
            let life = self.processes[process].life;
            let Some(member) = &self.processes[process].member else { return };
            let Some(candidate) =
                member.following.applied.as_ref().and_then(|a| a.head().core.candidates.last().cloned())
            else {
                return;
            };
            let attempt = candidate.attempt;
            let exposes = member.exposes(attempt, now);
            let canary = exposes && bucket < u64::from(candidate.weight);
            let failed = u64::from(fate < if canary && self.setup.bad { 20 } else { 1 });
            let tally = if canary {
                Tally { canary: 1, failed, ..Tally::default() }
            } else {
                Tally { control: 1, failed_there: failed, ..Tally::default() }
            };
            if canary {
                self.exposed(process, attempt, now);
            }
            if exposes {
                self.checks.counted(life, attempt, &tally);
            }
            let hurries = failed == 1 && !self.rules.keep(ProtocolRule::Cadence);
            if let Some(member) = &mut self.processes[process].member {
                // What a lapse makes of it is the member's to know.
                if exposes || !member.following.lease_holds(now) {
                    member.count_in(attempt, member.place().seq, &tally, now);
                }
                if hurries {
                    member.publish.hurry(now);
                }
            }
        }
    }

    /// A candidate has answered: it must have been allowed to.
    fn exposed(&mut self, process: usize, attempt: u32, now: Timestamp) {
        self.report.exposed += 1;
        let life = self.processes[process].life;
        if let Some(lowered) = self.lowered_at.get(&attempt).and_then(|each| each.get(process)) {
            let late = now.since(*lowered).as_millis() as u64;
            self.report.latest_ms = self.report.latest_ms.max(late);
            if late > TIMING.valid_for {
                self.checks.broken(|| format!("attempt {attempt} answered {late} ms after it was lowered"));
            }
        }
        // After a restore an attempt of the same number and version may begin anew.
        if !self.restored && self.lowered_here.get(&life).is_some_and(|here| here.contains(&attempt)) {
            self.checks.broken(|| format!("attempt {attempt} answered where it had been lowered by hand"));
        }
        let born = self.processes[process].member.as_ref().map(|member| member.born());
        if born.is_some_and(|born| now.since(born).as_millis() < u128::from(TIMING.settle)) {
            self.checks.broken(|| format!("attempt {attempt} answered in a process that had just begun"));
        }
    }

    /// All that a process wants of the store now.
    fn pump(&mut self, process: usize) {
        let now = self.local(process);
        while self.runs(process) {
            let Some((lane, act)) =
                self.processes[process].member.as_mut().and_then(|member| member.due(now))
            else {
                return;
            };
            self.note_cadence(process, &act);
            self.send(process, lane, act);
        }
    }

    /// Where nothing goes wrong rows leave a whole interval apart.
    fn note_cadence(&mut self, process: usize, act: &Act<Tally>) {
        if self.setup.world == World::Calm
            && let Act::Put { value: Value::Row(row), .. } = act
            && row.n > 2
        {
            let last = self.sent_rows.insert(self.processes[process].life, self.now);
            if last.is_some_and(|last| self.now - last + 2 * WAKE < TIMING.row * MILLI) {
                self.checks.broken(|| format!("row {} was written because of what was seen", row.name));
            }
        }
    }

    fn delay(&mut self) -> u64 {
        (2 + self.below(60) + self.below(60)) * MILLI
    }

    fn send(&mut self, process: usize, lane: Lane, act: Act<Tally>) {
        self.tickets += 1;
        let (ticket, life) = (self.tickets, self.processes[process].life);
        self.processes[process].waits.insert(lane, ticket);
        let quiet = self.setup.world == World::Calm || self.now >= CALM_FROM;
        let puts = matches!(act, Act::Put { .. });
        // Whoever lowers meets a raise that is under way.
        let raises = matches!(&act, Act::Put { key, .. } if key == self.layout.head()) && lane == Lane::Judge;
        if raises && self.setup.world == World::Contention && (self.now >= CALM_FROM || self.once_in(4)) {
            let at = self.now;
            self.at(at, Event::Meanwhile((process + 1) % PROCESSES));
        }
        // Between deciding and sending.
        if !quiet && self.once_in(if puts { 300 } else { 3_000 }) {
            let vm = self.once_in(4);
            self.stop(process, vm);
        }
        let leaves = self.now.max(self.processes[process].stopped_until);
        let reply =
            if puts { Reply::Failed(StoreOutcome::Unknown) } else { Reply::Failed(StoreOutcome::NotDone) };
        let gives_up = Event::Answer { to: process, life, lane, ticket, reply: Box::new(reply) };
        self.at(leaves + TIMEOUT, gives_up);
        let lost = self.now < self.processes[process].cut_until || self.now < self.away_until;
        if (!quiet && self.once_in(150)) || lost {
            // Lost for its sender, but not for ever: some arrive when nobody waits for them any more.
            let late = if self.setup.world == World::Silences { 2 } else { 4 };
            if puts && !quiet && self.once_in(late) {
                let at = leaves + (5 + self.below(70)) * SECOND;
                self.at(
                    at,
                    Event::Arrive {
                        from: process,
                        life,
                        lane,
                        ticket,
                        act: Box::new(act),
                        loses_reply: true,
                    },
                );
            }
            return;
        }
        let loses_reply = !quiet && self.once_in(150);
        let doubled = puts && !quiet && self.once_in(60);
        if doubled {
            let at = leaves + self.below(20 * SECOND);
            let act = Box::new(act.clone());
            self.at(at, Event::Arrive { from: process, life, lane, ticket, act, loses_reply: true });
        }
        let slow = if !quiet && self.once_in(150) { self.below(6 * SECOND) } else { 0 };
        let at = leaves + self.delay() + slow;
        self.at(at, Event::Arrive { from: process, life, lane, ticket, act: Box::new(act), loses_reply });
    }

    fn arrive(
        &mut self,
        from: usize,
        life: usize,
        lane: Lane,
        ticket: u64,
        act: &Act<Tally>,
        loses_reply: bool,
    ) {
        let refuses = self.setup.world != World::Calm && self.now < CALM_FROM && self.once_in(400);
        let reply = if refuses {
            Reply::Failed(StoreOutcome::NotDone)
        } else {
            let now = self.store_now();
            let (reply, accepted) = self.bucket.act(act, now);
            if let (Some(accepted), Act::Put { key, value, .. }) = (accepted, act) {
                self.accepted(life, key, value, accepted.before.as_ref());
            }
            reply
        };
        let away = self.now < self.away_until || self.now < self.processes[from].cut_until;
        if !loses_reply && !away {
            let quiet = self.setup.world == World::Calm || self.now >= CALM_FROM;
            let slow = if !quiet && self.once_in(150) { self.below(6 * SECOND) } else { 0 };
            let at = self.now + self.delay() + slow;
            self.at(at, Event::Answer { to: from, life, lane, ticket, reply: Box::new(reply) });
        }
    }

    fn store_head(&self) -> Option<Head> {
        match self.bucket.values.get(self.layout.head()).and_then(|stored| stored.value.as_ref()) {
            Some(Value::Head(written)) => Some(written.head.clone()),
            _ => None,
        }
    }

    fn accepted(&mut self, life: usize, key: &Key, value: &Value<Tally>, before: Option<&Value<Tally>>) {
        match value {
            Value::Head(written) if key == self.layout.head() => {
                self.checks.head(written, before);
                self.agreed_at = self.now;
                if written.head.by == "ada" && std::mem::take(&mut self.undoes) {
                    // Whoever lowered it hears of it, and hardly anybody else.
                    self.at(self.now + 130 * MILLI, Event::Away);
                }
                if written.head.by == "judge" {
                    self.against_what_is_known(written);
                }
                let lowered = written.head.lowered.iter().map(|lowering| lowering.attempt);
                let clocks: Vec<Timestamp> = (0..PROCESSES).map(|process| self.local(process)).collect();
                for attempt in lowered {
                    self.lowered_at.entry(attempt).or_insert_with(|| clocks.clone());
                }
            }
            Value::Head(written) if self.layout.read_filed(key).is_some() => self.checks.filed(written),
            Value::Head(_) | Value::Mailbox(_) | Value::Handover(_) | Value::HandoverPart(_) => {}
            Value::Row(row) => self.checks.row(life, row, before, self.now),
            Value::Ledger(ledger) => {
                if let Some(head) = self.store_head() {
                    self.checks.ledger(ledger, before, &head);
                    let close_after = TIMING.close_after * MILLI;
                    // The clock of whoever judges may be a little fast.
                    self.checks.closed_late(ledger, before, self.now, close_after - close_after / 100);
                }
            }
        }
    }

    /// Nothing is raised on a head that is older than what somebody has who could say so.
    fn against_what_is_known(&mut self, written: &Written) {
        let new = &written.head;
        let replaced = new.place.seq.saturating_sub(1);
        let (now, since) = (self.now, 3 * TIMING.row * MILLI + 6 * SECOND);
        let knows = |process: &Process| {
            let member = process.member.as_ref()?;
            let (place, able) = (member.place(), now.saturating_sub(process.hindered) > since);
            let newer = place.term == new.place.term && place.seq > replaced;
            // A raise that arrives twice, before a restore and after it, is no other one than it was.
            let same = member
                .following
                .applied
                .as_ref()
                .is_some_and(|applied| applied.written.print == written.print);
            (able && newer && !same).then_some(place)
        };
        if self.restored
            && now.saturating_sub(self.restored_at) > 0
            && let Some(place) = self.processes.iter().filter_map(knows).max()
        {
            self.checks.broken(|| format!("{} was raised while somebody had {place}", new.place));
        }
    }

    fn answer(&mut self, to: usize, life: usize, lane: Lane, ticket: u64, reply: Box<Reply<Tally>>) {
        let of = &mut self.processes[to];
        if of.life != life || of.member.is_none() || of.waits.get(&lane) != Some(&ticket) {
            return;
        }
        if self.now < of.stopped_until {
            let at = of.stopped_until;
            self.at(at, Event::Answer { to, life, lane, ticket, reply });
            return;
        }
        of.waits.remove(&lane);
        let now = self.local(to);
        let judgement = Ramp { goes_on: self.now < GOES_ON_UNTIL };
        let Some(before) = self.followed(to) else { return };
        if let Some(member) = &mut self.processes[to].member {
            member.reply(lane, &judgement, &reply, now);
        }
        self.moved(to, before);
        self.pump(to);
    }

    fn followed(&self, process: usize) -> Option<Followed> {
        let following = &self.processes[process].member.as_ref()?.following;
        let print = following.applied.as_ref().map(|applied| applied.written.print);
        Some(Followed { place: following.place(), print, diverged: following.diverged })
    }

    fn moved(&mut self, process: usize, before: Followed) {
        let Some(after) = self.followed(process).filter(|after| *after != before) else { return };
        if after.place < before.place {
            self.checks.broken(|| format!("a member went back from {} to {}", before.place, after.place));
        }
        if let (Some(new), Some(old)) = (after.print, before.print)
            && after.place.term == before.place.term
            && !self.checks.descends(new, old)
        {
            self.checks.broken(|| {
                format!("a member went from {} to {} of another history", before.place, after.place)
            });
        }
        if after.diverged && !before.diverged && !self.restored {
            self.checks
                .broken(|| format!("a member at {} took a late answer for another history", after.place));
        }
    }

    fn stop(&mut self, process: usize, stands: bool) {
        let long = if self.once_in(3) { 90 } else { 12 };
        let span = (1 + self.below(long)) * SECOND;
        let span = span.min(CALM_FROM.saturating_sub(self.now));
        let of = &mut self.processes[process];
        of.stopped_until = of.stopped_until.max(self.now + span);
        of.hindered = of.hindered.max(of.stopped_until);
        if stands {
            // Its clock stands still meanwhile, as of a machine that was paused. What it shows goes on from there.
            of.clock.stand(self.now, self.now + span);
            self.report.faults += 1;
        }
    }

    fn fault(&mut self) {
        if self.now >= CALM_FROM {
            return;
        }
        self.report.faults += 1;
        let process = self.below(PROCESSES as u64) as usize;
        let world = self.setup.world;
        let silence = |run: &mut Self| {
            if world == World::Silences { 15 + run.below(60) } else { 2 + run.below(25) }
        };
        match self.below(10) {
            0..=3 if world != World::Silences => self.kill(process),
            // One that is scaled down says goodbye.
            4 if self.once_in(2) => {
                let of = &mut self.processes[process];
                if let Some(member) = &mut of.member {
                    member.leave();
                    of.leaves_at.get_or_insert(self.now);
                }
            }
            4 => {
                let stands = self.once_in(3);
                self.stop(process, stands);
            }
            9 if world != World::Contention => {
                let until = self.now + (2 + self.below(15)) * SECOND;
                self.away_until = self.away_until.max(until.min(CALM_FROM));
            }
            _ if world == World::Contention => self.lower(process),
            _ => {
                let until = (self.now + silence(self) * SECOND).min(CALM_FROM);
                let of = &mut self.processes[process];
                of.cut_until = of.cut_until.max(until);
                of.hindered = of.hindered.max(until);
            }
        }
        let next = self.now + (2 + self.below(5)) * SECOND + self.below(SECOND);
        self.at(next, Event::Fault);
    }

    fn kill(&mut self, process: usize) {
        let of = &mut self.processes[process];
        let Some(member) = of.member.take() else { return };
        of.stopped_until = 0;
        if self.setup.world == World::Damage && self.once_in(2) {
            let key = self.layout.row(member.name());
            self.bucket.damage(&key);
        }
        let at = self.now + self.below(6 * SECOND);
        self.at(at, Event::Restart(process));
    }

    fn sweep(&mut self) {
        if self.now >= CALM_FROM {
            return;
        }
        let old = |at: Timestamp, now: Timestamp| now.since(at).as_secs() > 30;
        let now = self.store_now();
        let keys: Vec<Key> = self
            .bucket
            .values
            .iter()
            .filter(|(key, stored)| {
                let swept = key.as_str().contains("/log/") || key.as_str().contains("/rows/");
                swept && (old(stored.at, now) || key.as_str().contains("/log/"))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            if self.once_in(2) {
                self.bucket.values.remove(&key);
                self.report.faults += 1;
            }
        }
        let at = self.now + (5 + self.below(20)) * SECOND;
        self.at(at, Event::Sweep);
    }

    /// The store's clock is set: forward, or right again.
    fn step(&mut self) {
        if self.now >= CALM_FROM {
            return;
        }
        self.ahead =
            if self.ahead > 0 && self.once_in(2) { 0 } else { self.ahead + (20 + self.below(100)) * SECOND };
        self.report.faults += 1;
        let at = self.now + (10 + self.below(30)) * SECOND;
        self.at(at, Event::Step);
    }

    /// The operator looks what can go, and removes it a while later.
    fn look(&mut self) {
        let (rules, store_now) = (self.rules, self.store_now());
        let ledger = self.bucket.values.get(self.layout.ledger()).and_then(|stored| stored.value.clone());
        if let (Some(head), Some(Value::Ledger(ledger))) = (self.store_head(), ledger) {
            let sweep = Sweep { head: &head, store_now, age: Duration::ZERO, rules };
            let rows: BTreeMap<Hex, Found<'_, Tally>> = self
                .bucket
                .values
                .iter()
                .filter_map(|(key, stored)| {
                    let row = match &stored.value {
                        Some(Value::Row(row)) => Some(&**row),
                        _ => None,
                    };
                    Some((self.layout.name(key)?, Found { row, at: stored.at }))
                })
                .collect();
            let filed: Vec<(Place, Hex, Timestamp)> = self
                .bucket
                .values
                .iter()
                .filter_map(|(key, stored)| {
                    let (place, print) = self.layout.read_filed(key)?;
                    Some((place, print, stored.at))
                })
                .collect();
            let gone = sweep.rows(&ledger, &rows, |attempt| head.is_over(attempt));
            let asks = rows.iter().filter(|(name, _)| !gone.contains(name));
            let oldest = asks.filter_map(|(_, found)| Some(found.row?.has)).min();
            let keys = gone.iter().map(|name| self.layout.row(*name));
            let filed = sweep.filed(oldest, &filed);
            let keys = keys.chain(filed.into_iter().map(|(place, print)| self.layout.filed(place, print)));
            let tag = |key: Key| self.bucket.values.get(&key).map(|stored| (key.clone(), stored.tag.clone()));
            let swept: Vec<(Key, Tag)> = keys.filter_map(tag).collect();
            let at = self.now + self.below(30 * SECOND);
            self.at(at, Event::Remove(swept));
        }
        let at = self.now + (5 + self.below(10)) * SECOND;
        self.at(at, Event::Look);
    }

    fn restore(&mut self) {
        let Some(copy) = self.copy.take().filter(|_| self.now < CALM_FROM) else { return };
        self.bucket.restore(&copy);
        if !self.setup.lands {
            let is_put = |event: &Event| matches!(event, Event::Arrive { act, .. } if matches!(**act, Act::Put { .. }));
            self.bodies.retain(|_, event| !is_put(event));
        }
        self.restored = true;
        self.restored_at = self.now;
        self.report.faults += 1;
        if let Some(head) = self.store_head() {
            self.lowered_at.retain(|attempt, _| head.is_lowered(*attempt));
            self.by_operator.clear();
            self.lowered_here.clear();
        }
        if let Some(storm) = self.storm().filter(|storm| *storm != Storm::Undone) {
            // It comes back as it is, and several begin anew with it.
            let back = self.now + (3 + self.below(20)) * SECOND;
            self.away_until = self.away_until.max(back.min(CALM_FROM));
            // All of them but one that knows better and is not heard; or a few, and the others say what they know.
            let one = storm == Storm::Sleeper;
            if one {
                let of = &mut self.processes[PROCESSES - 1];
                of.cut_until = (self.now + 50 * SECOND).min(CALM_FROM);
                of.hindered = of.hindered.max(of.cut_until);
            }
            for process in 0..if one { PROCESSES - 1 } else { 3 } {
                let of = &mut self.processes[process];
                if of.member.take().is_some() {
                    of.stopped_until = 0;
                    let at = back.saturating_sub(self.below(6 * SECOND));
                    self.at(at, Event::Restart(process));
                }
            }
        }
    }

    /// A person looks, and begins a new term with what is there.
    fn repair(&mut self) {
        let key = self.layout.head().clone();
        let there = self.bucket.values.get(&key).and_then(|stored| stored.value.clone());
        let Some(Value::Head(over)) = there else { return };
        let mut next =
            over.head.next(over.print, Hex(self.chance.bits()), "ada", "repaired", self.store_now());
        next.place.term += 1;
        let Ok(written) = Written::new(next) else { return };
        self.checks.repaired(&written, over.print);
        self.bucket.put(&key, Value::Head(written.into()), Timestamp::from_unix_nanos(EPOCH + self.now));
    }

    fn operator(&mut self) {
        let process = self.below(PROCESSES as u64) as usize;
        self.lower(process);
        if self.now < CALM_FROM {
            let at = self.now + (20 + self.below(60)) * SECOND;
            self.at(at, Event::Operator);
        }
    }

    fn lower(&mut self, process: usize) {
        if !self.runs(process) || self.now >= TRAFFIC_UNTIL {
            return;
        }
        let (now, life) = (self.local(process), self.processes[process].life);
        let asks = self.once_in(4);
        let Some(member) = &mut self.processes[process].member else { return };
        let applied = member.following.applied.as_ref().filter(|_| !member.following.diverged);
        let Some(attempt) =
            applied.and_then(|applied| applied.head().core.candidates.last()).map(|c| c.attempt)
        else {
            return;
        };
        if asks {
            member.ask_to_lower(attempt, "complaints", "ada");
        } else {
            member.lower(attempt, "complaints", "ada", now);
        }
        self.lowered_here.entry(life).or_default().push(attempt);
        // Whoever tells a process that leaves to lower something gives it the time for that.
        let leaves_at = &mut self.processes[process].leaves_at;
        *leaves_at = leaves_at.map(|_| self.now);
        // A process that is killed before it could tell anybody has told nobody.
        if !asks && self.now >= CALM_FROM {
            self.by_operator.push(attempt);
        }
        self.pump(process);
    }

    /// After a quiet minute: what is agreed is right, everybody has it, and nothing was lost but what ended with its process.
    fn end(&mut self) {
        self.now = self.ends_at();
        let Some(head) = self.store_head() else {
            return self.checks.broken(|| "there is no head at the end".to_owned());
        };
        if let Some(candidate) = head.core.candidates.last() {
            let attempt = candidate.attempt;
            // One that came last may not have failed often enough to be told from live.
            let failed = self.checks.truth.get(&attempt).map_or(0, |truth| truth.failed);
            if self.setup.bad && failed >= 9 && !head.is_lowered(attempt) {
                self.checks.broken(|| format!("attempt {attempt} is bad and was not lowered"));
            }
            let lost = self
                .by_operator
                .iter()
                .find(|attempt| head.candidate(**attempt).is_some() && !head.is_lowered(**attempt));
            if let Some(lost) = lost.copied() {
                self.checks.broken(|| format!("attempt {lost} was lowered by hand, and runs"));
            }
            self.accounts(attempt, &head);
        }
        for process in 0..PROCESSES {
            let now = self.local(process);
            let Some(member) = &self.processes[process].member else { continue };
            let (state, place) = (member.state(now), member.place());
            if state != State::Following || place != head.place {
                self.checks.broken(|| {
                    format!("process {process} is {state:?} at {place}, and the head is {}", head.place)
                });
            }
        }
        self.report.violations = std::mem::take(&mut self.checks.violations);
        (self.report.raises, self.report.lowerings) = (self.checks.raises, self.checks.lowerings);
        (self.report.cuts, self.report.voids) = (self.checks.cuts, self.checks.voids);
    }

    fn accounts(&mut self, attempt: u32, head: &Head) {
        let ledger = self.bucket.values.get(self.layout.ledger()).and_then(|stored| stored.value.clone());
        let Some(Value::Ledger(ledger)) = ledger else {
            return self.checks.broken(|| "there is no ledger at the end".to_owned());
        };
        if ledger.head != head.place {
            self.checks.broken(|| {
                format!("nobody judges: the ledger is of {}, the head {}", ledger.head, head.place)
            });
        }
        for process in 0..PROCESSES {
            let of = &self.processes[process];
            let life = of.life;
            let Some(name) = of.member.as_ref().map(|member| member.name()) else { continue };
            let told = self.checks.told(life, attempt);
            let truth = self.checks.by_life.get(&(life, attempt)).copied().unwrap_or_default();
            if !truth.covers(&told) {
                self.checks.broken(|| format!("process {process} told {told:?} of {truth:?}"));
            }
            if !self.setup.world.keeps_rows() {
                continue;
            }
            if told != truth {
                self.checks.broken(|| format!("process {process} told {told:?}, and {truth:?} happened"));
            }
            // A machine that was paused cannot know for how long, and finds it out.
            if ledger.marks.get(&name).is_some_and(|mark| mark.closed.is_some()) {
                self.checks.broken(|| format!("process {process} goes on under {name}, which is closed"));
            }
        }
        // Whoever sweeps takes nothing from the evidence.
        if self.setup.world.keeps_rows() && ledger.voids > 0 {
            self.checks
                .broken(|| format!("counts were given up {} times, and no row was lost", ledger.voids));
        }
        if self.setup.world.keeps_rows() && ledger.voids == 0 {
            let mut rows = Tally::default();
            for (name, mark) in &ledger.marks {
                if let Some(counts) = self.checks.rows.get(name).and_then(|known| known.get(&mark.n)) {
                    rows.add(&counts.since(attempt, 0));
                }
            }
            let merged = ledger.evidence.since(attempt, 0);
            if merged != rows {
                self.checks.broken(|| format!("attempt {attempt} has {merged:?}, and its rows {rows:?}"));
            }
        }
    }
}
