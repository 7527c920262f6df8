#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# guest_debian.sh BUILD_DIR: make BUILD_DIR/guest/vmlinux, bzImage and initrd, a Debian kernel with a busybox userland
# whose init (tests/guests/init/init) judges the virtual machine. Does only what is missing or out of date.
set -euo pipefail

[[ $# == 1 ]] || {
    echo "usage: guest_debian.sh BUILD_DIR" >&2
    exit 2
}
scripts=$(cd "$(dirname "$0")" && pwd)
init=$(cd "$scripts/../tests/guests/init" && pwd)/init
mkdir -p "$1/guest/packages"
guest=$(cd "$1/guest" && pwd)
packages=$guest/packages
. "$scripts/guest_packages.sh"

# What the init calls; each becomes a link to busybox.
applets="awk cat cttyhack dd grep mkdir mount nproc poweroff printf reboot setsid sh sleep uname"

if ! newer "$guest/vmlinux" "$scripts/guest_vmlinux.py"; then
    command -v python3 >/dev/null || die "python3 is needed to prepare the Debian guest"
    image=$(kernel_package "$packages")
    fetch "$image" "$packages"
    cp "$packages/$image"/boot/vmlinuz-* "$guest/bzImage"
    "$scripts/guest_vmlinux.py" "$guest/bzImage" "$guest/vmlinux.part"
    mv "$guest/vmlinux.part" "$guest/vmlinux"
    rm -rf "${packages:?}/$image" # 400 MiB of modules
    say "kernel: $image"
fi

if ! newer "$guest/initrd" "$init" "$scripts/guest_debian.sh"; then
    command -v cpio >/dev/null || die "cpio is needed to prepare the Debian guest"
    fetch busybox-static "$packages"
    root=$guest/root
    rm -rf "$root"
    mkdir -p "$root"/{bin,dev,proc,sys}
    cp "$packages/busybox-static/bin/busybox" "$root/bin/"
    for applet in $applets; do
        ln -s busybox "$root/bin/$applet"
    done
    install -m 755 "$init" "$root/init"
    find "$root" -exec touch -h -d @0 {} +
    (cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet --reproducible -R 0:0) | gzip -n -9 >"$guest/initrd.part"
    mv "$guest/initrd.part" "$guest/initrd"
    say "initial RAM disk: $(($(stat -c %s "$guest/initrd") >> 10)) KiB"
fi
say "ready: $guest/vmlinux $guest/bzImage $guest/initrd"
