//! Counts processes that end without a word. A part of a cut of the ledger, and as pure.
//!
//! - **The moment of an end is the process's last sign of life**, its last row, and so a process lives from row to row: what comes after
//!   the last one counts for nobody. A process that is killed at its first request of a candidate has told nothing of it yet, so
//!   exposure is taken to begin two rows before it did, for ends and for time alike.
//! - **Who was silent for three rows has ended**, once; coming back makes it none less. That errs on both sides alike. For how long it
//!   was is counted by whoever looks, so that no clock that is set ends anybody.
//! - **Nobody has ended while the ledger stood still**, and for a while after: who could not be heard has to have had time to speak.
//! - **A node takes its processes along**: of ends within ten seconds of one that counted, none does. All that end within a minute
//!   are counted apart, since many at once may be what the candidate does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cut::Found;
use crate::base::clock::Timestamp;
use crate::fleet::format::counts::Counts;
use crate::fleet::format::ends::{AtOnce, DAYS, Ends, Lived, RECENT_MAX, TOGETHER, TRIALS_MAX, TrialEnds};
use crate::fleet::format::head::{Head, Phase};
use crate::fleet::format::hex::Hex;
use crate::fleet::format::ledger::{Ledger, Mark};

/// Ends within so long of each other are many at once.
const AT_ONCE: Duration = Duration::from_secs(60);

/// Many at once: so many, and a fifth of those that expose.
const MANY: u64 = 3;
const OF_HOW_MANY: u64 = 5;

const DAY: Duration = Duration::from_secs(86_400);

/// A stretch of time, by the store's clock.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Timestamp,
    until: Timestamp,
}

