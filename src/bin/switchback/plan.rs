//! `switchback plan`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};
use switchback::config::Config;
use switchback::guard::{Guard, Stated};
use switchback::plan::Exposure;
use switchback::{Plan, Step};

use crate::Failure;
use crate::forecast::Asked;
use crate::out::Out;

/// A configuration has some kilobytes.
const CONFIG_MAX: u64 = 1 << 20;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Reads a configuration as a service would, and shows its guards and steps. Ends with 1 where it says what is not
    /// understood or would be refused. What depends on the service's own code is not looked at: whether its task has a figure.
    Check {
        /// A file in TOML, or in JSON where its name ends so.
        file: PathBuf,
    },
    /// Forecasts how long the plan of a configuration takes to decide, by its guards, with traffic as it is said or as a handle
    /// has seen it. Ends with 1 where it cannot be decided. Guards of drift are left out.
    Forecast(Box<Asked>),
}

/// A configuration as it was read.
pub(crate) struct Written {
    pub(crate) name: String,
    pub(crate) config: Config,
    /// As it was written.
    pub(crate) value: Value,
}

pub(crate) fn read(file: &Path) -> Result<Written, Failure> {
    let name = file.display().to_string();
    let unreadable = |error| Failure::Unreadable(name.clone(), error);
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(CONFIG_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > CONFIG_MAX {
        return Err(Failure::Refused(format!("{name} has more than 1 MiB: it is no configuration")));
    }
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let read = if is_json { of_json(&text) } else { of_toml(&text) };
    let (config, value) =
        read.map_err(|cause| Failure::Refused(format!("{name}: {}", cause.trim().replace('\n', " "))))?;
    Ok(Written { name, config, value })
}

fn of_json(text: &str) -> Result<(Config, Value), String> {
    let config = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok((config, serde_json::from_str(text).map_err(|error| error.to_string())?))
}

fn of_toml(text: &str) -> Result<(Config, Value), String> {
    let config = toml::from_str(text).map_err(|error| error.to_string())?;
    Ok((config, toml::from_str(text).map_err(|error| error.to_string())?))
}

impl Command {
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let file = match self {
            Self::Check { file } => file,
            Self::Forecast(asked) => return asked.run(out),
        };
        let Written { config, value, .. } = read(&file)?;
        let guarding = config.guards();
        let guards: Vec<String> = guarding.iter().map(ToString::to_string).collect();
        let plan = config.plan().ok();
        let steps: Vec<String> = plan.iter().flat_map(|plan| plan.steps()).map(told).collect();
        let warned = |plan: &Plan| {
            let steps = plan.steps();
            [unguarded(steps, &guards, &value), unshadowed(plan, &value), unticked(&value)]
                .into_iter()
                .flatten()
        };
        let lacking = guarding.iter().filter_map(|guard| lacking(guard, &value));
        let warnings: Vec<String> = lacking.chain(plan.iter().flat_map(warned)).collect();
        if out.json {
            let told = json!({"name": config.name(), "guards": guards, "plan": plan, "warnings": warnings});
            return Ok(out.value(&told)?);
        }
        out.line(&format!("{}: understood", config.name()))?;
        for guard in &guards {
            out.line(&format!("guard  {guard}"))?;
        }
        for (number, step) in steps.iter().enumerate() {
            out.line(&format!("step {}  {step}", number + 1))?;
        }
        match &plan {
            None => out.line("no plan: candidates are moved by hand")?,
            Some(plan) if plan.steps().is_empty() => out.line(CHOSEN)?,
            Some(_) => {}
        }
        for warning in &warnings {
            out.line(&format!("warning: {warning}"))?;
        }
        Ok(())
    }
}

/// What is said in the place of the steps of an automatic plan.
const CHOSEN: &str = "auto   its steps are chosen when it is run, by the traffic that live has then, and guards too where there are none: \
                      `switchback plan forecast` shows them";

/// What a service would refuse unless its code makes up for what is not in the file. The steps of an automatic plan are chosen by
/// its guards, and not in the file.
fn unguarded(steps: &[Step], guards: &[String], written: &Value) -> Option<String> {
    let is_meant = written.pointer("/rollout/unguarded").and_then(Value::as_bool).unwrap_or_default();
    (!steps.is_empty() && guards.is_empty() && !is_meant).then(|| {
        "the file has steps, and no guards: a service refuses to run this plan unless its code has `.guard(..)`; add `guards`, \
         or `unguarded = true` if that is meant"
            .to_owned()
    })
}

/// The same of requests that are copied.
fn unshadowed(plan: &Plan, written: &Value) -> Option<String> {
    let step = plan.steps().iter().position(|step| matches!(step.exposure(), Exposure::Shadow { .. }));
    let (what, part) = match step {
        Some(place) => (format!("step {}", place + 1), "the step"),
        None if plan.needs_shadowing() => ("`bake.previous_as_shadow`".to_owned(), "it"),
        None => return None,
    };
    let is_said = written.get("shadow").is_some_and(|shadow| !shadow.is_null());
    (!is_said).then(|| {
        format!(
            "{what} copies requests, and the file has no `shadow`: a service refuses to run this plan unless its code has \
             `.shadowing(..)`; add `shadow = {{}}`, or leave {part} out"
        )
    })
}

