#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""guest_vmlinux.py BZIMAGE VMLINUX: unpack the kernel inside a bzImage and drop what loading it does not need.

A bzImage says where its compressed ELF file lies (Linux documentation, "The Linux/x86 Boot Protocol", fields
payload_offset and payload_length). Section headers go, and zeros at the end of a segment: a loader writes those anyway.
"""
import gzip
import lzma
import struct
import sys

PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")  # type, flags, offset, vaddr, paddr, filesz, memsz, align
PT_LOAD = 1
PAGE = 4096


def unpack(image):
    if image[0x202:0x206] != b"HdrS":
        sys.exit("guest_vmlinux: not a bzImage")
    start = ((image[0x1F1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[start + offset : start + offset + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(payload)  # the size of the kernel follows the stream
    if payload.startswith(b"\x1f\x8b"):
        return gzip.decompress(payload[:-4])
    sys.exit(f"guest_vmlinux: the kernel is packed in a way this script does not know: {payload[:6].hex()}")


def shrink(elf):
    if elf[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", elf, 18)[0] != 62:
        sys.exit("guest_vmlinux: what the bzImage holds is not an ELF64 file for x86-64")
    table, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    headers = [list(PROGRAM_HEADER.unpack_from(elf, table + i * size)) for i in range(count)]
    out = bytearray(PAGE)
    moved = []  # (old offset, new offset, length) of each segment
    for header in headers:
        if header[0] != PT_LOAD:
            continue
        body = elf[header[2] : header[2] + header[5]].rstrip(b"\0")
        moved.append((header[2], len(out), len(body)))
        header[2], header[5], header[7] = len(out), len(body), PAGE
        out += body
        out += bytes(-len(out) % PAGE)
    kept = []
    for header in headers:
        if header[0] != PT_LOAD:  # notes lie inside a segment and move with it
            home = [new + header[2] - old for old, new, length in moved if old <= header[2] < old + length]
            if not home:
                continue
            header[2] = home[0]
        kept.append(header)
    out[:64] = elf[:64]
    struct.pack_into("<QQ", out, 32, 64, 0)
    struct.pack_into("<HHHHH", out, 54, PROGRAM_HEADER.size, len(kept), 0, 0, 0)
    for i, header in enumerate(kept):
        PROGRAM_HEADER.pack_into(out, 64 + i * PROGRAM_HEADER.size, *header)
    return bytes(out)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as source:
        whole = unpack(source.read())
    small = shrink(whole)
    with open(sys.argv[2], "wb") as target:
        target.write(small)
    print(f"guest_vmlinux: {sys.argv[2]}: {len(small) >> 20} MiB of {len(whole) >> 20} MiB kept")


if __name__ == "__main__":
    main()
