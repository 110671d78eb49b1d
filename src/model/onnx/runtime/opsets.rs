//! Finds the newest operator set that this ONNX Runtime knows.

use std::sync::OnceLock;

use super::runtime::Runtime;
use crate::model::onnx::options::Options;

impl Runtime {
    /// The newest version of an operator set, `ai.onnx` or `ai.onnx.ml`, that this ONNX Runtime runs; nothing of another
    /// domain, or where it does not tell.
    ///
    /// No call of its interface tells. A table of releases would be wrong for builds of a host's own, and old with the
    /// next release. So it is shown, once per process, a model of a version that cannot be, and its refusal is read.
    pub fn newest_opset(&self, domain: &str) -> Option<i64> {
        static NEWEST: OnceLock<[Option<i64>; 2]> = OnceLock::new();
        let place = DOMAINS.iter().position(|known| *known == domain)?;
        let newest = NEWEST.get_or_init(|| DOMAINS.map(|domain| self.refused_beyond(domain)));
        newest.get(place).copied().flatten()
    }

    fn refused_beyond(&self, domain: &str) -> Option<i64> {
        let mut builder = Options::default().builder(self).ok()?;
        let refusal = builder.commit_from_memory(&impossible(domain)).err()?;
        newest_in(refusal.message())
    }
}

const DOMAINS: [&str; 2] = ["ai.onnx", "ai.onnx.ml"];

/// `... Current official support for domain ai.onnx is till opset 25.`
fn newest_in(refusal: &str) -> Option<i64> {
    let (_, rest) = refusal.split_once("is till opset ")?;
    let digits = rest.split(|character: char| !character.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// A model of one operator that does nothing, which asks for an operator set that nobody has. In ONNX's protobuf, by
/// hand: there is no need to have a writer.
fn impossible(domain: &str) -> Vec<u8> {
    let port = |name: &[u8]| {
        let float = field(2, &field(1, &[0x08, 1])); // type: tensor_type: elem_type = FLOAT
        [field(1, name), float].concat()
    };
    let node = [field(1, b"x"), field(2, b"y"), field(4, b"Identity")].concat();
    let graph =
        [field(1, &node), field(2, b"impossible"), field(11, &port(b"x")), field(12, &port(b"y"))].concat();
    let opset = |domain: &str, version: &[u8]| {
        field(8, &[field(1, domain.as_bytes()), [&[0x10], version].concat()].concat())
    };
    let beyond = [0xe7, 0x07]; // 999
    let opsets = match domain {
        "ai.onnx" => opset("", &beyond),
        _ => [opset("", &[17]), opset(domain, &beyond)].concat(),
    };
    let ir_version = vec![0x08, 8];
    [ir_version, field(7, &graph), opsets].concat()
}

/// A field of bytes, shorter than 128.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    [&[number << 3 | 2, length], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::onnx::OnnxModel;
    use crate::model::opset::Opset;

    #[test]
    fn the_newest_operator_set_is_read_from_a_refusal() {
        let refusal = "ONNX Runtime only *guarantees* support for models stamped with official released onnx opset \
                       versions. Current official support for domain ai.onnx.ml is till opset 5.";
        assert_eq!(newest_in(refusal), Some(5));
        assert_eq!(newest_in("something else"), None);
        assert_eq!(newest_in("is till opset many"), None);
    }

    #[test]
    fn this_runtime_tells_its_version_and_its_newest_operator_sets() {
        let runtime = Runtime::get().unwrap();
        let version = runtime.version().unwrap();
        assert!(version.major == 1 && version.minor >= 17, "{version}");
        let newest = runtime.newest_opset("ai.onnx").unwrap();
        assert!((20..999).contains(&newest), "{newest}");
        assert!((3..999).contains(&runtime.newest_opset("ai.onnx.ml").unwrap()));
        assert_eq!(runtime.newest_opset("com.example"), None);
    }

    #[test]
    fn the_impossible_model_is_a_whole_one() {
        for domain in DOMAINS {
            let model = OnnxModel::from_bytes("impossible", impossible(domain)).unwrap();
            assert!(model.opsets().contains(&Opset::new(domain, 999)), "{:?}", model.opsets());
        }
    }
}
