//! Tests that what is written is read again, what is wrong is refused with its sentence, and nothing panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use half::{bf16, f16};
use http::HeaderMap;
use ndarray::ArrayD;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::infer::{HEADER_LENGTH, Infer};
use crate::model::onnx::{Tensor, Tensors, Value};

fn headers(length: usize) -> HeaderMap {
    HeaderMap::from_iter([(HEADER_LENGTH.parse().unwrap(), length.into())])
}

/// A request of JSON and of bytes behind it.
fn parse(json: &Json, bytes: &[u8]) -> Result<Infer, String> {
    let json = json.to_string().into_bytes();
    Infer::parse(&headers(json.len()), &[&json, bytes].concat()).map_err(|error| error.to_string())
}

/// An answer as a request for the same tensors.
fn as_request(headers: &HeaderMap, body: &[u8]) -> (HeaderMap, Vec<u8>) {
    let length =
        headers.get(HEADER_LENGTH).map_or(body.len(), |text| text.to_str().unwrap().parse().unwrap());
    let text = std::str::from_utf8(&body[..length]).unwrap().replacen("\"outputs\":[", "\"inputs\":[", 1);
    (self::headers(text.len()), [text.as_bytes(), &body[length..]].concat())
}

fn through(tensors: &Tensors, binary: bool) -> Result<Tensors, String> {
    let asked = parse(&json!({"inputs": [], "parameters": {"binary_data_output": binary}}), &[])?;
    let (headers, body) = asked.respond_with("m", "1", tensors, &[]).map_err(|error| error.to_string())?;
    assert_eq!(headers.contains_key(HEADER_LENGTH), binary);
    let (headers, body) = as_request(&headers, &body);
    Infer::parse(&headers, &body).map(Infer::into_tensors).map_err(|error| error.to_string())
}

