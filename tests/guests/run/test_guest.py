# SPDX-License-Identifier: BSD-2-Clause
"""Whole operating systems: Debian by `./hv demo` and with other memory sizes, memtest86+ on its screen."""
import re
import time

from hv_run import BUILD, DEBIAN_QUIET, Case, exits, seconds


class Screen:
    """What a VT100 shows after some text: cursor positions, clearing, characters."""

    def __init__(self, text, rows=30, columns=132):
        self.cells = [[" "] * columns for _ in range(rows)]
        row = column = 0
        for part in re.finditer(r"\x1b\[([0-9;?]*)([A-Za-z])|(\n)|(\r)|([ -~]+)", text):
            numbers, command, line_feed, carriage_return, words = part.groups()
            if command in ("H", "f"):
                row, column = (int(n) - 1 for n in numbers.split(";"))
            elif command == "J":
                self.cells = [[" "] * columns for _ in range(rows)]
            elif line_feed:
                row += 1
            elif carriage_return:
                column = 0
            elif words:
                self.cells[row][column : column + len(words)] = words
                column += len(words)

    def __str__(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)


class Tests(Case):
    def judge_debian(self, out):
        self.assertLessEqual(exits(out)["all"], 45000, out)
        self.assertLessEqual(seconds(out, "first entry to mark I"), 20, out)

    def test_debian(self):
        self.debian("vmlinux")
        ended = self.hv("demo")
        self.assertEqual(ended.status, 0, ended)
        self.assertRegex(ended.out, "==> all is well", ended)
        self.judge_debian(ended.out)

    def boot_debian(self, memory, *words):
        ended = self.boot(self.debian("vmlinux"), "--initrd", self.debian("initrd"), "--memory", memory, "--append",
                          " ".join([DEBIAN_QUIET, f"hv.memory={memory}", *words]), timeout=120,
                          prints=["hv-guest: all checks passed"])
        self.judge_debian(ended.out)
        return ended

    def test_debian_96(self):  # the kernel's own sections end at 74 MiB
        self.boot_debian(96)

    def test_debian_1024(self):  # long
        self.boot_debian(1024)

    def test_debian_3500(self):  # long: 428 MiB of it lie above 4 GiB
        self.boot_debian(3500)

    def test_debian_resets(self):
        ended = self.boot_debian(256, "hv.reboot")
        self.assertRegex(ended.out, "hv: stopped: reset")

    def test_debian_on_four_processors(self):
        self.debian("vmlinux")
        ended = self.hv("demo", "--cpus", 4, "--host-cpus", 2)
        self.assertEqual(ended.status, 0, ended)
        self.assertRegex(ended.out, "hv: 4 virtual processors on 2 of the host", ended)
        self.assertRegex(ended.out, "hv-guest: processors 4", ended)
        self.assertRegex(ended.out, "hv-guest: check processors ok", ended)
        self.assertRegex(ended.out, "hv-guest: clocksource tsc", ended)
        self.assertLessEqual(seconds(ended.out, "first entry to mark I"), 45, ended.out)

    def debian_arranged(self, shape):
        ended = self.boot(self.debian("vmlinux"), "--initrd", self.debian("initrd"), "--topology", shape, "--host-cpus",
                          2, "--append", f"{DEBIAN_QUIET} hv.topology={shape}", timeout=120,
                          prints=["hv-guest: all checks passed"])
        self.assertRegex(ended.out, "hv-guest: check topology ok", ended)

    def test_debian_in_two_sockets_of_two(self):
        self.debian_arranged("2,1,2")

    def test_debian_in_sockets_of_three(self):  # long: ids leave gaps
        self.debian_arranged("2,3,1")

    def test_debian_takes_turns(self):  # long: eight on one
        ended = self.hv("demo", "--cpus", 8, "--host-cpus", 1)
        self.assertEqual(ended.status, 0, ended)
        self.assertRegex(ended.out, "hv-guest: processors 8", ended)

    def test_memtest86(self):
        path = BUILD / "guest/memtest86+x64.bin"
        self.assertTrue(path.exists(), f"{path} is not there: run scripts/guest_memtest.sh {BUILD}")
        ended = self.boot(path, "--memory", 32, "--append", "console=ttyS0,115200 nobench nopause nosmp", timeout=40,
                          status=124)
        screen = str(Screen(ended.out))
        self.assertRegex(screen, r"Memtest86\+ v[0-9]", screen)
        number = re.search(r"Test #([0-9]+) ", screen)
        self.assertTrue(number, screen)
        self.assertGreater(int(number[1]), 0, screen)
        self.assertRegex(screen, r"Errors: 0(\s|$)", screen)
        self.assertEqual(set(re.findall(r"Errors: *([0-9]+)", ended.out)), {"0"}, screen)
        self.assertRegex(screen, "Memory  : +32MB", screen)

    def demo_in_bochs(self, *how):
        self.debian("vmlinux")
        ended = self.hv("demo", *how)
        self.assertEqual(ended.status, 0, ended)
        self.assertRegex(ended.out, "==> all is well", ended)
        self.assertLessEqual(seconds(ended.out, "first entry to mark I"), 60, ended)
        return ended

    def test_debian_on_vmx(self):
        ended = self.demo_in_bochs("--backend", "vmx")
        self.assertLessEqual(exits(ended.out)["all"], 45000, ended)

    def test_debian_on_another_svm(self):  # long
        self.demo_in_bochs("--emulator", "bochs")

    def test_debian_on_two_processors_with_vmx(self):  # long
        began = time.monotonic()
        ended = self.demo_in_bochs("--backend", "vmx", "--cpus", 2, "--host-cpus", 2)
        self.assertLessEqual(time.monotonic() - began, 150, ended)
        self.assertRegex(ended.out, "hv: 2 virtual processors on 2 of the host", ended)
        self.assertRegex(ended.out, "hv-guest: processors 2", ended)
        self.assertRegex(ended.out, "hv-guest: check processors ok", ended)
        self.assertRegex(ended.out, "hv-guest: clocksource tsc", ended)
        self.assertLessEqual(exits(ended.out)["all"], 60000, ended)