impl Span {
    fn overlap(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    fn has(self, moment: Timestamp) -> bool {
        self.from <= moment && moment <= self.until
    }

    fn ms(self) -> u64 {
        self.until.since(self.from).as_millis() as u64
    }
}

/// How long so many stretches are together. They come in the order in which they begin.
fn together(spans: impl Iterator<Item = Span>) -> u64 {
    let mut until = Timestamp::default();
    spans
        .map(|span| {
            let new = Span { from: span.from.max(until), ..span };
            until = until.max(span.until);
            new.ms()
        })
        .sum()
}

fn is_exposed(head: &Head, attempt: u32) -> bool {
    head.candidate(attempt).is_some_and(|candidate| {
        let exposed = candidate.weight > 0 || candidate.sample > 0 || candidate.phase == Phase::Watched;
        exposed && candidate.phase != Phase::Staged && !head.is_lowered(attempt)
    })
}

/// Adds to the next ledger what rows say since the last one of who lives and who does not.
pub(crate) fn count_ends<C: Counts>(
    before: &Ledger<C>,
    rows: &BTreeMap<Hex, Found<'_, C>>,
    head: &Head,
    store_now: Timestamp,
    is_quiet: bool,
    next: &mut Ledger<C>,
) {
    let row = Duration::from_millis(head.timing.row);
    let margin = row * 2;
    let mut ends = before.ends.clone();
    begin_and_end(&mut ends, head, store_now, margin);
    let mut exposing: Vec<(u32, Span)> = ends
        .trials
        .iter()
        .map(|(attempt, trial)| {
            let from = trial.since.minus(margin);
            (*attempt, Span { from, until: trial.until.unwrap_or(Timestamp::from_unix_nanos(u64::MAX)) })
        })
        .collect();
    exposing.sort_by_key(|(_, span)| span.from);
    let mut ended: Vec<(Timestamp, Timestamp)> = Vec::new();
    let mut lives: Vec<(Timestamp, Timestamp)> = Vec::new();
    let watched_ms = next.watched_ms;
    for (name, found) in rows {
        let Some((row, mark)) = found.row.zip(next.marks.get_mut(name)) else { continue };
        // None was put later than now, whatever it is dated.
        let at = found.at.min(store_now);
        let was = before.marks.get(name);
        let is_closed = was.is_some_and(|mark: &Mark| mark.closed.is_some());
        (mark.alive_ms, mark.ended) = (row.alive_ms, was.is_some_and(|mark| mark.ended));
        if is_closed || mark.ended {
            continue;
        }
        let alive = Duration::from_millis(row.alive_ms);
        // A process exposes nothing when it has just begun.
        let settled = at.minus(alive).plus(Duration::from_millis(head.timing.settle)).minus(margin);
        let lived = was.map_or(0, |mark| row.alive_ms.saturating_sub(mark.alive_ms));
        let told = Span { from: at.minus(Duration::from_millis(lived)).max(settled), until: at };
        let spans = || exposing.iter().map(|(attempt, span)| (*attempt, span.overlap(told)));
        let exposed = together(spans().map(|(_, span)| span));
        for (attempt, span) in spans() {
            if let Some(trial) = ends.trials.get_mut(&attempt) {
                trial.exposed.add(Lived { ends: 0, ms: span.ms() });
            }
        }
        spare(&mut ends, Lived { ends: 0, ms: lived.saturating_sub(exposed) }, at);
        lives.push((at, settled));
        let is_silent = mark.silence(watched_ms) >= head.timing.gone_after();
        if is_silent && !row.state.is_last() && !is_quiet {
            mark.ended = true;
            ended.push((at, settled));
        }
    }
    ended.sort_unstable();
    let earlier: BTreeMap<u32, u64> =
        ends.trials.iter().map(|(attempt, trial)| (*attempt, trial.recent.len() as u64)).collect();
    for (moment, settled) in ended {
        let those = exposing.iter().filter(|(_, span)| span.has(moment) && moment >= settled);
        let those: Vec<u32> = those.map(|(attempt, _)| *attempt).collect();
        let last = if those.is_empty() { &mut ends.last_spared } else { &mut ends.last_exposed };
        let apart = moment.since(*last).max(last.since(moment)) >= TOGETHER;
        if apart {
            *last = (*last).max(moment);
        }
        let counts = Lived { ends: u64::from(apart), ms: 0 };
        if those.is_empty() {
            spare(&mut ends, counts, moment);
        }
        for attempt in those {
            if let Some(trial) = ends.trials.get_mut(&attempt) {
                trial.exposed.add(counts);
                trial.recent.push_back(moment);
                if trial.recent.len() > RECENT_MAX {
                    trial.recent.pop_front();
                }
            }
        }
    }
    for (attempt, span) in &exposing {
        let Some(trial) = ends.trials.get_mut(attempt) else { continue };
        // Those that were found to have ended at an earlier cut are among those that exposed it then, and not among these.
        let before = earlier.get(attempt).copied().unwrap_or_default();
        let exposed = |newest: Timestamp| {
            let then = |(at, settled): &&(Timestamp, Timestamp)| {
                span.has(*at) && newest.since(*at) <= AT_ONCE && *settled <= newest
            };
            before + lives.iter().filter(then).count() as u64
        };
        many_at_once(trial, exposed);
    }
    ends.at = store_now;
    next.ends = ends;
}

/// Begins the trials of what is exposed since the last cut, and ends those of what is not any more.
fn begin_and_end(ends: &mut Ends, head: &Head, store_now: Timestamp, margin: Duration) {
    let today = store_now.unix_seconds() / DAY.as_secs();
    ends.days.retain(|day, _| day + DAYS >= today);
    let mut spared = Lived::default();
    ends.days.values().for_each(|day| spared.add(*day));
    // A clock that was set back: what it showed until then is over.
    for trial in ends.trials.values_mut() {
        trial.since = trial.since.min(store_now);
        trial.until = trial.until.map(|until| until.min(store_now));
        trial.recent.retain(|moment| *moment <= store_now);
    }
    // It may have begun any time after the last cut.
    let since = if ends.at == Timestamp::default() { store_now } else { ends.at.min(store_now) };
    for candidate in &head.core.candidates {
        if !is_exposed(head, candidate.attempt) {
            continue;
        }
        let new = TrialEnds {
            since,
            until: None,
            exposed: Lived::default(),
            spared,
            recent: Default::default(),
            at_once: None,
        };
        let trial = ends.trials.entry(candidate.attempt).or_insert(new);
        if trial.until.take().is_some() {
            // Somebody lets it go on: what ended before that is known to them.
            trial.since = since;
            (trial.recent, trial.at_once) = Default::default();
        }
    }
    for (attempt, trial) in &mut ends.trials {
        if !is_exposed(head, *attempt) {
            trial.until.get_or_insert(store_now);
        }
    }
    // Of those that are over somebody may still be found to have ended; those that are held may go on.
    let patience = head.timing.gone_after() * 2 + margin;
    ends.trials.retain(|attempt, trial| {
        let over = trial.until.is_some_and(|until| store_now.since(until) >= patience);
        !over || head.candidate(*attempt).is_some_and(|_| !head.is_lowered(*attempt))
    });
    // A ledger that is not within its bounds can be read by nobody. Of those that are over the oldest goes first.
    while ends.trials.len() > TRIALS_MAX {
        let over = ends.trials.iter().find(|(_, trial)| trial.until.is_some()).map(|(attempt, _)| *attempt);
        let oldest = over.or_else(|| ends.trials.keys().next().copied());
        oldest.and_then(|attempt| ends.trials.remove(&attempt));
    }
}

/// Adds what was while nothing was exposed.
fn spare(ends: &mut Ends, lived: Lived, at: Timestamp) {
    if lived == Lived::default() {
        return;
    }
    let day = at.unix_seconds() / DAY.as_secs();
    ends.days.entry(day).or_default().add(lived);
    while ends.days.len() > 1 + DAYS as usize {
        ends.days.pop_first();
    }
    ends.trials.values_mut().for_each(|trial| trial.spared.add(lived));
}

/// Whether a fifth of those that exposed it ended within a minute. `exposed` says how many did at a moment.
fn many_at_once(trial: &mut TrialEnds, exposed: impl Fn(Timestamp) -> u64) {
    let Some(newest) = trial.recent.iter().max().copied() else { return };
    trial.recent.retain(|moment| newest.since(*moment) <= AT_ONCE);
    let (ended, of) = (trial.recent.len() as u64, exposed(newest));
    if ended >= MANY && ended * OF_HOW_MANY >= of {
        trial.at_once = Some(AtOnce { ended, of });
    }
}
