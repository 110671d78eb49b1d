//! Moments, times and evidence as people write them.

use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::base::text::{count, number, percent};
use crate::rollout::guard::evidence::{Evidence, Strength};

/// A space that no line is broken at.
const NARROW: char = '\u{a0}';

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `14 May 2013, 15:51 UTC`
pub(crate) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    match month {
        Some(month) => {
            let day = part(8, 10).trim_start_matches('0');
            format!("{day}{NARROW}{month} {}, {} UTC", part(0, 4), part(11, 16))
        }
        None => text,
    }
}

/// `6 days 12 hours`: the two largest units, or one where that is exact enough.
pub(crate) fn long(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (large, small, in_large, in_small) = match seconds {
        0 => return String::from("less than a second"),
        1..60 => return several(seconds, "second"),
        60..3_600 => ("minute", "second", 60, 1),
        3_600..86_400 => ("hour", "minute", 3_600, 60),
        _ => ("day", "hour", 86_400, 3_600),
    };
    let (whole, rest) = (seconds / in_large, seconds % in_large / in_small);
    // After ten of the larger unit nobody asks for the smaller.
    if rest == 0 || whole >= 10 {
        several(whole, large)
    } else {
        format!("{} {}", several(whole, large), several(rest, small))
    }
}

/// `1 request`, `1,204 requests`
pub(crate) fn several(number: u64, what: &str) -> String {
    format!("{}{NARROW}{what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A share out of counts, with both: `0.3 % (2 of 612)`.
pub(crate) fn share_of(part: u64, whole: u64) -> String {
    if whole == 0 {
        return String::from("–");
    }
    format!("{} ({} of {})", percent(part as f64 / whole as f64), count(part), count(whole))
}

/// `15.7 µs`
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let (scaled, unit) = match seconds {
        ..1e-6 => (seconds * 1e9, "ns"),
        1e-6..1e-3 => (seconds * 1e6, "µs"),
        1e-3..1.0 => (seconds * 1e3, "ms"),
        _ => (seconds, "s"),
    };
    format!("{}{NARROW}{unit}", number(scaled))
}

/// The sentence of a guard, without its full stop.
pub(crate) fn saw(evidence: &Evidence) -> String {
    if let Some(sentence) = &evidence.sentence {
        return sentence.clone();
    }
    let mut text = match evidence.observed {
        Some(observed) => format!(
            "the guard “{}” observed {} on {}",
            evidence.guard,
            number(observed),
            several(evidence.samples, "sample")
        ),
        None => format!("the guard “{}” has {}", evidence.guard, several(evidence.samples, "sample")),
    };
    if let Some(live) = evidence.live {
        text.push_str(&format!(", beside {} of live's", number(live)));
    }
    if let Some(limit) = evidence.limit {
        text.push_str(&format!("; {} was the worst allowed", number(limit)));
    }
    text
}

/// `Evidence for harm 812 of 250, against it 0.01 of 25`
pub(crate) fn weighed(strength: &Strength) -> String {
    let Strength { harm, harm_threshold, non_inferiority, non_inferiority_threshold, .. } = strength;
    let against = match non_inferiority {
        Some(e) => format!(", against it {e} of {non_inferiority_threshold}"),
        None => String::new(),
    };
    format!("Evidence for harm {harm} of {harm_threshold}{against}")
}

/// With a full stop at the end. What it begins with may be a name, so that stays as it is.
pub(crate) fn sentence(text: &str) -> String {
    let mut text = text.trim().to_owned();
    if !text.is_empty() && !text.ends_with(['.', '!', '?', '”']) {
        text.push('.');
    }
    text
}

/// With a capital at the beginning: for words that are ours.
pub(crate) fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_at_most_two_units() {
        let cases = [
            (0, "less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (1_860, "31 minutes"),
            (90, "1 minute 30 seconds"),
            (561_600, "6 days 12 hours"),
            (86_400 * 40 + 3_600, "40 days"),
        ];
        for (seconds, text) in cases {
            assert_eq!(long(Duration::from_secs(seconds)).replace(NARROW, " "), text);
        }
    }

    #[test]
    fn moments_and_latencies_are_said_as_people_do() {
        let at = Timestamp::from_unix_seconds(1_368_546_660);
        assert_eq!(moment(at).replace(NARROW, " "), "14 May 2013, 15:51 UTC");
        let times = [15_700, 2_100_000, 1_500_000_000, 12].map(|nanos| short(Duration::from_nanos(nanos)));
        assert_eq!(times.map(|text| text.replace(NARROW, " ")), ["15.7 µs", "2.1 ms", "1.5 s", "12 ns"]);
        assert!(moment(Timestamp::from_unix_nanos(u64::MAX)).contains("2554"));
    }
}
