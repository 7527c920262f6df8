#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# bochs_run.sh IMAGE WORDS [MODULE[=STRING]...]: boot a bare-metal image in Bochs, headless. Serial output goes to
# stdout while it comes; the exit status is the image's own, 3 if Bochs gave up, 124 after a timeout, 2 for bad usage.
# Environment: MODEL (corei7_skylake_x), MEMORY in MiB (256), SECONDS_LIMIT (120), IPS instructions an emulated second
# (50000000), LOG a file for the second serial port, KEEP=1 keeps Bochs's own files and says where.
set -euo pipefail

(($# >= 2)) || {
  sed -n '3,7s/^# //p' "$0" >&2
  exit 2
}
command -v bochs-bin >/dev/null || {
  echo "bochs_run: Bochs is not installed (Debian: bochs bochs-term bochsbios vgabios)" >&2
  exit 2
}
scripts=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
bochs=''
# shellcheck disable=SC2317
finish() {
  [[ -z $bochs ]] || kill "$bochs" 2>/dev/null || true
  if [[ -n ${KEEP-} ]]; then echo "bochs_run: files in $scratch" >&2; else rm -rf "$scratch"; fi
}
trap finish EXIT

clang-19 --target=i386-none-elf -c "$scripts/bochs_boot.S" -o "$scratch/boot.o"
ld.lld-19 -Ttext=0x7c00 --oformat binary -e start "$scratch/boot.o" -o "$scratch/boot"
cylinders=$(python3 "$scripts/bochs_disk.py" "$scratch/disk" "$scratch/boot" "$@") || exit 2

# The file of a serial port must be there before Bochs writes its first byte.
: >"$scratch/serial"
cat >"$scratch/bochsrc" <<RC
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1, iodebug=1, gameport=0
config_interface: textconfig
display_library: rfb, options="timeout=0"
cpu: model=${MODEL:-corei7_skylake_x}, count=1, ips=${IPS:-50000000}, reset_on_triple_fault=0, ignore_bad_msrs=0, mwait_is_nop=0
memory: guest=${MEMORY:-256}, host=${MEMORY:-256}
romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
vga: extension=vbe, update_freq=1
pci: enabled=1, chipset=i440fx
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path="$scratch/disk", mode=volatile, cylinders=$cylinders, heads=16, spt=63
boot: disk
clock: sync=none, time0=1700000000
com1: enabled=1, mode=file, dev=$scratch/serial
com2: enabled=1, mode=file, dev=${LOG:-$scratch/log_port}
log: $scratch/bochs.log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
private_colormap: enabled=0
mouse: enabled=0
RC
printf 'c\nquit\n' >"$scratch/debugger" # Debian's Bochs starts in its debugger

timeout -k 5 "${SECONDS_LIMIT:-120}" bochs-bin -q -f "$scratch/bochsrc" -rc "$scratch/debugger" \
  </dev/null >"$scratch/bochs.out" 2>&1 &
bochs=$!
tail -f --pid=$bochs -n +1 -s 0.2 "$scratch/serial" &
shown=$!
rc=0
wait $bochs || rc=$?
bochs=''
wait $shown || true

status=$(sed -n 's/^hv: left with status \([0-9]*\)\r*$/\1/p' "$scratch/serial" | tail -n 1)
[[ -z $status ]] || exit "$status"
((rc != 124)) || exit 124
grep -E 'PANIC|panic' "$scratch/bochs.log" "$scratch/bochs.out" | tail -n 3 >&2 || true
echo "bochs_run: Bochs ended with $rc and the image had not said how it ended" >&2
exit 3
