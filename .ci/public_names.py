#!/usr/bin/env python3
"""No two public items of the crate go by one name: whoever imports two modules would have to rename one of them.

Reads the pages that `cargo doc --no-deps --all-features` has written. An item that is shown in two modules is one: its pages
link to one place in the source. Prints what is wrong and exits with 1.
"""
import collections
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGES = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "doc", "switchback")

# Said with their modules, which say of what: whether a model holds to what it must, and whether a fleet's store does.
BY_MODULE = {"conformance"}


def items():
    """Kind, name, path and page of every item."""
    try:
        text = open(os.path.join(PAGES, "all.html"), encoding="utf-8").read()
    except FileNotFoundError:
        sys.exit("public_names: run `cargo doc --no-deps --all-features` first")
    for page, path in re.findall(r'<li><a href="([^"]+)">([\w:]+)</a></li>', text):
        kind = os.path.basename(page).split(".")[0]
        yield kind, path.rsplit("::", 1)[-1], path, page


def source(page):
    """Where the item stands in the source."""
    text = open(os.path.join(PAGES, page), encoding="utf-8").read()
    found = re.search(r'<a class="src[^"]*" href="([^"]*/src/switchback/[^"]+)"', text)
    # Of a macro's making there is no place: then its page is all that tells it apart.
    return found[1].rsplit("/src/", 1)[-1] if found else page


def main():
    found = collections.defaultdict(dict)
    count = 0
    for kind, name, path, page in items():
        count += 1
        found[name].setdefault(source(page), []).append(f"{kind} {path}")
    wrong = [
        f"{name}: " + ", ".join(sorted(one[0] for one in places.values()))
        for name, places in sorted(found.items())
        if len(places) > 1 and name not in BY_MODULE
    ]
    if count < 100:
        wrong.append(f"only {count} items were found: the pages are not what this reads")
    print("\n".join(wrong) or f"public names are unique: {len(found)} of {count} items")
    sys.exit(bool(wrong))


main()
