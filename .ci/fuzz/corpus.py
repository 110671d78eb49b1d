"""Packs what fuzzing has found into a file for each parser, and unpacks it: some thousand files of a few bytes are in nobody's way then.

    corpus.py pack <folder> <file> <bytes>
    corpus.py unpack <file> <folder>

A packed corpus is its inputs one after the other, each with its length before it in four bytes, the lowest first. The shortest
inputs come first, and are taken for as long as they are within those bytes.
"""

import hashlib
import pathlib
import struct
import sys


def pack(folder: pathlib.Path, packed: pathlib.Path, most: str) -> None:
    inputs = sorted((path.read_bytes() for path in folder.iterdir()), key=lambda one: (len(one), one))
    taken = b""
    for one in inputs:
        if len(taken) + 4 + len(one) > int(most):
            break
        taken += struct.pack("<I", len(one)) + one
    packed.write_bytes(taken)


def unpack(packed: pathlib.Path, folder: pathlib.Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rest = packed.read_bytes() if packed.exists() else b""
    while rest:
        (length,) = struct.unpack_from("<I", rest)
        one, rest = rest[4 : 4 + length], rest[4 + length :]
        (folder / hashlib.sha1(one).hexdigest()).write_bytes(one)


if __name__ == "__main__":
    what, first, second, *most = sys.argv[1:]
    {"pack": pack, "unpack": unpack}[what](pathlib.Path(first), pathlib.Path(second), *most)
