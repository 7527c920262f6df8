// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "vmx_look.hpp"

#include <hv/backends/vmx.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

using namespace hv;
using namespace hv::test;
namespace parts = backends::vmx;

namespace {

/// A processor of the model alone.
struct bench {
    bench() {
        outer = std::exchange(modelled_vmx_switch::model, &model);
        model.describe();
    }
    ~bench() { modelled_vmx_switch::model = outer; }
    bench(bench const&) = delete;
    auto operator=(bench const&) -> bench& = delete;
    auto missing() -> std::string { return std::string{processor.examine(host).missing}; }

    hosted::host host{hosted::host_config{.memory = std::size_t{1} << 20, .processors = 2}};
    vmx_model model{host};
    vmx_model* outer{};
    modelled_vmx::processor processor{};
};

} // namespace

TEST_CASE("a processor that lacks one control is refused with its name, and nothing is turned on") {
    struct lack {
        std::uint32_t msr;
        unsigned bit;
        char const* name;
    };
    for (auto const& l : std::vector<lack>{{0x48d, 0, "external-interrupt exiting"},
                                           {0x48d, 3, "NMI exiting"},
                                           {0x48d, 5, "virtual NMIs"},
                                           {0x48e, 2, "interrupt-window exiting"},
                                           {0x48e, 3, "use TSC offsetting"},
                                           {0x48e, 7, "HLT exiting"},
                                           {0x48e, 10, "MWAIT exiting"},
                                           {0x48e, 11, "RDPMC exiting"},
                                           {0x48e, 12, "RDTSC exiting"},
                                           {0x48e, 21, "use TPR shadow"},
                                           {0x48e, 22, "NMI-window exiting"},
                                           {0x48e, 24, "unconditional I/O exiting"},
                                           {0x48e, 28, "use MSR bitmaps"},
                                           {0x48e, 29, "MONITOR exiting"},
                                           {0x48e, 30, "PAUSE exiting"},
                                           {0x48e, 31, "activate secondary controls"},
                                           {0x48b, 1, "enable EPT"},
                                           {0x48b, 5, "enable VPID"},
                                           {0x48b, 6, "WBINVD exiting"},
                                           {0x48b, 7, "unrestricted guest"},
                                           {0x48f, 2, "save debug controls"},
                                           {0x48f, 9, "host address-space size"},
                                           {0x48f, 19, "load IA32_PAT (VM-exit"},
                                           {0x48f, 21, "load IA32_EFER (VM-exit"},
                                           {0x490, 2, "load debug controls"},
                                           {0x490, 9, "IA-32e mode guest"},
                                           {0x490, 14, "load IA32_PAT (VM-entry"},
                                           {0x490, 15, "load IA32_EFER (VM-entry"}}) {
        CAPTURE(l.name);
        bench b;
        CHECK(b.missing().empty());
        b.host.set_msr(l.msr, b.host.read_msr(l.msr).value & ~(std::uint64_t{1} << (32 + l.bit)));
        CHECK(b.missing().find(l.name) == 0);
        CHECK(b.processor.enable(b.host) == status::no_device);
        CHECK((b.model.processors[0].cr4 & 0x2000) == 0);
        CHECK(b.host.bytes_in_use() == 0);
    }
    for (unsigned const bit : {6u, 14u, 16u, 20u, 25u, 26u, 32u, 41u, 42u}) {
        bench b;
        b.host.set_msr(0x48c, b.host.read_msr(0x48c).value & ~(std::uint64_t{1} << bit));
        CHECK(b.missing().find("bit " + std::to_string(bit)) != std::string::npos);
    }
}

TEST_CASE("a machine whose local APICs the processor runs refuses one that cannot, by the name of the control") {
    struct lack {
        unsigned bit;
        char const* name;
    };
    constexpr vm_controls wanted{.run_apic = true};
    for (auto const& l : std::vector<lack>{{0, "virtualize APIC accesses"},
                                           {4, "virtualize x2APIC mode"},
                                           {8, "APIC-register virtualization"},
                                           {9, "virtual-interrupt delivery"}}) {
        CAPTURE(l.name);
        bench b;
        CHECK(b.processor.first_lack(b.host, wanted).empty());
        b.host.set_msr(0x48b, b.host.read_msr(0x48b).value & ~(std::uint64_t{1} << (32 + l.bit)));
        CHECK(b.processor.first_lack(b.host, wanted).find(l.name) == 0);
        CHECK(b.processor.first_lack(b.host, {}).empty());
        CHECK(b.missing().empty());
        modelled_vmx::vm machine;
        CHECK(machine.create(b.host, wanted) == status::no_device);
        CHECK(b.host.bytes_in_use() == 0);
    }
}

