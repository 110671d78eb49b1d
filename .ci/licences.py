#!/usr/bin/env python3
"""Every crate that a user of any feature builds is under a licence that this list allows, comes from crates.io, and is there once.

A licence is an SPDX expression: of alternatives (`OR`, `/`) one has to be allowed, of what belongs together (`AND`) all.

Instead of cargo-deny, of whose four checks these are three (`licenses`, `sources`, `bans`): it would be built in CI from some
400 crates of its own, for a hundred lines. Its fourth, `advisories`, changes without us: what passed yesterday fails today, so
it belongs to a job that runs by the clock (`cargo deny check advisories`, or `cargo audit`) and holds up no change.
"""
import json
import re
import subprocess
import sys

ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT",
    "Unicode-3.0", "Unlicense", "Zlib",
    # Of data: Mozilla's list of certificate authorities, where a system has none.
    "CDLA-Permissive-2.0",
}


def is_allowed(expression):
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|\bAND\b|\bOR\b|[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.+-]+)?", expression)
    place = 0

    def one():
        nonlocal place
        token = tokens[place]
        place += 1
        if token != "(":
            return token in ALLOWED
        inside = joined("OR")
        place += 1
        return inside

    def joined(word):
        """What is joined by this word; `AND` binds more tightly."""
        nonlocal place
        part = (lambda: joined("AND")) if word == "OR" else one
        values = [part()]
        while place < len(tokens) and tokens[place] == word:
            place += 1
            values.append(part())
        return any(values) if word == "OR" else all(values)

    return joined("OR")


# What this has to tell apart, before it is believed.
assert is_allowed("(MIT OR GPL-3.0) AND Unicode-3.0") and is_allowed("GPL-3.0/MIT")
assert not is_allowed("GPL-3.0") and not is_allowed("MIT AND GPL-3.0") and not is_allowed("(MIT OR ISC) AND GPL-3.0")

command = ["cargo", "metadata", "--locked", "--all-features", "--format-version", "1"]
metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
# What our own targets alone are built with is nobody's but ours.
waiting, found = [metadata["resolve"]["root"]], set()
while waiting:
    crate = waiting.pop()
    if crate not in found:
        found.add(crate)
        waiting += [
            needed["pkg"] for needed in nodes[crate]["deps"]
            if any(kind["kind"] != "dev" for kind in needed["dep_kinds"])
        ]
refused = [
    f"{package['name']} {package['version']}: {package['license'] or 'no licence'}"
    for package in (packages[crate] for crate in sorted(found))
    if not is_allowed(package["license"] or "none")
]
if refused:
    sys.exit("these licences are not allowed:\n" + "\n".join(refused))
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"
# In two versions, until those who need the older one move on: macros (half), digests and chance (tokens of cloud providers),
# calls of Windows, base64 (a password's exchange with PostgreSQL), const-oid (its certificate), and wasi, which only a browser's build has.
TWICE = {"base64", "const-oid", "crypto-common", "digest", "getrandom", "syn", "wasi", "windows-sys"}
elsewhere = [
    f"{packages[crate]['name']}: {packages[crate]['source']}"
    for crate in sorted(found)
    if crate != metadata["resolve"]["root"] and packages[crate]["source"] != CRATES_IO
]
if elsewhere:
    sys.exit("these are not from crates.io:\n" + "\n".join(elsewhere))
versions = {}
for crate in found:
    versions.setdefault(packages[crate]["name"], []).append(packages[crate]["version"])
twice = {name: sorted(those) for name, those in versions.items() if len(those) > (2 if name in TWICE else 1)}
if twice:
    sys.exit("these are built more than once: take one version, or say why not in TWICE:\n" + "\n".join(map(str, sorted(twice.items()))))
print(f"{len(found)} crates, from crates.io, none twice but {', '.join(sorted(TWICE))}, each under a licence that is allowed")
