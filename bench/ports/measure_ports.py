#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""measure_ports.py BUILD [--json] [--check]: what IN costs on machines with 1, 2, 4 … 64 devices that have a port.

Columns: the device with the lowest port, with the highest, the one that costs most, and a port that nobody has; in
instructions, the one that names the port included. --check fails where twice the devices cost more than GROWTH.
"""
import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from measure import measure

COUNTS = (1, 2, 4, 8, 16, 32, 64)
COLUMNS = ("first", "last", "worst", "nobody")
GROWTH = 6  # a comparison and its branch are two


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("build", type=Path)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--check", action="store_true")
    asked = arguments.parse_args()
    folder = asked.build / "bench/ports"
    found = {count: measure(folder / f"ports_{count}", folder / "ports_guest.elf") for count in COUNTS}
    for count, numbers in found.items():
        if numbers["worst"]["n"] != count:
            sys.exit(f"bench: of {count} devices the guest found {numbers['worst']['n']}")
    if not asked.json:
        print(f"{'devices':>8}" + "".join(f"{c:>8}" for c in COLUMNS))
    for count, numbers in found.items():
        costs = {c: numbers[c]["median"] for c in COLUMNS}
        if asked.json:
            print(json.dumps({"devices": count, **costs}))
        else:
            print(f"{count:8}" + "".join(f"{costs[c]:8}" for c in COLUMNS))
    worst = {count: numbers["worst"]["median"] for count, numbers in found.items()}
    grown = [count for count in COUNTS[1:] if worst[count] > worst[count // 2] + GROWTH]
    for count in grown if asked.check else []:
        print(f"bench: {count} devices cost {worst[count] - worst[count // 2]} instructions more than {count // 2}; "
              f"{GROWTH} are allowed", file=sys.stderr)
    sys.exit(1 if asked.check and grown else 0)


main()
