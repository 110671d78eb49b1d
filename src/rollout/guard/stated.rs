//! Every guard of this crate's that a sentence can state: the rules, and those that need no truth.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::comparison::Comparison;
#[cfg(feature = "drift")]
use super::drift::{DriftGuard, EstimatedGuard, drift, estimated};
use super::evidence::Evidence;
#[cfg(feature = "drift")]
use super::grammar::{Reader, tokens};
use super::guard::Guard;
use super::needs::Needs;
#[cfg(feature = "drift")]
use super::rule::{Figure, Limit};
use super::rule::{Rule, RuleError};

/// A guard as a sentence states it, in a configuration or on a command line: a [`Rule`], or one of those that need no truth.
///
/// ```
/// use switchback::guard::{self, Stated};
///
/// let rule: Stated = "error rate at most 0.01".parse()?;
/// assert_eq!(rule, Stated::Rule(guard::error_rate().at_most(0.01)?));
/// # #[cfg(feature = "drift")] {
/// let steady: Stated = "drift from live at most 0.15".parse()?;
/// assert_eq!(steady, Stated::Drift(guard::drift().at_most(0.15)?));
/// assert_eq!(steady.to_string(), "drift from live at most 0.15");
/// # }
/// # Ok::<(), guard::RuleError>(())
/// ```
///
/// | sentence | in code |
/// |---|---|
/// | those of a [`Rule`] | as there |
/// | `drift`, `drift from live at most 0.15` | `drift()`, `drift().at_most(0.15)` |
/// | `drift since it began`, `drift since it began at most 0.15` | `drift().since_it_began()` |
/// | `estimated accuracy at most 0.02 below live` | `estimated(Metric::Accuracy).at_most_below_live(0.02)` |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Stated {
    /// A figure and its limit, judged by sequential tests.
    Rule(Rule),
    /// That the candidate's answers are distributed as live's.
    #[cfg(feature = "drift")]
    Drift(DriftGuard),
    /// How good the candidate probably is, from its scores alone.
    #[cfg(feature = "drift")]
    Estimated(EstimatedGuard),
}

impl Stated {
    fn guard(&self) -> &dyn Guard {
        match self {
            Self::Rule(rule) => rule,
            #[cfg(feature = "drift")]
            Self::Drift(guard) => guard,
            #[cfg(feature = "drift")]
            Self::Estimated(guard) => guard,
        }
    }
}

impl Guard for Stated {
    fn name(&self) -> String {
        self.guard().name()
    }

    fn judge(&self, comparison: &Comparison<'_>) -> Evidence {
        self.guard().judge(comparison)
    }

    fn needs(&self) -> Needs {
        self.guard().needs()
    }

    fn as_rule(&self) -> Option<&Rule> {
        self.guard().as_rule()
    }

    fn as_sentence(&self) -> Option<String> {
        self.guard().as_sentence()
    }
}

/// As events and reports show it.
impl fmt::Display for Stated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl From<Rule> for Stated {
    fn from(rule: Rule) -> Self {
        Self::Rule(rule)
    }
}

impl FromStr for Stated {
    type Err = RuleError;

    fn from_str(sentence: &str) -> Result<Self, RuleError> {
        match sentence.split_whitespace().next() {
            Some("drift" | "estimated") => without_truth(sentence),
            _ => sentence.parse().map(Self::Rule),
        }
    }
}

#[cfg(not(feature = "drift"))]
fn without_truth(sentence: &str) -> Result<Stated, RuleError> {
    let reason = "this build lacks the feature `drift`, which has this guard: add it, or leave the guard out";
    Err(RuleError::sentence(sentence, reason.into()))
}

