//! Tails of distributions: how likely a statistic is by chance. Logarithms are those of `libm`, the same everywhere.

/// The probability that a chi-squared variable with `degrees` of freedom is larger: 1 for no degrees.
pub(crate) fn chi_squared(statistic: f64, degrees: u32) -> f64 {
    if degrees == 0 { 1.0 } else { upper_gamma(f64::from(degrees) / 2.0, statistic / 2.0) }
}

/// The regularised upper incomplete gamma function Q(a, x): by its series below a + 1 (DLMF 8.7.1), by its continued
/// fraction above (DLMF 8.9.2, Lentz's method).
pub(crate) fn upper_gamma(a: f64, x: f64) -> f64 {
    if !(x > 0.0 && a > 0.0) {
        return 1.0;
    }
    if x.is_infinite() {
        return 0.0;
    }
    let scale = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..ROUNDS {
            term *= x / (a + f64::from(n));
            sum += term;
            if term < sum * f64::EPSILON / 4.0 {
                break;
            }
        }
        return (1.0 - scale * sum).clamp(0.0, 1.0);
    }
    let away = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut b = x + 1.0 - a;
    let mut c = 1e300;
    let mut d = 1.0 / away(b);
    let mut fraction = d;
    for n in 1..ROUNDS {
        let n = f64::from(n);
        let factor = -n * (n - a);
        b += 2.0;
        d = 1.0 / away(factor * d + b);
        c = away(b + factor / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    (scale * fraction).clamp(0.0, 1.0)
}

/// The probability that a noncentral chi-squared variable is larger: with `degrees` of freedom, and `away` from their centre. A mixture of
/// central ones by Poisson's weights (Johnson, Kotz & Balakrishnan, "Continuous Univariate Distributions" 2, 29.4), summed from the largest weight
/// to both sides. Right to some 1e-13, absolutely.
pub(crate) fn noncentral(statistic: f64, degrees: u32, away: f64) -> f64 {
    /// Beyond it all is scaled down to it, as if there were fewer rows: a sum would have too many terms.
    const AWAY_MAX: f64 = 1e5;
    let scale = (AWAY_MAX / away).min(1.0);
    let (half, at) = (away * scale / 2.0, statistic * scale / 2.0);
    if !(at > 0.0 && degrees > 0) {
        return 1.0;
    }
    let middle = half.floor();
    let first = f64::from(degrees) / 2.0 + middle;
    let heaviest = if half > 0.0 {
        libm::exp(middle * libm::log(half) - half - libm::lgamma(middle + 1.0))
    } else {
        1.0
    };
    let tail = upper_gamma(first, at);
    // By so much the tail of two degrees more is larger.
    let step = libm::exp(first * libm::log(at) - at - libm::lgamma(first + 1.0));
    let mut sum = heaviest * tail;
    let (mut weight, mut larger, mut more, mut place) = (heaviest, tail, step, 0.0);
    while weight > heaviest * 1e-17 {
        larger += more;
        place += 1.0;
        more *= at / (first + place);
        weight *= half / (middle + place);
        sum += weight * larger;
    }
    let (mut weight, mut smaller, mut less, mut place) = (heaviest, tail, step, 0.0);
    while weight > heaviest * 1e-17 && place < middle {
        less *= (first - place) / at;
        smaller = (smaller - less).max(0.0);
        weight *= (middle - place) / half;
        place += 1.0;
        sum += weight * smaller;
    }
    sum.clamp(0.0, 1.0)
}

/// How unlikely two samples are where the shares of something in them differ by `difference`, the window's being the larger: twice the logarithm by
/// which the likelihood falls short of the largest, chi-squared with one degree of freedom in the limit (Wilks, Ann. Math. Stat. 9, 1938).
pub(crate) fn deviance(reference: (f64, f64), window: (f64, f64), difference: f64) -> f64 {
    let part = |count: f64, share: f64, expected: f64| {
        if count > 0.0 { count * libm::log(share / expected) } else { 0.0 }
    };
    let of = |(events, rows): (f64, f64), expected: f64| {
        let (share, expected) = (events / rows, expected.clamp(0.0, 1.0));
        part(events, share, expected) + part(rows - events, 1.0 - share, 1.0 - expected)
    };
    let both = |share: f64| of(reference, share) + of(window, share + difference);
    // Convex: the smallest is closed in on.
    let (mut low, mut high) = ((-difference).max(0.0), (1.0 - difference).min(1.0));
    for _ in 0..80 {
        let (left, right) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if both(left) <= both(right) { high = right } else { low = left }
    }
    (2.0 * both(f64::midpoint(low, high))).max(0.0)
}

/// Enough for every statistic that is near its degrees of freedom, up to 10^6 of them.
const ROUNDS: u32 = 20_000;

/// Whether two samples have the same share of something: `events` of `rows` in each. Fisher's exact test, two-sided by
/// probability (Fisher, J. R. Stat. Soc. 98, 1935), where one is to be expected fewer than five times; else chi-squared
/// with one degree of freedom.
pub(crate) fn two_shares(reference: (u64, u64), window: (u64, u64)) -> f64 {
    let (events, rows) = (reference.0.saturating_add(window.0), reference.1.saturating_add(window.1));
    if events == 0 || events >= rows || reference.1 == 0 || window.1 == 0 {
        return 1.0;
    }
    let rarer = events.min(rows - events) as f64;
    let few = rarer * reference.1.min(window.1) as f64 / rows as f64;
    if few < FEW
        && let Some(p) = fisher(reference, window)
    {
        return p;
    }
    let table = [reference, window].map(|(events, rows)| (events as f64, rows as f64));
    let [(a, n), (b, m)] = table;
    let share = (a + b) / (n + m);
    let z = (a / n - b / m) / (share * (1.0 - share) * (1.0 / n + 1.0 / m)).sqrt();
    chi_squared(z * z, 1)
}

/// Cochran's rule (Biometrics 10, 1954): a cell that is to be expected fewer times is not nearly normal.
pub(crate) const FEW: f64 = 5.0;

/// No sum has more terms.
const TERMS_MAX: u64 = 100_000;

/// Nothing where there would be too many terms.
fn fisher((a, n): (u64, u64), (b, m): (u64, u64)) -> Option<f64> {
    let (a, b) = (a.min(n), b.min(m));
    let events = a.saturating_add(b);
    let (lowest, highest) = (events.saturating_sub(n), events.min(m));
    if highest - lowest > TERMS_MAX {
        return None;
    }
    // The probability of `x` events in the window, given how many there are in all, as a logarithm.
    let all = ln_choose(n.saturating_add(m), events);
    let of = |x: u64| ln_choose(m, x) + ln_choose(n, events - x) - all;
    // A table as likely as this one counts, whatever rounding makes of it.
    let limit = of(b) + 1e-7;
    let sum: f64 = (lowest..=highest).map(of).filter(|ln| *ln <= limit).map(libm::exp).sum();
    Some(sum.min(1.0))
}

fn ln_choose(n: u64, k: u64) -> f64 {
    let (n, k) = (n as f64, k as f64);
    libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// SciPy 1.17.1, `special.gammaincc`.
    #[test]
    fn the_incomplete_gamma_function_is_right_to_ten_digits() {
        for (a, x, expected) in [
            (0.5, 0.1, 0.654_720_846_018_576_8),
            (0.5, 1.0, 0.157_299_207_050_281_05),
            (0.5, 1.920_729_410_347_062, 0.049_999_999_999_999_89),
            (1.0, 1.0, 0.367_879_441_171_442_33),
            (3.0, 2.0, 0.676_676_416_183_063_4),
            (3.0, 2.665_583, 0.502_092_684_062_783_5),
            (5.0, 20.0, 1.694_474_393_006_737e-05),
            (10.0, 3.0, 0.998_897_511_869_884_5),
            (50.0, 60.0, 0.084_406_681_093_691_77),
            (127.5, 100.0, 0.995_425_444_541_951_9),
            (127.5, 200.0, 1.660_002_524_412_339_7e-08),
            (0.5, 200.0, 5.507_248_237_212_379e-89),
            (1_000.0, 1_100.0, 0.001_059_323_253_929_977_3),
        ] {
            let found = upper_gamma(a, x);
            assert!((found / expected - 1.0).abs() < 1e-10, "{a} {x}: {found} {expected}");
        }
    }

    /// With one degree of freedom it is the square of a normal variable that is not around 0, with none away from the centre a central one.
    #[test]
    fn a_noncentral_tail_is_that_of_the_square_of_a_normal_variable() {
        let normal = |z: f64| {
            let half = chi_squared(z * z, 1) / 2.0;
            if z > 0.0 { half } else { 1.0 - half }
        };
        for away in [0.0, 0.5, 4.0, 20.0, 300.0, 4_000.0] {
            for statistic in [0.1, 0.56, 3.0, 15.0, 67.1, 250.0, 4_200.0] {
                let (x, l) = (f64::sqrt(statistic), f64::sqrt(away));
                let expected = normal(x - l) + normal(x + l);
                let found = noncentral(statistic, 1, away);
                assert!((found - expected).abs() < 1e-11, "{statistic} {away}: {found} {expected}");
            }
        }
        assert!((noncentral(12.0, 7, 0.0) - chi_squared(12.0, 7)).abs() < 1e-13);
        assert_eq!((noncentral(0.0, 3, 5.0), noncentral(3.0, 0, 5.0)), (1.0, 1.0));
    }

    /// By hand: at what was seen nothing is lost, and where one share is known to be 0 only the other one has a likelihood.
    #[test]
    fn a_deviance_is_how_much_likelihood_is_lost() {
        assert!(deviance((10.0, 100.0), (30.0, 100.0), 0.2) < 1e-9);
        let expected = -2.0 * 500.0 * f64::ln(0.99);
        assert!((deviance((0.0, 500.0), (0.0, 500.0), 0.01) - expected).abs() < 1e-6);
        let (more, less) =
            (deviance((5.0, 500.0), (20.0, 400.0), 0.01), deviance((20.0, 400.0), (5.0, 500.0), -0.01));
        assert!(more > 5.0 && (more - less).abs() < 1e-6, "{more} {less}");
    }

    /// SciPy 1.17.1, `chi2_contingency` and `chi2.sf`: the golden tables of the reference statistics.
    #[test]
    fn p_values_are_those_of_scipy() {
        assert!((chi_squared(5.224_489_795_918_368, 6) - 0.515_359_921_002_822_6).abs() < 1e-12);
        assert!((chi_squared(5.331_166_858_862_022, 6) - 0.502_092_577_942_154_6).abs() < 1e-12);
        assert_eq!(
            (chi_squared(3.0, 0), chi_squared(0.0, 4), chi_squared(f64::INFINITY, 4)),
            (1.0, 1.0, 0.0)
        );
    }

    /// SciPy 1.17.1, `fisher_exact` where counts are few, else `chi2_contingency(correction=False)`.
    #[test]
    fn shares_are_compared_exactly_where_they_are_few() {
        for (reference, window, expected) in [
            ((3, 10_000), (2, 100), 0.000_951_885_652_635_308_9),
            ((0, 10_000), (3, 100), 9.419_463_290_900_188e-07),
            ((10, 100), (0, 50), 0.031_105_851_141_248_038),
            ((5, 25), (12, 25), 0.036_637_115_679_274_88),
        ] {
            let found = two_shares(reference, window);
            assert!((found / expected - 1.0).abs() < 1e-7, "{found} {expected}");
        }
        assert_eq!(two_shares((0, 100), (0, 100)), 1.0);
        assert_eq!(two_shares((100, 100), (7, 7)), 1.0);
        assert_eq!(two_shares((0, 0), (3, 7)), 1.0);
    }

    proptest! {
        #[test]
        fn a_tail_is_a_probability_that_falls(a in 0.1..2_000.0_f64, x in 0.0..5_000.0_f64, more in 0.0..100.0_f64) {
            let (near, far) = (upper_gamma(a, x), upper_gamma(a, x + more));
            prop_assert!((0.0..=1.0).contains(&near) && far <= near + 1e-12, "{near} {far}");
        }

        #[test]
        fn shares_of_any_size_give_a_probability(a in any::<u64>(), n in any::<u64>(), b in any::<u64>(), m in any::<u64>()) {
            let p = two_shares((a.min(n), n), (b.min(m), m));
            prop_assert!((0.0..=1.0).contains(&p), "{p}");
        }
    }
}
