//! Deciding for a fleet from outside of its handles.

use std::sync::Arc;
use std::time::Duration;

use super::pins::PinPolicy;
use super::saved::SavedControl;
use super::settings::Settings;
use crate::base::clock::{Clock, Timestamp};
use crate::rollout::budget::ErrorBudget;
use crate::stats::counting::exposure::ExposureOptions;
use crate::stats::evidence::waiting::Maturity;
use crate::stats::figures::rolling::WindowConfig;
use crate::task::kpi::Kpi;
use crate::task::task::TaskKind;
use crate::version::tiers::Tiers;

/// The settings of whoever decides for a fleet and is none of its handles: all that is agreed on is kept, and nothing is counted.
pub(crate) fn settings(saved: &SavedControl, quarantine_for: Option<Duration>) -> Settings {
    let setting = saved.setting.as_ref();
    let kpis: Arc<[Kpi]> = setting.map(|setting| setting.kpis.as_slice().into()).unwrap_or_default();
    Settings {
        name: saved.name.clone(),
        retain: usize::MAX,
        retain_for: None,
        tick_interval: Duration::from_secs(1),
        log_max: 256,
        windows: WindowConfig::default(),
        exposure: ExposureOptions {
            kind: setting.map_or(TaskKind::Unlabelled, |setting| setting.kind),
            kpis: kpis.len(),
            stripes: 1,
            awaits: false,
            trip_after: 0,
            maturity: Maturity::AsTheyCome,
            segments: 0,
        },
        kpis,
        seed: saved.seed,
        split: None,
        shadowing: setting.is_some_and(|setting| setting.pairs),
        canary_pairs: setting.is_some_and(|setting| setting.canary_pairs),
        error_budget: ErrorBudget::default(),
        counts_ends: true,
        answered_max: 0,
        pins_max: 0,
        overdue_after: Duration::from_secs(60),
        // Nobody calls anything here.
        stopwatch: Clock::manual(Timestamp::default()),
        pins: PinPolicy::default(),
        pins_last: Duration::ZERO,
        quarantine_for,
        tiers: Tiers::default(),
        segments: None,
    }
}
