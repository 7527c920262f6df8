// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// Breaks a virtual processor in every way that its interface has, one at a time. Each state is refused with a status,
/// or stopped at entry with the check that failed; and behind each of them a good machine runs to its end.
#include <kernel_glue/bare/image.hpp>
#include <kernel_glue/bare/text.hpp>

#include <hv/guest/identity_tables.hpp>
#include <hv/vcpu_state.hpp>
#include <hv/vmm.hpp>

#include <cstdint>
#include <new>
#include <string_view>

namespace hv::test {

using bare::host;
using bare::text;

/// What a vendor's processor says to a state that is legal register by register.
struct verdict_of_processor {
    std::string_view reason{}; ///< that the entry fails with; empty: see `skip`
    std::string_view skip{};   ///< why this state is not tried
};
[[nodiscard]] constexpr auto fails(std::string_view reason) -> verdict_of_processor {
    return {.reason = reason};
}
[[nodiscard]] constexpr auto skipped(std::string_view why) -> verdict_of_processor {
    return {.skip = why};
}
inline constexpr auto enters = skipped("this processor enters it");

template <typename Machine>
class entry_checks {
  public:
    using machine_type = vm<Machine, host>;
    using vcpu_type = typename machine_type::vcpu_type;
    static constexpr bool is_svm{Machine::backend::name == std::string_view{"svm"}};

    entry_checks(host& h, vmm<Machine, host>& monitor, void* place, bool in_bochs)
        : host_{h}, monitor_{monitor}, place_{place}, in_bochs_{in_bochs} {}

    /// A state that one function of the interface refuses.
    template <typename Break>
    void refused(std::string_view name, Break break_it) {
        auto& machine = make();
        auto const answer = break_it(machine.cpu(0));
        say(name, answer == status::ok ? "accepted" : "refused by its status", answer != status::ok);
        finish(machine);
    }

    /// A state whose parts are accepted one by one.
    template <typename Break>
    void stopped(std::string_view name, verdict_of_processor svm, verdict_of_processor vmx, Break break_it) {
        auto const expected = is_svm ? svm : vmx;
        if (not expected.skip.empty())
            return log(text{} << name << ": skipped, " << expected.skip);
        auto& machine = make();
        if (break_it(machine.cpu(0)) != status::ok) {
            say(name, "refused by its status", true);
            return finish(machine);
        }
        machine.cpu(0).run();
        auto const& why = machine.reason();
        bool const named{why.kind == stop_kind::entry_failed and std::string_view{why.text} == expected.reason};
        if (why.kind == stop_kind::entry_failed)
            log(text{} << name << ": stopped, " << why.text << (named ? "" : ": wrong"));
        else
            log(text{} << name << ": " << name_of(why.kind) << ": wrong");
        count(named);
        finish(machine);
    }

    [[nodiscard]] auto in_bochs() const -> bool { return in_bochs_; }
    [[nodiscard]] auto states() const -> unsigned { return states_; }
    [[nodiscard]] auto wrong() const -> unsigned { return wrong_; }

  private:
    static constexpr std::uint64_t memory_size{2 << 20}, code_at{0x1000};

    /// A machine whose guest writes 0 to the exit port.
    auto make() -> machine_type& {
        auto& machine = *new (place_) machine_type;
        constexpr std::uint8_t code[]{0x31, 0xc0, 0xe6, 0xf4, 0xf4}; // XOR EAX, EAX; OUT F4h, AL; HLT
        if (monitor_.create(machine) != status::ok or machine.activate(0) != status::ok or
            machine.give_memory({.size = memory_size}) != status::ok)
            host_.panic("no machine");
        for (unsigned i{0}; i < sizeof code; ++i)
            *machine.memory().at(gpa{code_at + i}, access::write) = static_cast<std::byte>(code[i]);
        machine.cpu(0).start(guest::real_mode_start(0, code_at));
        return machine;
    }

    void finish(machine_type& broken) {
        broken.destroy();
        auto& next = make();
        next.cpu(0).run();
        if (next.reason().kind != stop_kind::exit_code or next.reason().code != 0) {
            log(text{} << "the next machine: " << name_of(next.reason().kind) << ": wrong");
            ++wrong_;
        }
        next.destroy();
    }

