// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/descriptor.hpp>
#include <hv/x86/registers.hpp>

#include <cstdint>

/// What a segment register may hold, whatever the others do. SDM Vol. 3C, "Checks on Guest Segment Registers".
namespace hv::x86 {

/// 48-bit addresses. SDM Vol. 1, "Canonical Addressing".
[[nodiscard]] constexpr auto is_canonical(std::uint64_t address) -> bool {
    return static_cast<std::uint64_t>(static_cast<std::int64_t>(address << 16) >> 16) == address;
}

/// Why no processor holds this in that register; null if one may.
[[nodiscard]] constexpr auto why_segment_is_refused(segment_name name, segment const& s) -> char const* {
    namespace bits = segment_access;
    bool const usable{(s.access & bits::unusable) == 0};
    if (not usable and (name == segment_name::cs or name == segment_name::tr))
        return "CS or TR is unusable";
    bool const system_register{name == segment_name::tr or name == segment_name::ldtr};
    bool const wide_base{system_register or name == segment_name::fs or name == segment_name::gs};
    if (wide_base ? not is_canonical(s.base) : usable and s.base >> 32 != 0)
        return "the base of a segment register is no address";
    if (not usable)
        return nullptr;
    if (system_register and (s.selector & selector::local) != 0)
        return "the selector of TR or LDTR is of the LDT";
    if ((s.access & 0xf00) != 0 or (s.access & ~0x1'ffffu) != 0)
        return "reserved access rights of a segment register are set";
    if ((s.access & bits::present) == 0)
        return "a usable segment register is not present";
    bool const pages{(s.access & bits::granularity) != 0};
    if ((pages and (s.limit & 0xfff) != 0xfff) or (not pages and (s.limit & 0xfff0'0000) != 0))
        return "limit and granularity of a segment register do not agree";
    auto const type = s.access & bits::type;
    bool const system{(s.access & bits::not_system) == 0};
    if (name == segment_name::tr)
        return not system or (type != 3 and type != 11) ? "TR is no busy TSS" : nullptr;
    if (name == segment_name::ldtr)
        return not system or type != system_type::ldt ? "LDTR is no LDT" : nullptr;
    if (system)
        return "a segment register holds a system descriptor";
    if (name == segment_name::ss and type != 3 and type != 7)
        return "SS is no writable data segment";
    if (name == segment_name::cs)
        return (type & 9) != 9 and type != 3 ? "CS is no accessed code segment" : nullptr;
    if ((type & 1) == 0 or ((type & 8) != 0 and (type & 2) == 0))
        return "a data-segment register is not accessed or not readable";
    return nullptr;
}

} // namespace hv::x86
