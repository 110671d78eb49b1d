"""Publishes a scikit-learn model as a version that `switchback::repository` reads. Needs nothing of switchback's.

    pip install scikit-learn skl2onnx onnxruntime
    python examples/publish_sklearn.py models late 1 [--parent VERSION] [--tag stable]

Trains a logistic regression on the flights of two months, and writes models/late/1/ with the model, its lineage, what it
needs of its host, golden samples, and how its features were distributed. The folder appears whole or not at all: it is
written aside, synced, and renamed. `schema/manifest.schema.json` describes the manifest.
"""

import argparse
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


def profile(rows):
    """How each feature was distributed: counts between deciles, as `switchback::drift::ReferenceProfile` reads them."""
    features = []
    for place, (name, *_) in enumerate(FEATURES):
        column = rows[:, place].astype(np.float64)
        column = column[np.isfinite(column)]
        edges = np.unique(np.quantile(column, np.linspace(0, 1, 11)))
        if len(edges) == 1:  # one value: a bin of its own, and one on either side to see it change
            edges = edges[0] + np.array([-2, -1, 1, 2]) * max(abs(edges[0]) * 1e-6, 1e-12)
        counts, _ = np.histogram(column, edges)
        missing = len(rows) - len(column)
        features.append(
            {"name": name, "type": "number", "edges": edges.tolist(), "counts": counts.tolist(), "missing": missing}
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


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("repository", type=Path)
    arguments.add_argument("model")
    arguments.add_argument("version")
    arguments.add_argument("--parent")
    arguments.add_argument("--tag", action="append", default=[])
    arguments = arguments.parse_args()
    folder = arguments.repository / arguments.model
    target = folder / arguments.version
    if target.exists():
        raise SystemExit(f"{target} is there already: a version is never changed, give this one another name")

    # Train.
    rows, late = load({3})
    test_rows, test_late = load({4})
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, late)
    onnx = convert_sklearn(
        model,
        initial_types=[("features", FloatTensorType([None, len(FEATURES)]))],
        options={id(model): {"zipmap": False}},
        target_opset={"": 17, "ai.onnx.ml": 3},
    ).SerializeToString()

    # Pin some answers, as ONNX Runtime gives them.
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    samples = []
    for place in np.linspace(0, len(test_rows) - 1, SAMPLES).astype(int):
        row = test_rows[place : place + 1]
        (probabilities,) = session.run(["probabilities"], {"features": row})
        samples.append(
            {
                "name": f"flight {place} of April",
                "request": {name: float(value) for (name, *_), value in zip(FEATURES, row[0])},
                "inputs": {"features": tensor(row)},
                "outputs": {"probabilities": tensor(probabilities)},
                "tolerance": 1e-4,
            }
        )

    scores = session.run(["probabilities"], {"features": test_rows})[0][:, 1]
    now = datetime.datetime.now(datetime.timezone.utc)
    manifest = {
        "schema": 1,
        "name": arguments.model,
        "version": arguments.version,
        "tags": arguments.tag,
        "created": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lineage": {
            "data": [
                {
                    "name": "departures from New York, March 2013",
                    "location": os.path.relpath(DATA),
                    "sha256": sha256(DATA),
                    "rows": len(rows),
                    "from": "2013-03-01T05:00:00Z",
                    "to": "2013-04-01T03:59:59Z",
                }
            ],
            **({"code": revision()} if revision() else {}),
            "framework": f"scikit-learn {sklearn.__version__}",
            **({"parent": arguments.parent} if arguments.parent else {}),
        },
        "metrics": {
            "accuracy": float(accuracy_score(test_late, scores > 0.5)),
            "roc_auc": float(roc_auc_score(test_late, scores)),
        },
        "contract": {
            "features": [
                {"name": name, "type": "number", "unit": unit, "minimum": low, "maximum": high}
                for name, unit, low, high in FEATURES
            ],
            "labels": ["0", "1"],
            "pipeline": {"name": "at-departure", "version": "1.0"},
            "runtime": ">=1.17",
        },
        "samples": samples,
        "profile": profile(rows),
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
    if arguments.tag:
        tags = folder / ".tags.json"
        known = json.loads(tags.read_text()) if tags.exists() else {}
        known.update({tag: arguments.version for tag in arguments.tag})
        new = folder / f".tags.json.{secrets.token_hex(12)}"
        synced(new, json.dumps(known, indent=2).encode())
        os.rename(new, tags)
        sync_folder(folder)
    print(f"{target}: accuracy {manifest['metrics']['accuracy']:.3f} on {len(test_rows)} flights of April")


if __name__ == "__main__":
    main()
