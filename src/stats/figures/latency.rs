//! Latencies: percentiles over everything that was counted, not over a sample.

use std::borrow::Cow;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::latency_limit::exceeds_blurred;
use super::sparse::Counts;

/// Durations from 100 ns to 100 s, by value to two significant digits (steps of at most 1/128 of the value).
///
/// A shorter or longer one counts in the outermost place. There are two forms that hold the same numbers: one for
/// recording, of a fixed 15.5 KiB, in which a record costs some 7 ns and allocates nothing; and one for keeping, of ten
/// bytes per place in use. They merge into each other, and counts are added as integers: the order does not matter.
///
/// Mean and maximum are exact.
#[derive(Debug, Clone)]
pub(crate) struct Latency {
    places: Places,
    count: u64,
    sum_nanos: u128,
    max_nanos: u64,
}

#[derive(Debug, Clone)]
enum Places {
    Dense(Box<Histogram<u32>>),
    Sparse(Counts),
}

impl Latency {
    /// The form for recording.
    pub(crate) fn recording() -> Self {
        // The bounds are constants that are legal; were they not, the other form would do.
        let places = Histogram::new_with_bounds(1, LONGEST, DIGITS).map_or_else(
            |_| Places::Sparse(Counts::default()),
            |histogram| Places::Dense(Box::new(histogram)),
        );
        Self { places, count: 0, sum_nanos: 0, max_nanos: 0 }
    }

    /// The form for keeping. It can be recorded to as well, at some 30 ns and with a growing vector.
    pub(crate) fn compact() -> Self {
        Self { places: Places::Sparse(Counts::default()), count: 0, sum_nanos: 0, max_nanos: 0 }
    }