/// And of what a guard judges by. The figures that a task has, and business figures, are declared in code alone.
fn lacking(guard: &Stated, written: &Value) -> Option<String> {
    let is_said = |part: &str| written.get(part).is_some_and(|said| !said.is_null());
    // As `Labels::maturity`: what silence means is settled when it says so.
    let complete = |labels: &Value| {
        let at_random = labels.get("at_random").and_then(Value::as_bool).unwrap_or_default();
        labels.is_string() || at_random || labels.get("complete_after").or(labels.get("silence")).is_some()
    };
    let needs = guard.needs();
    let (lacks, code, add) = if needs.labels && !written.get("labels").is_some_and(complete) {
        ("when labels are complete", ".labels(..)", "`labels = { complete_after = \"1d\" }`")
    } else if needs.pairs && !is_said("shadow") {
        ("`shadow`, so no answers are compared", ".shadowing(..)", "`shadow = {}`")
    } else if needs.drift && !is_said("drift") {
        ("`drift`, so nothing is watched", ".drift(..)", "`drift = {}`")
    } else {
        return None;
    };
    Some(format!(
        "`{guard}` can judge nothing: the file does not say {lacks}; a service refuses the guard unless its code has `{code}`; add \
         {add}, or leave the guard out"
    ))
}

/// And of ticks, which an automatic plan needs too.
fn unticked(written: &Value) -> Option<String> {
    let ticks = written.pointer("/threads/ticks").and_then(Value::as_str)?;
    (ticks == "nobody").then(|| {
        "the file has a plan, and `threads.ticks` is \"nobody\": a service refuses to run this plan unless its code has `.threads(..)` \
         after the file; leave `ticks` out, or say \"manual\" and have the service tick"
            .to_owned()
    })
}

/// A step as it is written, without what is left to its default.
fn told(step: &Step) -> String {
    let written = serde_json::to_value(step).unwrap_or_default();
    let conditions = written.as_object().into_iter().flatten();
    let named = conditions
        .filter(|(name, value)| !matches!(name.as_str(), "shadow" | "canary") && value.as_u64() != Some(0));
    let said = named.map(|(name, value)| match value.as_str() {
        Some(text) => format!("{name} {text}"),
        None => format!("{name} {value}"),
    });
    std::iter::once(step.exposure().to_string()).chain(said).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: `plan check` understood a plan with steps, no guards and no word that this is meant, which a service refuses to run.
    /// Cause: only what stands in the file was read, and not what running it asks for. Fix: a warning with what to do; it is no
    /// error, since the service's code may give guards.
    #[test]
    fn a_plan_that_nothing_guards_is_warned_of() {
        let warned = |rollout: &str| {
            let text = format!("name = \"late\"\n[rollout]\n{rollout}\n");
            let (config, value) = of_toml(&text).unwrap();
            let guards: Vec<String> = config.guards().iter().map(ToString::to_string).collect();
            unguarded(config.plan().unwrap().steps(), &guards, &value)
        };
        let steps = "steps = [{ canary = \"10 %\" }]";
        let warning = warned(steps).unwrap();
        assert!(warning.starts_with("the file has steps, and no guards: a service refuses"), "{warning}");
        assert!(warning.ends_with("add `guards`, or `unguarded = true` if that is meant"), "{warning}");
        assert_eq!(warned(&format!("{steps}\nunguarded = false")), Some(warning));
        assert_eq!(warned(&format!("{steps}\nunguarded = true")), None);
        assert_eq!(warned(&format!("{steps}\nguards = [\"error rate at most 0.01\"]")), None);
        assert_eq!(warned("guards = [\"error rate at most 0.01\"]\nauto = \"3d\""), None);
    }

    /// Bug: `plan check` understood a plan in a file by which nobody ticks, which a service refuses to run. Cause: of what running it asks
    /// for, guards and copies alone were looked at. Fix: a warning with what to do, since the service's code may say who ticks.
    #[test]
    fn a_plan_for_which_nobody_ticks_is_warned_of() {
        let warned = |threads: &str| unticked(&of_toml(&format!("name = \"late\"\n{threads}\n")).unwrap().1);
        let warning = warned("threads = { ticks = \"nobody\" }").unwrap();
        assert!(
            warning.starts_with("the file has a plan, and `threads.ticks` is \"nobody\": a service refuses"),
            "{warning}"
        );
        for fine in ["", "threads = {}", "threads = { ticks = \"manual\" }"] {
            assert_eq!(warned(fine), None);
        }
    }
}
