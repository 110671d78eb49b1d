//! Scales: where a value lies between the ends of an axis, and which values are written beside it.

use crate::base::text::number;

/// An axis of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    is_logarithmic: bool,
}

/// Values that are written beside an axis, at most.
const TICKS_MAX: usize = 6;

impl Scale {
    /// An even scale that holds both ends, with round numbers at its own.
    pub(crate) fn linear(low: f64, high: f64) -> Self {
        let (low, high) = ordered(low, high);
        let room = (high - low).max(high.abs() * 1e-3).max(1e-9);
        let step = round_step(room / 5.0);
        let (below, above) = ((low / step).floor() * step, (high / step).ceil() * step);
        // Where both ends are one and round.
        let above = if above > below { above } else { below + step };
        Self { low: below, high: above, is_logarithmic: false }
    }

    /// A scale on which a factor is the same step everywhere. Both ends must be above 0.
    pub(crate) fn logarithmic(low: f64, high: f64) -> Self {
        let (low, high) = ordered(low, high);
        let low = low.max(1e-300);
        let high = high.max(low * 2.0);
        Self { low, high, is_logarithmic: true }
    }

    /// Where a value lies: 0 at the lower end, 1 at the upper. What lies beyond is drawn at the edge.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let Self { low, high, is_logarithmic } = *self;
        let place = if is_logarithmic {
            (value.max(low).ln() - low.ln()) / (high.ln() - low.ln())
        } else {
            (value - low) / (high - low)
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }

    /// The values to be written, from low to high.
    pub(crate) fn ticks(&self) -> Vec<f64> {
        if self.is_logarithmic { self.decades() } else { even(self.low, self.high) }
    }

    /// A value of this scale, with as many digits as tell it from its neighbours.
    pub(crate) fn written(&self, tick: f64) -> String {
        let step = (self.high - self.low) / 5.0;
        if self.is_logarithmic || tick.abs() >= 1_000.0 || !(1e-6..1.0).contains(&step) {
            return number(tick);
        }
        // A hair more: a step of 0.1 may be one of 0.0999.
        let digits = -(round_step(step) * (1.0 + 1e-9)).log10().floor();
        format!("{tick:.*}", digits.clamp(0.0, 8.0) as usize)
    }

    fn decades(&self) -> Vec<f64> {
        // A hair more at both ends: powers of ten are not exact.
        let (first, last) = (self.low.log10() - 1e-9, self.high.log10() + 1e-9);
        let whole = |mantissas: &[f64]| -> Vec<f64> {
            let decades = (first.floor() as i32)..=(last.ceil() as i32);
            let values = decades.flat_map(|decade| mantissas.iter().map(move |m| m * 10_f64.powi(decade)));
            values.filter(|value| (first..=last).contains(&value.log10())).collect()
        };
        let tens = whole(&[1.0]);
        if tens.len() > 3 {
            let every = tens.len().div_ceil(TICKS_MAX);
            return tens.into_iter().step_by(every).collect();
        }
        let finer = [whole(&[1.0, 2.0, 5.0]), whole(&[1.0, 3.0]), tens];
        finer.into_iter().find(|ticks| ticks.len() <= TICKS_MAX).unwrap_or_default()
    }
}

/// Both as they are, in their order; what is no number is 0.
fn ordered(low: f64, high: f64) -> (f64, f64) {
    let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
    let (low, high) = (finite(low), finite(high));
    (low.min(high), low.max(high))
}

/// The round number (1, 2 or 5 with zeros) that is at least so large.
fn round_step(room: f64) -> f64 {
    let power = 10_f64.powf(room.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= room * (1.0 - 1e-9)).unwrap_or(room)
}

