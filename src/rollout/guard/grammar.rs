//! Rules as sentences: the one form in which a rule is shown, stored and read.
//!
//! ```text
//! rule     = figure limit [", by segment"]
//! figure   = "error rate" | "latency p" percent | quality | loss | "kpi" text | "divergence" | "promised quality"
//! quality  = "accuracy" | "precision" | "recall" | "f1" | "hit rate" | "reciprocal rank" | "ndcg" | "precision at k"
//!          | "brier score" | "log loss" | "mean absolute error"
//! loss     = "wrong answers" | "false alarms" | "missed positives"
//! limit    = "at most" share | "at least" share
//!          | "at most" number ("below live" | "above live" | "times live" ["or at most" share])
//!          | "at least" number "times live"
//!          | "within" (duration | number)
//! share    = number ["%"]
//! duration = number ("s" | "ms" | "µs" | "us" | "ns")
//! text     = '"' with \" \\ \n \r \t \0 \' and \u{..} as in Rust '"'
//! ```
//!
//! A margin in percent is refused: 2 % below live may be two points or two parts of a hundred.
//!
//! Words stand between spaces, any number of them. A sentence that is no rule is told what of it was not understood, and
//! the nearest that would have been.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::rule::{Figure, Limit, Rule, RuleError, words, words_of_loss};
use crate::base::text::distance;
use crate::stats::Metric;

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loss = match (self.figure(), self.limit()) {
            (Figure::Quality { metric }, Limit::TimesLive(_)) => words_of_loss(*metric),
            _ => None,
        };
        match loss {
            Some(loss) => write!(f, "{loss} {}", self.limit())?,
            None => write!(f, "{} {}", self.figure(), self.limit())?,
        }
        if let Some(rate) = self.own_floor() {
            write!(f, " or at most {rate}")?;
        }
        if self.is_by_segment() { f.write_str(", by segment") } else { Ok(()) }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorRate => f.write_str("error rate"),
            Self::Latency { quantile } => write!(f, "latency p{}", percent(*quantile)),
            Self::Quality { metric } => f.write_str(words(*metric)),
            Self::Kpi { name } => write!(f, "kpi {}", quoted(name)),
            Self::Divergence => f.write_str("divergence"),
            Self::Promised => f.write_str("promised quality"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "at most {limit}"),
            Self::AtLeast(limit) => write!(f, "at least {limit}"),
            Self::Within(limit) => write!(f, "within {}", time(*limit)),
            Self::BelowLive(margin) => write!(f, "at most {margin} below live"),
            Self::AboveLive(margin) => write!(f, "at most {margin} above live"),
            Self::TimesLive(factor) => write!(f, "at most {factor} times live"),
            Self::AtLeastTimesLive(factor) => write!(f, "at least {factor} times live"),
            Self::BelowPromise(margin) => write!(f, "within {margin}"),
        }
    }
}

/// `99.9` for 0.999: the same digits, so that the same bits are read again. (0.57 times 100 is 56.99999999999999.)
fn percent(quantile: f64) -> String {
    let text = quantile.to_string();
    let Some((_, digits)) = text.split_once('.') else { return text };
    let digits = format!("{digits:0<2}");
    let (whole, rest) = digits.split_at(2);
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if rest.is_empty() { whole.to_owned() } else { format!("{whole}.{rest}") }
}

/// The other way round.
fn quantile(percent: &str) -> Option<f64> {
    let (whole, rest) = percent.split_once('.').unwrap_or((percent, ""));
    if !percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        || whole.is_empty()
        || whole.len() > 3
    {
        return None;
    }
    // Beyond 100 it is refused with its value.
    let padded = format!("{whole:0>3}{rest}");
    let (before, after) = padded.split_at(1);
    format!("{before}.{after}").parse().ok()
}

/// The units of time, with their nanoseconds.
const UNITS: [(&str, u32); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000), ("ns", 1)];

/// `1.5 ms`: in the largest unit of which there is one, to the nanosecond.
fn time(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let fits = UNITS.iter().find(|(_, size)| nanos >= u128::from(*size));
    let (unit, size) = fits.copied().unwrap_or(("ns", 1));
    let (whole, rest) = (nanos / u128::from(size), nanos % u128::from(size));
    if rest == 0 {
        return format!("{whole} {unit}");
    }
    let digits = size.ilog10() as usize;
    format!("{whole}.{} {unit}", format!("{rest:0digits$}").trim_end_matches('0'))
}

