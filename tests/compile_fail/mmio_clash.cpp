// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: two devices of one device_set claim the same memory-mapped address
#include "machine_under_test.hpp"

template <std::uint64_t First>
struct window {
    static constexpr char const* name{"window"};
    static constexpr std::array mmio{hv::mmio_range{.first = First, .size = 0x1000}};
    auto read_mmio(auto&, std::uint64_t, unsigned) -> std::uint64_t { return 0; }
    void write_mmio(auto&, std::uint64_t, unsigned, std::uint64_t) {}
    void reset(auto&) {}
};
struct machine : sound_machine {
    using devices = hv::device_set<window<0xfed00000>, window<0xfed00ff8>>;
};
void f() {
    use<machine>();
}
