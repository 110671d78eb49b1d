//! A service whose versions spend one budget, and the two ways to compare them.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use switchback::events::EventKind;
use switchback::options::{Labels, Threads};
use switchback::{
    Clock, Kpi, Model, ModelHandle, Outcome, Phase, Plan, Rollout, Step, Task, Timestamp, closure, guard,
};

use super::periods::{Design, Periods};

const SECOND: Duration = Duration::from_secs(1);

/// Requests a second, and what comes in to be spent on them.
const REQUESTS: u64 = 20;

/// What is saved at most. A live that finds it has used it up after twenty seconds.
const SAVED_MAX: f64 = 400.0;

/// How many points fewer sales a candidate may make.
const MARGIN: f64 = 0.1;

const ERROR: (f64, f64) = (0.01, 0.05);

/// A version: what it bids for each request, and how often that sells as long as there is money.
#[derive(Clone, Copy)]
pub(crate) struct Bidder {
    pub(crate) bids: f64,
    pub(crate) sells: f64,
}

/// Bids twice what comes in: half of its requests go without, and .45 sell.
pub(crate) const LIVE: Bidder = Bidder { bids: 2.0, sells: 0.9 };

/// Bids half of what comes in: .45 sell, as with live, and the rest is saved.
pub(crate) const THRIFTY: Bidder = Bidder { bids: 0.5, sells: 0.45 };

/// Bids four times what comes in: no more than .24 sell.
pub(crate) const GREEDY: Bidder = Bidder { bids: 4.0, sells: 0.95 };

/// How the two are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// Half of the users each, at the same time.
    Users,
    /// Periods of time, drawn, of so many seconds of which the first ones count for neither.
    Time { length: u64, burn_in: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    TakenBack,
    Promoted,
    Undecided,
}

/// A request, with all that is due to chance about it.
struct Request {
    chance: f64,
}

/// What is left to be spent, by whoever comes first.
struct Budget(Mutex<f64>);

impl Budget {
    fn earn(&self, income: f64) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *left = (*left + income).min(SAVED_MAX);
    }

    fn spend(&self, bid: f64) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pays = *left >= bid;
        if pays {
            *left -= bid;
        }
        pays
    }
}

fn version(name: &str, bidder: Bidder, budget: &Arc<Budget>) -> impl Model<Request, bool> + 'static {
    let budget = Arc::clone(budget);
    closure(format!("{name}@1"), move |request: &Request| {
        Ok(budget.spend(bidder.bids) && request.chance < bidder.sells)
    })
}

/// What becomes of a candidate within so many seconds.
pub(crate) fn tried(
    candidate: Bidder,
    split: Split,
    seed: u64,
    seconds: u64,
) -> Result<Fate, Box<dyn Error>> {
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_770_000_000));
    let budget = Arc::new(Budget(Mutex::new(0.0)));
    let market = ModelHandle::builder("market")
        .live("v1", version("v1", LIVE, &budget))
        .task(Task::binary(|sold: &bool| f64::from(u8::from(*sold))).kpi(Kpi::rate("sold")?))
        .labels(Labels::at_random())
        .clock(clock.clone())
        .seed(seed)
        .threads(Threads::manual().stripes(1))
        .build()?;
    let rollout = market.stage("v2", version("v2", candidate, &budget))?;
    let (length, burn_in) = match split {
        Split::Time { length, burn_in } => (length, burn_in),
        Split::Users => (1, 0),
    };
    let periods = Periods::new(Design {
        length: SECOND * u32::try_from(length)?,
        burn_in: SECOND * u32::try_from(burn_in)?,
        gap: SECOND * 3,
        margin: MARGIN,
        error: ERROR,
        secret: seed,
    })?;
    let rollout = match split {
        Split::Users => rollout.guard(guard::kpi("sold").at_most_below_live(MARGIN)),
        Split::Time { .. } => rollout.guard(periods.guard()),
    };
    if split == Split::Users {
        rollout.run(Plan::new([Step::canary(0.5)?])?.cycle(Duration::ZERO))?;
    }
    let mut chance = seed;
    for _ in 0..seconds {
        if split != Split::Users {
            periods.turn(&rollout, clock.now())?;
        }
        budget.earn(REQUESTS as f64);
        for _ in 0..REQUESTS {
            let answer = market.predict(&Request { chance: next(&mut chance) })?;
            let sold = *answer.output();
            market.feedback(answer.id(), Outcome::kpi("sold", f64::from(u8::from(sold))));
            periods.count(clock.now(), f64::from(u8::from(!sold)));
        }
        clock.advance(SECOND);
        market.tick();
        if split != Split::Users && passed(&rollout) {
            rollout.promote()?;
        }
        let fate = fate(&market, &rollout);
        if fate != Fate::Undecided {
            return Ok(fate);
        }
    }
    Ok(Fate::Undecided)
}

/// Whether its guard passes it.
fn passed(rollout: &Rollout<Request, bool>) -> bool {
    let running = rollout.phase() == Phase::Canary;
    let status = rollout.status().filter(|_| running);
    let passes = |evidence: &switchback::guard::Evidence| evidence.verdict == guard::Verdict::Pass;
    status.is_some_and(|status| !status.evidence.is_empty() && status.evidence.iter().all(passes))
}

fn fate(market: &ModelHandle<Request, bool>, rollout: &Rollout<Request, bool>) -> Fate {
    match rollout.phase() {
        Phase::Promoted => Fate::Promoted,
        Phase::Aborted
            if market.events().iter().any(|event| matches!(event.kind, EventKind::GuardFailed { .. })) =>
        {
            Fate::TakenBack
        }
        _ => Fate::Undecided,
    }
}

/// Evenly from 0 to 1 (SplitMix64).
fn next(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}
