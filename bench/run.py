#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""run.py IMAGE GUEST [--json] [--budget FILE]: what each operation of the bench guest costs on an image, in instructions.

QEMU counts: under -icount shift=0 the TSC advances by one for each instruction of guest and hypervisor together. An
operation's cost holds its own instructions, the column `setup` says how many before the one that exits. --json prints
one object a line. --budget compares with the file's numbers and fails where one is exceeded by more than 2 percent.
"""
import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

LINE = re.compile(r"^bench: (\w+) min (\d+) median (\d+) p90 (\d+) max (\d+) setup (\d+) n (\d+)\r?$")
COLUMNS = ("min", "median", "p90", "max", "setup", "n")
TOLERANCE = 1.02


def measure(image, guest):
    """The operations in their order: name, numbers."""
    guest = Path(guest).resolve()
    command = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max,la57=off", "-m", "512",
               "-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
               "-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", str(Path(image).resolve()),
               "-initrd", f"{guest.name} bench", "-append", "memory=64"]
    try:
        done = subprocess.run(command, cwd=guest.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=240)
    except FileNotFoundError:
        sys.exit("bench: qemu-system-x86_64 is not installed")
    except subprocess.TimeoutExpired:
        sys.exit("bench: no end after 240 s")
    found = [(m[1], dict(zip(COLUMNS, map(int, m.groups()[1:])))) for m in map(LINE.match, done.stdout.splitlines()) if m]
    if done.returncode != 1 or not found:  # isa-debug-exit: status 0 of the image
        sys.exit(f"bench: the guest did not end well:\n{done.stdout}{done.stderr}")
    return found


def over_budget(found, budget):
    """A sentence for each number that is not as the budget has it."""
    names = [name for name, _ in found]
    for name in sorted(set(budget) - set(names)):
        yield f"{name}: in the budget, but not measured"
    for name, numbers in found:
        if name not in budget and not name.startswith("timer_latency"):  # these wait, they do not work
            yield f"{name}: measured, but not in the budget: {numbers['median']}"
        elif numbers["median"] > budget.get(name, numbers["median"]) * TOLERANCE:
            yield f"{name}: {numbers['median']} instructions, the budget has {budget[name]}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("image")
    arguments.add_argument("guest")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--budget", type=Path)
    asked = arguments.parse_args()
    found = measure(asked.image, asked.guest)
    if asked.json:
        for name, numbers in found:
            print(json.dumps({"name": name, **numbers}))
    else:
        print(f"{'operation':32}" + "".join(f"{c:>8}" for c in COLUMNS))
        for name, numbers in found:
            print(f"{name:32}" + "".join(f"{numbers[c]:8}" for c in COLUMNS))
    if asked.budget:
        wrong = list(over_budget(found, json.loads(asked.budget.read_text())))
        for sentence in wrong:
            print(f"bench: {sentence}", file=sys.stderr)
        sys.exit(1 if wrong else 0)


main()
