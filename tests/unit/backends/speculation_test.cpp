// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "svm_seat.hpp"
#include "vmx_seat.hpp"

#include <hv/backends/svm/speculation.hpp>
#include <hv/backends/vmx/speculation.hpp>

#include <cstdint>
#include <type_traits>

using namespace hv;
using namespace hv::test;

namespace {

struct mitigating {
    static constexpr bool mitigates{true};
    auto on(auto const&) -> verdict { return verdict::leave; }
};
struct careless {
    static constexpr bool mitigates{false};
    auto on(auto const&) -> verdict { return verdict::leave; }
};

constexpr std::uint32_t ibrs_ibpb{1u << 26}, stibp{1u << 27}, l1d_flush{1u << 28}, arch_capabilities{1u << 29},
    ssbd{1u << 31}, md_clear{1u << 10};

/// A seat whose processors say of themselves what `describe` does.
template <typename Seat, typename Describe>
void restart(Seat& seat, speculation_model const& processor, Describe describe) {
    if constexpr (std::is_same_v<Seat, vmx_seat>)
        seat.leave_vmx_operation();
    else
        seat.cpu.detach(seat.host, seat.processors[0]);
    describe(seat.host);
    for (unsigned i{0}; i != 2; ++i) {
        hosted::this_processor = i;
        seat.model.processors[i].speculation = processor;
        if constexpr (std::is_same_v<Seat, svm_seat>) {
            seat.processors[i].disable(seat.host);
            seat.prepare_msrs();
        }
        REQUIRE(seat.processors[i].enable(seat.host) == status::ok);
    }
    hosted::this_processor = 0;
    seat.cpu.attach(seat.host, seat.processors[0]);
    if constexpr (std::is_same_v<Seat, vmx_seat>)
        seat.attached = true;
}

/// A processor with IBRS, STIBP, SSBD and IBPB, as each vendor says it.
template <typename Seat>
void give_controls(Seat& seat) {
    restart(seat, {.control_bits = 7, .has_barrier = true}, [](hosted::host& host) {
        if constexpr (std::is_same_v<Seat, vmx_seat>)
            host.set_cpuid(7, 0, {.edx = ibrs_ibpb | stibp | ssbd});
        else
            host.set_cpuid(0x8000'0008, 0, {.ebx = 1u << 12 | 1u << 14 | 1u << 15 | 1u << 24});
        host.set_msr(0x48, 0);
    });
}

template <typename Seat>
auto now(Seat& seat) -> speculation_model& {
    return seat.model.current().speculation;
}

} // namespace

TEMPLATE_TEST_CASE("a vCPU that follows another one, or comes from another processor, gets a barrier before it runs",
                   "", svm_seat, vmx_seat) {
    TestType seat;
    give_controls(seat);
    mitigating handler;
    (void)seat.enter(handler);
    CHECK(now(seat).barriers == 1);
    (void)seat.enter(handler);
    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.cpu.attach(seat.host, seat.processors[0]);
    (void)seat.enter(handler);
    CHECK(now(seat).barriers == 1); // nobody was in between

    typename TestType::backend::vcpu other{};
    REQUIRE(other.create(seat.host, seat.machine) == status::ok);
    other.set_cr0(0x31);
    for (unsigned turn{2}; turn != 6; turn += 2) {
        seat.cpu.detach(seat.host, seat.processors[0]);
        other.attach(seat.host, seat.processors[0]);
        (void)TestType::backend::enter(seat.host, seat.processors[0], other, handler);
        CHECK(now(seat).barriers == turn);
        other.detach(seat.host, seat.processors[0]);
        seat.cpu.attach(seat.host, seat.processors[0]);
        (void)seat.enter(handler);
        CHECK(now(seat).barriers == turn + 1);
    }
    // A new vCPU in the place of one that this processor remembers.
    seat.cpu.detach(seat.host, seat.processors[0]);
    other.attach(seat.host, seat.processors[0]);
    (void)TestType::backend::enter(seat.host, seat.processors[0], other, handler);
    other.detach(seat.host, seat.processors[0]);
    other.destroy(seat.host);
    REQUIRE(other.create(seat.host, seat.machine) == status::ok);
    other.set_cr0(0x31);
    other.attach(seat.host, seat.processors[0]);
    (void)TestType::backend::enter(seat.host, seat.processors[0], other, handler);
    CHECK(now(seat).barriers == 7);
    other.detach(seat.host, seat.processors[0]);
    other.destroy(seat.host);
    seat.cpu.attach(seat.host, seat.processors[0]);

    seat.move_to(1);
    (void)seat.enter(handler);
    CHECK(now(seat).barriers == 1);
    seat.move_to(0);
    (void)seat.enter(handler);
    CHECK(now(seat).barriers == 8);
}

TEMPLATE_TEST_CASE("a guest runs with its own IA32_SPEC_CTRL and the host's bits, and each exit brings the host's back",
                   "", svm_seat, vmx_seat) {
    TestType seat;
    give_controls(seat);
    mitigating handler;
    (void)seat.enter(handler);
    CHECK(now(seat).control_writes == 0); // both have 0
    seat.cpu.speculation().set_control(0x5);
    for (int i{0}; i != 2; ++i) {
        (void)seat.enter(handler);
        CHECK(now(seat).control_in_guest == 5);
        CHECK(now(seat).control == 0);
    }
    seat.cpu.speculation().set_control(0xff04); // bits that no processor has
    (void)seat.enter(handler);
    CHECK(now(seat).control_in_guest == 4);
    CHECK(seat.cpu.speculation().control() == 0xff04);

    seat.cpu.detach(seat.host, seat.processors[0]);
    seat.host.set_msr(0x48, 2); // the host thinks again
    now(seat).control = 2;
    seat.cpu.attach(seat.host, seat.processors[0]);
    (void)seat.enter(handler);
    CHECK(now(seat).control_in_guest == 6);
    CHECK(now(seat).control == 2);
    auto const writes = now(seat).control_writes;
    seat.cpu.speculation().set_control(0);
    (void)seat.enter(handler);
    CHECK(now(seat).control_in_guest == 2);
    CHECK(now(seat).control_writes == writes);
}

TEMPLATE_TEST_CASE("a guest's own barrier comes before its next instruction, once", "", svm_seat, vmx_seat) {
    TestType seat;
    give_controls(seat);
    mitigating handler;
    (void)seat.enter(handler);
    seat.cpu.speculation().request_barrier();
    CHECK(now(seat).barriers == 1);
    (void)seat.enter(handler);
    (void)seat.enter(handler);
    CHECK(now(seat).barriers == 2);
    seat.cpu.speculation().request_level1_flush(); // which this processor has not
    (void)seat.enter(handler);
    CHECK(now(seat).flushes == 0);
}

TEMPLATE_TEST_CASE("a processor that says nothing of speculation gets no write that it would not take", "", svm_seat,
                   vmx_seat) {
    TestType seat; // the model throws
    mitigating handler;
    seat.cpu.speculation().set_control(7);
    seat.cpu.speculation().request_barrier();
    seat.cpu.speculation().request_level1_flush();
    (void)seat.enter(handler);
    CHECK(now(seat).fills == 1); // calls need nothing
    CHECK_FALSE(now(seat).buffers_were_clear);
}

TEMPLATE_TEST_CASE("a machine without mitigations does nothing of it", "", svm_seat, vmx_seat) {
    TestType seat;
    give_controls(seat);
    careless handler;
    seat.cpu.speculation().set_control(7);
    seat.cpu.speculation().request_barrier();
    (void)seat.enter(handler);
    auto const& p = now(seat);
    CHECK((p.fills | p.barriers | p.control_writes | p.flushes | p.barriers_at_exit) == 0);
}

TEST_CASE("SPEC_CTRL virtualization takes the guest's value in the VMCB, and nobody writes the MSR") {
    svm_seat seat;
    restart(seat, {.control_bits = 7, .has_barrier = true, .virtual_control = true}, [](hosted::host& host) {
        host.set_cpuid(0x8000'0008, 0, {.ebx = 1u << 12 | 1u << 14 | 1u << 15 | 1u << 24});
        host.set_cpuid(0x8000'000a, 0, {.eax = 1, .ebx = 16, .edx = 0xf9 | 1u << 20});
        host.set_msr(0x48, 1);
    });
    now(seat).control = 1;
    mitigating handler;
    seat.cpu.speculation().set_control(0xf004);
    (void)seat.enter(handler);
    CHECK(now(seat).control_in_guest == 5);
    CHECK(now(seat).control_writes == 0);
    seat.cpu.speculation().set_control(0);
    (void)seat.enter(handler);
    CHECK(now(seat).control_in_guest == 1);
}

TEST_CASE("Zen gets a barrier at each exit, and VERW where it has TSA") {
    svm_seat seat;
    restart(seat, {.control_bits = 0, .has_barrier = true}, [](hosted::host& host) {
        host.set_cpuid(1, 0, {.eax = 0x00a2'0f10, .ecx = 1u << 27 | 1u << 26}); // family 19h
        host.set_cpuid(0x8000'0000, 0, {.eax = 0x8000'0021});
        host.set_cpuid(0x8000'0008, 0, {.ebx = 1u << 12});
        host.set_cpuid(0x8000'0021, 0, {.eax = 1u << 5});
    });
    mitigating handler;
    for (unsigned i{1}; i != 4; ++i) {
        (void)seat.enter(handler);
        CHECK(now(seat).barriers_at_exit == i);
        CHECK(now(seat).buffers_were_clear);
    }
    CHECK(now(seat).fills == 3);
}

TEST_CASE("a processor open to L1 terminal fault and MDS enters with both clean, each time") {
    vmx_seat seat;
    restart(seat, {.has_barrier = true, .has_flush = true},
            [](hosted::host& host) { host.set_cpuid(7, 0, {.edx = ibrs_ibpb | l1d_flush | md_clear}); });
    seat.model.processors[0].speculation.control_bits = 1;
    mitigating handler;
    for (unsigned i{1}; i != 4; ++i) {
        (void)seat.enter(handler);
        CHECK(now(seat).level1_was_clean);
        CHECK(now(seat).buffers_were_clear);
        CHECK(now(seat).flushes == i);
    }
}

TEST_CASE("what Intel's processors say decides about VERW and the flush") {
    using backends::vmx::speculation_of;
    auto const says = [](std::uint32_t edx, std::uint64_t capabilities, std::uint32_t ebx = 0) {
        return speculation_of({.ebx = ebx, .edx = edx | arch_capabilities}, capabilities);
    };
    constexpr std::uint32_t rtm{1u << 11};
    constexpr std::uint64_t rdcl_no{1}, skip_flush{8}, mds_no{0x20}, taa_no{0x100}, fb_clear{0x2'0000},
        rfds_clear{0x1000'0000};
    CHECK(says(l1d_flush, 0).flush_at_entry);
    CHECK_FALSE(says(l1d_flush, rdcl_no).flush_at_entry);
    CHECK(says(l1d_flush, rdcl_no).level1_flush); // for guests
    CHECK_FALSE(says(l1d_flush, skip_flush).flush_at_entry);
    CHECK_FALSE(says(0, 0).flush_at_entry); // no such command
    CHECK(says(md_clear, 0).clear_buffers);
    CHECK_FALSE(says(0, 0).clear_buffers); // VERW would do nothing
    CHECK_FALSE(says(md_clear, mds_no).clear_buffers);
    CHECK(says(md_clear, mds_no, rtm).clear_buffers); // TSX asynchronous abort
    CHECK_FALSE(says(md_clear, mds_no | taa_no, rtm).clear_buffers);
    CHECK(says(md_clear, mds_no | taa_no | fb_clear).clear_buffers);
    CHECK(says(0, mds_no | rfds_clear).clear_buffers);
    CHECK(says(ibrs_ibpb, 0).control == 1);
    CHECK(says(ibrs_ibpb | stibp | ssbd, 0).control == 7);
    CHECK(says(ibrs_ibpb, 0).barrier);
    CHECK_FALSE(says(stibp, 0).barrier);
}

TEST_CASE("what AMD's processors say decides about the barrier at exits and VERW") {
    using backends::svm::speculation_of;
    constexpr std::uint32_t zen2{0x0083'0f10}, zen3{0x00a2'0f10}, zen5{0x00b4'0f40}, excavator{0x0067'0f00},
        ibpb{1u << 12};
    CHECK(backends::svm::family(zen2) == 0x17);
    CHECK(backends::svm::family(zen5) == 0x1a);
    CHECK(backends::svm::family(excavator) == 0x15);
    CHECK(backends::svm::family(0x0000'0651) == 6); // no extension below Fh
    for (auto const signature : {zen2, zen3, zen5}) {
        CHECK(speculation_of({.signature = {.eax = signature}, .identifiers = {.ebx = ibpb}}).barrier_at_exit);
        CHECK_FALSE(speculation_of({.signature = {.eax = signature}}).barrier_at_exit); // it has none
        CHECK_FALSE(speculation_of(
                        {.signature = {.eax = signature}, .identifiers = {.ebx = ibpb}, .extended = {.eax = 1u << 29}})
                        .barrier_at_exit);
    }
    CHECK_FALSE(speculation_of({.signature = {.eax = excavator}, .identifiers = {.ebx = ibpb}}).barrier_at_exit);
    CHECK(speculation_of({.extended = {.eax = 1u << 5}}).clear_buffers);
    CHECK(speculation_of({.extended = {.eax = 1u << 5, .ecx = 1u << 1}}).clear_buffers);
    CHECK_FALSE(speculation_of({.extended = {.eax = 1u << 5, .ecx = 3u << 1}}).clear_buffers);
    CHECK_FALSE(speculation_of({}).clear_buffers);
    auto const all = speculation_of({.identifiers = {.ebx = 0xffff'ffff}, .svm = {.edx = 1u << 20}});
    CHECK(all.control == 0x87);
    CHECK(all.virtual_control);
    CHECK_FALSE(speculation_of({.svm = {.edx = 1u << 20}}).virtual_control); // of no MSR
}
