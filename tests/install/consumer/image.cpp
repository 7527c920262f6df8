// SPDX-License-Identifier: BSD-2-Clause
#include <kernel_glue/bare/image.hpp>

auto image_main(hv::bare::host&, hv::bare::boot_information const&) -> int {
    return 7;
}
