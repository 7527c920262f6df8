#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""boot.py IMAGE GUEST TSC [--json] [--budget FILE]: what it takes until Debian's init begins, in instructions.

GUEST is the folder that scripts/guest_debian.sh fills. The image notes the TSC, which counts instructions since
power-on, where it enters the guest first and where init's first line comes out. TSC is a program that tells it to a
Debian without hypervisor, on the same emulator. --budget compares as run.py does.
"""
import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

from measure import Budget, command, hold_to, run

WORDS = "console=ttyS0 quiet panic=-1"
# Measured once: KVM of Linux 6.1 in Debian, with QEMU and its machine pc. From power-on means that of the outer machine.
RECORDED = (("KVM and QEMU", 1842e6, 9200e6), ("KVM and QEMU, no paravirtual clock", 1886e6, None))
TARGET = ("target", *Budget(Path(__file__).resolve().parent / "budget_boot.json").targets.values())


def boot(image, guest, *arguments):
    """What an image prints that boots Debian."""
    return run(command("-m", 512, "-kernel", Path(image).resolve(), "-append", "memory=256",
                       "-initrd", f"vmlinux {WORDS},initrd", *arguments), guest)


def of_image(image, guest):
    """Instructions from the first entry to init, and from power-on to init."""
    text = boot(image, guest)
    found = re.search(r"^hv: TSC at the first entry (\d+), at mark I (\d+)\r?$", text, re.M)
    if not found:
        sys.exit(f"bench: the image saw no init:\n{text}")
    entry, init = map(int, found.groups())
    return init - entry, init


def newc(*files):
    """A cpio archive for Linux ("initramfs buffer format") of names and contents."""
    out = bytearray()
    for name, body in (*files, ("TRAILER!!!", b"")):
        fields = (0, 0o100755, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08x" % f for f in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + body
        out += bytes(-len(out) % 4)
    return bytes(out)


def of_emulator(guest, program):
    """Instructions from power-on to init without a hypervisor."""
    initrd = (guest / "initrd").read_bytes()
    overlay = newc(("init", b"#!/bin/sh\n/tsc\n"), ("tsc", Path(program).read_bytes()))
    with tempfile.NamedTemporaryFile() as both:
        both.write(initrd + bytes(-len(initrd) % 4) + overlay)
        both.flush()
        text = run(command("-machine", "pc", "-m", 256, "-kernel", "vmlinux", "-append", WORDS, "-initrd", both.name),
                   guest, well_ended=0)
    found = re.search(r"^bench: TSC +(\d+)\r?$", text, re.M)
    return int(found[1]) if found else sys.exit(f"bench: the guest told no time:\n{text}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("image")
    arguments.add_argument("guest", type=Path)
    arguments.add_argument("tsc")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--budget", type=Path)
    asked = arguments.parse_args()
    if not (asked.guest / "vmlinux").exists():
        print(f"bench: no Debian in {asked.guest}")
        sys.exit(77)
    rows = [("hv", *of_image(asked.image, asked.guest)), TARGET, *RECORDED]
    if not asked.budget:
        rows.append(("QEMU without hypervisor", None, of_emulator(asked.guest, asked.tsc)))
    if asked.json:
        for name, entry, power_on in rows:
            print(json.dumps({"name": name, "first_entry_to_init": entry and int(entry),
                              "power_on_to_init": power_on and int(power_on)}))
    else:
        print(f"{'millions of instructions':36}{'first entry to init':>22}{'power-on to init':>22}")
        for name, *numbers in rows:
            print(f"{name:36}" + "".join(f"{n / 1e6:22.1f}" if n else f"{'':22}" for n in numbers))
    if asked.budget:
        hold_to(dict(zip(("first_entry_to_init", "power_on_to_init"), rows[0][1:])), asked.budget, "instructions")


if __name__ == "__main__":
    main()
