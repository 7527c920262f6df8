#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""record.py IMAGE GUEST FILE: boots Debian on an image that writes its exits to the debug port, and keeps them in FILE.

GUEST is the folder that scripts/guest_debian.sh fills; nothing happens if it holds no guest.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from boot import boot


def main():
    image, guest, out = sys.argv[1:]
    if not (Path(guest) / "vmlinux").exists():
        return
    part = Path(out + ".part").resolve()
    boot(image, guest, "-debugcon", f"file:{part}")
    part.rename(out)


main()
