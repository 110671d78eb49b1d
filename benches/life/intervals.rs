//! What a number of runs says of a probability.

/// The interval of Clopper and Pearson for what has this probability: so many of so many runs, but for an error of `error`.
pub(crate) fn interval(count: usize, runs: usize, error: f64) -> (f64, f64) {
    let low = match count {
        0 => 0.0,
        _ => root(|p| at_least(count, runs, p) - error / 2.0),
    };
    let high = if count == runs { 1.0 } else { root(|p| error / 2.0 - at_most(count, runs, p)) };
    (low, high)
}

/// Where a function that grows becomes 0.
fn root(of: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if of(middle) < 0.0 { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

fn at_least(count: usize, runs: usize, p: f64) -> f64 {
    1.0 - (0..count).map(|k| exactly(k, runs, p)).sum::<f64>()
}

fn at_most(count: usize, runs: usize, p: f64) -> f64 {
    (0..=count).map(|k| exactly(k, runs, p)).sum()
}

fn exactly(count: usize, runs: usize, p: f64) -> f64 {
    let ways: f64 = (1..=count).map(|k| (((runs - count + k) as f64) / k as f64).ln()).sum();
    (ways + count as f64 * p.max(1e-300).ln() + (runs - count) as f64 * (1.0 - p).max(1e-300).ln()).exp()
}

/// Ends with an error where the intervals are not those of the tables.
pub(crate) fn check() {
    for (count, runs, error, low, high) in
        [(0, 20, 0.05, 0.0, 0.1684), (3, 20, 0.05, 0.0321, 0.3789), (8, 400, 0.01, 0.0065, 0.0455)]
    {
        let (found_low, found_high) = interval(count, runs, error);
        let close = (found_low - low).abs() < 1e-3 && (found_high - high).abs() < 1e-3;
        assert!(close, "{count} of {runs}: {found_low} to {found_high}");
    }
}
