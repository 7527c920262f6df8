#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""spent.py BUILD_DIR [OPERATION] [--json]: what hv's instructions between exit and entry are spent on.

QEMU's plugin hv-exit-trace counts each instruction while the guests of the bench run; debug information tells which
function it came from before everything was inlined. Without OPERATION: for the operations of the chart, the
instructions of each room of the house. With it: of each function, and of the file that has it. Facts of the
architecture and helpers of the language count for who uses them.
"""
import argparse
import collections
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import chart
from measure import of_image, operations, run

ROOMS = ("backends", "vcpu", "emulate", "memory", "devices", "bare")
NOBODY = re.compile(r"/include/hv/(x86|meta|abi)/|/usr/")


def room_of(source):
    if "/kernel_glue/" in source:
        return "bare"
    part = re.search(r"/include/hv/(\w+)/", source)
    return part[1] if part and part[1] in ROOMS else "vcpu"


def executed(build, image, guest, processors):
    """The operations with what was measured, and for each the average of how often an address was executed."""
    with tempfile.TemporaryDirectory() as scratch:
        known, out, parts = (Path(scratch, name) for name in ("verified", "out", "operations"))
        known.write_text(subprocess.run([build / "codegen/hv-verify", image, "--json"],
                                        capture_output=True, text=True, check=True).stdout)
        arguments, folder = of_image(image, guest, processors)
        plugin = build / "codegen/libhv-exit-trace.so"
        found = operations(run(arguments + ["-plugin", f"{plugin},verified={known},out={out},operations={parts}"], folder))
        counts = collections.defaultdict(dict)
        for line in parts.read_text().splitlines():
            number, address, _, count = line.split()
            counts[int(number, 16)][int(address, 16)] = int(count, 16)
    return {name: (numbers, {(image, address): count / numbers["n"] for address, count in counts[number].items()})
            for number, (name, numbers) in enumerate(found.items(), 1)}


def owners(image, addresses):
    """Address to the file and the function that it is counted for: the innermost that is somebody's."""
    text = subprocess.run(["llvm-symbolizer-19", f"--obj={image}", "--output-style=JSON", "--inlines"], check=True,
                          input="\n".join(map(hex, addresses)), capture_output=True, text=True).stdout
    for address, line in zip(addresses, text.splitlines()):
        frames = [(f["FileName"], f["FunctionName"]) for f in json.loads(line).get("Symbol", [])]
        yield address, next((f for f in frames if not NOBODY.search(f[0])), frames[-1] if frames else ("", "?"))


def short(function):
    """A function's name without its arguments, its template's, and hv::."""
    while (less := re.sub(r"<[^<>]*>|\([^()]*\)", "", function)) != function:
        function = less
    return re.sub(r"^(?!.*\boperator\b).* (?=\S+$)|\bhv::", "", function.removesuffix(" const")) or "?"



def spent_on(counts, who, key):
    total = collections.Counter()
    for address, count in counts.items():
        total[key(*who[address])] += count
    return total


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("build", type=lambda p: Path(p).resolve())
    arguments.add_argument("operation", nargs="?")
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    shown = [asked.operation] if asked.operation else list(chart.SHOWN)
    found, who = {}, {}
    for more, processors in (("", 1), ("_smp", 2)):
        if asked.operation in found:
            break
        image = asked.build / f"bench/pc_bench{more}"
        measured = executed(asked.build, image, asked.build / f"bench/bench_guest{more}.elf", processors)
        found |= measured
        places = {place for name in shown if name in measured for place in measured[name][1]}
        who |= {(image, a): owner for a, owner in owners(image, sorted(a for _, a in places))}
    if asked.operation and asked.operation not in found:
        sys.exit(f"bench: there is no operation {asked.operation}; there are {' '.join(found)}")
    if asked.operation:
        numbers, counts = found[asked.operation]
        rows = spent_on(counts, who, lambda file, function: (short(function), re.sub(r"^.*/(?=include|kernel)", "", file)))
        rows[("the guest", "")] = max(0, numbers["median"] - sum(counts.values()))
        for (function, file), count in rows.most_common():
            if asked.json:
                print(json.dumps({"instructions": round(count, 2), "function": function, "file": file}))
            elif round(count):
                print(f"{count:8.0f}  {function:56} {file}")
        return
    if not asked.json:
        print(f"{'operation':32}" + "".join(f"{room:>10}" for room in (*ROOMS, "guest", "all")))
    for name in shown:
        numbers, counts = found[name]
        rooms = spent_on(counts, who, lambda file, _: room_of(file))
        row = [*(round(rooms[room]) for room in ROOMS), max(0, round(numbers["median"] - sum(counts.values()))), numbers["median"]]
        if asked.json:
            print(json.dumps({"name": name, **dict(zip((*ROOMS, "guest", "all"), row))}))
        else:
            print(f"{name:32}" + "".join(f"{n:10}" for n in row))


if __name__ == "__main__":
    main()
