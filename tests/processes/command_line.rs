//! The program `switchback`, as it is called.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use switchback::decisions::{Backtest, Decision};
use switchback::drift::{Cell, ReferenceProfile};
use switchback::forecast::Forecast;
use switchback::options::{ErrorBudget, Inputs, Labels, Shadowing, StateFolder, Threads};
use switchback::repository::contract::Feature;
use switchback::repository::{Manifest, Repository};
use switchback::{
    Clock, Kpi, ModelHandle, Outcome, Phase, Plan, Rollout, Step, Task, Timestamp, closure, guard,
};

crate::harness::tests! { "command_line":
    what_is_printed_is_what_the_documentation_shows,
    published_by_the_command_line_equals_published_by_the_script,
    verify_ends_with_1_and_tells_every_fault,
    a_version_whose_manifest_is_torn_is_told,
    #[cfg(unix)] links_are_taken_where_that_is_asked_for,
    what_a_version_was_made_of_is_published_with_it,
    the_pipeline_of_a_version_is_named_where_it_is_published,
    a_model_of_a_hubs_is_published_with_its_labels,
    a_version_is_pulled_from_elsewhere,
    a_profile_of_the_training_data_is_counted_from_its_table,
    data_that_the_repository_keeps_is_held_against_its_digest,
    a_model_is_loaded_where_that_is_asked_for,
    tags_that_are_torn_are_put_aside,
    a_reader_who_has_seen_enough_is_no_error,
    what_was_found_is_seen_by_whoever_reads_no_further,
    a_terminal_obeys_nothing_that_a_manifest_says,
    what_cannot_be_done_ends_with_1_and_what_is_not_understood_with_2,
    a_plan_whose_copies_the_file_does_not_allow_is_warned_of,
    a_guard_that_can_judge_nothing_by_the_file_is_warned_of,
    the_history_of_a_handle_is_read_while_it_runs,
    a_history_that_is_followed_tells_what_happens_until_it_is_ended,
    a_shell_and_a_manual_know_every_command,
    what_is_decided_is_shown_while_the_handle_runs,
    a_version_that_cannot_be_gone_back_to_is_shown_as_such,
    what_guards_say_of_a_rollout_that_runs_is_shown,
    what_guards_decided_is_listed_and_judged_again,
    a_record_that_was_altered_is_told_by_its_number,
    a_plan_is_forecast_with_traffic_as_it_is_said_or_was_seen,
    a_business_figure_is_forecast_by_its_own_figures,
    a_plan_whose_steps_are_chosen_is_told_as_such,
    what_was_counted_is_judged_by_other_guards,
    what_is_quarantined_is_released_while_nothing_runs,
    a_journal_is_not_repaired_while_it_is_held_or_unasked,
    #[cfg(all(feature = "admin", not(loom)))] a_service_is_operated_from_the_command_line,
    #[cfg(feature = "admin")] what_nobody_answered_for_is_told_as_not_known,
    #[cfg(all(feature = "admin", not(loom)))] a_way_back_that_leads_nowhere_ends_with_1,
    #[cfg(all(feature = "admin", not(loom)))] what_guards_say_in_a_service_is_shown,
    #[cfg(all(unix, feature = "admin", not(loom)))] what_is_watched_on_a_terminal_is_shown_anew_in_its_place,
}

/// A folder that is gone when this is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("switchback-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchback"));
    command.stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What it prints where all is well.
fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    text(&output.stdout).to_owned()
}

fn here(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).to_str().unwrap().to_owned()
}

fn publish_both(root: &str) {
    let (model, other) = (here("tests/models/affine.onnx"), here("tests/repository/late/1/model.onnx"));
    let created = ["--created", "2026-11-20T08:00:00Z"];
    let first = [
        "repo",
        "publish",
        root,
        "late",
        "1",
        "--model",
        &model,
        "--metric",
        "accuracy=0.91",
        "--tag",
        "stable",
    ];
    said(&[&first[..], &created].concat());
    let second = [
        "repo",
        "publish",
        root,
        "late",
        "2",
        "--model",
        &other,
        "--metric",
        "accuracy=0.93",
        "--parent",
        "1",
        "--code",
        "6165d68",
        "--framework",
        "scikit-learn 1.9.1",
        "--note",
        "why=a year more of data",
    ];
    said(&[&second[..], &created].concat());
}

fn what_is_printed_is_what_the_documentation_shows() {
    let (root, decided) = (Folder::new("shown"), Folder::new("shown-state"));
    publish_both(root.text());
    let elsewhere = Folder::new("elsewhere");
    let (model, created) = (here("tests/models/affine.onnx"), ["--created", "2026-11-20T08:00:00Z"]);
    said(&[&["repo", "publish", elsewhere.text(), "late", "3", "--model", &model][..], &created].concat());
    let handle = tried(&decided);
    let _v4 = on_trial(&handle);
    let mut transcript = String::new();
    for line in [
        "repo ls models",
        "repo ls models late",
        "repo show models late 2",
        "repo diff models late 1 2",
        "repo verify models late",
        "repo tag models late stable 2",
        "repo pull elsewhere models late --tag canary",
        "repo pull elsewhere models late 3",
        "plan check late.toml",
        "state show /var/lib/late",
        "state decisions /var/lib/late v3",
        "state replay /var/lib/late",
        "state backtest /var/lib/late v3 --guard 'accuracy at most 0.1 below live'",
        "plan forecast late.toml --rps 40 --error 0.002 --wrong 0.06 --kpi purchase=0.03",
    ] {
        let config = here("examples/late.toml");
        let (plain, quoted) = line.split_once(" '").unwrap_or((line, ""));
        let words = plain.split(' ').map(|word| match word {
            "models" => root.text(),
            "elsewhere" => elsewhere.text(),
            "late.toml" => &config,
            "/var/lib/late" => decided.text(),
            word => word,
        });
        let quoted = quoted.strip_suffix('\'').into_iter();
        let answer = said(&words.chain(quoted).collect::<Vec<_>>());
        transcript += &format!("$ switchback {line}\n{answer}");
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/command-line.md");
    let shown = fs::read_to_string(&page).unwrap();
    let (before, rest) = shown.split_once("<!-- transcript -->\n```text\n").unwrap();
    let (block, after) = rest.split_once("```\n").unwrap();
    let mut expected = block.to_owned();
    if !cfg!(feature = "onnx") {
        // The page shows a program that is built with `onnx`; another does not look into models.
        let of_onnx = ["operator sets: ", "inputs: ", "outputs: "];
        let lines = block.lines().filter(|line| !of_onnx.iter().any(|start| line.starts_with(start)));
        expected = lines.map(|line| format!("{line}\n")).collect();
    } else if std::env::var_os("SWITCHBACK_WRITE").is_some() {
        fs::write(&page, format!("{before}<!-- transcript -->\n```text\n{transcript}```\n{after}")).unwrap();
        return;
    }
    assert_eq!(expected, transcript, "SWITCHBACK_WRITE=1 writes the page again, where `onnx` is built too");
}

fn published_by_the_command_line_equals_published_by_the_script() {
    let root = Folder::new("equal");
    // This one was published by examples/publish_sklearn.py.
    let (manifest, model) =
        (here("tests/repository/late/1/manifest.json"), here("tests/repository/late/1/model.onnx"));
    said(&["repo", "publish", root.text(), "late", "1", "--model", &model, "--manifest", &manifest]);
    // As they are read: a requirement of `1.0` is one of `^1.0`, and 1500 is 1500.0.
    let read = |bytes: &[u8]| serde_json::to_value(Manifest::parse(bytes).unwrap()).unwrap();
    let by_script = read(&fs::read(&manifest).unwrap());
    let written = fs::read(root.0.join("late/1/manifest.json")).unwrap();
    let mut by_command = read(&written);
    // The script does not look into the model: what the library reads there is more, and is that model's.
    for tensors in ["inputs", "outputs"] {
        if by_script["contract"].get(tensors).is_none() {
            by_command["contract"].as_object_mut().unwrap().remove(tensors);
        }
    }
    let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&by_command), fields(&by_script));
    for field in fields(&by_script) {
        assert_eq!(by_command[&field], by_script[&field], "{field}");
    }
    let models = Repository::open(&root.0).unwrap();
    assert_eq!(models.tags("late").unwrap()["stable"], "1");
    models.verify(&models.resolve("late", "stable").unwrap()).unwrap();
    // What `show --json` prints is such a manifest again.
    let shown = said(&["repo", "show", root.text(), "late", "1", "--json"]);
    assert_eq!(Manifest::parse(shown.as_bytes()).unwrap(), Manifest::parse(&written).unwrap());
}

