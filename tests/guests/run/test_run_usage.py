# SPDX-License-Identifier: BSD-2-Clause
"""Wrong arguments and files that are no guests: one clear line and status 2, before any guest runs."""
import os
import re
import struct
import unittest

from hv_run import OWN, PAYLOADS, Case

ELF_MACHINE = 18  # offset of e_machine


class Tests(Case):
    def test_usage(self):
        guest = PAYLOADS / "exit_zero.elf"
        self.misuse(says="--kernel FILE is needed")
        self.misuse("--kernel", says="--kernel needs a value")
        self.misuse("--kernel", guest, "more", says="unknown argument: more")
        self.misuse("--kernel", guest, "--bogus", says="unknown argument: --bogus")
        for memory in ("0", "abc", "-5", "1.5", "010", "", "99999999999999999999"):
            self.misuse("--kernel", guest, "--memory", memory, says="--memory")
        for timeout in ("x", "-1", "1s"):
            self.misuse("--kernel", guest, "--timeout", timeout, says="--timeout")
        for machine in ("", "../pc", "a b", "$(id)"):
            self.misuse("--kernel", guest, "--machine", machine, says="--machine .*not a name")
        self.refuse("--kernel", guest, "--machine", "nonesuch", says="there is no such machine")
        self.refuse("--kernel", guest, "--machine", "minimal_payload", says="there is no such machine")
        self.refuse("--kernel", guest, "--machine", "minimal", "--trace", self.folder / "t", says="no tracing image")
        self.misuse("--kernel", guest, "--initrd", guest, "--module", guest, says="exclude each other")
        self.misuse("--kernel", guest, *["--module", guest] * 16, says="15 modules at most")
        self.refuse("--kernel", guest, "--append", "x" * 4001, says="too long")
        self.refuse("--kernel", guest, "--log", self.folder, says="cannot be written")
        self.refuse("--kernel", guest, "--trace", "/nonesuch/trace", says="cannot be written")

    def test_commands(self):
        ended = self.hv("nonesuch")
        self.assertEqual((ended.status, ended.out), (2, ""), ended)
        self.assertRegex(ended.err, "^hv: there is no command nonesuch.*\n$")
        whole = self.hv("help")
        self.assertEqual(whole.status, 0)
        for command in ("demo", "run", "test", "soak", "verify", "machines", "build", "help"):
            self.assertRegex(whole.out, rf"\n  {command} ", whole)
        for command in ("run", "test", "soak", "demo"):
            ended = self.hv(command, "--help")
            self.assertEqual((ended.status, ended.err), (0, ""), ended)
            self.assertIn(f"usage: ./hv {command}", ended.out)
        for wrong in (["--minutes"], ["--minutes", "0"], ["--minutes="], ["--seed", "-1"], ["more"]):
            ended = self.hv("soak", *wrong)
            self.assertEqual((ended.status, ended.out), (2, ""), ended)
            self.assertRegex(ended.err, "^hv: soak: .*\n$")
        machines = self.hv("machines").out.split()
        self.assertLessEqual({"log_cpuid", "minimal", "my_device", "pc"}, set(machines))
        self.assertFalse([name for name in machines if re.search("payload|trace|unnamed", name)])

    def test_missing_files(self):
        guest = PAYLOADS / "exit_zero.elf"
        empty = self.file("empty", "")
        for what, arguments in (("kernel", ["--kernel"]), ("initrd", ["--kernel", guest, "--initrd"]),
                                ("module", ["--kernel", guest, "--module"])):
            self.refuse(*arguments, "/nonesuch", says=f"{what} /nonesuch: no such file")
            self.refuse(*arguments, self.folder, says=f"{what} .*: not a file")
            self.refuse(*arguments, "/dev/zero", says=f"{what} /dev/zero: not a file")
            self.refuse(*arguments, empty, says=f"{what} .*: is empty")
        self.refuse("--kernel", guest, "--module", "/nonesuch=text", says="module /nonesuch: no such file")

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_unreadable_file(self):
        path = self.file("secret", "x")
        path.chmod(0)
        self.refuse("--kernel", path, says="cannot be read")

    def test_oversized_files(self):
        guest = PAYLOADS / "exit_zero.elf"
        huge = self.file("huge", "x")
        os.truncate(huge, (1 << 30) + 1)
        self.refuse("--kernel", huge, says="larger than 1 GiB")
        self.refuse("--kernel", guest, "--initrd", huge, says="larger than 1 GiB")
        os.truncate(huge, 100 << 20)
        self.refuse("--kernel", guest, "--module", huge, "--memory", 64, says="cannot load the guest: .*memory")
        self.refuse("--kernel", huge, "--flat", says="cannot load the guest: .*640 KiB")

    def test_too_much_memory(self):
        guest = PAYLOADS / "exit_zero.elf"
        self.refuse("--kernel", guest, "--memory", 100000000, says="this computer has only [0-9]+ MiB to spare")

    def test_programs_are_no_kernels(self):
        self.refuse("--kernel", "/bin/ls", says="cannot load the guest: The ELF file is not an executable")
        self.refuse("--kernel", "/etc/passwd", says="cannot load the guest: The image is neither")

    def test_damaged_kernels(self):
        vmlinux = self.debian("vmlinux").read_bytes()
        bzimage = self.debian("bzImage").read_bytes()
        for name, content, says in (
            ("header", vmlinux[:40], "ELF"),
            ("half", vmlinux[:100000], "ELF file ends"),
            ("setup", bzimage[:1000], "kernel"),
            ("half_bzimage", bzimage[:100000], "kernel ends"),
        ):
            with self.subTest(name):
                self.refuse("--kernel", self.file(name, content), says=f"cannot load the guest: .*{says}")
        for name, machine in (("arm64", 183), ("riscv", 243), ("i386", 3)):
            with self.subTest(name):
                foreign = bytearray(vmlinux[:1 << 20])
                struct.pack_into("<H", foreign, ELF_MACHINE, machine)
                self.refuse("--kernel", self.file(name, foreign), says="cannot load the guest: .*x86")
        for memory in (1, 64):
            self.refuse("--kernel", self.debian("vmlinux"), "--memory", memory, says="cannot load the guest: .*memory")
        self.refuse("--kernel", self.debian("bzImage"), "--memory", 8, says="cannot load the guest: .*memory")

    def test_malformed_multiboot_headers(self):
        kernel = (OWN / "bare_binary.bin").read_bytes()

        def header(flags, *fields):
            words = [0x1BADB002, flags, -(0x1BADB002 + flags) & 0xFFFFFFFF, *fields]
            return struct.pack(f"<{len(words)}I", *words) + kernel[len(words) * 4 :]

        base, addresses = 0x100000, 0x10003
        for name, content, says in (
            ("required flag", header(0x10008, base, base, 0, 0, base + 32), "requires"),
            ("ends inside", header(addresses, base, base, 0, 0, base + 32)[:28], "ends inside its Multiboot header"),
            ("load before file", header(addresses, base, base - 4096, 0, 0, base + 32), "before the file"),
            ("load end", header(addresses, base, base, base + (1 << 20), 0, base + 32), "beyond the file"),
            ("bss", header(addresses, base, base, 0, base + 8, base + 32), "bss"),
            ("entry", header(addresses, base, base, 0, 0, 0x7000000), "entry"),
            ("no memory", header(addresses, 0xF0000000, 0xF0000000, 0, 0, 0xF0000020), "memory"),
            ("not ELF", header(0), "ELF"),
        ):
            with self.subTest(name):
                self.refuse("--kernel", self.file("kernel", content), says=f"cannot load the guest: .*{says}")
        self.refuse("--kernel", self.file("checksum", kernel[:8] + b"\1" + kernel[9:]), says="The image is neither")
