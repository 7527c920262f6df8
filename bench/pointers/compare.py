#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""compare.py BUILD [--json] [--check] [--docs]: the bench on four images of one machine, side by side.

For each operation: instructions as ./hv bench counts them, and of those between exit and entry the bytes of different
ones that most samples execute, the indirect calls and jumps, and the calls of retpolines. QEMU's plugin hv-exit-trace
counts them while the guest runs. --check fails where an image does not do what its name says, or docs/pointers.md has
other numbers. --docs writes them there.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from measure import of_image, operations, run

IMAGES = {"static": "bench/pc_bench", "coarse": "bench/pointers/pc_bench_coarse",
          "pointers": "bench/pointers/pc_bench_pointers", "retpolines": "bench/pointers/pc_bench_retpolines"}
# FFh with /2 or /4, near call and jump, behind prefixes; GCC's and Clang's names of thunks.
INDIRECT = re.compile(r"^(?:2e|3e|66|f2|4[0-9a-f])*ff[159d][0-7]|^(?:2e|3e|66|f2|4[0-9a-f])*ff[26ae][0-7]")
PAGE = Path(__file__).resolve().parents[2] / "docs/pointers.md"
BEGIN, END = "<!-- ./hv bench --pointers --docs writes this table -->\n", "<!-- end -->\n"
TOLERANCE = 0.05
SHOWN = {"cpuid_leaf0": "CPUID, leaf 0",
         "rdmsr_apic_base_1b": "RDMSR IA32_APIC_BASE",
         "vmmcall_unknown": "VMMCALL, unknown",
         "in_61_speaker": "IN 61h",
         "in_40_pit": "IN 40h (8254)",
         "xapic_rd_version": "xAPIC read of the version",
         "x2apic_rd_tpr_808": "x2APIC read of TPR",
         "x2apic_eoi_80b_none": "x2APIC EOI, nothing in service",
         "wrmsr_tscdeadline_far": "TSC deadline, armed",
         "self_ipi_83f_irq_eoi": "self IPI, handler, EOI: 2 exits",
         "cli_selfipi_sti_hlt_irq_eoi": "CLI, self IPI, STI, HLT, handler, EOI: 4 exits",
         "npf_first_touch_write": "first touch of a 4 KiB page"}
THUNK = re.compile(r"__llvm_retpoline_|__x86_indirect_thunk_")


def thunks_of(image):
    lines = subprocess.run(["nm", image], capture_output=True, text=True, check=True).stdout.splitlines()
    return {int(line.split()[0], 16) for line in lines if THUNK.search(line)}


