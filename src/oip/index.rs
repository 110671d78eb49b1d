//! The list of a service's models, as the extension `model_repository` gives it.

use serde::Deserialize;
use serde_json::json;

use super::error::Error;
use crate::base::objects::from_json;
use crate::handle::status::{Role, Status, VersionStatus};
use crate::model::Tier;

/// The request that `POST /v2/repository/index` may make.
#[derive(Deserialize)]
struct Asked {
    /// Only what is ready.
    #[serde(default)]
    ready: Option<bool>,
}

/// Returns the answer to `POST /v2/repository/index`, in JSON: the versions that are loaded, each with its role as the
/// reason. One that sleeps is not ready. `body` is what the client sent: nothing, or whether it wants only what is
/// ready.
///
/// # Errors
///
/// A body that is neither.
pub fn repository_index<'s>(
    body: &[u8],
    statuses: impl IntoIterator<Item = &'s Status>,
) -> Result<String, Error> {
    let asked = match body {
        [] => Asked { ready: None },
        body => from_json(body)
            .map_err(|error| Error::new(format!("write {{}} or {{\"ready\": true}}: {error}")))?,
    };
    // Null is as good as nothing, as in all that may be left out.
    let ready_alone = asked.ready.unwrap_or_default();
    let mut index = Vec::new();
    for status in statuses {
        let loaded = status.versions.iter().filter(|version| version.role != Role::Past);
        for version in loaded.filter(|version| !ready_alone || is_ready(version)) {
            index.push(json!({
                "name": status.name,
                "version": version.version,
                "state": if is_ready(version) { "READY" } else { "UNAVAILABLE" },
                "reason": reason(version),
            }));
        }
    }
    Ok(json!(index).to_string())
}

fn is_ready(version: &VersionStatus) -> bool {
    version.tier != Some(Tier::Cold)
}

fn reason(version: &VersionStatus) -> String {
    let role = version.role.name();
    if is_ready(version) {
        role.to_owned()
    } else {
        format!("{role}: it sleeps, and is woken before it is asked")
    }
}
