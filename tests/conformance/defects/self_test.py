# SPDX-License-Identifier: BSD-2-Clause
"""self_test.py CONFIG: what seed.py says about tables that are wrong, and about a defect that nothing notices."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
CONFIG = Path(sys.argv.pop())
FILE = "include/hv/emulate/fetch.hpp"
ENDING = "qemu-svm: exit_zero fails, exit_zero passes"


class Tests(unittest.TestCase):
    def seed(self, entry, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            table, config = Path(folder, "defects.txt"), Path(folder, "config")
            table.write_text(entry)
            config.write_text(f"{CONFIG.read_text()}out={folder}\ntable={table}\n")
            ended = subprocess.run([sys.executable, HERE / "seed.py", config, *arguments], capture_output=True, text=True)
        return ended.returncode, ended.stdout + ended.stderr

    def refuses(self, words, entry, *arguments):
        status, said = self.seed(entry, *arguments)
        self.assertEqual(status, 1, said)
        self.assertIn(words, said)

    def test_a_text_that_is_not_there(self):
        self.refuses("0 times, not once; update defects.txt", f"a: A.\n  {FILE}\n  - what this header never says\n  {ENDING}\n", "check")

    def test_a_text_that_is_there_twice(self):
        self.refuses("times, not once; update defects.txt", f"a: A.\n  {FILE}\n  - return\n  {ENDING}\n", "check")

    def test_a_payload_that_does_not_exist(self):
        entry = f"a: A.\n  {FILE}\n  - prefix + 1\n  {ENDING}\n".replace("exit_zero fails", "nothing fails")
        self.refuses("there is no payload nothing", entry, "check")

    def test_an_entry_without_an_end(self):
        self.refuses("this is no entry", f"a: A.\n  {FILE}\n  - prefix + 1\n", "check")

    def test_a_name_twice(self):
        self.refuses("a is there twice", f"a: A.\n  {FILE}\n  - prefix + 1\n  {ENDING}\n\n" * 2, "check")

    def test_an_image_that_does_not_build(self):
        self.refuses("does not build", f"a: A.\n  {FILE}\n  - prefix + 1;\n  + prefix +;\n  {ENDING}\n", "run", "a")

    def test_a_defect_that_survives(self):
        self.refuses("a survives: exit_zero passes", f"a: A.\n  {FILE}\n  - prefix + 1;\n  + 1 + prefix;\n  {ENDING}\n",
                     "run", "a")


unittest.main()
