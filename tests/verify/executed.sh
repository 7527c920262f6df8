#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# executed.sh HV_VERIFY PLUGIN IMAGE WORDS GUEST [option of hv-verify...]: runs a guest on an image in QEMU, records what
# executes between #VMEXIT and VMRUN, and lets hv-verify compare that with what it verified; its exit status is the
# answer. WORDS are the image's, GUEST is QEMU's -initrd. 77 if there is no such guest.
set -euo pipefail
verify=$1 plugin=$2 image=$3 words=$4 guest=$5
shift 5
[[ -f ${guest%%[ ,]*} ]] || exit 77
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$verify" "$image" --json "$@" >"$scratch/verified" || true # a violation comes again below
status=0
timeout -k 5 150 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 512 -nodefaults -display none -no-reboot \
  -icount shift=4,sleep=off -rtc base=2026-01-01,clock=vm -device isa-debug-exit,iobase=0xf4,iosize=4 -serial stdio \
  -kernel "$image" -append "$words" -initrd "$guest" -plugin "$plugin,verified=$scratch/verified,out=$scratch/executed" \
  </dev/null || status=$?
if ((status % 2 == 0)); then
  echo "executed: QEMU ended with $status, not by the image"
  exit 3
fi
"$verify" "$image" --executed "$scratch/executed" "$@"
