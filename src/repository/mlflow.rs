//! The metadata that MLflow gives of a model, in the file `MLmodel` beside it.
//!
//! The file is YAML as MLflow writes it: blocks by indentation, one value a line, long texts in quotes over several. As much is
//! read, and whatever else stands there is passed over: nothing that decides what is loaded depends on it, and a parser of all
//! of YAML would be the largest crate of this one. The format:
//! <https://mlflow.org/docs/latest/ml/model/#mlmodel-file>.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::error::RepositoryError;
use super::manifest::{Lineage, Manifest, Moment};
use crate::base::clock::Timestamp;
use crate::base::disk::open_to_read;
use crate::base::text::bounded_text;

/// The file, beside the model.
const FILE: &str = "MLmodel";

/// The most bytes of a file that MLflow writes, which has some kilobytes.
const FILE_MAX: u64 = 1 << 20;

/// More bytes than the names that lead to anything that is asked for.
const PATH_MAX: usize = 64;

/// The contents of the file `MLmodel` of a model that MLflow has logged. Parameters and metrics of its run are not in that file but in
/// MLflow's own store: they are given by hand, metrics as [`Manifest::metrics`](super::Manifest::metrics) or
/// `switchback repo publish --metric`, parameters as [`Manifest::notes`](super::Manifest::notes) or `--note`.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct MlflowModel {
    /// The run that logged it.
    pub run: Option<String>,
    /// The model, by MLflow's name for it: `model_id`, or `model_uuid` of releases before 3.
    pub model: Option<String>,
    /// When it was logged.
    pub created: Option<Moment>,
    /// The release of MLflow that logged it.
    pub mlflow: Option<String>,
    /// The file of its flavour `onnx`, below the folder.
    pub file: Option<String>,
    /// The inputs, as MLflow wrote them: JSON.
    pub inputs: Option<String>,
    /// The outputs, likewise.
    pub outputs: Option<String>,
}

impl MlflowModel {
    /// Reads what stands beside a model; `None` where there is no such file.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read, or is far larger than MLflow's.
    pub fn read(folder: impl AsRef<Path>) -> Result<Option<Self>, RepositoryError> {
        let path = folder.as_ref().join(FILE);
        let failed = |error| RepositoryError::disk("reading", &path)(error);
        let file = match open_to_read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed)?,
        };
        let mut text = Vec::new();
        file.take(FILE_MAX + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_MAX {
            return Err(failed(std::io::Error::other("it has more than 1 MiB")));
        }
        Ok(Some(Self::parse(&String::from_utf8_lossy(&text))))
    }

    fn parse(text: &str) -> Self {
        let mut values = values(text);
        let mut take = |path: &str| values.remove(path).map(bounded_text);
        let created = take("utc_time_created");
        Self {
            run: take("run_id"),
            model: take("model_id").or_else(|| take("model_uuid")),
            // `2026-11-20 10:12:13.123456`, in UTC.
            created: created.and_then(|text| format!("{}Z", text.replacen(' ', "T", 1)).parse().ok()),
            mlflow: take("mlflow_version"),
            file: take("flavors.onnx.data"),
            inputs: take("signature.inputs"),
            outputs: take("signature.outputs"),
        }
    }

    /// A manifest that says as much: lineage and notes, without files, which [`publish`](super::Repository::publish) lists. A model
    /// whose moment is not known was made at `otherwise`.
    pub fn manifest(&self, name: &str, version: &str, otherwise: Timestamp) -> Manifest {
        let Self { run, model, created, mlflow, file, inputs, outputs } = self;
        let mut manifest = Manifest::new(name, version, created.map_or(otherwise, |moment| moment.0));
        let framework = mlflow.as_ref().map(|release| format!("mlflow {release}"));
        manifest.lineage = Lineage { framework, ..Lineage::default() };
        let said = [
            ("mlflow run", run),
            ("mlflow model", model),
            ("mlflow inputs", inputs),
            ("mlflow outputs", outputs),
        ];
        for (key, value) in said {
            manifest.notes.extend(value.clone().map(|value| (key.to_owned(), value)));
        }
        if let Some(file) = file {
            manifest.model.clone_from(file);
        }
        manifest
    }
}

