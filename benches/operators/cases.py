"""Writes the operator cases of the ONNX project, a line of JSON each, for `cargo bench --bench operators`.

    python3 benches/operators/cases.py FOLDER

Each case is a model of one operator with inputs and the outputs that are right. Where the package `onnxruntime` is there,
each is run by it too. Ends with 3 where the package `onnx` is not there.
"""

import json
import pathlib
import sys
import warnings

try:
    import numpy as np
    import onnx
    from onnx import numpy_helper
    from onnx.backend.test.case.node import collect_testcases
except ImportError as error:
    print(error)
    sys.exit(3)
try:
    import onnxruntime
except ImportError:
    onnxruntime = None

NAMES = {"float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64", "bool": "bool", "float8_e4m3fn": "f8e4m3fn",
         "float8_e4m3fnuz": "f8e4m3fnuz", "float8_e5m2": "f8e5m2", "float8_e5m2fnuz": "f8e5m2fnuz",
         "float8_e8m0fnu": "f8e8m0", "float4_e2m1fn": "f4e2m1"}
NAMES |= {f"{kind}int{bits}": f"{letter}{bits}" for kind, letter in [("", "i"), ("u", "u")] for bits in [2, 4, 8, 16, 32, 64]}
BITS = {"i4": 4, "u4": 4, "f4e2m1": 4, "i2": 2, "u2": 2}


def packed(array, bits):
    """Elements of less than a byte, from the lowest bit of each byte on."""
    elements = array.reshape(-1).view(np.uint8) & (2**bits - 1)
    bytes_of = np.zeros((len(elements) * bits + 7) // 8, np.uint8)
    for place, element in enumerate(elements):
        bytes_of[place * bits // 8] |= element << (place * bits % 8)
    return bytes_of


def value(found):
    """A value as JSON; nothing where it is of a kind that is not known here."""
    if found is None or isinstance(found, (onnx.SparseTensorProto, onnx.OptionalProto)):
        return None
    if isinstance(found, onnx.SequenceProto):
        found = numpy_helper.to_list(found)
    if isinstance(found, (list, tuple)):
        return {"sequence": [value(item) for item in found]}
    array = numpy_helper.to_array(found) if isinstance(found, onnx.TensorProto) else np.asarray(found)
    name = str(array.dtype)
    if array.dtype == object or array.dtype.kind in "US":
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.reshape(-1)]
        return {"type": "string", "shape": array.shape, "texts": texts}
    if name not in NAMES:
        return None
    element = NAMES[name]
    flat = np.ascontiguousarray(array).reshape(-1)
    flat = packed(flat, BITS[element]) if element in BITS else flat
    return {"type": element, "shape": array.shape, "hex": flat.tobytes().hex()}


def fed(found):
    """A value as ONNX Runtime takes it."""
    if found is None or isinstance(found, list):
        return found
    array = numpy_helper.to_array(found) if isinstance(found, onnx.TensorProto) else np.asarray(found)
    if str(array.dtype) in NAMES and not hasattr(np, str(array.dtype)):
        # A type that NumPy itself does not have.
        code, plain = onnx.helper.np_dtype_to_tensor_dtype(array.dtype), np.dtype(f"uint{8 * array.dtype.itemsize}")
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array).view(plain), code)
    return array


def close(found, expected, case):
    if isinstance(expected, (list, tuple)):
        return len(found) == len(expected) and all(close(a, b, case) for a, b in zip(found, expected))
    expected = numpy_helper.to_array(expected) if isinstance(expected, onnx.TensorProto) else np.asarray(expected)
    found = np.asarray(found)
    if expected.dtype == object or expected.dtype.kind in "US":
        return found.astype(str).tolist() == expected.astype(str).tolist()
    as_numbers = [array.astype(np.float64) for array in (found, expected)]
    return found.shape == expected.shape and np.allclose(*as_numbers, rtol=case.rtol, atol=max(case.atol, 1e-5), equal_nan=True)


def run(case, model, inputs, outputs):
    """What ONNX Runtime makes of it: whether it loads it, whether it runs it from Python, and whether that is right."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    result = {"loads": False, "runs": False, "right": None, "error": None}
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        result["loads"] = True
        feed = {port.name: fed(found) for port, found in zip(session.get_inputs(), inputs)}
        if any(isinstance(found, onnxruntime.OrtValue) for found in feed.values()):
            feed = {name: found if isinstance(found, onnxruntime.OrtValue) else onnxruntime.OrtValue.ortvalue_from_numpy(found)
                    for name, found in feed.items()}
            answers = session.run_with_ort_values(None, feed)
            result["runs"] = True
            answers = [answer.numpy() for answer in answers]
        else:
            answers = session.run(None, feed)
        result["runs"] = True
        result["right"] = bool(all(close(*pair, case) for pair in zip(answers, outputs) if pair[1] is not None))
    except Exception as error:  # whatever it says, it is what stands in its way
        # It ran, and there is no type of NumPy's for what came out.
        result["runs"] |= "No corresponding Numpy type" in str(error)
        result["error"] = f"{type(error).__name__}: {error}"[:300]
    return result


def main():
    folder = pathlib.Path(sys.argv[1])
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    with open(folder / "cases.jsonl", "w") as file:
        for case in collect_testcases(None):
            model = case.model.SerializeToString()
            (folder / f"{case.name}.onnx").write_bytes(model)
            inputs, outputs = case.data_sets[0]
            names = [port.name for port in case.model.graph.input]
            line = {
                "name": case.name,
                "rtol": case.rtol,
                "atol": max(case.atol, 1e-5),
                "inputs": [[name, value(found)] for name, found in zip(names, inputs)],
                "outputs": [[port.name, value(found)] for port, found in zip(case.model.graph.output, outputs)],
                "runtime": run(case, model, inputs, outputs) if onnxruntime else None,
            }
            file.write(json.dumps(line) + "\n")
    version = onnxruntime.__version__ if onnxruntime else "not there"
    print(f"onnx {onnx.__version__}, onnxruntime {version}")


main()
