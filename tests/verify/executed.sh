#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# executed.sh HV_VERIFY PLUGIN|MODEL IMAGE WORDS GUEST [option of hv-verify...]: runs a guest on an image, records what
# executes between exit and entry, and lets hv-verify compare that with what it verified; its exit status is the answer.
# The record comes from QEMU with the plugin or, where a file of that name does not exist, from Bochs's debugger on that
# model, which must be Intel's: under SVM the debugger does not say where a guest's instruction lies. WORDS are the
# image's, GUEST is QEMU's -initrd or Bochs's module. 77 if there is no such guest.
set -euo pipefail
verify=$1 how=$2 image=$3 words=$4 guest=$5
shift 5
[[ -f ${guest%%[ ,]*} ]] || exit 77
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$verify" "$image" --json "$@" >"$scratch/verified" || true # a violation comes again below
status=0
if [[ -f $how ]]; then
  timeout -k 5 150 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 512 -nodefaults -display none -no-reboot \
    -icount shift=4,sleep=off -rtc base=2026-01-01,clock=vm -device isa-debug-exit,iobase=0xf4,iosize=4 -serial stdio \
    -kernel "$image" -append "$words" -initrd "$guest" -plugin "$how,verified=$scratch/verified,out=$scratch/executed" \
    </dev/null || status=$?
  if ((status % 2 == 0)); then
    echo "executed: QEMU ended with $status, not by the image"
    exit 3
  fi
else
  : >"$scratch/answers"
  # A slow processor waits less for its serial port.
  MODEL=$how IPS=2000000 SECONDS_LIMIT=30 ANSWERS=$scratch/answers \
    COMMANDS=$("$here/bochs_trace.py" commands "$scratch/verified") \
    "$here/../../scripts/bochs_run.sh" "$image" "$words quiet" "$guest=guest" || status=$?
  if ((status > 1)); then
    echo "executed: Bochs ended with $status"
    exit 3
  fi
  "$here/bochs_trace.py" record "$scratch/verified" "$scratch/answers" >"$scratch/executed"
fi
"$verify" "$image" --executed "$scratch/executed" "$@"
