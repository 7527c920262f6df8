#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Searches all states of a Promela model.

usage: check.py COMPILER MODEL [--seeded] [-DNAME[=VALUE]...]

There must be no error, with --seeded there must be one. Prints which statements are never reached.
"""

import pathlib
import re
import subprocess
import sys
import tempfile


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")
    return done.stdout


def main():
    compiler, model, *options = sys.argv[1:]
    model = str(pathlib.Path(model).resolve())
    seeded = "--seeded" in options
    definitions = [o for o in options if o.startswith("-D")]
    with tempfile.TemporaryDirectory() as folder:
        run(["spin", *definitions, "-a", model], folder)
        effort = "-O0" if seeded else "-O2"  # what ends soon is not worth the compiler's time
        run([compiler, effort, "-w", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=2000", "pan.c", "-o", "pan"], folder)
        report = run(["./pan", "-m1000000", "-w22"], folder)
        found = re.search(r"errors: (\d+)", report)
        states = re.search(r"(\d+) states, stored", report)
        if found is None or states is None or "max search depth too small" in report:
            sys.exit(f"the search did not end:\n{report}")
        print(f"{states[1]} states, {found[1]} errors")
        if seeded:
            if found[1] == "0":
                sys.exit("the seeded defect was not found")
            return
        if found[1] != "0":
            print(report)
            sys.exit(run(["spin", *definitions, "-t", "-p", "-g", model], folder))
    # An inline's statements are there once for each use, and not each use gets everywhere.
    print(report[report.index("unreached in"):report.index("pan: elapsed") if "pan: elapsed" in report else None].strip())


if __name__ == "__main__":
    main()
