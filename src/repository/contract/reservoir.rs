//! Keeps a bounded sample of recent inputs, to try a new version on.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::chance::Dice;
use crate::base::invalid::ArgumentError;

/// A bounded sample of what a service was asked lately, each input as likely as any other (algorithm R: Vitter, ACM TOMS
/// 1985).
///
/// Every input of the last [`horizon`](Self::horizon) or so has had the same chance to be in it; older ones are displaced
/// bit by bit. Without a horizon it is a sample of everything since the start.
///
/// Fill it with what live has answered: whatever live refused says nothing of a candidate that refuses it too. Its entries
/// are requests of users: they are kept in memory only, and `Debug` shows how many there are.
///
/// ```
/// use switchback::repository::contract::Reservoir;
///
/// let recent = Reservoir::new(100, 7).horizon(10_000)?;
/// for amount in 0..1_000_000 {
///     recent.offer_with(|| amount);
/// }
/// assert_eq!(recent.entries().len(), 100);
/// # Ok::<(), switchback::ArgumentError>(())
/// ```
pub struct Reservoir<T> {
    capacity: usize,
    horizon: u64,
    dice: Dice,
    kept: Mutex<Kept<T>>,
}

struct Kept<T> {
    entries: Vec<Arc<T>>,
    seen: u64,
}

impl<T> Reservoir<T> {
    /// One of at most `capacity` entries, whose chance comes from `seed`. Nothing is kept where the capacity is 0.
    pub fn new(capacity: usize, seed: u64) -> Self {
        let kept = Mutex::new(Kept { entries: Vec::new(), seen: 0 });
        Self { capacity, horizon: u64::MAX, dice: Dice::new(seed, 1), kept }
    }

    /// Favours the last `inputs`: from then on an input comes in with the chance that the last of so many had, so that an
    /// old one is still there after as many more with a chance of a third.
    ///
    /// # Errors
    ///
    /// Fewer inputs than the capacity: they would not fill it.
    pub fn horizon(mut self, inputs: u64) -> Result<Self, ArgumentError> {
        let capacity = self.capacity as u64;
        let allowed = format!("at least the capacity, {capacity}");
        ArgumentError::unless(inputs >= capacity, "the horizon of a reservoir", inputs, allowed)?;
        self.horizon = inputs;
        Ok(self)
    }

    /// Offers an input that is made only where it is kept: most are not, and need not be copied.
    pub fn offer_with(&self, input: impl FnOnce() -> T) {
        let Some(place) = self.drawn() else { return };
        // Made and freed without the lock: both are the host's code.
        let input = Arc::new(input());
        let displaced = {
            let mut kept = self.kept.lock();
            if kept.entries.len() < self.capacity {
                kept.entries.push(input);
                None
            } else {
                kept.entries.get_mut(place).map(|entry| std::mem::replace(entry, input))
            }
        };
        drop(displaced);
    }

    /// Returns the entries that are in it now, in no order. No input is copied.
    pub fn entries(&self) -> Vec<Arc<T>> {
        self.kept.lock().entries.clone()
    }

    /// The place that the next input takes once there is no free one; none where it is not kept.
    fn drawn(&self) -> Option<usize> {
        let mut kept = self.kept.lock();
        kept.seen = kept.seen.saturating_add(1).min(self.horizon);
        let choices = if kept.entries.len() < self.capacity { self.capacity as u64 } else { kept.seen };
        // Evenly below `choices`, as the upper half of a product: off by 2^-64 of a chance.
        let place = (u128::from(self.dice.roll(0)) * u128::from(choices)) >> 64;
        usize::try_from(place).ok().filter(|place| *place < self.capacity)
    }
}

impl<T> fmt::Debug for Reservoir<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.kept.lock().entries.len();
        f.debug_struct("Reservoir").field("entries", &entries).field("capacity", &self.capacity).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(reservoir: Reservoir<u64>, inputs: u64) -> Vec<u64> {
        (0..inputs).for_each(|input| reservoir.offer_with(|| input));
        reservoir.entries().into_iter().map(|entry| *entry).collect()
    }

    #[test]
    fn everything_is_kept_until_it_is_full_and_no_more_after() {
        assert_eq!(filled(Reservoir::new(5, 1), 3), [0, 1, 2]);
        assert_eq!(filled(Reservoir::new(5, 1), 5), [0, 1, 2, 3, 4]);
        assert_eq!(filled(Reservoir::new(5, 1), 1_000).len(), 5);
        assert!(filled(Reservoir::new(0, 1), 1_000).is_empty());
    }

    #[test]
    fn every_input_is_as_likely_to_be_kept_as_any_other() {
        let mut tenths = [0_u32; 10];
        for seed in 0..400 {
            filled(Reservoir::new(10, seed), 1_000).iter().for_each(|kept| tenths[*kept as usize / 100] += 1);
        }
        // 4,000 entries: 400 a tenth, with a standard deviation of 19.
        assert!(tenths.iter().all(|&kept| (320..480).contains(&kept)), "{tenths:?}");
    }

    #[test]
    fn with_a_horizon_old_inputs_are_displaced() {
        let (mut within_one, mut within_five) = (0, 0);
        for seed in 0..100 {
            let entries = filled(Reservoir::new(10, seed).horizon(1_000).unwrap(), 20_000);
            within_one += entries.iter().filter(|&&kept| kept >= 19_000).count();
            within_five += entries.iter().filter(|&&kept| kept >= 15_000).count();
        }
        // Of 1,000 entries: 1 - 1/e, and 1 - e^-5.
        assert!((580..690).contains(&within_one), "{within_one}");
        assert!(within_five > 970, "{within_five}");
    }

    #[test]
    fn what_is_not_kept_is_not_made() {
        let reservoir = Reservoir::new(1, 3);
        let mut made = 0;
        (0..10_000).for_each(|_| reservoir.offer_with(|| made += 1));
        drop(reservoir);
        // The harmonic number of 10,000, about 10.
        assert!((1..40).contains(&made), "{made}");
    }

    #[test]
    fn no_entry_is_shown() {
        let reservoir = Reservoir::new(2, 3);
        reservoir.offer_with(|| "secret");
        assert_eq!(format!("{reservoir:?}"), "Reservoir { entries: 1, capacity: 2 }");
    }
}
