// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/backends/backend.hpp>
#include <hv/backends/fake/processor.hpp>
#include <hv/backends/fake/script.hpp>
#include <hv/backends/fake/vm.hpp>
#include <hv/event.hpp>
#include <hv/status.hpp>
#include <hv/text.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/msr.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace hv::backends::fake {

/// The registers and the event slot of a scripted guest. Everything that happened to it is public.
class vcpu {
  public:
    static constexpr bool loads_page_directory_pointers{true};

    // What a test gives and reads.
    std::vector<script::step> script{};  ///< of the guest, from its first step
    std::vector<event> delivered{};      ///< events that reached the guest, in order
    std::vector<std::uint64_t> loaded{}; ///< values of all loads, in order
    std::uint64_t entries{}, flushes{};  ///< world switches; flushes asked for
    std::uint64_t tsc_offset{};
    bool watches_task_priority{};
    unsigned nmi_window_requests{};
    bool bounds_stay{};                  ///< a test gives the processor a timer of its own
    std::uint64_t stay_ends{UINT64_MAX}; ///< on the host's TSC
    struct speculation_record {
        std::uint64_t value{};
        unsigned barriers{}, flushes{};

        [[nodiscard]] auto control() const -> std::uint64_t { return value; }
        void set_control(std::uint64_t v) { value = v; }
        void request_barrier() { ++barriers; }
        void request_level1_flush() { ++flushes; }
    };
    /// What the guest asked for against side channels.
    [[nodiscard]] auto speculation() -> speculation_record& { return speculation_; }
    /// The handler of an event: what the guest executes once it was delivered, to `iret`. Without one the script just
    /// goes on.
    std::function<std::vector<script::step>(event)> handler{};
    /// Starts a script at its first step, in place of what is left of the last one.
    void run_script(std::vector<script::step> steps) {
        script = std::move(steps);
        interrupted_scripts_.clear();
        next_ = 0;
        exited_ = 0;
    }
    /// Of `script::act`: the guest goes on at this step.
    void jump(std::size_t step) { jump_ = step; }
    /// The delivery of the next event exits like this.
    void delivery_will_exit(script::any_exit const& exit) { delivery_exit_ = exit; }
    [[nodiscard]] auto steps_done() const -> std::size_t { return next_; }
    [[nodiscard]] auto window_requested() const -> bool { return window_; }

    template <typename Host>
    [[nodiscard]] auto create(Host& host, vm const& machine) -> status {
        destroy(host);
        auto keep = std::move(script);
        *this = vcpu{};
        script = std::move(keep);
        page_ = host.allocate(page_size, page_size);
        if (page_ == nullptr)
            return status::out_of_memory;
        machine_ = &machine;
        for (auto const index : held_msrs)
            msrs_[index] = 0;
        return status::ok;
    }
    template <typename Host>
    void destroy(Host& host) {
        if (page_ != nullptr)
            host.free(page_, page_size);
        page_ = nullptr;
    }
    template <typename Host>
    void attach(Host&, processor&) {
        attached_ = true;
    }
    template <typename Host>
    void detach(Host&, processor&) {
        attached_ = false;
    }

    [[nodiscard]] auto gpr(x86::gpr name) const -> std::uint64_t { return gprs_.at(static_cast<unsigned>(name)); }
    void set_gpr(x86::gpr name, std::uint64_t value) { gprs_.at(static_cast<unsigned>(name)) = value; }
    [[nodiscard]] auto rip() const -> std::uint64_t { return rip_; }
    void set_rip(std::uint64_t value) {
        if (value != rip_)
            shadow_ = false;
        rip_ = value;
    }
    [[nodiscard]] auto rflags() const -> std::uint64_t { return rflags_; }
    void set_rflags(std::uint64_t value) { rflags_ = value | x86::rflags::fixed_one; }
    [[nodiscard]] auto cr0() const -> std::uint64_t { return cr0_; }
    void set_cr0(std::uint64_t value) {
        cr0_ = (value & x86::cr0::defined) | x86::cr0::et;
        set_efer(efer_);
    }
    [[nodiscard]] auto cr2() const -> std::uint64_t { return cr2_; }
    void set_cr2(std::uint64_t value) { cr2_ = value; }
    [[nodiscard]] auto cr3() const -> std::uint64_t { return cr3_; }
    void set_cr3(std::uint64_t value) { cr3_ = value; }
    [[nodiscard]] auto cr4() const -> std::uint64_t { return cr4_; }
    void set_cr4(std::uint64_t value) {
        cr4_ = value & ~(machine_ != nullptr and machine_->controls.hide_xsave ? x86::cr4::osxsave : 0);
    }
    [[nodiscard]] auto efer() const -> std::uint64_t { return efer_; }
    void set_efer(std::uint64_t value) {
        bool const on{(value & x86::efer::lme) != 0 and (cr0_ & x86::cr0::pg) != 0};
        efer_ = (value & ~(x86::efer::lma | x86::efer::svme)) | (on ? x86::efer::lma : 0);
    }
    [[nodiscard]] auto debug_register(unsigned number) const -> std::uint64_t { return debug_.at(number); }
    void set_debug_register(unsigned number, std::uint64_t value) {
        debug_.at(number) = number < 4 ? value : value & 0xffff'ffff;
    }
    [[nodiscard]] auto segment(x86::segment_name name) const -> x86::segment {
        return segments_.at(static_cast<unsigned>(name));
    }
    void set_segment(x86::segment_name name, x86::segment const& value) {
        segments_.at(static_cast<unsigned>(name)) = value;
    }
    [[nodiscard]] auto gdtr() const -> x86::descriptor_table { return gdtr_; }
    void set_gdtr(x86::descriptor_table const& t) { gdtr_ = t; }
    [[nodiscard]] auto idtr() const -> x86::descriptor_table { return idtr_; }
    void set_idtr(x86::descriptor_table const& t) { idtr_ = t; }
    [[nodiscard]] auto cpl() const -> std::uint8_t {
        return static_cast<std::uint8_t>((segment(x86::segment_name::ss).access & x86::segment_access::dpl) >>
                                         x86::segment_access::dpl_shift);
    }
    /// All that decides how instructions are fetched: see hv::code_page.
    [[nodiscard]] auto fetch_state() const -> std::array<std::uint64_t, 3> {
        auto const& code = segment(x86::segment_name::cs);
        return {cr3_, cr0_ | cr4_ << 32, efer_ << 32 | std::uint64_t{code.access} << 8 | cpl()};
    }
    [[nodiscard]] auto msr(std::uint32_t index) const -> result<std::uint64_t> {
        auto const found = msrs_.find(index);
        return found == msrs_.end() ? result<std::uint64_t>{status::invalid_argument} : found->second;
    }
    [[nodiscard]] auto set_msr(std::uint32_t index, std::uint64_t value) -> status {
        auto const found = msrs_.find(index);
        if (found == msrs_.end())
            return status::invalid_argument;
        found->second = index == x86::msr::ia32_tsc_aux ? value & 0xffff'ffff : value;
        return status::ok;
    }
    [[nodiscard]] auto xcr0() const -> std::uint64_t { return xcr0_; }
    void set_xcr0(std::uint64_t value) { xcr0_ = value; }

