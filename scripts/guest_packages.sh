# SPDX-License-Identifier: BSD-2-Clause
# Sourced by guest_*.sh: Debian packages are downloaded and unpacked, never installed.

say() { echo "guest: $*"; }
die() {
    echo "guest: $*" >&2
    exit 1
}

# fetch PACKAGE FOLDER: unpack PACKAGE into FOLDER/PACKAGE. A package that is there already is not asked for again.
fetch() {
    local package=$1 folder=$2 kept
    [[ -d $folder/$package ]] && return
    mkdir -p "$folder"
    kept=$(find "$folder" -maxdepth 1 -name "${package}_*.deb" -print -quit)
    if [[ -z $kept ]]; then
        say "downloading $package"
        (cd "$folder" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package") ||
            die "apt-get cannot download $package. It needs the network and package lists: run apt-get update, or put ${package}_VERSION_amd64.deb into $folder."
        kept=$(find "$folder" -maxdepth 1 -name "${package}_*.deb" -print -quit)
    fi
    rm -rf "$folder/$package.part"
    dpkg-deb -x "$kept" "$folder/$package.part"
    mv "$folder/$package.part" "$folder/$package"
}

# newer TARGET SOURCE...: whether TARGET exists and no SOURCE changed since.
newer() {
    local target=$1 source
    shift
    [[ -f $target ]] || return 1
    for source; do
        [[ $source -nt $target ]] && return 1
    done
    return 0
}
