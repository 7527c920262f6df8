#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: BSD-2-Clause
"""peer.py BUILD_DIR [--json] [--svg FILE]: what each operation of the bench guest costs on hv and on Linux's KVM, and
what next to no hypervisor costs.

The same guest runs everywhere, under the same emulator with the same processor and clock, two machines at a time.
Columns come in pairs, a policy of mitigations each; an image of hv that the build has not is left out. `floor` is the
round trip of bench/peer/floor.S, which switches all that VMSAVE and VMLOAD do, times the exits of an operation;
`distance` is what hv without mitigations executes beyond it. --json prints one object a line.
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
EXITS = {"empty": 0, "nop1000": 0, "timer_latency_hlt": 0, "timer_latency_spinning": 0, "self_ipi_83f_irq_eoi": 2,
         "self_ipi_icr830_irq_eoi": 2, "cli_selfipi_sti_hlt_irq_eoi": 4, "cli_selfipi_sti_irqwindow_eoi": 3}


def machines(build):
    """What has to run: name to the arguments of output_of."""
    bench = build / "bench"
    found = {"floor": (command("-m", 64, "-kernel", bench / "peer/bench_floor.elf"),)}
    for policy, (_, image, words) in POLICIES.items():
        found[f"kvm_{policy}"] = (command("-m", 1024, "-kernel", bench / "peer/bzImage", "-initrd", bench / "peer/initrd",
                                          "-append", f"{QUIET} {words}"),)
        if (bench / image).exists():
            found[f"hv_{policy}"] = of_image(bench / image, bench / "bench_guest.elf")
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
    """Column to name of the operation to instructions."""
    columns = {name: {operation: n["median"] for operation, n in operations(text).items()}
               for name, text in texts.items() if name != "floor"}
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
    """The rows as text, with a pair of columns and its ratio for each policy that hv has an image of."""
    shown = [p for p in POLICIES if rows[0][f"hv_{p}"] is not None or any(r[f"kvm_{p}"] for r in rows)]
    yield f"{'':32}" + "".join(f"{POLICIES[p][0]:>24}" for p in shown)
    yield f"{'operation':32}" + "".join(f"{'hv':>8}{'KVM':>8}{'ratio':>8}" for _ in shown) + f"{'floor':>8}{'distance':>10}"
    for row in rows:
        cells = "".join(f"{text(row[f'hv_{p}']):>8}{text(row[f'kvm_{p}']):>8}{text(row[f'ratio_{p}']):>8}" for p in shown)
        yield f"{row['name']:32}{cells}{text(row['floor']):>8}{text(row['distance']):>10}"


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
    arguments.add_argument("--svg", type=Path)
    asked = arguments.parse_args()
    try:
        texts = asyncio.run(run_all(machines(asked.build.resolve())))
        floors = dict(re.findall(r"^floor: (\w+) (\d+)\r?$", texts["floor"], re.M))
        rows = list(rows_of(medians(texts), int(floors[FLOOR])))
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
