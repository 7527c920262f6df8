#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""sizes.py BUILD [--json] [--budget FILE]: how large the machine pc is, in bytes; what executes is of pc_bench.

  image_text             executable sections of the image
  closure                what hv-verify follows from the exits on, to the next entry
  executed_functions     functions that the guest of the bench makes the way of an exit enter, whole
  executed_instructions  instructions that execute there, each counted once
  …_but_emulator         the same without include/hv/emulate: what a processor with next-RIP and no MMIO needs. They are
                         two readings of one target
  vm, vcpu, fpu_area     memory; nested tables and the guest's own come on top of vm, fpu_area on top of vcpu

A function is of the file that declares it, and with it all that is inlined into it. --json prints one object a line,
--budget compares with the file's numbers and fails where a number is exceeded by more than 2 percent, or a target is
missed that the file does not name as unmet.
"""
import argparse
import bisect
import collections
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Budget, hold_to, of_image, run

AREAS = ("emulate", "devices", "memory", "backends", "guest", "bare", "vcpu")
BUDGET = Path(__file__).resolve().parent / "budget_sizes.json"


def output_of(*command, **more):
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout
    except FileNotFoundError:
        sys.exit(f"sizes: {command[0]} is not installed")
    except subprocess.CalledProcessError as failed:
        sys.exit(f"sizes: {command[0]} failed:\n{failed.stdout}{failed.stderr}")


def area_of(source):
    """The room of the house that a source file lies in."""
    if "/kernel_glue/" in source:
        return "bare"
    part = re.search(r"/include/hv/(emulate|devices|memory|backends|guest)/", source)
    return part[1] if part else "vcpu"


class Image:
    """The functions of an image: where they lie, how long they are, and which room they are of."""

    def __init__(self, path):
        self.path = str(path)
        self.text = sum(int(row[5], 16) for row in map(str.split, output_of("llvm-readelf-19", "-SW", self.path)
                        .replace("[ ", "[").splitlines()) if len(row) > 7 and row[2] == "PROGBITS" and "X" in row[7])
        rows = [row.split() for row in output_of("llvm-nm-19", "-n", "-S", self.path).splitlines()]
        self.size = {int(row[0], 16): int(row[1], 16) for row in rows if len(row) == 4 and row[2] in "tTwW"}
        self.starts = sorted(self.size)
        found = output_of("llvm-symbolizer-19", "--obj=" + self.path, "--output-style=JSON", "--no-inlines",
                          input="\n".join(map(hex, self.starts))).splitlines()
        self.area = {start: area_of((json.loads(line).get("Symbol") or [{}])[0].get("StartFileName", ""))
                     for start, line in zip(self.starts, found)}

    def function_at(self, address):
        return self.starts[bisect.bisect_right(self.starts, address) - 1]

    def by_area(self, pieces):
        """Bytes per area of (address, bytes)."""
        total = collections.Counter()
        for address, size in pieces:
            total[self.area[self.function_at(address)]] += size
        return total


def verified(build, image):
    return json.loads(output_of(build / "codegen/hv-verify", "--json", image))


def executed(build):
    """Image and record of the bench: (address, bytes) of each instruction between exit and entry."""
    image, guest = build / "bench/pc_bench", build / "bench/bench_guest.elf"
    with tempfile.TemporaryDirectory() as scratch:
        known, record = Path(scratch, "verified"), Path(scratch, "executed")
        known.write_text(json.dumps(verified(build, image)))
        arguments, folder = of_image(image, guest)
        run(arguments + ["-plugin", f"{build / 'codegen/libhv-exit-trace.so'},verified={known},out={record}"], folder)
        rows = (line.split() for line in record.read_text().splitlines())
        return Image(image), sorted({(int(row[0], 16), len(row[1]) // 2) for row in rows})


def pieces_of(image, ranges):
    """Ranges cut at the starts of functions."""
    for first, end in ranges:
        while first < end:
            after = bisect.bisect_right(image.starts, first)
            cut = min(end, image.starts[after]) if after < len(image.starts) else end
            yield first, cut - first
            first = cut


def measure(build):
    """The sizes, and the first four per area."""
    image = Image(build / "images/pc")
    ran, instructions = executed(build)
    functions = {ran.function_at(address) for address, _ in instructions}
    table = {"image_text": image.by_area(image.size.items()),
             "closure": image.by_area(pieces_of(image, verified(build, image.path)["ranges"])),
             "executed_functions": ran.by_area((start, ran.size[start]) for start in functions),
             "executed_instructions": ran.by_area(instructions)}
    table["image_text"]["vcpu"] += image.text - sum(table["image_text"].values())  # between functions
    sizes = {}
    for name, areas in table.items():
        sizes[name] = sum(areas.values())
        if name.startswith("executed"):
            sizes[name + "_but_emulator"] = sizes[name] - areas["emulate"]
    lines = map(json.loads, output_of(build / "bench/bench_memory").splitlines())
    sizes |= {line["name"]: line["bytes"] for line in lines}
    return sizes, table


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("build", type=Path)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--budget", type=Path)
    asked = arguments.parse_args()
    sizes, table = measure(asked.build.resolve())
    if asked.json:
        for name, bytes_ in sizes.items():
            print(json.dumps({"name": name, "bytes": bytes_} | ({"areas": table[name]} if name in table else {})))
    else:
        print(f"{'size of pc':36}{'bytes':>9}{'KiB':>8}{'target':>8}")
        targets = Budget(BUDGET).targets
        for name, bytes_ in sizes.items():
            target = targets[name] // 1024 if name in targets else ""
            print(f"{name:36}{bytes_:9}{bytes_ / 1024:8.1f}{target:>8}")
        print(f"\n{'bytes of':12}" + "".join(f"{name:>24}" for name in table))
        for area in AREAS:
            print(f"{area:12}" + "".join(f"{areas[area]:24}" for areas in table.values()))
    if asked.budget:
        hold_to(sizes, asked.budget, "bytes")


main()
