//! Puts `libonnxruntime` into the git-ignored folder `.onnxruntime` at the root of the repository, from the pinned and
//! checksum-verified wheels of the Python package `onnxruntime`. Does nothing when what is there is right.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A wheel of one release for one system. Any Python can download it: the tags are spelled out for pip.
struct Wheel {
    os: &'static str,
    arch: &'static str,
    requirement: &'static str,
    platform: &'static str,
    sha256: &'static str,
}

const CURRENT: [Wheel; 4] = [
    Wheel {
        os: "linux",
        arch: "x86_64",
        requirement: "onnxruntime==1.32.0",
        platform: "manylinux_2_28_x86_64",
        sha256: "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        requirement: "onnxruntime==1.32.0",
        platform: "manylinux_2_28_aarch64",
        sha256: "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        requirement: "onnxruntime==1.32.0",
        platform: "macosx_14_0_arm64",
        sha256: "366b9e53d07812cc5c92822cecf7563b76a8a0f32ba3bb8dd232a206ac3bcb6c",
    },
    Wheel {
        os: "windows",
        arch: "x86_64",
        requirement: "onnxruntime==1.32.0",
        platform: "win_amd64",
        sha256: "d7e0c45cc5f456ad7805e6dd256a7662736cda9c2fd17becae194eb3c2f6df72",
    },
];

/// ONNX Runtime 1.14.1, older than anything that is accepted. The package is not its own: wheels of `onnxruntime` from
/// that time have the library linked into their Python module.
const TOO_OLD: [Wheel; 1] = [Wheel {
    os: "linux",
    arch: "x86_64",
    requirement: "piper-phonemize==1.1.0",
    platform: "manylinux_2_28_x86_64",
    sha256: "c1062e00c94835e9115df7ce1d7b3b5c40c6d845cd70b2c121954faf5b8d23c7",
}];

/// One name on every system, so that `.cargo/config.toml` can tell it in advance. The loader goes by content.
const LIBRARY: &str = "libonnxruntime.so";

fn main() -> ExitCode {
    match bring_all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nONNX Runtime for the tests could not be brought: {error}");
            eprintln!(
                "Needed once: python3 with pip, and a way to a package index. Without them, set ORT_DYLIB_PATH"
            );
            eprintln!("to a libonnxruntime (1.17 or newer) of your own, and this step is left out.\n");
            ExitCode::FAILURE
        }
    }
}

fn bring_all() -> Result<(), Box<dyn Error>> {
    let manifest = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let root = manifest.parent().ok_or("this crate lies at the root of the file system")?;
    let folder = root.join(".onnxruntime");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=ORT_DYLIB_PATH");
    println!("cargo:rerun-if-changed={}", folder.join(LIBRARY).display());
    println!("cargo:rustc-env=ONNXRUNTIME_FOLDER={}", folder.display());
    if brought_by_the_user(&folder) {
        return Ok(());
    }

    fs::create_dir_all(folder.join("too-old"))?;
    let lock = File::create(folder.join("lock"))?; // two builds at once: the second finds the work done
    lock.lock()?;
    let wheel = for_this_system(&CURRENT).ok_or("no wheel is pinned for this system")?;
    bring(wheel, &folder)?;
    if let Some(wheel) = for_this_system(&TOO_OLD) {
        bring(wheel, &folder.join("too-old"))?;
    }
    Ok(())
}

fn brought_by_the_user(folder: &Path) -> bool {
    let told = std::env::var_os("ORT_DYLIB_PATH").map(PathBuf::from);
    told.is_some_and(|told| told != folder.join(LIBRARY) && told.exists())
}

fn for_this_system(wheels: &[Wheel]) -> Option<&Wheel> {
    let os = std::env::var("CARGO_CFG_TARGET_OS").ok()?;
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").ok()?;
    wheels.iter().find(|wheel| wheel.os == os && wheel.arch == arch)
}

/// Written aside and renamed, so that whoever looks sees the whole library or none.
fn bring(wheel: &Wheel, folder: &Path) -> Result<(), Box<dyn Error>> {
    let stamp = folder.join("wheel.sha256");
    if folder.join(LIBRARY).exists() && fs::read_to_string(&stamp).is_ok_and(|text| text == wheel.sha256) {
        return Ok(());
    }
    let aside = folder.join("download");
    let _ = fs::remove_dir_all(&aside);
    fs::create_dir_all(&aside)?;
    download(wheel, &aside)?;
    unpack(&aside)?;
    fs::rename(aside.join(LIBRARY), folder.join(LIBRARY))?;
    fs::write(stamp, wheel.sha256)?;
    fs::remove_dir_all(aside)?;
    Ok(())
}

/// pip refuses a file whose checksum is not the one in the requirement.
fn download(wheel: &Wheel, into: &Path) -> Result<(), Box<dyn Error>> {
    let requirement = into.join("requirement.txt");
    fs::write(&requirement, format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256))?;
    let pip = "-m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
               --implementation cp --python-version 3.11 --abi cp311 --platform";
    let mut command = Command::new(python());
    command.args(pip.split_whitespace()).arg(wheel.platform);
    run(command.arg("--dest").arg(into).arg("--requirement").arg(requirement))
}

fn unpack(wheel_folder: &Path) -> Result<(), Box<dyn Error>> {
    const SCRIPT: &str = "
import pathlib, re, sys, zipfile
folder, library = pathlib.Path(sys.argv[1]), sys.argv[2]
[wheel] = folder.glob('*.whl')
with zipfile.ZipFile(wheel) as archive:
    is_library = re.compile(r'[^/]+/(capi/)?(lib)?onnxruntime(-[0-9a-f]+)?(\\.so\\.[0-9.]+|\\.[0-9.]+\\.dylib|\\.dll)').fullmatch
    [name] = filter(is_library, archive.namelist())
    (folder / library).write_bytes(archive.read(name))
";
    run(Command::new(python()).args(["-c", SCRIPT]).arg(wheel_folder).arg(LIBRARY))
}

fn python() -> &'static str {
    if cfg!(windows) { "python" } else { "python3" }
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let output = command.output().map_err(|error| format!("{command:?} does not start: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr).trim()).into())
}
