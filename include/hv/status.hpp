// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv {

/// Why an operation did not happen. Each value stands for one errno of the reference interface; add to the end only.
enum class [[nodiscard]] status : std::uint8_t {
    ok,
    invalid_argument, ///< EINVAL
    already_exists,   ///< EEXIST
    already_done,     ///< EALREADY
    busy,             ///< EBUSY
    out_of_memory,    ///< ENOMEM
    no_space,         ///< ENOSPC
    no_device,        ///< ENXIO: the processor or the module lacks what was asked for
    not_found,        ///< ENOENT
    not_supported,    ///< ENOTSUP
    bad_address,      ///< EFAULT
    not_permitted,    ///< EPERM
    out_of_range,     ///< ERANGE
    too_big,          ///< E2BIG
    file_too_big,     ///< EFBIG
    no_handler,       ///< ESRCH
    value_overflow,   ///< EOVERFLOW
};

/// A value, or the reason why there is none. Read `value` only after testing for success.
template <typename T>
struct [[nodiscard]] result {
    T value{};
    status error{status::ok};

    constexpr result(T v) : value{v} {}
    constexpr result(status e) : error{e} {}
    constexpr explicit operator bool() const { return error == status::ok; }
};

} // namespace hv
