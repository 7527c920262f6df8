# SPDX-License-Identifier: BSD-2-Clause
# Sourced by guest_*.sh: Debian packages are downloaded and unpacked, never installed.

say() { echo "guest: $*"; }
die() {
    echo "guest: $*" >&2
    exit 1
}

# download PACKAGE FOLDER: the package's file in FOLDER, in $kept. A file that is there already is not asked for again.
download() {
    local package=$1 folder=$2
    mkdir -p "$folder"
    kept=$(find "$folder" -maxdepth 1 -name "${package}_*.deb" -print -quit)
    [[ -z $kept ]] || return 0
    say "downloading $package"
    (cd "$folder" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package") ||
        die "apt-get cannot download $package. It needs the network and package lists: run apt-get update, or put ${package}_VERSION_amd64.deb into $folder."
    kept=$(find "$folder" -maxdepth 1 -name "${package}_*.deb" -print -quit)
}

# fetch PACKAGE FOLDER: unpack PACKAGE into FOLDER/PACKAGE, once.
fetch() {
    local package=$1 folder=$2 kept
    [[ -d $folder/$package ]] && return
    download "$package" "$folder"
    rm -rf "$folder/$package.part"
    dpkg-deb -x "$kept" "$folder/$package.part"
    mv "$folder/$package.part" "$folder/$package"
}

# kernel_package FOLDER: the name of the package with Debian's kernel: that in FOLDER, else the newest that apt knows.
kernel_package() {
    local tool image
    for tool in apt-cache apt-get dpkg-deb; do
        command -v $tool >/dev/null || die "$tool is needed to prepare the Debian guest"
    done
    image=$(find "$1" -maxdepth 1 -name 'linux-image-6*.deb' -printf '%f\n' -quit)
    image=${image%%_*}
    if [[ -z $image ]]; then
        image=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')
        [[ -n $image ]] || die "apt-cache does not know linux-image-amd64: run apt-get update on a Debian system"
    fi
    echo "$image"
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
