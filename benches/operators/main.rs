//! How many of the operator cases of the ONNX project are answered as ONNX Runtime answers them.
//!
//! `cargo bench --bench operators`, with the Python packages `onnx` and `onnxruntime` where `python3` finds them, or `PYTHON` does;
//! where they are not there it says so and ends well. Each case is a model of one operator with inputs and right outputs. *runs* is
//! by `OnnxModel`, *serves* as live of a handle, *wrong* is an answer that is not right where that of ONNX Runtime is not known to be wrong too. What is
//! left of what ONNX Runtime loads is listed by its reason.

#![expect(clippy::disallowed_methods, reason = "a bench measures real time")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on is to stop")]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use switchback::model::onnx::half::{bf16, f16};
use switchback::model::onnx::ndarray::ArrayD;
use switchback::model::onnx::{Element, ElementType, OnnxModel, Packed, Tensor, Tensors, Value};
use switchback::options::Threads;
use switchback::{Model, ModelHandle};

use support::large::folder;
use support::onnx::environment;
use support::{Outcome, Report};

/// A case, as `cases.py` writes it.
#[derive(Deserialize)]
struct Case {
    name: String,
    rtol: f64,
    atol: f64,
    inputs: Vec<(String, Option<Written>)>,
    outputs: Vec<(String, Option<Written>)>,
    runtime: Option<ByRuntime>,
}

#[derive(Deserialize)]
struct ByRuntime {
    loads: bool,
    runs: bool,
    right: Option<bool>,
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "type")]
    element: Option<String>,
    #[serde(default)]
    shape: Vec<usize>,
    hex: Option<String>,
    texts: Option<Vec<String>>,
    sequence: Option<Vec<Option<Written>>>,
}

fn main() -> Outcome {
    let folder = folder()?.join("operators");
    std::fs::create_dir_all(&folder)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/operators/cases.py");
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    match Command::new(&python).arg(script).arg(&folder).status() {
        Ok(ended) if ended.success() => {}
        Ok(ended) if ended.code() == Some(3) => {
            println!(
                "operators: {python} has no package onnx: `pip install onnx onnxruntime`, or set PYTHON"
            );
            return Ok(());
        }
        Ok(ended) => return Err(format!("{python} benches/operators/cases.py failed: {ended}").into()),
        Err(error) => {
            println!("operators: there is no {python} ({error}): install it, or set PYTHON");
            return Ok(());
        }
    }
    let _environment = environment()?;
    let lines = std::fs::read_to_string(folder.join("cases.jsonl"))?;
    let cases: Vec<Case> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let mut report = Report::with_tables_of_its_own("operators");
    let (mut we_run, mut we_serve, mut wrong) = (0, 0, Vec::new());
    let mut left: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for case in &cases {
        let file = folder.join(format!("{}.onnx", case.name));
        let by_runtime = case.runtime.as_ref();
        match asked(&file, case) {
            Ok(answer) => {
                we_run += 1;
                let is_right_there = by_runtime.is_none_or(|runtime| runtime.right != Some(false));
                if is_right_there && !is_right(&answer, case) {
                    wrong.push(case.name.as_str());
                }
                match served(&file, case) {
                    Ok(()) => we_serve += 1,
                    Err(reason) => left.entry(format!("not served: {reason}")).or_default().push(&case.name),
                }
            }
            Err(reason) if by_runtime.is_none_or(|runtime| runtime.loads) => {
                left.entry(reason).or_default().push(&case.name);
            }
            Err(_) => {}
        }
    }
    let count = |of: fn(&ByRuntime) -> bool| {
        cases.iter().filter_map(|case| case.runtime.as_ref()).filter(|r| of(r)).count()
    };
    let is_known = cases.iter().any(|case| case.runtime.is_some());
    report.figure("cases", cases.len() as f64);
    if is_known {
        report.figure("runtime_loads", count(|runtime| runtime.loads) as f64);
        report.figure("runtime_runs", count(|runtime| runtime.runs) as f64);
    } else {
        println!("operators: there is no package onnxruntime: nothing is held against it");
    }
    report.figure("we_run", f64::from(we_run));
    report.figure("we_serve", f64::from(we_serve));
    report.figure("wrong", wrong.len() as f64);
    report.details("wrong_cases", json!(wrong));
    report.details("left", json!(left));
    println!("{} cases: {we_run} run, {we_serve} served, {} wrong {wrong:?}", cases.len(), wrong.len());
    for (reason, names) in &left {
        println!(
            "{:>5}  {reason}: {}",
            names.len(),
            names.iter().take(3).copied().collect::<Vec<_>>().join(", ")
        );
    }
    report.finish()
}

