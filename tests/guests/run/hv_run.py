# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of `./hv run` share: a folder that goes away, and a run that is judged."""
import os
import pathlib
import subprocess
import tempfile
import typing
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
HV = ROOT / "hv"
BUILD = ROOT / "build/clang"
PAYLOADS = BUILD / "tests/conformance/payloads"
OWN = BUILD / "tests/guests/run"
DEBIAN = BUILD / "guest"
DEBIAN_QUIET = "console=ttyS0 quiet panic=-1 nokaslr pci=off nomodule i8042.nokbd i8042.noaux 8250.nr_uarts=1"


class Ended(typing.NamedTuple):
    status: int
    out: str
    err: str

    def __str__(self):
        return f"status {self.status}\n--- output\n{self.out}\n--- errors\n{self.err}"


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def environment(self, **changes):
        return {**os.environ, **changes}

    def hv(self, *arguments, **more):
        """Runs `./hv ARGUMENTS` to its end."""
        done = subprocess.run([HV, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, **more)
        out, err = (text.decode(errors="replace").replace("\r", "") for text in (done.stdout, done.stderr))
        return Ended(done.returncode, out, err)

    def boot(self, kernel, *arguments, status=0, timeout=60, prints=(), **more):
        """Runs a guest, which has to end with a status and to print some texts."""
        ended = self.hv("run", "--kernel", kernel, "--timeout", timeout, *arguments, **more)
        self.assertEqual(ended.status, status, ended)
        for text in prints:
            self.assertRegex(ended.out, text, ended)
        return ended

    def refuse(self, *arguments, says, lines=1):
        """`./hv run` has to end with status 2 and one line, or with one more that points to the help."""
        ended = self.hv("run", "--timeout", "30", *arguments)
        self.assertEqual(ended.status, 2, ended)
        said = (ended.out + ended.err).splitlines()
        self.assertEqual(len(said), lines, ended)
        self.assertRegex(said[0], f"^hv: .*{says}")

    def misuse(self, *arguments, says):
        self.refuse(*arguments, says=says, lines=2)

    def debian(self, name):
        path = DEBIAN / name
        self.assertTrue(path.exists(), f"{path} is not there: run scripts/guest_debian.sh {BUILD}")
        return path


def exits(out):
    """The table of exits: name to count."""
    table = out[out.index("hv: exit  ") :].splitlines()[1:]
    rows = {}
    for line in table:
        words = line.split()
        if len(words) < 3 or not words[2].isdigit():
            break
        rows[words[1]] = int(words[2])
    return rows


def seconds(out, what):
    """The number in a line `hv: WHAT 1.234 s`."""
    for line in out.splitlines():
        if line.startswith(f"hv: {what} "):
            return float(line.split()[-2])
    raise AssertionError(f"no line says: {what}\n{out}")
