// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: two devices of one device_set claim the same model-specific register
#include "machine_under_test.hpp"

template <std::uint32_t First>
struct registers {
    static constexpr char const* name{"registers"};
    static constexpr hv::device_scope scope{hv::device_scope::processor};
    static constexpr std::array msrs{hv::msr_range{.first = First, .count = 2}};
    auto read_msr(auto&, std::uint32_t, std::uint64_t&) -> bool { return false; }
    auto write_msr(auto&, std::uint32_t, std::uint64_t) -> bool { return false; }
    void reset(auto&) {}
};
struct machine : sound_machine {
    using devices = hv::device_set<registers<0x800>, registers<0x801>>;
};
void f() {
    use<machine>();
}
