#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# guest_memtest.sh BUILD_DIR: make BUILD_DIR/guest/memtest86+x64.bin, Debian's memtest86+. Does only what is missing.
set -euo pipefail

[[ $# == 1 ]] || {
    echo "usage: guest_memtest.sh BUILD_DIR" >&2
    exit 2
}
scripts=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/guest/packages"
guest=$(cd "$1/guest" && pwd)
. "$scripts/guest_packages.sh"

if [[ ! -f $guest/memtest86+x64.bin ]]; then
    fetch memtest86+ "$guest/packages"
    cp "$guest/packages/memtest86+/boot/memtest86+x64.bin" "$guest/"
fi
say "ready: $guest/memtest86+x64.bin"
