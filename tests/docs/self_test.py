#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The rules of check.py prove themselves: a sound tree passes, and each seeded mistake is found."""
import pathlib
import sys
import tempfile

from check import check_tree

HV = """#!/bin/sh
[ "$1" = run ] && echo "usage: ./hv run --kernel FILE" || printf 'usage: ./hv COMMAND\\n\\n  demo   show\\n  run    boot\\n'
"""
SOUND = {
    "README.md": "`./hv demo`, `./hv run --kernel FILE`, [tour](docs/tour.md), `hv/a.hpp`, `a.hpp`, `build/x.bin`.\n",
    "docs/tour.md": "```diff\n--- a/examples/e/e.hpp\n+++ b/examples/e/e.hpp\n@@ -1 +1 @@\n-one\n+two\n```\n",
    "docs/decisions/0001-a-title.md": "# 0001 A title\n" + "text\n" * 19,
    "examples/e/README.md": "An example.\n",
    "examples/e/e.hpp": "one\n",
    "include/hv/a.hpp": "",
}
MISTAKES = [
    ("README.md", "[x](docs/none.md)\n", "link to docs/none.md"),
    ("README.md", "`include/hv/none.hpp`\n", "path include/hv/none.hpp"),
    ("README.md", "`none.hpp`\n", "path none.hpp"),
    ("README.md", "`./hv dance`\n", "command ./hv dance"),
    ("README.md", "```sh\n./hv run --kernel x \\\n  --faster\n```\n", "option --faster"),
    ("README.md", "see /home/me/x\n", "somebody's machine: /home"),
    ("README.md", "line\n" * 400, "400 lines"),
    ("docs/tour.md", SOUND["docs/tour.md"] * 2, "does not apply"),
    ("docs/tour.md", SOUND["docs/tour.md"].replace("e.hpp", "none.hpp"), "does not apply"),
    ("docs/decisions/0001-a-title.md", "# 0001 A title\n", "a decision has 20 to 60"),
    ("docs/decisions/0001-a-title.md", "# 0002 A title\n" + "text\n" * 19, "its heading begins with"),
    ("docs/decisions/0002-Title.md", "# 0002 A title\n" + "text\n" * 19, "NNNN-title.md"),
    ("examples/e/README.md", "line\n" * 13, "README has 12 at most"),
    ("examples/e/e.S", "nop\n" * 61, "example has 60 at most"),
    ("examples/e/README.md", "`./hv dance`\n", "command ./hv dance"),
]


def complaints_about(files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in {**files, "hv": HV}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (root / "hv").chmod(0o755)
        return check_tree(root)


failed = complaints_about(SOUND)
for name, text, wanted in MISTAKES:
    found = complaints_about({**SOUND, name: text})
    if len(found) != 1 or wanted not in found[0]:
        failed.append(f"{name} with {text[:40]!r}: wanted one complaint with {wanted!r}, got {found}")
print("\n".join(failed) or f"{len(MISTAKES)} mistakes found")
sys.exit(bool(failed))