fn tensor() -> impl Strategy<Value = Tensor> {
    let shape = prop::collection::vec(0_usize..4, 0..4);
    (shape, 0_usize..14, prop::collection::vec(any::<u64>(), 27), prop::collection::vec(".{0,6}", 27))
        .prop_map(|(shape, kind, bits, texts)| {
            let count = shape.iter().product::<usize>();
            let bits = bits.into_iter().take(count);
            macro_rules! of {
                ($make:expr) => {
                    ArrayD::from_shape_vec(shape, bits.map($make).collect()).unwrap().into()
                };
            }
            match kind {
                0 => of!(|bits| bits % 2 == 0),
                1 => of!(|bits| bits as u8),
                2 => of!(|bits| bits as u16),
                3 => of!(|bits| bits as u32),
                4 => of!(|bits| bits),
                5 => of!(|bits| bits as i8),
                6 => of!(|bits| bits as i16),
                7 => of!(|bits| bits as i32),
                8 => of!(|bits| bits.cast_signed()),
                9 => of!(|bits| Some(f16::from_bits(bits as u16))
                    .filter(|x| x.is_finite())
                    .unwrap_or_default()),
                10 => of!(|bits| Some(bf16::from_bits(bits as u16))
                    .filter(|x| x.is_finite())
                    .unwrap_or_default()),
                11 => of!(|bits| Some(f32::from_bits(bits as u32))
                    .filter(|x| x.is_finite())
                    .unwrap_or_default()),
                12 => of!(|bits| Some(f64::from_bits(bits)).filter(|x| x.is_finite()).unwrap_or_default()),
                _ => {
                    let texts = texts.into_iter().take(count).collect();
                    ArrayD::from_shape_vec(shape, texts).unwrap().into()
                }
            }
        })
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(first in tensor(), second in tensor(), binary: bool) {
        let has_no_json = [&first, &second].iter().any(|tensor| matches!(tensor, Tensor::F16(_) | Tensor::Bf16(_)));
        let tensors = Tensors::new().with("a \"name\"", first).unwrap().with("b", second).unwrap();
        match through(&tensors, binary) {
            Ok(read) => prop_assert_eq!(read, tensors),
            Err(sentence) => prop_assert!(has_no_json && !binary && sentence.contains("binary_data"), "{}", sentence),
        }
    }

    #[test]
    fn bytes_that_were_changed_never_panic(
        first in tensor(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in prop::option::of(0_usize..400),
        noise in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = Infer::parse(&length.map_or_else(HeaderMap::new, headers), &noise);
        let asked = parse(&json!({"inputs": [], "parameters": {"binary_data_output": true}}), &[]).unwrap();
        let tensors = Tensors::new().with("a", first).unwrap();
        let (written, body) = asked.respond_with("m", "1", &tensors, &[]).unwrap();
        let (written, mut body) = as_request(&written, &body);
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let _ = Infer::parse(&length.map_or(written, headers), &body);
    }
}

#[test]
fn numbers_that_are_not_finite_travel_as_bytes_alone() {
    let tensors = Tensors::new().with("x", ndarray::array![f32::NAN, f32::INFINITY]).unwrap();
    assert!(through(&tensors, false).unwrap_err().contains("ask for it with `parameters.binary_data`"));
    let read = through(&tensors, true).unwrap();
    let read = read.get::<f32>("x").unwrap();
    assert!(read[0].is_nan() && read[1] == f32::INFINITY);
}

/// What the documentation says that an element takes, so that hosts can bound a body.
#[test]
fn an_element_in_json_takes_24_bytes_while_it_is_read() {
    assert_eq!(size_of::<super::data::Scalar>(), 24);
}

#[test]
fn lists_may_be_nested_as_the_shape_is() {
    for (shape, data) in [
        (json!([2, 2]), json!([[1, 2], [3, 4]])),
        (json!([4, 1]), json!([1, 2, 3, 4])),
        (json!([2, 0]), json!([[], []])),
        (json!([0, 3]), json!([])),
        (json!([]), json!([7])),
    ] {
        let input = json!({"name": "x", "datatype": "INT8", "shape": shape, "data": data});
        let read = parse(&json!({"inputs": [input]}), &[]).unwrap_or_else(|error| panic!("{shape}: {error}"));
        assert!(matches!(read.tensors().value("x"), Some(Value::Tensor(Tensor::I8(_)))));
    }
}

#[test]
fn what_is_wrong_is_refused_with_a_sentence_that_names_it() {
    let input = |datatype: &str, shape: Json, data: Json| json!({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": data}]});
    let sized = |datatype: &str, shape: Json, size: Json| json!({"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}]});
    let with = |name: &str, value: Json| json!({"inputs": [], "parameters": {name: value}});
    let deep = |depth: usize| -> Json {
        serde_json::from_str(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))).unwrap()
    };
    let cases = [
        (json!([]), &b""[..], "the JSON of the request cannot be read"),
        (json!({"inputs": 1}), b"", "the JSON of the request cannot be read"),
        // Serde's derived code takes a list for a struct, by the order of its fields.
        (json!([null, {}, [], []]), b"", "a list stands where an object belongs: write {..} with names"),
        (json!({"inputs": [["x", "INT8", [1], {}, [1]]]}), b"", "such as `name`, `datatype`, `shape`"),
        (input("FP8", json!([1]), json!([1])), b"", "input `x` has the datatype `FP8`"),
        (input("FP16", json!([1]), json!([1])), b"", "no form in JSON"),
        (input("BF16", json!([1]), json!([1])), b"", "no form in JSON"),
        (input("INT8", json!([-1]), json!([1])), b"", "none below 0"),
        (input("INT8", json!([u64::MAX, 2]), json!([1])), b"", "more elements than memory"),
        (input("INT8", json!([u64::MAX, u64::MAX, 0]), json!([])), b"", "more elements than memory"),
        (input("INT8", json!(vec![1; 33]), json!([1])), b"", "more than 32 dimensions"),
        (input("INT8", json!([2]), json!([1])), b"", "has 1 elements, and its `shape` [2] has 2"),
        (input("INT8", json!([2, 2]), json!([[1, 2], [3]])), b"", "lists of lists that are alike"),
        (input("INT8", json!([2]), json!([1, [2]])), b"", "lists of lists that are alike"),
        (input("INT8", json!([2, 1]), json!([[1, 2]])), b"", "is nested as [1, 2]"),
        (input("INT8", json!([0]), deep(60)), b"", "is nested as"),
        (input("INT8", json!([1]), json!(1)), b"", "lists of lists that are alike"),
        (
            input("INT8", json!([1]), json!([128])),
            b"",
            "element 0 of input `x` is a whole number, which is no INT8",
        ),
        (input("UINT8", json!([1]), json!([-1])), b"", "no UINT8 or does not fit"),
        (input("INT8", json!([1]), json!([0.5])), b"", "a number with a fraction"),
        (input("INT8", json!([1]), json!([{}])), b"", "is an object"),
        (input("FP32", json!([1]), json!([1e39])), b"", "no FP32 or does not fit"),
        (input("FP32", json!([1]), json!([null])), b"", "is null"),
        (input("BOOL", json!([1]), json!([1])), b"", "no BOOL"),
        (input("BYTES", json!([1]), json!([1])), b"", "no BYTES"),
        (sized("INT16", json!([1]), json!("2")), b"12", "`parameters.binary_data_size` of input `x`"),
        (sized("INT16", json!([1]), json!(2)), b"1", "and 1 follow"),
        (sized("INT16", json!([1]), json!(2)), b"123", "1 bytes are left over behind the tensors"),
        (sized("INT16", json!([1]), json!(3)), b"123", "has 3 bytes, and INT16"),
        (sized("INT16", json!([1_u64 << 61]), json!(2)), b"12", "has 2 bytes, and INT16"),
        (sized("BOOL", json!([2]), json!(2)), b"\x01\x02", "element 1 of input `x` is no BOOL"),
        (sized("BYTES", json!([1_u64 << 61]), json!(4)), b"\0\0\0\0", "end in element 1"),
        (sized("BYTES", json!([1]), json!(5)), b"\xff\xff\xff\xff1", "end in element 0"),
        (sized("BYTES", json!([1]), json!(5)), b"\x01\0\0\0\xff", "is not UTF-8"),
        (sized("BYTES", json!([1]), json!(5)), b"\0\0\0\0\0", "1 bytes are left over in input `x`"),
        (
            json!({"inputs": [{"name": "x", "datatype": "INT8", "shape": [1]}]}),
            b"",
            "input `x` has no elements",
        ),
        (
            json!({"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [1], "parameters": {"binary_data_size": 1}}]}),
            b"1",
            "both `data` and `binary_data_size`",
        ),
        (
            json!({"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "parameters": {"shared_memory_region": "r"}}]}),
            b"",
            "shared memory",
        ),
        (
            json!({"inputs": [
                {"name": "x", "datatype": "INT8", "shape": [1], "data": [1]},
                {"name": "x", "datatype": "INT8", "shape": [1], "data": [1]},
            ]}),
            b"",
            "input `x` is given twice",
        ),
        (
            json!({"inputs": [], "outputs": [{"name": "y"}, {"name": "y"}]}),
            b"",
            "output `y` is asked for twice",
        ),
        (
            json!({"inputs": [], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}),
            b"",
            "`parameters.classification` of output `y`",
        ),
        (
            json!({"inputs": [], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]}),
            b"",
            "`parameters.binary_data` of output `y` is true or false",
        ),
        (json!({"inputs": [], "outputs": vec![json!({"name": "y"}); 1_025]}), b"", "at most 1024"),
        (with("sequence_id", json!(1)), b"", "`parameters.sequence_id`"),
        (with("key", json!(0.5)), b"", "`parameters.key`"),
        (with("binary_data_output", json!("yes")), b"", "of the request is true or false"),
    ];
    for (request, bytes, expected) in cases {
        let sentence = parse(&request, bytes).expect_err(expected);
        assert!(sentence.contains(expected), "{sentence}\nis not: {expected}");
    }
    for length in ["-1", "+2", "x", "99999999999999999999"] {
        let headers = HeaderMap::from_iter([(HEADER_LENGTH.parse().unwrap(), length.parse().unwrap())]);
        let error = Infer::parse(&headers, b"{}").unwrap_err();
        assert!(error.to_string().contains("one whole number"), "{error}");
    }
    let error = Infer::parse(&headers(3), b"{}").unwrap_err();
    assert!(error.to_string().contains("before compression"), "{error}");
    assert_eq!(error.status(), 400);
    assert!(error.body().starts_with(b"{\"error\":\""));
    let nested = format!("{{\"inputs\":[{{\"data\":{}", "[".repeat(100_000));
    assert!(
        Infer::parse(&HeaderMap::new(), nested.as_bytes()).unwrap_err().to_string().contains("recursion")
    );
}
