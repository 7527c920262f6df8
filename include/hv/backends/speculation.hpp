// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/x86/msr.hpp>

#include <cstdint>

/// What both vendors' backends do for machines with hv::mitigation_policy::defaults.
namespace hv::backends {

/// What one processor has, and needs, against side channels of speculation. Found at start-up.
struct speculation {
    std::uint64_t control{}; ///< bits of IA32_SPEC_CTRL that it has; 0: there is no such MSR
    bool virtual_control{};  ///< entries and exits exchange IA32_SPEC_CTRL themselves
    bool barrier{};          ///< IBPB: a write to IA32_PRED_CMD
    bool barrier_at_exit{};  ///< returns are predicted from what the guest trained: each exit needs one
    bool clear_buffers{};    ///< VERW overwrites buffers that a guest could look into
    bool level1_flush{};     ///< IA32_FLUSH_CMD
    bool flush_at_entry{};   ///< a guest could look into the level 1 data cache
};

/// What the world switch itself does, a bit each, in the word behind the guest's registers.
namespace switch_work {
inline constexpr std::uint64_t clear_buffers{1u << 0};   ///< VERW before the entry
inline constexpr std::uint64_t barrier_at_exit{1u << 1}; ///< IBPB before the first return behind an exit
} // namespace switch_work

/// Calls with which the world switch fills the return predictor behind an exit: as many as the largest one holds.
inline constexpr int return_fillers{32};

/// What is known of speculation on one processor, between the vCPUs that run there.
struct processor_speculation {
    speculation has{};
    std::uint64_t host_control{}; ///< IA32_SPEC_CTRL of the host
    void const* last{};           ///< the vCPU whose branches the processor remembers
};

/// One vCPU's IA32_SPEC_CTRL, and what its entries do beside the world switch.
template <typename WorldSwitch>
class guest_speculation {
  public:
    /// IA32_SPEC_CTRL of the guest, which runs with the host's bits besides. Bits that the processor lacks do nothing.
    [[nodiscard]] auto control() const -> std::uint64_t { return control_; }
    void set_control(std::uint64_t value) {
        control_ = value;
        due_ |= due_control;
    }
    /// What the guest asked for itself, before its next instruction: an IBPB, a flush of the level 1 data cache.
    void request_barrier() { due_ |= due_barrier; }
    void request_level1_flush() { due_ |= due_flush; }
    /// What the processor is to exchange by itself.
    [[nodiscard]] auto virtual_control() const -> std::uint64_t { return virtual_; }

    /// The first entry of a stay on a processor; answers the work of its world switches. `moved`: the last stay was
    /// elsewhere, or there was none.
    template <typename Host>
    [[nodiscard]] auto begin(Host& host, processor_speculation& on, bool moved) -> std::uint64_t {
        auto const& has = on.has;
        on.host_control = 0;
        if (has.control != 0)
            if (auto const value = host.read_msr(x86::msr::ia32_spec_ctrl))
                on.host_control = value.value;
        due_ |= due_control;
        if (moved or on.last != this)
            due_ |= due_barrier;
        on.last = this;
        return (has.clear_buffers ? switch_work::clear_buffers : 0) |
               (has.barrier_at_exit ? switch_work::barrier_at_exit : 0);
    }
    /// Last before the world switch. True if something was to do, so that virtual_control may have moved.
    [[gnu::always_inline]] auto enter(processor_speculation const& on) -> bool {
        if (due_ == 0) [[likely]]
            return false;
        obey(on);
        return true;
    }
    /// First behind it.
    [[gnu::always_inline]] void leave(processor_speculation const& on) const {
        if ((due_ & due_exchange) != 0) [[unlikely]]
            WorldSwitch::write_msr(x86::msr::ia32_spec_ctrl, on.host_control);
    }

  private:
    static constexpr std::uint8_t due_control{1u << 0}, due_barrier{1u << 1}, due_flush{1u << 2}, due_exchange{1u << 3};

    [[gnu::noinline]] void obey(processor_speculation const& on) {
        auto const& has = on.has;
        virtual_ = has.virtual_control ? control_ & has.control : 0;
        auto const switched = on.host_control | (has.virtual_control ? 0 : control_ & has.control);
        if ((due_ & due_barrier) != 0 and has.barrier)
            WorldSwitch::write_msr(x86::msr::ia32_pred_cmd, x86::pred_cmd::ibpb);
        if (has.level1_flush and (has.flush_at_entry or (due_ & due_flush) != 0))
            WorldSwitch::write_msr(x86::msr::ia32_flush_cmd, x86::flush_cmd::l1d_flush);
        bool const exchanges{switched != on.host_control};
        if (exchanges)
            WorldSwitch::write_msr(x86::msr::ia32_spec_ctrl, switched);
        due_ = static_cast<std::uint8_t>((has.flush_at_entry ? due_flush : 0) | (exchanges ? due_exchange : 0));
    }

    std::uint64_t control_{};
    std::uint64_t virtual_{};
    std::uint8_t due_{};
};

} // namespace hv::backends
