// SPDX-License-Identifier: BSD-2-Clause
#include "backtrace.hpp"

#include "host.hpp"
#include "image.hpp"
#include "stacks.hpp"
#include "symbols.hpp"
#include "text.hpp"

extern "C" hv::bare::symbol_entry const symbol_entries[];
extern "C" hv::bare::symbol_entry const symbol_entries_end[];
extern "C" char const symbol_names[];
extern "C" char const symbol_names_end[];
extern "C" char const text_end[];

namespace hv::bare {

[[gnu::cold]] auto symbol_of(std::uint64_t address) -> symbol_place {
    if (address < reinterpret_cast<std::uint64_t>(image_start) or address >= reinterpret_cast<std::uint64_t>(text_end))
        return {};
    return find_symbol({symbol_entries, symbol_entries_end},
                       {symbol_names, static_cast<std::size_t>(symbol_names_end - symbol_names)}, address);
}

namespace {

[[gnu::cold]] void print_frame(host& h, std::uint64_t address, symbol_place place) {
    text t;
    t << "  ";
    t.hex(address, 8);
    if (not place.name.empty())
        (t << " " << place.name << " + 0x").hex(place.offset);
    h.log(t.view());
}

/// A return address, whose call lies before it: the address itself may belong to the next function. False if it is
/// none.
[[gnu::cold]] auto print_caller(host& h, std::uint64_t address) -> bool {
    auto place = symbol_of(address - 1);
    if (place.name.empty())
        return false;
    ++place.offset;
    print_frame(h, address, place);
    return true;
}

/// Where the return address lies that RBP does not lead to: 0 if it leads to all. The interrupted function may not have
/// made its frame yet; g++ gives none to leaf functions; and what is no code at all was called from somewhere.
[[gnu::cold]] auto return_address_without_frame(std::uint64_t rip, std::uint64_t rsp) -> std::uint64_t {
    constexpr std::uint32_t push_rbp_mov_rsp_rbp{0xe5894855};
    auto const place = symbol_of(rip);
    if (place.name.empty() or place.offset == 0)
        return rsp;
    std::uint32_t begin{};
    __builtin_memcpy(&begin, reinterpret_cast<void const*>(rip - place.offset), sizeof begin);
    if (begin != push_rbp_mov_rsp_rbp)
        return rsp;
    return place.offset == 1 ? rsp + 8 : 0;
}

} // namespace

[[gnu::cold]] void print_interrupted(host& h, std::uint64_t rip, std::uint64_t rsp, std::uint64_t rbp) {
    h.log("backtrace:");
    print_frame(h, rip, symbol_of(rip));
    if (auto const at = return_address_without_frame(rip, rsp); at != 0 and at % 8 == 0 and stack_of(at).end != 0)
        (void)print_caller(h, *reinterpret_cast<std::uint64_t const*>(at));
    print_callers(h, rbp);
}

[[gnu::cold]] void print_callers(host& h, std::uint64_t rbp) {
    constexpr unsigned most_frames{32};
    for (unsigned n{0}; n != most_frames; ++n) {
        // A frame is a saved RBP and a return address. Whatever is not on a stack of ours is the end.
        auto const bounds = stack_of(rbp);
        if (bounds.end - rbp < 16 or bounds.end == 0 or rbp % 8 != 0)
            return;
        auto const* const frame = reinterpret_cast<std::uint64_t const*>(rbp);
        if (not print_caller(h, frame[1]))
            return;
        if (frame[0] <= rbp)
            return;
        rbp = frame[0];
    }
}

} // namespace hv::bare
