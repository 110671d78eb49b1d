"""Measures the checked-in models over the replay months, and says what the replay will look like.

    python evaluate.py

Prints, as Markdown: the versions by month, what each mistaken unit would have cost, and facts of the traffic.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from flights import ENCODING, REPLAY_MONTHS, VERSIONS, at_departure, load, session

# (feature, the unit someone might send instead, factor, offset added first). The first is what v3 does.
MISTAKES = [
    ("dep_delay", "seconds", 60, 0),
    ("dep_delay", "hours", 1 / 60, 0),
    ("block", "seconds", 60, 0),
    ("block", "hours", 1 / 60, 0),
    ("temp", "Celsius", 5 / 9, -32),
    ("distance", "km", 1.609, 0),
    ("pressure", "inches of mercury", 0.02953, 0),
    ("humid", "0 to 1", 0.01, 0),
    ("visib", "metres", 1609, 0),
    ("wind_speed", "m/s", 0.447, 0),
]


def main():
    rows = load()
    for version, (file, encode) in VERSIONS.items():
        rows[version] = probability(file, encode(rows))
    replay = rows[rows["month"].isin(REPLAY_MONTHS)]
    known = replay[replay["late"].notna()]

    print("## Versions over the replay\n")
    show(pd.DataFrame({version: figures(known["late"], known[version]) for version in VERSIONS}).T)
    print("\n## Accuracy by month\n")
    show(by_month(known, lambda month, version: np.mean((month[version] >= 0.5) == month["late"])))
    print("\n## Precision / recall by month\n")
    show(by_month(known, precision_and_recall))
    print("\n## AUC by month\n")
    show(by_month(known, lambda month, version: roc_auc_score(month["late"], month[version])))

    print("\n## v3.onnx with one feature in a wrong unit\n")
    harm = {}
    for name, unit, factor, offset in MISTAKES:
        inputs = mistaken(known, name, factor, offset)
        harm[f"{name} in {unit}"] = figures(known["late"], probability("v3.onnx", inputs))
    show(pd.DataFrame(harm).T)

    print("\n## Traffic by month\n")
    months = rows.groupby("month")
    wait = ((rows["arrived"] - rows["departed"]) / 60).groupby(rows["month"])
    show(pd.DataFrame({
        "flights": months.size(),
        "a day": (months.size() / months["day"].nunique()).round().astype(int),
        "late": months["late"].mean(),
        "truth never comes": months["late"].apply(lambda late: late.isna().sum()),
        "hours to truth, median": wait.median(),
        "95 %": wait.quantile(0.95),
        "max": wait.max(),
    }))  # fmt: skip

    print("\n## Same answer or not, over the replay\n")
    pairs = [("v1", "v2"), ("v2", "v3"), ("v2", "v4"), ("v3", "v4")]
    show(pd.DataFrame({f"{a}, {b}": disagreement(known, a, b) for a, b in pairs}).T)


def probability(file, inputs):
    return session(file).run(["probabilities"], inputs)[0][:, 1]


def mistaken(rows, name, factor, offset):
    inputs = at_departure(rows)
    column = inputs["features"][:, ENCODING["features"].index(name)]
    column += np.float32(offset)
    column *= np.float32(factor)
    return inputs


def figures(late, probability):
    warned, late = probability >= 0.5, late == 1
    hits = (warned & late).sum()
    return {
        "accuracy": np.mean(warned == late),
        "precision": hits / max(warned.sum(), 1),
        "recall": hits / late.sum(),
        "AUC": roc_auc_score(late, probability),
        "Brier": np.mean((probability - late) ** 2),
        "warned": warned.mean(),
    }


def precision_and_recall(rows, version):
    return "{precision:.3f} / {recall:.3f}".format(**figures(rows["late"], rows[version]))


def disagreement(rows, a, b):
    """How often two versions answer differently, and which one is then right."""
    says_a, says_b, late = rows[a] >= 0.5, rows[b] >= 0.5, rows["late"] == 1
    return {
        "disagree": np.mean(says_a != says_b),
        "first right": np.mean((says_a != says_b) & (says_a == late)),
        "second right": np.mean((says_a != says_b) & (says_b == late)),
        "mean |difference|": (rows[a] - rows[b]).abs().mean(),
    }


def by_month(rows, figure):
    months = {month: group for month, group in rows.groupby("month")}
    return pd.DataFrame({version: {m: figure(group, version) for m, group in months.items()} for version in VERSIONS})


def show(table):
    written = table.map(lambda value: f"{value:.3f}" if isinstance(value, float) else str(value))
    print("| | " + " | ".join(map(str, written.columns)) + " |")
    print("|---" * (len(written.columns) + 1) + "|")
    for name, values in written.iterrows():
        print(f"| {name} | " + " | ".join(values) + " |")


if __name__ == "__main__":
    main()
