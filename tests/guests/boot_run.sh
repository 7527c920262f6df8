#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Boots an image and judges what it printed and how it ended.
#   boot_run.sh [options] IMAGE PATTERN…     every extended regular expression has to match a line of the output
#     -b HOW      multiboot1 (default), pvh, grub-bios, grub-bios1, grub-uefi, bochs-svm, bochs-vmx,
#                 grub-bochs-svm, grub-bochs-vmx
#     -c TEXT     command line        -m FILE     a module; its string is "a module"
#     -s STATUS   the image has to leave with (0)
#     -n PATTERN  the output, its lines joined, must not match it
#     -i TEXT     typed at the console once the image has printed "ready"
#     -q ARGS     more arguments for QEMU
set -u
how=multiboot1 line='' module='' status=0 never='' input='' more=()
while getopts b:c:m:s:n:i:q: option; do
    case $option in
    b) how=$OPTARG ;;
    c) line=$OPTARG ;;
    m) module=$OPTARG ;;
    s) status=$OPTARG ;;
    n) never=$OPTARG ;;
    i) input=$OPTARG ;;
    q) read -ra more <<<"$OPTARG" ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
image=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
seconds=60

# An ISO whose GRUB loads the image with COMMAND and a module with COMMAND.
iso() {
    local platform=$1 load=$2 load_module=$3
    mkdir -p "$work/iso/boot/grub"
    cp "$image" "$work/iso/boot/image"
    {
        echo "set timeout=0"
        echo "$load /boot/image $line"
        if [ -n "$module" ]; then
            cp "$module" "$work/iso/boot/module"
            echo "$load_module /boot/module a module"
        fi
        echo boot
    } >"$work/iso/boot/grub/grub.cfg"
    grub-mkrescue -o "$work/boot.iso" "$work/iso" -d "/usr/lib/grub/$platform" \
        --install-modules="multiboot multiboot2 normal iso9660" --fonts= --locales= --themes= >"$work/mkrescue" 2>&1 ||
        { cat "$work/mkrescue"; exit 1; }
}

qemu() {
    # A console that is typed at: input through a pipe that opens when the image is ready.
    mkfifo "$work/in"
    (
        for _ in $(seq 600); do
            grep -qs ready "$work/out" && break
            sleep 0.1
        done
        [ -n "$input" ] && printf '%s' "$input"
        sleep "$seconds"
    ) >"$work/in" &
    local typist=$!
    timeout "$seconds" qemu-system-x86_64 -machine q35 -accel tcg -cpu max -m 512 -display none -no-reboot -nodefaults \
        -serial stdio -serial "file:$work/second" -debugcon "file:$work/debug" -device isa-debug-exit,iobase=0xf4,iosize=4 "${more[@]}" "$@" <"$work/in" >"$work/out" 2>&1
    local result=$?
    kill "$typist" 2>/dev/null
    cat "$work/second" "$work/debug" >>"$work/out"
    [ $result = $((status << 1 | 1)) ] || { echo "QEMU ended with $result"; return 1; }
}

bochs() {
    local model=$1
    shift
    MODEL=$model MEMORY=512 SECONDS_LIMIT=$seconds "$(dirname "$0")/../../scripts/bochs_run.sh" "$@" \
        </dev/null >"$work/out" 2>"$work/errors"
    local result=$?
    cat "$work/errors"
    [ $result = "$status" ] || { echo "Bochs ended with $result"; return 1; }
}

with_module=()
bochs_module=()
[ -n "$module" ] && with_module=(-initrd "$module a module") bochs_module=("$module=a module")
failed=0
case $how in
multiboot1) qemu -kernel "$image" -append "$line" "${with_module[@]}" || failed=1 ;;
pvh) # QEMU prefers Multiboot: a copy without that header
    cp "$image" "$work/image"
    printf '\0\0\0\0' | dd of="$work/image" bs=1 seek=4096 conv=notrunc status=none
    [ -n "$module" ] && with_module=(-initrd "$module")
    qemu -kernel "$work/image" -append "$line" "${with_module[@]}" || failed=1
    ;;
grub-bios1) iso i386-pc multiboot module && { qemu -cdrom "$work/boot.iso" || failed=1; } ;;
grub-bios) iso i386-pc multiboot2 module2 && { qemu -cdrom "$work/boot.iso" || failed=1; } ;;
grub-uefi)
    cp /usr/share/OVMF/OVMF_VARS.fd "$work/vars"
    iso x86_64-efi multiboot2 module2 && { qemu -cdrom "$work/boot.iso" \
        -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE.fd \
        -drive if=pflash,format=raw,unit=1,file="$work/vars" || failed=1; }
    ;;
grub-bochs-svm) iso i386-pc multiboot2 module2 && { bochs ryzen "$work/boot.iso" "" || failed=1; } ;;
grub-bochs-vmx) iso i386-pc multiboot2 module2 && { bochs corei7_skylake_x "$work/boot.iso" "" || failed=1; } ;;
bochs-svm) bochs ryzen "$image" "$line" "${bochs_module[@]}" || failed=1 ;;
bochs-vmx) bochs corei7_skylake_x "$image" "$line" "${bochs_module[@]}" || failed=1 ;;
*) echo "unknown way to boot: $how"; exit 2 ;;
esac

for pattern in "$@"; do
    tr -d '\r' <"$work/out" | grep -Eq -- "$pattern" || { echo "not printed: $pattern"; failed=1; }
done
[[ -z $never ]] || { tr '\r\n' '  ' <"$work/out" | grep -Eq -- "$never" && echo "printed: $never" && failed=1; }
[ $failed = 0 ] || { echo "--- output"; tail -n 100 "$work/out"; }
exit $failed