/// The answer of the model alone; or in a few words why there is none.
fn asked(file: &Path, case: &Case) -> Result<Tensors, String> {
    let inputs = inputs(case)?;
    let model = OnnxModel::from_file(file).map_err(|error| kind_of(&error, case))?.pool_size(1);
    model.load().map_err(|error| kind_of(&error, case))?;
    model.predict(&inputs).map_err(|error| kind_of(&error, case))
}

/// As live of a handle, which takes it without having seen an input.
fn served(file: &Path, case: &Case) -> Result<(), String> {
    let inputs = inputs(case)?;
    let model = OnnxModel::from_file(file).map_err(|error| kind_of(&error, case))?.pool_size(1);
    let handle =
        ModelHandle::<Tensors, Tensors>::builder("operators").threads(Threads::none()).live("v1", model);
    let handle = handle.build().map_err(|error| kind_of(&error, case))?;
    handle.predict(&inputs).map(drop).map_err(|error| kind_of(&error, case))?;
    handle.close(Duration::from_secs(1)).map_err(|error| kind_of(&error, case))?;
    Ok(())
}

/// An error without what is the case's alone, so that errors of one kind are told together.
fn kind_of(error: &dyn std::error::Error, case: &Case) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    let text = text.replace(&case.name, "CASE");
    let from = text.find("CASE.onnx").map_or(0, |at| at + "CASE.onnx".len());
    text.get(from..).unwrap_or(&text).chars().take(110).collect::<String>().trim().to_owned()
}

fn inputs(case: &Case) -> Result<Tensors, String> {
    case.inputs.iter().try_fold(Tensors::new(), |inputs, (name, written)| {
        let value = written.as_ref().ok_or_else(|| "an input is optional, sparse, or left out".to_owned())?;
        inputs.with(name.as_str(), value_of(value)?).map_err(|error| error.to_string())
    })
}

fn value_of(written: &Written) -> Result<Value, String> {
    if let Some(items) = &written.sequence {
        let items =
            items.iter().map(|item| value_of(item.as_ref().ok_or("an item of a sequence is left out")?));
        return Ok(Value::Sequence(items.collect::<Result<_, _>>()?));
    }
    let shape = &written.shape;
    if let Some(texts) = &written.texts {
        return ArrayD::from_shape_vec(&shape[..], texts.clone())
            .map(Value::from)
            .map_err(|error| error.to_string());
    }
    let bytes = bytes_of(written.hex.as_deref().unwrap_or_default());
    let element = written.element.as_deref().unwrap_or_default();
    let packed = |element| {
        Packed::new(element, shape.clone(), bytes.clone()).map(Value::from).map_err(|error| error.to_string())
    };
    match element {
        "f16" => array(shape, &bytes, f16::from_le_bytes),
        "bf16" => array(shape, &bytes, bf16::from_le_bytes),
        "f32" => array(shape, &bytes, f32::from_le_bytes),
        "f64" => array(shape, &bytes, f64::from_le_bytes),
        "i8" => array(shape, &bytes, i8::from_le_bytes),
        "i16" => array(shape, &bytes, i16::from_le_bytes),
        "i32" => array(shape, &bytes, i32::from_le_bytes),
        "i64" => array(shape, &bytes, i64::from_le_bytes),
        "u8" => array(shape, &bytes, u8::from_le_bytes),
        "u16" => array(shape, &bytes, u16::from_le_bytes),
        "u32" => array(shape, &bytes, u32::from_le_bytes),
        "u64" => array(shape, &bytes, u64::from_le_bytes),
        "bool" => array(shape, &bytes, |[byte]: [u8; 1]| byte != 0),
        "f8e4m3fn" => packed(ElementType::F8E4M3Fn),
        "f8e4m3fnuz" => packed(ElementType::F8E4M3FnUz),
        "f8e5m2" => packed(ElementType::F8E5M2),
        "f8e5m2fnuz" => packed(ElementType::F8E5M2FnUz),
        "f8e8m0" => packed(ElementType::F8E8M0),
        "f4e2m1" => packed(ElementType::F4E2M1),
        "i4" => packed(ElementType::I4),
        "u4" => packed(ElementType::U4),
        "i2" => packed(ElementType::I2),
        "u2" => packed(ElementType::U2),
        other => Err(format!("elements of type {other} are not known here")),
    }
}

