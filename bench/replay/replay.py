#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""replay.py FOLDER [--json] [--check]: how long this processor takes for the exits of a recorded Debian boot.

FOLDER holds the recording and the programs. Each program runs several times, in turn with the others, and each number is
the least of all: nanoseconds of an exit, less what the replay without a hypervisor takes. --check only sees that every
program does what was recorded, and notices a recording that lacks a part.
"""
import argparse
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

BUILDS = ("static", "coarse", "coarse_retpolines", "pointers", "retpolines")
ROUNDS = 7
HEADER, LEAF = 24, 24  # bytes, of bench/replay/record.hpp


def call(folder, build, recording, *options):
    return subprocess.run([folder / f"replay_{build}", recording, *options], capture_output=True, text=True)


def run(folder, build, *options):
    done = call(folder, build, folder / "debian.exits", *options)
    if done.returncode != 0:
        sys.exit(f"bench: replay_{build}: {done.stderr}")
    return done.stdout


def check(folder):
    """Every program does what was recorded, and notices a recording that lacks a part."""
    nothing = "--benchmark_filter=^$"
    for build in BUILDS:
        run(folder, build, nothing)
    whole = (folder / "debian.exits").read_bytes()
    record_size, leaf_count = struct.unpack_from("<II", whole, 16)
    first = HEADER + LEAF * leaf_count
    lost = (len(whole) - first) // record_size // 10 * record_size
    with tempfile.NamedTemporaryFile() as cut:
        cut.write(whole[: -2 * lost] + whole[-lost:])
        cut.flush()
        if call(folder, "static", cut.name, nothing).returncode != 1:
            sys.exit("bench: a recording without its ninth tenth is replayed as if it were whole")


def least(folder):
    """Build to name to (exits, nanoseconds)."""
    found = {build: {} for build in BUILDS}
    for _ in range(ROUNDS):
        for build in BUILDS:
            for row in json.loads(run(folder, build, "--benchmark_format=json"))["benchmarks"]:
                name, old = row["name"].split("/iterations")[0], found[build]
                nanoseconds = row["per_exit"] * 1e9
                old[name] = int(row["exits"]), min(nanoseconds, old.get(name, (0, nanoseconds))[1])
    return found


def net(found):
    """Rows of name, exits, nanoseconds a build."""
    for name, (exits, _) in found["static"].items():
        if not name.endswith("/nobody"):
            yield name, exits, [max(f[name][1] - f[name + "/nobody"][1], 0) for f in found.values()]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--check", action="store_true")
    asked = arguments.parse_args()
    if not (asked.folder / "debian.exits").exists():
        print("bench: no recording")
        sys.exit(77)
    if asked.check:
        check(asked.folder)
        return
    rows = list(net(least(asked.folder)))
    if asked.json:
        for name, exits, times in rows:
            print(json.dumps({"name": name, "exits": exits, **dict(zip(BUILDS, (round(t, 1) for t in times)))}))
        return
    print(f"{'exit, ns':20}{'count':>8}" + "".join(f"{b.replace('coarse_', 'c. '):>22}" for b in BUILDS))
    for name, exits, times in rows:
        print(f"{name:20}{exits:8}{times[0]:22.1f}" +
              "".join(f"{t:13.1f} ({t / times[0]:5.1f}x)" if times[0] else f"{t:22.1f}" for t in times[1:]))


main()
