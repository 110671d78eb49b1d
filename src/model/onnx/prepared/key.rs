//! The key of a prepared form: a digest of all that it depends on.

use sha2::{Digest, Sha256};

use crate::base::text::hex;
use crate::model::onnx::file::files::Files;
use crate::model::onnx::options::Options;
use crate::model::onnx::runtime::runtime::Runtime;

/// Raised when an entry is made or read in another way.
const FORMAT: &str = "2";

/// All that a prepared form depends on, as one digest: the model's bytes, ONNX Runtime's version and build, the options that
/// it is made with, and the processor. Another of these is another entry, so none is ever stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn of(files: &Files, options: &Options, runtime: &Runtime) -> Self {
        let version = runtime.version().map(ToString::to_string).unwrap_or_default();
        let mut hash = Sha256::new();
        for part in [
            FORMAT.as_bytes(),
            &files.digest,
            version.as_bytes(),
            ort::info().as_bytes(),
            options.optimization.name().as_bytes(),
            processor().as_bytes(),
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self([7; 32])
    }

    /// Returns the name of an entry's folder.
    pub(crate) fn name(&self) -> String {
        hex(&self.0)
    }
}

/// The processor, as far as packed weights depend on it: its model and what it can do.
fn processor() -> String {
    use std::io::Read;
    let mut text = String::new();
    let read =
        std::fs::File::open("/proc/cpuinfo").and_then(|file| file.take(1 << 14).read_to_string(&mut text));
    // A list of a hundred processors is cut anywhere; the first one's lines are whole.
    let first = if read.is_ok() { text.split("\n\n").next().unwrap_or_default() } else { "" };
    let told = ["vendor_id", "cpu family", "model", "flags", "CPU implementer", "CPU part", "Features"];
    let lines = first.lines().filter(|line| {
        line.split_once(':')
            .is_some_and(|(name, _)| told.iter().any(|told| name.trim_end().starts_with(told)))
    });
    format!("{} {} {}", std::env::consts::ARCH, detected(), lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(target_arch = "x86_64")]
fn detected() -> String {
    let features = [
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
        ("avx512vnni", std::is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    features.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> String {
    String::new()
}
