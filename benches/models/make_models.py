"""Writes the models that the benches run, to the folder of this file.

    pip install numpy==2.4.6 onnx==1.23.2
    python make_models.py

tiny.onnx      f32[1, 8] -> f32[1, 1]: one MatMul and a Sigmoid. What a run costs beyond the model's own work.
run20.onnx     f32[1, 64] -> f32[1, 1]: takes 20 us and more.
run50_a.onnx   the same, 50 us and more.
run50_b.onnx   the same weights, and half of each answer: what tells that a request was answered by b.
mean.onnx      f32[1, n] -> f32[1, 1] for any n: what more features cost, beside a model that does little with them.

Every answer lies in 0..1. The chains are of MatMuls with one 64 x 64 matrix, so that a file stays small. Seeds are
fixed: the same packages write the same bytes.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
# Old enough for any ONNX Runtime of the last years.
OPSET, IR_VERSION = 17, 8
WIDTH = 64


def main():
    rng = np.random.default_rng(20130101)
    save("tiny", [("MatMul", ["x", "w"], "h"), ("Sigmoid", ["h"], "y")], 8, {"w": normal(rng, 8, 1)})

    square, last = normal(rng, WIDTH, WIDTH), normal(rng, WIDTH, 1)
    for name, layers, factor in [("run20", 15, 1.0), ("run50_a", 48, 1.0), ("run50_b", 48, 0.5)]:
        nodes, at = [], "x"
        for layer in range(layers):
            nodes += [("MatMul", [at, "w"], f"h{layer}"), ("Tanh", [f"h{layer}"], f"t{layer}")]
            at = f"t{layer}"
        nodes += [("MatMul", [at, "v"], "s"), ("Sigmoid", ["s"], "p"), ("Mul", ["p", "factor"], "y")]
        save(name, nodes, WIDTH, {"w": square, "v": last, "factor": np.array([factor], np.float32)})

    save("mean", [("ReduceMean", ["x"], "m"), ("Sigmoid", ["m"], "y")], "n", {})


def normal(rng, rows, columns):
    return (rng.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)


def node(op, inputs, output):
    attributes = {"axes": [1]} if op == "ReduceMean" else {}
    return helper.make_node(op, inputs, [output], **attributes)


def save(name, nodes, width, weights):
    graph = helper.make_graph(
        [node(op, inputs, output) for op, inputs, output in nodes],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(weight, key) for key, weight in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, HERE / f"{name}.onnx")


if __name__ == "__main__":
    main()