/// The other way round, in whole nanoseconds.
fn duration(number: &str, unit: &str) -> Option<Duration> {
    let unit = if matches!(unit, "us" | "μs") { "µs" } else { unit };
    let (_, size) = UNITS.iter().find(|(of, _)| *of == unit)?;
    let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
    let digits = size.ilog10() as usize;
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(rest) || rest.len() > digits {
        return None;
    }
    let rest: u64 = if digits == 0 { 0 } else { format!("{rest:0<digits$}").parse().ok()? };
    let nanos = whole.parse::<u64>().ok()?.checked_mul(u64::from(*size))?.checked_add(rest)?;
    Some(Duration::from_nanos(nanos))
}

/// A name in quotes, without a character that would break a line.
fn quoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for letter in name.chars() {
        if matches!(letter, '"' | '\\') || letter.is_control() {
            text.extend(letter.escape_default());
        } else {
            text.push(letter);
        }
    }
    text.push('"');
    text
}

/// A part of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    /// The text that stood between quotes.
    Text(String),
    Comma,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Comma => f.write_str(","),
        }
    }
}

pub(super) fn tokens(sentence: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = sentence.trim_start();
    while let Some(first) = rest.chars().next() {
        rest = match first {
            ',' => {
                tokens.push(Token::Comma);
                rest.get(1..).unwrap_or_default()
            }
            '"' => {
                let (text, after) = unquoted(rest.get(1..).unwrap_or_default())?;
                tokens.push(Token::Text(text));
                after
            }
            _ => {
                let end = |letter: char| letter.is_whitespace() || matches!(letter, ',' | '"');
                let (word, after) = rest.split_at(rest.find(end).unwrap_or(rest.len()));
                tokens.push(Token::Word(word));
                after
            }
        }
        .trim_start();
    }
    Ok(tokens)
}

/// A name up to its closing quote, and what comes after.
fn unquoted(rest: &str) -> Result<(String, &str), String> {
    let unclosed = || String::from("its quotes are not closed");
    let mut text = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Ok((text, letters.as_str())),
            '\\' => {
                let escape = letters.next().ok_or_else(unclosed)?;
                text.push(match escape {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    '0' => '\0',
                    '\\' | '"' | '\'' => escape,
                    'u' => {
                        let (code, after) = letters
                            .as_str()
                            .strip_prefix('{')
                            .and_then(|code| code.split_once('}'))
                            .ok_or_else(|| {
                                String::from("`\\u` needs a number in braces, such as `\\u{1f}`")
                            })?;
                        letters = after.chars();
                        let number = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
                        number.ok_or_else(|| format!("`\\u{{{}}}` is no character", shown(code)))?
                    }
                    other => return Err(format!("`\\{}` means nothing", other.escape_debug())),
                });
            }
            letter => text.push(letter),
        }
    }
    Err(unclosed())
}

/// Figures that are called by words alone.
#[derive(Clone, Copy)]
enum Called {
    ErrorRate,
    Divergence,
    Promised,
    Quality(Metric),
    /// The part that is missing to 1 of it.
    LossOf(Metric),
}

/// Every figure that is called by words alone, those of more words first where one begins like another.
fn figures() -> impl Iterator<Item = (&'static str, Called)> {
    const METRICS: [Metric; 16] = [
        Metric::PrecisionAtK,
        Metric::Accuracy,
        Metric::Precision,
        Metric::Recall,
        Metric::F1,
        Metric::LogLoss,
        Metric::Brier,
        Metric::Auc,
        Metric::CalibrationError,
        Metric::Mae,
        Metric::Rmse,
        Metric::Bias,
        Metric::R2,
        Metric::HitRate,
        Metric::ReciprocalRank,
        Metric::Ndcg,
    ];
    let others = [
        ("error rate", Called::ErrorRate),
        ("divergence", Called::Divergence),
        ("promised quality", Called::Promised),
    ];
    let losses = METRICS.into_iter().filter_map(|of| Some((words_of_loss(of)?, Called::LossOf(of))));
    others.into_iter().chain(losses).chain(METRICS.into_iter().map(|of| (words(of), Called::Quality(of))))
}

/// The rest of a sentence.
pub(super) struct Reader<'a> {
    tokens: &'a [Token<'a>],
}

