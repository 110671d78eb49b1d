//! How ONNX Runtime is found, and what is said where it is not. A process has room for one, so every case is a process
//! of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use switchback::model::onnx::{OnnxModel, Runtime, RuntimeError, Tensors, ort};
use switchback::{Model, model::LoadError};

use crate::common::Folder;
use crate::harness::tests;

tests! { "onnx_runtime":
    a_runtime_that_is_not_there_is_reported_with_what_mends_it_and_then_works,
    a_runtime_that_is_too_old_is_reported_with_its_version_and_the_one_needed,
    a_file_that_is_no_library_is_reported_in_the_loaders_own_words,
    without_a_hint_every_place_is_looked_at_and_listed,
    #[cfg(unix)]
    a_library_beside_the_executable_is_found,
    #[cfg(target_os = "linux")]
    the_library_of_an_installed_python_package_is_found_but_not_one_of_the_working_folder,
    a_second_library_is_refused_because_a_process_has_room_for_one,
    a_host_brings_an_environment_of_its_own,
    threads_that_load_at_once_share_one_runtime_and_no_variable_is_set,
    an_explicit_path_is_all_that_is_tried,
}

/// What a process does, by the name of the case.
pub(crate) fn child(told: &[String]) {
    let [case] = told else { panic!("{told:?}") };
    match case.as_str() {
        "load" => say(load().map(|()| answered())),
        "mend" => {
            say(load().map(|()| answered()));
            Runtime::builder().path(library()).build().unwrap();
            say(load().map(|()| answered()));
        }
        "where" => say(Runtime::get().map(|runtime| runtime.library().unwrap().display().to_string())),
        "another" => {
            let first = Runtime::builder().path(library()).threads(1).build().unwrap();
            assert!(first.build_info().contains("ORT Build Info"));
            Runtime::builder().path(library()).build().unwrap();
            Runtime::builder().threads(1).build().unwrap();
            say(Runtime::builder().path("/another/libonnxruntime.so").build().map(|_| String::new()));
            say(Runtime::builder().threads(2).build().map(|_| String::new()));
        }
        "host" => {
            let environment = ort::init_from(library()).unwrap().with_telemetry(false).build().unwrap();
            say(Runtime::get().map(|_| String::new()));
            say(Runtime::builder()
                .environment(environment.clone())
                .threads(2)
                .build()
                .map(|_| String::new()));
            let runtime = Runtime::builder().environment(environment).build().unwrap();
            say(Runtime::builder().threads(2).build().map(|_| String::new()));
            assert_eq!(runtime.library(), None);
            say(load().map(|()| answered()));
        }
        "threads" => std::thread::scope(|scope| {
            let loads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            loads.into_iter().for_each(|load| say(load.join().unwrap().map(|()| answered())));
            assert_eq!(std::env::var_os("ORT_DISABLE_TELEMETRY"), None);
        }),
        case => panic!("no case {case}"),
    }
}

fn model() -> OnnxModel {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    OnnxModel::from_file(models.join("constant.onnx")).unwrap().pool_size(1)
}

fn load() -> Result<(), LoadError> {
    model().load()
}

fn answered() -> String {
    let model = model();
    model.load().unwrap();
    assert_eq!(model.predict(&Tensors::new()).unwrap().get::<f32>("y").unwrap().first(), Some(&4.25));
    "answered".to_owned()
}

fn say<E: std::fmt::Display>(outcome: Result<String, E>) {
    println!("said: {}", outcome.unwrap_or_else(|error| error.to_string()));
}

fn library() -> PathBuf {
    onnxruntime_for_tests::current()
}

/// The lines that a child says, without an `ORT_DYLIB_PATH` unless `configure` sets one.
fn said_by(
    executable: &Path,
    case: &str,
    configure: impl FnOnce(&mut Command) -> &mut Command,
) -> Vec<String> {
    let mut command = Command::new(executable);
    command.args([crate::CHILD, "onnx_runtime", case]).env_remove("ORT_DYLIB_PATH");
    let output = configure(&mut command).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.split_once("said: ").map(|(_, said)| said.to_owned())).collect()
}

fn said(case: &str, configure: impl FnOnce(&mut Command) -> &mut Command) -> Vec<String> {
    said_by(&std::env::current_exe().unwrap(), case, configure)
}

