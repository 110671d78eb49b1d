//! Where ONNX Runtime's library may be on this machine, and how many cores it should use.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// A place that was looked at: the library there, or why there is none.
pub(crate) struct Place {
    pub(crate) place: String,
    pub(crate) library: Result<PathBuf, String>,
}

/// The places where the library may be when nobody says, best first. Lazy: Python is started only where the others have
/// failed.
pub(crate) fn places() -> impl Iterator<Item = Place> {
    let beside = std::iter::once_with(beside_the_executable);
    let loader = LOADER_NAMES.iter().map(|name| Place {
        place: format!("the system's loader, as {name}"),
        // ort asks for the executable's path on the way, and must not fail to get it.
        library: env::current_exe().map(|_| PathBuf::from(name)).map_err(|error| error.to_string()),
    });
    beside.chain(loader).chain(std::iter::once_with(python_package))
}

/// Physical cores that the process may use.
pub(crate) fn physical_cores() -> usize {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let siblings: BTreeSet<String> = (0..4096)
        .map_while(|cpu| {
            fs::read_to_string(format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")).ok()
        })
        .collect();
    if siblings.is_empty() { available } else { siblings.len().min(available) }
}

const FILE_NAME: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// Distributions leave the plain name to their development packages.
const LOADER_NAMES: &[&str] =
    if cfg!(target_os = "linux") { &[FILE_NAME, "libonnxruntime.so.1"] } else { &[FILE_NAME] };

fn beside_the_executable() -> Place {
    let library = env::current_exe().map_err(|error| error.to_string()).and_then(|executable| {
        let library = executable.with_file_name(FILE_NAME);
        if library.exists() { Ok(library) } else { Err(format!("no {}", library.display())) }
    });
    Place { place: "beside the executable".to_owned(), library }
}

fn python_package() -> Place {
    let library = python_package_folder().and_then(|folder| {
        library_in(&folder.join("capi")).ok_or_else(|| format!("no library in {}", folder.display()))
    });
    Place { place: "the Python package onnxruntime".to_owned(), library }
}

/// Asks Python where the package lies, without importing it. The working folder does not count: whoever may write there
/// must not choose what is loaded here.
fn python_package_folder() -> Result<PathBuf, String> {
    const SCRIPT: &str = "
import os, sys
sys.path = [folder for folder in sys.path if folder not in ('', os.getcwd())]
import importlib.util
found = importlib.util.find_spec('onnxruntime')
sys.stdout.write(os.path.dirname(found.origin) if found and found.origin else '')
";
    let python = if cfg!(windows) { "python" } else { "python3" };
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("{python}: {error}"))?;
    let folder = String::from_utf8_lossy(&output.stdout).into_owned();
    if folder.is_empty() { Err(format!("{python} has no such package")) } else { Ok(PathBuf::from(folder)) }
}

/// `libonnxruntime.so.1.32.0`, `libonnxruntime.1.32.0.dylib`, `onnxruntime.dll`
fn library_in(folder: &Path) -> Option<PathBuf> {
    let stem = FILE_NAME.split('.').next().unwrap_or(FILE_NAME);
    let is_library = |name: &OsStr| {
        let name = name.to_string_lossy();
        let rest = name.strip_prefix(stem).filter(|rest| rest.starts_with('.'));
        rest.is_some_and(|rest| [".so", ".dylib", ".dll"].iter().any(|extension| rest.contains(extension)))
    };
    let mut libraries: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.file_name().is_some_and(is_library))
        .collect();
    libraries.sort();
    libraries.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_in_a_wheel_is_told_from_its_neighbours() {
        let folder = env::temp_dir().join(format!("switchback-discovery-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(library_in(&folder), None);
        let stem = FILE_NAME.split('.').next().unwrap();
        for name in
            [format!("{stem}_providers_shared.so"), format!("{FILE_NAME}.1.32.0"), format!("{stem}.py")]
        {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(library_in(&folder), Some(folder.join(format!("{FILE_NAME}.1.32.0"))));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn there_is_at_least_one_core() {
        assert!(physical_cores() >= 1);
    }
}