impl<'a> Reader<'a> {
    #[cfg(feature = "drift")]
    pub(super) fn new(tokens: &'a [Token<'a>]) -> Self {
        Self { tokens }
    }

    /// Nothing more is said.
    #[cfg(feature = "drift")]
    pub(super) fn end(&self) -> Result<(), String> {
        match self.tokens.first() {
            None => Ok(()),
            Some(more) => Err(format!("nothing follows it, and \"{}\" does", shown(&more.to_string()))),
        }
    }

    /// Passes over these words if they come next.
    pub(super) fn take(&mut self, words: &str) -> bool {
        let mut rest = self.tokens;
        for word in words.split(' ') {
            match rest.split_first() {
                Some((Token::Word(found), after)) if *found == word => rest = after,
                _ => return false,
            }
        }
        self.tokens = rest;
        true
    }

    fn next(&mut self) -> Option<&'a Token<'a>> {
        let (next, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(next)
    }

    /// Why what comes next is not one of these: it is not, and which is the nearest.
    fn expected(&self, what: &str, known: &[&str]) -> String {
        let Some(first) = self.tokens.first() else {
            return format!("it ends where {what} is missing: {}", alternatives(known));
        };
        // As many words as that which it is nearest to has.
        let told = |known: &&str| {
            let count = known.split(' ').count();
            let found: Vec<String> = self.tokens.iter().take(count).map(Token::to_string).collect();
            (found.join(" "), distance(&found.join(" "), known))
        };
        let nearest = known.iter().map(|known| (known, told(known))).min_by_key(|(_, (_, far))| *far);
        match nearest {
            Some((nearest, (found, far))) if far < nearest.chars().count() => {
                format!("\"{}\" is not {what}, did you mean \"{nearest}\"?", shown(&found))
            }
            _ => format!(
                "\"{}\" stands where {what} is expected: {}",
                shown(&first.to_string()),
                alternatives(known)
            ),
        }
    }

    pub(super) fn figure(&mut self) -> Result<(Figure, Option<Metric>), String> {
        if self.take("kpi") {
            return match self.next() {
                Some(Token::Text(name)) => Ok((Figure::Kpi { name: name.as_str().into() }, None)),
                _ => Err("the name of a business figure stands in quotes: kpi \"purchase\"".into()),
            };
        }
        if self.take("latency") {
            let told = match self.next() {
                Some(Token::Word(word)) => word.strip_prefix('p').and_then(quantile),
                _ => None,
            };
            let quantile = told.ok_or("a latency is a quantile: say `latency p99`")?;
            return Ok((Figure::Latency { quantile }, None));
        }
        for (called, figure) in figures() {
            if self.take(called) {
                return Ok(match figure {
                    Called::ErrorRate => (Figure::ErrorRate, None),
                    Called::Divergence => (Figure::Divergence, None),
                    Called::Promised => (Figure::Promised, None),
                    Called::Quality(metric) => (Figure::Quality { metric }, None),
                    Called::LossOf(metric) => (Figure::Quality { metric }, Some(metric)),
                });
            }
        }
        if let Some(Token::Text(name)) = self.tokens.first() {
            return Err(format!("a business figure is called `kpi {}`", shown(&quoted(name))));
        }
        // What stands before the limit is what was meant to be a figure. (`at` stands in `precision at k` too.)
        let begins = |place: &usize| {
            matches!(
                self.tokens.get(*place..).unwrap_or_default(),
                [Token::Word("within") | Token::Comma, ..]
                    | [Token::Word("at"), Token::Word("most" | "least"), ..]
            )
        };
        let at = |token: &Token<'_>| matches!(token, Token::Word("at"));
        let end = (0..self.tokens.len()).find(begins).or_else(|| self.tokens.iter().position(at));
        let found = self.tokens.get(..end.unwrap_or(self.tokens.len())).unwrap_or_default();
        let found: Vec<String> = found.iter().map(Token::to_string).collect();
        let found = found.join(" ");
        if found.is_empty() {
            return Err("it says no figure: begin with one, such as `error rate`".into());
        }
        let others = ["latency p99", "kpi \"..\""];
        let known = figures().map(|(called, _)| called).chain(others);
        let nearest = known.min_by_key(|known| distance(&found, known)).unwrap_or("error rate");
        Err(format!("\"{}\" is not a figure, did you mean \"{nearest}\"?", shown(&found)))
    }

    /// A number that is no percentage.
    pub(super) fn number(&mut self) -> Result<f64, String> {
        let number = self.share()?;
        number.plain("it is a number here")
    }

    /// A number, or a percentage.
    fn share(&mut self) -> Result<Number, String> {
        let Some(next) = self.tokens.first() else { return Err("it ends where a number is missing".into()) };
        let text = next.to_string();
        let (number, percent) =
            text.strip_suffix('%').map_or((text.as_str(), false), |number| (number, true));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
        let parsed = |text: &str| text.parse::<f64>().ok();
        let value = if digits(number) { parsed(number) } else { None };
        let value = value.ok_or_else(|| format!("\"{}\" is not a number", shown(&text)))?;
        self.next();
        if !percent && !self.take("%") {
            return Ok(Number { value, percent: None });
        }
        // The nearest number to what is meant: 0.1 / 100 is not 0.001.
        let of_a_hundred = parsed(&format!("{number}e-2")).unwrap_or(value / 100.0);
        Ok(Number { value: of_a_hundred, percent: Some(shown(number)) })
    }

    fn duration(&mut self) -> Result<Duration, String> {
        let wrong =
            "a time is a number and a unit, to the nanosecond at most: `50 ms`, `1.5 s`, `300 µs`, `10 ns`";
        let Some(Token::Word(first)) = self.next() else { return Err(wrong.into()) };
        let digits = first.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let told = match digits {
            Some(at) => first.split_at_checked(at),
            None => match self.next() {
                Some(Token::Word(unit)) => Some((*first, *unit)),
                _ => None,
            },
        };
        told.and_then(|(number, unit)| duration(number, unit)).ok_or_else(|| wrong.into())
    }

    pub(super) fn limit(&mut self, figure: &Figure) -> Result<Limit, String> {
        if self.take("at most") {
            let number = self.share()?;
            return Ok(if self.take("below live") {
                Limit::BelowLive(number.margin()?)
            } else if self.take("above live") {
                Limit::AboveLive(number.margin()?)
            } else if self.take("times live") {
                Limit::TimesLive(number.factor()?)
            } else {
                Limit::AtMost(number.value)
            });
        }
        if self.take("at least") {
            let number = self.share()?;
            return Ok(if self.take("times live") {
                Limit::AtLeastTimesLive(number.factor()?)
            } else {
                Limit::AtLeast(number.value)
            });
        }
        if self.take("within") {
            return match figure {
                Figure::Promised => self.number().map(Limit::BelowPromise),
                _ => self.duration().map(Limit::Within),
            };
        }
        Err(self.expected("a limit", &["at most", "at least", "within"]))
    }

    /// Reads what may come after a limit.
    fn clauses(&mut self, limit: Limit) -> Result<Clauses, String> {
        let mut clauses = Clauses::default();
        if matches!(limit, Limit::TimesLive(_)) && self.take("or at most") {
            clauses.or_at_most = Some(self.share()?.value);
        }
        let known: &[&str] = match limit {
            Limit::AtMost(_) => &["below live", "above live", "times live", ", by segment"],
            Limit::AtLeast(_) => &["times live", ", by segment"],
            Limit::TimesLive(_) if clauses.or_at_most.is_none() => &["or at most", ", by segment"],
            _ => &[", by segment"],
        };
        match self.tokens {
            [] => return Ok(clauses),
            [Token::Comma, rest @ ..] => {
                let mut after = Reader { tokens: rest };
                if !after.take("by segment") {
                    return Err(after.expected("a clause", &["by segment"]));
                }
                clauses.by_segment = true;
                self.tokens = after.tokens;
            }
            _ => return Err(self.expected("what may follow a limit", known)),
        }
        match self.tokens.first() {
            None => Ok(clauses),
            Some(more) => {
                Err(format!("nothing follows `by segment`, and \"{}\" does", shown(&more.to_string())))
            }
        }
    }
}

