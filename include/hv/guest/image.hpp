// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/flat.hpp>
#include <hv/guest/linux.hpp>
#include <hv/guest/multiboot.hpp>

/// Starting a guest from whatever file a user has.
namespace hv::guest {

/// What kind of file this is. A flat image is recognised only by a boot sector's signature; otherwise it must be asked
/// for.
[[nodiscard]] constexpr auto detect(file bytes) -> image_kind {
    if (linux_boot::is_linux_image(bytes))
        return image_kind::linux_image;
    if (multiboot::find_header(bytes).found)
        return image_kind::multiboot;
    if (elf::has_magic(bytes))
        return image_kind::linux_elf;
    constexpr std::uint16_t boot_sector{0xaa55};
    if (number_at<std::uint16_t>(bytes, 510) == boot_sector)
        return image_kind::flat;
    return image_kind::unknown;
}

/// Loads an image as the kind that the request names, or as what `detect` takes it for. After a refusal guest memory
/// holds nothing that a guest should start from.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto load(M& memory, load_request const& request) -> load_result {
    if (request.image.empty())
        return {.error = status::invalid_argument, .reason = "The image is empty."};
    switch (request.kind == image_kind::unknown ? detect(request.image) : request.kind) {
    case image_kind::linux_elf:
        return linux_boot::load_elf(memory, request);
    case image_kind::linux_image:
        return linux_boot::load_image(memory, request);
    case image_kind::multiboot:
        return multiboot::load(memory, request);
    case image_kind::flat:
        return flat::load(memory, request);
    case image_kind::unknown:
        break;
    }
    return {.error = status::not_supported,
            .reason = "The image is neither a Linux kernel, nor a Multiboot kernel, nor a boot sector."};
}

} // namespace hv::guest
