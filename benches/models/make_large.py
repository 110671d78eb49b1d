"""Writes a large model, for the benches of memory and rollback: some 118 MB, too large to be checked in.

    python make_large.py FILE [SEED]

A ranker: f32[n, 256] -> f32[n, 1], a layer in, seven residual layers of 2,048, and a score in 0..1. Needs nothing but
Python: the weights are normal numbers from a pool of 65,536, each matrix from another place of it, written as protobuf by
hand. The same seed writes the same bytes.
"""

import array
import os
import random
import sys
from pathlib import Path

WIDTH, INPUT, LAYERS = 2_048, 256, 7
# Old enough for any ONNX Runtime of the last years.
OPSET, IR_VERSION = 17, 8
FLOAT = 1


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def number(field, value):
    return varint(field << 3) + varint(value)


def message(field, body):
    return varint(field << 3 | 2) + varint(len(body)) + body


def text(field, value):
    return message(field, value.encode())


class Pool:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.normal = [self.random.gauss(0.0, 1.0) for _ in range(1 << 16)]

    def matrix(self, rows, columns):
        scale = rows**-0.5
        pool = array.array("f", (scale * x for x in self.normal))
        place = self.random.randrange(len(pool))
        pool = (pool[place:] + pool[:place]).tobytes()
        size = 4 * rows * columns
        return (pool * (size // len(pool) + 1))[:size]


def tensor(name, shape, raw):
    dims = b"".join(number(1, size) for size in shape)
    return message(5, dims + number(2, FLOAT) + text(8, name) + message(9, raw))


def port(field, name, columns):
    dims = message(1, text(2, "n")) + message(1, number(1, columns))
    return message(field, text(1, name) + message(2, message(1, number(1, FLOAT) + message(2, dims))))


def node(operator, inputs, output):
    return message(1, b"".join(text(1, name) for name in inputs) + text(2, output) + text(4, operator))


def main():
    path, seed = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    pool = Pool(seed)
    nodes = [node("MatMul", ["x", "w_in"], "h0")]
    weights = [tensor("w_in", [INPUT, WIDTH], pool.matrix(INPUT, WIDTH))]
    for layer in range(LAYERS):
        weights.append(tensor(f"w{layer}", [WIDTH, WIDTH], pool.matrix(WIDTH, WIDTH)))
        weights.append(tensor(f"b{layer}", [WIDTH], pool.matrix(1, WIDTH)))
        nodes += [
            node("MatMul", [f"h{layer}", f"w{layer}"], f"m{layer}"),
            node("Add", [f"m{layer}", f"b{layer}"], f"a{layer}"),
            node("Tanh", [f"a{layer}"], f"t{layer}"),
            node("Add", [f"t{layer}", f"h{layer}"], f"h{layer + 1}"),
        ]
    weights.append(tensor("w_out", [WIDTH, 1], pool.matrix(WIDTH, 1)))
    nodes += [node("MatMul", [f"h{LAYERS}", "w_out"], "s"), node("Sigmoid", ["s"], "y")]
    graph = b"".join(nodes) + text(2, "large") + b"".join(weights) + port(11, "x", INPUT) + port(12, "y", 1)
    model = number(1, IR_VERSION) + text(2, "make_large.py") + message(7, graph) + message(8, number(2, OPSET))
    aside = path.with_suffix(".aside")
    aside.write_bytes(model)
    os.replace(aside, path)


if __name__ == "__main__":
    main()
