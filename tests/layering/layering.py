# SPDX-License-Identifier: BSD-2-Clause
"""layering.py ROOT: checks a checkout against the floors of its house and prints each fault as FILE:LINE: [rule] text."""

import fnmatch
import os
import pathlib
import re
import subprocess
import sys

import floors

SOURCE_SUFFIXES = {".hpp", ".cpp", ".h", ".c", ".S", ".ld", ".lds", ".cmake", ".in", ".py", ".sh", ".awk"}
SOURCE_NAMES = {"CMakeLists.txt", "Kbuild", "Makefile", "hv"}
# Frozen inputs of tests and this check's own examples.
NOT_OURS = ("tests/frozen/",)

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", r"\bX" + r"XX\b", r"\bHA" + r"CK\b")))
FUNCTION_POINTER = re.compile(r"\(\s*(?:\w+\s*::\s*)*\*\s*(?!this\b)(?:const\s+)?\w*\s*\)\s*\(|\bstd::(?:move_only_)?function\b")


def sources(root):
    """Paths of all source files, relative to the root."""
    if (root / ".git").exists():
        listed = subprocess.run(
            ["git", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard"],
            check=True, capture_output=True, text=True).stdout.splitlines()
    else:
        listed = [os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names]
    for path in sorted(set(listed)):
        named = pathlib.PurePosixPath(path)
        wanted = named.suffix in SOURCE_SUFFIXES or named.name in SOURCE_NAMES
        if wanted and not path.startswith(NOT_OURS) and (root / path).is_file():
            yield path


def without_comments(text):
    """The code: comments and literals become spaces, lines stay where they are."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0))
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n]){1,4}\'', blank, text, flags=re.DOTALL)


def matches(path, patterns):
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def room_of(header):
    for pattern, room, floor in floors.ROOMS:
        if fnmatch.fnmatchcase(header, pattern):
            return room, floor
    return None, None


def part_of(header):
    """The device or backend that a header belongs to: devices/lapic_timer.hpp and devices/lapic.hpp are one."""
    return re.split(r"[/_.]", header.split("/", 1)[1], maxsplit=1)[0]


def includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        if found := INCLUDE.match(line):
            yield number, found.group(1), found.group(2)


def include_fault(header, target):
    """Why one header of include/hv may not include another: a rule and a sentence, or nothing."""
    room, floor = room_of(header)
    other, below = room_of(target)
    if room is None:
        return None  # reported once, for the file
    if other is None:
        return "floor", f"{target} has no floor"
    if room == "devices" and other == "devices":
        name, other_name = header.split("/", 1)[1], target.split("/", 1)[1]
        if name in floors.DEVICE_COLLECTIONS or other_name in floors.SHARED_DEVICE_PARTS or part_of(header) == part_of(target):
            return None
        return "sibling", f"a device includes another one: {target}"
    if room == "backends" and other == "backends":
        if part_of(header) != part_of(target):
            return "sibling", f"a backend includes another one: {target}"
        return None
    if room == other or (room, other) in floors.ALLOWED_ON_FLOOR:
        return None
    if below == floor and floor >= 2:
        return "sibling", f"{room} and {other} are on one floor and never include each other: {target}"
    if below > floor:
        return "floor", f"{room}, on floor {floor}, includes {other}, on floor {below}: {target}"
    if below > floors.HIGHEST_FLOOR_FOR.get(room, below) or other in floors.FORBIDDEN_FOR.get(room, ()):
        return "floor", f"{room} may not know {other}: {target}"
    return None


def library_faults(header, text):
    """Faults of one header below include/hv, as (line, rule, sentence)."""
    if room_of(header)[0] is None:
        yield 1, "floor", "the header has no floor: name it in tests/layering/floors.py"
    for number, quote, target in includes(text):
        if quote == '"':
            yield number, "include", f"the library includes by <hv/...>: {target}"
        elif target.startswith("hv/"):
            if fault := include_fault(header, target[3:]):
                yield number, *fault
        elif target.startswith(("boost/", "range/")):
            if not header.startswith("meta/"):
                yield number, "meta", f"only meta/ includes it: {target}"
        elif target in floors.C_FREESTANDING and header.startswith("abi/"):
            pass
        elif target not in floors.FREESTANDING and not header.startswith("backends/fake"):
            yield number, "host", f"a header that needs a host: {target}"

    vendor_room = matches(header, floors.VENDOR_ROOMS)
    for number, line in enumerate(text.splitlines(), 1):
        named = {word for word in re.split(r"[^A-Za-z]+", line.lower()) if word in floors.VENDOR_WORDS}
        # Words that merely open a path to a vendor's room are judged with the include.
        if named and not vendor_room and not INCLUDE.match(line):
            yield number, "vendor", f"a vendor's word outside its rooms: {', '.join(sorted(named))}"
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        if re.search(r"\bvirtual\b", line):
            yield number, "virtual", "a virtual function"
        if header != "hooks.hpp" and not header.startswith("backends/fake") and FUNCTION_POINTER.search(line):
            yield number, "pointer", "a function pointer"


def common_faults(path, text):
    """Faults that any source file can have."""
    lines = text.splitlines()
    if not any("SPDX-License-Identifier: BSD-2-Clause" in line for line in lines[:3]):
        yield 1, "licence", "no SPDX line"
    if path.endswith(".hpp") and "#pragma once" not in lines:
        yield 1, "once", "no #pragma once"
    for number, line in enumerate(lines, 1):
        if found := UNFINISHED.search(line):
            yield number, "unfinished", f"unfinished work: {found.group(0)}"


def cycle_faults(graph):
    """Headers that include each other, once for each cycle. One device or backend may split a class that way."""
    state = {}

    def visit(header, way):
        if state.get(header) == "done":
            return
        if header in way:
            cycle = [*way[way.index(header):], header]
            parts = {part_of(h) if h.startswith(("devices/", "backends/")) else h for h in cycle}
            if len(parts) == 1:
                return
            yield header, " -> ".join(cycle)
            return
        for target in graph.get(header, ()):
            yield from visit(target, [*way, header])
        state[header] = "done"

    for header in sorted(graph):
        yield from visit(header, [])


def check(root):
    """All faults of a tree, as (path, line, rule, sentence)."""
    graph = {}
    for path in sources(root):
        text = (root / path).read_text(encoding="utf-8")
        for fault in common_faults(path, text):
            yield path, *fault
        if path.startswith("include/hv/"):
            header = path.removeprefix("include/hv/")
            graph[header] = [target[3:] for _, _, target in includes(text) if target.startswith("hv/")]
            for fault in library_faults(header, text):
                yield path, *fault
    for header, way in cycle_faults(graph):
        yield f"include/hv/{header}", 1, "cycle", f"headers include each other: {way}"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: layering.py ROOT")
    faults = list(check(pathlib.Path(sys.argv[1])))
    for path, line, rule, text in faults:
        print(f"{path}:{line}: [{rule}] {text}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
