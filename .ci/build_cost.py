#!/usr/bin/env python3
"""What the library costs to build, and what each feature is.

    python3 .ci/build_cost.py              measures, and writes target/figures/build.json
    python3 .ci/build_cost.py --quick      the library alone: neither the size of a host nor what it costs to build it again
    python3 .ci/build_cost.py --features   the lines and the dependencies of each feature, as the README's table has them
    python3 .ci/build_cost.py --check      whether the README's lines are still right, to a twentieth

The library is built as a service builds it: a host of one file outside of this workspace, with the profile that cargo gives
it, from an empty target. Processor seconds, user and system: the machine may be shared.
"""
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SRC = os.path.join(ROOT, "src")


def code_lines(path):
    """Lines that are neither blank, nor comments, nor in a module of tests at the end."""
    text = re.sub(r"#\[cfg\(test\)\]\s*mod \w+ \{.*?\n\}", "", open(path, encoding="utf-8").read(), flags=re.S)
    return sum(bool(line.strip()) and not line.strip().startswith("//") for line in text.splitlines())


def lines_by_feature():
    """Walks the modules: a file belongs to the features that its own declaration, or one above it, asks for."""
    lines = {}

    def walk(path, folder, needs):
        key = " and ".join(sorted(needs)) or "the core"
        lines[key] = lines.get(key, 0) + code_lines(path)
        text = open(path, encoding="utf-8").read()
        for attributes, name in re.findall(r"((?:^#\[.*\]\n)*)^(?:pub(?:\([^)]*\))? )?mod (\w+);", text, re.M):
            if "cfg(test)" in attributes:
                continue
            # A stand-in is what is there without the feature, so the file itself is the feature's.
            wanted = set(re.findall(r'feature = "([\w-]+)"', attributes)) if "any(" not in attributes else set()
            for place in (os.path.join(folder, name + ".rs"), os.path.join(folder, name, "mod.rs")):
                if os.path.exists(place):
                    walk(place, os.path.join(folder, name), needs | wanted)

    walk(os.path.join(SRC, "lib.rs"), SRC, set())
    return lines


def crates(*features):
    command = ["cargo", "tree", "--edges", "normal", "--prefix", "none", "--no-dedupe", "--no-default-features", *features]
    told = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {line.split()[0] for line in told.splitlines() if line} - {"switchback"}


def features():
    lines, core = lines_by_feature(), crates()
    print(f"core: {lines['the core']} lines, {len(core)} crates")
    manifest = open(os.path.join(ROOT, "Cargo.toml"), encoding="utf-8").read()
    listed = re.findall(r"^([\w-]+) = \[", manifest.split("[features]")[1].split("[dependencies]")[0], re.M)
    for feature in listed:
        if feature != "default":
            added = sorted(crates("--features", feature) - core)
            print(f"{feature}: {lines.get(feature, 0)} lines; {', '.join(added) or 'no crates'}")
    for several, count in sorted(lines.items()):
        if " and " in several:
            print(f"{several}: {count} lines")


