#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# reference.sh MANIFEST [NAME...]: runs payloads on QEMU's own devices and processor, without a hypervisor, to prove the
# payloads themselves. Those whose manifest says `reference: no` are named and left out, unless asked for by name.
set -u
manifest=$1
shift
failed=0
while IFS=$'\t' read -r name expected processors reference file sentence; do
    if (($#)); then
        [[ " $* " == *" $name "* ]] || continue
    elif [[ $reference != yes ]]; then
        echo "left out $name: ${reference#no, }"
        continue
    fi
    [[ -f $file ]] || {
        echo "FAILED $name: it is not built"
        failed=1
        continue
    }
    case $file in
    *.bin) boot=(-M pc -drive "format=raw,file=$file,if=floppy") ;;
    *) boot=(-M q35 -kernel "$file") ;;
    esac
    # The exit port answers (value << 1) | 1; a reset, a triple fault and power-off end QEMU with 0.
    case $expected in
    0) wanted='0 1' ;;
    1) wanted='3' ;;
    3) wanted='0' ;;
    124) wanted='124' ;;
    esac
    # Instructions are the clock, as in expect_run.sh, and a busy computer may need longer to come to the payload's name.
    limits=(60)
    ((expected != 124)) || limits=(5 60)
    for seconds in "${limits[@]}"; do
        output=$(timeout --foreground "$seconds" qemu-system-x86_64 -accel tcg -cpu max,-svm -m 64 -smp "$processors" \
            -icount shift=4,sleep=off -rtc base=2026-01-01,clock=vm \
            -nodefaults -display none -no-reboot -debugcon stdio -serial null -device isa-debug-exit,iobase=0xf4,iosize=4 \
            "${boot[@]}" </dev/null 2>&1)
        status=$?
        [[ $status == 124 && $output != *"$name"* ]] || break
    done
    # QEMU's own failures are a status of 1 too; a payload that ran has printed its name.
    if [[ " $wanted " == *" $status "* && $output == *"$name"* ]]; then
        echo "ok $name"
    else
        echo "FAILED $name: QEMU ended with $status, not ${wanted// / or }: $sentence"
        echo "${output//$'\n'/$'\n'    }"
        failed=1
    fi
done <"$manifest"
exit $failed