/// A number as it was read.
struct Number {
    /// Of a percentage, the share that it is.
    value: f64,
    /// The text that stood before the `%`.
    percent: Option<String>,
}

impl Number {
    fn margin(&self) -> Result<f64, String> {
        self.plain("points and parts of a hundred are not told apart in a margin")
    }

    fn factor(&self) -> Result<f64, String> {
        self.plain("a factor is a number, such as 1.25")
    }

    fn plain(&self, why: &str) -> Result<f64, String> {
        match &self.percent {
            None => Ok(self.value),
            Some(percent) => {
                Err(format!("{percent} % is written as {}: {why}", super::numbers::written(self.value)))
            }
        }
    }
}

#[derive(Default)]
struct Clauses {
    or_at_most: Option<f64>,
    by_segment: bool,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(sentence: &str) -> Result<Self, RuleError> {
        let refused = |reason: String| RuleError::sentence(sentence, reason);
        let tokens = tokens(sentence).map_err(refused)?;
        let mut reader = Reader { tokens: &tokens };
        let (figure, loss_of) = reader.figure().map_err(refused)?;
        let limit = reader.limit(&figure).map_err(refused)?;
        let clauses = reader.clauses(limit).map_err(refused)?;
        match (&figure, loss_of, limit) {
            (Figure::Quality { metric }, None, Limit::TimesLive(_)) => {
                if let Some(instead) = words_of_loss(*metric) {
                    let (figure, limit) = (words(*metric), limit.to_string());
                    return Err(RuleError::Multiple { figure, limit, instead });
                }
            }
            (_, Some(metric), limit) if !matches!(limit, Limit::TimesLive(_)) => {
                let (loss, figure) = (words_of_loss(metric).unwrap_or_default(), words(metric));
                return Err(refused(format!(
                    "{loss} are limited by `at most 1.25 times live` alone; else limit {figure}, such as `{figure} at most 0.02 below live`"
                )));
            }
            _ => {}
        }
        let rule = Self::new(figure, limit)?;
        let rule = match clauses.or_at_most {
            Some(rate) => rule.or_at_most(rate)?,
            None => rule,
        };
        if clauses.by_segment { rule.by_segment() } else { Ok(rule) }
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;
    fn try_from(sentence: String) -> Result<Self, RuleError> {
        sentence.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> String {
        rule.to_string()
    }
}

impl RuleError {
    /// A sentence that is no guard, with the reason.
    pub(super) fn sentence(sentence: &str, reason: String) -> Self {
        Self::Sentence { sentence: shown(sentence), reason }
    }
}

/// At most 80 characters of what was read, on one line.
fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let mut shown: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("..");
    }
    shown
}

