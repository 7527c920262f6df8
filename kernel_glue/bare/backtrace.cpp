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

auto symbol_of(std::uint64_t address) -> symbol_place {
    if (address < reinterpret_cast<std::uint64_t>(image_start) or address >= reinterpret_cast<std::uint64_t>(text_end))
        return {};
    return find_symbol({symbol_entries, symbol_entries_end},
                       {symbol_names, static_cast<std::size_t>(symbol_names_end - symbol_names)}, address);
}

namespace {

void print_frame(host& h, std::uint64_t address, symbol_place place) {
    text t;
    t << "  ";
    t.hex(address, 8);
    if (not place.name.empty())
        (t << " " << place.name << " + 0x").hex(place.offset);
    h.log(t.view());
}

} // namespace

void print_backtrace(host& h, std::uint64_t rip, std::uint64_t rbp) {
    constexpr unsigned most_frames{32};
    h.log("backtrace:");
    print_frame(h, rip, symbol_of(rip));
    for (unsigned n{0}; n != most_frames; ++n) {
        // A frame is a saved RBP and a return address. Whatever is not on a stack of ours is the end.
        auto const bounds = stack_of(rbp);
        if (bounds.end - rbp < 16 or bounds.end == 0 or rbp % 8 != 0)
            return;
        auto const* const frame = reinterpret_cast<std::uint64_t const*>(rbp);
        if (frame[1] == 0)
            return;
        // The call itself lies before the return address, which may belong to the next function.
        auto place = symbol_of(frame[1] - 1);
        ++place.offset;
        print_frame(h, frame[1], place);
        if (frame[0] <= rbp)
            return;
        rbp = frame[0];
    }
}

} // namespace hv::bare
