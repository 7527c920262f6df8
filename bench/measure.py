# SPDX-License-Identifier: BSD-2-Clause
"""What a guest's operations cost, counted by an emulator: the TSC advances by one for each instruction of guest and
hypervisor together, QEMU's under -icount shift=0, Bochs's always.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

LINE = re.compile(r"^bench: (\w+) min (\d+) median (\d+) p90 (\d+) max (\d+) setup (\d+) n (\d+)\r?$", re.M)
COLUMNS = ("min", "median", "p90", "max", "setup", "n")
WELL_ENDED = 1  # what QEMU leaves with where a 0 is written to isa-debug-exit
SECONDS = 240
TOLERANCE = 1.02  # of a number to its budget
BOCHS = Path(__file__).resolve().parent.parent / "scripts/bochs_run.sh"
MODELS = {"svm": "ryzen", "vmx": "corei7_skylake_x"}


def command(*arguments):
    """QEMU with the processor, the clock and the exit port that every measurement has."""
    return ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max,la57=off", "-nodefaults", "-display",
            "none", "-no-reboot", "-serial", "stdio", "-icount", "shift=0,sleep=off",
            "-rtc", "base=2026-01-01,clock=vm", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", *map(str, arguments)]


def of_image(image, guest):
    """The arguments of QEMU that boot an image with the guest of the bench, and the folder that they are for."""
    guest = Path(guest).resolve()
    return (command("-m", 512, "-kernel", Path(image).resolve(), "-initrd", f"{guest.name} bench",
                    "-append", "memory=64"), guest.parent)


def run(arguments, folder=None, well_ended=WELL_ENDED, **settings):
    """What a machine prints until it ends well."""
    try:
        done = subprocess.run(arguments, cwd=folder, env={**os.environ, **settings}, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=SECONDS)
    except FileNotFoundError:
        sys.exit(f"bench: {arguments[0]} is not installed")
    except subprocess.TimeoutExpired:
        sys.exit(f"bench: no end after {SECONDS} s")
    if done.returncode != well_ended:
        sys.exit(f"bench: the guest did not end well:\n{done.stdout}{done.stderr}")
    return done.stdout


def operations(text):
    """The operations of a guest in their order: name to numbers."""
    found = {m[1]: dict(zip(COLUMNS, map(int, m.groups()[1:]))) for m in LINE.finditer(text)}
    return found or sys.exit(f"bench: the guest measured nothing:\n{text}")


def measure(image, guest, emulator="qemu", backend="svm"):
    if emulator == "bochs":
        return operations(run([BOCHS, image, "memory=64", f"{guest}=bench"], well_ended=0, MODEL=MODELS[backend]))
    return operations(run(*of_image(image, guest)))
