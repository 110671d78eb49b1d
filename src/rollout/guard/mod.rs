//! Guards: rules that decide whether a candidate goes on, waits, or is taken back.
//!
//! # What a guard promises
//!
//! The guards of this module are sequential tests with a stated error ([`ErrorBudget`](crate::options::ErrorBudget)). A rollout whose
//! candidate is no worse than its guards allow is taken back with a probability of at most `ErrorBudget::harm`, over all
//! its guards, however long it runs and however often anybody looks; one whose candidate is worse than a guard allows is
//! promoted with a probability of at most `ErrorBudget::promotion`. [`stats::sequential`](crate::stats::sequential) has the
//! tests and where they come from.
//!
//! # Which test stands behind a guard
//!
//! | guard | in a shadow | on a canary |
//! |---|---|---|
//! | [`error_rate`], [`latency`] relative to live | who failed, or was slow, on the same input | whose the requests are that failed or were slow, averaged with the pairs |
//! | [`accuracy`], [`precision`], [`recall`] and every other figure of quality, where the truth is independent of the answer and requests may be copied | who was right about the same input | the same: live shadows what the candidate answers |
//! | the same, without shadowing or with [`Truth::CausedByAnswer`](crate::Truth::CausedByAnswer) | nothing: there is no truth | the labels of the two arms |
//! | accuracy with [`Truth::Censored`](crate::Truth::Censored) | who was right about the same input; what is hidden is bounded, or explored | the same |
//! | [`kpi`] | nothing: it exists only for what was shown | the values of the two arms |
//! | [`divergence`] | pairs that differ, of those that both answered | the same |
//! | `drift()`, `estimated`, with the feature `drift` | what both say of the same inputs, by windows | what both arms say, by windows; nothing once it is live and watched |
//! | objectives: `at_most`, `at_least`, `within` | the candidate alone, before it goes on; beside live as above, before it is taken back | the same |
//!
//! Two arms are compared by what happened in each, unadjusted by a segment or a score that is known before. An expectation that is
//! exactly right, taken off, makes a verdict 1.08 times as soon where it explains 10 % of the variance, and 1.4 times at 30 %, which is
//! more than is known of clicks and purchases; the reason stands with the design of `stats`.
//!
//! # How a guard is said
//!
//! In code a figure is a type with the limits that make sense for it: `error_rate().at_most(0.01)`,
//! `latency(0.99).within(..)`, `accuracy().by_segment().at_most_below_live(0.02)`. In a configuration or on a command line
//! it is a sentence, which is also how events and reports show it: [`Rule`]. A number that a limit cannot have is an
//! [`RuleError`], which [`Rollout::guard`](crate::Rollout::guard) keeps until the candidate is to be exposed, so that a
//! chain needs no `?` and nothing is exposed beside a guard that does not exist.
//!
//! A guard keeps one margin on one scale through all phases. A combination that could not be judged rightly is refused
//! when the candidate is to be exposed, with the reason.
//!
//! # What a unit is
//!
//! What was randomised, with all that goes with it: a request; a batch, which is one call of the model; a pinned stream; with
//! a key, the key. One prediction of it counts, drawn at random: of a batch one row, of a stream or a key one of the first
//! dozen or so, in shadows too. Where hardly any new keys come an event says so, and each guard that waits for more. Keys are compared
//! in pairs of buckets that began at one time: what a canary gets beyond what live can match, as above 50 %, it answers, and its keys do
//! not count. One that got no match at all gets it once others leave some of live's users. A live that is watched counts each of its
//! requests, whoever asks; beside a canary those without a key alone, and its guards say so. Where some requests come with a key and some
//! without, a guard is about both together, each kind compared with its own.
//!
//! # Who got worse
//!
//! Tests compare means, and a mean that has not moved can hide a tenth of the users who got worse behind a tenth who got
//! better. Where both versions are asked about the same unit, [`Evidence::affected`] counts them, with an interval that holds
//! at all times; where the arms of a canary are all there is, no data can tell, and it says so ([`Affected`]).
//!
//! # On what the promise rests
//!
//! | what is assumed | who sees to it |
//! |---|---|
//! | which version has a unit is left to chance | the handle: it draws, or hashes the key |
//! | units have nothing to do with each other beyond what they share with the other version's | the host: give whoever comes again a key; versions that share a cache, a budget or a queue are not independent, and are compared by [periods of time](#where-users-are-not-independent) |
//! | units come in the shares in which traffic was split, and labels for equal shares of both versions' answers | tested all the time; where it does not hold, labels and promotions wait, with the reason |
//! | labels that never come are missing at random within a version | nobody can: declare what is hidden by what was answered ([`Truth::Censored`](crate::Truth::Censored)) |
//! | a business figure lies between its bounds | counted; one value outside, and it can promote nothing until evidence has begun again, which takes twice as long each time |
//! | a figure without bounds has enough events in each arm | 200 of each; before that it decides nothing |
//! | a latency limit relative to live is known | nothing is counted and no step is made before live's quantile is |
//! | live is what it was | where it fails or is slow twice as often as before, steps wait: the candidate may be the cause |
//!
//! **Quality is of answers**: of both versions in a pair, of its own in an arm. Failures are the business of an error-rate guard;
//! where there is none, each guard of quality also holds the candidate to failing no more often than live by more than its
//! margin. **An absolute limit** (`at_most`, `at_least`, `within`) that live breaks as well takes nothing back; it keeps the
//! candidate from going on. **A multiple of live's failures** is kept to or not while live fails as it usually does: an outage that both
//! share counts neither for a candidate nor, as a ratio, against it, and hides no harm that is there between outages. Labels have no outages:
//! what befalls both there is no harm of the candidate's, and dilutes what it does at other times. **F1** is pooled over the time since the exposure changed: where the share of what is yes moves and
//! the versions say yes at different hours, guard precision and recall instead, which are compared within strata of time.
//!
//! # Where users are not independent
//!
//! Versions that spend one budget, sell one stock or fill one cache act on each other's users (*interference*). No guard can
//! see through that: each arm of a canary shows what it does to the other one, a shadow spends as well, and more users only
//! make the wrong answer surer. In the example `periods` a version that sells as much as live for less money is taken back
//! by a canary of half of the users, and one that sells 21 points less, since it spends more, is promoted: in 100 runs
//! of 100, each.
//!
//! There the units are periods of time, a *switchback experiment* (Bojinov, Simchi-Levi & Zhao 2023, "Design and analysis of
//! switchback experiments"): all traffic of a period goes to one version, drawn. The *burn-in* at the beginning of each, in
//! which what the other version left behind still acts, counts for neither (Hu & Wager 2022, "Switchback experiments under
//! geometric mixing"). Periods come in pairs, one of each version, so a pair's difference has nothing of the hour in it, and a
//! pair is one unit of [`PairedScores`](crate::stats::sequential::PairedScores). The example makes it of
//! [`Rollout::canary`](crate::Rollout::canary) with 1 and with 0 and a [`Guard`] of its own: of 100 equal ones, and
//! of 100 that are the same as live, none is taken back and all are promoted, and without a burn-in all 100 equal ones are taken back.
//!
//! No plan has a step for it: whoever needs it takes the example's `Periods`, a file, into the service. What it costs is
//! to be known before: units are few, so a margin of 10 points takes some 50 pairs, and a smaller one more; every
//! user meets the candidate in half of all periods, so a shadow or a small canary, for failures alone, goes before; a new
//! version's first answers after a burn-in that is too short are the old one's doing, so the burn-in is to be as long as what
//! is shared lasts; and a restart begins the pairs again.

