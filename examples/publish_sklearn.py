"""Publishes a scikit-learn model as a version that `switchback::repository` reads. Needs nothing of switchback's.

    pip install scikit-learn skl2onnx onnxruntime

As a module, with a classifier, rows that it can be asked, and their labels:

    from publish_sklearn import publish
    publish("models", "late", "1", model, rows, labels, features=[("dep_delay", "min", -120, 1500), ("distance", "mi", 0, 6000)],
            pipeline=("at-departure", "1.0"))

It writes models/late/1/ with the model, its lineage, what it needs of its host, golden samples, and how its features were
distributed. The folder appears whole or not at all: it is written aside, synced, and renamed. `schema/manifest.schema.json`
describes the manifest. As a program it trains a logistic regression on the flights of a month, March by default, and publishes
that, measured on those of the next:

    python examples/publish_sklearn.py models late 1 [--month 3] [--parent VERSION] [--tag stable]
"""

import argparse
import calendar
import csv
import datetime
import gzip
import hashlib
import json
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import onnxruntime
import sklearn
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

DATA = Path(__file__).parent / "flights" / "flights.csv.gz"
LATE = 15  # minutes
FEATURES = [
    # name, unit, range that the host may send
    ("dep_delay", "min", -120, 1500),
    ("distance", "mi", 0, 6000),
]
SAMPLES = 5


def load(months):
    """Features and truth of the flights of some months that have both."""
    rows, labels = [], []
    with gzip.open(DATA, "rt") as file:
        for row in csv.DictReader(file):
            if int(row["month"]) in months and row["arr_delay"] and row["dep_delay"]:
                rows.append([float(row[name]) for name, *_ in FEATURES])
                labels.append(float(row["arr_delay"]) > LATE)
    return np.array(rows, dtype=np.float32), np.array(labels)


def edges_of(column, bins=10):
    """Deciles, as the crate's own builder has them. A value that several share, as those of a flag do, has a bin of its own,
    and at either end there is one beyond it, to see it change; an edge that one has alone lies a little below that value."""

    def width(value):
        return max(abs(value) * 1e-6, 1e-300) if value else 1e-12

    edges, beyond = [], 0.0
    values, times = np.unique(np.quantile(column, np.linspace(0, 1, bins + 1)), return_counts=True)
    for value, shared in zip(values.tolist(), (times > 1).tolist()):
        around = width(value)
        beyond = around if shared else 0.0
        if shared and not edges:
            edges.append(value - 2 * around)
        for edge in [value - around, value + around] if shared else [value - around]:
            if not edges or edges[-1] < edge:
                edges.append(edge)
    if beyond:
        edges.append(edges[-1] + max(beyond, width(edges[-1])))
    return edges


def profile(rows, names):
    """How each feature was distributed, in bins, as `switchback::drift::ReferenceProfile` reads them."""
    features = []
    for place, name in enumerate(names):
        column = rows[:, place].astype(np.float64)
        column = column[np.isfinite(column)]
        edges = edges_of(column) if len(column) else [0.0, 1.0]
        # A bin holds its lower edge, and the outermost ones what lies beyond.
        counts = np.bincount(np.searchsorted(edges[1:-1], column, side="right"), minlength=len(edges) - 1)
        missing = len(rows) - len(column)
        features.append(
            {"name": name, "type": "number", "edges": edges, "counts": counts.tolist(), "missing": missing}
        )
    return {"schema": 1, "rows": len(rows), "features": features}