    /// Counts a duration.
    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        let nanos = nanos.clamp(SHORTEST, LONGEST);
        match &mut self.places {
            Places::Dense(histogram) => histogram.saturating_record(nanos),
            Places::Sparse(counts) => counts.add(place(nanos), 1),
        }
        self.count += 1;
        self.sum_nanos += u128::from(nanos);
        self.max_nanos = self.max_nanos.max(nanos);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        match (&mut self.places, &other.places) {
            (Places::Sparse(own), Places::Sparse(theirs)) => own.merge(theirs),
            (Places::Sparse(own), Places::Dense(theirs)) => own.merge(&compacted(theirs)),
            // Adding fails only for a histogram of other bounds, and there is none.
            (Places::Dense(own), Places::Dense(theirs)) => drop(own.add(theirs.as_ref())),
            (Places::Dense(own), Places::Sparse(theirs)) => {
                for (place, count) in theirs.seen() {
                    own.saturating_record_n(highest(place), u32::try_from(count).unwrap_or(u32::MAX));
                }
            }
        }
        self.count += other.count;
        self.sum_nanos += other.sum_nanos;
        self.max_nanos = self.max_nanos.max(other.max_nanos);
    }

    /// Returns what was counted here and not yet in `earlier`, of which this is a later state. The largest is that of
    /// all.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let mut later = Self::compact();
        later.merge(self);
        let mut before = Self::compact();
        before.merge(earlier);
        if let (Places::Sparse(counts), Places::Sparse(earlier)) = (&mut later.places, &before.places) {
            earlier.iter().for_each(|(place, count)| counts.add(place, -count));
        }
        later.count = later.count.saturating_sub(before.count);
        later.sum_nanos = later.sum_nanos.saturating_sub(before.sum_nanos);
        later
    }

    /// Forgets all counts; keeps what is allocated.
    pub(crate) fn reset(&mut self) {
        if self.count == 0 {
            return;
        }
        match &mut self.places {
            Places::Dense(histogram) => histogram.reset(),
            Places::Sparse(counts) => counts.clear(),
        }
        (self.count, self.sum_nanos, self.max_nanos) = (0, 0, 0);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The duration that a share of `q` did not exceed: the upper end of the place in which the ⌈qn⌉-th shortest lies,
    /// so it is never too low, and too high by at most 1/128. `None` where nothing was counted.
    pub(crate) fn quantile(&self, q: f64) -> Option<Duration> {
        self.quantile_of(&self.counts(), q)
    }

    /// The counts by place, in the form for keeping.
    fn counts(&self) -> Cow<'_, Counts> {
        match &self.places {
            Places::Sparse(counts) => Cow::Borrowed(counts),
            Places::Dense(histogram) => Cow::Owned(compacted(histogram)),
        }
    }

    fn quantile_of(&self, counts: &Counts, q: f64) -> Option<Duration> {
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut so_far = 0;
        for (place, count) in counts.seen() {
            so_far += count;
            if so_far >= rank {
                return Some(Duration::from_nanos(highest(place).min(self.max_nanos)));
            }
        }
        None
    }

    /// The share of durations that exceed a blurred limit of so many nanoseconds. `None` where nothing was counted.
    pub(crate) fn share_above_blurred(&self, nanos: u64) -> Option<f64> {
        let counts = self.counts();
        let often = |place| exceeds_blurred(highest(place).min(self.max_nanos), nanos);
        let above: f64 = counts.seen().map(|(place, count)| count as f64 * often(place)).sum();
        (self.count > 0).then(|| above / self.count as f64)
    }

    /// How many durations there were up to each of these bounds and no further, and beyond all of them. `bounds` rise.
    ///
    /// A place counts by its upper end, whatever the longest duration is: one that was counted never moves to another bound.
    pub(crate) fn histogram(&self, bounds: &[Duration]) -> LatencyHistogram {
        let mut counts = vec![0; bounds.len() + 1];
        let mut bound = 0;
        for (place, count) in self.counts().seen() {
            let nanos = u128::from(highest(place));
            while bounds.get(bound).is_some_and(|bound| nanos > bound.as_nanos()) {
                bound += 1;
            }
            if let Some(so_far) = counts.get_mut(bound) {
                *so_far += count;
            }
        }
        let sum = Duration::from_nanos(u64::try_from(self.sum_nanos).unwrap_or(u64::MAX));
        LatencyHistogram { counts, count: self.count, sum }
    }

    pub(crate) fn mean(&self) -> Option<Duration> {
        let mean = self.sum_nanos.checked_div(u128::from(self.count))?;
        u64::try_from(mean).ok().map(Duration::from_nanos)
    }

    pub(crate) fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max_nanos))
    }

    /// Returns what is allocated, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        match &self.places {
            Places::Sparse(counts) => counts.bytes(),
            Places::Dense(histogram) => {
                size_of_val(histogram.as_ref()) + histogram.distinct_values() * size_of::<u32>()
            }
        }
    }

    pub(crate) fn figures(&self) -> Option<LatencyFigures> {
        let counts = self.counts();
        let quantile = |q| self.quantile_of(&counts, q);
        Some(LatencyFigures {
            count: self.count,
            mean: self.mean()?,
            p50: quantile(0.5)?,
            p90: quantile(0.9)?,
            p95: quantile(0.95)?,
            p99: quantile(0.99)?,
            p999: quantile(0.999)?,
            max: self.max()?,
        })
    }
}

/// Two are equal that counted the same, whatever their form.
impl PartialEq for Latency {
    fn eq(&self, other: &Self) -> bool {
        let compact = |latency: &Self| latency.counts().into_owned();
        (self.count, self.sum_nanos, self.max_nanos) == (other.count, other.sum_nanos, other.max_nanos)
            && compact(self) == compact(other)
    }
}

