// SPDX-License-Identifier: BSD-2-Clause
#include "whole_machine.hpp"

#include <cstddef>
#include <memory>

using namespace hv;
using namespace hv::test;

namespace {

constexpr std::size_t line{64};

struct several : fake_pc {
    static constexpr unsigned max_vcpus{3};
};
using machine_type = vm<several, hosted::host>;
using vcpu_type = machine_type::vcpu_type;

auto line_of(void const* at) -> std::size_t {
    return reinterpret_cast<std::size_t>(at) / line;
}
template <typename T>
auto last_line_of(T const& object) -> std::size_t {
    return line_of(reinterpret_cast<std::byte const*>(&object) + sizeof object - 1);
}

} // namespace

static_assert(alignof(vcpu_type) % line == 0 and sizeof(vcpu_type) % line == 0, "vCPUs share no cache line");
static_assert(sizeof(vcpu_shared) % line == 0, "what others write is apart from a vCPU's own");
static_assert(offsetof(vcpu_shared, route) % line == 0, "messages that come are apart from what a vCPU shows");
static_assert(alignof(machine_type) % line == 0);

TEST_CASE("what one thread writes often shares no cache line with what others use") {
    auto const machine = std::make_unique<machine_type>();
    for (std::uint32_t id{0}; id != 3; ++id) {
        auto& cpu = machine->cpu(id);
        CHECK(line_of(&cpu.shared()) > line_of(&cpu.stats()));
        CHECK(line_of(&cpu.shared()) > line_of(&cpu.hardware()));
        CHECK(last_line_of(cpu.shared()) == last_line_of(cpu));
    }
    // The devices, which belong to whoever has the board; memory, hardware and CPUID, which every exit may read.
    CHECK(line_of(&machine->devices()) > last_line_of(machine->memory()));
    CHECK(line_of(&machine->devices()) > last_line_of(machine->hardware()));
    CHECK(last_line_of(machine->devices()) < line_of(&machine->cpuid()));
}

TEST_CASE("a machine with one thread spends no memory on cache lines") {
    STATIC_REQUIRE(sizeof(vm<fake_pc, hosted::serial_host>) < sizeof(vm<fake_pc, hosted::host>));
    STATIC_REQUIRE(alignof(vm<bare_fake, hosted::serial_host>) <= alignof(vm<bare_fake, hosted::host>));
}