fn a_runtime_that_is_not_there_is_reported_with_what_mends_it_and_then_works() {
    let lines = said("mend", |child| child.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so"));
    assert!(lines[0].contains("ORT_DYLIB_PATH: /nowhere/libonnxruntime.so does not exist"), "{lines:?}");
    assert!(lines[0].contains("pip install onnxruntime"), "{lines:?}");
    assert_eq!(lines[1], "answered");
}

fn a_runtime_that_is_too_old_is_reported_with_its_version_and_the_one_needed() {
    let Some(too_old) = onnxruntime_for_tests::too_old() else { return };
    let lines = said("mend", |child| child.env("ORT_DYLIB_PATH", &too_old));
    let expected = format!("{}: ONNX Runtime 1.14.1 is too old, 1.17 or newer is needed", too_old.display());
    assert!(lines[0].starts_with(&expected), "{lines:?}");
    assert_eq!(lines[1], "answered");
}

fn a_file_that_is_no_library_is_reported_in_the_loaders_own_words() {
    let folder = Folder::new();
    let text = folder.0.join("libonnxruntime.so");
    fs::write(&text, "not a library").unwrap();
    let lines = said("load", |child| child.env("ORT_DYLIB_PATH", &text));
    let expected = format!("{} cannot be used as ONNX Runtime", text.display());
    assert!(lines[0].starts_with(&expected) && lines[0].len() > expected.len() + 20, "{lines:?}");
}

fn without_a_hint_every_place_is_looked_at_and_listed() {
    let lines = said("load", |child| child.env_remove("LD_LIBRARY_PATH").env("PATH", ""));
    if lines == ["answered"] {
        return; // the machine has one where its loader looks
    }
    for place in ["beside the executable", "the system's loader", "the Python package onnxruntime"] {
        assert!(lines[0].contains(place), "{place}: {lines:?}");
    }
}

#[cfg(unix)]
fn a_library_beside_the_executable_is_found() {
    let folder = Folder::new();
    let executable = folder.0.join("program");
    fs::copy(std::env::current_exe().unwrap(), &executable).unwrap();
    let name = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    std::os::unix::fs::symlink(library(), folder.0.join(name)).unwrap();
    let lines = said_by(&executable, "where", |child| child);
    assert_eq!(lines, [folder.0.join(name).display().to_string()]);
}

#[cfg(target_os = "linux")]
fn the_library_of_an_installed_python_package_is_found_but_not_one_of_the_working_folder() {
    let folder = Folder::new();
    let capi = folder.0.join("onnxruntime/capi");
    fs::create_dir_all(&capi).unwrap();
    fs::write(folder.0.join("onnxruntime/__init__.py"), "raise SystemExit('imported')").unwrap();
    std::os::unix::fs::symlink(library(), capi.join("libonnxruntime.so.1.32.0")).unwrap();
    let lines = said("where", |child| child.env_remove("LD_LIBRARY_PATH").env("PYTHONPATH", &folder.0));
    assert!(
        lines[0].ends_with("onnxruntime/capi/libonnxruntime.so.1.32.0")
            || lines[0].starts_with("libonnxruntime")
    );
    let lines = said("where", |child| child.env_remove("LD_LIBRARY_PATH").current_dir(&folder.0));
    assert!(!lines[0].contains(folder.0.to_str().unwrap()), "{lines:?}");
}

fn a_second_library_is_refused_because_a_process_has_room_for_one() {
    let lines = said("another", |child| child);
    let expected = format!("ONNX Runtime is already loaded from {}", library().display());
    assert!(lines[0].starts_with(&expected), "{lines:?}");
    // Bug: a pool of other threads than were said was taken for the one that was meant. Cause: only paths were held against each other. Fix: threads too.
    assert!(lines[1].contains(", with a pool of 1 threads"), "{lines:?}");
}

fn a_host_brings_an_environment_of_its_own() {
    let lines = said("host", |child| child.env("ORT_DYLIB_PATH", library()));
    assert!(lines[0].contains("only one environment"), "{lines:?}");
    assert!(
        lines[1].starts_with("runtime.threads is 2: it must be left out beside an environment"),
        "{lines:?}"
    );
    assert!(lines[2].starts_with("ONNX Runtime is already loaded, and"), "{lines:?}");
    assert_eq!(lines[3], "answered");
}

fn threads_that_load_at_once_share_one_runtime_and_no_variable_is_set() {
    let lines =
        said("threads", |child| child.env("ORT_DYLIB_PATH", library()).env_remove("ORT_DISABLE_TELEMETRY"));
    assert_eq!(lines, ["answered"; 8]);
}

fn an_explicit_path_is_all_that_is_tried() {
    let error = Runtime::builder().path("/nowhere/at/all.so").build().unwrap_err();
    let RuntimeError::NotFound { tried } = &error else { panic!("{error}") };
    assert_eq!(tried.len(), 1);
    assert!(tried[0].cause.contains("/nowhere/at/all.so"));
}
