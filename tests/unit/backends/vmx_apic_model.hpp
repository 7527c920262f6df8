// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "vmx_model.hpp"

#include <hv/address.hpp>
#include <hv/event.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

namespace hv::test {

/// What a VMX processor does about the local APIC of a guest, in one stay. Numbers here are written down a second time
/// on purpose. SDM Vol. 3C, "APIC Virtualization and Virtual Interrupts".
class vmx_virtual_apic {
  public:
    /// How an instruction ended: behind it, at an exit that did nothing of it, or at one behind it.
    enum class end { completed, faulted, trapped };

    vmx_virtual_apic(hosted::host& host, vmx_model::guest& g)
        : host_{host}, g_{g}, page_{static_cast<std::uint32_t*>(host.pointer(hpa{g.state.at(0x2012)}))} {}

    /// VM entry.
    void enter() {
        if (not delivers())
            return;
        compute_ppr();
        evaluate();
    }
    /// The vector that the guest takes before its next instruction, if it takes one.
    [[nodiscard]] auto take() -> std::optional<std::uint8_t> {
        auto const flags = g_.state.at(0x6820), state = g_.state.at(0x4824);
        if (not recognized_ or (flags & 0x200) == 0 or (state & 3) != 0)
            return std::nullopt;
        recognized_ = false;
        auto const vector = requested();
        word(0x100 + vector / 32 * 0x10) |= 1u << vector % 32;
        word(0x200 + vector / 32 * 0x10) &= ~(1u << vector % 32);
        word(0xa0) = vector & 0xf0u;
        set_status(highest(0x200), vector);
        return vector;
    }

