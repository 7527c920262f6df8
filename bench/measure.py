# SPDX-License-Identifier: BSD-2-Clause
"""What a guest's operations cost, counted by an emulator: the TSC advances by one for each instruction of guest and
hypervisor together, QEMU's under -icount shift=0, Bochs's always.
"""
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

LINE = re.compile(r"^bench: (\w+) min (\d+) median (\d+) p90 (\d+) max (\d+) setup (\d+) n (\d+)\r?$", re.M)
COLUMNS = ("min", "median", "p90", "max", "setup", "n")
WELL_ENDED = 1  # what QEMU leaves with where a 0 is written to isa-debug-exit
SECONDS = 400
OUTLIVES_NOBODY = ("setpriv", "--pdeathsig", "TERM")
TOLERANCE = 1.02  # of a number to its budget
BOCHS = Path(__file__).resolve().parent.parent / "scripts/bochs_run.sh"
MODELS = {"svm": "ryzen", "vmx": "corei7_skylake_x"}


def command(*arguments):
    """QEMU with the processor, the clock and the exit port that every measurement has."""
    return ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max,la57=off", "-nodefaults", "-display",
            "none", "-no-reboot", "-serial", "stdio", "-icount", "shift=0,sleep=off",
            "-rtc", "base=2026-01-01,clock=vm", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", *map(str, arguments)]


def of_image(image, guest, processors=1):
    """The arguments of QEMU that boot an image with the guest of the bench, and the folder that they are for."""
    guest = Path(guest).resolve()
    return (command("-m", 512, "-smp", processors, "-kernel", Path(image).resolve(), "-initrd", f"{guest.name} bench",
                    "-append", "memory=64"), guest.parent)


class Failed(Exception):
    """A machine did not end well; the text says how."""


class Budget:
    """A file of numbers that may grow by TOLERANCE, of targets that may not be passed, and of those that are not met,
    each with its reason."""

    def __init__(self, path):
        known = json.loads(Path(path).read_text())
        self.numbers, self.targets, self.unmet = known["budget"], known["targets"], known["unmet"]

    def over(self, found, unit):
        """A sentence for each number that is not as the file has it."""
        for name in sorted((self.numbers.keys() | self.targets.keys()) - found.keys()):
            yield f"{name}: in the budget, but not measured"
        for name in sorted(self.unmet.keys() - self.targets.keys()):
            yield f"{name}: unmet, but no target"
        for name, n in found.items():
            if name not in self.numbers:
                yield f"{name}: measured, but not in the budget: {n}"
            elif n > self.numbers[name] * TOLERANCE:
                yield f"{name}: {n} {unit}, the budget has {self.numbers[name]}"
        for name in self.targets.keys() & found.keys():
            n, target = found[name], self.targets[name]
            if n > target and name not in self.unmet:
                yield f"{name}: {n} {unit}, the target is {target}"
            if n <= target and name in self.unmet:
                yield f"{name}: {n} {unit}, the target of {target} is met"


def hold_to(found, path, unit):
    """Ends the program, with 1 where a number is not as the budget's file has it."""
    wrong = list(Budget(path).over(found, unit))
    for sentence in wrong:
        print(f"bench: {sentence}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


async def output_of(arguments, folder=None, well_ended=WELL_ENDED, **settings):
    """What a machine prints until it ends well. It does not outlive the caller."""
    if not shutil.which(arguments[0]):
        raise Failed(f"{arguments[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *OUTLIVES_NOBODY, *map(str, arguments), cwd=folder, env={**os.environ, **settings}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, errors = (t.decode(errors="replace") for t in await asyncio.wait_for(process.communicate(), SECONDS))
    except asyncio.TimeoutError:
        raise Failed(f"no end after {SECONDS} s") from None
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != well_ended:
        raise Failed(f"the guest did not end well:\n{out}{errors}")
    return out


def run(*arguments, **more):
    """output_of for a program that has nothing else to do."""
    try:
        return asyncio.run(output_of(*arguments, **more))
    except Failed as failure:
        sys.exit(f"bench: {failure}")


def operations(text):
    """The operations of a guest in their order: name to numbers."""
    found = {m[1]: dict(zip(COLUMNS, map(int, m.groups()[1:]))) for m in LINE.finditer(text)}
    return found or sys.exit(f"bench: the guest measured nothing:\n{text}")


def measure(image, guest, emulator="qemu", backend="svm", processors=1):
    if emulator == "bochs":
        return operations(run([BOCHS, image, "memory=64", f"{guest}=bench"], well_ended=0, MODEL=MODELS[backend]))
    return operations(run(*of_image(image, guest, processors)))
