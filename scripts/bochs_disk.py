#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""bochs_disk.py DISK BOOT_SECTOR IMAGE WORDS [MODULE[=STRING]...]: make a disk that boots a Multiboot 1 image.

Prints the number of cylinders for 16 heads of 63 sectors. bochs_boot.S is the boot sector and says what the second
sector holds. WORDS is the image's command line; modules lie in memory from 16 MiB on.
"""
import struct
import sys

SECTOR = 512
CYLINDER = 16 * 63 * SECTOR
INFORMATION = 0x10000
MEMORY_MAP = 0x9000
MODULES = 0x1000000


def up(size, unit):
    return -(-size // unit) * unit


def multiboot_piece(image):
    """What the address fields of the header load: bytes, address, end of .bss, entry point."""
    for at in range(0, min(8192, len(image) - 32), 4):
        magic, flags, check, header, first, end, bss_end, entry = struct.unpack_from("<8I", image, at)
        if magic == 0x1BADB002 and (magic + flags + check) % 2**32 == 0 and flags & 0x10000:
            start = at - (header - first)
            return image[start : start + end - first], first, bss_end, entry
    sys.exit("bochs_disk: the image has no Multiboot 1 header with addresses")


def main():
    disk, boot, image, words, *modules = sys.argv[1:]
    with open(boot, "rb") as f:
        sector = f.read()
    with open(image, "rb") as f:
        body, first, bss_end, entry = multiboot_piece(f.read())
    stretches = [(first, body)]
    zeros = first + up(len(body), SECTOR)
    blank = up(max(bss_end - zeros, 0), SECTOR)

    at = MODULES
    entries = []
    for module in modules:
        name, _, string = module.partition("=")
        with open(name, "rb") as f:
            content = f.read()
        entries.append((at, at + len(content), string or name))
        stretches.append((at, content))
        at = up(at + len(content), 4096)
    table = INFORMATION + 128
    texts = b""
    text_at = table + 16 * len(entries)

    def keep(text):
        nonlocal texts
        where = text_at + len(texts)
        texts += text.encode() + b"\0"
        return where

    command_line = keep("hv " + words)
    rows = b"".join(struct.pack("<4I", a, b, keep(s), 0) for a, b, s in entries)
    has_command_line, has_modules, has_memory_map = 1 << 2, 1 << 3, 1 << 6
    information = struct.pack("<13I", has_command_line | has_modules | has_memory_map, 0, 0, 0, command_line,
                              len(entries), table, 0, 0, 0, 0, 0, MEMORY_MAP)
    stretches.append((INFORMATION, information.ljust(128, b"\0") + rows + texts))

    listed = struct.pack("<2I", len(stretches) + (blank != 0), entry)
    content = b""
    next_sector = 2
    for where, what in stretches:
        sectors = up(len(what), SECTOR) // SECTOR
        listed += struct.pack("<3I", where, next_sector, sectors)
        content += what.ljust(sectors * SECTOR, b"\0")
        next_sector += sectors
    if blank:
        listed += struct.pack("<3I", zeros, 0, blank // SECTOR)
    if len(sector) != SECTOR or len(listed) > SECTOR:
        sys.exit("bochs_disk: the boot sector or the list of stretches is no sector")
    whole = sector + listed.ljust(SECTOR, b"\0") + content
    cylinders = up(len(whole), CYLINDER) // CYLINDER
    with open(disk, "wb") as f:
        f.write(whole.ljust(cylinders * CYLINDER, b"\0"))
    print(cylinders)


main()
