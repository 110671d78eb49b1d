"""Trains the models of the example on `flights.csv.gz` and writes them, with golden answers, to `models/`.

    python make_models.py

Writes v1.onnx, v2.onnx, v3.onnx, zipmap.onnx, golden.csv and golden_zipmap.csv. The same packages on
the same machine write the same bytes: seeds are fixed, and everything runs on one thread.
"""

import numpy as np
import onnx
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from flights import ENCODING, FIRST_OF, HERE, MODELS, VERSIONS, at_departure, load, schedule, session

# Old enough for any ONNX Runtime of the last years.
OPSET = {"": 17, "ai.onnx.ml": 3}
V1_INPUTS = [
    ("carrier", StringTensorType([None, 1])),
    ("origin", StringTensorType([None, 1])),
    ("dest", StringTensorType([None, 1])),
    ("hour", Int64TensorType([None, 1])),
    ("weekday", Int64TensorType([None, 1])),
    ("planned", FloatTensorType([None, 2])),
]
V2_INPUTS = [("features", FloatTensorType([None, len(ENCODING["features"])]))]


def main():
    rows = load()
    winter, quarter = known_before(rows, month=3), known_before(rows, month=4)

    first = train_on_schedule(winter)
    trained_on = f"{len(winter)} flights that landed before 1 March 2013"
    v1 = {
        "question": "arrives more than 15 minutes late",
        "features": "carrier, origin, dest; hour, weekday; planned: distance, block",
        "units": "hour of the local clock, weekday from Monday 0, distance miles, block minutes",
        "trained_on": trained_on,
    }
    save("v1", 1, first, V1_INPUTS, v1)
    save("zipmap", 1, first, V1_INPUTS, v1, zipmap=True)

    v2 = {
        "question": "arrives more than 15 minutes late",
        "features": ", ".join(ENCODING["features"]),
        "units": "minutes: dep_delay, block; miles: distance, visib; local hour; weekday from Monday 0; "
        "temp F, wind_speed mph, precip inches, pressure hPa, humid %; carrier and origin by place in encoding.json",
        "missing": "NaN",
    }
    save("v2", 2, train_at_departure(winter, seed=2), V2_INPUTS, v2 | {"trained_on": trained_on})
    trained_on = f"{len(quarter)} flights that landed before 1 April 2013"
    save("v3", 3, train_at_departure(quarter, seed=3), V2_INPUTS, v2 | {"trained_on": trained_on})

    chosen = golden_rows(rows, winter)
    write_golden(rows.loc[chosen])
    write_golden_zipmap(rows.loc[chosen[::20]])


def known_before(rows, month):
    """The flights whose truth was known when that month began: nothing later may be learnt from."""
    return rows[rows["late"].notna() & (rows["arrived"] < FIRST_OF[month])]


def train_on_schedule(rows):
    # Columns by number: carrier, origin, dest, hour and weekday (0 to 4), then the two of `planned`.
    features = ColumnTransformer([
        ("one_hot", OneHotEncoder(handle_unknown="ignore"), [0, 1, 2, 3, 4]),
        ("scaled", StandardScaler(), [5, 6]),
    ])  # fmt: skip
    model = make_pipeline(features, LogisticRegression(max_iter=1000))
    return model.fit(table(schedule(rows)), rows["late"].astype(int))


def train_at_departure(rows, seed):
    model = HistGradientBoostingClassifier(
        max_iter=80,
        learning_rate=0.06,
        max_leaf_nodes=15,
        min_samples_leaf=100,
        early_stopping=False,
        random_state=seed,
    )
    return model.fit(at_departure(rows)["features"], rows["late"].astype(int))


def save(name, number, model, inputs, metadata, zipmap=False):
    options = {id(model): {"zipmap": zipmap}}
    graph = to_onnx(model, name=name, initial_types=inputs, options=options, target_opset=OPSET)
    opsets = {opset.domain: opset.version for opset in graph.opset_import}  # listed in any order, one even twice
    del graph.opset_import[:]
    graph.opset_import.extend(onnx.helper.make_opsetid(*opset) for opset in sorted(opsets.items()))
    graph.model_version = number
    graph.doc_string = "Example model of switchback: will this flight arrive more than 15 minutes late?"
    onnx.helper.set_model_props(graph, metadata)
    onnx.checker.check_model(graph, full_check=True)
    (MODELS / f"{name}.onnx").write_bytes(graph.SerializeToString(deterministic=True))


def table(inputs):
    """Named inputs side by side, as scikit-learn wants them."""
    return pd.concat([pd.DataFrame(column) for column in inputs.values()], axis=1, ignore_index=True)


def golden_rows(rows, winter):
    """Row numbers: some spread over the year, some of every kind that is handled specially."""
    weather = rows[["temp", "wind_speed", "visib", "precip", "pressure", "humid"]].isna()
    kinds = {
        "spread over the year": (rows.index, 160),
        "no weather at all": (rows.index[weather.all(axis=1)], 10),
        "only the pressure is missing": (rows.index[weather["pressure"] & (weather.sum(axis=1) == 1)], 10),
        "only the wind is missing": (rows.index[weather["wind_speed"] & (weather.sum(axis=1) == 1)], 5),
        "to a destination v1 never saw": (rows.index[~rows["dest"].isin(winter["dest"])], 10),
        "diverted, so never known": (rows.index[rows["late"].isna()], 5),
    }
    return sorted({row for index, count in kinds.values() for row in spread(index, count)})


def spread(index, count):
    """`count` entries of `index`, evenly spaced from its first to its last."""
    return index[np.linspace(0, len(index) - 1, count).astype(int)].tolist()


def write_golden(rows):
    """Each version's probability of "late", one row at a time; nine digits bring a float32 back exactly."""
    golden = pd.DataFrame({"row": rows.index})
    for version, (file, encode) in VERSIONS.items():
        run = session(file).run
        golden[version] = [f"{run(['probabilities'], encode(rows.loc[[i]]))[0][0, 1]:.9g}" for i in rows.index]
    golden.to_csv(HERE / "golden.csv", index=False, lineterminator="\n")


def write_golden_zipmap(rows):
    """What zipmap.onnx answers to these rows as one batch: a sequence of maps from label to probability."""
    label, maps = session("zipmap.onnx").run(None, schedule(rows))
    assert all(list(m) == [0, 1] for m in maps)
    golden = pd.DataFrame({"row": rows.index, "label": label} | {k: [f"{m[k]:.9g}" for m in maps] for k in (0, 1)})
    golden.to_csv(HERE / "golden_zipmap.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
