//! Looks for ONNX Runtime's library on this machine, and counts the cores that it should use.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A place that was looked at: the library there, or why there is none.
pub(crate) struct Place {
    pub(crate) place: String,
    pub(crate) library: Result<PathBuf, String>,
}

/// The places where the library may be when nobody says, best first. Lazy: Python's folders are read only where the others
/// have failed.
pub(crate) fn places(python: bool) -> impl Iterator<Item = Place> {
    let beside = std::iter::once_with(beside_the_executable);
    let loader = LOADER_NAMES.iter().map(|name| Place {
        place: format!("the system's loader, as {name}"),
        // ort asks for the executable's path on the way, and must not fail to get it.
        library: env::current_exe().map(|_| PathBuf::from(name)).map_err(|error| error.to_string()),
    });
    let packages = move || if python { python_package() } else { Vec::new() };
    beside.chain(loader).chain(std::iter::once_with(packages).flatten())
}

/// Physical cores that the process may use.
pub(crate) fn physical_cores() -> usize {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    num_cpus::get_physical().clamp(1, available)
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

/// The package's library in each folder of packages that has one; one place without, where none has.
fn python_package() -> Vec<Place> {
    const PLACE: &str = "the Python package onnxruntime";
    let folders = Surroundings::of_process().package_folders();
    let libraries = folders.iter().filter_map(|folder| library_in(&folder.join("onnxruntime/capi")));
    let found: Vec<Place> =
        libraries.map(|library| Place { place: PLACE.to_owned(), library: Ok(library) }).collect();
    if !found.is_empty() {
        return found;
    }
    let looked_in: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let library = Err(match looked_in.as_slice() {
        [] => "no Python with a folder for packages was found".to_owned(),
        looked_in => format!("it is not in {}", looked_in.join(", ")),
    });
    vec![Place { place: PLACE.to_owned(), library }]
}

/// The signs that tell where Python keeps its packages. Folders are read and nothing is run: a library starts no
/// process in its host, and `python3` could be anything. So what only Python itself knows is not found: `.pth` files,
/// and a prefix that nothing here leads to.
#[derive(Debug, Default)]
struct Surroundings {
    /// Folders of packages, as `PYTHONPATH` has them.
    packages: Vec<PathBuf>,
    /// Where a Python is installed, or an environment made from one: best first.
    prefixes: Vec<PathBuf>,
}

impl Surroundings {
    fn of_process() -> Self {
        Self::of(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// Folders that are relative do not count: whoever may write to the working folder must not choose what is loaded.
    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder = |name: &str| variable(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
        let list = |name: &str| -> Vec<PathBuf> {
            let list = variable(name).unwrap_or_default();
            env::split_paths(&list).filter(|folder| folder.is_absolute()).collect()
        };
        let python = if cfg!(windows) { "python.exe" } else { "python3" };
        let has_python = |folder: &PathBuf| folder.join(python).exists();
        // `bin` lies in the prefix; on Windows the program itself does.
        let prefix =
            |folder: PathBuf| if cfg!(windows) { Some(folder) } else { folder.parent().map(PathBuf::from) };
        let home = folder(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
        let pyenv = folder("PYENV_ROOT").or_else(|| Some(home.as_ref()?.join(".pyenv")));
        let user = folder("PYTHONUSERBASE").or_else(|| {
            if cfg!(windows) {
                Some(folder("APPDATA")?.join("Python"))
            } else {
                Some(home.as_ref()?.join(".local"))
            }
        });
        let prefixes = [folder("VIRTUAL_ENV"), folder("CONDA_PREFIX")]
            .into_iter()
            .flatten()
            .chain(list("PATH").into_iter().filter(has_python).filter_map(prefix))
            .chain(pyenv.map(|pyenv| newest_first(&pyenv.join("versions"), "")).unwrap_or_default())
            .chain(user)
            .chain(SYSTEM_PREFIXES.iter().map(PathBuf::from));
        Self { packages: list("PYTHONPATH"), prefixes: prefixes.collect() }
    }

    /// Folders of packages that are there, best first and each once.
    fn package_folders(&self) -> Vec<PathBuf> {
        let of_prefix = |prefix: &PathBuf| {
            let library = prefix.join(if cfg!(windows) { "Lib" } else { "lib" });
            // `Lib` on Windows; `lib/python3.12` elsewhere, and `lib/python3` of Debian's own packages.
            let versions = newest_first(&library, "python3");
            let folders =
                |version: PathBuf| ["site-packages", "dist-packages"].map(|name| version.join(name));
            versions.into_iter().chain([library]).flat_map(folders).collect::<Vec<_>>()
        };
        let mut folders: Vec<PathBuf> = Vec::new();
        for folder in self.packages.iter().cloned().chain(self.prefixes.iter().flat_map(of_prefix)) {
            if folder.is_dir() && !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        folders
    }
}

/// Where systems and installers put a Python that is on nobody's path.
const SYSTEM_PREFIXES: &[&str] = if cfg!(target_os = "macos") {
    &["/opt/homebrew", "/usr/local", "/Library/Frameworks/Python.framework/Versions/Current"]
} else if cfg!(windows) {
    &[]
} else {
    &["/usr/local", "/usr"]
};

/// The entries of a folder whose names begin so, those of the highest version first: `python3.12` comes before `python3.9`.
fn newest_first(folder: &Path, beginning: &str) -> Vec<PathBuf> {
    let version = |path: &PathBuf| -> Vec<u64> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let begins =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(beginning));
    let mut entries: Vec<PathBuf> = entries.filter(begins).collect();
    entries.sort_by_cached_key(|path| std::cmp::Reverse((version(path), path.clone())));
    entries
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

    /// Bug: `python3` was run to be asked where its packages are, in a host that had not asked for it.
    #[cfg(unix)]
    #[test]
    fn packages_of_python_are_found_by_reading_folders_alone() {
        use std::os::unix::fs::PermissionsExt;

        let root = env::temp_dir().join(format!("switchback-packages-{}", std::process::id()));
        let make = |folder: &str| {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).unwrap();
            folder
        };
        let ran = root.join("ran");
        let program = make("prefix/bin").join("python3");
        fs::write(&program, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let expected = [
            make("given"),
            make("environment/lib/python3.11/site-packages"),
            make("prefix/lib/python3.12/site-packages"),
            make("prefix/lib/python3.9/site-packages"),
            make("prefix/lib/python3/dist-packages"),
            make("home/.pyenv/versions/3.10.2/lib/python3.10/site-packages"),
            make("home/.local/lib/python3.12/site-packages"),
        ];
        make("empty/bin");
        make("environment/lib/node");
        let value = |name: &str| match name {
            "PYTHONPATH" => Some(format!("relative:{}", root.join("given").display())),
            "VIRTUAL_ENV" => Some(root.join("environment").display().to_string()),
            "PATH" => Some(format!(".:{0}/empty/bin:{0}/prefix/bin:{0}/environment/bin", root.display())),
            "HOME" => Some(root.join("home").display().to_string()),
            "CONDA_PREFIX" => Some("relative".to_owned()),
            _ => None,
        };
        let surroundings = Surroundings::of(|name| value(name).map(OsString::from));
        let mut folders = surroundings.package_folders();
        folders.retain(|folder| folder.starts_with(&root)); // and those of this machine
        assert_eq!(folders, expected);
        assert!(!ran.exists(), "nothing was run");
        assert!(Surroundings::of(|_| None).packages.is_empty());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn who_wants_none_of_python_s_gets_none() {
        let python = |place: &Place| place.place.contains("Python");
        assert!(places(true).any(|place| python(&place)));
        assert!(!places(false).any(|place| python(&place)));
    }

    #[test]
    fn there_is_at_least_one_core_and_no_more_than_may_be_used() {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        assert!((1..=available).contains(&physical_cores()));
    }
}