/// The texts and numbers of blocks, by the names that lead to them with dots in between.
fn values(text: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    // The names that are open, each with how far it is indented.
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start_matches(' ').len();
        let line = line.trim();
        // Items of lists have no names of their own.
        let Some((name, value)) = line.split_once(':').filter(|_| !line.starts_with(['-', '#'])) else {
            continue;
        };
        open.retain(|(outer, _)| *outer < indent);
        let names = || open.iter().map(|(_, name)| name.as_str()).chain([name]);
        // A long name is not written out again for each line below it.
        let is_asked_for = names().map(|name| name.len() + 1).sum::<usize>() <= PATH_MAX;
        let path = if is_asked_for { names().collect::<Vec<_>>().join(".") } else { String::new() };
        let value = value.trim();
        match value.chars().next() {
            None => open.push((indent, name.to_owned())),
            Some(quote @ ('\'' | '"')) => {
                let more = lines.by_ref();
                values.extend(quoted(quote, value, more).map(|value| (path, value)));
            }
            // Lists and maps in one line, references, blocks of text: nothing of it is asked for.
            Some('[' | '{' | '&' | '*' | '|' | '>' | '!') => {}
            Some(_) if value == "null" || value == "~" => {}
            Some(_) => _ = values.insert(path, value.to_owned()),
        }
    }
    values
}

/// A text in quotes, which goes on until they are closed; a line break in it is a blank, however many empty lines come with it.
/// `None` where they never are. Each line is read once: whoever wrote the file may have left a quote open above all of it.
fn quoted<'t>(quote: char, first: &str, more: impl Iterator<Item = &'t str>) -> Option<String> {
    let mut whole = String::new();
    if closed(quote, first.get(1..)?, &mut whole) {
        return Some(whole);
    }
    for line in more.map(str::trim).filter(|line| !line.is_empty()) {
        whole.push(' ');
        if closed(quote, line, &mut whole) {
            return Some(whole);
        }
    }
    None
}

/// Adds a line up to the quote that closes the text, without what keeps quotes in it from doing so; whether there is one.
fn closed(quote: char, line: &str, whole: &mut String) -> bool {
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            // In single quotes a quote stands twice, in double quotes behind a backslash.
            '\'' if quote == '\'' && letters.peek() == Some(&'\'') => {
                letters.next();
                whole.push('\'');
            }
            // At the end of a line it is before the blank, which stays.
            '\\' if quote == '"' => whole.extend(letters.next().map(|letter| match letter {
                'n' => '\n',
                't' => '\t',
                other => other,
            })),
            letter if letter == quote => return true,
            letter => whole.push(letter),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Clock;
    use proptest::prelude::*;

    /// As `mlflow.onnx.log_model` of MLflow 3 writes it.
    const WRITTEN: &str = r#"artifact_path: mlflow-artifacts:/0/models/m-7d1c/artifacts
flavors:
  onnx:
    code: null
    data: model.onnx
    onnx_version: 1.19.1
    providers:
    - CUDAExecutionProvider
    - CPUExecutionProvider
    save_as_external_data: true
  python_function:
    data: other.onnx
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.onnx
mlflow_version: 3.17.0
model_id: m-7d1c2f
model_uuid: m-7d1c2f
prompts: null
run_id: 4f0c9d
signature:
  inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 8]},
    "name": "it''s x"}]'
  outputs: "[{\"type\": \"tensor\"}]"
  params: null
