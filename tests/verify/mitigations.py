#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""mitigations.py IMAGE none|defaults: whether an image's world switches have what mitigations are made of."""
import subprocess
import sys
from pathlib import Path

image, policy = sys.argv[1:]
code = Path(image).read_bytes()
found = {
    "calls that fill the return predictor": (b"\xe8\x01\0\0\0\xcc" * 32 + b"\x48\x81\xc4\0\x01\0\0\x0f\xae\xe8") in code,
    "VERW of the word behind the guest's registers": b"\x0f\x00\xaf\x82\0\0\0" in code,
    "functions of guest_speculation": "guest_speculation" in subprocess.run(
        ["nm", "--demangle", image], capture_output=True, text=True, check=True).stdout,
}
wrong = [what for what, there in found.items() if there != (policy == "defaults")]
for what in wrong:
    print(f"{image}: {'no ' if policy == 'defaults' else ''}{what}")
sys.exit(1 if wrong else 0)