/// Durations, summed up.
///
/// Percentiles are to two significant digits, and rather too high than too low (by at most 1/128); mean and maximum are
/// exact. Durations below 100 ns count as that, and so do those above 100 s. In serialised form each is a number of
/// microseconds, under a name that says so: `p99_us`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LatencyFigures {
    /// How many durations.
    pub count: u64,
    /// The mean.
    #[serde(rename = "mean_us", with = "micros")]
    pub mean: Duration,
    /// The median.
    #[serde(rename = "p50_us", with = "micros")]
    pub p50: Duration,
    /// The latency that 90 % did not exceed.
    #[serde(rename = "p90_us", with = "micros")]
    pub p90: Duration,
    /// The latency that 95 % did not exceed.
    #[serde(rename = "p95_us", with = "micros")]
    pub p95: Duration,
    /// The latency that 99 % did not exceed.
    #[serde(rename = "p99_us", with = "micros")]
    pub p99: Duration,
    /// The latency that 99.9 % did not exceed.
    #[serde(rename = "p999_us", with = "micros")]
    pub p999: Duration,
    /// The longest.
    #[serde(rename = "max_us", with = "micros")]
    pub max: Duration,
}

/// Durations by size: see [`ArmView::latency_histogram`](crate::guard::ArmView::latency_histogram).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatencyHistogram {
    /// How many durations lay above the bound before and not above this one; in the last place, above all bounds.
    pub counts: Vec<u64>,
    /// How many durations.
    pub count: u64,
    /// Their sum, exact.
    pub sum: Duration,
}

/// Durations as numbers of microseconds.
pub(crate) mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_nanos() as f64 / 1e3)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        // Out of range saturates: a figure that was read from elsewhere is shown, never relied on.
        f64::deserialize(deserializer).map(|micros| Duration::from_nanos((micros * 1e3).round() as u64))
    }
}

/// The form for keeping of what was recorded.
fn compacted(histogram: &Histogram<u32>) -> Counts {
    let recorded = histogram.iter_recorded();
    recorded.map(|step| (place(step.value_iterated_to()), i64::from(step.count_at_value()))).collect()
}

/// The number of the place that holds `nanos`. Up to 255 ns a place holds one value; from there on each doubling has 128
/// places. These are the places of `hdrhistogram` with two digits and a unit of 1 (it does not give their numbers away).
fn place(nanos: u64) -> u16 {
    let shift = (u64::BITS - nanos.leading_zeros()).saturating_sub(PLACE_BITS);
    (shift * PER_DOUBLING) as u16 + (nanos >> shift) as u16
}

/// The largest value that the place of this number holds.
fn highest(place: u16) -> u64 {
    let place = u32::from(place);
    let shift = (place / PER_DOUBLING).saturating_sub(1);
    let lowest = u64::from(place - shift * PER_DOUBLING) << shift;
    lowest + (1 << shift) - 1
}

pub(crate) const SHORTEST: u64 = 100;

const LONGEST: u64 = 100_000_000_000;

const DIGITS: u8 = 2;

/// Two significant digits need 200 steps; the next power of two is 2^8.
const PLACE_BITS: u32 = 8;