TEST_CASE("a machine whose descriptor-table instructions exit refuses a processor where they cannot, by name") {
    constexpr vm_controls wanted{.trap_descriptor_tables = true};
    bench b;
    CHECK(b.processor.first_lack(b.host, wanted).empty());
    b.host.set_msr(0x48b, b.host.read_msr(0x48b).value & ~(std::uint64_t{1} << 34));
    CHECK(b.processor.first_lack(b.host, wanted).find("descriptor-table exiting") == 0);
    CHECK(b.processor.first_lack(b.host, {}).empty());
    CHECK(b.missing().empty());
    modelled_vmx::vm machine;
    CHECK(machine.create(b.host, wanted) == status::no_device);
    CHECK(b.host.bytes_in_use() == 0);
}

TEST_CASE("a processor without VMX, or with VMX locked off, is refused") {
    bench b;
    b.host.set_msr(x86::msr::ia32_feature_control, 1);
    CHECK(b.missing().find("IA32_FEATURE_CONTROL") != std::string::npos);
    b.host.set_msr(x86::msr::ia32_feature_control, 5);
    CHECK(b.missing().empty());
    b.host.set_msr(x86::msr::ia32_efer, 0x500);
    CHECK(b.missing().find("EFER.NXE") == 0);
    b.host.set_cpuid(1, 0, {});
    CHECK(b.missing().find("VMX (CPUID") == 0);
}

TEST_CASE("what the firmware left open is locked with VMX on") {
    bench b;
    b.host.set_msr(x86::msr::ia32_feature_control, 0);
    CHECK(b.missing().empty());
    CHECK(b.host.read_msr(x86::msr::ia32_feature_control).value == 0); // to examine changes nothing
    REQUIRE(b.processor.enable(b.host) == status::ok);
    CHECK(b.host.read_msr(x86::msr::ia32_feature_control).value == 5);
    CHECK(b.model.processors[0].in_vmx_operation);
    b.processor.disable(b.host);
    CHECK_FALSE(b.model.processors[0].in_vmx_operation);
    CHECK((b.model.processors[0].cr4 & 0x2000) == 0);
}

