//! Versions that spend one budget: compared by users, an equal one is taken back and a worse one promoted; compared by periods
//! of time, neither is.
//!
//! A version that bids much takes the money of the other one's users, so each arm of a canary shows what it does to the other.
//! No test on users can see through that, however many there are. Where all traffic of a period goes to one version, each
//! lives on its own doings, once what the other left behind is used up.
//!
//! ```sh
//! cargo run --release --example periods          # 300 runs of each
//! cargo run --release --example periods -- 20
//! ```

mod market;
mod periods;

use std::error::Error;

use market::{Bidder, Fate, GREEDY, LIVE, Split, THRIFTY, tried};

/// What counts for neither is as long as savings last.
const BURN_IN: Split = Split::Time { length: 40, burn_in: 25 };

const NO_BURN_IN: Split = Split::Time { length: 40, burn_in: 0 };

/// Seconds until somebody gives up.
const SECONDS: u64 = 20_000;

fn main() -> Result<(), Box<dyn Error>> {
    let runs: u64 = std::env::args().nth(1).map_or(Ok(300), |runs| runs.parse())?;
    println!("of {runs} runs each within {SECONDS} s: taken back, promoted, undecided\n");
    let count = |name: &str, candidate: Bidder, split: Split| -> Result<[u64; 3], Box<dyn Error>> {
        let mut counts = [0; 3];
        for seed in 1..=runs {
            counts[tried(candidate, split, seed, SECONDS)? as usize] += 1;
        }
        println!("{name:<64} {:>4} {:>4} {:>4}", counts[0], counts[1], counts[2]);
        Ok(counts)
    };
    count("the same version, by users", LIVE, Split::Users)?;
    let same = count("the same version, by periods", LIVE, BURN_IN)?;
    let by_users = count("equal, and spends less: by users", THRIFTY, Split::Users)?;
    let equal = count("equal, and spends less: by periods", THRIFTY, BURN_IN)?;
    count("equal, and spends less: by periods without a burn-in", THRIFTY, NO_BURN_IN)?;
    let worse_by_users = count("worse by 21 points, and spends more: by users", GREEDY, Split::Users)?;
    let worse = count("worse by 21 points, and spends more: by periods", GREEDY, BURN_IN)?;

    let (taken_back, promoted) = (Fate::TakenBack as usize, Fate::Promoted as usize);
    // Users tell the wrong story nearly always.
    assert!(by_users[taken_back] * 10 >= runs * 9, "an equal version was not taken back by users");
    assert!(worse_by_users[promoted] * 10 >= runs * 9, "a worse version was not promoted by users");
    // The claim is 1 % and 5 %; more than twice that in so many runs is no chance.
    let rare = |count: u64, error: u64| count * 100 <= runs * error * 2 + 100;
    assert!(
        rare(same[taken_back], 1) && rare(equal[taken_back], 1),
        "equal versions were taken back by periods"
    );
    assert!(rare(worse[promoted], 5), "a worse version was promoted by periods");
    Ok(())
}
