// SPDX-License-Identifier: BSD-2-Clause
// The smallest image: says what it found and ends with status 7.
#include <kernel_glue/bare/image.hpp>
#include <kernel_glue/bare/text.hpp>

auto image_main(hv::bare::host& host, hv::bare::boot_information const& boot) -> int {
    host.log("hello");
    hv::bare::text t;
    (t << "tsc ").decimal(host.tsc_frequency()) << " Hz, booted by " << name_of(boot.protocol);
    host.log(t.view());
    return 7;
}