pub(crate) mod affected;
pub(crate) mod answering;
pub(crate) mod comparison;
pub(crate) mod design;
#[cfg(feature = "drift")]
pub(crate) mod drift;
pub(crate) mod evaluate;
pub(crate) mod evidence;
mod grammar;
pub(crate) mod guard;
pub(crate) mod history;
pub(crate) mod needs;
pub(crate) mod numbers;
pub(crate) mod observe;
pub(crate) mod rule;
pub(crate) mod sentence;
pub(crate) mod stated;
pub(crate) mod subject;
pub(crate) mod test;
pub(crate) mod tested;
pub(crate) mod two_limits;
pub(crate) mod verdict;

pub use affected::{Affected, AffectedShare, AffectedUnits};
pub use comparison::{ArmView, Comparison};
#[cfg(feature = "drift")]
pub use drift::{DriftGuard, EstimatedFigure, EstimatedGuard, drift, estimated};
pub use evidence::{Effect, EffectKind, Evidence, Strength};
pub use guard::{Guard, IntoGuard};
pub use needs::Needs;
pub use rule::{Rule, RuleError};
pub use stated::Stated;
pub use subject::{
    AbsoluteError, Accuracy, BusinessFigure, Divergence, ErrorRate, Latency, QualityLoss, QualityScore,
    YesOrNoFigure, accuracy, as_promised, brier_score, divergence, error_rate, f1, hit_rate, kpi, latency,
    log_loss, mean_absolute_error, ndcg, precision, precision_at_k, recall, reciprocal_rank,
};
pub use verdict::Verdict;
