// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "boot_information.hpp"
#include "host.hpp"

/// The program of an image, defined by its source. The result leaves the emulator through the debug exit port 0xf4:
/// QEMU ends with (result << 1) | 1. Only its low byte counts; the host itself uses 3 for a panic.
auto image_main(hv::bare::host& host, hv::bare::boot_information const& boot) -> int;

namespace hv::bare {

/// Where the image lies in memory, from the linker: no guest's tables may map a byte of [start, end).
extern "C" char const image_start[];
extern "C" char const image_end[];

} // namespace hv::bare
