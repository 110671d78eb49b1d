//! Decides how ready retained versions are to be, by their age and by a budget of memory.

use std::time::Duration;

use crate::base::invalid::checked_when_read;
use crate::model::Tier;

/// When retained versions step down, from [hot](Tier::Hot) to [warm](Tier::Warm) to [cold](Tier::Cold): by how long they have
/// been retained, and by what they take of memory together. The version that a new live is watched against stays hot, over the budget too,
/// and so do those that [streams](crate::requests::Pinned) stay with, and the one before a live that does not fit its own model.
///
/// Stepping down by time needs a prepared form (`OnnxModel::prepared`), since only that is back within
/// milliseconds; a version without one stays hot unless the budget is exceeded.
///
/// ```
/// use std::time::Duration;
/// use switchback::options::Tiers;
///
/// let tiers = Tiers::new().hot_for(Duration::from_secs(3600)).private_bytes(2 << 30);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Tiers {
    hot_for: Duration,
    warm_for: Option<Duration>,
    private_bytes: Option<u64>,
}

checked_when_read! {
    #[serde(default, deny_unknown_fields)]
    Tiers {
        hot_for: Duration,
        warm_for: Option<Duration>,
        private_bytes: Option<u64>,
    }
    any values
}

impl Tiers {
    /// Hot for ten minutes, then warm for ever, with no budget: most of what is taken back is taken back within minutes, and
    /// a warm version costs about a megabyte and nothing in speed that a rollback would notice.
    pub const fn new() -> Self {
        Self { hot_for: Duration::from_secs(600), warm_for: None, private_bytes: None }
    }

    /// How long a version stays hot once it is retained.
    pub const fn hot_for(mut self, age: Duration) -> Self {
        self.hot_for = age;
        self
    }

    /// How long it then stays warm, counted from when it was retained as well; for ever by default. Cold ones answer within
    /// milliseconds too, where their prepared form is still in the system's cache.
    pub const fn warm_for(mut self, age: Duration) -> Self {
        self.warm_for = Some(age);
        self
    }

    /// Sets what all retained versions may take of the process's own memory together, in bytes; no limit by default.
    /// While they take more, the one retained for longest steps down by one tier, a version without a prepared form to cold at once, and the
    /// next once that has arrived and been measured. Going back to such a one takes as long as loading it.
    pub const fn private_bytes(mut self, bytes: u64) -> Self {
        self.private_bytes = Some(bytes);
        self
    }
}

impl Default for Tiers {
    fn default() -> Self {
        Self::new()
    }
}

/// A retained version, as far as it is decided by how ready it is to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) retained_for: Duration,
    /// Something watches against it, or a stream stays with it.
    pub(crate) needed: bool,
    pub(crate) is_prepared: bool,
    /// Where it is, or is on its way to.
    pub(crate) tier: Tier,
    /// It is not there yet, or what it takes there has not been measured.
    pub(crate) is_moving: bool,
    pub(crate) private_bytes: u64,
}

impl Tiers {
    /// The tier of each retained version, the one retained last coming first. None ever steps up here: what would that be
    /// for?
    pub(crate) fn of(&self, kept: &[Kept]) -> Vec<Tier> {
        let by_age = |kept: &Kept| {
            let age = kept.retained_for;
            let cold = self.warm_for.is_some_and(|longest| age >= longest);
            match () {
                () if kept.needed => Tier::Hot,
                () if !kept.is_prepared || age < self.hot_for => kept.tier,
                () if cold => Tier::Cold,
                () => kept.tier.min(Tier::Warm),
            }
        };
        let mut tiers: Vec<Tier> = kept.iter().map(by_age).collect();
        let taken: u64 = kept.iter().map(|kept| kept.private_bytes).fold(0, u64::saturating_add);
        // One that is on its way is to arrive, and to be measured there, before the next one goes: what it took until then is in `taken`.
        let is_settled = kept.iter().all(|kept| !kept.is_moving);
        if is_settled && self.private_bytes.is_some_and(|budget| taken > budget) {
            let lowered = kept.iter().zip(&mut tiers).rev().find(|(kept, tier)| {
                // One that its age sends down goes by that.
                !kept.needed && (**tier > Tier::Cold || kept.tier > **tier)
            });
            if let Some((kept, tier)) = lowered
                && *tier == kept.tier
            {
                *tier = if kept.is_prepared && *tier == Tier::Hot { Tier::Warm } else { Tier::Cold };
            }
        }
        tiers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOT: Kept = Kept {
        retained_for: Duration::ZERO,
        needed: false,
        is_prepared: true,
        tier: Tier::Hot,
        is_moving: false,
        private_bytes: 100,
    };

    fn aged(kept: Kept, seconds: u64) -> Kept {
        Kept { retained_for: Duration::from_secs(seconds), ..kept }
    }

    #[test]
    fn versions_step_down_with_age_and_never_up() {
        let tiers = Tiers::new().hot_for(Duration::from_secs(10)).warm_for(Duration::from_secs(100));
        let of = |kept| tiers.of(&[kept])[0];
        assert_eq!(
            [9, 10, 99, 100].map(|age| of(aged(HOT, age))),
            [Tier::Hot, Tier::Warm, Tier::Warm, Tier::Cold]
        );
        assert_eq!(of(Kept { tier: Tier::Cold, ..HOT }), Tier::Cold);
        assert_eq!(of(Kept { needed: true, ..aged(HOT, 1_000) }), Tier::Hot);
        assert_eq!(
            of(Kept { is_prepared: false, ..aged(HOT, 1_000) }),
            Tier::Hot,
            "it would take a load to be back"
        );
    }

    #[test]
    fn over_the_budget_the_oldest_steps_down_first_one_tier_at_a_time() {
        let tiers = Tiers::new().private_bytes(250);
        let mut kept = [HOT; 3];
        assert_eq!(tiers.of(&kept), [Tier::Hot, Tier::Hot, Tier::Warm]);
        kept[2] = Kept { tier: Tier::Warm, is_moving: true, ..HOT };
        assert_eq!(tiers.of(&kept), [Tier::Hot, Tier::Hot, Tier::Warm], "it is on its way");
        kept[2] = Kept { tier: Tier::Warm, private_bytes: 60, ..HOT };
        assert_eq!(tiers.of(&kept), [Tier::Hot, Tier::Hot, Tier::Cold]);
        kept[2] = Kept { tier: Tier::Cold, private_bytes: 0, ..HOT };
        assert_eq!(tiers.of(&kept), [Tier::Hot, Tier::Hot, Tier::Cold], "now it fits");
        let plain = Kept { is_prepared: false, private_bytes: 300, ..HOT };
        assert_eq!(tiers.of(&[Kept { needed: true, ..HOT }, plain]), [Tier::Hot, Tier::Cold]);
    }
}
