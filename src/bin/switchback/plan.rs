//! `switchback plan`.

use std::io::Read;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use switchback::Step;
use switchback::config::Config;

use crate::Failure;
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
}

impl Command {
    pub(crate) fn run(self, out: &mut Out) -> Result<(), Failure> {
        let Self::Check { file } = self;
        let name = file.display().to_string();
        let unreadable = |error| Failure::Unreadable(name.clone(), error);
        let mut text = String::new();
        let opened = std::fs::File::open(&file).map_err(unreadable)?;
        opened.take(CONFIG_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > CONFIG_MAX {
            return Err(Failure::Refused(format!("{name} has more than 1 MiB: it is no configuration")));
        }
        let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let config: Result<Config, String> = if is_json {
            serde_json::from_str(&text).map_err(|error| error.to_string())
        } else {
            toml::from_str(&text).map_err(|error| error.to_string())
        };
        let config = config
            .map_err(|cause| Failure::Refused(format!("{name}: {}", cause.trim().replace('\n', " "))))?;
        let guards: Vec<String> = config.guards().iter().map(ToString::to_string).collect();
        let plan = config.plan().ok();
        let steps: Vec<String> = plan.iter().flat_map(|plan| plan.steps()).map(told).collect();
        if out.json {
            return Ok(out.value(&json!({"name": config.name(), "guards": guards, "plan": plan}))?);
        }
        out.line(&format!("{}: understood", config.name()))?;
        for guard in &guards {
            out.line(&format!("guard  {guard}"))?;
        }
        for (number, step) in steps.iter().enumerate() {
            out.line(&format!("step {}  {step}", number + 1))?;
        }
        if plan.is_none() {
            out.line("no plan: candidates are moved by hand")?;
        }
        Ok(())
    }
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
