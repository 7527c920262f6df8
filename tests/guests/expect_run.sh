#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# expect_run.sh STATUS TEXT IMAGE PAYLOAD: runs a payload on an image, real-mode code if its name ends in .bin; in QEMU,
# or where the environment has the name of a processor in MODEL, in Bochs. Succeeds if the image itself ends with STATUS
# (124: it does not end within 5 seconds) and the output holds TEXT. Instructions are the clock in both (QEMU: -icount,
# 16 ns each), so that timers and counters agree however busy this computer is. SECONDS_LIMIT bounds other runs (180).
# CPUS: the machine has so many, on PROCESSORS of the host. AT_ONCE=1: QEMU runs those at the same time, each in a thread
# of this computer's, and its time is the clock.
set -u
status=$1 text=$2 image=$3 payload=$4
for file in "$image" "$payload"; do # QEMU's own failure is the status of an image that ends with 0
  [[ -f $file ]] || {
    echo "expect_run: there is no $file"
    exit 1
  }
done
words="memory=64"
[[ $payload != *.bin ]] || words+=" flat"
[[ -z ${CPUS-} ]] || words+=" cpus=$CPUS"
clock=(-icount "shift=4,sleep=off" -rtc "base=2026-01-01,clock=vm")
[[ -z ${AT_ONCE-} ]] || clock=() PROCESSORS=${PROCESSORS:-2}

# Both set `output`, and `got` to what the image ended with.
run_qemu() { # SECONDS
  output=$(timeout --foreground -k 5 "$1" qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 256 \
    -smp "${PROCESSORS:-1}" "${clock[@]}" -nodefaults -display none -no-reboot \
    -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$image" -append "$words" -initrd "$payload" \
    -serial stdio </dev/null)
  local rc=$?
  got="nothing but QEMU's $rc"
  ((rc % 2 == 0)) || got=$(((rc - 1) / 2))
  ((rc != 124)) || got=124
}
run_bochs() { # SECONDS
  output=$(SECONDS_LIMIT=$1 "$(dirname "$0")/../../scripts/bochs_run.sh" "$image" "$words" "$payload=guest" </dev/null 2>&1)
  got=$?
  # Statuses of the runner's own say nothing about the image.
  ((got == 124)) || [[ $output == *"hv: left with status $got"* ]] || got="nothing but the runner's $got"
}

# The first 5 seconds may be over before a busy computer comes to the text.
limits=("${SECONDS_LIMIT:-180}")
((status != 124)) || limits=(5 60)
for seconds in "${limits[@]}"; do
  if [[ -n ${MODEL-} ]]; then run_bochs "$seconds"; else run_qemu "$seconds"; fi
  [[ $got == 124 && $output != *"$text"* ]] || break
done
printf '%s\n' "$output"
if [[ $got != "$status" ]]; then
  echo "expect_run: the image ended with $got, wanted $status"
  exit 1
fi
if [[ $output != *"$text"* ]]; then
  echo "expect_run: the output lacks: $text"
  exit 1
fi
