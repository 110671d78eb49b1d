//! Holds the tensors of a model's file against what a contract or a pipeline says of them.

use super::mismatch::Mismatch;
use super::tensor_spec::{TensorRole, TensorSpec};

/// Holds what a file has against what somebody needs of it. Inputs must be the same ones; of outputs only those that are
/// needed are looked at. Nothing is compared where nothing is needed.
pub(crate) fn compare(
    by: &str,
    role: TensorRole,
    needed: &[TensorSpec],
    has: &[TensorSpec],
) -> Vec<Mismatch> {
    if needed.is_empty() {
        return Vec::new();
    }
    let by = || by.to_owned();
    let mut mismatches = Vec::new();
    for needed in needed {
        let name = || needed.name.clone();
        match has.iter().find(|has| has.name == needed.name) {
            None => {
                let has = has.iter().map(|has| has.name.clone()).collect();
                mismatches.push(Mismatch::TensorMissing { by: by(), role, tensor: name(), has });
            }
            Some(has) if has.element != needed.element => {
                let (needed, has) = (needed.element.clone(), has.element.clone());
                mismatches.push(Mismatch::TensorElements { by: by(), role, tensor: name(), needed, has });
            }
            Some(has) if !needed.shapes_meet(has) => {
                let (needed, has) = (needed.to_string(), has.to_string());
                mismatches.push(Mismatch::TensorShape { by: by(), role, needed, has });
            }
            Some(_) => {}
        }
    }
    let is_left = |has: &&TensorSpec| !needed.iter().any(|needed| needed.name == has.name);
    if role == TensorRole::Input {
        let left = has.iter().filter(is_left);
        mismatches.extend(left.map(|has| Mismatch::TensorUnfed { by: by(), tensor: has.to_string() }));
    }
    mismatches
}