    /// A load of four bytes, which goes into EAX.
    [[nodiscard]] auto load(unsigned offset) -> end {
        if (not reaches(offset, access::read))
            return end::faulted;
        if (not register_virtualized(offset, false)) {
            g_.exit(44, offset);
            return end::faulted;
        }
        g_.gprs[0] = word(offset);
        return end::completed;
    }
    [[nodiscard]] auto store(unsigned offset, std::uint32_t value) -> end {
        if (not reaches(offset, access::write))
            return end::faulted;
        if (not register_virtualized(offset, true)) {
            g_.exit(44, 0x1000 | offset);
            return end::faulted;
        }
        word(offset) = value;
        switch (offset) {
        case 0x80:
            word(offset) &= 0xff;
            return tpr_changed();
        case 0xb0:
            word(offset) = 0;
            return end_interrupt();
        case 0x300:
            if ((value & 0xfff3'3000) == 0 and (value >> 18 & 3) == 1 and (value & 0x8700) == 0 and (value & 0xf0) != 0)
                return self_ipi(static_cast<std::uint8_t>(value));
            break;
        case 0x310:
            word(offset) &= 0xff00'0000;
            return end::completed;
        default:
            break;
        }
        g_.exit(56, offset);
        return end::trapped;
    }
    /// RDMSR of 800h to 8FFh. The value is in EDX:EAX.
    [[nodiscard]] auto read_msr(std::uint32_t index) -> end {
        if (exits_by_bitmap(index, 0)) {
            g_.exit(31);
            return end::faulted;
        }
        if (not on(4) or not(on(8) or index == 0x808))
            throw std::logic_error{"the guest reads an MSR of the host's APIC"};
        g_.gprs[0] = word((index & 0xff) << 4);
        g_.gprs[2] = word(((index & 0xff) << 4) + 4);
        return end::completed;
    }
    /// WRMSR; nothing if it raises #GP.
    [[nodiscard]] auto write_msr(std::uint32_t index, std::uint64_t value) -> std::optional<end> {
        if (exits_by_bitmap(index, 0x4000)) {
            g_.exit(32);
            return end::faulted;
        }
        if (not on(4) or not(index == 0x808 or (on(9) and (index == 0x80b or index == 0x83f))))
            throw std::logic_error{"the guest writes an MSR of the host's APIC"};
        if (value >> 8 != 0 or (index == 0x80b and value != 0))
            return std::nullopt;
        word((index & 0xff) << 4) = static_cast<std::uint32_t>(value);
        if (index == 0x808)
            return tpr_changed();
        if (index == 0x80b)
            return end_interrupt();
        if ((value & 0xf0) != 0)
            return self_ipi(static_cast<std::uint8_t>(value));
        g_.exit(56, 0x3f0);
        return end::trapped;
    }
    [[nodiscard]] auto move_to_cr8(std::uint8_t value) -> end {
        word(0x80) = value * 16u;
        return tpr_changed();
    }

  private:
    [[nodiscard]] auto on(unsigned control) const -> bool { return (g_.state.at(0x401e) >> control & 1) != 0; }
    [[nodiscard]] auto delivers() const -> bool { return on(9); }
    [[nodiscard]] auto word(unsigned offset) -> std::uint32_t& { return page_[offset / 4]; }
    [[nodiscard]] auto requested() const -> std::uint8_t { return static_cast<std::uint8_t>(g_.state.at(0x810)); }
    [[nodiscard]] auto in_service() const -> std::uint8_t { return static_cast<std::uint8_t>(g_.state.at(0x810) >> 8); }
    void set_status(std::uint8_t rvi, std::uint8_t svi) { g_.state.set(0x810, rvi | std::uint64_t{svi} << 8); }
    [[nodiscard]] auto highest(unsigned first) -> std::uint8_t {
        for (unsigned vector{256}; vector-- > 0;)
            if ((word(first + vector / 32 * 0x10) >> vector % 32 & 1) != 0)
                return static_cast<std::uint8_t>(vector);
        return 0;
    }

    /// The nested tables come first; behind them must be the page that the processor watches.
    [[nodiscard]] auto reaches(unsigned offset, access wanted) -> bool {
        auto const where = g_.reach(gpa{0xfee0'0000ull + offset}, wanted);
        if (not where)
            return false;
        if (not on(0) or (where->value & ~std::uint64_t{0xfff}) != g_.state.at(0x2014))
            throw std::logic_error{"the guest reaches memory at its APIC's address"};
        return true;
    }
    [[nodiscard]] auto register_virtualized(unsigned offset, bool write) const -> bool {
        if (offset == 0x80 or (delivers() and write and (offset == 0xb0 or offset == 0x300)))
            return true;
        if (not on(8))
            return false;
        switch (offset) {
        case 0x30:
            return not write;
        case 0x20:
        case 0xb0:
        case 0xd0:
        case 0xe0:
        case 0xf0:
        case 0x280:
        case 0x300:
        case 0x310:
        case 0x320:
        case 0x330:
        case 0x340:
        case 0x350:
        case 0x360:
        case 0x370:
        case 0x380:
        case 0x3e0:
            return true;
        default:
            return not write and offset >= 0x100 and offset < 0x280;
        }
    }
    [[nodiscard]] auto exits_by_bitmap(std::uint32_t index, std::uint32_t half) -> bool {
        auto const* const map = static_cast<std::uint8_t const*>(host_.pointer(hpa{g_.state.at(0x2004)}));
        auto const bit = index + half;
        return (map[bit / 8] >> bit % 8 & 1) != 0;
    }

    void compute_ppr() {
        auto const tpr = word(0x80) & 0xff;
        word(0xa0) = tpr >> 4 >= in_service() >> 4u ? tpr : in_service() & 0xf0u;
    }
    void evaluate() {
        if ((g_.state.at(0x4002) & 4) == 0 and requested() >> 4u > (word(0xa0) >> 4 & 0xf))
            recognized_ = true;
    }
    [[nodiscard]] auto tpr_changed() -> end {
        if (delivers()) {
            compute_ppr();
            evaluate();
            return end::completed;
        }
        if ((word(0x80) >> 4 & 0xf) >= g_.state.at(0x401c))
            return end::completed;
        g_.exit(43);
        return end::trapped;
    }
    [[nodiscard]] auto end_interrupt() -> end {
        auto const vector = in_service();
        word(0x100 + vector / 32 * 0x10) &= ~(1u << vector % 32);
        set_status(requested(), highest(0x100));
        compute_ppr();
        if ((g_.state.at(0x201c + vector / 64 * 2u) >> vector % 64 & 1) != 0) {
            g_.exit(45, vector);
            return end::trapped;
        }
        evaluate();
        return end::completed;
    }
    [[nodiscard]] auto self_ipi(std::uint8_t vector) -> end {
        word(0x200 + vector / 32 * 0x10) |= 1u << vector % 32;
        set_status(requested() > vector ? requested() : vector, in_service());
        evaluate();
        return end::completed;
    }

    hosted::host& host_;
    vmx_model::guest& g_;
    std::uint32_t* page_;
    bool recognized_{};
};

} // namespace hv::test