def tensor(array):
    kinds = {"float32": "f32", "float64": "f64", "int64": "i64", "int32": "i32"}
    return {"type": kinds[str(array.dtype)], "shape": list(array.shape), "values": array.ravel().tolist()}


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def synced(path, content):
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path):
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def revision():
    try:
        return subprocess.check_output(["git", "rev-parse", "HEAD"], text=True, stderr=subprocess.DEVNULL).strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def publish(repository, name, version, model, rows, labels, *, features, pipeline, trained_on=None, data=(), parent=None,
            tags=(), samples=SAMPLES):
    """Publishes a fitted classifier as a version, and gives its manifest.

    `rows` and `labels` are what it is measured and pinned on, and were not trained on: an array with a column for each of
    `features`, which are names or tuples of name, unit, minimum and maximum. `pipeline` is the name and version of the
    host's code that makes such rows. `trained_on` are the rows that it learnt from, for drift to be held against; `data`
    says where those come from, as the manifest's `lineage.data`.
    """
    features = [(feature,) if isinstance(feature, str) else tuple(feature) for feature in features]
    names = [feature[0] for feature in features]
    rows, labels = np.ascontiguousarray(rows, dtype=np.float32), np.asarray(labels)
    if rows.ndim != 2 or rows.shape[1] != len(names) or len(rows) != len(labels):
        raise ValueError(f"rows of shape {rows.shape} do not go with {len(names)} features and {len(labels)} labels")
    folder = Path(repository) / name
    target = folder / version
    if target.exists():
        raise FileExistsError(f"{target} is there already: a version is never changed, give this one another name")
    onnx = convert_sklearn(
        model,
        initial_types=[("features", FloatTensorType([None, len(names)]))],
        options={id(model): {"zipmap": False}},
        target_opset={"": 17, "ai.onnx.ml": 3},
    ).SerializeToString()

    # Pin some answers, as ONNX Runtime gives them.
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    pinned = []
    for place in np.unique(np.linspace(0, len(rows) - 1, samples).astype(int)):
        row = rows[place : place + 1]
        (probabilities,) = session.run(["probabilities"], {"features": row})
        pinned.append(
            {
                "name": f"row {place}",
                "request": {name: float(value) for name, value in zip(names, row[0])},
                "inputs": {"features": tensor(row)},
                "outputs": {"probabilities": tensor(probabilities)},
                "tolerance": 1e-4,
            }
        )

    probabilities = session.run(["probabilities"], {"features": rows})[0]
    classes = np.asarray(model.classes_)
    metrics = {"accuracy": float(accuracy_score(labels, classes[probabilities.argmax(axis=1)]))}
    if len(classes) == 2 and len(np.unique(labels)) == 2:
        metrics["roc_auc"] = float(roc_auc_score(labels, probabilities[:, 1]))
    bounds = lambda feature: dict(zip(("unit", "minimum", "maximum"), feature[1:]))
    manifest = {
        "schema": 1,
        "name": name,
        "version": version,
        "tags": list(tags),
        "created": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lineage": {
            "data": list(data),
            **({"code": revision()} if revision() else {}),
            "framework": f"scikit-learn {sklearn.__version__}",
            **({"parent": parent} if parent else {}),
        },
        "metrics": metrics,
        "contract": {
            "features": [{"name": feature[0], "type": "number", **bounds(feature)} for feature in features],
            "inputs": [{"name": "features", "type": "f32", "shape": [None, len(names)]}],
            "outputs": [{"name": "probabilities", "type": "f32", "shape": [None, len(classes)]}],
            "labels": [str(int(label)) if isinstance(label, np.bool_) else str(label) for label in classes],
            "pipeline": {"name": pipeline[0], "version": pipeline[1]},
            "runtime": ">=1.17",
        },
        "samples": pinned,
        **({"profile": profile(np.asarray(trained_on), names)} if trained_on is not None else {}),
        "files": [{"path": "model.onnx", "size": len(onnx), "sha256": hashlib.sha256(onnx).hexdigest()}],
    }

    # Publish: aside, synced, renamed.
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".aside-{secrets.token_hex(12)}"
    try:
        (aside / "whole").mkdir(parents=True)
        synced(aside / "whole" / "model.onnx", onnx)
        synced(aside / "whole" / "manifest.json", json.dumps(manifest, indent=2).encode() + b"\n")
        sync_folder(aside / "whole")
        os.rename(aside / "whole", target)  # refused where the version came there meanwhile
        sync_folder(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    if tags:
        file = folder / ".tags.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        known.update({tag: version for tag in tags})
        new = folder / f".tags.json.{secrets.token_hex(12)}"
        synced(new, json.dumps(known, indent=2).encode())
        os.rename(new, file)
        sync_folder(folder)
    return manifest


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("repository", type=Path)
    arguments.add_argument("model")
    arguments.add_argument("version")
    arguments.add_argument("--month", type=int, choices=range(1, 12), default=3, metavar="1..11")
    arguments.add_argument("--parent")
    arguments.add_argument("--tag", action="append", default=[])
    arguments = arguments.parse_args()
    month = arguments.month
    rows, late = load({month})
    test_rows, test_late = load({month + 1})
    begins, ends = (datetime.datetime(2013, number, 1, tzinfo=ZoneInfo("America/New_York")) for number in (month, month + 1))
    utc = lambda moment: moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    data = {
        "name": f"departures from New York, {calendar.month_name[month]} 2013",
        "location": os.path.relpath(DATA),
        "sha256": sha256(DATA),
        "rows": len(rows),
        "from": utc(begins),
        "to": utc(ends - datetime.timedelta(seconds=1)),
    }
    try:
        manifest = publish(
            arguments.repository, arguments.model, arguments.version,
            make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, late), test_rows, test_late,
            features=FEATURES, pipeline=("at-departure", "1.0"), trained_on=rows, data=[data], parent=arguments.parent,
            tags=arguments.tag,
        )
    except FileExistsError as error:
        raise SystemExit(error)
    accuracy = manifest["metrics"]["accuracy"]
    target = arguments.repository / arguments.model / arguments.version
    print(f"{target}: accuracy {accuracy:.3f} on {len(test_rows)} flights of {calendar.month_name[month + 1]}")


if __name__ == "__main__":
    main()