TEST_CASE("without the true controls the older capability registers count") {
    bench b;
    b.host.set_msr(0x480, b.host.read_msr(0x480).value & ~(1ull << 55));
    b.host.set_msr(0x48e, 0);
    CHECK(b.missing().empty());
    auto const f = parts::read_features(b.host);
    CHECK(f.primary.must_be_set == 0x0401'e172); // with exits at accesses to CR3
    CHECK(f.primary.adjusted(0) == 0x0401'e172);
    CHECK(f.pin.adjusted(0xffff'ffff) == 0x7f);
}

TEST_CASE("XSA-170, XSA-192: what the processor refuses ends the guest with the check that failed, and the next runs") {
    using enum x86::segment_name;
    struct broken {
        std::function<void(modelled_vmx::vcpu&)> break_it;
        char const* reason;
    };
    auto const segment = [](x86::segment_name name, x86::segment value) {
        return [=](modelled_vmx::vcpu& cpu) { cpu.set_segment(name, value); };
    };
    std::vector<broken> const all{
        {[](auto& cpu) { cpu.set_cr0(x86::cr0::pg | x86::cr0::et); }, "CR0.PG is set and CR0.PE is not"},
        {[](auto& cpu) {
             cpu.set_efer(x86::efer::lme);
             cpu.set_cr0(x86::cr0::pg | x86::cr0::pe);
         },
         "the guest is in IA-32e mode without CR0.PG and CR4.PAE"},
        {[](auto& cpu) { CHECK(cpu.set_msr(x86::msr::ia32_pat, 2) == status::ok); },
         "IA32_PAT holds a type that there is not"},
        {[](auto& cpu) { cpu.set_rip(1ull << 32); }, "RIP is no address of this mode"},
        {[](auto& cpu) { cpu.set_gdtr({.base = 1ull << 47}); }, "the base of GDTR or IDTR is not canonical"},
        {segment(cs, {.access = 0x10000}), "CS or TR is unusable"},
        {segment(ds, {.limit = 0xffff'fffe, .access = 0xc093}),
         "limit and granularity of a segment register do not agree"},
        {segment(ds, {.base = 1ull << 32, .access = 0x93}), "the base of a segment register is no address"},
        {segment(fs, {.base = 1ull << 47, .access = 0x93}), "the base of a segment register is no address"},
        {segment(ss, {.access = 0x91}), "SS is no writable data segment"},
        {segment(ldtr, {.access = 0x83}), "LDTR is no LDT"},
        {segment(tr, {.access = 0x82}), "TR is no busy TSS"},
        {segment(cs, {.access = 0x95}), "CS is no accessed code segment"},
        {segment(cs, {.limit = 0xffff, .access = 0xfb}), "the privilege levels of CS and SS do not agree"},
        {segment(ss, {.limit = 0xffff, .access = 0xf3}), "the privilege levels of CS and SS do not agree"},
        {segment(tr, {.limit = 0xffff, .access = 0x8b, .selector = 4}), "the selector of TR or LDTR is of the LDT"},
        {[](auto& cpu) {
             cpu.set_cr0(x86::cr0::et);
             for (auto const name : {cs, ss})
                 cpu.set_segment(name, {.limit = 0xffff, .access = name == cs ? 0xfbu : 0xf3u});
         },
         "SS is not of privilege level 0 in real mode"},
        {[](auto& cpu) {
             cpu.set_cr0(x86::cr0::et);
             cpu.set_rflags(x86::rflags::vm);
         },
         "RFLAGS.VM is set outside protected mode"},
        {[](auto& cpu) {
             cpu.set_cr0(x86::cr0::pe);
             cpu.set_rflags(x86::rflags::vm);
         },
         "a segment of virtual-8086 mode is not what its selector says"},
        {[](auto& cpu) {
             cpu.set_cr4(x86::cr4::pae);
             cpu.set_efer(x86::efer::lme);
             cpu.set_cr0(x86::cr0::pg | x86::cr0::pe);
             cpu.set_segment(tr, {.limit = 0x2b, .access = 0x83});
         },
         "TR is no 64-bit TSS in IA-32e mode"},
        {[](auto& cpu) {
             cpu.set_cr4(x86::cr4::pae);
             cpu.set_efer(x86::efer::lme);
             cpu.set_cr0(x86::cr0::pg | x86::cr0::pe);
             cpu.set_segment(cs, {.limit = 0xffff, .access = 0x609b});
         },
         "CS.L and CS.D are both set in IA-32e mode"},
        {[](auto& cpu) { cpu.inject(event::make(event_type::external_interrupt, 0x30)); },
         "an external interrupt is injected into a guest that takes none"},
        {[](auto& cpu) {
             cpu.set_nmi_blocked(true);
             cpu.inject(event::make(event_type::nmi, 2));
         },
         "an NMI is injected into a guest that takes none"},
    };
    for (auto const& b : all) {
        CAPTURE(b.reason);
        vmx_seat seat;
        seat.cpu.set_segment(cs, {.limit = 0xffff, .access = 0x9b});
        look(seat, [](vmx_model::guest&) {});
        b.break_it(seat.cpu);
        seat.model.refuse_with = 0x8000'0021;
        reason_handler handler;
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.reason == b.reason);
        CHECK(seat.cpu.instruction_length() == 0);

        auto const root = seat.tables.root(seat.host);
        modelled_vmx::vm machine;
        modelled_vmx::vcpu other;
        REQUIRE(machine.create(seat.host, {.nested_root = root}) == status::ok);
        REQUIRE(other.create(seat.host, machine) == status::ok);
        seat.cpu.detach(seat.host, seat.processors[0]);
        other.attach(seat.host, seat.processors[0]);
        seat.model.next = [](vmx_model::guest& g) { g.exit(10); };
        recording_handler next;
        CHECK(modelled_vmx::enter(seat.host, seat.processors[0], other, next) == verdict::leave);
        CHECK(next.last() == "cpuid");
        other.detach(seat.host, seat.processors[0]);
        other.destroy(seat.host);
        machine.destroy(seat.host);
        seat.cpu.attach(seat.host, seat.processors[0]);
    }
}

TEST_CASE("VMfail names its error, and the VMCS can be entered again") {
    struct failure {
        std::uint64_t with;
        char const* reason;
    };
    for (auto const& f : std::vector<failure>{{7, "VMfailValid 7: VM entry with invalid control fields"},
                                              {8, "VMfailValid 8: VM entry with invalid host-state fields"},
                                              {0x8000'0022, "loading of an MSR"},
                                              {0x8000'0029, "a machine check during VM entry"}}) {
        for (bool const launched : {false, true}) {
            vmx_seat seat;
            if (launched)
                look(seat, [](vmx_model::guest&) {});
            seat.model.refuse_with = f.with;
            reason_handler handler;
            CHECK(seat.enter(handler) == verdict::leave);
            CHECK(handler.reason == f.reason);
            look(seat, [](vmx_model::guest&) {});
        }
    }
    vmx_seat seat;
    seat.model.current().current = ~std::uint64_t{0}; // somebody else's VMCLEAR
    reason_handler handler;
    CHECK_THROWS(seat.enter(handler)); // of the model: VMWRITE has no VMCS either
}

TEST_CASE("an event in the slot survives a refused entry") {
    vmx_seat seat;
    auto const e = event::make(x86::exception::page_fault, 2);
    seat.cpu.inject(e);
    seat.model.refuse_with = 0x8000'0021;
    reason_handler handler;
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(seat.cpu.injection_pending());
    look(seat, [](vmx_model::guest&) {});
    CHECK(seat.delivered() == std::vector{e});
    CHECK_FALSE(seat.cpu.injection_pending());
}
