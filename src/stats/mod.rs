//! The figures of an arm: what is counted of its requests and outcomes, over which windows, and what that comes to.
//!
//! Everything that is counted is an integer, or a sum in fixed point, and only ever added to. So the figures of stripes,
//! of slots of a window and of processes merge in any order into the same, bit for bit.

// # Design decisions
//
// **Figures are striped.** Two threads that write to one stripe cost 309 ns a request, to two 43. A stripe is a
// cache-padded mutex around a tally; the tick swaps the tally out and merges it where nobody waits. Threads take the
// lowest free number as their stripe and give it back when they end, so a pool of short-lived threads does not pile up on
// one. Everything in a tally is an integer or in fixed point: merging in any order gives the same bits.
//
// **The grid of the rate ratio is fixed at build of the crate**: twelve factors from 1.3 to 30 around 4, and four near 1. Its
// delay is at most 1.8 times that of a test that knows the factor (`benches/decisions`, `delay_over_oracle_worst`).
//
// **Scores lie on a lattice of 64 steps, dithered** by the prediction's own chance: counts stay integers, means stay unbiased.
//
// **Labels wait for their age**, in cohorts of a 16th of the horizon. Cancelled flights are known first, and a candidate that
// calls them right would look good for a day.
//
// **A unit is what was randomised, with all that goes with it**, and one of its predictions stands for it, drawn: of a batch
// one row, of a pinned stream one call (each with a chance of a half until one is), of a key one of its requests. So units
// are as independent as what was drawn, need no model of their correlation, and stay counts of events. The first would not do:
// a candidate may fail on all but each user's first request. Of a key each request counts with the same chance until one has,
// 2 / (m + 1) where keys come m times, and between 1/4 and 1: one that comes once is seldom passed over, and of ten requests
// any may count. What comes later than the first dozen requests of a user counts little; that is the price of one bit per key.
// Each step enrols as many buckets of control as of candidate. A table of 32,768 places per canary, and another for pairs,
// remembers who has counted; beyond half of that, keys count only under a hash threshold that falls.
//
// **Both arms are counted by one rule.** What is refused for its input is a unit of the arm that it fell to; a latency counts
// from when the time that it is held against is fixed; while candidates are withheld live's requests are evidence of nothing.
//
// **Quality is of answers**, of both versions in a pair and of its own in an arm. Nobody has an id of what live failed on, so
// its truth never comes; to count what the candidate failed on as wrong would charge it with what befalls both.
//
// **Outages are counted apart.** In an outage behind both versions one fails as often as the other, and one that
// fails 1.5 times as often on its own was promoted in 40 runs of 100. What is left out is told by live's failures alone, which
// errs on the safe side (`evidence/outage`). And a candidate that keeps to one of two limits in quiet and to the other in outages that come
// every night has broken both by the sums after a week, whatever the blocks of time. And one that harms in the calm alone was never taken back
// where outages fill a quarter of the time, so harm is looked for in each kind of time alone too (`rollout/guard/two_limits`). Rejected: to count discordant pairs alone, which an outage dilutes as well where each
// fails by chance of its own, and which never shows anything of versions that fail on the same inputs.
//
// **A precision is compared within strata of time**: each yes of the candidate's is matched with a yes of live's of about the
// same time, drawn. An F1 is pooled over the time since the exposure changed, and its documentation says so.
//
// **The comparison of two arms is not adjusted by what is known before the answer**, a segment or live's own score. Taking off an
// expectation that is exactly right makes a verdict as much sooner as it leaves less variance, at the same error: measured, 1.08
// times where it explains 10 % of it, 1.42 to 1.48 at 30 %, 2.5 at 60 % (`cargo bench --bench decisions -- --strata`). But what arms
// alone can tell is what people do with an answer, which is seldom: of a click or a purchase that comes of 3 or 10 % of all answers, a
// score that ranks four of five pairs rightly explains 7 or 15 % (of two normal distributions), and a segment less. And live's score
// of what the candidate answers is known only where live is asked as well, which makes a pair; where truth does not depend on the
// answer pairs are compared as such. Who knows more of their users finds `sequential::MeanDifference`, which takes
// losses less what was to be expected.

pub(crate) mod counting;
pub(crate) mod elementwise;
pub(crate) mod evidence;
pub(crate) mod figures;
pub mod sequential;

pub use elementwise::{Tolerance, elementwise};
pub use evidence::ledger::{Cohort, Coverage};
pub use evidence::segment::{SegmentArm, SegmentFigures};
pub use figures::divergence::DivergenceFigures;
pub use figures::kpi::KpiFigures;
pub use figures::latency::{LatencyFigures, LatencyHistogram};
pub use figures::quality::QualityFigures;
pub use figures::quality::binary::BinaryFigures;
pub use figures::quality::calibration::CalibrationBin;
pub use figures::quality::classes::{ClassFigures, ClassesFigures, ConfusionCell};
pub use figures::quality::metric::{Better, Measured, Metric};
pub use figures::quality::ranking::RankingFigures;
pub use figures::quality::regression::RegressionFigures;
pub use figures::rolling::{Window, WindowConfig};
pub use figures::tally::{ArmFigures, ScoreFigures};
