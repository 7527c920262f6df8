# SPDX-License-Identifier: BSD-2-Clause
"""What a budget's file holds a measurement to."""
import json
import pathlib
import tempfile
import unittest

from measure import Budget


class Budgets(unittest.TestCase):
    def over(self, found, targets=None, unmet=None):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "budget.json")
            path.write_text(json.dumps({"budget": {"in": 100, "out": 200}, "targets": targets or {}, "unmet": unmet or {}}))
            return list(Budget(path).over({"in": 100, "out": 200} | found, "instructions"))

    def test_numbers_may_grow_by_two_percent(self):
        self.assertEqual(self.over({"in": 102}), [])
        self.assertEqual(self.over({"in": 103}), ["in: 103 instructions, the budget has 100"])

    def test_every_number_is_in_the_budget_and_measured(self):
        self.assertEqual(self.over({"more": 1}), ["more: measured, but not in the budget: 1"])
        self.assertEqual(self.over({}, {"less": 1}), ["less: in the budget, but not measured"])

    def test_a_target_is_passed_by_nothing(self):
        self.assertEqual(self.over({"in": 101}, {"in": 101}), [])
        self.assertEqual(self.over({"in": 102}, {"in": 101}), ["in: 102 instructions, the target is 101"])

    def test_an_unmet_target_has_a_reason_as_long_as_it_is_unmet(self):
        self.assertEqual(self.over({"in": 102}, {"in": 101}, {"in": "a reason"}), [])
        self.assertEqual(self.over({}, {"in": 100}, {"in": "a reason"}), ["in: 100 instructions, the target of 100 is met"])
        self.assertEqual(self.over({}, {}, {"in": "a reason"}), ["in: unmet, but no target"])


if __name__ == "__main__":
    unittest.main()
