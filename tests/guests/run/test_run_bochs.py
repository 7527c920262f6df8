# SPDX-License-Identifier: BSD-2-Clause
"""`./hv run` in Bochs, on both vendors: the same guests, statuses and options as in QEMU. No emulator stays behind."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

from hv_run import BUILD, HV, OWN, PAYLOADS, Case, exits
from terminal import Terminal

HELLO = BUILD / "images/minimal_payload.bin"
VENDORS = {"svm": ["--emulator", "bochs"], "vmx": ["--backend", "vmx"]}


class Tests(Case):
    def setUp(self):
        super().setUp()
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir()
        self.own = self.environment(TMPDIR=str(self.temporary))

    def processes(self):
        """The processes that work in our folder."""
        found = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "cwd").startswith(str(self.temporary)):
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                pass  # it has ended, or is somebody else's
        return found

    def expect_nothing_left(self, files=()):
        end = time.monotonic() + 10
        while (found := self.processes()) and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(found, [])
        self.assertEqual([p.name for p in self.temporary.iterdir()], list(files))

    def start(self, says, *arguments):
        """A run that has printed a text."""
        run = subprocess.Popen([HV, *arguments], env=self.own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
        self.addCleanup(run.communicate)
        self.addCleanup(run.kill)
        for line in run.stdout:  # comes while the guest runs, or never
            if says in line:
                return run
        raise AssertionError(f"this did not come: {says}")

    def test_bochs_status(self):
        for vendor, how in VENDORS.items():
            for name, status, says in (
                ("exit_zero", 0, "exit code, code 0x0"),
                ("power_off", 0, "power off"),
                ("reset_register", 0, "reset"),
                ("exit_one", 1, "exit code, code 0x1"),
                ("halt_for_ever", 3, "halted"),
            ):
                with self.subTest(name, vendor=vendor):
                    out = self.boot(PAYLOADS / f"{name}.elf", *how, status=status, env=self.own,
                                    prints=[f"\nhv: stopped: {says}"]).out
                    self.assertEqual(" rip=" in out, status == 3, out)  # the dump
                    self.assertGreater(exits(out)["all"], 0)
        self.boot(PAYLOADS / "triple_fault.elf", *VENDORS["vmx"], status=3, prints=["\nhv: stopped: triple fault"])
        self.expect_nothing_left()

    def test_bochs_believes_the_image_only(self):
        out = self.boot(OWN / "claims_success.elf", *VENDORS["vmx"], status=3,
                        prints=["\nhv: left with status 0\n"]).out
        self.assertTrue(out.endswith("hv: left with status 3\n"), out)
        # Here a triple fault of the guest ends Bochs itself, right behind the false claim.
        ended = self.boot(OWN / "claims_success.elf", *VENDORS["svm"], status=3, env=self.own)
        self.assertTrue(ended.out.endswith("hv: left with status 0\n"), ended)
        self.assertRegex(ended.err, "Bochs ended with 1 and the image had not said how it ended: .*exception")
        self.expect_nothing_left()

    def test_bochs_runs_every_form(self):
        for vendor, how in VENDORS.items():
            with self.subTest(vendor):
                self.boot(self.file("boot", HELLO.read_bytes()), *how, "--flat", "--memory=2",
                          prints=["(?m)^hello from real mode\n", "hv: stopped: exit code, code 0x0"])
                self.boot(self.file("boot.bin", HELLO.read_bytes()), *how, prints=["(?m)^hello from real mode\n"])
                self.boot(OWN / "bare_binary.bin", *how, prints=["(?m)^loaded by the addresses of a header\n"])
                one, two = self.file("one", bytes(range(256)) * 20), self.file("two words", b"\xff")
                text = 'a="b c", d=1,,2 \\ \'$x\''
                out = self.boot(OWN / "report.elf", *how, "--append", text, "--module", f"{one}=first, of two",
                                "--module", two, "--memory", 64).out
                self.assertIn("lower 640 KiB, upper 64512 KiB, map entries 3\n", out)
                self.assertIn(f"command line [guest {text}]\n", out)
                self.assertIn("module 0: bytes 5120, sum 652800, string [first, of two]\n", out)
                self.assertIn("module 1: bytes 1, sum 255, string []\n", out)
                self.assertNotIn("module 2", out)

    def test_bochs_paths(self):
        odd = self.folder / "a b,c='d"
        temporary = odd / "t=1"
        temporary.mkdir(parents=True)
        (odd / "x, y.bin").write_bytes(HELLO.read_bytes())
        self.boot("x, y.bin", *VENDORS["vmx"], "--log", "l, og", "--trace", "t,  race", cwd=odd,
                  env=self.environment(TMPDIR=str(temporary)), prints=["(?m)^hello from real mode\n"])
        self.assertEqual(len((odd / "l, og").read_text().splitlines()), 1)
        self.assertIn("traceEvents", json.loads((odd / "t,  race").read_text()))
        self.assertEqual(sorted(p.name for p in odd.iterdir()), ["l, og", "t,  race", "t=1", "x, y.bin"])
        self.assertEqual(list(temporary.iterdir()), [])

    def test_bochs_names_the_machine(self):
        guest = PAYLOADS / "exit_zero.elf"
        intel, amd = ("65536 address spaces", "32768 address spaces")
        for arguments, processor in (
            (["--machine", "pc_vmx"], intel),
            (["--machine=pc_vmx", "--backend=vmx", "--emulator=bochs"], intel),
            (["--backend", "svm", "--emulator", "bochs"], amd),
            (["--backend", "svm"], " 16 address spaces"),
        ):
            with self.subTest(arguments):
                self.boot(guest, *arguments, prints=[processor])

    def test_bochs_log_and_trace(self):
        log, trace = self.folder / "log", self.folder / "trace"
        for vendor, how in VENDORS.items():
            with self.subTest(vendor):
                out = self.boot(PAYLOADS / "cpuid_basics.elf", *how, "--log", log, "--trace", trace).out
                self.assertRegex(log.read_text(), '^stop="exit code" vcpu=0 .* exits=[0-9]+\n$')
                slices = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"]
                self.assertIn(exits(out)["all"] - len(slices), (0, 1))

    def test_bochs_counts_instructions(self):
        def table(*how):
            out = self.boot(PAYLOADS / "hlt_lapic_timer.elf", *how).out
            return out[out.index("hv: stopped") :]

        for vendor, how in VENDORS.items():
            with self.subTest(vendor):
                self.assertEqual(table(*how), table(*how, "--icount"))

    def test_bochs_timeout(self):
        for vendor, how in VENDORS.items():
            with self.subTest(vendor):
                ended = self.boot(PAYLOADS / "endless_exits.elf", *how, timeout=4, status=124, env=self.own,
                                  prints=["endless_exits"])
                self.assertEqual(ended.err, "hv: no end after 4 s\n")
                self.expect_nothing_left()

    def test_bochs_can_be_interrupted(self):
        terminal = Terminal("--kernel", PAYLOADS / "endless_exits.elf", *VENDORS["vmx"], "--timeout", "60",
                            env=self.own)
        terminal.wait_for("endless_exits")
        self.assertTrue(self.processes())
        terminal.type("\x03")
        self.assertEqual(terminal.end(), 130)
        self.expect_nothing_left()

    def test_emulators_end_with_hv(self):
        for emulator in ("qemu", "bochs"):
            endless = ["run", "--kernel", PAYLOADS / "endless_exits.elf", "--emulator", emulator]
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                with self.subTest(emulator, number=number):
                    run = self.start("endless_exits", *endless)
                    self.assertTrue(self.processes())
                    run.send_signal(number)
                    self.assertEqual(run.wait(20), 128 + number)
                    self.expect_nothing_left()
            with self.subTest(emulator, number=signal.SIGKILL):
                run = self.start("endless_exits", *endless)
                left = [p for p in self.temporary.iterdir() if (p / "guest").exists()]  # nobody is there to remove it
                run.kill()
                run.wait()
                self.expect_nothing_left([p.name for p in left])
                shutil.rmtree(left[0])

    def test_emulators_end_with_the_demo(self):
        self.debian("vmlinux")
        for number, how in ((signal.SIGTERM, ["--backend", "vmx"]), (signal.SIGINT, [])):
            with self.subTest(how):
                run = self.start("hv: clock: ", "demo", *how)
                run.send_signal(number)
                self.assertEqual(run.wait(20), 128 + number)
                self.expect_nothing_left()

    def test_bochs_in_parallel(self):
        runs = [subprocess.Popen([HV, "run", "--kernel", PAYLOADS / "hlt_pit.elf", *how], env=self.own,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                for how in VENDORS.values() for _ in range(2)]
        for run in runs:
            out, _ = run.communicate(timeout=120)
            self.assertEqual(run.returncode, 0, out)
            self.assertIn("\nhv: stopped: exit code, code 0x0\n", out)
        self.expect_nothing_left()

    def test_bochs_waits_for_a_port_for_its_screen(self):
        taken = []
        for port in range(5900, 5951):
            with contextlib.suppress(OSError):  # somebody else's
                taken.append(socket.create_server(("0.0.0.0", port)))
        run = subprocess.Popen([HV, "run", "--kernel", PAYLOADS / "exit_zero.elf", "--backend", "vmx"], env=self.own,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(3)  # Bochs of another test may give its port back meanwhile, and this one end
        for one in taken:
            one.close()
        out, _ = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 0, out)
        self.assertEqual(out.count("\nhv: stopped: exit code, code 0x0\n"), 1)

    def test_bochs_interactive(self):
        for vendor, how in VENDORS.items():
            with self.subTest(vendor):
                terminal = Terminal("--kernel", OWN / "listen.elf", "--interactive", *how, "--timeout", "60",
                                    env=self.own)
                terminal.wait_for(r"ready \[")
                terminal.type("\x03 \x01\x01 ")
                terminal.type("a" * 300 + "\r")
                terminal.wait_for(r"\x03 \x01 a{300}\] 304 characters")
                terminal.wait_for("hv: stopped: exit code")
                self.assertEqual(terminal.end(), 0)
                self.expect_nothing_left()

    def test_bochs_interactive_can_be_left(self):
        terminal = Terminal("--kernel", PAYLOADS / "endless_exits.elf", "--interactive", *VENDORS["vmx"],
                            "--timeout", "60", env=self.own)
        terminal.wait_for("endless_exits")
        terminal.type("\x01x")
        self.assertEqual(terminal.end(), 130)
        self.expect_nothing_left()

    def test_bochs_reads_a_pipe(self):
        ended = subprocess.run([HV, "run", "--kernel", OWN / "listen.elf", "--interactive", *VENDORS["vmx"],
                                "--timeout", "60"], env=self.own, input="\x01x by pipe\r", capture_output=True,
                               text=True)
        self.assertEqual(ended.returncode, 0, ended)
        self.assertRegex(ended.stdout, r"ready \[\x01x by pipe\] 10 characters")
        self.expect_nothing_left()

    def test_bochs_starts_fast(self):
        guest = PAYLOADS / "exit_zero.elf"
        self.boot(guest, *VENDORS["vmx"])  # what is to be built is built
        used = os.times()
        self.boot(guest, *VENDORS["vmx"])
        now = os.times()
        seconds = now.children_user + now.children_system - used.children_user - used.children_system
        self.assertLess(seconds, 2)  # of processors, however busy they are

    def test_bochs_refuses(self):
        guest = ["--kernel", PAYLOADS / "exit_zero.elf"]
        no_vmx = "QEMU has no VMX without KVM; use --emulator bochs"
        self.misuse(*guest, "--backend", "vmx", "--emulator", "qemu", says=f"machine pc with VMX: {no_vmx}")
        self.misuse(*guest, "--machine", "pc_vmx", "--emulator", "qemu", says=f"machine pc_vmx with VMX: {no_vmx}")
        self.misuse(*guest, "--machine", "pc_vmx", "--backend", "svm", says="machine pc_vmx is for VMX")
        self.misuse(*guest, "--backend", "npt", says="--backend npt: there are svm and vmx")
        self.misuse(*guest, "--emulator", "xen", says="--emulator xen: there are qemu and bochs")
        for how in VENDORS.values():
            self.misuse(*guest, *how, "--gdb", says="--gdb: Debian's Bochs has no server for gdb; use --emulator qemu")
            self.refuse(*guest, *how, "--memory", 2000, says="Bochs has 2048 MiB at most, 128 of them for")
            self.refuse("--kernel", "/etc/passwd", *how, says="cannot load the guest: The image is neither", lines=2)
        self.refuse(*guest, "--backend", "vmx", "--machine", "minimal",
                    says="machine minimal has no variant minimal_vmx")
        for arguments, says in (
            (["--emulator"], "demo: --emulator needs a value"),
            (["--backend", "npt"], "--backend npt: there are svm and vmx"),
            (["--emulator", "xen"], "--emulator xen: there are qemu and bochs"),
            (["--backend", "vmx", "--emulator", "qemu"], no_vmx),
            (["--timeout", "3"], "demo takes no argument --timeout"),
        ):
            ended = self.hv("demo", *arguments)
            self.assertEqual((ended.status, ended.out), (2, ""), ended)
            self.assertRegex(ended.err, f"^hv: .*{re.escape(says)}")
