# SPDX-License-Identifier: BSD-2-Clause
"""Every form of guest that starts, every exit status, and guests that misbehave."""
import struct
import unittest

from hv_run import BUILD, DEBIAN_QUIET, OWN, PAYLOADS, Case, exits

HELLO = BUILD / "images/minimal_payload.bin"


class Tests(Case):
    # --- forms ---

    def test_vmlinux(self):
        self.boot(self.debian("vmlinux"), "--initrd", self.debian("initrd"), "--append", DEBIAN_QUIET,
                  prints=["hv-guest: all checks passed", "hv: stopped: power off"])

    def test_bzimage(self):
        self.boot(self.debian("bzImage"), "--initrd", self.debian("initrd"), "--append", DEBIAN_QUIET, timeout=280,
                  prints=["hv-guest: all checks passed", "hv: stopped: power off"])

    def test_flat(self):
        for name in ("boot.bin", "boot"):
            code = self.file(name, HELLO.read_bytes())
            how = [] if name.endswith(".bin") else ["--flat"]
            self.boot(code, "--memory=2", *how,
                      prints=["(?m)^hello from real mode\n", "hv: stopped: exit code, code 0x0"])

    def test_boot_sector(self):
        sector = self.file("sector", HELLO.read_bytes().ljust(510, b"\0") + b"\x55\xaa")
        self.boot(sector, prints=["(?m)^hello from real mode\n"])

    def test_multiboot_elf(self):
        one, two = self.file("one", bytes(range(256)) * 20), self.file("two words", b"\xff")
        text = 'a="b c", d=1,,2 \\ \'$x\''
        out = self.boot(OWN / "report.elf", "--append", text, "--module", f"{one}=first, of two", "--module", two,
                        "--memory", 64).out
        self.assertIn("lower 640 KiB, upper 64512 KiB, map entries 3\n", out)
        self.assertIn(f"command line [guest {text}]\n", out)
        self.assertIn("module 0: bytes 5120, sum 652800, string [first, of two]\n", out)
        self.assertIn("module 1: bytes 1, sum 255, string []\n", out)
        self.assertNotIn("module 2", out)

    def test_multiboot_without_flags(self):
        elf = (PAYLOADS / "exit_zero.elf").read_bytes()
        header = elf.index(struct.pack("<I", 0x1BADB002))
        self.assertEqual(struct.unpack_from("<I", elf, header + 4)[0], 0)
        self.boot(PAYLOADS / "exit_zero.elf", prints=["hv: stopped: exit code, code 0x0"])

    def test_multiboot_by_header(self):
        self.boot(OWN / "bare_binary.bin", prints=["(?m)^loaded by the addresses of a header\n"])

    def test_paths(self):
        odd = self.folder / "a b,c='d"
        odd.mkdir()
        code, module = odd / "x, y.bin", odd / "-m"
        code.write_bytes(HELLO.read_bytes())
        module.write_bytes(b"12")
        self.boot("x, y.bin", "--log", "l, og", "--trace", "t,  race", cwd=odd, env=self.environment(TMPDIR=str(odd)),
                  prints=["(?m)^hello from real mode\n"])
        self.assertEqual(len((odd / "l, og").read_text().splitlines()), 1)
        self.assertIn("traceEvents", (odd / "t,  race").read_text())
        self.boot(OWN / "report.elf", "--initrd", "-m", cwd=odd, prints=["module 0: bytes 2, sum 99, string"])
        self.assertEqual(sorted(p.name for p in odd.iterdir()), ["-m", "l, og", "t,  race", "x, y.bin"])

    def test_machines(self):
        for name in ("minimal", "my_device", "log_cpuid"):
            with self.subTest(name):
                self.boot(BUILD / f"images/{name}_payload.bin", "--machine", name)

    # --- statuses ---

    def test_status(self):
        for name, status, says in (
            ("exit_zero", 0, "exit code, code 0x0"),
            ("power_off", 0, "power off"),
            ("reset_register", 0, "reset"),
            ("exit_one", 1, "exit code, code 0x1"),
            ("triple_fault", 3, "triple fault"),
            ("halt_for_ever", 3, "halted"),
        ):
            with self.subTest(name):
                out = self.boot(PAYLOADS / f"{name}.elf", status=status, prints=[f"\nhv: stopped: {says}"]).out
                self.assertEqual(" rip=" in out, status == 3, out)  # the dump
                self.assertGreater(exits(out)["all"], 0)

    def test_quiet(self):
        out = self.boot(PAYLOADS / "exit_zero.elf", "--quiet").out
        self.assertRegex(out, "hv: stopped: ")
        self.assertNotIn("hv: exit ", out)

    def test_timeout(self):
        for name in ("endless_exits", "endless_page_fault", "endless_undefined"):
            with self.subTest(name):
                ended = self.boot(PAYLOADS / f"{name}.elf", timeout=4, status=124)
                self.assertEqual(ended.err, "hv: no end after 4 s\n")

    # --- guests that misbehave: a clear status, and a host that says it ---

    def test_wild_guests(self):
        for name in ("jump_nowhere", "jump_device", "stack_nowhere", "page_tables_nowhere"):
            with self.subTest(name):
                ended = self.hv("run", "--kernel", PAYLOADS / f"{name}.elf", "--timeout", "20")
                self.assertIn(ended.status, (0, 3), ended)
                self.assertRegex(ended.out, "\nhv: stopped: ")

    def test_garbage(self):
        self.boot(PAYLOADS / "garbage.elf", prints=["hv: stopped: exit code"])

    def test_every_port(self):
        self.boot(PAYLOADS / "port_sweep.elf", prints=["hv: stopped: "])

    def test_every_msr(self):
        self.boot(PAYLOADS / "msr_sweep.elf", prints=["hv: stopped: exit code"])
        self.boot(OWN / "write_every_msr.elf", prints=["hv: stopped: exit code"])

    def test_every_byte_of_devices(self):
        for name in ("lapic", "ioapic", "hpet"):
            with self.subTest(name):
                self.boot(PAYLOADS / f"mmio_sweep_{name}.elf", prints=["hv: stopped: exit code"])

    def test_random_kernels(self):
        for seed in range(4):
            with self.subTest(seed):
                state, code = seed + 1, bytearray()
                for _ in range(4096):
                    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
                    code.append(state >> 56)
                ended = self.hv("run", "--kernel", self.file("random", bytes(code)), "--flat", "--timeout", "3")
                self.assertIn(ended.status, (0, 1, 3, 124), ended)
                self.assertRegex(ended.out + ended.err, "hv: (stopped: |no end after)")


if __name__ == "__main__":
    unittest.main()
