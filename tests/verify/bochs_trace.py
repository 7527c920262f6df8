#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""bochs_trace.py commands|record VERIFIED [ANSWERS]: what hv-exit-trace does in QEMU, with Bochs's debugger.

VERIFIED is what `hv-verify --json` says of the image. `commands` prints what the debugger has to be told: trace from the
first entry until the way of exits is left. `record` reads the debugger's answers and prints a record for
`hv-verify --executed`. An instruction is the image's if its physical address is: a guest may use the same addresses.
"""
import json
import re
import sys

LINE = re.compile(r"\(0\)\.\[\d+\] \[0x([0-9a-f]+)\] [0-9a-f]+:([0-9a-f]+) .*; ([0-9a-f]+)$")


def commands(verified):
    # Breakpoints count from 1, entries first. Each leave is reached once, from an entry.
    entries, leaves = verified["entries"], verified["leave_returns"]
    numbers = range(1, len(entries) + 1)
    made = [f"lb {a:#x}" for a in entries + leaves]
    for _ in verified["leaves"]:
        made += [*(f"bpe {n}" for n in numbers), "c", *(f"bpd {n}" for n in numbers), "trace on", "c", "trace off"]
    return [*made, *(f"d {n + 1}" for n in range(len(entries + leaves))), "c"]


def record(verified, answers):
    text, entries, leaves = verified["text"], set(verified["entries"]), set(verified["leave_returns"])
    world, found = "outside", {}
    for line in answers:
        seen = LINE.match(line)
        if not seen:
            continue
        physical, linear, code = int(seen[1], 16), int(seen[2], 16), seen[3]
        of_image = any(first <= physical < end for first, end in text)
        arrives = world == "guest" and of_image
        if arrives:
            world = "hot"
        if world == "hot":
            counts = found.setdefault((linear, code), [0, 0])
            counts[0] += 1
            counts[1] += arrives
        if of_image and linear in entries:
            world = "guest"
        elif world == "hot" and linear in leaves:
            world = "outside"
    return [f"{at:x} {code} {count:x} {exits:x}" for (at, code), (count, exits) in sorted(found.items())]


with open(sys.argv[2], encoding="ascii") as stream:
    said = json.load(stream)
if sys.argv[1] == "commands":
    print("\n".join(commands(said)))
else:
    with open(sys.argv[3], encoding="utf-8", errors="replace") as stream:
        print("\n".join(record(said, stream)))
