#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""readme_machine.py ROOT COMPILER ARGUMENT...: the README's machine has the devices of examples/pc/pc.hpp, takes 20 lines
at most, and becomes the program of an image."""
import pathlib
import re
import subprocess
import sys

MOST_LINES = 20
PROGRAM = """#include <kernel_glue/bare/run_guest.hpp>
template auto hv::bare::run_guest<{machine}>(hv::bare::host&, hv::bare::boot_information const&) -> int;
"""


def devices_of(text):
    return re.sub(r"\s+", " ", re.search(r"using devices = (.*?);", text, re.S)[1])


def main():
    root, compiler = pathlib.Path(sys.argv[1]), sys.argv[2:]
    block = re.search(r"^```cpp\n(.*?)^```", (root / "README.md").read_text(), re.M | re.S)[1]
    if (lines := len(block.splitlines())) > MOST_LINES:
        sys.exit(f"the README's machine takes {lines} lines, more than {MOST_LINES}")
    if devices_of(block) != devices_of((root / "examples/pc/pc.hpp").read_text()):
        sys.exit("the README's machine and examples/pc/pc.hpp have different devices")
    machine = re.search(r"struct (\w+) : hv::default_machine", block)[1]
    run = subprocess.run([*compiler, "-fsyntax-only", f"-I{root / 'include'}", f"-I{root}", "-x", "c++", "-"],
                         input=block + PROGRAM.format(machine=machine), text=True)
    sys.exit(run.returncode)


main()