utc_time_created: '2026-11-20 10:12:13.123456'
"#;

    #[test]
    fn what_mlflow_writes_is_read() {
        let model = MlflowModel::parse(WRITTEN);
        assert_eq!((model.run.as_deref(), model.model.as_deref()), (Some("4f0c9d"), Some("m-7d1c2f")));
        assert_eq!((model.mlflow.as_deref(), model.file.as_deref()), (Some("3.17.0"), Some("model.onnx")));
        assert_eq!(model.created.unwrap().to_string(), "2026-11-20T10:12:13.123456000Z");
        let inputs = model.inputs.as_deref().unwrap();
        let inputs: serde_json::Value = serde_json::from_str(inputs).unwrap();
        assert_eq!(inputs[0]["name"], "it's x");
        assert_eq!(inputs[0]["tensor-spec"]["shape"][1], 8);
        assert_eq!(model.outputs.as_deref(), Some("[{\"type\": \"tensor\"}]"));

        let manifest = model.manifest("late", "2", Timestamp::default());
        assert_eq!(manifest.created.to_string(), "2026-11-20T10:12:13.123456000Z");
        assert_eq!(manifest.lineage.framework.as_deref(), Some("mlflow 3.17.0"));
        assert_eq!(manifest.notes["mlflow run"], "4f0c9d");
    }

    #[test]
    fn what_is_not_there_is_not_known() {
        for text in [
            "",
            "run_id: null",
            "run_id: [a]",
            "- run_id: 7",
            "run_id: 'never closed\n  at all",
            "# run_id: 7",
        ] {
            assert_eq!(MlflowModel::parse(text), MlflowModel::default(), "{text}");
        }
        assert_eq!(MlflowModel::parse("utc_time_created: soon").created, None);
    }

    /// As a line was added to all that came before it, and all of that read again.
    fn quoted_line_by_line<'t>(
        quote: char,
        first: &str,
        mut more: impl Iterator<Item = &'t str>,
    ) -> Option<String> {
        let mut text = first.get(1..)?.to_owned();
        loop {
            let mut whole = String::new();
            if closed(quote, &text, &mut whole) {
                return Some(whole);
            }
            text = format!("{} {}", text.trim_end(), more.next()?.trim());
        }
    }

    /// Bug: a file of 1 MiB, most of it short lines below a quote that is never closed, kept whoever read it busy for minutes, and
    /// one with lines below a name of half its size took all memory. Cause: each line was added to a copy of all before it, which was
    /// read again from its beginning, and each value was kept by all the names above it. Fix: a line is read once, and a path
    /// that is longer than any that is asked for is not made.
    #[test]
    fn a_file_of_lines_is_read_in_the_time_of_its_bytes() {
        let (clock, half) = (Clock::system(), FILE_MAX as usize / 2);
        let began = clock.now();
        for text in [
            format!("run_id: '{}", "a\n".repeat(half)),
            format!("run_id: \"\\{}", "\\\n\n".repeat(half / 2)),
            format!("{}:\n{}", "a".repeat(half), " b: c\n".repeat(half / 6)),
            format!("{}:\n{}", "a".repeat(half), " b: 'c\n'\n".repeat(half / 9)),
        ] {
            assert_eq!(MlflowModel::parse(&text), MlflowModel::default());
        }
        let took = clock.now().since(began);
        assert!(took.as_secs() < 20, "{took:?}");
        let late = format!("{}:\n b: 'c\n\n  d'\nrun_id: 'it''s\n\n  7'\n", "a".repeat(99));
        assert_eq!(MlflowModel::parse(&late).run.as_deref(), Some("it's 7"));
    }

    proptest! {
        #[test]
        fn a_text_over_lines_is_what_it_was(first in "['\"][ ab'\"\\\\nt]{0,6}", lines in prop::collection::vec("[ a'\"\\\\nt]{0,6}", 0..5)) {
            let (quote, first) = (first.chars().next().unwrap(), first.trim());
            let mut more = lines.iter().map(String::as_str);
            let mut before = lines.iter().map(String::as_str);
            prop_assert_eq!(quoted(quote, first, &mut more), quoted_line_by_line(quote, first, &mut before));
            prop_assert_eq!(more.count(), before.count());
        }

        #[test]
        fn nothing_panics(text in any::<String>(), lines in prop::collection::vec("[ ]{0,4}[a-z_]{0,6}:? ?['\"\\\\{-]?.{0,8}", 0..20)) {
            let _ = (MlflowModel::parse(&text), MlflowModel::parse(&lines.join("\n")));
        }
    }
}
