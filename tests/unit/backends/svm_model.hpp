// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "speculation_model.hpp"

#include <hv/backends/fake/translation_cache.hpp>
#include <hv/backends/svm.hpp>
#include <hv/event.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <stdexcept>
#include <vector>

namespace hv::test {

/// An SVM processor of the strictest kind that the manual allows. It uses its own copy of every VMCB member whose clean
/// bit is set, keeps nested translations by ASID until TLB_CONTROL says otherwise, does not clear EVENTINJ, leaves
/// everything alone that VMRUN, VMLOAD and VMSAVE do not switch, and refuses VMCBs by its own checks.
/// Numbers here are written down a second time on purpose. APM Vol. 2, Chapter 15 and Appendix B.
class svm_model {
  public:
    using vmcb = backends::svm::vmcb;

    struct logical_processor {
        backends::fake::translation_cache translations{};
        std::map<std::uint64_t, vmcb> cached{}; ///< by physical address
        std::array<std::uint64_t, 4> debug_addresses{};
        std::uint64_t debug_status{0xffff'0ff0}, debug_control{0x400}, xcr0{7}, cr2{0x7777};
        std::uint64_t host_saved{}; ///< where VMSAVE stored the host
        unsigned flushes_of_all{}, flushes_of_one{};
        speculation_model speculation{};
    };

    /// What a guest program sees and does between VMRUN and #VMEXIT.
    struct guest {
        svm_model& model;
        logical_processor& processor;
        vmcb state; ///< what the processor works with
        std::uint64_t* gprs;
        std::uint8_t length{}; ///< of the instruction that exits, for nRIP

        void exit(std::uint64_t code, std::uint64_t info1 = 0, std::uint64_t info2 = 0) {
            state.control.exitcode = code;
            state.control.exitinfo1 = info1;
            state.control.exitinfo2 = info2;
        }
        /// Host-physical address of guest memory; without one the exit is a nested page fault.
        [[nodiscard]] auto reach(gpa address, access wanted) -> std::optional<hpa> {
            backends::fake::translation_fault fault;
            auto const where = processor.translations.translate(model.host_, state.control.guest_asid,
                                                                hpa{state.control.n_cr3}, address, wanted, fault);
            if (not where)
                exit(0x400,
                     (fault.present ? 1u : 0u) | (includes(wanted, access::write) ? 2u : 0u) | 4u |
                         (includes(wanted, access::execute) ? 16u : 0u) | std::uint64_t{1} << 32,
                     address.value);
            return where;
        }
    };
    using program = std::function<void(guest&)>;

    explicit svm_model(hosted::host& host, unsigned count = 2) : processors(count), host_{host} {}

    std::vector<logical_processor> processors;
    std::uint32_t asids{16};
    bool has_clean_bits{true}, has_flush_by_asid{true}, has_next_rip{true}, has_tsc_ratio{true};
    std::uint32_t other_features{}; ///< bits of CPUID 8000_000Ah EDX
    bool keeps_shadow{true};        ///< QEMU's does not
    bool loads_cr2{true};           ///< Bochs's does not
    bool keeps_refused{true};       ///< QEMU takes the event out of a refused VMCB, Bochs puts the host's state in
    program next{};                 ///< executed by the next VMRUN
    std::vector<event> delivered{}; ///< events that reached the guest
    std::uint64_t entries{};

    [[nodiscard]] auto current() -> logical_processor& { return processors.at(host_.processor()); }

