"""The rows of `flights.csv.gz` and what each model version is fed: the encoders the Rust example repeats."""

import gzip
import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pandas as pd

HERE = Path(__file__).parent
MODELS = HERE / "models"
ENCODING = json.loads((MODELS / "encoding.json").read_text())

LATE = 15  # minutes: a flight is late when it arrives more than this after its scheduled time
FIRST_OF = {3: 22_701_900, 4: 22_746_480}  # month -> its first moment in New York, minutes since 1970 UTC
REPLAY_MONTHS = range(4, 13)


def load():
    """All rows in file order, so that the index is the row number, with `late` (missing: diverted)."""
    with gzip.open(HERE / "flights.csv.gz") as file:
        rows = pd.read_csv(file, keep_default_na=False, na_values=[""])
    rows["late"] = (rows["arr_delay"] > LATE).astype("float").where(rows["arr_delay"].notna())
    return rows


def schedule(rows):
    """The inputs of v1: what the timetable knows. Text as text, whole numbers as int64."""
    text = {name: rows[[name]].to_numpy(object) for name in ("carrier", "origin", "dest")}
    whole = {name: rows[[name]].to_numpy(np.int64) for name in ("hour", "weekday")}
    return text | whole | {"planned": rows[["distance", "block"]].to_numpy(np.float32)}


def at_departure(rows, delay_unit="minutes"):
    """The input of v2 and later: one float32 row per flight, NaN for whatever is not known.

    `delay_unit="seconds"` is the mistake of v3: models are trained on minutes.
    """
    columns = rows[ENCODING["features"]].copy()
    for name in ("carrier", "origin"):
        places = {code: place for place, code in enumerate(ENCODING[name])}
        columns[name] = columns[name].map(places)  # a code that is not listed becomes NaN
    columns = columns.to_numpy(np.float32)
    columns[:, 0] *= {"minutes": 1, "seconds": 60, "hours": 1 / 60}[delay_unit]
    return {"features": columns}


# What each version of the example is: the file of its model, and the encoder of its pipeline.
VERSIONS = {
    "v1": ("v1.onnx", schedule),
    "v2": ("v2.onnx", at_departure),
    "v3": ("v3.onnx", lambda rows: at_departure(rows, "seconds")),
    "v4": ("v3.onnx", at_departure),
}


def session(file):
    """One thread: what it answers does not depend on the machine's number of cores."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(MODELS / file, options, providers=["CPUExecutionProvider"])