fn array<T: Element, const N: usize>(
    shape: &[usize],
    bytes: &[u8],
    of: impl Fn([u8; N]) -> T,
) -> Result<Value, String> {
    let elements = bytes.chunks_exact(N).map(|chunk| of(chunk.try_into().unwrap())).collect();
    ArrayD::from_shape_vec(shape, elements).map(Value::from).map_err(|error| error.to_string())
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    hex.as_bytes().chunks_exact(2).map(digits).collect()
}

/// Whether the answer is what the case says, as far as it is known here.
fn is_right(answer: &Tensors, case: &Case) -> bool {
    case.outputs.iter().all(|(name, written)| match (written.as_ref().map(value_of), answer.value(name)) {
        (Some(Ok(expected)), Some(found)) => is_close(&expected, found, case),
        _ => true,
    })
}

fn is_close(expected: &Value, found: &Value, case: &Case) -> bool {
    match (expected, found) {
        (Value::Sequence(expected), Value::Sequence(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(one, other)| is_close(one, other, case))
        }
        (Value::Tensor(expected), Value::Tensor(found)) => {
            let near = |a: f64, b: f64| {
                a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= case.atol + case.rtol * a.abs()
            };
            let are_near = match (numbers(expected), numbers(found)) {
                (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| near(*a, *b)),
                _ => expected == found,
            };
            expected.shape() == found.shape() && are_near
        }
        _ => false,
    }
}

/// A tensor's elements as numbers; nothing where they are texts.
fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    Some(match tensor {
        Tensor::F16(array) => array.iter().map(|number| number.to_f64()).collect(),
        Tensor::Bf16(array) => array.iter().map(|number| number.to_f64()).collect(),
        Tensor::F32(array) => array.iter().map(|number| f64::from(*number)).collect(),
        Tensor::F64(array) => array.iter().copied().collect(),
        Tensor::I8(array) => array.iter().map(|number| f64::from(*number)).collect(),
        Tensor::I16(array) => array.iter().map(|number| f64::from(*number)).collect(),
        Tensor::I32(array) => array.iter().map(|number| f64::from(*number)).collect(),
        Tensor::I64(array) => array.iter().map(|number| *number as f64).collect(),
        Tensor::U8(array) => array.iter().map(|number| f64::from(*number)).collect(),
        Tensor::U16(array) => array.iter().map(|number| f64::from(*number)).collect(),
        Tensor::U32(array) => array.iter().map(|number| f64::from(*number)).collect(),
        Tensor::U64(array) => array.iter().map(|number| *number as f64).collect(),
        Tensor::Bool(array) => array.iter().map(|number| f64::from(u8::from(*number))).collect(),
        Tensor::Packed(packed) => packed.numbers().map(f64::from).collect(),
        _ => return None,
    })
}
