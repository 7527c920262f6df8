# SPDX-License-Identifier: BSD-2-Clause
"""What --interactive, --log, --trace, --icount and --gdb promise."""
import json
import os
import re
import signal
import subprocess
import time

from hv_run import DEBIAN_QUIET, HV, OWN, PAYLOADS, Case, exits
from terminal import Terminal

PROMPT = "# (\x1b\\[6n)?$"  # BusyBox asks where the cursor is


class Tests(Case):
    def test_interactive(self):
        terminal = Terminal("--kernel", self.debian("vmlinux"), "--initrd", self.debian("initrd"), "--interactive",
                            "--timeout", "120", "--append", DEBIAN_QUIET + " hv.shell")
        terminal.wait_for("hv-guest: all checks passed")
        terminal.wait_for(PROMPT)
        terminal.type("echo $((6*7)) is it\r")
        terminal.wait_for(r"\n42 is it\s+/ " + PROMPT)
        terminal.type("sleep 60\r")
        time.sleep(0.5)
        terminal.type("\x03")  # the guest's
        terminal.wait_for(PROMPT)
        terminal.type("x=" + "a" * 300 + "; echo ${#x} long\r")
        terminal.wait_for(r"\n300 long")
        terminal.type("exit\r")
        terminal.wait_for("hv: stopped: power off")
        self.assertEqual(terminal.end(), 0)

    def test_interactive_polling_guest(self):
        terminal = Terminal("--kernel", OWN / "listen.elf", "--interactive", "--timeout", "60")
        terminal.wait_for(r"ready \[")
        terminal.type("\x03 \x01\x01 " + "a" * 300 + "\r")
        terminal.wait_for(r"\x03 \x01 a{300}\] 304 characters")
        self.assertEqual(terminal.end(), 0)

    def test_interactive_can_be_left(self):
        terminal = Terminal("--kernel", PAYLOADS / "endless_exits.elf", "--interactive", "--timeout", "60")
        terminal.wait_for("endless_exits")
        terminal.type("\x01x")
        self.assertEqual(terminal.end(), 130)

    def test_interrupt(self):
        terminal = Terminal("--kernel", PAYLOADS / "endless_exits.elf", "--timeout", "60")
        terminal.wait_for("endless_exits")
        terminal.type("\x03")
        self.assertEqual(terminal.end(), 130)

    def test_log(self):
        log = self.folder / "log"
        self.boot(PAYLOADS / "triple_fault.elf", "--log", log, status=3)
        lines = log.read_text().splitlines()
        self.assertEqual(len(lines), 1, lines)
        self.assertRegex(lines[0], '^stop="triple fault" vcpu=0 ')
        fields = dict(re.findall(r"(\w+)=(\S+)", lines[0]))
        for name in ("rip rflags rax rbx rcx rdx rsi rdi rsp rbp r8 r9 r10 r11 r12 r13 r14 r15 cr0 cr2 cr3 cr4 efer "
                     "cs ds es fs gs ss tr ldtr gdtr idtr dr0 dr1 dr2 dr3 dr6 dr7 exits").split():
            self.assertIn(name, fields)
        self.assertEqual(int(fields["efer"], 16) & 0x500, 0x500)  # long mode was on
        self.assertTrue(0x100000 <= int(fields["rip"], 16) < 0x200000, lines[0])

    def test_trace(self):
        trace = self.folder / "trace"
        out = self.boot(PAYLOADS / "cpuid_basics.elf", "--trace", trace).out
        counts = exits(out)
        events = json.loads(trace.read_text())["traceEvents"]
        slices = [e for e in events if e["ph"] == "X"]
        self.assertGreater(len(slices), 10)
        self.assertLessEqual(len(slices), counts["all"])
        self.assertGreaterEqual(len(slices), counts["all"] - 1)  # the last exit has no end
        self.assertLessEqual({e["name"] for e in slices}, set(counts))
        for name in counts.keys() - {"all"}:
            self.assertLessEqual(abs(sum(e["name"] == name for e in slices) - counts[name]), 1, name)
        before = 0
        for e in slices:
            self.assertGreaterEqual(e["dur"], 0, e)
            self.assertGreaterEqual(e["ts"], before, e)
            before = e["ts"] + e["dur"]
            int(e["args"]["rip"], 16)

    def test_trace_keeps_the_last(self):
        trace = self.folder / "trace"
        out = self.boot(PAYLOADS / "port_sweep.elf", "--trace", trace).out
        self.assertGreater(exits(out)["all"], 65536)
        events = [e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"]
        self.assertIn(len(events), (65535, 65536))
        self.assertEqual([e["ts"] for e in events], sorted(e["ts"] for e in events))

    def test_icount(self):
        def table():
            out = self.boot(PAYLOADS / "hlt_lapic_timer.elf", "--icount").out
            return out[out.index("hv: stopped") :]

        first = table()
        self.assertRegex(first, "host_interrupt|hlt")
        self.assertEqual(table(), first)

    def test_gdb(self):
        run = subprocess.Popen([HV, "run", "--kernel", OWN / "report.elf", "--gdb"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.addCleanup(run.communicate)
        self.addCleanup(os.killpg, run.pid, signal.SIGTERM)
        line = run.stdout.readline()
        attach = re.search(r"gdb '(.*)' -ex '(target remote .*)'", line)
        self.assertTrue(attach, line)
        time.sleep(2)  # it does wait
        second = self.hv("run", "--kernel", OWN / "report.elf", "--gdb")
        self.assertEqual(second.status, 2, second)
        self.assertRegex(second.err, "Address already in use")
        gdb = subprocess.run(["gdb", "-batch", "-nx", "-ex", attach[2], "-ex", "break image_main", "-ex", "continue",
                              "-ex", "backtrace", "-ex", "kill", attach[1]],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100)
        self.assertRegex(gdb.stdout, "^0x000000000000fff0 in", gdb)  # the reset vector
        self.assertRegex(gdb.stdout, r"Breakpoint 1, image_main \(host=.*, boot=", gdb)
        self.assertRegex(gdb.stdout, r"#1 .*hv_bare_start \(magic=", gdb)