fn even(low: f64, high: f64) -> Vec<f64> {
    let step = round_step((high - low) / 5.0);
    let first = (low / step).ceil();
    // Counted, not added up: the last one must not be missed by a hair.
    let ticks = (0..=TICKS_MAX as u32).map(|number| (first + f64::from(number)) * step);
    // What is left of a subtraction that should come to 0 would be written as 1.4e-17.
    let tidy = |tick: f64| if tick.abs() < step * 1e-6 { 0.0 } else { tick };
    ticks.filter(|tick| *tick <= high + step * 1e-6).map(tidy).collect()
}

/// The unit of times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    pub(crate) name: &'static str,
    pub(crate) per_second: f64,
}

impl Unit {
    /// The unit for times to answer up to so many seconds.
    pub(crate) fn of_seconds(most: f64) -> Self {
        let (name, per_second) = match most {
            ..1e-6 => ("ns", 1e9),
            1e-6..1e-3 => ("µs", 1e6),
            1e-3..2.0 => ("ms", 1e3),
            _ => ("s", 1.0),
        };
        Self { name, per_second }
    }

    /// The unit for a rollout that lasts so many seconds.
    pub(crate) fn of_span(seconds: f64) -> Self {
        let (name, length) = match seconds {
            ..120.0 => ("seconds", 1.0),
            120.0..7_200.0 => ("minutes", 60.0),
            7_200.0..172_800.0 => ("hours", 3_600.0),
            _ => ("days", 86_400.0),
        };
        Self { name, per_second: 1.0 / length }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_even_scale_ends_at_round_numbers() {
        assert_eq!(Scale::linear(0.0, 50.0).ticks(), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(Scale::linear(0.0, 100.0).ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let close = Scale::linear(73.2, 90.4);
        assert_eq!((close.low, close.high), (70.0, 95.0));
        assert_eq!(Scale::linear(5.0, 5.0).ticks().first(), Some(&5.0));
    }

    #[test]
    fn values_close_together_are_written_apart() {
        let scale = Scale::linear(99.86, 100.0);
        let written: Vec<String> = scale.ticks().into_iter().map(|tick| scale.written(tick)).collect();
        assert_eq!(written, ["99.85", "99.90", "99.95", "100.00"]);
        let scale = Scale::linear(0.0, 100.0);
        assert_eq!(scale.written(20.0), "20");
    }

    #[test]
    fn a_logarithmic_scale_writes_powers_of_ten() {
        assert_eq!(Scale::logarithmic(0.01, 2_500.0).ticks(), [0.01, 0.1, 1.0, 10.0, 100.0, 1_000.0]);
        assert_eq!(Scale::logarithmic(5.0, 110.0).ticks(), [5.0, 10.0, 20.0, 50.0, 100.0]);
        assert!((Scale::logarithmic(0.01, 100.0).place(1.0) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn spans_are_counted_in_units_of_their_size() {
        let names = [60.0, 1_860.0, 90_000.0, 561_600.0].map(|seconds| Unit::of_span(seconds).name);
        assert_eq!(names, ["seconds", "minutes", "hours", "days"]);
        assert_eq!([2e-5, 0.2, 5.0].map(|seconds| Unit::of_seconds(seconds).name), ["µs", "ms", "s"]);
    }

    proptest! {
        #[test]
        fn whatever_the_ends_places_and_ticks_lie_within(a in any::<f64>(), b in any::<f64>(), value in any::<f64>()) {
            for scale in [Scale::linear(a, b), Scale::logarithmic(a.abs(), b.abs())] {
                prop_assert!((0.0..=1.0).contains(&scale.place(value)));
                let ticks = scale.ticks();
                prop_assert!(ticks.len() <= TICKS_MAX + 1, "{ticks:?}");
                prop_assert!(ticks.is_sorted());
            }
        }

        #[test]
        fn a_scale_of_sane_numbers_has_something_written_beside_it(low in -1e6..1e6_f64, room in 1e-6..1e6_f64) {
            let ticks = Scale::linear(low, low + room).ticks();
            prop_assert!((2..=TICKS_MAX + 1).contains(&ticks.len()), "{ticks:?}");
        }
    }
}
