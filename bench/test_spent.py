# SPDX-License-Identifier: BSD-2-Clause
"""`./hv bench --spent` from outside: what it prints adds up to what the bench counts."""
import json
import pathlib
import subprocess
import unittest

import chart
import spent

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parent / "build/clang"


def run(*arguments):
    return subprocess.run([HERE / "spent.py", BUILD, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)


class Spent(unittest.TestCase):
    def test_rooms_and_functions_add_up_to_what_was_measured(self):
        ended = run("--json")
        self.assertEqual(ended.returncode, 0, ended)
        rows = list(map(json.loads, ended.stdout.splitlines()))
        self.assertEqual([row["name"] for row in rows], list(chart.SHOWN))
        for row in rows:
            with self.subTest(row["name"]):
                self.assertAlmostEqual(sum(row[k] for k in (*spent.ROOMS, "guest")), row["all"], delta=4)
                self.assertGreater(row["backends"], 40)  # the world switch
                self.assertLess(row["guest"], 40)
        ended = run("cpuid_leaf0", "--json")
        functions = list(map(json.loads, ended.stdout.splitlines()))
        self.assertAlmostEqual(sum(f["instructions"] for f in functions), rows[0]["all"], delta=1)
        self.assertIn("include/hv/backends/svm/world_switch.hpp", functions[0]["file"])

    def test_an_operation_that_is_not_there_is_refused(self):  # long
        ended = run("frob")
        self.assertEqual((ended.returncode, ended.stdout), (1, ""))
        self.assertRegex(ended.stderr, "^bench: there is no operation frob; there are empty ")

    def test_names_are_short(self):
        self.assertEqual(spent.short("hv::vcpu<pc, int (*)(char)>::advance(unsigned long) const"), "vcpu::advance")
        self.assertEqual(spent.short("auto hv::read_cpuid<A<B>>(A<B> const&)"), "read_cpuid")
        self.assertEqual(spent.short("hv::field::operator unsigned char() const"), "field::operator unsigned char")
