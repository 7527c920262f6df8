# SPDX-License-Identifier: BSD-2-Clause
"""`./hv bench --peer` from outside: what it refuses, what it says without a network, its chart, and (long) its table."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

import chart
import measure
import peer

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build/clang"
SKIPPED = 77


def run(*arguments, **more):
    return subprocess.run([*map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)


def rows():
    """Numbers that are easy to find in a chart."""
    return [{"name": name, "hv_none": 1000 + i, "hv_default": 1100 + i, "kvm_none": 8000 + i, "kvm_default": 8500 + i,
             "floor": 53} for i, name in enumerate(chart.SHOWN)]


class Usage(unittest.TestCase):
    def refuse(self, *arguments, says):
        ended = run(ROOT / "hv", "bench", *arguments)
        self.assertEqual((ended.returncode, ended.stdout), (2, ""), ended)
        self.assertRegex(ended.stderr, f"^hv: .*{says}")

    def test_wrong_arguments_are_refused(self):
        self.refuse("--peer", "--frob", says="unknown argument --frob")
        self.refuse("--peer", "--boot", says="exclude each other")
        self.refuse("--peer", "--backend", "vmx", says="own machines, on QEMU with SVM")
        self.refuse("--peer", "--machine", "pc", says="own machines, on QEMU with SVM")
        self.refuse("--svg", "chart.svg", says="--svg goes with --peer, --docs with --peer or --pointers")
        self.refuse("--peer", "--svg", says="needs a file")
        self.refuse("--peer", "--svg", "/nowhere/chart.svg", says="cannot be written")

    def test_without_a_network_a_sentence_says_what_is_needed(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "bench").mkdir()
            (folder / "apt-get").write_text("#!/bin/sh\nexit 100\n")
            (folder / "apt-get").chmod(0o755)
            ended = run(HERE / "peer/prepare.sh", folder, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
            self.assertEqual(ended.returncode, 1, ended)
            self.assertRegex(ended.stderr, "apt-get cannot download linux-image-.*needs the network|apt-get update")
            self.assertFalse((folder / "bench/peer/bzImage").exists())

    def test_without_emulator_a_sentence_says_so(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "python3").symlink_to(sys.executable)
            ended = run(sys.executable, "-B", HERE / "peer.py", BUILD, env={"PATH": folder})
            self.assertEqual((ended.returncode, ended.stderr), (1, "bench: qemu-system-x86_64 is not installed\n"))


class Chart(unittest.TestCase):
    def test_the_same_numbers_make_the_same_bytes(self):
        self.assertEqual(chart.draw(rows()), chart.draw(rows()))

    def test_it_is_a_drawing_without_scripts_that_names_and_counts_all(self):
        root = xml.etree.ElementTree.fromstring(chart.draw(rows()))
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        self.assertEqual(tags, {"svg", "title", "rect", "line", "text"})
        texts = {element.text for element in root.iter()}
        self.assertLessEqual({*chart.SHOWN.values(), *(str(r[k]) for r in rows() for k in ("hv_none", "kvm_none"))}, texts)

    def test_a_policy_without_an_image_has_no_bar(self):
        some = [row | {"hv_default": None} for row in rows()]
        self.assertLess(chart.draw(some).count("<rect"), chart.draw(rows()).count("<rect"))

    def test_the_documents_say_what_the_budget_says(self):
        budgets = [measure.Budget(HERE / name).numbers for name in ("budget.json", "budget_mitigated.json")]
        page = (ROOT / "docs/performance.md").read_text().partition(peer.BEGIN)[2].partition(peer.END)[0]
        table = {label: (int(none), int(default)) for label, none, default in
                 re.findall(r"^\| ([^|]+) \| (\d+) \|[^|]*\|[^|]*\| (\d+) ", page, re.M)}
        drawing = (ROOT / "docs/exit-cost.svg").read_text()
        for name, label in chart.SHOWN.items():
            with self.subTest(name, repeat="./hv bench --peer --docs"):
                self.assertEqual(table[label], tuple(budget[name] for budget in budgets))
                self.assertIn(f">{table[label][0]}<", drawing)


class Machines(unittest.TestCase):
    """The real thing; needs the images, and Debian's kernel or a network."""

    def setUp(self):
        if not list(BUILD.glob("guest/packages/linux-image-6*.deb")):
            sys.exit(SKIPPED)
        ended = run(HERE / "peer/prepare.sh", BUILD)
        self.assertEqual(ended.returncode, 0, ended)

    def test_every_operation_is_in_the_table(self):  # long
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            drawing = pathlib.Path(folder, "chart.svg")
            ended = run(HERE / "peer.py", BUILD, "--json", "--svg", drawing)
            self.assertEqual(ended.returncode, 0, ended)
            self.assertLess(time.monotonic() - began, 360)  # alone it takes 70 s
            xml.etree.ElementTree.parse(drawing)
        table = {row["name"]: row for row in map(json.loads, ended.stdout.splitlines())}
        alone = measure.measure(BUILD / "bench/pc_bench", BUILD / "bench/bench_guest.elf")
        alone |= measure.measure(BUILD / "bench/pc_bench_smp", BUILD / "bench/bench_guest_smp.elf", processors=2)
        self.assertEqual({name: row["hv_none"] for name, row in table.items()},
                         {name: numbers["median"] for name, numbers in alone.items()})
        self.assertEqual(list(table), list(alone))
        budget = measure.Budget(HERE / "budget.json").numbers
        for name in budget.keys() - {"empty", "nop1000", "remote_answer", "remote_answer_nop1000"}:
            row = table[name]
            with self.subTest(name):
                self.assertEqual(row["floor"], 53 * row["exits"])
                self.assertEqual(row["distance"], row["hv_none"] - row["floor"])
                self.assertLess(row["floor"], row["hv_none"])
                self.assertLess(row["hv_none"], row["kvm_none"])
                self.assertLess(row["kvm_none"], row["kvm_default"])
        for column in ("hv_none", "kvm_none", "kvm_default"):
            self.assertEqual((table["empty"][column], table["nop1000"][column]), (0, 1000))
            self.assertEqual(table["remote_answer_nop1000"][column] - table["remote_answer"][column], 1000)

    def test_an_interrupt_ends_all_machines(self):  # long
        process = subprocess.Popen([HERE / "peer.py", BUILD], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        while len(children := self.children_of(process.pid)) < peer.AT_ONCE:
            self.assertIsNone(process.poll())
            time.sleep(0.1)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=30)
        self.assertEqual((process.returncode, out, errors), (130, b"", b""))
        for child in children:
            self.assertFalse(pathlib.Path(f"/proc/{child}").exists())

    def children_of(self, pid):
        return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


if __name__ == "__main__":
    unittest.main()
