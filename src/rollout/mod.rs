//! The decisions on a rollout, as pure functions of what was seen: plans, transitions, errors, guards, forecasts.

// # Design decisions
//
// **Guards are two tests on one margin.** Harm takes back, non-inferiority lets on; between them is "neither yet". Every test
// is an e-process: an integral over a fixed grid of bets, so that it needs no nuisance estimate and its state is counts.
// Methods that look at the data to choose their bets are somewhat faster and can be neither merged nor replayed.
//
// **Harm may start late.** Counts are kept in blocks; the test for harm is 3/4 the test of all of them, and 1/4 a mixture over
// the block in which the harm began. A block is as long as 1/128 of what came before: at 1/32 what was clean in the block in
// which the harm began cost more events than the mixture. What is shown for a promotion is shown since the last change of exposure: no test of
// non-inferiority may rest on a share that was smaller.
//
// **Steps ask for as much as they expose.** A canary at 5 % is let on when a twentieth of the margin could be at stake, a
// promotion when the margin itself is shown: with the margin at every step, the first steps of a ramp take the longest.
//
// **Errors.** The error for harm is 1 % and that for promotion 5 %: over all tries of an identity, and over all candidates
// whose trials overlap in one chain. How many there will be nobody knows, so the first spends 4/5 and the k-th after it
// 1/5 of 1 / (k (k + 1)), which adds up. A plan that is run again and evidence that begins again are tries. A fifth of the error
// for harm is kept for the watch after the promotion. Harm is divided over guards (any may take back); promotion is not (all must pass).
//
// **An absolute limit asks live.** One that live breaks at the same time as well takes nothing back, it only keeps a candidate
// from going on: an incident that both suffer never condemns. Where two limits are given the larger one is allowed, and in each
// block of time the smaller of the two factors counts (`guard/two_limits`). It costs some events: that a candidate is worse
// than live takes eight discordant pairs, that it is beyond 1 % takes three.
//
// **Where nobody judges failures, a guard of quality does**, with its own margin: half of its evidence for harm, and as much to
// be shown. Else a version that fails on what is hard would look the better for it.
//
// **What cannot be trusted speaks in neither direction.** Labels that come for another share of one arm's answers than of the
// other's silence labels in the blocks that they are in; units that do not come in the shares in which traffic was split stand
// in the way for a minute, and twice as long each time after, and are then left out, as another try.
//
// **After a promotion** a detector with a guaranteed mean time between false alarms watches the new live's own figures. Its
// alarm decides nothing: it wakes the version before as a shadow, and the paired test decides whether the version or the world
// is worse.
//
// **The planner asks the tests.** It simulates 31 rollouts of a step with traffic as it was, and gives the middle one.
//
// **A record is text that anybody can keep**: what floating-point numbers it has are rounded to twelve digits before they are
// used, so no format can change a verdict. E-values are integers, 2^-32 of a nat, from a pinned `libm`.
//
// **What was seen over time is kept as points.** One per tick at which something was seen, made outside of the lock from what
// the guards look at anyway; when there are 256, every second one goes, and from then on every second tick is passed over. So
// a point costs a tick some four quantiles and a copy at first (walks over a few hundred counts, beside guards for which six
// tallies are merged), and next to nothing once a rollout is long. Points are not written to disk: after a start
// the page begins there, and says so.

pub(crate) mod allocation;
#[cfg(feature = "forecast")]
pub(crate) mod auto;
pub(crate) mod budget;
#[cfg_attr(not(feature = "report"), path = "course_absent.rs")]
pub(crate) mod course;
pub(crate) mod decision;
#[cfg(feature = "forecast")]
pub(crate) mod forecast;
pub mod guard;
pub(crate) mod phase;
pub(crate) mod plan;
pub(crate) mod transition;
