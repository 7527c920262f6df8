#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# prepare.sh BUILD_DIR: make BUILD_DIR/bench/peer/bzImage and initrd, Debian's kernel with its KVM for AMD's processors
# and an init, bench_monitor, that runs bench_guest or bench_guest_smp in it. Does only what is missing or out of date.
set -euo pipefail

[[ $# == 1 ]] || {
    echo "usage: prepare.sh BUILD_DIR" >&2
    exit 2
}
scripts=$(cd "$(dirname "$0")/../../scripts" && pwd)
bench=$(cd "$1/bench" && pwd)
peer=$bench/peer
mkdir -p "$peer"
exec 9>"$peer/lock"
flock 9 # tests run beside each other
root=$peer/root
# shellcheck source=scripts/guest_packages.sh
. "$scripts/guest_packages.sh"

modules=(virt/lib/irqbypass drivers/crypto/ccp/ccp arch/x86/kvm/kvm arch/x86/kvm/kvm-amd) # in the order of their needs

if [[ ! -f $peer/bzImage ]]; then
    command -v cpio >/dev/null || die "cpio is needed to prepare KVM"
    mkdir -p "$1/guest/packages"
    packages=$(cd "$1/guest/packages" && pwd)
    package=$(kernel_package "$packages")
    kept=''
    download "$package" "$packages"
    rm -rf "$peer/unpacked" "$root"
    mkdir -p "$peer/unpacked" "$root"/{dev,modules,sys}
    patterns=("${modules[@]/#/./lib/modules/*/kernel/}")
    dpkg-deb --fsys-tarfile "$kept" |
        tar -x -C "$peer/unpacked" --wildcards './boot/vmlinuz-*' "${patterns[@]/%/.ko}"
    for i in "${!modules[@]}"; do
        mv "$peer/unpacked/lib/modules"/*/"kernel/${modules[i]}.ko" "$root/modules/$i.ko"
    done
    mv "$peer/unpacked/boot"/vmlinuz-* "$peer/bzImage"
    rm -r "$peer/unpacked"
    say "KVM: $package"
fi

if ! newer "$peer/initrd" "$peer/bzImage" "$peer/bench_monitor" "$bench"/bench_guest{,_smp}.elf; then
    install -m 755 "$peer/bench_monitor" "$root/init"
    cp "$bench/bench_guest.elf" "$root/guest"
    cp "$bench/bench_guest_smp.elf" "$root/guest_smp"
    find "$root" -exec touch -h -d @0 {} +
    (cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R 0:0) >"$peer/initrd.part"
    mv "$peer/initrd.part" "$peer/initrd"
fi
say "ready: $peer/bzImage $peer/initrd"
