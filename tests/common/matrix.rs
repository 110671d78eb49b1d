//! ONNX models of any size, made here.

/// An ONNX model of one matrix product, `y = x * weight`, in the bytes of its protobuf. `factor` tells one from another.
pub(crate) fn matrix_model(side: u64, factor: f32) -> Vec<u8> {
    let raw: Vec<u8> =
        (0..side * side).flat_map(|place| (factor * (place % 7) as f32 / 7.0).to_le_bytes()).collect();
    let weight =
        [number(1, side), number(1, side), number(2, 1), bytes(8, b"weight"), bytes(9, &raw)].concat();
    let node = [bytes(1, b"x"), bytes(1, b"weight"), bytes(2, b"y"), bytes(4, b"MatMul")].concat();
    let port = |name: &[u8]| {
        let shape: Vec<u8> = [1, side].iter().flat_map(|size| bytes(1, &number(1, *size))).collect();
        let tensor = [number(1, 1), bytes(2, &shape)].concat();
        [bytes(1, name), bytes(2, &bytes(1, &tensor))].concat()
    };
    let graph =
        [bytes(1, &node), bytes(2, b"g"), bytes(5, &weight), bytes(11, &port(b"x")), bytes(12, &port(b"y"))]
            .concat();
    let opset = number(2, 17);
    [number(1, 8), bytes(7, &graph), bytes(8, &opset)].concat()
}

/// A field of a message that is a number.
pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A field of a message that is bytes, a text or a message.
pub(crate) fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
