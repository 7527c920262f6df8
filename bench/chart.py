# SPDX-License-Identifier: BSD-2-Clause
"""The table of peer.py as a bar chart: SVG, the same bytes for the same numbers."""

# What the chart shows, and as what.
SHOWN = {
    "cpuid_leaf0": "CPUID, leaf 0",
    "rdmsr_apic_base_1b": "RDMSR APIC_BASE",
    "vmmcall_unknown": "VMMCALL, unknown",
    "in_61_speaker": "IN 61h",
    "in_40_pit": "IN 40h (8254)",
    "in_21_pic": "IN 21h (8259)",
    "out_43_pit_latch": "OUT 43h (8254)",
    "wrmsr_tscdeadline_far": "TSC deadline, arm",
    "xapic_rd_version": "xAPIC, read version",
    "xapic_wr_eoi": "xAPIC, EOI",
    "x2apic_rd_tpr_808": "x2APIC, read TPR",
    "x2apic_eoi_80b_none": "x2APIC, EOI of nothing",
    "npf_first_touch_write": "first touch of a page",
    "self_ipi_83f_irq_eoi": "self IPI, EOI",
    "cli_selfipi_sti_irqwindow_eoi": "interrupt window, EOI",
    "cli_selfipi_sti_hlt_irq_eoi": "HLT, wake-up, EOI",
    "ipi_round_trip": "IPI there and back",
    "ipi_to_halted": "IPI to a halted one",
    "remote_tlb_flush": "remote TLB flush",
}
WIDTH, LEFT, RIGHT, TOP, ROW, BAR, BOTTOM = 860, 190, 70, 66, 30, 11, 34
COLOURS = {"hv": ("#0b6e4f", "#7fc8a9"), "kvm": ("#8a4b08", "#e0a96d")}
FONT = 'font-family="sans-serif" font-size="12"'


def step_of(most):
    """The distance of the scale's lines, ten of them at most."""
    return next(step for power in range(1, 12) for step in (10**power, 2 * 10**power, 5 * 10**power) if step * 10 >= most)


def bar(y, side, none, default, scale):
    """One bar: without mitigations, and behind it in a pale colour what mitigations add."""
    strong, pale = COLOURS[side]
    parts = []
    most = max(n for n in (none, default) if n is not None)
    if default is not None and default > none:
        parts.append(f'<rect x="{LEFT}" y="{y}" width="{default * scale:.1f}" height="{BAR}" fill="{pale}"/>')
    parts.append(f'<rect x="{LEFT}" y="{y}" width="{none * scale:.1f}" height="{BAR}" fill="{strong}"/>')
    parts.append(f'<text x="{LEFT + most * scale + 4:.1f}" y="{y + BAR - 1}" font-size="11">{none}</text>')
    return parts


def draw(rows):
    by_name = {row["name"]: row for row in rows}
    height = TOP + ROW * len(SHOWN) + BOTTOM
    most = max(v for name in SHOWN for k, v in by_name[name].items() if k.startswith(("hv_", "kvm_")) and v is not None)
    scale = (WIDTH - LEFT - RIGHT) / most
    bottom = height - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" {FONT}>',
        "<title>Instructions that a guest's operations cost on hv and on KVM</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="20" font-size="15">Instructions from an operation of the guest to the next</text>',
    ]
    for x, colours, label in ((LEFT, COLOURS["hv"][:1], "hv"), (LEFT + 60, COLOURS["kvm"][:1], "KVM"),
                              (LEFT + 130, [c[1] for c in COLOURS.values()], "what default mitigations add")):
        for i, colour in enumerate(colours):
            parts.append(f'<rect x="{x + 14 * i}" y="34" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14 * len(colours) + 4}" y="44">{label}</text>')
    parts.append(f'<rect x="{LEFT + 370}" y="34" width="2" height="12" fill="#000000"/>')
    parts.append(f'<text x="{LEFT + 378}" y="44">a bare VMRUN loop</text>')
    for value in range(0, most + 1, step_of(most)):
        at = f"{LEFT + value * scale:.1f}"
        parts.append(f'<line x1="{at}" y1="{TOP - 6}" x2="{at}" y2="{bottom}" stroke="#dddddd"/>')
        parts.append(f'<text x="{at}" y="{bottom + 18}" text-anchor="middle" fill="#555555">{value}</text>')
    for i, (name, label) in enumerate(SHOWN.items()):
        row, y = by_name[name], TOP + ROW * i
        parts.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{label}</text>')
        for n, side in enumerate(COLOURS):
            parts += bar(y + n * (BAR + 1), side, row[f"{side}_none"], row[f"{side}_default"], scale)
        at = f"{LEFT + row['floor'] * scale:.1f}"
        parts.append(f'<line x1="{at}" y1="{y - 2}" x2="{at}" y2="{y + BAR + 2}" stroke="#000000" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>", ""])
