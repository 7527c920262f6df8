#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""peer.py BUILD_DIR [--json] [--svg FILE] [--docs]: what each operation of the bench guest costs on hv and on Linux's KVM, and
what next to no hypervisor costs.

The same guest runs everywhere, under the same emulator with the same processor and clock, two machines at a time.
Columns come in pairs, a policy of mitigations each; an image of hv that the build has not is left out. `floor` is the
round trip of bench/peer/floor.S, which switches all that VMSAVE and VMLOAD do, times the exits of an operation;
`distance` is what hv without mitigations executes beyond it. --json prints one object a line. --docs writes the table
and the chart of docs/performance.md anew.
"""
import argparse
import asyncio
import json
import re
import sys
from pathlib import Path

import chart
from measure import Failed, command, of_image, operations, output_of

AT_ONCE = 2
QUIET = "console=ttyS0 nokaslr tsc=reliable quiet panic=-1"
POLICIES = {  # name: what it is called, hv's image, the words of Linux's command line
    "none": ("no mitigations", "pc_bench", "mitigations=off"),
    "default": ("default mitigations", "pc_bench_mitigated", "mitigations=auto"),
}
FLOOR = "state"
DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- ./hv bench --peer --docs writes this table -->\n", "<!-- end -->\n"
EXITS = {"empty": 0, "nop1000": 0, "timer_latency_hlt": 0, "timer_latency_spinning": 0, "self_ipi_83f_irq_eoi": 2,
         "self_ipi_icr830_irq_eoi": 2, "cli_selfipi_sti_hlt_irq_eoi": 4, "cli_selfipi_sti_irqwindow_eoi": 3,
         "remote_answer": 0, "remote_answer_nop1000": 0, "ipi_round_trip": 6, "remote_tlb_flush": 3, "ipi_to_halted": 2}
PAIR = "_smp"  # behind the name of what runs the guest of two processors
CELLS = [*(f"{column}_{policy}" for policy in POLICIES for column in ("hv", "kvm", "ratio")), "floor", "distance"]


def machines(build):
    """What has to run: name to the arguments of output_of."""
    bench = build / "bench"
    found = {"floor": (command("-m", 64, "-kernel", bench / "peer/bench_floor.elf"),)}
    for policy, (_, image, words) in POLICIES.items():
        for more, processors, also in (("", 1, ""), (PAIR, 2, "maxcpus=1 processors=2 guest=/guest_smp")):
            found[f"kvm_{policy}{more}"] = (command("-m", 1024, "-smp", processors, "-kernel", bench / "peer/bzImage",
                                                    "-initrd", bench / "peer/initrd", "-append", f"{QUIET} {words} {also}"),)
            if (bench / (image + more)).exists():
                found[f"hv_{policy}{more}"] = of_image(bench / (image + more), bench / f"bench_guest{more}.elf", processors)
    return found


async def run_all(wanted):
    """The texts of all machines, the longest begun first."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(arguments):
        async with turn:
            return await output_of(*arguments)

    names = sorted(wanted, key=lambda name: not name.startswith("kvm"))
    return dict(zip(names, await asyncio.gather(*(one(wanted[name]) for name in names))))


def medians(texts):
    """Column to name of the operation to instructions; those of two processors behind those of one."""
    columns = {}
    for name in sorted(texts.keys() - {"floor"}):
        columns.setdefault(name.removesuffix(PAIR), {}).update(
            (operation, n["median"]) for operation, n in operations(texts[name]).items())
    for name, column in columns.items():
        if list(column) != list(columns["kvm_none"]):
            raise Failed(f"{name} has other operations than kvm_none: {' '.join(column)}")
    return columns


def rows_of(columns, round_trip):
    """One object for each operation."""
    for operation in columns["kvm_none"]:
        row = {"name": operation}
        for policy in POLICIES:
            hv, kvm = (columns.get(f"{side}_{policy}", {}).get(operation) for side in ("hv", "kvm"))
            row |= {f"hv_{policy}": hv, f"kvm_{policy}": kvm, f"ratio_{policy}": round(kvm / hv, 2) if hv else None}
        row["exits"] = exits = EXITS.get(operation, 1)
        row["floor"] = exits * round_trip if exits else None
        row["distance"] = row["hv_none"] - row["floor"] if exits else None
        yield row


def table(rows):
    """The rows as text, with a pair of columns and its ratio for each policy."""
    yield f"{'':32}" + "".join(f"{title:>24}" for title, _, _ in POLICIES.values())
    yield f"{'operation':32}" + f"{'hv':>8}{'KVM':>8}{'ratio':>8}" * len(POLICIES) + f"{'floor':>8}{'distance':>10}"
    for row in rows:
        yield f"{row['name']:32}" + "".join(f"{text(row[c]):>{10 if c == 'distance' else 8}}" for c in CELLS)


def markdown(rows):
    """The rows that the chart shows, for the documents."""
    titles = "".join(f" hv, {title} | KVM | ratio |" for title, _, _ in POLICIES.values())
    yield f"| operation |{titles} floor | distance |"
    yield "|---|" + "---:|" * len(CELLS)
    by_name = {row["name"]: row for row in rows}
    for name, label in chart.SHOWN.items():
        yield f"| {label} | " + " | ".join(text(by_name[name][c]) for c in CELLS) + " |"


def write_docs(rows):
    page = DOCS / "performance.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise Failed(f"{page} has no place for the table")
    page.write_text(before + BEGIN + "\n".join([*markdown(rows), END]) + after)
    (DOCS / "exit-cost.svg").write_text(chart.draw(rows))


def text(value):
    if value is None:
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def kernel_lines(out):
    """What a Linux says about itself and its mitigations."""
    return re.findall(r"^peer: (.+?)\r?$", out, re.M)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("build", type=Path)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--docs", action="store_true")
    arguments.add_argument("--svg", type=Path)
    asked = arguments.parse_args()
    try:
        texts = asyncio.run(run_all(machines(asked.build.resolve())))
        floors = dict(re.findall(r"^floor: (\w+) (\d+)\r?$", texts["floor"], re.M))
        rows = list(rows_of(medians(texts), int(floors[FLOOR])))
        if asked.docs:
            write_docs(rows)
    except Failed as failure:
        sys.exit(f"bench: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
    if asked.svg:
        asked.svg.write_text(chart.draw(rows))
    if asked.json:
        for row in rows:
            print(json.dumps(row))
        return
    for policy, (title, _, _) in POLICIES.items():
        print(f"KVM, {title}: " + "; ".join(kernel_lines(texts[f"kvm_{policy}"])))
    print("floor, a round trip: " + ", ".join(f"{name} {n}" for name, n in floors.items()), end="\n\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
