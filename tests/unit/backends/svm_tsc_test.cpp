// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "svm_look.hpp"

#include <hv/backends/svm.hpp>

#include <cstdint>

using namespace hv;
using namespace hv::test;

namespace {
constexpr std::uint32_t tsc_ratio_msr{0xc000'0104};
} // namespace

TEST_CASE("a VM that scales its TSC has its ratio in the processor from attach to detach, and the host's comes back") {
    constexpr std::uint64_t ratio{0x1'8000'0000};
    svm_seat seat{{.tsc_ratio = ratio}};
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.host.set_msr(tsc_ratio_msr, 0x2'0000'0000); // another user's
    for (int i{0}; i != 2; ++i) {
        seat.cpu.attach(seat.host, seat.processors[0]);
        seat.cpu.set_tsc_offset(0x1234);
        for (int entry{0}; entry != 3; ++entry)
            look(seat, [&](vmcb const& b) {
                CHECK(seat.host.read_msr(tsc_ratio_msr).value == ratio);
                CHECK(at<std::uint64_t>(b, 0x050) == 0x1234);
            });
        seat.cpu.detach(seat.host, seat.processors[0]);
        CHECK(seat.host.read_msr(tsc_ratio_msr).value == 0x2'0000'0000);
    }
    seat.cpu.attach(seat.host, seat.processors[0]);
}

TEST_CASE("a VM that does not scale never touches the ratio") {
    svm_seat seat;
    look(seat, [](vmcb const&) {});
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.cpu.attach(seat.host, seat.processors[0]);
    for (auto const& [index, value] : seat.host.msr_writes())
        CHECK(index != tsc_ratio_msr);
}

TEST_CASE("a processor without the ratio says so, and makes no VM that needs it") {
    svm_seat seat;
    CHECK(seat.processors[0].examine(seat.host).tsc_scaling);
    seat.model.has_tsc_ratio = false;
    seat.describe_processor();
    CHECK_FALSE(seat.processors[0].examine(seat.host).tsc_scaling);
    modelled_svm::vm machine;
    auto const before = seat.host.bytes_in_use();
    CHECK(machine.create(seat.host, {.tsc_ratio = 1}) == status::no_device);
    CHECK(seat.host.bytes_in_use() == before);
}
