"""Makes the models that the tests of the ONNX room run on. They are checked in; this is how they came about.

    pip install onnx==1.23.2 && python3 tests/models/make_models.py
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
FLOAT = TensorProto.FLOAT


def save(name, nodes, inputs, outputs, initializers=(), opsets=None, ir_version=8, metadata=None):
    """Inputs and outputs are value infos, or tuples of name, element type and shape."""
    values = [[v if isinstance(v, onnx.ValueInfoProto) else helper.make_tensor_value_info(*v) for v in ports]
              for ports in (inputs, outputs)]
    graph = helper.make_graph(list(nodes), name, *values, list(initializers))
    opsets = opsets or {"": 17}
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(*opset) for opset in opsets.items()],
                              producer_name="make_models.py", producer_version="1", ir_version=ir_version)
    helper.set_model_props(model, metadata or {})
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


def identity(name, element, **options):
    node = helper.make_node("Identity", ["x"], ["y"])
    save(name, [node], [("x", element, ["n", 2])], [("y", element, ["n", 2])], **options)


def external(location):
    """Two floats named w, in the file `location`."""
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in [("location", location), ("offset", "0"), ("length", "8")]:
        tensor.external_data.add(key=key, value=value)
    return tensor


def main():
    # y = x1 + 2 x2 + 3 x3 + 0.5
    weights = [numpy_helper.from_array(np.array([[1], [2], [3]], np.float32), "w"),
               numpy_helper.from_array(np.array([0.5], np.float32), "b")]
    save("affine", [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], [("x", FLOAT, ["n", 3])],
         [("y", FLOAT, ["n", 1])], weights, metadata={"purpose": "tests", "trained": "2013-01"})

    for element in ["FLOAT16", "BFLOAT16", "FLOAT", "DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16",
                    "UINT32", "UINT64", "BOOL", "STRING"]:
        identity(f"identity_{element.lower()}", TensorProto.DataType.Value(element))
    # Elements that Rust has no type for, out and in again.
    for element in ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "INT4", "UINT4"]:
        code = TensorProto.DataType.Value(element)
        scale = numpy_helper.from_array(np.array(1, np.float32), "scale")
        zero = helper.make_tensor("zero", code, [], [0])
        save(f"to_{element.lower()}", [helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])],
             [("x", FLOAT, ["n"])], [("y", code, ["n"])], [scale, zero], opsets={"": 21}, ir_version=10)
        save(f"from_{element.lower()}", [helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["y"])],
             [("x", code, ["n"])], [("y", FLOAT, ["n"])], [scale, zero], opsets={"": 21}, ir_version=10)
    identity("refused_complex64", TensorProto.COMPLEX64, opsets={"": 21}, ir_version=10)

    # y = x + x, and x as an optional value beside it.
    beside = helper.make_value_info("maybe", helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, ["n"])))
    save("optional_beside", [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Optional", ["x"], ["maybe"])],
         [("x", FLOAT, ["n"])], [beside, ("y", FLOAT, ["n"])])

    # z = x + x, and x itself, which goes out as it came in.
    save("fed", [helper.make_node("Add", ["x", "x"], ["z"])], [("x", FLOAT, ["n"])],
         [("z", FLOAT, ["n"]), ("x", FLOAT, ["n"])])

    # Dimensions by name, one of them twice.
    save("symbols", [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Shape", ["wide"], ["shape"])],
         [("a", FLOAT, ["n"]), ("b", FLOAT, ["n"]), ("wide", FLOAT, ["n", "m", 2, None])],
         [("sum", FLOAT, ["n"]), ("shape", TensorProto.INT64, [4])])

    # What classifiers exported from scikit-learn end with.
    for name, labels, key in [("zipmap_int", {"classlabels_int64s": [7, -1, 300]}, TensorProto.INT64),
                              ("zipmap_text", {"classlabels_strings": ["early", "on time", "späť"]}, TensorProto.STRING)]:
        maps = helper.make_sequence_type_proto(helper.make_map_type_proto(key, helper.make_tensor_type_proto(FLOAT, [])))
        node = helper.make_node("ZipMap", ["x"], ["scores"], domain="ai.onnx.ml", **labels)
        save(name, [node], [("x", FLOAT, ["n", 3])], [helper.make_value_info("scores", maps)],
             opsets={"": 17, "ai.onnx.ml": 1})

    # A sequence of the rows of x.
    rows = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    save("sequence", [helper.make_node("SplitToSequence", ["x"], ["rows"], axis=0)], [("x", FLOAT, ["n", 2])],
         [helper.make_value_info("rows", rows)])

    # Types that cannot be carried.
    optional = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, ["n"]))
    save("refused_optional", [helper.make_node("Optional", ["x"], ["y"])], [("x", FLOAT, ["n"])],
         [helper.make_value_info("y", optional)])
    sparse = helper.make_sparse_tensor_type_proto(FLOAT, ["n"])
    save("refused_sparse", [helper.make_node("Identity", ["x"], ["y"])], [helper.make_value_info("x", sparse)],
         [helper.make_value_info("y", sparse)])
    save("sequence_input", [helper.make_node("SequenceLength", ["rows"], ["length"])],
         [helper.make_value_info("rows", rows)], [("length", TensorProto.INT64, [])])

    texts = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.STRING, None))
    save("sequence_texts", [helper.make_node("SequenceLength", ["rows"], ["length"])],
         [helper.make_value_info("rows", texts)], [("length", TensorProto.INT64, [])])

    nested = helper.make_sequence_type_proto(rows)
    save("refused_sequences", [helper.make_node("Identity", ["x"], ["y"])], [helper.make_value_info("x", nested)],
         [helper.make_value_info("y", nested)])
    for name, key, words in [("map_int", TensorProto.INT64, {"int64_vocabulary": [7, 8, 9]}),
                             ("map_text", TensorProto.STRING, {"string_vocabulary": ["a", "b", "c"]})]:
        entries = helper.make_map_type_proto(key, helper.make_tensor_type_proto(FLOAT, []))
        node = helper.make_node("DictVectorizer", ["x"], ["y"], domain="ai.onnx.ml", **words)
        save(name, [node], [helper.make_value_info("x", entries)], [("y", FLOAT, [1, 3])], opsets={"": 17, "ai.onnx.ml": 1})

    # The shape of y depends on what is in x.
    save("nonzero", [helper.make_node("NonZero", ["x"], ["y"])], [("x", FLOAT, ["n"])],
         [("y", TensorProto.INT64, [1, "found"])])

    # The fifth of five numbers, and an error for the sixth.
    save("gather", [helper.make_node("Gather", ["numbers", "x"], ["y"])], [("x", TensorProto.INT64, ["n"])],
         [("y", FLOAT, ["n"])], [numpy_helper.from_array(np.array([1, 2, 3, 4, 5], np.float32), "numbers")])

    save("constant", [helper.make_node("Constant", [], ["y"], value_float=4.25)], [], [("y", FLOAT, [])])

    # Counts to `times`, one round of a loop each: as slow as one likes.
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["count", "one"], ["counted"])], "body",
        [helper.make_tensor_value_info("round", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("count", TensorProto.INT64, [])],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
         helper.make_tensor_value_info("counted", TensorProto.INT64, [])])
    save("loop", [helper.make_node("Loop", ["times", "true", "zero"], ["counted"], body=body)],
         [("times", TensorProto.INT64, [])], [("counted", TensorProto.INT64, [])],
         [helper.make_tensor("true", TensorProto.BOOL, [], [True]), helper.make_tensor("zero", TensorProto.INT64, [], [0]),
          helper.make_tensor("one", TensorProto.INT64, [], [1])])

    # What no ONNX Runtime here can run.
    identity("unsupported_opset", FLOAT, opsets={"": 999})
    identity("unsupported_format", FLOAT, ir_version=999)
    for name, domain in [("unsupported_operator", ""), ("unsupported_domain", "com.example")]:
        save(name, [helper.make_node("Nope", ["x"], ["y"], domain=domain)], [("x", FLOAT, ["n"])], [("y", FLOAT, ["n"])],
             opsets={"": 17, domain: 17 if domain == "" else 1})

    # Weights in a file of their own, and places where they may not be.
    (HERE / "external.data").write_bytes(np.array([10, 20], np.float32).tobytes())
    add = [helper.make_node("Add", ["x", "w"], ["y"])]
    for name, location in [("external", "external.data"), ("external_missing", "missing.data"),
                           ("external_above", "../models/external.data"), ("external_absolute", "/dev/zero"),
                           ("external_address", "*/_ORT_MEM_ADDR_/*")]:
        save(name, add, [("x", FLOAT, [2])], [("y", FLOAT, [2])], [external(location)])
    hidden = helper.make_graph([helper.make_node("Constant", [], ["v"], value=external("../outside.data"))],
                               "branch", [], [helper.make_tensor_value_info("v", FLOAT, [2])])
    save("external_hidden", [helper.make_node("If", ["x"], ["y"], then_branch=hidden, else_branch=hidden)],
         [("x", TensorProto.BOOL, [])], [("y", FLOAT, [2])])


main()