fn verify_ends_with_1_and_tells_every_fault() {
    let root = Folder::new("faults");
    publish_both(root.text());
    fs::write(root.0.join("late/2/model.onnx"), "short").unwrap();
    fs::write(root.0.join("late/2/stray.bin"), "unlisted").unwrap();
    let output = run(&["repo", "verify", root.text()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(lines[0], "late 1: as it was published");
    assert!(lines.iter().any(|line| line.starts_with("late 2: model.onnx has 5 bytes, not ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("late 2: stray.bin")), "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    let output = run(&["repo", "verify", root.text(), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json[1]["faults"].as_array().unwrap().len(), 2);
}

/// Bug: `repo verify` ended with 0 beside a version whose manifest was torn, and `repo ls` did not show it. Cause: both went
/// through `versions`, which leaves out what cannot be used. Fix: `unusable` lists that, and both tell it.
fn a_version_whose_manifest_is_torn_is_told() {
    let root = Folder::new("torn");
    publish_both(root.text());
    fs::write(root.0.join("late/2/manifest.json"), "{").unwrap();
    let output = run(&["repo", "verify", root.text()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("late 2: ") && line.contains("manifest.json cannot be used")),
        "{lines:?}"
    );
    assert!(lines.contains(&"late 1: as it was published") && lines.len() == 2, "{lines:?}");
    assert!(said(&["repo", "ls", root.text(), "late"]).contains("2 cannot be used: "));
    let json: serde_json::Value =
        serde_json::from_str(&said(&["repo", "ls", root.text(), "late", "--json"])).unwrap();
    assert_eq!((&json[0]["version"], &json[1]["version"]), (&"1".into(), &"2".into()));
    assert!(json[1]["unusable"].as_str().unwrap().contains("manifest.json"));
}

/// A volume that an orchestrator fills from its configuration: every file is a link to one of a folder that is swapped.
#[cfg(unix)]
fn links_are_taken_where_that_is_asked_for() {
    use std::os::unix::fs::symlink;

    let root = Folder::new("links");
    publish_both(root.text());
    let version = root.0.join("late/2");
    fs::create_dir(version.join("..2026_11_28")).unwrap();
    symlink("..2026_11_28", version.join("..data")).unwrap();
    for file in ["model.onnx", "manifest.json"] {
        fs::rename(version.join(file), version.join("..data").join(file)).unwrap();
        symlink(format!("..data/{file}"), version.join(file)).unwrap();
    }
    let verify = ["repo", "verify", root.text()];
    let output = run(&verify);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("late 2: "), "{output:?}");
    let followed = said(&[&verify[..], &["--follow-links"]].concat());
    assert_eq!(followed, "late 1: as it was published\nlate 2: as it was published\n");
    assert_eq!(said(&["repo", "verify", root.text(), "late", "2", "--follow-links"]).lines().count(), 1);
    // What leads out of the model's folder is refused all the same.
    fs::remove_file(version.join("model.onnx")).unwrap();
    symlink(here("tests/repository/late/1/model.onnx"), version.join("model.onnx")).unwrap();
    let output = run(&[&verify[..], &["--follow-links"]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

fn what_a_version_was_made_of_is_published_with_it() {
    let root = Folder::new("made-of");
    let (logged, data) = (Folder::new("logged"), root.0.join("train.csv"));
    fs::write(
        logged.0.join("MLmodel"),
        "flavors:\n  onnx:\n    data: model.onnx\nmlflow_version: 3.17.0\nrun_id: 4f0c9d\n",
    )
    .unwrap();
    fs::write(&data, "delay\n1\n").unwrap();
    let (model, data) = (here("tests/models/affine.onnx"), data.to_str().unwrap().to_owned());
    let names = format!("names.txt={data}");
    let publish =
        ["repo", "publish", root.text(), "late", "1", "--model", &model, "--from-mlflow", logged.text()];
    said(&[&publish[..], &["--data", &data, "--file", &names, "--tag", "gold"]].concat());
    let models = Repository::open(&root.0).unwrap();
    let entry = models.get("late", "1").unwrap();
    models.verify(&entry).unwrap();
    let manifest = entry.manifest.unwrap();
    assert_eq!(manifest.notes["mlflow run"], "4f0c9d");
    assert_eq!(manifest.file("names.txt").unwrap().size, 8);
    let kept = &manifest.lineage.data[0];
    assert_eq!((kept.name.as_str(), kept.attached), ("train.csv", true));
    said(&["repo", "tag", root.text(), "late", "gold", "1"]);
    // Bug: a version that was published with the manifest of an older one took its tags too: `stable` led to what nobody had tried. Cause:
    // all of the manifest was taken over. Fix: tags stay with the version that they were given to, unless they are asked for.
    let shown = root.0.join("one.json");
    fs::write(&shown, said(&["repo", "show", root.text(), "late", "1", "--json"])).unwrap();
    let tagged: serde_json::Value = serde_json::from_slice(&fs::read(&shown).unwrap()).unwrap();
    assert!(tagged["tags"].as_array().is_some_and(|tags| tags.contains(&"gold".into())), "{tagged}");
    let with = ["--model", &model, "--manifest", shown.to_str().unwrap(), "--tag", "next"];
    said(&[&["repo", "publish", root.text(), "late", "2"][..], &with].concat());
    let tags = models.tags("late").unwrap();
    assert_eq!((tags["gold"].as_str(), tags["next"].as_str()), ("1", "2"));
    said(&["repo", "untag", root.text(), "late", "next"]);
    said(&["repo", "rm", root.text(), "late", "2"]);
    // Bug: what MLflow has logged was published only where its file was named too, and then without its external data, which MLflow
    // gives a name of its own. Cause: nobody looked what its folder has. Fix: the model is the one that is in it, with its data.
    for (from, to) in [("external.onnx", "model.onnx"), ("external.data", "external.data")] {
        fs::copy(here(&format!("tests/models/{from}")), logged.0.join(to)).unwrap();
    }
    said(&["repo", "publish", root.text(), "late", "2", "--from-mlflow", logged.text()]);
    let manifest = models.get("late", "2").unwrap().manifest.unwrap();
    let files: Vec<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, ["model.onnx", "external.data"]);
    fs::remove_file(logged.0.join("model.onnx")).unwrap();
    let gone = run(&["repo", "publish", root.text(), "late", "3", "--from-mlflow", logged.text()]);
    assert!(text(&gone.stderr).contains("model.onnx"), "{gone:?}");
    said(&["repo", "rm", root.text(), "late", "2"]);
    said(&["repo", "untag", root.text(), "late", "gold"]);
    assert_eq!(said(&["repo", "rm", root.text(), "late", "1"]), "late 1 is removed\n");
    assert!(said(&["repo", "sweep", root.text()]).starts_with("removed: 0 left behind, 1 data sets"));
    assert!(models.versions("late").unwrap().is_empty());
}

/// Bug: no service whose pipelines have names could open what this program had published of a bare file. Cause: a pipeline could be
/// named in a manifest alone, which was to be written by hand. Fix: `--pipeline` names it.
fn the_pipeline_of_a_version_is_named_where_it_is_published() {
    let root = Folder::new("pipeline");
    let model = here("tests/models/affine.onnx");
    let publish = |version, pipeline| {
        run(&["repo", "publish", root.text(), "late", version, "--model", &model, "--pipeline", pipeline])
    };
    assert_eq!(publish("1", "at-departure@1.0").status.code(), Some(0));
    let models = Repository::open(&root.0).unwrap();
    let contract = |version| models.get("late", version).unwrap().manifest.unwrap().contract;
    let need = contract("1").pipeline.unwrap();
    assert_eq!((need.name.as_str(), need.version.to_string().as_str()), ("at-departure", "^1.0"));
    assert_eq!(contract("1").inputs.is_empty(), !cfg!(feature = "onnx"), "tensors are read all the same");
    // In the place of that of the manifest which it has else.
    let shown = root.0.join("one.json");
    fs::write(&shown, said(&["repo", "show", root.text(), "late", "1", "--json"])).unwrap();
    let with = ["--model", &model, "--manifest", shown.to_str().unwrap(), "--pipeline", "later@2"];
    said(&[&["repo", "publish", root.text(), "late", "2"][..], &with].concat());
    assert_eq!(contract("2").pipeline.unwrap().name, "later");
    for (wrong, told) in
        [("at-departure", "write NAME@VERSION"), ("@1", "write NAME@VERSION"), ("a@one", "one: ")]
    {
        let output = publish("3", wrong);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(told), "{output:?}");
    }
}

fn a_model_of_a_hubs_is_published_with_its_labels() {
    let (root, hub) = (Folder::new("from-hub"), Folder::new("hub"));
    fs::create_dir(hub.0.join("onnx")).unwrap();
    for name in ["model.onnx", "model_quantized.onnx"] {
        fs::copy(here("tests/models/affine.onnx"), hub.0.join("onnx").join(name)).unwrap();
    }
    fs::write(hub.0.join("config.json"), r#"{"id2label": {"0": "on time", "1": "late"}}"#).unwrap();
    let publish = ["repo", "publish", root.text(), "late"];
    said(&[&publish[..], &["1", "--from-hub", hub.text()]].concat());
    said(&[&publish[..], &["2", "--from-hub", hub.text(), "--model", "onnx/model_quantized.onnx"]].concat());
    let models = Repository::open(&root.0).unwrap();
    for (version, model) in [("1", "onnx/model.onnx"), ("2", "onnx/model_quantized.onnx")] {
        let entry = models.get("late", version).unwrap();
        models.verify(&entry).unwrap();
        let manifest = entry.manifest.unwrap();
        assert_eq!((manifest.model.as_str(), manifest.contract.labels.len()), (model, 2));
        assert!(manifest.file("config.json").is_some());
    }
    let none = run(&[&publish[..], &["3", "--from-hub", root.text()]].concat());
    assert!(text(&none.stderr).contains("has no ONNX model, nor has its folder onnx"), "{none:?}");
    assert_eq!(run(&[&publish[..], &["3"]].concat()).status.code(), Some(2), "neither a model nor a hub");
}

fn a_version_is_pulled_from_elsewhere() {
    let (elsewhere, root) = (Folder::new("pulled-from"), Folder::new("pulled"));
    publish_both(elsewhere.text());
    let address = format!("file://{}", elsewhere.text().replace('-', "%2D"));
    let json = said(&["repo", "pull", &address, root.text(), "late", "stable", "--tag", "blue", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let size = fs::metadata(here("tests/models/affine.onnx")).unwrap().len();
    let expected =
        serde_json::json!({"model": "late", "version": "1", "was_there": false, "read": size, "resumed": 0});
    assert_eq!(json, expected);
    let models = Repository::open(&root.0).unwrap();
    models.verify(&models.resolve("late", "blue").unwrap()).unwrap();
    let again = said(&["repo", "pull", elsewhere.text(), root.text(), "late", "1"]);
    assert_eq!(again, "late 1 is there already, as it was published\n");

    fs::write(elsewhere.0.join("late/2/model.onnx"), "torn").unwrap();
    let gone = elsewhere.0.join("gone").to_str().unwrap().to_owned();
    for (source, more, sentence) in [
        (elsewhere.text(), &["2"][..], "late/2/model.onnx has 4 bytes, not "),
        (elsewhere.text(), &["2", "--max-bytes", "9"], "bytes, and 9 are allowed"),
        (elsewhere.text(), &["gold"], "has no version or tag `gold`; it has 1, 2, stable"),
        (&gone, &[], "gone failed: No such file"),
        ("file://host/models", &[], "write file:///folder"),
        #[cfg(not(feature = "bucket"))]
        ("s3://models", &[], "built without the feature `bucket`"),
        #[cfg(feature = "bucket")]
        ("s4://models", &[], "s4://models could not be read: it begins with none of s3://"),
    ] {
        let output = run(&[&["repo", "pull", source, root.text(), "late"], more].concat());
        let complaint = text(&output.stderr);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{source}");
        assert!(complaint.contains(sentence) && complaint.lines().count() == 1, "{complaint}");
    }
    assert_eq!(models.versions("late").unwrap().len(), 1);
}

fn a_profile_of_the_training_data_is_counted_from_its_table() {
    let root = Folder::new("profile");
    let table = root.0.join("train.csv");
    // A quoted comma, a value that is missing, codes that look like numbers, the truth.
    let rows = (0..40).map(|row| {
        let delay = if row == 7 { String::new() } else { format!("{}.5", row % 10) };
        format!("{delay},\"{}, {}\",{},{}\n", ["LAX", "JFK"][row % 2], row % 3, row % 4, row % 2)
    });
    fs::write(&table, format!("delay,from,carrier,late\n{}", rows.collect::<String>())).unwrap();
    let model = here("tests/models/affine.onnx");
    let table = table.to_str().unwrap();
    let publish = |version: &str, more: &[&str]| {
        let begin = ["repo", "publish", root.text(), "late", version, "--model", &model, "--profile", table];
        run(&[&begin[..], more].concat())
    };
    let output = publish("1", &["--leave-out", "late", "--category", "carrier"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let models = Repository::open(&root.0).unwrap();
    let profile = |version: &str| {
        models.get("late", version).unwrap().manifest.unwrap().reference_profile().unwrap().unwrap()
    };
    let counted = profile("1");
    assert_eq!(counted.names().collect::<Vec<_>>(), ["delay", "from", "carrier"]);
    // The same as the library makes of the same rows.
    let cells: Vec<[Cell<'_>; 3]> = (0..40)
        .map(|row| {
            let delay = if row == 7 { Cell::Missing } else { Cell::from(f64::from(row % 10) + 0.5) };
            let from = ["LAX, 0", "JFK, 1", "LAX, 2", "JFK, 0", "LAX, 1", "JFK, 2"][row as usize % 6];
            [delay, Cell::from(from), Cell::from(["0", "1", "2", "3"][row as usize % 4])]
        })
        .collect();
    let own = ReferenceProfile::builder().numeric("delay").categorical("from").categorical("carrier");
    assert_eq!(counted, own.build_from(cells.iter()).unwrap());
    // What a contract needs, and nothing else.
    let manifest = root.0.join("manifest.json");
    let mut needed = models.get("late", "1").unwrap().manifest.unwrap();
    needed.contract.features =
        vec![Feature::number("delay"), Feature::category("carrier", ["0", "1", "2", "3"])];
    fs::write(&manifest, serde_json::to_string(&needed).unwrap()).unwrap();
    let output = publish("2", &["--manifest", manifest.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(profile("2").names().collect::<Vec<_>>(), ["delay", "carrier"]);
    for (more, sentence) in [
        (&["--leave-out", "nobody"][..], "it has no column nobody: it has delay, from, carrier, late"),
        (&["--leave-out", "late"], "late has a version 2 already"),
    ] {
        let output = publish("2", more);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(sentence), "{output:?}");
    }
    for (written, sentence) in [
        ("delay\n", "a reference was to be made of 0 rows"),
        ("delay,from\n1\n", "record 1"),
        ("delay,delay\n1,2\n", "is empty, too long or there twice"),
    ] {
        fs::write(table, written).unwrap();
        let output = publish("3", &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(sentence), "{output:?}");
    }
    assert_eq!(models.versions("late").unwrap().len(), 2, "nothing else was published");
}

fn data_that_the_repository_keeps_is_held_against_its_digest() {
    let root = Folder::new("data");
    publish_both(root.text());
    let table = root.0.join("train.csv");
    fs::write(&table, "delay\n1\n").unwrap();
    let (model, table) = (here("tests/models/affine.onnx"), table.to_str().unwrap());
    said(&["repo", "publish", root.text(), "late", "3", "--model", &model, "--data", table]);
    let shown = said(&["repo", "verify", root.text(), "late", "--data"]);
    assert_eq!(
        shown.lines().collect::<Vec<_>>(),
        [
            "late 1: as it was published; no data is kept for it",
            "late 2: as it was published; no data is kept for it",
            "late 3: as it was published; its data too"
        ]
    );
    let kept = fs::read_dir(root.0.join(".data/sha256")).unwrap().next().unwrap().unwrap().path();
    fs::write(&kept, "delay\n2\n").unwrap();
    assert!(said(&["repo", "verify", root.text()]).contains("late 3: as it was published\n"), "not unasked");
    let verify = || run(&["repo", "verify", root.text(), "late", "3", "--data"]);
    let output = verify();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stdout).starts_with("late 3: train.csv has other bytes than were published"),
        "{output:?}"
    );
    fs::remove_file(&kept).unwrap();
    assert_eq!(text(&verify().stdout), "late 3: train.csv is missing\n");
}

fn a_model_is_loaded_where_that_is_asked_for() {
    let root = Folder::new("loaded");
    publish_both(root.text());
    let load = |library: &str| {
        let mut command = program();
        command.args(["repo", "verify", root.text(), "late", "--load"]).env("ORT_DYLIB_PATH", library);
        command.output().unwrap()
    };
    if cfg!(not(feature = "onnx")) {
        let output = load("");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""));
        assert!(
            text(&output.stderr).starts_with("error: this program was built without ONNX Runtime"),
            "{output:?}"
        );
        return;
    }
    let output = load("/nowhere/libonnxruntime.so");
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("/nowhere/libonnxruntime.so does not exist"), "{complaint}");
    assert_eq!(complaint.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{complaint}");
    let library = onnxruntime_for_tests::current();
    let output = load(library.to_str().unwrap());
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(lines[0], "late 1: as it was published; it loads: x: f32[n, 3] -> y: f32[n, 1]");
    assert!(lines[1].starts_with("late 2: as it was published; it loads: features: f32["), "{lines:?}");
    // One that is what was published, and no model.
    let nothing = root.0.join("nothing.onnx");
    fs::write(&nothing, "no model").unwrap();
    fs::create_dir(root.0.join("late/3")).unwrap();
    fs::copy(&nothing, root.0.join("late/3/model.onnx")).unwrap();
    let output = load(library.to_str().unwrap());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    assert!(lines[2].starts_with("late 3: ") && lines[2].contains("model.onnx"), "{lines:?}");
}

fn tags_that_are_torn_are_put_aside() {
    let root = Folder::new("torn-tags");
    publish_both(root.text());
    let repair = |more: &[&str]| run(&[&["repo", "repair", root.text(), "late"], more].concat());
    assert_eq!(text(&repair(&[]).stdout), "the tags of late can be read: nothing was done\n");
    fs::write(root.0.join("late/.tags.json"), "{\"stable\":").unwrap();
    let output = run(&["repo", "ls", root.text()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = repair(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("say --yes"), "{output:?}");
    let answer = repair(&["--yes"]);
    assert_eq!(answer.status.code(), Some(0), "{answer:?}");
    let aside = text(&answer.stdout).trim_end().strip_prefix("the tags of late as they were: ").unwrap();
    assert_eq!(fs::read_to_string(aside).unwrap(), "{\"stable\":");
    assert_eq!(said(&["repo", "tag", root.text(), "late", "stable", "2"]), "late stable: nothing -> 2\n");
    let output = run(&["repo", "repair", root.text(), "nobody"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

/// `switchback .. | head -1`, without the chance that head is slower.
fn a_reader_who_has_seen_enough_is_no_error() {
    let root = Folder::new("quiet");
    publish_both(root.text());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program().args(["repo", "ls", root.text()]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

/// Bug: `repo verify | head` ended with 0 where versions are damaged, once there was more to print than a buffer holds. Cause: a reader who
/// had gone ended the program as what went well. Fix: it goes on to its end, which is the same for whoever reads.
fn what_was_found_is_seen_by_whoever_reads_no_further() {
    let root = Folder::new("unread");
    publish_both(root.text());
    for number in 0..200 {
        let version = format!("torn-{number}");
        fs::create_dir(root.0.join("late").join(&version)).unwrap();
        fs::write(root.0.join("late").join(version).join("manifest.json"), "{").unwrap();
    }
    let whole = run(&["repo", "verify", root.text()]);
    assert!(whole.stdout.len() > 16 << 10, "{}", whole.stdout.len());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program().args(["repo", "verify", root.text()]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), ""));
}

fn a_terminal_obeys_nothing_that_a_manifest_says() {
    let root = Folder::new("hostile");
    let model = here("tests/models/affine.onnx");
    let note = "why=\u{1b}]0;owned\u{7}\u{202e}x\ny";
    said(&["repo", "publish", root.text(), "late", "1", "--model", &model, "--note", note]);
    let shown = said(&["repo", "show", root.text(), "late", "1"]);
    assert!(shown.contains("why: \u{fffd}]0;owned\u{fffd}\u{fffd}x\u{fffd}y"), "{shown:?}");
    let json = said(&["repo", "show", root.text(), "late", "1", "--json"]);
    assert!(json.chars().all(|letter| letter == '\n' || !(letter.is_control() || letter == '\u{202e}')));
    assert_eq!(Manifest::parse(json.as_bytes()).unwrap().notes["why"], &note[4..]);
}

fn what_cannot_be_done_ends_with_1_and_what_is_not_understood_with_2() {
    let root = Folder::new("refused");
    publish_both(root.text());
    let model = here("tests/models/affine.onnx");
    let mistyped = root.0.join("late.toml");
    let config = fs::read_to_string(here("examples/late.toml")).unwrap();
    fs::write(&mistyped, config.replace("canary = \"1 %\"", "canary = 1.5")).unwrap();
    let refused: [(&[&str], &str); 7] = [
        (&["repo", "show", root.text(), "late", "9"], "late has no version or tag `9`"),
        (&["repo", "ls", root.text(), "nobody"], "no version of nobody"),
        (&["repo", "publish", root.text(), "late", "2", "--model", &model], "late has a version 2 already"),
        (&["repo", "rm", root.text(), "late", "1"], "late 1 is tagged stable: move the tags first"),
        (&["repo", "untag", root.text(), "late", "gold"], "late has no tag gold"),
        (&["state", "history", root.text()], "journal"),
        (&["plan", "check", mistyped.to_str().unwrap()], "rollout.steps[1].canary: 1.5 is no share"),
    ];
    for (arguments, sentence) in refused {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let complaint = text(&output.stderr);
        assert!(
            complaint.starts_with("error: ") && complaint.contains(sentence),
            "{arguments:?}: {complaint}"
        );
        assert_eq!((complaint.lines().count(), text(&output.stdout)), (1, ""), "{complaint}");
    }
    for arguments in [
        &["repo", "frobnicate"][..],
        &["repo", "publish", root.text(), "late", "3", "--model", &model, "--metric", "accuracy=NaN"],
        &["repo", "publish", root.text(), "late", "3", "--model", &model, "--created", "yesterday"],
        &["state", "history", root.text(), "--since", "soon"],
        &[],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(Repository::open(&root.0).unwrap().versions("late").unwrap().len(), 2, "nothing was changed");
}

/// Bug: `plan check` understood a plan with a shadow step in a file without `shadow`, which a service refuses to run. Cause: only
/// what stands in the file was read, and not what it asks of the handle. Fix: a warning with what to do; it is no error, since the
/// service's code may allow copies.
fn a_plan_whose_copies_the_file_does_not_allow_is_warned_of() {
    let root = Folder::new("unshadowed");
    let file = root.0.join("late.toml");
    let config = fs::read_to_string(here("examples/late.toml")).unwrap();
    let without: Vec<&str> = config.lines().filter(|line| !line.starts_with("shadow = ")).collect();
    fs::write(&file, without.join("\n")).unwrap();
    let checked = said(&["plan", "check", file.to_str().unwrap()]);
    let warning = checked.lines().last().unwrap();
    assert!(
        warning.starts_with("warning: step 1 copies requests, and the file has no `shadow`")
            && warning.ends_with("add `shadow = {}`, or leave the step out"),
        "{checked}"
    );
    let json = said(&["plan", "check", file.to_str().unwrap(), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1);
    let allowed = said(&["plan", "check", &here("examples/late.toml")]);
    assert!(!allowed.contains("warning"), "{allowed}");
}

/// Bug: `plan check` understood a guard of labels in a file that does not say when labels are complete, one of pairs without copies, and
/// one of drift where nothing is watched, which a service refuses. Cause and fix as of copies.
fn a_guard_that_can_judge_nothing_by_the_file_is_warned_of() {
    let root = Folder::new("judges_nothing");
    let file = root.0.join("late.json");
    let warnings = |settings: &str, guard: &str| {
        let written = serde_json::json!({ "name": "late", "rollout": { "guards": [guard] } });
        let mut written: serde_json::Map<String, serde_json::Value> =
            serde_json::from_value(written).unwrap();
        let settings: serde_json::Map<String, serde_json::Value> = serde_json::from_str(settings).unwrap();
        written.extend(settings);
        fs::write(&file, serde_json::to_vec(&written).unwrap()).unwrap();
        let checked = said(&["plan", "check", file.to_str().unwrap()]);
        let warnings: Vec<String> =
            checked.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect();
        warnings
    };
    let lacking = |settings: &str, guard: &str, lacks: &str| {
        let warnings = warnings(settings, guard);
        let [warning] = warnings.as_slice() else { panic!("{guard}: {warnings:?}") };
        assert!(warning.contains(guard) && warning.contains(lacks), "{warning}");
    };
    let quality = "accuracy at most 0.02 below live";
    lacking("{}", quality, "when labels are complete");
    lacking(r#"{"labels": {"horizon": "7d"}}"#, quality, "when labels are complete");
    lacking("{}", r#"kpi "purchase" at least 0.95 times live"#, "when labels are complete");
    lacking("{}", "promised quality within 0.03", "when labels are complete");
    lacking("{}", "divergence at most 0.1", "does not say `shadow`");
    #[cfg(feature = "drift")]
    lacking("{}", "drift from live at most 0.15", "does not say `drift`");
    let nothing: [String; 0] = [];
    for labels in [r#""at random""#, r#"{"complete_after": "1d"}"#, r#"{"silence": "1d", "means": 0}"#] {
        assert_eq!(warnings(&format!(r#"{{"labels": {labels}}}"#), quality), nothing, "{labels}");
    }
    assert_eq!(warnings(r#"{"shadow": {}}"#, "divergence at most 0.1"), nothing);
    assert_eq!(warnings("{}", "error rate at most 0.01"), nothing);
}

fn handle(folder: &Folder) -> ModelHandle<f64, f64> {
    ModelHandle::builder("late")
        .live("v1", closure("rule@1", |input: &f64| Ok(*input)))
        .shadowing(Shadowing::new())
        .inputs(Inputs::new().copied())
        .state(StateFolder::new(&folder.0))
        .build()
        .unwrap()
}

fn the_history_of_a_handle_is_read_while_it_runs() {
    let folder = Folder::new("history");
    let handle = handle(&folder);
    let rollout = handle.acting_as("ada").stage("v2", closure("rule@2", |input: &f64| Ok(*input))).unwrap();
    rollout.promote().unwrap();
    handle.acting_as("ada").freeze("quarter end");
    handle.checkpoint().unwrap();
    let lines = said(&["state", "history", folder.text()]);
    let has = |line: &str, words: &[&str]| words.iter().all(|word| line.contains(word));
    assert!(lines.lines().any(|line| has(line, &["v2 is live, v1 is retained", "by ada"])), "{lines}");
    assert!(lines.lines().any(|line| has(line, &["quarter end", "by ada"])), "{lines}");
    assert_eq!(said(&["state", "history", folder.text(), "--since", "1h"]), lines);
    assert_eq!(said(&["state", "history", folder.text(), "--since", "2100-01-01T00:00:00Z"]), "");
    let json = said(&["state", "history", folder.text(), "--json"]);
    assert_eq!(json.lines().count(), lines.lines().count());
    assert!(json.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

/// The program as it goes on, and what it prints line by line.
struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    fn begin(arguments: &[&str]) -> Self {
        let mut child =
            program().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a line that has these words.
    fn until(&mut self, words: &str) -> String {
        self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(words)).unwrap_or_else(|| {
            panic!("it ended without `{words}`: {:?}", self.child.wait());
        })
    }

    /// Ends it as Ctrl-C does, and says what it complained of. By another signal: what is begun in the background, as a test
    /// may be, has the one of Ctrl-C ignored, and so have its children.
    #[cfg(unix)]
    fn interrupted(mut self) -> String {
        use std::os::unix::process::ExitStatusExt;
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        assert_eq!(status.signal(), Some(15), "{status:?}");
        std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap()
    }

    /// Closes the pipe, and gives what it ends with once there was something more to print.
    fn unread(self) -> (Option<i32>, String) {
        let Self { mut child, lines } = self;
        drop(lines);
        let status = child.wait().unwrap();
        (status.code(), std::io::read_to_string(child.stderr.take().unwrap()).unwrap())
    }
}

fn a_history_that_is_followed_tells_what_happens_until_it_is_ended() {
    let folder = Folder::new("followed");
    let handle = handle(&folder);
    handle.checkpoint().unwrap();
    let mut following = Following::begin(&["state", "history", folder.text(), "-f"]);
    let mut json = Following::begin(&["state", "history", folder.text(), "--follow", "--json"]);
    handle.acting_as("ada").freeze("quarter end");
    assert!(following.until("quarter end").ends_with("by ada"));
    let line = json.until("quarter end");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["actor"], "ada");
    // Another file is the journal from here on.
    handle.unfreeze();
    handle.close(Duration::from_secs(30)).unwrap();
    drop(handle);
    let handle = self::handle(&folder);
    handle.freeze("a second time");
    following.until("a second time");
    #[cfg(unix)]
    assert_eq!(following.interrupted(), "");
    json.until("a second time");
    let writing = std::thread::spawn(move || json.unread());
    while !writing.is_finished() {
        handle.freeze("something more");
        handle.unfreeze();
        std::thread::yield_now();
    }
    assert_eq!(writing.join().unwrap(), (Some(0), String::new()));
}

fn a_shell_and_a_manual_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(&["completions", shell]);
        for word in ["history", "decisions", "publish", "rollback"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(run(&["completions", "sh"]).status.code(), Some(2));
    assert!(said(&["man"]).contains(".TH switchback 1"));
    let folder = Folder::new("man");
    let pages = folder.0.join("man1");
    assert_eq!(said(&["man", pages.to_str().unwrap()]), "");
    let page = fs::read_to_string(pages.join("switchback-state-history.1")).unwrap();
    assert!(page.contains("Tells what happened to the handle"), "{page}");
    fs::write(folder.0.join("file"), "").unwrap();
    let output = run(&["man", folder.0.join("file").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("could not be written to"), "{output:?}");
}

fn what_is_decided_is_shown_while_the_handle_runs() {
    let folder = Folder::new("show");
    let handle = handle(&folder);
    let stage =
        |name: &str| handle.stage(name, closure(format!("rule@{name}"), |input: &f64| Ok(*input))).unwrap();
    stage("v2").promote().unwrap();
    let rollout = stage("v3").guard(switchback::guard::error_rate().at_most(0.01));
    rollout.canary(0.05).unwrap();
    stage("v4").canary(0.1).unwrap();
    handle.freeze("quarter end");
    let shown = said(&["state", "show", folder.text()]);
    let lines: Vec<&str> = shown.lines().collect();
    let line = |begin: &str| {
        *lines.iter().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {shown}"))
    };
    assert!(
        lines[0].starts_with("late  live v2 since 20") && lines[0].contains("held by a process"),
        "{shown}"
    );
    assert_eq!(lines[1], "frozen: quarter end");
    assert!(line("v3 ").contains("canary") && line("v3 ").contains("error rate at most 0.01"), "{shown}");
    assert!(line("v3 ").contains(" 5 %") && line("v4 ").contains(" 10 %"), "{shown}");
    assert!(line("v1 ").contains("retained"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&said(&["state", "show", folder.text(), "--json"])).unwrap();
    assert_eq!((&json["live"], &json["epoch"]), (&"v2".into(), &handle.status().epoch.into()));
    handle.close(std::time::Duration::from_secs(30)).unwrap();
    assert!(said(&["state", "show", folder.text()]).contains("  free: it was closed  "));
    let shown_by = folder.0.join("held");
    fs::remove_file(&shown_by).unwrap();
    fs::create_dir(&shown_by).unwrap();
    let unknown = said(&["state", "show", folder.text()]);
    assert!(unknown.contains("  closed; whether a process has it cannot be told  "), "{unknown}");
    let json: serde_json::Value =
        serde_json::from_str(&said(&["state", "show", folder.text(), "--json"])).unwrap();
    assert!(json["held"].is_null());
}

/// Bug: `state show` listed a version that a start could not load as "retained", as if it could be gone back to. Cause: both were written down
/// alike. Fix: why it could not be had is written down with it, and shown.
fn a_version_that_cannot_be_gone_back_to_is_shown_as_such() {
    let folder = Folder::new("unavailable");
    let before = handle(&folder);
    before.stage("v2", closure("rule@2", |input: &f64| Ok(*input))).unwrap().promote().unwrap();
    before.close(std::time::Duration::from_secs(30)).unwrap();
    let after = handle(&folder);
    assert_eq!(after.live(), "v1");
    let shown = said(&["state", "show", folder.text()]);
    let line = shown.lines().find(|line| line.starts_with("v2 ")).unwrap();
    assert!(line.contains("unavailable") && !line.contains("retained"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&said(&["state", "show", folder.text(), "--json"])).unwrap();
    assert!(json["retained"][0]["unavailable"].is_string(), "{json}");
}

/// A rollout of which there is too little evidence to decide.
fn on_trial(handle: &ModelHandle<f64, f64>) -> Rollout<f64, f64> {
    let rollout = handle.stage("v4", closure("rule@4", |_: &f64| Ok(0.9))).unwrap();
    let rollout = rollout.guard(guard::error_rate().at_most(0.05));
    rollout.canary(0.5).unwrap();
    for number in 0..40 {
        let _ = handle.predict(&f64::from(number));
    }
    handle.tick();
    handle.checkpoint().unwrap();
    rollout
}

fn what_guards_say_of_a_rollout_that_runs_is_shown() {
    let folder = Folder::new("running");
    let handle = tried(&folder);
    let rollout = on_trial(&handle);
    let shown = said(&["state", "show", folder.text()]);
    let told = rollout.status().unwrap().evidence[0].clone();
    let line = shown.lines().find(|line| line.starts_with("v4 ") && line.contains("inconclusive")).unwrap();
    let strength = told.strength.unwrap();
    let no_harm = strength.non_inferiority.unwrap();
    for words in [
        "error rate at most 0.05".to_owned(),
        format!("0 of {}  ", told.samples),
        format!("{} of {}", strength.harm, strength.harm_threshold),
        format!("{no_harm} of {}", strength.non_inferiority_threshold),
    ] {
        assert!(line.contains(&words), "{words}: {line}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&said(&["state", "show", folder.text(), "--json"])).unwrap();
    let rollouts = json["rollouts"].as_array().unwrap();
    let found = rollouts.iter().find(|rollout| rollout["version"] == "v4").unwrap();
    assert_eq!(found["evidence"][0], serde_json::to_value(&told).unwrap());
    drop((rollout, handle));
    assert!(said(&["state", "show", folder.text()]).contains("  free: it ended without a word  "));
}

/// A number between 0 and 1, the same ones each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 33).unwrap()) / f64::from(1_u32 << 31)
    }
}

/// A handle on a clock of its own, whose v2 was promoted by a plan and whose v3 was taken off by a guard.
fn tried(folder: &Folder) -> ModelHandle<f64, f64> {
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_795_507_200));
    let below = |name: &str, limit: f64| {
        closure(name.to_owned(), move |x: &f64| Ok(if *x < limit { 0.9 } else { 0.1 }))
    };
    let handle: ModelHandle<f64, f64> = ModelHandle::builder("late")
        .live("v1", below("rule@1", 0.55))
        .task(Task::binary(|p: &f64| *p))
        .labels(Labels::at_random())
        .state(StateFolder::new(&folder.0))
        .clock(clock.clone())
        .seed(7)
        .threads(Threads::manual())
        .build()
        .unwrap();
    let mut chance = Chance(3);
    let mut ask = |ticks: usize| {
        for _ in 0..ticks {
            for _ in 0..50 {
                let input = chance.next();
                let answer = handle.predict(&input).unwrap();
                handle.feedback(answer.id(), Outcome::class(u16::from(input < 0.5)));
            }
            clock.advance(Duration::from_secs(1));
            handle.tick();
        }
    };
    let guards = |rollout: Rollout<f64, f64>| {
        rollout.guard(guard::error_rate().at_most(0.05)).guard(guard::accuracy().at_most_below_live(0.05))
    };
    let rollout = guards(handle.stage("v2", below("rule@2", 0.5)).unwrap());
    let steps = [Step::canary(0.1).unwrap(), Step::canary(0.5).unwrap()];
    rollout.run(Plan::new(steps).unwrap().cycle(Duration::ZERO)).unwrap();
    for _ in 0..1_000 {
        ask(1);
        if handle.live() == "v2" {
            break;
        }
    }
    assert_eq!(handle.live(), "v2");
    let rollout = guards(handle.stage("v3", below("rule@3", 0.8)).unwrap());
    rollout.canary(0.25).unwrap();
    for _ in 0..1_000 {
        ask(1);
        if rollout.phase() == Phase::Aborted {
            break;
        }
    }
    assert_eq!(rollout.phase(), Phase::Aborted);
    handle
}

fn what_guards_decided_is_listed_and_judged_again() {
    let folder = Folder::new("decided");
    let running = tried(&folder);
    let lines = said(&["state", "decisions", folder.text()]);
    let json = said(&["state", "decisions", folder.text(), "--json"]);
    let records: Vec<Decision> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((records.len(), lines.lines().count()), (running.decisions().len(), records.len() + 1));
    for (record, decision) in records.iter().zip(running.decisions()) {
        assert_eq!(record, &*decision);
    }
    let failed = lines.lines().find(|line| line.contains(" fail ")).unwrap_or_else(|| panic!("{lines}"));
    for words in
        ["v3", "canary", "accuracy at most 0.05 below live", "v3 is wrong", "points more often than v2"]
    {
        assert!(failed.contains(words), "{words}: {failed}");
    }
    let replayed = said(&["state", "replay", folder.text()]);
    let last = format!("all {} come out as they were recorded", records.len());
    assert_eq!(replayed.lines().last(), Some(&*last), "{replayed}");
    let nobody = said(&["state", "decisions", folder.text(), "nobody"]);
    assert_eq!(nobody, "no decision of nobody is recorded\n");
    for command in ["decisions", "replay"] {
        let output = run(&["state", command, "/nowhere"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).starts_with("error: there is no journal"), "{output:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program().args(["state", command, folder.text()]).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{command}");
    }
}

/// Changes the bodies of frames, which must keep their length, as another tool would that knows the format by
/// `switchback::state` alone.
fn altered(journal: &[u8], kind: u8, change: impl Fn(&str) -> String) -> Vec<u8> {
    use xxhash_rust::xxh3::xxh3_64_with_seed;
    let number = |at: usize| u64::from_le_bytes(journal[at..at + 8].try_into().unwrap());
    let (salt, mut at, mut bytes) = (number(24), 56, journal[..56].to_vec());
    while at < journal.len() {
        let length = usize::try_from(u32::from_le_bytes(journal[at..at + 4].try_into().unwrap())).unwrap();
        let mut frame = journal[at..at + 17 + length].to_vec();
        if frame[4] & 0x0f == kind {
            let body = change(text(&frame[17..]));
            assert_eq!(body.len(), length);
            frame[17..].copy_from_slice(body.as_bytes());
        }
        frame.extend(xxh3_64_with_seed(&frame, salt ^ at as u64).to_le_bytes());
        at += frame.len();
        bytes.extend(frame);
    }
    bytes
}

fn a_record_that_was_altered_is_told_by_its_number() {
    let folder = Folder::new("altered");
    drop(tried(&folder));
    let journal = folder.0.join("journal");
    let bytes = fs::read(&journal).unwrap();
    assert_eq!(altered(&bytes, 4, str::to_owned), bytes, "the format is as it is documented");
    fs::write(
        &journal,
        altered(&bytes, 4, |body| body.replace("\"verdict\":\"fail\"", "\"verdict\":\"pass\"")),
    )
    .unwrap();
    let output = run(&["state", "replay", folder.text()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    let differ = lines.iter().filter(|line| line.contains("lead to another result")).collect::<Vec<_>>();
    assert_eq!(differ.len(), 1, "{lines:?}");
    assert!(differ[0].contains("v3  accuracy at most 0.05 below live: pass, but the counts"), "{differ:?}");
    assert!(lines.last().unwrap().starts_with("1 of "), "{lines:?}");
    let output = run(&["state", "replay", folder.text(), "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let agree = json.as_array().unwrap().iter().filter(|judged| judged["agrees"] == true).count();
    assert_eq!(agree + 1, json.as_array().unwrap().len());
}

fn a_plan_is_forecast_with_traffic_as_it_is_said_or_was_seen() {
    let config = here("examples/late.toml");
    let forecast = |arguments: &[&str]| run(&[&["plan", "forecast", &config], arguments].concat());
    let plan: &[&str] = &["--rps", "40", "--wrong", "0.06"];
    let output = forecast(&[plan, &["--kpi", "purchase=0.03"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).starts_with("a candidate as good as live is promoted after about "));
    // A hundredth of a request a second decides nothing in seven days.
    let output = forecast(&["--rps", "0.01"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).starts_with("the plan cannot be decided: "), "{output:?}");
    for (arguments, sentence) in [
        (&["--rps", "40", "--kpi", "sales=0.1"][..], "no guard names the business figure sales"),
        (&["--rps", "40", "--task", "regression"], "accuracy"),
        (&["--state", "/nowhere"], "there is no journal"),
    ] {
        let output = forecast(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(sentence), "{output:?}");
    }
    for arguments in
        [&[][..], &["--rps", "many"], &["--rps=-1"], &["--rps", "0"], &["--rps", "1", "--latency", "200=1s"]]
    {
        assert_eq!(forecast(arguments).status.code(), Some(2), "{arguments:?}");
    }
    // Bug: how often a business figure is reached was taken for what it is not, such as 20 or -0.1, and not in percent. Cause: it was read as
    // any number. Fix: as the other shares are.
    for no_share in ["purchase=20", "purchase=-0.1", "purchase=1", "purchase=NaN", "purchase", "=0.1"] {
        let output = forecast(&["--rps", "40", "--kpi", no_share]);
        assert_eq!(output.status.code(), Some(2), "{no_share}: {output:?}");
    }
    let folder = Folder::new("forecast");
    // A forecast is one of the budget that the file has.
    let forecast_of = |budget: &str| {
        let file = folder.0.join("budget.toml");
        let guards = "guards = [\"error rate at most 0.01\"]\nsteps = [{ canary = \"50 %\" }]";
        fs::write(&file, format!("name = \"late\"\n{budget}\n[rollout]\n{guards}\n")).unwrap();
        said(&["plan", "forecast", file.to_str().unwrap(), "--rps", "10", "--json"])
    };
    assert_ne!(forecast_of("error_budget = { harm = 0.0001, promotion = 0.0001 }"), forecast_of(""));
    let handle = tried(&folder);
    handle.checkpoint().unwrap();
    let guards = ["error rate at most 0.01", "accuracy at most 0.02 below live"];
    let file = folder.0.join("late.toml");
    let steps = "[{ canary = \"10 %\" }, { canary = \"50 %\" }]";
    let written =
        format!("name = \"late\"\nlabels = \"at random\"\n[rollout]\nguards = {guards:?}\nsteps = {steps}\n");
    fs::write(&file, written).unwrap();
    let said = said(&["plan", "forecast", file.to_str().unwrap(), "--state", folder.text(), "--json"]);
    let rules = guards.map(|guard| guard.parse().unwrap());
    let plan = Plan::new([Step::canary(0.1).unwrap(), Step::canary(0.5).unwrap()]).unwrap();
    let own = handle.forecast(&rules, &plan, &handle.traffic().unwrap()).unwrap();
    assert_eq!(serde_json::from_str::<Forecast>(&said).unwrap(), own, "as the handle itself forecasts it");
    // Bug: of a file whose labels are complete after a week the forecast was that of the handle, whose were not. Cause: what was seen went
    // before the file. Fix: the file goes before it, and the command line before both.
    let taking = |labels: &str, told: &[&str]| {
        let text =
            format!("name = \"late\"\nlabels = {labels}\n[rollout]\nguards = {guards:?}\nsteps = {steps}\n");
        fs::write(&file, text).unwrap();
        let asked = ["plan", "forecast", file.to_str().unwrap(), "--state", folder.text(), "--json"];
        let output = run(&[&asked[..], told].concat());
        serde_json::from_slice::<Forecast>(&output.stdout).unwrap().promoted_after
    };
    let week = "{ complete_after = \"7d\" }";
    let (soon, late) = (taking("\"at random\"", &[]), taking(week, &[]));
    assert!(late > soon, "{late:?} {soon:?}");
    assert_eq!(taking(week, &["--labels", "0s"]), taking("{ complete_after = \"1h\" }", &["--labels", "0s"]));
}

/// Bug: `plan forecast --state` took what was seen of another business figure. Cause: that is in the order in which the service declares
/// them, and was read in the one in which guards name them. Fix: a folder tells the figures themselves too, and each is found by its name.
fn a_business_figure_is_forecast_by_its_own_figures() {
    let folder = Folder::new("figures");
    let clock = Clock::manual(Timestamp::from_unix_seconds(1_795_507_200));
    let kpi = |name: &str| Kpi::rate(name).unwrap();
    let handle: ModelHandle<f64, f64> = ModelHandle::builder("late")
        .live("v1", closure("rule@1", |x: &f64| Ok(*x)))
        .task(Task::binary(|p: &f64| *p).kpi(kpi("click")).kpi(kpi("purchase")))
        .labels(Labels::at_random())
        .state(StateFolder::new(&folder.0))
        .clock(clock.clone())
        .threads(Threads::manual())
        .build()
        .unwrap();
    for asked in 0..2_000_u32 {
        let id = handle.predict(&0.5).unwrap().id();
        handle.feedback(id, Outcome::kpi("click", f64::from(asked % 2)));
        handle.feedback(id, Outcome::kpi("purchase", f64::from(u8::from(asked % 20 == 0))));
        clock.advance(Duration::from_millis(100));
    }
    handle.tick();
    handle.checkpoint().unwrap();
    let file = folder.0.join("late.toml");
    let configured = |guard: &str| {
        let steps = "[{ canary = \"50 %\" }]";
        let written = format!(
            "name = \"late\"\nlabels = \"at random\"\n[rollout]\nguards = [{guard:?}]\nsteps = {steps}\n"
        );
        fs::write(&file, written).unwrap();
    };
    let guard = "kpi \"purchase\" at least 0.5 times live";
    configured(guard);
    let forecast = |more: &[&str]| {
        run(&[&["plan", "forecast", file.to_str().unwrap(), "--state", folder.text(), "--json"], more]
            .concat())
    };
    let read = |output: Output| serde_json::from_slice::<Forecast>(&output.stdout).unwrap();
    let plan = Plan::new([Step::canary(0.5).unwrap()]).unwrap();
    let traffic = handle.traffic().unwrap();
    let own = |traffic| handle.forecast(&[guard.parse().unwrap()], &plan, traffic).unwrap();
    assert_eq!(read(forecast(&[])), own(&traffic), "as the handle itself forecasts it");
    // What is said goes before what was seen, in percent too.
    let mut said = traffic.clone();
    (said.kpis[1].mean, said.kpis[1].standard_deviation) = (0.2, (0.2_f64 * 0.8).sqrt());
    assert_eq!(read(forecast(&["--kpi", "purchase=20 %"])), own(&said));
    configured("kpi \"visit\" at least 0.5 times live");
    let unknown = forecast(&[]);
    assert_eq!(unknown.status.code(), Some(1), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("say --kpi visit=SHARE"), "{unknown:?}");
}

/// Bug: a plan with `auto` was forecast as promoted after 0 seconds, and `plan check` was silent about its steps. Cause: it has none until
/// it is run. Fix: they are chosen for the forecast and told with the guards that are added, and `plan check` says when they are chosen.
fn a_plan_whose_steps_are_chosen_is_told_as_such() {
    let folder = Folder::new("auto");
    let file = folder.0.join("late.toml");
    fs::write(&file, "name = \"late\"\n[rollout]\nauto = \"7d\"\n").unwrap();
    let file = file.to_str().unwrap();
    let checked = said(&["plan", "check", file]);
    assert!(checked.contains("\nauto   its steps are chosen when it is run"), "{checked}");
    let output = run(&["plan", "forecast", file, "--rps", "40"]);
    let told = text(&output.stdout);
    assert!(told.contains("its steps are chosen when it is run, with this traffic: a canary of "), "{told}");
    assert!(told.contains("\nadded, since the file has no guard that judges: error rate at most "), "{told}");
    assert!(told.contains("\n1     a canary of ") && !told.contains("about 0.0 seconds"), "{told}");
}

fn what_was_counted_is_judged_by_other_guards() {
    let folder = Folder::new("backtest");
    let handle = tried(&folder);
    let rollout = on_trial(&handle);
    let rule = "error rate at most 0.2";
    let json = said(&["state", "backtest", folder.text(), "v4", "--guard", rule, "--json"]);
    let recording = rollout.recording().unwrap();
    let own = recording.backtest(&[rule.parse().unwrap()], ErrorBudget::default()).unwrap();
    assert_eq!(serde_json::from_str::<Backtest>(&json).unwrap(), own, "of what runs, all of it");
    // Of what is over, what its guards decided on: with more allowed it had not been taken off yet.
    let backtest = |guard: &str| said(&["state", "backtest", folder.text(), "v3", "--guard", guard]);
    let same = backtest("accuracy at most 0.05 below live");
    assert!(same.starts_with("v3 against v2: taken back after ") && same.contains(" fail "), "{same}");
    let lax = backtest("accuracy at most 0.3 below live");
    assert!(lax.starts_with("v3 against v2: nothing is decided in "), "{lax}");
    for (version, guard, sentence) in [
        ("nobody", rule, "nothing that was counted of a rollout of nobody"),
        ("v3", "latency p99 within 5ms", "this latency was not looked for"),
        ("v3", "mean absolute error at most 3 above live", "mean absolute error"),
    ] {
        let output = run(&["state", "backtest", folder.text(), version, "--guard", guard]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(sentence), "{output:?}");
    }
    let output = run(&["state", "backtest", folder.text(), "v3", "--guard", rule, "--harm", "2"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for arguments in [&["--guard", "acuracy at most 0.1"][..], &[]] {
        let output = run(&[&["state", "backtest", folder.text(), "v3"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

fn what_is_quarantined_is_released_while_nothing_runs() {
    let folder = Folder::new("release");
    let handle = tried(&folder);
    let identity = handle.status().quarantined[0].identity.to_string();
    let begin = &identity[..8];
    let release = |identity: &str, more: &[&str]| {
        run(&[&["state", "release", folder.text(), identity, "--as", "ada"], more].concat())
    };
    let refused = |output: Output, sentence: &str| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(text(&output.stderr).contains(sentence), "{output:?}");
    };
    refused(release(begin, &[]), "say --yes");
    refused(release(begin, &["--yes"]), "another process");
    handle.checkpoint().unwrap();
    let (decisions, events) = (handle.decisions().len(), handle.events().len());
    drop(handle);
    refused(release("xyz", &["--yes"]), "nothing is quarantined whose identity begins with xyz");
    let output = release(begin, &["--yes"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(0), "v3 is released: plans may try it again\n")
    );
    refused(release(begin, &["--yes"]), "nothing is quarantined");
    assert!(!said(&["state", "show", folder.text()]).contains("quarantined"));
    let history = said(&["state", "history", folder.text()]);
    assert_eq!(history.lines().count(), events + 1);
    assert!(history.lines().last().unwrap().ends_with("by ada"), "{history}");
    assert!(
        said(&["state", "replay", folder.text()])
            .ends_with(&format!("all {decisions} come out as they were recorded\n"))
    );
    let again = self::handle(&folder);
    assert_eq!((again.live().as_str(), again.status().quarantined.len()), ("v1", 0));
    assert_eq!(again.events()[0].sequence, events as u64 + 2, "the handle goes on counting");
}

fn a_journal_is_not_repaired_while_it_is_held_or_unasked() {
    let folder = Folder::new("repair");
    let handle = handle(&folder);
    handle.checkpoint().unwrap();
    let output = run(&["state", "repair", folder.text()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("say --yes"), "{output:?}");
    let output = run(&["state", "repair", folder.text(), "--yes"]);
    assert_eq!(output.status.code(), Some(1), "another process has it: {output:?}");
    drop(handle);
    let journal = folder.0.join("journal");
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&journal, bytes).unwrap();
    let answer = said(&["state", "repair", folder.text(), "--yes"]);
    assert!(answer.contains("the journal as it was: ") && answer.contains("lost: "), "{answer}");
    assert!(folder.0.join("journal.damaged-1").exists());
}

/// A service on axum, with the pages that `admin` answers below `/switchback`. It ends with this process.
#[cfg(all(feature = "admin", not(loom)))]
fn served(handle: &ModelHandle<f64, f64>, token: &str) -> String {
    use switchback::admin::{Admin, Bearer};
    use switchback::operator::Operators;

    let operators = Operators::new([handle.operator()]).unwrap();
    let admin =
        std::sync::Arc::new(Admin::new(operators).under("/switchback").changes(Bearer::new(token).unwrap()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/switchback/", listener.local_addr().unwrap());
    let answer = move |request: axum::extract::Request| async move {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 16).await.unwrap();
        admin.respond(axum::http::Request::from_parts(parts, body)).map(axum::body::Body::from)
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap();
        });
    });
    url
}

#[cfg(all(feature = "admin", not(loom)))]
fn a_service_is_operated_from_the_command_line() {
    const TOKEN: &str = "correct horse battery staple";
    let folder = Folder::new("operated");
    let handle = handle(&folder);
    let url = &*served(&handle, TOKEN);
    let with = |token: &str, arguments: &[&str]| {
        program().env("SWITCHBACK_TOKEN", token).env("USER", "ada").args(arguments).output().unwrap()
    };
    let done = |arguments: &[&str]| {
        let output = with(TOKEN, arguments);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
        text(&output.stdout).to_owned()
    };
    let refused = |output: Output, sentence: &str| {
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let complaint = text(&output.stderr).to_owned();
        assert!(complaint.contains(sentence) && !complaint.contains(TOKEN), "{complaint}");
    };
    let stage =
        |name: &str| handle.stage(name, closure(format!("rule@{name}"), |input: &f64| Ok(*input))).unwrap();
    let mut watching = Following::begin(&["get", url, "-w", "--every", "100ms"]);
    watching.until(" v1 ");
    let mut json = Following::begin(&["get", url, "late", "--watch", "--every", "100ms", "--json"]);
    drop(stage("v2"));
    assert!(watching.until("v2 is staged").starts_with("late  20"));
    done(&["canary", url, "late", "v2", "0.05"]);
    let shown = said(&["get", url, "late"]);
    let cells = |line: &str| {
        shown
            .lines()
            .find(|row| row.contains(line))
            .map(|row| row.split_whitespace().collect::<Vec<_>>())
            .unwrap()
    };
    assert_eq!(cells(" v1 ")[2..], ["v1", "live", "-", "0", "0"], "{shown}");
    assert_eq!(cells(" v2 ")[2..], ["v2", "canary", "5", "%", "0", "0"], "{shown}");
    assert_eq!(said(&["get", url]), shown, "there is one model");
    let epoch = handle.status().epoch;
    let stale = (epoch - 1).to_string();
    refused(with(TOKEN, &["promote", url, "late", "v2", "--if-epoch", &stale]), "412");
    done(&["pause", url, "late", "v2", "--reason", "lunch"]);
    done(&["resume", url, "late", "v2"]);
    done(&["promote", url, "late", "v2", "--if-epoch", &handle.status().epoch.to_string()]);
    assert_eq!(handle.status().live, "v2");
    // The end of the line of a file that the token comes from is no part of it, and names are of any language.
    let frozen =
        with(&format!("{TOKEN}\n"), &["freeze", url, "late", "--reason", "quarter end", "--as", "Jürgen"]);
    assert_eq!(frozen.status.code(), Some(0), "{frozen:?}");
    assert_eq!(handle.events().last().unwrap().actor.as_deref(), Some("Jürgen (by token)"));
    assert!(said(&["get", url]).contains("late is frozen: quarter end"));
    done(&["unfreeze", url, "late"]);
    done(&["rollback", url, "late", "--reason", "complaints"]);
    assert_eq!(handle.status().live, "v1");
    drop(stage("v3"));
    done(&["shadow", url, "late", "v3", "0.1"]);
    assert!(said(&["get", url]).contains("copies of 10 %"));
    refused(with(TOKEN, &["abort", url, "late", "nobody", "--reason", "x"]), "404");
    done(&["abort", url, "late", "v3", "--reason", "enough", "--as", "grace"]);
    drop(stage("v4"));
    done(&["canary", url, "late", "v4", "0.1"]);
    let outcome = done(&["abort-candidates", url, "late", "--reason", "too many"]);
    assert!(outcome.contains(r#"{"aborted":["v4"]}"#), "{outcome}");
    assert_eq!(handle.status().live, "v1");
    for version in ["v5", "v6"] {
        stage(version).promote().unwrap();
    }
    done(&["revert-live", url, "late", "--reason", "v6 is slow"]);
    assert_eq!(handle.status().live, "v5");
    done(&["rollback-to", url, "late", "v1", "--reason", "the year's end"]);
    assert_eq!(handle.status().live, "v1");
    refused(with(TOKEN, &["rollback-to", url, "late", "v9", "--reason", "x"]), "not retained");
    let failing = closure("rule@v7", |_: &f64| Err(switchback::model::ModelError::engine("no weights")));
    let rollout = handle.stage("v7", failing).unwrap().guard(guard::error_rate().at_most(0.05));
    rollout.run(Plan::new([Step::canary(0.5).unwrap()]).unwrap()).unwrap();
    while handle.status().quarantined.is_empty() {
        let _ = handle.predict(&0.5);
        handle.tick();
    }
    let identity = handle.status().quarantined[0].identity;
    let shown = said(&["get", url]);
    assert!(shown.contains(&format!("late has quarantined: {identity} (v7): it failed")), "{shown}");
    refused(with(TOKEN, &["release", url, "late", &identity.to_string()[..8]]), "64 digits");
    done(&["release", url, "late", &identity.to_string()[..12]]);
    assert!(handle.status().quarantined.is_empty());
    done(&["drain", url, "late", "--reason", "deploy"]);
    assert_eq!(handle.readiness().because, ["late takes no new callers: deploy"]);
    assert!(said(&["get", url]).contains("late takes no new callers: deploy"));
    let by: Vec<_> = handle.events().iter().filter_map(|event| event.actor.clone()).collect();
    let is = |name: &str| by.iter().any(|actor| **actor == *format!("{name} (by token)"));
    assert!(is("ada") && is("grace"), "{by:?}");
    assert!(watching.until("lunch").ends_with("by ada (by token)"));
    watching.until("enough");
    #[cfg(unix)]
    assert_eq!(watching.interrupted(), "");
    let event: serde_json::Value = serde_json::from_str(&json.until("lunch")).unwrap();
    assert_eq!((&event["model"], &event["actor"]), (&"late".into(), &"ada (by token)".into()));
    drop(json.child.kill());
    let page = said(&["report", url, "late", "v3"]);
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("enough") && !page.contains('\u{fffd}'));
    assert!(said(&["report", url, "late", "v3", "--markdown"]).starts_with("# Rollout 2 of late: v3"));
    let json: serde_json::Value =
        serde_json::from_str(&said(&["report", url, "late", "v3", "--json"])).unwrap();
    assert_eq!(json["title"], "Rollout 2 of late: v3");
    refused(run(&["report", url, "late", "nobody"]), "404");
    refused(run(&["get", url, "nobody", "-w"]), "there is no such model");
    assert_eq!(run(&["get", url, "-w", "--every", "1ms"]).status.code(), Some(2), "too often");
    // Whoever may not, whatever is not there, and who has no token.
    refused(with("wrong", &["rollback", url, "late", "--reason", "x"]), "401");
    refused(with(TOKEN, &["get", url, "nobody"]), "there is no such model");
    refused(run(&["rollback", url, "late", "--reason", "x"]), "SWITCHBACK_TOKEN");
    refused(with(TOKEN, &["get", "http://127.0.0.1:1/"]), "cannot be asked");
    refused(with(TOKEN, &["get", "https://127.0.0.1:1/"]), "has no TLS");
    assert_eq!(with(TOKEN, &["rollback", url, "late"]).status.code(), Some(2), "a reason is needed");
    let bare = with(TOKEN, &["canary", url, "late", "v2", "1"]);
    assert_eq!(bare.status.code(), Some(2), "1 % or all of it");
    assert!(text(&bare.stderr).contains(r#"write "1 %" or "100 %""#), "{bare:?}");
}

/// Bug: a rollback that took longer than 30 s, as where a version is loaded first, was said to have failed ("cannot be asked: timeout") while
/// the service was doing it; said again it went one version further. Cause: one limit for all that is asked, and one sentence for
/// whatever goes wrong. Fix: changes are waited for longer, and where nobody says what came of one, that is what is told.
#[cfg(feature = "admin")]
fn what_nobody_answered_for_is_told_as_not_known() {
    use std::io::{Read, Write};

    // A service that takes a request, and says nothing, or closes, or has somebody between that gives up.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers: [&[u8]; 4] = [
        b"",
        b"",
        b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 4\r\n\r\nlate",
        b"HTTP/1.1 200 OK\r\nconte",
    ];
    let served = std::thread::spawn(move || {
        for (number, answer) in answers.iter().enumerate() {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !text(&asked).ends_with(r#"{"reason":"complaints"}"#) {
                let mut more = [0; 4_096];
                let read = stream.read(&mut more).unwrap();
                asked.extend_from_slice(&more[..read]);
            }
            stream.write_all(answer).unwrap();
            if number == 0 {
                // Until whoever asks has given up.
                assert_eq!(stream.read(&mut [0]).unwrap(), 0);
            }
        }
    });
    let back = ["rollback", &*url, "late", "--reason", "complaints"];
    for more in [&["--timeout", "500ms"][..], &[], &[], &[]] {
        let output = program().env("SWITCHBACK_TOKEN", "t").args(back).args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let complaint = text(&output.stderr);
        assert!(
            complaint.contains("not known whether") && complaint.contains("switchback get"),
            "{complaint}"
        );
    }
    served.join().unwrap();
    // It has seen nothing of what nobody listens to.
    let output = program().env("SWITCHBACK_TOKEN", "t").args(back).output().unwrap();
    assert!(text(&output.stderr).contains("cannot be asked"), "{output:?}");
}

/// Bug: a rollback that had found nothing to go back to printed "done" and ended with 0. Cause: any answer was taken for success. Fix: it is
/// said, and ends with 1.
#[cfg(all(feature = "admin", not(loom)))]
fn a_way_back_that_leads_nowhere_ends_with_1() {
    const TOKEN: &str = "correct horse battery staple";
    let folder = Folder::new("nowhere");
    let handle = handle(&folder);
    let url = &*served(&handle, TOKEN);
    for (verb, ends) in [("rollback", 1), ("revert-live", 1), ("abort-candidates", 0)] {
        for json in [false, true] {
            let asked = [verb, url, "late", "--reason", "complaints"];
            let json_too = json.then_some("--json");
            let output =
                program().env("SWITCHBACK_TOKEN", TOKEN).args(asked).args(json_too).output().unwrap();
            assert_eq!(output.status.code(), Some(ends), "{output:?}");
            let said = text(&output.stdout);
            assert!(!said.contains("done") && said.contains("nothing"), "{said}");
            assert!(json || said.trim_end().ends_with("; live stays v1"), "{said}");
        }
    }
}

#[cfg(all(feature = "admin", not(loom)))]
fn what_guards_say_in_a_service_is_shown() {
    let folder = Folder::new("judged");
    let handle = tried(&folder);
    let rollout = on_trial(&handle);
    let shown = said(&["get", &served(&handle, "a token of many letters"), "late"]);
    let told = rollout.status().unwrap().evidence[0].clone();
    // The rollouts that are over had guards too: what those said is in their reports.
    let lines: Vec<&str> = shown.lines().filter(|line| line.contains("error rate at most 0.05")).collect();
    let [line] = lines[..] else { panic!("{shown}") };
    let strength = told.strength.unwrap();
    for words in [
        "late   v4       error rate at most 0.05  inconclusive".to_owned(),
        format!("0 of {}  ", told.samples),
        format!("{} of {}", strength.harm, strength.harm_threshold),
        format!("{} of {}", strength.non_inferiority.unwrap(), strength.non_inferiority_threshold),
    ] {
        assert!(line.contains(&words), "{words}: {shown}");
    }
}

/// A terminal of the system's: our end of it, and the one that a program prints to.
#[cfg(all(unix, feature = "admin", not(loom)))]
#[allow(unsafe_code, reason = "a terminal is a call of the system's")]
fn terminal() -> (fs::File, Stdio) {
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::ptr::null_mut;

    let (mut ours, mut theirs) = (0, 0);
    // SAFETY: it writes two descriptors into what it is given, and asks for nothing more.
    assert_eq!(unsafe { libc::openpty(&mut ours, &mut theirs, null_mut(), null_mut(), null_mut()) }, 0);
    // SAFETY: both are open, and nobody else has them.
    unsafe { (fs::File::from_raw_fd(ours), Stdio::from(OwnedFd::from_raw_fd(theirs))) }
}

#[cfg(all(unix, feature = "admin", not(loom)))]
fn what_is_watched_on_a_terminal_is_shown_anew_in_its_place() {
    use std::io::Read;

    let folder = Folder::new("painted");
    let handle = handle(&folder);
    let url = served(&handle, "a token of many letters");
    let (mut ours, theirs) = terminal();
    let mut child = program().args(["get", &url, "-w", "--every", "100ms"]).stdout(theirs).spawn().unwrap();
    let mut screen = String::new();
    let mut until = |words: &str| {
        let mut more = [0; 4_096];
        while !screen.contains(words) {
            let read = ours.read(&mut more).unwrap();
            screen += text(&more[..read]);
        }
        screen.clone()
    };
    assert!(until("REQUESTS").starts_with("\u{1b}[2J\u{1b}[HMODEL "), "it begins with nothing");
    handle.freeze("quarter end");
    until("late is frozen: quarter end");
    let shown = until("the handle was frozen (quarter end)");
    child.kill().unwrap();
    child.wait().unwrap();
    let frames: Vec<&str> = shown.split("\u{1b}[H").skip(1).collect();
    assert!(frames.len() >= 2, "{shown:?}");
    for frame in &frames[..frames.len() - 1] {
        assert!(frame.starts_with("MODEL ") && frame.ends_with("\r\n\u{1b}[J"), "{frame:?}");
        assert!(frame.lines().all(|line| line.ends_with("\u{1b}[K") || line == "\u{1b}[J"), "{frame:?}");
    }
}