fn alternatives(known: &[&str]) -> String {
    let quoted: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::subject::*;
    use super::*;
    use proptest::prelude::*;

    fn refused(sentence: &str) -> String {
        sentence.parse::<Rule>().unwrap_err().to_string()
    }

    #[test]
    fn rules_are_the_sentences_that_people_are_shown() {
        let cases = [
            ("error rate at most 0.01", error_rate().at_most(0.01)),
            (
                "error rate at most 0.01 above live, by segment",
                error_rate().by_segment().at_most_above_live(0.01),
            ),
            ("error rate at most 1.25 times live", error_rate().at_most_times_live(1.25)),
            ("error rate at most 1.25 times live", error_rate().at_most_times_live_or(1.25, 0.001)),
            (
                "error rate at most 1.25 times live or at most 0, by segment",
                error_rate().by_segment().at_most_times_live_or(1.25, -0.0),
            ),
            ("latency p99 within 50 ms", latency(0.99).within(Duration::from_millis(50))),
            ("latency p57 within 1.5 s", latency(0.57).within(Duration::from_millis(1_500))),
            ("latency p0.01 within 1 ns", latency(0.0001).within(Duration::from_nanos(1))),
            ("latency p50 within 300.25 µs", latency(0.5).within(Duration::from_nanos(300_250))),
            ("latency p99.9 at most 1.5 times live", latency(0.999).at_most_times_live(1.5)),
            ("accuracy at least 0.9", accuracy().at_least(0.9)),
            ("accuracy at most 0.02 below live", accuracy().at_most_below_live(0.02)),
            (
                "accuracy at most 0.02 below live, by segment",
                accuracy().by_segment().at_most_below_live(0.02),
            ),
            ("wrong answers at most 1.25 times live", accuracy().at_most_times_live(1.25)),
            ("false alarms at most 1.25 times live", precision().at_most_times_live(1.25)),
            ("missed positives at most 1.25 times live", recall().at_most_times_live(1.25)),
            ("f1 at most 0.05 below live", f1().at_most_below_live(0.05)),
            ("precision at most 0.05 below live", precision().at_most_below_live(0.05)),
            ("precision at k at most 0.05 below live", precision_at_k().at_most_below_live(0.05)),
            ("reciprocal rank at least 0.5", reciprocal_rank().at_least(0.5)),
            ("hit rate at least 0.5", hit_rate().at_least(0.5)),
            ("ndcg at least 0.5", ndcg().at_least(0.5)),
            ("brier score at most 0.01 above live", brier_score().at_most_above_live(0.01)),
            ("log loss at most 0.5", log_loss().at_most(0.5)),
            ("mean absolute error at most 12 above live", mean_absolute_error().at_most_above_live(12.0)),
            ("kpi \"purchase\" at least 0.95 times live", kpi("purchase").at_least_times_live(0.95)),
            ("kpi \"at most 3, \\\"x\\\"\\n\" at most 3", kpi("at most 3, \"x\"\n").at_most(3.0)),
            ("divergence at most 0.1", divergence().at_most(0.1)),
            ("promised quality within 0.03", as_promised(0.03)),
        ];
        for (sentence, rule) in cases {
            let rule = rule.unwrap();
            assert_eq!(rule.to_string(), sentence);
            assert_eq!(sentence.parse::<Rule>().unwrap(), rule);
            let json = serde_json::to_string(&rule).unwrap();
            assert_eq!(json, serde_json::to_string(sentence).unwrap());
            assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule);
        }
        // Spaces and units as people type them.
        for sentence in
            ["  latency  p99\twithin 50ms ", "latency p99 within 50000 us", "latency p99.0 within 0.05 s"]
        {
            assert_eq!(
                sentence.parse::<Rule>(),
                latency(0.99).within(Duration::from_millis(50)),
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_share_may_be_a_percentage() {
        for (sentence, same) in [
            ("error rate at most 1 %", "error rate at most 0.01"),
            ("error rate at most 0.1%", "error rate at most 0.001"),
            ("accuracy at least 90 %, by segment", "accuracy at least 0.9, by segment"),
            (
                "error rate at most 1.25 times live or at most 0.7 %",
                "error rate at most 1.25 times live or at most 0.007",
            ),
            ("kpi \"purchase\" at least 7 %", "kpi \"purchase\" at least 0.07"),
        ] {
            assert_eq!(sentence.parse::<Rule>().unwrap(), same.parse().unwrap(), "{sentence}");
            assert_eq!(sentence.parse::<Rule>().unwrap().to_string(), same);
        }
    }

    #[test]
    fn limits_are_rounded_as_the_constructors_round_them() {
        let read: Rule = "accuracy at most 0.0200000000000000041 below live".parse().unwrap();
        assert_eq!(read.to_string(), "accuracy at most 0.02 below live");
        let limit = 0.1 + 0.2;
        assert_eq!(error_rate().at_most(limit).unwrap().limit(), Limit::AtMost(0.3));
        assert_eq!(format!("error rate at most {limit}").parse::<Rule>(), error_rate().at_most(0.3));
    }

    #[test]
    fn a_near_miss_is_told_the_nearest_that_would_have_been_understood() {
        for (sentence, said) in [
            ("acuracy at least 0.9", "\"acuracy\" is not a figure, did you mean \"accuracy\"?"),
            ("erorr rate at most 0.1", "\"erorr rate\" is not a figure, did you mean \"error rate\"?"),
            ("Accuracy at least 0.9", "did you mean \"accuracy\"?"),
            ("wrong anwsers at most 2 times live", "did you mean \"wrong answers\"?"),
            ("latncy p99 within 5 ms", "did you mean \"latency p99\"?"),
            ("kpis \"sales\" at least 1", "did you mean \"kpi \"..\"\"?"),
            ("purchase at least 0.95 times live", "\"purchase\" is not a figure"),
            ("kpi purchase at least 1", "stands in quotes: kpi \"purchase\""),
            ("\"purchase\" at least 1", "a business figure is called `kpi \"purchase\"`"),
            ("latency at most 2 times live", "say `latency p99`"),
            ("latency 99 within 5 ms", "say `latency p99`"),
            ("accuracy at mots 0.02 below live", "\"at mots\" is not a limit, did you mean \"at most\"?"),
            (
                "accuracy below 0.9",
                "\"below\" stands where a limit is expected: `at most`, `at least` or `within`",
            ),
            ("accuracy", "it ends where a limit is missing: `at most`, `at least` or `within`"),
            ("accuracy at least", "it ends where a number is missing"),
            ("accuracy at least ninety", "\"ninety\" is not a number"),
            ("accuracy at least NaN", "\"NaN\" is not a number"),
            (
                "accuracy at most 2% below live",
                "2 % is written as 0.02: points and parts of a hundred are not",
            ),
            ("error rate at most 120 % times live", "120 % is written as 1.2: a factor is a number"),
            ("error rate at most 101 %", "error rate: limit = 1.01 is not at least 0 and below 1"),
            ("error rate at most %", "\"%\" is not a number"),
            ("error rate at most 1 % %", "\"%\" stands where what may follow a limit is expected"),
            (
                "accuracy at most 0.02 bellow live",
                "\"bellow live\" is not what may follow a limit, did you mean \"below live\"?",
            ),
            (
                "accuracy at most 0.02 below live, by segmnt",
                "\"by segmnt\" is not a clause, did you mean \"by segment\"?",
            ),
            ("accuracy at most 0.02 below live by segment", "did you mean \", by segment\"?"),
            (
                "accuracy at most 0.02 below live, by segment twice",
                "nothing follows `by segment`, and \"twice\" does",
            ),
            ("latency p99 within 50", "a time is a number and a unit"),
            ("latency p99 within 50 hours", "a time is a number and a unit"),
            ("latency p99 within 0.1 ns", "a time is a number and a unit"),
            ("latency p99 within 99999999999999999 s", "a time is a number and a unit"),
            ("", "it says no figure: begin with one"),
            (", by segment", "it says no figure: begin with one"),
            ("kpi \"open at most 1", "its quotes are not closed"),
            ("kpi \"\\q\" at most 1", "`\\q` means nothing"),
            ("kpi \"\\u{d800}\" at most 1", "`\\u{d800}` is no character"),
            (
                "wrong answers at most 0.1 above live",
                "wrong answers are limited by `at most 1.25 times live` alone",
            ),
            ("accuracy at most 1.25 times live", "say `wrong answers at most 1.25 times live`"),
            ("accuracy at most 0.02", "use `at least 0.9` or `at most 0.02 below live`"),
            ("error rate within 10 ms", "error rate cannot be limited by `within 10 ms`"),
            ("latency p99 at least 0.1", "use `within 50 ms` or `at most 1.5 times live`"),
            ("divergence at most 0.1 above live", "use `at most 0.1`"),
            ("mean absolute error at most 3", "use `at most 0.5 above live`"),
            ("auc at least 0.8", "there is no sequential test for auc"),
            ("brier score at most 1.1 times live", "use `at most 0.2` or `at most 0.01 above live`"),
            ("latency p100 within 5 ms", "latency: quantile = 1 is not between 0.0001 and 0.9999"),
            ("latency p700 within 5 ms", "latency: quantile = 7 is not between 0.0001 and 0.9999"),
            ("error rate at most -1", "error rate: limit = -1 is not at least 0 and below 1"),
            (
                "error rate at most 2 times live or at most 7",
                "error rate: rate = 7 is not at least 0 and below 1",
            ),
            ("wrong answers at most 2 times live or at most 0.1", "cannot have `or at most`"),
            (
                "recall at least 0.5, by segment",
                "`recall at least 0.5` cannot have `by segment`: only error rate and accuracy can",
            ),
        ] {
            let error = refused(sentence);
            assert!(error.contains(said), "{sentence}: {error}");
        }
        assert!(refused(&"x".repeat(100_000)).len() < 400);
    }

    /// What a rule serialised as fields would pass over is no rule.
    #[test]
    fn only_a_sentence_is_a_rule_to_serde() {
        for json in [r#"{"figure": "error_rate", "limit": {"at_most": 0.1}, "by_segmnt": true}"#, "7", "null"]
        {
            assert!(serde_json::from_str::<Rule>(json).is_err(), "{json}");
        }
    }

    fn share() -> impl Strategy<Value = f64> {
        prop_oneof![Just(0.0), 1e-9..1.0_f64, (0u32..1_000).prop_map(|n| f64::from(n) / 1_000.0)]
    }

    fn factor() -> impl Strategy<Value = f64> {
        prop_oneof![0.001..1_000.0_f64, (1u32..100).prop_map(|n| f64::from(n) / 20.0)]
    }

    fn finite() -> impl Strategy<Value = f64> {
        prop_oneof![-1e6..1e6_f64, any::<f64>().prop_filter("finite", |x| x.is_finite())]
    }

    /// Every kind of rule that code can say.
    fn rules() -> impl Strategy<Value = Rule> {
        let quantile = prop_oneof![0.0001..0.9999_f64, Just(0.57), Just(0.999)];
        let nanos = prop_oneof![1..86_400_000_000_000_u64, (1..86_400_u64).prop_map(|s| s * 1_000_000_000)];
        let numbers = (share(), factor(), finite(), share());
        let rest = (quantile, nanos, any::<String>(), any::<bool>());
        (0usize..29, numbers, rest).prop_filter_map("a number at the edge", |(kind, numbers, rest)| {
            let (share, factor, finite, floor) = numbers;
            let (quantile, nanos, name, by_segment) = rest;
            let errors = if by_segment { error_rate().by_segment() } else { error_rate() };
            let right = if by_segment { accuracy().by_segment() } else { accuracy() };
            match kind {
                0 => errors.at_most(share),
                1 => errors.at_most_above_live(share),
                2 => errors.at_most_times_live(factor),
                3 => errors.at_most_times_live_or(factor, floor),
                4 => latency(quantile).within(Duration::from_nanos(nanos)),
                5 => latency(quantile).at_most_times_live(factor),
                6 => right.at_least(share),
                7 => right.at_most_below_live(share),
                8 => right.at_most_times_live(factor),
                9 => precision().at_least(share),
                10 => precision().at_most_below_live(share),
                11 => precision().at_most_times_live(factor),
                12 => recall().at_most_times_live(factor),
                13 => f1().at_least(share),
                14 => hit_rate().at_most_below_live(share),
                15 => reciprocal_rank().at_most_below_live(share),
                16 => ndcg().at_least(share),
                17 => precision_at_k().at_most_below_live(share),
                18 => brier_score().at_most(share),
                19 => brier_score().at_most_above_live(share),
                20 => log_loss().at_most(share * 4.0),
                21 => mean_absolute_error().at_most_above_live(finite.abs()),
                22 => kpi(name).at_most(finite),
                23 => kpi(name).at_least(finite),
                24 => kpi(name).at_most_below_live(finite.abs()),
                25 => kpi(name).at_most_above_live(finite.abs()),
                26 => kpi(name).at_least_times_live(factor),
                27 => divergence().at_most(share),
                _ => as_promised(finite.abs()),
            }
            .ok()
        })
    }

    /// Words of the grammar and others, in any order.
    fn sentences() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "error",
            "rate",
            "latency",
            "p99",
            "p",
            "p1e9",
            "accuracy",
            "wrong",
            "answers",
            "precision",
            "at",
            "k",
            "most",
            "least",
            "within",
            "0.1",
            "1e400",
            "-0",
            ".",
            "50ms",
            "5",
            "ms",
            "µs",
            "below",
            "above",
            "times",
            "live",
            "or",
            ",",
            "by",
            "segment",
            "kpi",
            "\"x\"",
            "\"",
            "\\",
            "\"\\u{",
            "%",
            "é",
            "promised",
            "quality",
        ]);
        prop::collection::vec(word, 0..14).prop_map(|words| words.join(" "))
    }

    proptest! {
        #[test]
        fn every_rule_is_read_from_its_own_sentence_to_the_same_bits(rule in rules()) {
            let sentence = rule.to_string();
            prop_assert!(!sentence.contains(|letter: char| letter.is_control()), "{sentence:?}");
            prop_assert_eq!(sentence.parse::<Rule>().unwrap(), rule.clone());
            let json = serde_json::to_string(&rule).unwrap();
            prop_assert_eq!(serde_json::from_str::<Rule>(&json).unwrap(), rule);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in prop_oneof![any::<String>(), sentences()]) {
            match text.parse::<Rule>() {
                // What is understood is the same when it is said as it is shown.
                Ok(rule) => prop_assert_eq!(rule.to_string().parse::<Rule>().unwrap(), rule),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }

        #[test]
        fn a_letter_that_was_mistyped_is_found(
            place in 0usize..40, letter in prop::char::range('a', 'z'), figure in prop::sample::select(
                figures().map(|(called, _)| called).filter(|called| called.len() > 6).collect::<Vec<_>>()
            ),
        ) {
            let mut mistyped: Vec<char> = figure.chars().collect();
            let at = place % mistyped.len();
            prop_assume!(mistyped[at] != letter && mistyped[at] != ' ');
            mistyped[at] = letter;
            let mistyped: String = mistyped.into_iter().collect();
            prop_assume!(figures().all(|(called, _)| !mistyped.starts_with(called)));
            let error = refused(&format!("{mistyped} at most 0.1"));
            prop_assert!(error.contains(&format!("did you mean \"{figure}\"?")), "{}", error);
        }
    }
}
