# SPDX-License-Identifier: BSD-2-Clause
"""`./hv soak` around tests that are none: what it says of a failure, what it leaves behind, how it is interrupted."""
import os
import signal
import subprocess
import time

from hv_run import HV, Case, Ended

THREADS = "build/thread/tests/unit/unit_threads_test"
STORMS = "build/clang/tests/conformance/CTestTestfile.cmake"
LOG = "build/clang/Testing/Temporary/LastTest.log"


class Tests(Case):
    def setUp(self):
        super().setUp()
        self.root = self.folder / "it's a checkout"
        self.place("hv", HV.read_text())
        self.place("CMakePresets.json", "")
        self.place("tools/dpkg-query", "#!/bin/sh\nshift 2\nprintf 'ii %s\\n' \"$@\"\n")
        self.place("tools/cmake", "#!/bin/sh\n")
        self.place("tools/ninja", "#!/bin/sh\necho '  tests/unit/unit_threads_test'\n")
        self.place(LOG, "of other tests")
        self.threads("exit 0")
        self.storm("exit 0")

    def place(self, name, content):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)

    def threads(self, command):
        self.place(THREADS, f"#!/bin/sh\n{command}\n")

    def storm(self, command):
        self.place("storm", f"#!/bin/sh\n{command}\n")
        self.place(STORMS, f'add_test(conformance.storm.at_once "{self.root}/storm")\n'
                           "set_tests_properties(conformance.storm.at_once PROPERTIES LABELS storm)\n")

    def start(self, *arguments, **changes):
        environment = self.environment(PATH=f"{self.root}/tools:{os.environ['PATH']}", **changes)
        soak = subprocess.Popen([self.root / "hv", "soak", *arguments], env=environment, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(soak.communicate)
        self.addCleanup(soak.terminate)
        return soak

    def end_of(self, soak):
        out, err = soak.communicate(timeout=30)
        self.assertEqual((self.root / LOG).read_text(), "of other tests")
        return Ended(soak.returncode, out, err)

    def wait_for(self, condition):
        end = time.monotonic() + 30
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def check_failure(self, name, output, again):
        ended = self.end_of(self.start("--seed", "77"))
        self.assertEqual(ended.status, 1, ended)
        self.assertRegex(ended.err, rf"hv: {name} failed with status [1-9][0-9]* in round 1, seed 77, after [0-9]+ s\n")
        self.assertIn(output, ended.err)
        self.assertRegex(ended.err, rf"hv: it alone: env .*{again}")
        self.assertIn("./hv soak --seed 77\n", ended.err)
        log = self.root / f"build/soak/{name}.77.log"
        self.assertIn(f"hv: its output: {log}\n", ended.err)
        self.assertIn(output, log.read_text())

    def test_soak_names_a_program_that_fails(self):
        self.threads("echo one went missing; exit 42")
        self.check_failure("unit_threads_test", "one went missing", "unit_threads_test --rng-seed 77 --abort\n")

    def test_soak_names_a_storm_that_fails(self):
        self.storm("echo nobody home; exit 1")
        self.check_failure("conformance.storm.at_once", "nobody home", "-R .conformance.storm.at_once. --output-on-f")

    def test_soak_is_interrupted_at_once(self):
        for name, part in (("threads", self.threads), ("storm", self.storm)):
            with self.subTest(name):
                pids = self.root / "pids"
                part('sleep 1000 & echo $$ $! >"$PIDS.new"; mv "$PIDS.new" "$PIDS"; wait')
                soak = self.start("--seed", "77", PIDS=str(pids))
                self.wait_for(pids.exists)
                start = time.monotonic()
                soak.send_signal(signal.SIGINT)
                ended = self.end_of(soak)
                self.assertLess(time.monotonic() - start, 3)
                self.assertEqual((ended.status, ended.err), (130, ""), ended)
                self.assertRegex(ended.out, r"==> ended by the user in round 1, seed 77, after [0-9]+ s, none failed\n$")
                for pid in pids.read_text().split():
                    self.wait_for(lambda: not os.path.exists(f"/proc/{pid}"))
                self.assertFalse(list(self.root.glob("build/soak/*.log")))
                part("exit 0")
                pids.unlink()

    def test_soak_without_a_failure_leaves_no_log(self):
        self.threads("echo fine; sleep 1")
        soak = self.start("--minutes", "1", "--seed", "77")
        while "round 3," not in soak.stdout.readline():
            self.assertIsNone(soak.poll())
        soak.send_signal(signal.SIGINT)
        ended = self.end_of(soak)
        self.assertEqual((ended.status, ended.err), (130, ""), ended)
        self.assertIn("==> ended by the user in round 3,", ended.out)
        self.assertFalse(list(self.root.glob("build/soak/*.log")))