    void inject(event e) { slot_ = e; }
    [[nodiscard]] auto injection_pending() const -> bool { return slot_.valid(); }
    [[nodiscard]] auto withdraw_injection() -> event { return std::exchange(slot_, event{}); }
    [[nodiscard]] auto take_interrupted_event() -> event { return std::exchange(interrupted_, event{}); }
    [[nodiscard]] auto interrupt_shadow() const -> bool { return shadow_; }
    void set_interrupt_shadow(bool on) { shadow_ = on; }
    [[nodiscard]] auto nmi_blocked() const -> bool { return nmi_blocked_; }
    void set_nmi_blocked(bool on) { nmi_blocked_ = on; }
    void request_interrupt_window(bool on) { window_ = on; }
    [[nodiscard]] auto task_priority() const -> std::uint8_t { return task_priority_; }
    void set_task_priority(std::uint8_t priority) { task_priority_ = priority & 0xf; }
    [[nodiscard]] auto can_bound_stay() const -> bool { return bounds_stay; }
    void bound_stay(std::uint64_t tsc, std::uint32_t ticks) {
        stay_ends = tsc;
        least_stay_ = ticks;
    }
    void request_nmi_window() { ++nmi_window_requests; }
    void watch_task_priority(bool on) { watches_task_priority = on; }

    [[nodiscard]] auto instruction_length() const -> std::uint8_t { return length_; }
    [[nodiscard]] auto end_of_instruction() const -> std::uint64_t { return length_ != 0 ? rip_ + length_ : 0; }
    void set_tsc_offset(std::uint64_t value) { tsc_offset = value; }
    void flush_translations() {
        flush_ = true;
        ++flushes;
    }
    template <typename Host>
    void dump(Host& host) const {
        text_line<> line;
        host.log(line.text("fake step ").decimal(next_).text(" rip ").hex(rip_).text(" rflags ").hex(rflags_).view());
    }

  private:
    friend class guest_run;

    static constexpr std::array held_msrs{
        x86::msr::ia32_sysenter_cs, x86::msr::ia32_sysenter_esp, x86::msr::ia32_sysenter_eip,   x86::msr::ia32_pat,
        x86::msr::ia32_star,        x86::msr::ia32_lstar,        x86::msr::ia32_cstar,          x86::msr::ia32_fmask,
        x86::msr::ia32_fs_base,     x86::msr::ia32_gs_base,      x86::msr::ia32_kernel_gs_base, x86::msr::ia32_tsc_aux};

    /// What an IRET goes back to.
    struct interrupted_script {
        std::vector<script::step> script;
        std::size_t next;
        std::uint64_t rip, rflags;
        std::array<std::uint64_t, x86::gpr_count> gprs;
    };

    vm const* machine_{};
    void* page_{};
    std::size_t next_{}; ///< step to execute
    std::optional<std::size_t> jump_{};
    std::vector<interrupted_script> interrupted_scripts_{};
    unsigned exited_{};        ///< how often it did without progress
    std::uint64_t exit_rip_{}; ///< where it did
    std::optional<script::any_exit> delivery_exit_{};
    std::array<std::uint64_t, x86::gpr_count> gprs_{};
    std::uint64_t rip_{0xfff0}, rflags_{x86::rflags::fixed_one}, cr0_{x86::cr0::et}, cr2_{}, cr3_{}, cr4_{}, efer_{};
    std::uint64_t xcr0_{1};
    std::array<std::uint64_t, 8> debug_{};
    std::array<x86::segment, x86::segment_count> segments_{};
    x86::descriptor_table gdtr_{}, idtr_{};
    std::map<std::uint32_t, std::uint64_t> msrs_{};
    speculation_record speculation_{};
    event slot_{}, interrupted_{};
    processor const* last_processor_{};
    std::uint64_t tag_{};
    std::uint32_t least_stay_{}; ///< ticks of the next stay that no deadline ends
    std::uint8_t task_priority_{}, length_{};
    bool shadow_{}, nmi_blocked_{}, window_{}, flush_{}, attached_{};
};

} // namespace hv::backends::fake
