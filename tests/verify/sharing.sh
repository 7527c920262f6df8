#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# sharing.sh HV_VERIFY PLUGIN IMAGE PAYLOAD COUNT OWN SHARED: runs a payload of two processors on an image in QEMU with
# the plugin hv-sharing. Each of the operations 1 to OWN must have been seen COUNT times on two processors, and none of
# their exits may write a cache line that the other processor uses between an exit and an entry; those of the operation
# SHARED must, or the plugin sees nothing.
set -euo pipefail
verify=$1 plugin=$2 image=$3 payload=$4 count=$5 own=$6 shared=$7
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$verify" "$image" --json >"$scratch/verified"
status=0
timeout -k 5 150 qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 256 -smp 2 -nodefaults -display none -no-reboot \
  -icount shift=4,sleep=off -rtc base=2026-01-01,clock=vm -device isa-debug-exit,iobase=0xf4,iosize=4 -serial stdio \
  -kernel "$image" -append "memory=64 cpus=2" -initrd "$payload" \
  -plugin "$plugin,verified=$scratch/verified,out=$scratch/shared" </dev/null || status=$?
if ((status != 1)); then
  echo "sharing: the image did not end well: $status"
  exit 3
fi
failed=0
declare -A lines=()
while read -r number what instruction line; do
  if [[ $what == writes ]]; then
    lines[$number]=yes
    echo "operation $number writes the line $line: $(addr2line -ifCe "$image" "$instruction" | paste -sd ' ')"
  else
    echo "operation $number: $what exits of $instruction processors"
    if ((what < count || instruction != 2)); then
      echo "sharing: too few of them"
      failed=1
    fi
  fi
done <"$scratch/shared"
for number in $(seq "$own"); do
  if ! grep -q "^$number [0-9]* 2$" "$scratch/shared"; then
    echo "sharing: operation $number was not seen"
    failed=1
  elif [[ -n ${lines[$number]-} ]]; then
    echo "sharing: operation $number writes what another processor uses"
    failed=1
  fi
done
if [[ -z ${lines[$shared]-} ]]; then
  echo "sharing: operation $shared writes nothing that is shared"
  failed=1
fi
exit "$failed"
