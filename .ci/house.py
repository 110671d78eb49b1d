#!/usr/bin/env python3
"""Holds the house: imports between the rooms of src/ go down the list in ARCHITECTURE.md, and no files import in a circle.

An import is a `use` or a path that begins with `crate::`, `super::` or `self::`, outside of tests and comments. A path
through a `pub use` counts as an import of the file that defines the thing; a room's `mod.rs` that re-exports its own
files imports nothing. Prints what is wrong and exits with 1; `--list` prints the imports between rooms.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SRC = os.path.join(ROOT, "src")


def rooms():
    """The list between the two marks in ARCHITECTURE.md, the uppermost room first."""
    text = open(os.path.join(ROOT, "ARCHITECTURE.md"), encoding="utf-8").read()
    listed = text.split("<!-- rooms -->")[1].split("<!-- /rooms -->")[0]
    return re.findall(r"^\| `(\w+)` ", listed, re.M)


def module_of(path):
    parts = os.path.relpath(path, SRC)[:-3].split(os.sep)
    if parts == ["lib"]:
        return ()
    return tuple(parts[:-1] if parts[-1] == "mod" else parts)


def code_of(text):
    """Without comments, strings and what only tests see."""
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', re.sub(r"//[^\n]*", "", text))
    return re.sub(r"#\[cfg\(test\)\]\s*mod \w+ \{.*?\n\}", "", text, flags=re.S)


def leaves(tree, before=()):
    """The paths of a use tree, each with the name that it goes by."""
    tree = tree.strip()
    grouped = re.match(r"^((?:\w+::)*)\{(.*)\}$", tree, re.S)
    if not grouped:
        path, _, name = tree.partition(" as ")
        parts = before + tuple(path.strip().split("::"))
        parts = parts[:-1] if parts[-1] == "self" else parts
        yield parts, name.strip() or parts[-1]
        return
    before += tuple(part for part in grouped[1].split("::") if part)
    depth, one = 0, ""
    for letter in grouped[2] + ",":
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            if one.strip():
                yield from leaves(one, before)
            one = ""
        else:
            one += letter


def texts_of(place):
    """The sources in a file or a folder."""
    path = os.path.join(ROOT, place)
    files = [path] if os.path.isfile(path) else [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return [open(file, encoding="utf-8").read() for file in files if file.endswith(".rs")]


def main():
    files = {}
    for folder, _, names in os.walk(SRC):
        # A program of its own, which sees of the library what everybody does.
        if os.path.relpath(folder, SRC).split(os.sep)[0] == "bin":
            continue
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".rs") and "tests" not in os.path.relpath(path, SRC)[:-3].split(os.sep):
                files[module_of(path)] = code_of(open(path, encoding="utf-8").read())

    def absolute(parts, module):
        if parts[0] == "crate":
            return parts[1:]
        if parts[0] in ("self", "super"):
            while parts and parts[0] in ("self", "super"):
                module, parts = (module[:-1] if parts[0] == "super" else module), parts[1:]
            return module + parts
        return module + parts if module + parts[:1] in files else None

    uses = {module: list(re.finditer(r"^( *)(pub(?:\([^)]*\))? )?use ([^;]+);", code, re.M)) for module, code in files.items()}
    exported = {}
    for module, found in uses.items():
        for use in found:
            if use[2] and not use[1]:
                for parts, name in leaves(use[3]):
                    target = absolute(parts, module)
                    if target:
                        exported[module, name] = target

    def file_of(path, depth=0):
        """The file that defines what a path names."""
        module = next(path[:length] for length in range(len(path), -1, -1) if path[:length] in files)
        rest = path[len(module):]
        if rest and (module, rest[0]) in exported and depth < 8:
            return file_of(exported[module, rest[0]] + rest[1:], depth + 1)
        return module

    imports = {module: set() for module in files}
    for module, code in files.items():
        paths = []
        for use in uses[module]:
            own = use[2] and not use[1]
            for parts, _ in leaves(use[3]):
                target = absolute(parts, module)
                # A room that shows what its files define imports nothing.
                if target and not (own and target[:len(module)] == module):
                    paths.append(target)
        body = re.sub(r"^ *(pub(?:\([^)]*\))? )?use [^;]+;", "", code, flags=re.M)
        for path in re.findall(r"(?<![\w:$])(?:crate|super|self)(?:::\w+)+", body):
            target = absolute(tuple(path.split("::")), module)
            if target:
                paths.append(target)
        imports[module] = {file_of(path) for path in paths} - {module, ()}

    wrong = []
    floor = {room: place for place, room in enumerate(rooms())}
    between = {}
    for module, targets in imports.items():
        if not module:
            continue
        for target in targets:
            above, below = module[0], target[0]
            if above != below:
                between.setdefault((above, below), []).append((module, target))
            for room in (above, below):
                if room not in floor:
                    wrong.append(f"{room} is no room of ARCHITECTURE.md")
            if above != below and floor.get(above, 0) > floor.get(below, 0):
                wrong.append(f"{'/'.join(module)} imports {'/'.join(target)}, which is above it")

    # Tarjan's strongly connected components.
    index, low, stack, circles = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in imports[module]:
            if target not in index:
                visit(target)
            if target in stack:
                low[module] = min(low[module], low[target])
        if low[module] == index[module]:
            circle = []
            while not circle or circle[-1] != module:
                circle.append(stack.pop())
            if len(circle) > 1:
                circles.append(sorted("/".join(one) for one in circle))

    sys.setrecursionlimit(10_000)
    for module in files:
        if module not in index:
            visit(module)
    for circle in circles:
        wrong.append("these import in a circle: " + ", ".join(circle))
        if "--why" in sys.argv:
            for module in circle:
                own = sorted("/".join(t) for t in imports[tuple(module.split("/"))] if "/".join(t) in circle)
                wrong.append(f"    {module} -> {', '.join(own)}")
    # A `main`, `unwrap` and logs print `Debug`: of a public error it is the sentence (`base/causes`), never the fields.
    errors = re.compile(r"#\[derive\(([^)]*)\)\]\n(?:(?!#\[derive|\n\n)[\s\S])*?^pub (?:struct|enum) (\w+)", re.M)
    for module, code in files.items():
        for derived, name in errors.findall(code):
            if "Debug" in derived and re.search(r"\bError\b", derived):
                wrong.append(f"{'/'.join(module)}: {name} derives Debug: write `debug_as_told!({name})` instead")
        # A message tells its causes, since many print that alone; what is its source too is told twice by whoever prints all of them.
        for variant in re.findall(r"#\[error\((?!transparent)(?:(?!#\[error\(|\n\}|#\[cfg\(test)[\s\S])*", code):
            if re.search(r"#\[(?:source|from)\b|^\s*source:", variant, re.M):
                wrong.append(f"{'/'.join(module)}: an error has a message and a source: tell its `cause` in the message: {' '.join(variant.split())[-90:]}")
    # Its functions are as public as the struct, and hide the checked ones of the trait: `checked_when_read!` has a form that nobody sees.
    for path in (os.path.join(folder, name) for folder, _, names in os.walk(SRC) for name in names):
        if re.search(r'remote\s*=\s*"Self"', open(path, encoding="utf-8").read()):
            wrong.append(f"{os.path.relpath(path, ROOT)}: what is `remote = \"Self\"` is read past its checks: write `checked_when_read!` instead")
    # Each invariant is named where it is tested.
    architecture = open(os.path.join(ROOT, "ARCHITECTURE.md"), encoding="utf-8").read()
    for number, places in re.findall(r"^\| (\d+) \| .* \| ([^|]*) \|$", architecture, re.M):
        named = re.compile(r"\b[Ii]nvariants? (?:[\d, ]|and )*\b%s\b" % number)
        if not any(named.search(text) for place in re.findall(r"`([^`]+)`", places) for text in texts_of(place)):
            wrong.append(f"invariant {number} is named by none of {places}")
    if "--list" in sys.argv:
        for (above, below), found in sorted(between.items()):
            print(f"{above} -> {below}: {len(found)}")
    print("\n".join(dict.fromkeys(wrong)) or f"the house holds: {len(files)} files, {sum(map(len, between.values()))} imports between rooms, all downwards, no circle")
    sys.exit(bool(wrong))


main()
