#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# expect_run.sh STATUS TEXT IMAGE PAYLOAD: runs a payload on an image in QEMU, real-mode code if its name ends in .bin.
# Succeeds if the image ends with STATUS (124: it does not end within 5 seconds) and the output holds TEXT. Instructions
# are the clock (-icount, 16 ns each), so that timers and counters agree however busy this computer is.
set -u
status=$1 text=$2 image=$3 payload=$4
seconds=${SECONDS_LIMIT:-50} words="memory=64"
[[ $payload != *.bin ]] || words+=" flat"
((status != 124)) || seconds=5
output=$(timeout -k 5 $seconds qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 256 -nodefaults -display none -no-reboot \
  -icount shift=4,sleep=off -rtc base=2026-01-01,clock=vm \
  -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$image" -append "$words" -initrd "$payload" \
  -serial stdio </dev/null)
rc=$?
printf '%s\n' "$output"
got="nothing but QEMU's $rc"
((rc % 2 == 0)) || got=$(((rc - 1) / 2))
((rc != 124)) || got=124
if [[ $got != "$status" ]]; then
  echo "expect_run: the image ended with $got, wanted $status"
  exit 1
fi
if [[ $output != *"$text"* ]]; then
  echo "expect_run: the output lacks: $text"
  exit 1
fi
