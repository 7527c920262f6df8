#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""run.py IMAGE GUEST [option...]: what each operation of the bench guest costs on an image, in instructions.

The emulator counts: its TSC advances by one for each instruction of guest and hypervisor together. An operation's cost
holds its own instructions, the column `setup` says how many before the one that exits. --emulator and --backend are
those of ./hv run. --pair runs another guest on two processors besides: the TSC counts the instructions of both. --json
prints one object a line. --budget compares with the file's numbers and fails where one is
exceeded by more than 2 percent, or a target is missed that the file does not name as unmet.
"""
import argparse
import json
from pathlib import Path

from measure import COLUMNS, hold_to, measure


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("image")
    arguments.add_argument("guest")
    arguments.add_argument("--pair", nargs=2, metavar=("IMAGE", "GUEST"))
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--budget", type=Path)
    arguments.add_argument("--emulator", choices=("qemu", "bochs"), default="qemu")
    arguments.add_argument("--backend", choices=("svm", "vmx"), default="svm")
    asked = arguments.parse_args()
    found = measure(asked.image, asked.guest, asked.emulator, asked.backend)
    if asked.pair:
        found |= measure(*asked.pair, processors=2)
    where = {} if asked.emulator == "qemu" else {"emulator": asked.emulator, "backend": asked.backend}
    if asked.json:
        for name, numbers in found.items():
            print(json.dumps({"name": name, **numbers, **where}))
    else:
        if where:
            print(f"Bochs, {asked.backend}: ticks of its TSC, one for each instruction")
        print(f"{'operation':32}" + "".join(f"{c:>8}" for c in COLUMNS))
        for name, numbers in found.items():
            print(f"{name:32}" + "".join(f"{numbers[c]:8}" for c in COLUMNS))
    if asked.budget:
        works = {name: numbers["median"] for name, numbers in found.items() if not name.startswith("timer_latency")}
        hold_to(works, asked.budget, "instructions")  # what waits does not work


main()
