#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# expect_run.sh STATUS TEXT IMAGE PAYLOAD: runs a real-mode payload on an image in QEMU. Succeeds if the image ends with
# STATUS and the output holds TEXT.
set -u
status=$1 text=$2 image=$3 payload=$4
output=$(timeout -k 5 50 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 256 -nodefaults -display none -no-reboot \
  -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$image" -append "memory=16 flat" -initrd "$payload" \
  -serial stdio </dev/null)
rc=$?
printf '%s\n' "$output"
got=$(((rc - 1) / 2))
if ((rc % 2 == 0 || got != status)); then
  echo "expect_run: QEMU ended with $rc, wanted image status $status"
  exit 1
fi
if [[ $output != *"$text"* ]]; then
  echo "expect_run: the output lacks: $text"
  exit 1
fi