def check():
    """The README says how much each feature is: to a twentieth, so that not every change has to touch it."""
    lines = lines_by_feature()
    text = open(os.path.join(ROOT, "README.md"), encoding="utf-8").read()
    said = {"the core": re.search(r"whatever implements `Model`: ([\d,]+)\s+lines", text)[1]}
    for feature, more in re.findall(r"^\| `([\w-]+)` \| (?:yes|no) \|.*\| ([^|]+) \| [^|]+ \|$", text, re.M):
        if "in the program alone" not in more:
            own, _, with_onnx = more.partition("; ")
            said[feature] = re.match(r"[\d,]+", own)[0]
            if re.fullmatch(r"[\d,]+", with_onnx):
                said[f"{feature} and onnx"] = with_onnx
    wrong = []
    for feature, number in said.items():
        # One that has no lines of its own has those which it shares with the feature that it asks for.
        with_another = [count for names, count in lines.items() if feature in names.split(" and ")]
        own = lines.get(feature) or lines.get(" and ".join(sorted(feature.split(" and ")))) or max(with_another, default=0)
        if abs(int(number.replace(",", "")) - own) > max(own / 20, 20):
            wrong.append(f"README: `{feature}` has {own} lines, and it says {number}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"the README's lines of {len(said)} features are right to a twentieth")


HOST = """[package]
name = "host"
version = "0.0.0"
edition = "2024"

[dependencies]
%s
[workspace]
"""

# Enough of the library that all of a service's own code of it is made: what is generic over its types.
MAIN = """
fn main() {
    let handle = switchback::ModelHandle::builder("host")
        .live("v1", switchback::closure("half@1", |x: &f64| Ok(x / 2.0)))
        .task(switchback::Task::regression(|y: &f64| *y))
        .shadowing(switchback::options::Shadowing::new())
        .build()
        .expect("it is built");
    let rollout = handle.stage("v2", switchback::closure("third@1", |x: &f64| Ok(x / 3.0))).expect("it is staged");
    let plan = switchback::Plan::ramp([0.1, 0.5]).expect("it is a plan");
    let rollout = rollout.guard(switchback::guard::error_rate().at_most(0.01));
    rollout.run(plan).expect("it runs");
    for n in 0..CALLS {
        let answer = handle.predict(&f64::from(n)).expect("it is answered");
        handle.feedback(answer.id(), switchback::Outcome::value(1.0));
    }
    println!("{:?}", handle.status().versions.len());
}
"""
# The same without it.
BARE = """
fn main() {
    let sum: f64 = (0..CALLS).map(|n| f64::from(n) / 2.0).sum();
    println!("{sum:?}");
}
"""


def cost(command, folder, incremental):
    """Processor seconds of a command and what it started, and what it said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, cwd=folder, env={**os.environ, "CARGO_INCREMENTAL": incremental}, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if said.returncode:
        sys.exit(said.stderr)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, said.stderr


class Host:
    """A service of one file, in a folder of its own that is removed in the end."""

    def __init__(self, dependency, main):
        self.main, self.calls = main, 10
        self.folder = tempfile.mkdtemp(prefix="switchback-build-")
        os.makedirs(os.path.join(self.folder, "src"))
        with open(os.path.join(self.folder, "Cargo.toml"), "w", encoding="utf-8") as file:
            file.write(HOST % dependency)
        shutil.copy(os.path.join(ROOT, "Cargo.lock"), self.folder)
        self.edit()
        subprocess.run(["cargo", "fetch", "--quiet"], cwd=self.folder, check=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def edit(self):
        """Changes one line."""
        self.calls += 1
        with open(os.path.join(self.folder, "src", "main.rs"), "w", encoding="utf-8") as file:
            file.write(self.main.replace("CALLS", str(self.calls)))

    def cargo(self, *arguments, incremental="0"):
        target = os.path.join(self.folder, "target")
        return cost(["cargo", arguments[0], "--target-dir", target, *arguments[1:]], self.folder, incremental)

    def library(self):
        """Processor seconds and crates of the library and all that it rests on."""
        seconds, said = self.cargo("build", "--release", "--package", "switchback")
        return round(seconds, 1), sum(line.lstrip().startswith("Compiling ") for line in said.splitlines())

    def stripped(self):
        self.cargo("rustc", "--release", "--", "-C", "strip=symbols")
        return os.path.getsize(os.path.join(self.folder, "target", "release", "host"))

    def rebuilt(self):
        """A development build after a change of one line: the least of five."""
        self.cargo("build", incremental="1")
        seconds = []
        for _ in range(5):
            self.edit()
            seconds.append(self.cargo("build", incremental="1")[0])
        return min(seconds)


def measured(quick):
    figures = {}
    path = json.dumps(ROOT)
    for name, more in [("default", ""), ("core", ", default-features = false")]:
        with Host(f"switchback = {{ path = {path}{more} }}\n", MAIN) as host:
            figures[f"{name}_cpu_s"], figures[f"{name}_crates"] = host.library()
            if quick:
                continue
            figures[f"{name}_stripped_bytes"] = host.stripped()
            if name == "default":
                figures["default_host_rebuilt_s"] = round(host.rebuilt(), 2)
    if not quick:
        with Host("", BARE) as host:
            figures["bare_stripped_bytes"] = host.stripped()
            figures["bare_host_rebuilt_s"] = round(host.rebuilt(), 2)
        figures["host_incremental_extra_s"] = round(figures["default_host_rebuilt_s"] - figures["bare_host_rebuilt_s"], 2)
    folder = os.path.join(ROOT, "target", "figures")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "build.json"), "w", encoding="utf-8") as file:
        json.dump(figures, file, indent=2)
    print(json.dumps(figures))


if "--features" in sys.argv:
    features()
elif "--check" in sys.argv:
    check()
else:
    measured("--quick" in sys.argv)
