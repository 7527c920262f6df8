#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""same.py IMAGE OTHER... -- PAYLOAD...: whether guests see the same on images.

Each payload runs on each image. What the guest prints, why it stopped, the events that it got and the status that the
image leaves with have to be those of the first image. Exits are not compared: a guest that polls exits more often where
an exit takes less time.
"""
import subprocess
import sys
from difflib import unified_diff
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from measure import SECONDS, command

COMPARED = ("hv: stopped", "hv: events injected")


def outcome(image, payload):
    """Status and lines."""
    words = "memory=64 flat" if payload.endswith(".bin") else "memory=64"
    arguments = [a.replace("shift=0", "shift=4") for a in
                 command("-m", 256, "-kernel", image, "-initrd", payload, "-append", words)]
    try:
        done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        sys.exit(f"same: no end of {payload} on {image} after {SECONDS} s")
    if done.returncode % 2 == 0:
        sys.exit(f"same: QEMU ended with {done.returncode}, not by the image:\n{done.stdout}{done.stderr}")
    lines = done.stdout.splitlines()
    return [f"status {done.returncode // 2}",
            *(line for line in lines if not line.startswith("hv: ") or line.startswith(COMPARED))]


def main():
    images, payloads = (part.split() for part in " ".join(sys.argv[1:]).split(" -- "))
    differ = 0
    for payload in payloads:
        first = outcome(images[0], payload)
        for image in images[1:]:
            if (other := outcome(image, payload)) != first:
                differ += 1
                print(f"same: {payload} differs on {image}:", *unified_diff(first, other, n=0, lineterm=""), sep="\n")
    print(f"{len(payloads)} payloads on {len(images)} images, {differ} differ")
    sys.exit(1 if differ or not payloads else 0)


main()
