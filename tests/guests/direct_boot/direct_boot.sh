#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# direct_boot.sh IMAGE PATTERN PROCESSORS MODULES: starts a kernel on QEMU through the library's loaders. The pattern has
# to match a line of what it prints; QEMU is stopped when it does, if it has not ended by itself. MODULES is QEMU's list:
# "KERNEL COMMAND LINE,INITRD", with commas inside a command line doubled. 77: a file that it needs is not there.
set -u
image=$1 pattern=$2 processors=$3 modules=$4
seconds=100
# The files of the list, without their strings: single commas separate.
while IFS= read -r part; do
    [[ -f ${part%% *} ]] || {
        echo "skipped: ${part%% *} is not there (scripts/guest_debian.sh and guest_memtest.sh prepare the guests)"
        exit 77
    }
done < <(sed 's/,,/\x01/g; s/,/\n/g' <<<"$modules")

output=$(mktemp)
trap 'rm -f "$output"; kill "$qemu" 2>/dev/null' EXIT
timeout "$seconds" qemu-system-x86_64 -M q35 -accel tcg -cpu max -smp "$processors" -m 1024 -nodefaults \
    -display none -no-reboot -serial "file:$output" -debugcon "file:$output.debug" \
    -device isa-debug-exit,iobase=0xf4,iosize=4 -kernel "$image" -initrd "$modules" </dev/null 2>/dev/null &
qemu=$!
while kill -0 "$qemu" 2>/dev/null; do
    cat "$output" "$output.debug" 2>/dev/null | tr -d '\r' | grep -aEq -- "$pattern" && break
    sleep 0.2
done
# A guest that matched may still power off; give it a moment.
for ((i = 0; i < 20; ++i)); do
    kill -0 "$qemu" 2>/dev/null || break
    sleep 0.1
done
kill "$qemu" 2>/dev/null
cat "$output.debug" >>"$output" 2>/dev/null
rm -f "$output.debug"
if tr -d '\r' <"$output" | grep -aEo -m 1 -- "$pattern"; then
    exit 0
fi
echo "not printed: $pattern"
tail -n 60 "$output"
exit 1