    void say(std::string_view name, std::string_view what, bool good) {
        log(text{} << name << ": " << what << (good ? "" : ": wrong"));
        count(good);
    }
    void log(text& line) { host_.log(line.view()); }
    void log(text&& line) { host_.log(line.view()); }
    void count(bool good) {
        ++states_;
        wrong_ += good ? 0 : 1;
    }

    host& host_;
    vmm<Machine, host>& monitor_;
    void* place_;
    bool in_bochs_;
    unsigned states_{0}, wrong_{0};
};

/// Registers, one by one.
template <typename Checks>
void check_registers(Checks& check) {
    struct row {
        std::string_view name;
        register_name which;
        std::uint64_t value;
    };
    using enum register_name;
    for (auto const& r : {row{"RIP is not canonical", rip, 1ull << 47},
                          {"RFLAGS bit 15", rflags, 0x8002},
                          {"RFLAGS bit 3", rflags, 0xa},
                          {"RFLAGS bits 63:22", rflags, 1ull << 40 | 2},
                          {"CR0 bits 63:32", cr0, 1ull << 32 | x86::cr0::pe},
                          {"CR0.PG without CR0.PE", cr0, x86::cr0::pg},
                          {"CR0.NW without CR0.CD", cr0, x86::cr0::nw},
                          {"CR3 beyond the physical addresses", cr3, 1ull << 60},
                          {"CR4 bit 31", cr4, 1u << 31},
                          {"CR4.VMXE", cr4, x86::cr4::vmxe},
                          {"CR4.SMXE", cr4, x86::cr4::smxe},
                          {"CR4.CET", cr4, x86::cr4::cet},
                          {"CR8 above 15", cr8, 16},
                          {"DR6 bits 63:32", dr6, 1ull << 32},
                          {"DR7 bits 63:32", dr7, 1ull << 32},
                          {"EFER bit 1", efer, 2},
                          {"EFER.SVME", efer, x86::efer::svme},
                          {"XCR0 without x87", xcr0, 2},
                          {"XCR0 with AVX and without SSE", xcr0, 5},
                          {"XCR0 with a state that nobody knows", xcr0, 1ull << 62 | 1}})
        check.refused(r.name, [&r](auto& cpu) { return set_register(cpu, r.which, r.value); });
    struct msr_row {
        std::string_view name;
        std::uint32_t index;
        std::uint64_t value;
    };
    for (auto const& r : {msr_row{"IA32_PAT with type 2", x86::msr::ia32_pat, 2},
                          {"IA32_LSTAR that is not canonical", x86::msr::ia32_lstar, 1ull << 47},
                          {"IA32_KERNEL_GS_BASE that is not canonical", x86::msr::ia32_kernel_gs_base, 1ull << 63},
                          {"an MSR that does not exist", 0x1fff, 0}})
        check.refused(r.name, [&r](auto& cpu) { return set_msr(cpu, r.index, r.value); });
}

/// Segment registers and table registers, one by one.
template <typename Checks>
void check_segments(Checks& check) {
    using enum x86::segment_name;
    struct row {
        std::string_view name;
        x86::segment_name which;
        x86::segment value;
    };
    for (auto const& r :
         {row{"CS is unusable", cs, {.access = 0x10000}},
          {"CS is a TSS", cs, {.limit = 0xffff, .access = 0x8b}},
          {"CS is a read-only data segment", cs, {.limit = 0xffff, .access = 0x91}},
          {"CS is not present", cs, {.limit = 0xffff, .access = 0x1b}},
          {"CS has reserved access rights", cs, {.limit = 0xffff, .access = 0x19b}},
          {"CS has bytes beyond 1 MiB", cs, {.limit = 0x10'0000, .access = 0x9b}},
          {"CS has pages and an odd limit", cs, {.limit = 0xffff'fffe, .access = 0xc09b}},
          {"SS is a code segment", ss, {.limit = 0xffff, .access = 0x9b}},
          {"SS is read-only", ss, {.limit = 0xffff, .access = 0x91}},
          {"DS is execute-only", ds, {.limit = 0xffff, .access = 0x99}},
          {"DS begins above 4 GiB", ds, {.base = 1ull << 32, .limit = 0xffff, .access = 0x93}},
          {"FS has a base that is not canonical", fs, {.base = 1ull << 47, .limit = 0xffff, .access = 0x93}},
          {"LDTR is a TSS", ldtr, {.limit = 0xffff, .access = 0x8b}},
          {"LDTR comes from the LDT", ldtr, {.limit = 0xffff, .access = 0x82, .selector = 4}},
          {"TR is unusable", tr, {.access = 0x10000}},
          {"TR is available", tr, {.limit = 0x67, .access = 0x89}},
          {"TR is not present", tr, {.limit = 0x67, .access = 0x0b}},
          {"TR has a base that is not canonical", tr, {.base = 1ull << 47, .limit = 0x67, .access = 0x8b}}})
        check.refused(r.name, [&r](auto& cpu) { return set_segment(cpu, r.which, r.value); });
    constexpr x86::descriptor_table nowhere{.base = 1ull << 47, .limit = 0xffff};
    check.refused("GDTR is not canonical",
                  [&](auto& cpu) { return set_descriptor_table(cpu, descriptor_table_name::gdtr, nowhere); });
    check.refused("IDTR is not canonical",
                  [&](auto& cpu) { return set_descriptor_table(cpu, descriptor_table_name::idtr, nowhere); });
}

/// Events that are restored as interrupted.
template <typename Checks>
void check_events(Checks& check) {
    struct row {
        std::string_view name;
        std::uint64_t raw;
    };
    for (auto const& r : {row{"an interrupted event of type 1", event::valid_bit | 1u << 8},
                          {"an interrupted event of type 5", event::valid_bit | 5u << 8},
                          {"an interrupted event with reserved bits", event::valid_bit | 1u << 12 | 0x30},
                          {"an interrupted NMI with another vector", event::valid_bit | 2u << 8 | 3},
                          {"an interrupted exception 32", event::valid_bit | 3u << 8 | 32}})
        check.refused(r.name, [&r](auto& cpu) { return cpu.events().set_interrupted({r.raw}); });
}

/// States whose registers do not go together. The last ones reach for the backend itself.
template <typename Checks>
void check_entries(Checks& check) {
    using enum x86::segment_name;
    using enum register_name;
    namespace cr0_bits = x86::cr0;
    constexpr auto ends_bochs = skipped("Bochs ends at it");
    auto const all = [](auto... answers) {
        auto worst = status::ok;
        (void)((worst = answers, worst == status::ok) and ...);
        return worst;
    };
    auto const long_mode = [all](auto& cpu) {
        return all(set_register(cpu, efer, x86::efer::lme), set_register(cpu, cr4, x86::cr4::pae),
                   set_register(cpu, cr0, cr0_bits::pg | cr0_bits::pe));
    };
    auto const flat = [](std::uint32_t access) { return x86::segment{.limit = 0xffff'ffff, .access = access}; };

    check.stopped("EFER.LME and CR0.PG without CR4.PAE", fails("EFER.LME and CR0.PG are both set and CR4.PAE is zero"),
                  fails("the guest is in IA-32e mode without CR0.PG and CR4.PAE"), [all](auto& cpu) {
                      return all(set_register(cpu, efer, x86::efer::lme),
                                 set_register(cpu, cr0, cr0_bits::pg | cr0_bits::pe));
                  });
    check.stopped("CS.L with CS.D in IA-32e mode", fails("EFER.LME, CR0.PG, CR4.PAE, CS.L, and CS.D are all non-zero"),
                  fails("CS.L and CS.D are both set in IA-32e mode"),
                  [&](auto& cpu) { return all(long_mode(cpu), set_segment(cpu, cs, flat(0xe09b))); });
    check.stopped("CR4.PCIDE outside IA-32e mode", enters, fails("CR4.PCIDE is set outside IA-32e mode"),
                  [](auto& cpu) { return set_register(cpu, cr4, x86::cr4::pcide); });
    check.stopped("RFLAGS.VM in real mode", enters, fails("RFLAGS.VM is set outside protected mode"),
                  [](auto& cpu) { return set_register(cpu, rflags, x86::rflags::vm | 2); });
    check.stopped("RFLAGS.VM in IA-32e mode", enters, fails("RFLAGS.VM is set outside protected mode"),
                  [&](auto& cpu) { return all(long_mode(cpu), set_register(cpu, rflags, x86::rflags::vm | 2)); });
    check.stopped("virtual-8086 mode with flat segments", enters,
                  fails("a segment of virtual-8086 mode is not what its selector says"), [&](auto& cpu) {
                      return all(set_register(cpu, cr0, cr0_bits::pe), set_segment(cpu, ds, flat(0xc0f3)),
                                 set_register(cpu, rflags, x86::rflags::vm | 2));
                  });
    check.stopped(
        "CS of ring 3 and SS of ring 0", enters, fails("the privilege levels of CS and SS do not agree"),
        [&](auto& cpu) { return all(set_register(cpu, cr0, cr0_bits::pe), set_segment(cpu, cs, flat(0xc0fb))); });
    check.stopped("SS of ring 3 in real mode", enters, fails("the privilege levels of CS and SS do not agree"),
                  [](auto& cpu) { return set_segment(cpu, ss, {.limit = 0xffff, .access = 0xf3}); });
    check.stopped("a 16-bit TSS in IA-32e mode", enters, fails("TR is no 64-bit TSS in IA-32e mode"), [&](auto& cpu) {
        return all(long_mode(cpu), set_segment(cpu, tr, {.limit = 0x2b, .access = 0x83}));
    });
    check.stopped("RIP above 4 GiB outside 64-bit mode", enters, fails("RIP is no address of this mode"),
                  [](auto& cpu) { return set_register(cpu, rip, 1ull << 32); });
    check.stopped("an injected interrupt with RFLAGS.IF clear", enters,
                  fails("an external interrupt is injected into a guest that takes none"), [](auto& cpu) {
                      cpu.hardware().inject(event::make(event_type::external_interrupt, 0x30));
                      return status::ok;
                  });
    check.stopped("an injected NMI while NMIs are blocked", enters,
                  check.in_bochs() ? skipped("Bochs enters it")
                                   : fails("an NMI is injected into a guest that takes none"),
                  [](auto& cpu) {
                      cpu.hardware().set_nmi_blocked(true);
                      cpu.hardware().inject(event::make(event_type::nmi, 2));
                      return status::ok;
                  });
    check.stopped("an injected event of type 1",
                  check.in_bochs() ? ends_bochs : fails("illegal event injection: reserved type"),
                  fails("VMfailValid 7: invalid control field, probably the injected event"), [](auto& cpu) {
                      cpu.hardware().inject({event::valid_bit | 1u << 8 | 0x30});
                      return status::ok;
                  });
    check.stopped("an injected exception 32",
                  check.in_bochs() ? ends_bochs : fails("illegal event injection: vector of no exception"),
                  fails("VMfailValid 7: invalid control field, probably the injected event"), [](auto& cpu) {
                      cpu.hardware().inject({event::valid_bit | 3u << 8 | 32});
                      return status::ok;
                  });
    check.stopped("CR0.PG without CR0.PE in the processor's own state",
                  check.in_bochs() ? ends_bochs : fails("EFER.LME and CR0.PG are both non-zero and CR0.PE is zero"),
                  fails("CR0.PG is set and CR0.PE is not"), [](auto& cpu) {
                      cpu.hardware().set_cr4(x86::cr4::pae);
                      cpu.hardware().set_efer(x86::efer::lme);
                      cpu.hardware().set_cr0(cr0_bits::pg);
                      return status::ok;
                  });
    check.stopped("IA32_PAT with type 2 in the processor's own state", enters,
                  fails("IA32_PAT holds a type that there is not"),
                  [](auto& cpu) { return cpu.hardware().set_msr(x86::msr::ia32_pat, 2); });
}

/// The program of an image: its exit status.
template <typename Machine>
auto prove_entry_checks(host& h, bare::boot_information const& boot) -> int {
    vmm<Machine, host> monitor{h};
    auto* const place = h.allocate(sizeof(vm<Machine, host>), page_size);
    if (monitor.enable() != status::ok or place == nullptr) {
        h.log("no virtualisation");
        return 2;
    }
    entry_checks<Machine> check{h, monitor, place, boot.command_line == "bochs"};
    check_registers(check);
    check_segments(check);
    check_events(check);
    check_entries(check);
    monitor.disable();
    text t;
    t.decimal(check.states()) << " broken states, ";
    h.log((t.decimal(check.wrong()) << " wrong").view());
    return check.wrong() == 0 ? 0 : 1;
}

} // namespace hv::test
