//! What of a handle's options is changed while it runs: what needs no new evidence.

use super::changeable::{Options, fixed};
#[cfg(feature = "config")]
use super::config::{Config, ConfigError, Reconfigured};
use super::handle::ModelHandle;
use super::options::Retention;
use crate::base::invalid::ArgumentError;
use crate::control::control::Control;
use crate::control::event::EventKind;

impl<I: ?Sized + 'static, O: 'static> ModelHandle<I, O> {
    /// Changes what is kept for a rollback, and for how long what did harm is quarantined, without a restart. No evidence is
    /// about it, so a rollout that runs goes on. Versions that are beyond it are let go of at once; those that were let go of
    /// earlier do not come back. What is in quarantine already stays there for as long as was said then. In a fleet the options
    /// of the process that decides hold: give all the same.
    ///
    /// It holds until the handle ends: a later start has what its builder says.
    ///
    /// ```
    /// # use switchback::{ModelHandle, closure};
    /// use switchback::options::Retention;
    ///
    /// # let handle = ModelHandle::builder("m").live("v1", closure("a@1", |x: &f64| Ok(*x))).build()?;
    /// handle.set_retention(Retention::new().versions(5))?;
    /// assert_eq!(
    ///     handle.events().last().unwrap().to_string(),
    ///     "the retention is changed: up to 5 versions are kept for a rollback, and what does harm is quarantined until it is released"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A number that the builder would refuse. And what needs a new handle: another number of
    /// [`answers`](Retention::answers), and a [`drill`](Retention::drill) where there was none or none where there was one (how often
    /// it is and how many inputs it asks can be changed). Nothing has changed then.
    pub fn set_retention(&self, retention: Retention) -> Result<(), ArgumentError> {
        retention.check()?;
        self.lower(|control| {
            let options = &mut *self.inner.changeable.0.lock();
            if let Some(refused) = fixed(&options.retention, &retention) {
                return Err(refused);
            }
            #[cfg(feature = "config")]
            if let Some((_, below)) = &mut options.file {
                below.clone_from(&retention);
            }
            self.retain(control, options, retention);
            Ok(())
        })
    }

    /// Follows a file that was changed while the handle runs, as far as it needs no new evidence: of the section `retain` all but
    /// `answers`, and whether there is a `drill`. The result says what else is another in it that is the host's to follow.
    ///
    /// A rollout that runs keeps the guards and the plan that it began with: its evidence was gathered for them, and to
    /// exchange a guard after having looked would be another try, with errors of its own. The new ones hold for what is begun with
    /// [`Config::guards`] and [`Config::plan`] from now on.
    ///
    /// A section that is as it was changes nothing, whatever was [set](Self::set_retention) since.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NeedsRestart`] names each section that is another and holds from a start on alone; nothing of the file is
    /// followed then. [`ConfigError::Guard`] where one of its guards could judge nothing by what this handle has,
    /// [`ConfigError::NotConfigured`] where the handle was built without a file; and as
    /// [`Builder::configure`](crate::Builder::configure).
    #[cfg(feature = "config")]
    pub fn reconfigure(&self, config: &Config) -> Result<Reconfigured, ConfigError> {
        let handle = self.name();
        if config.name() != handle {
            return Err(ConfigError::Name { handle, config: config.name().to_owned() });
        }
        config.lacking()?;
        if let Some((name, reason)) = config.told().judges_nothing(&self.inner.setting()) {
            return Err(ConfigError::Guard { name, reason });
        }
        self.lower(|control| {
            let options = &mut *self.inner.changeable.0.lock();
            let Some((before, below)) = options.file.as_ref() else {
                return Err(ConfigError::NotConfigured { handle });
            };
            let (reconfigured, mut fields) = config.compared(before);
            let retention = if reconfigured.retain {
                // What it could refuse was refused when it was read.
                config.retention(below.clone()).unwrap_or_else(|_| below.clone())
            } else {
                options.retention.clone()
            };
            match fixed(&options.retention, &retention).map(|refused| refused.argument) {
                Some(argument) if argument == "retention.drill" => fields.push("retain.drill"),
                Some(_) => fields.push("retain.answers"),
                None => {}
            }
            if !fields.is_empty() {
                return Err(ConfigError::NeedsRestart { fields });
            }
            options.file = Some((config.told().clone(), below.clone()));
            self.retain(control, options, retention);
            Ok(reconfigured)
        })
    }

    /// Has a retention come into force, which can.
    fn retain(&self, control: &mut Control, options: &mut Options, retention: Retention) {
        if options.retention == retention {
            return;
        }
        let serving = &self.inner.serving;
        if let (Some(recent), Some(drill)) = (&serving.recent, &retention.drill) {
            recent.set_drill(drill.clone());
        }
        let Retention { versions, keep_for, quarantine_for, ref tiers, .. } = retention;
        let settings = &mut control.settings;
        (settings.retain, settings.retain_for) = (versions, keep_for);
        (settings.quarantine_for, settings.tiers) = (quarantine_for, tiers.clone());
        let (epoch, now) = (control.epoch, serving.clock.now());
        let event = EventKind::RetentionChanged { versions: versions as u32, keep_for, quarantine_for };
        control.announcer.announce(now, epoch, event);
        control.trim(now);
        options.retention = retention;
    }
}