#[cfg(feature = "drift")]
fn without_truth(sentence: &str) -> Result<Stated, RuleError> {
    let refused = |reason: String| RuleError::sentence(sentence, reason);
    let tokens = tokens(sentence).map_err(refused)?;
    let mut reader = Reader::new(&tokens);
    if reader.take("estimated") {
        let (figure, loss) = reader.figure().map_err(refused)?;
        let limit = reader.limit(&figure).map_err(refused)?;
        reader.end().map_err(refused)?;
        return match (figure, loss, limit) {
            (Figure::Quality { metric }, None, Limit::BelowLive(margin)) => {
                estimated(metric).at_most_below_live(margin).map(Stated::Estimated)
            }
            _ => Err(refused(
                "what is estimated is limited as in `estimated accuracy at most 0.02 below live`".into(),
            )),
        };
    }
    reader.take("drift");
    let mut guard = drift();
    if reader.take("since it began") {
        guard = guard.since_it_began();
    } else {
        reader.take("from live");
    }
    if reader.take("at most") {
        let distance = reader.number().map_err(refused)?;
        guard = guard.at_most(distance)?;
    }
    let instead = |_| {
        refused("a drift is `from live` or `since it began`, and `at most` a distance such as 0.1".into())
    };
    reader.end().map_err(instead)?;
    Ok(Stated::Drift(guard))
}

impl TryFrom<String> for Stated {
    type Error = RuleError;
    fn try_from(sentence: String) -> Result<Self, RuleError> {
        sentence.parse()
    }
}

impl From<Stated> for String {
    fn from(stated: Stated) -> String {
        stated.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(sentence: &str) -> String {
        sentence.parse::<Stated>().unwrap_err().to_string()
    }

    #[test]
    fn a_rule_is_stated_as_it_is() {
        for sentence in [
            "error rate at most 0.01",
            "kpi \"drift\" at most 3",
            "accuracy at most 0.02 below live, by segment",
        ] {
            let stated: Stated = sentence.parse().unwrap();
            assert_eq!(stated, Stated::Rule(sentence.parse().unwrap()));
            assert_eq!((stated.to_string().as_str(), stated.as_rule().is_some()), (sentence, true));
        }
        assert!(refused("acuracy at least 0.9").contains("did you mean \"accuracy\"?"));
    }

    #[cfg(not(feature = "drift"))]
    #[test]
    fn what_this_build_lacks_is_told() {
        assert!(refused("drift from live at most 0.1").contains("lacks the feature `drift`"));
    }

    #[cfg(feature = "drift")]
    #[test]
    fn guards_without_truth_are_the_sentences_that_people_are_shown() {
        use crate::stats::Metric;
        let below = |metric, margin| Stated::Estimated(estimated(metric).at_most_below_live(margin).unwrap());
        for (sentence, guard) in [
            ("drift from live at most 0.1", Stated::Drift(drift())),
            ("drift from live at most 0.15", Stated::Drift(drift().at_most(0.15).unwrap())),
            ("drift since it began at most 0.1", Stated::Drift(drift().since_it_began())),
            ("estimated accuracy at most 0.02 below live", below(Metric::Accuracy, 0.02)),
            ("estimated auc at most 0 below live", below(Metric::Auc, 0.0)),
            ("estimated f1 at most 0.125 below live", below(Metric::F1, 0.125)),
        ] {
            assert_eq!(sentence.parse::<Stated>().unwrap(), guard, "{sentence}");
            assert_eq!(guard.to_string(), sentence);
            let json = serde_json::to_string(&guard).unwrap();
            assert_eq!(serde_json::from_str::<Stated>(&json).unwrap(), guard);
        }
        for short in ["drift", "drift at most 0.1", " drift  from live"] {
            assert_eq!(short.parse::<Stated>().unwrap(), Stated::Drift(drift()), "{short}");
        }
        for (sentence, why) in [
            ("drift from liev", "a drift is `from live` or `since it began`"),
            ("drift at most 2", "drift: distance = 2 is not above 0 and below 0.832"),
            ("drift at most 10 %", "10 % is written as 0.1: it is a number here"),
            ("drift at most 0.1 above live", "a drift is `from live` or `since it began`"),
            ("estimated acuracy at most 0.02 below live", "did you mean \"accuracy\"?"),
            ("estimated accuracy at least 0.9", "as in `estimated accuracy at most 0.02 below live`"),
            (
                "estimated wrong answers at most 0.02 below live",
                "as in `estimated accuracy at most 0.02 below live`",
            ),
            ("estimated log loss at most 0.02 below live", "metric = log loss is not accuracy, precision"),
            ("estimated accuracy at most 0.02 below live, by segment", "nothing follows it"),
            ("estimated accuracy at most 7 below live", "margin = 7 is not at least 0 and below 1"),
        ] {
            let error = refused(sentence);
            assert!(error.contains(why), "{sentence}: {error}");
        }
    }
}
