#!/usr/bin/env python3
"""What the library costs to build, from an empty target: processor seconds and crates, of the default features and of the core
alone. Writes target/figures/build.json.

    python3 .ci/build_cost.py
"""
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def measured(*features):
    target = tempfile.mkdtemp(prefix="switchback-build-")
    command = ["cargo", "build", "--release", "--lib", "--target-dir", target, *features]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, cwd=ROOT, env={**os.environ, "CARGO_INCREMENTAL": "0"}, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    shutil.rmtree(target, ignore_errors=True)
    if said.returncode:
        sys.exit(said.stderr)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return round(seconds, 1), sum(line.lstrip().startswith("Compiling ") for line in said.stderr.splitlines())


subprocess.run(["cargo", "fetch", "--quiet"], cwd=ROOT, check=True)
figures = {}
figures["default_cpu_s"], figures["default_crates"] = measured()
figures["core_cpu_s"], figures["core_crates"] = measured("--no-default-features")
folder = os.path.join(ROOT, "target", "figures")
os.makedirs(folder, exist_ok=True)
with open(os.path.join(folder, "build.json"), "w", encoding="utf-8") as file:
    json.dump(figures, file, indent=2)
print(json.dumps(figures))