def counted(build, image):
    """The operations of the guest on one image, and the bytes of all its code."""
    with tempfile.TemporaryDirectory() as scratch:
        known, out, parts = (Path(scratch) / name for name in ("verified", "out", "operations"))
        # It refuses all but the first, as it should.
        said = subprocess.run([build / "codegen/hv-verify", image, "--json"], capture_output=True, text=True).stdout
        known.write_text(said)
        arguments, folder = of_image(image, build / "bench/bench_guest.elf")
        plugin = build / "codegen/libhv-exit-trace.so"
        arguments += ["-plugin", f"{plugin},verified={known},out={out},operations={parts}"]
        found = operations(run(arguments, folder))
        executed = defaultdict(list)
        for line in parts.read_text().splitlines():
            number, address, code, count = line.split()
            executed[int(number, 16)].append((int(address, 16), code, int(count, 16)))
    thunks = thunks_of(image)
    made = {}
    for number, (name, numbers) in enumerate(found.items(), 1):
        if name.startswith("timer_latency"):  # these wait, they do not work
            continue
        here = executed[number]
        samples = numbers["n"]
        made[name] = {
            "instructions": numbers["median"],
            "bytes": sum(len(code) // 2 for _, code, count in here if count * 2 >= samples),
            "indirect": round(sum(count for _, code, count in here if INDIRECT.match(code)) / samples),
            "retpolines": round(sum(count for at, _, count in here if at in thunks) / samples)}
    return made, sum(end - first for first, end in json.loads(said)["text"])


def wrong(results):
    """A sentence for each operation that is not what its image's name says."""
    for name, static in results["static"].items():
        exits = static["bytes"] != 0
        for image in IMAGES:
            there = results[image][name]
            branches = there["indirect"], there["retpolines"]
            wanted = exits and image in ("coarse", "pointers"), exits and image == "retpolines"
            if tuple(n != 0 for n in branches) != wanted:
                yield "{}, {}: {} indirect branches and {} retpolines".format(name, image, *branches)


def table(results, texts):
    """The lines of docs/pointers.md."""
    yield "| operation | static | coarse | calls | pointers | calls | retpolines |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, words in SHOWN.items():
        static, coarse, pointers, retpolines = (results[image][name] for image in IMAGES)
        beside = [f"{r['instructions']} (×{r['instructions'] / static['instructions']:.2f})"
                  for r in (coarse, pointers, retpolines)]
        yield (f"| {words} | {static['instructions']} | {beside[0]} | {coarse['indirect']} | {beside[1]} | "
               f"{pointers['indirect']} | {beside[2]} |")
    static, coarse, pointers, retpolines = (f"{size} (×{size / texts['static']:.2f})" for size in texts.values())
    yield f"| bytes of all code | {static.split()[0]} | {coarse} | | {pointers} | | {retpolines} |"


def outdated(results):
    """A sentence for each operation of which the page says something else."""
    page = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    for name, words in SHOWN.items():
        said = re.search(rf"^\| {re.escape(words)} \| (\d+) \| (\d+) .* \| \d+ \| (\d+) .* \| \d+ \| (\d+) ", page, re.M)
        for image, number in zip(IMAGES, said.groups() if said else "0000"):
            now = results[image][name]["instructions"]
            if abs(int(number) - now) > now * TOLERANCE:
                yield f"{name}, {image}: {now} instructions, docs/pointers.md has {number}: ./hv bench --pointers --docs"


def write(lines):
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        sys.exit(f"bench: {PAGE} has no place for the table")
    PAGE.write_text(before + BEGIN + "".join(f"{line}\n" for line in lines) + END + after)


def print_table(results, texts):
    print(f"{'':30}{'static':>12}" + "".join(f"{image:>27}" for image in list(IMAGES)[1:]))
    print(f"{'operation':30}{'instr':>6}{'bytes':>6}" + f"{'instr':>8}{'bytes':>6}{'calls':>6}{'ratio':>7}" * 3)
    for name, static in results["static"].items():
        line = f"{name:30}{static['instructions']:6}{static['bytes']:6}"
        for image in list(IMAGES)[1:]:
            there = results[image][name]
            ratio = f"{there['instructions'] / static['instructions']:7.2f}" if static["bytes"] else f"{'':7}"
            line += f"{there['instructions']:8}{there['bytes']:6}{there['indirect'] + there['retpolines']:6}{ratio}"
        print(line)
    print(f"{'bytes of all code':30}{texts['static']:12}" +
          "".join(f"{texts[image]:14}{texts[image] / texts['static']:13.2f}" for image in list(IMAGES)[1:]))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("build", type=lambda p: Path(p).resolve())
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--docs", action="store_true")
    asked = arguments.parse_args()
    results, texts = {}, {}
    for image, file in IMAGES.items():
        results[image], texts[image] = counted(asked.build, asked.build / file)
    if asked.json:
        for name in results["static"]:
            print(json.dumps({"name": name, **{image: results[image][name] for image in IMAGES}}))
        print(json.dumps({"name": "code", **{image: {"bytes": texts[image]} for image in IMAGES}}))
    else:
        print_table(results, texts)
    if asked.docs:
        write(table(results, texts))
    if asked.check:
        sentences = [*wrong(results), *outdated(results)]
        print("".join(f"bench: {s}\n" for s in sentences), end="", file=sys.stderr)
        sys.exit(1 if sentences else 0)


main()