const PER_DOUBLING: u32 = 1 << (PLACE_BITS - 1);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn both_forms(values: &[u64]) -> [Latency; 2] {
        [Latency::recording(), Latency::compact()].map(|mut latency| {
            values.iter().for_each(|value| latency.record(*value));
            latency
        })
    }

    #[test]
    fn places_are_those_of_hdrhistogram() {
        let histogram = Histogram::<u32>::new_with_bounds(1, LONGEST, DIGITS).unwrap();
        let mut nanos = SHORTEST;
        while nanos <= LONGEST {
            for value in [nanos - 1, nanos, nanos + 1] {
                assert_eq!(highest(place(value)), histogram.highest_equivalent(value), "{value}");
            }
            nanos += nanos / 97;
        }
        assert!(usize::from(place(LONGEST)) < histogram.distinct_values());
    }

    #[test]
    fn what_is_out_of_range_counts_in_the_outermost_places() {
        for mut latency in both_forms(&[0, u64::MAX]) {
            assert_eq!(latency.quantile(0.0), Some(Duration::from_nanos(100)));
            assert_eq!(latency.quantile(1.0), Some(Duration::from_secs(100)));
            assert_eq!(latency.max(), Some(Duration::from_secs(100)));
            latency.reset();
            assert_eq!(
                (latency.count(), latency.quantile(0.5), latency.mean(), latency.max()),
                (0, None, None, None)
            );
            assert!(latency.figures().is_none());
        }
    }

    #[test]
    fn a_histogram_has_every_duration_in_one_place() {
        let bounds = [1, 10, 100].map(Duration::from_micros);
        for latency in both_forms(&[500, 1_000, 1_500, 10_000, 99_000, 100_000, 5_000_000]) {
            let LatencyHistogram { counts, count, sum } = latency.histogram(&bounds);
            // The place of 1 us ends at 1,007 ns, and so does that of each bound beyond it; a histogram is never too kind.
            assert_eq!((counts, count), (vec![1, 2, 2, 2], 7));
            assert_eq!(sum, Duration::from_nanos(5_212_000));
        }
        assert_eq!(Latency::compact().histogram(&[]).counts, [0]);
    }

    /// Bug: the counters of a histogram's bounds went back, which Prometheus takes for a process that began again. Cause: the upper end of
    /// the last place was cut at the longest duration so far, so what lay there counted below a bound until a longer one came. Fix: a
    /// place counts by its own end.
    #[test]
    fn what_has_counted_below_a_bound_counts_there_for_ever() {
        let bounds = [10, 20, 50, 100, 1_000].map(Duration::from_micros);
        for mut latency in both_forms(&[]) {
            let mut before = vec![0; bounds.len() + 1];
            for nanos in [9_980, 10_000, 19_999, 20_000, 49_999, 50_000, 100_000, 5_000_000] {
                latency.record(nanos);
                let mut so_far = 0;
                let up_to = |count: &u64| {
                    so_far += count;
                    so_far
                };
                let cumulated: Vec<u64> = latency.histogram(&bounds).counts.iter().map(up_to).collect();
                let grows = cumulated.iter().zip(&before).all(|(now, before)| now >= before);
                assert!(grows, "{nanos} ns: {before:?}, then {cumulated:?}");
                before = cumulated;
            }
        }
    }

    #[test]
    fn figures_are_written_in_microseconds() {
        let [latency, _] = both_forms(&[1_500, 2_500]);
        let figures = latency.figures().unwrap();
        let written = serde_json::to_value(figures).unwrap();
        assert_eq!((&written["mean_us"], &written["max_us"]), (&2.0.into(), &2.5.into()));
        assert_eq!(serde_json::from_value::<LatencyFigures>(written).unwrap(), figures);
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_hdrhistogram(values in prop::collection::vec(100..1_000_000_000_u64, 1..200), q in 0.001..=1.0_f64) {
            let mut histogram = Histogram::<u64>::new_with_bounds(1, LONGEST, DIGITS).unwrap();
            values.iter().for_each(|value| histogram.record(*value).unwrap());
            let longest = values.iter().copied().max().unwrap();
            let expected = Duration::from_nanos(histogram.value_at_quantile(q).min(longest));
            for latency in both_forms(&values) {
                prop_assert_eq!(latency.quantile(q), Some(expected));
            }
        }

        #[test]
        fn shards_merge_in_any_order_and_form_into_one_thread(values in prop::collection::vec(any::<u64>(), 0..60), cut in 0..60_usize) {
            let (one, two) = values.split_at(cut.min(values.len()));
            let whole = &both_forms(&values)[0];
            for first in both_forms(one) {
                for second in both_forms(two) {
                    for (mut into, from) in [(first.clone(), &second), (second.clone(), &first)] {
                        into.merge(from);
                        prop_assert!(into == *whole);
                    }
                }
            }
        }
    }
}
