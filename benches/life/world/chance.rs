//! Chance that follows from a seed.

/// Chance for what is fed to a service, from a seed of its own (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// Evenly from 0 to 1.
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        unit(mixed(self.0))
    }

    /// Whether something happens that happens with this probability.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.next() < probability
    }

    /// A whole number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((self.next() * bound as f64) as u64).min(bound.saturating_sub(1))
    }

    /// With this mean, and a variance equal to it.
    pub(crate) fn poisson(&mut self, mean: f64) -> usize {
        if mean > 30.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as usize;
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.next(), 0);
        while product > limit {
            product *= self.next();
            count += 1;
        }
        count
    }

    /// With mean 0 and variance 1.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Evenly from 0 to 1, the same for the same numbers.
pub(crate) fn hashed(seed: u64, number: u64, purpose: u64) -> f64 {
    unit(mixed(mixed(seed.wrapping_add(GOLDEN)) ^ mixed(number.wrapping_mul(GOLDEN).wrapping_add(purpose))))
}

fn mixed(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