    void vmrun(std::uint64_t* gprs, hpa where, hpa host_state, bool mitigates) {
        ++entries;
        auto& p = current();
        if (p.host_saved != host_state.value)
            throw std::logic_error{"VMLOAD of a host state that no VMSAVE stored here"};
        auto& memory = *static_cast<vmcb*>(host_.pointer(where));
        guest g{*this, p, load(p, where.value, memory), gprs};
        auto& control = g.state.control;
        if (is_refused(g.state)) {
            memory.control.exitcode = ~std::uint64_t{0};
            if (not keeps_refused) {
                memory.control.exitintinfo = memory.control.eventinj;
                memory.control.eventinj = 0;
                memory.write(memory.save.cr0, 0x8000'0033);
                memory.write(memory.save.cr4, 0x20);
                memory.write(memory.save.efer, 0x1d00);
            }
            return;
        }
        p.speculation.run(mitigates, where.value, gprs[16], g.state.save.spec_ctrl);
        flush(p, control.tlb_control, control.guest_asid);
        control.exitintinfo = 0;
        control.bytes_fetched = 0;
        if (not keeps_shadow)
            control.interrupt_shadow = 0;
        if (not loads_cr2)
            g.state.write(g.state.save.cr2, p.cr2);
        deliver(g.state);
        if (window_opens(g.state))
            g.exit(0x64);
        else if (next)
            std::exchange(next, {})(g);
        else
            g.exit(0x7f);
        control.nrip = has_next_rip and g.length != 0 ? g.state.save.rip + g.length : 0;
        store(memory, g.state);
        p.cr2 = g.state.save.cr2;
        p.cached.insert_or_assign(where.value, g.state);
    }

  private:
    struct covered {
        unsigned clean_bit;
        std::size_t offset, size;
    };
    /// APM Vol. 2, "VMCB Clean Bits".
    static constexpr covered cached_members[]{
        {0, 0x000, 0x18},  {0, 0x03c, 4},    {0, 0x050, 8},     // intercepts, pause filter, TSC
        {1, 0x040, 0x10},                                       // permission maps
        {2, 0x058, 4},                                          // ASID
        {3, 0x060, 8},                                          // virtual interrupt
        {4, 0x090, 8},     {4, 0x0b0, 8},    {4, 0x668, 8},     // nested paging, gPAT
        {5, 0x4d0, 8},     {5, 0x548, 0x18},                    // EFER, CR4, CR3, CR0
        {6, 0x560, 0x10},                                       // DR7, DR6
        {7, 0x460, 0x10},  {7, 0x480, 0x10},                    // GDTR, IDTR
        {8, 0x400, 0x40},  {8, 0x4cb, 1},                       // ES, CS, SS, DS, CPL
        {9, 0x640, 8},                                          // CR2
        {10, 0x670, 0x28},                                      // DBGCTL and last branches
        {11, 0x098, 8},    {11, 0x0e0, 8},   {11, 0x0f0, 0x10}, // AVIC
        {12, 0x5e0, 0x18},                                      // shadow stacks
    };

    [[nodiscard]] auto load(logical_processor& p, std::uint64_t where, vmcb const& memory) -> vmcb {
        auto state = memory;
        auto const clean = memory.control.clean_bits;
        if (clean == 0)
            return state;
        if (not has_clean_bits)
            throw std::logic_error{"clean bits set for a processor without them"};
        auto const own = p.cached.find(where);
        if (own == p.cached.end())
            throw std::logic_error{"clean bits set for a VMCB that this processor never ran"};
        for (auto const& member : cached_members)
            if ((clean >> member.clean_bit & 1) != 0)
                std::memcpy(reinterpret_cast<std::byte*>(&state) + member.offset,
                            reinterpret_cast<std::byte const*>(&own->second) + member.offset, member.size);
        return state;
    }

    /// #VMEXIT stores the guest's state and the exit; what it does not store keeps the memory's value.
    static void store(vmcb& memory, vmcb const& state) {
        auto const copy = [&](std::size_t offset, std::size_t size) {
            std::memcpy(reinterpret_cast<std::byte*>(&memory) + offset,
                        reinterpret_cast<std::byte const*>(&state) + offset, size);
        };
        copy(0x060, 0x30);          // virtual interrupt, shadow, exit
        copy(0x0c8, 0x18);          // nRIP, instruction bytes
        copy(0x400, 0xc00 - 0x400); // guest state, with VMSAVE's part
        copy(0xc00, 0x400);
    }

    [[nodiscard]] auto is_refused(vmcb const& b) const -> bool {
        auto const cr0 = std::uint64_t{b.save.cr0}, efer = std::uint64_t{b.save.efer};
        auto const paged_long_mode = (efer & 0x100) != 0 and (cr0 & 0x8000'0000) != 0;
        auto const inject = b.control.eventinj;
        auto const type = inject >> 8 & 7;
        return (efer & 0x1000) == 0 or (cr0 & 0x6000'0000) == 0x2000'0000 or cr0 >> 32 != 0 or b.save.dr6 >> 32 != 0 or
               b.save.dr7 >> 32 != 0 or (paged_long_mode and (b.save.cr4 & 0x20) == 0) or
               (paged_long_mode and (cr0 & 1) == 0) or (b.control.intercept_misc2 & 1) == 0 or
               b.control.guest_asid == 0 or b.control.guest_asid >= asids or
               ((inject & 0x8000'0000) != 0 and (type == 1 or type > 4));
    }

    void flush(logical_processor& p, std::uint32_t how, std::uint32_t asid) const {
        switch (how & 0xff) {
        case 0:
            return;
        case 1:
            ++p.flushes_of_all;
            return p.translations.flush_all();
        case 3:
            if (not has_flush_by_asid)
                throw std::logic_error{"TLB_CONTROL 3 on a processor without FlushByAsid"};
            ++p.flushes_of_one;
            return p.translations.flush(asid);
        default:
            throw std::logic_error{"TLB_CONTROL value that nothing here uses"};
        }
    }

    /// Through an interrupt gate, unless the program says that the delivery exited.
    void deliver(vmcb& b) {
        event const e{b.control.eventinj};
        if (not e.valid())
            return;
        delivered.push_back(e);
        b.save.rflags &= ~std::uint64_t{0x200};
        b.control.interrupt_shadow = 0;
    }

    [[nodiscard]] static auto window_opens(vmcb const& b) -> bool {
        auto const v = std::uint64_t{b.control.v_intr};
        bool const wins{(v & 1u << 20) != 0 or (v >> 16 & 0xf) > (v & 0xf)};
        return (v & 1u << 8) != 0 and wins and (b.control.intercept_misc1 & 1u << 4) != 0 and
               (b.save.rflags & 0x200) != 0 and (b.control.interrupt_shadow & 1) == 0;
    }

    hosted::host& host_;
};

/// What basic_svm takes for its world switch.
struct modelled_world_switch {
    static inline svm_model* model{};

    template <bool Mitigates>
    static void enter(std::uint64_t* gprs, hpa guest, hpa host) {
        model->vmrun(gprs, guest, host, Mitigates);
    }
    static void write_msr(std::uint32_t index, std::uint64_t v) { model->current().speculation.write_msr(index, v); }
    static void write_cr2(std::uint64_t v) { model->current().cr2 = v; }
    static void save_host(hpa host) { model->current().host_saved = host.value; }
    [[nodiscard]] static auto read_debug_registers() { return model->current().debug_addresses; }
    static void write_debug_registers(std::array<std::uint64_t, 4> const& d) { model->current().debug_addresses = d; }
    [[nodiscard]] static auto read_debug_status() { return model->current().debug_status; }
    static void write_debug_status(std::uint64_t v) { model->current().debug_status = v; }
    [[nodiscard]] static auto read_debug_control() { return model->current().debug_control; }
    static void write_debug_control(std::uint64_t v) { model->current().debug_control = v; }
    [[nodiscard]] static auto read_xcr0() { return model->current().xcr0; }
    static void write_xcr0(std::uint64_t v) { model->current().xcr0 = v; }
};

using modelled_svm = basic_svm<modelled_world_switch>;
static_assert(hardware_backend<modelled_svm, hosted::host>);

} // namespace hv::test
