// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/outcome.hpp>
#include <hv/emulate/task_segments.hpp>
#include <hv/emulate/task_state.hpp>
#include <hv/exit.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/descriptor.hpp>

#include <cstdint>

namespace hv {

/// A task switch as the processor reports it: the new TSS and the privileges have been checked.
struct task_switch_request {
    std::uint16_t selector{}; ///< of the new TSS
    exits::task_switch::source reason{};
    std::uint32_t next_eip{}; ///< where the old task goes on
    std::uint32_t eflags{};   ///< of the old task, RF as it is to be saved
    bool external{};          ///< an event asks that no instruction of the guest raised: EXT in error codes
    bool has_error_code{};
    std::uint32_t error_code{}; ///< for the new task's stack
};

/// How far a task switch came.
struct [[nodiscard]] task_switch_result {
    obstacle stop{};  ///< the exception that follows: in the old task, or in the new one
    bool committed{}; ///< the new task runs
};

namespace detail {

/// One task switch outside IA-32e mode. SDM Vol. 3A, "Task Switching". Up to the commit nothing that the guest sees
/// has changed.
template <task_cpu Cpu>
class task_switcher {
  public:
    task_switcher(Cpu& cpu, task_switch_request const& request) : cpu_{cpu}, request_{request} {}

    [[gnu::cold]] auto run() -> task_switch_result {
        if (auto const stop = find_new_task())
            return {stop};
        if (auto const stop = find_old_task())
            return {stop};
        if (auto const stop = load_cr3())
            return {stop};
        leave_old_task();
        enter_new_task();
        return {load_new_task(), true};
    }

  private:
    using source = exits::task_switch::source;

    /// Whether the old task waits for an IRET of the new one.
    [[nodiscard]] auto nests() const -> bool {
        return request_.reason == source::call or request_.reason == source::gate;
    }
    [[nodiscard]] auto returns() const -> bool { return request_.reason == source::iret; }
    [[nodiscard]] auto ext() const -> std::uint32_t { return request_.external ? 1 : 0; }
    [[nodiscard]] auto fault(x86::exception vector, std::uint16_t selector) const -> obstacle {
        return obstacle::fault(vector, x86::selector::error_code(selector) | ext());
    }
    [[nodiscard]] static auto layout_of(x86::segment const& tss) -> task_layout const& {
        return (tss.access & x86::system_type::is_32_bit_tss) != 0 ? task_32 : task_16;
    }

    [[gnu::cold]] auto find_new_task() -> obstacle {
        auto const selector = request_.selector;
        auto const wrong =
            fault(returns() ? x86::exception::invalid_tss : x86::exception::general_protection, selector);
        if ((selector & x86::selector::local) != 0)
            return wrong;
        if (auto const stop = find_descriptor(cpu_, selector, returns() ? access::read : access::write, wrong, new_))
            return stop;
        auto const type = new_.segment.access & (x86::segment_access::type | x86::segment_access::not_system);
        auto const wanted = returns() ? x86::system_type::busy : 0;
        if (type != (x86::system_type::tss_16 | wanted) and type != (x86::system_type::tss_32 | wanted))
            return wrong;
        if ((new_.segment.access & x86::segment_access::present) == 0)
            return fault(x86::exception::segment_not_present, selector);
        auto const& layout = layout_of(new_.segment);
        if (new_.segment.limit < layout.size - 1u)
            return fault(x86::exception::invalid_tss, selector);
        auto const paging = system_paging_of(cpu_);
        if (nests())
            if (auto const stop = link_.find(cpu_, paging, new_.segment.base + task_link, 2, access::write))
                return stop;
        return new_task_.find(cpu_, paging, new_.segment.base, layout.size, access::read);
    }

    [[gnu::cold]] auto find_old_task() -> obstacle {
        auto const tr = cpu_.segment(x86::segment_name::tr);
        auto const wrong = fault(x86::exception::invalid_tss, tr.selector);
        auto const& layout = layout_of(tr);
        if (tr.limit < layout.save_size - 1u)
            return wrong;
        if (not nests())
            if (auto const stop =
                    find_descriptor(cpu_, tr.selector & ~x86::selector::local, access::write, wrong, old_))
                return stop;
        return old_task_.find(cpu_, system_paging_of(cpu_), tr.base, layout.save_size, access::write);
    }

    /// A value that MOV would refuse is an error of the old task, which nobody has left yet.
    [[gnu::cold]] auto load_cr3() -> obstacle {
        auto const& layout = layout_of(new_.segment);
        if (layout.cr3 == 0 or (cpu_.cr0() & x86::cr0::pg) == 0)
            return {};
        auto const value = new_task_.read(layout.cr3, 4);
        if (value == cpu_.cr3() or cpu_.write_control_register(3, value))
            return {};
        return obstacle::fault(x86::exception::general_protection, ext());
    }

    [[gnu::cold]] void leave_old_task() {
        auto const tr = cpu_.segment(x86::segment_name::tr);
        task_state s{.eip = request_.next_eip, .eflags = request_.eflags};
        if (returns())
            s.eflags &= ~static_cast<std::uint32_t>(x86::rflags::nt);
        for (unsigned i{0}; i < s.gpr.size(); ++i)
            s.gpr[i] = static_cast<std::uint32_t>(cpu_.gpr(static_cast<x86::gpr>(i)));
        for (unsigned i{0}; i < s.segments.size(); ++i)
            s.segments[i] = cpu_.segment(static_cast<x86::segment_name>(i)).selector;
        layout_of(tr).write(old_task_, s);
        if (nests())
            link_.write(0, 2, tr.selector);
        else
            old_.bytes.clear_bits(cpu_.memory(), found_descriptor::access_byte, x86::system_type::busy);
        if (not returns())
            new_.bytes.set_bits(cpu_.memory(), found_descriptor::access_byte, x86::system_type::busy);
    }

    [[gnu::cold]] void enter_new_task() {
        constexpr std::uint64_t local_breakpoints{0x155}; // L0-L3, LE
        constexpr std::uint64_t defined_flags{0x3f'7fd5};
        new_.segment.access |= x86::system_type::busy;
        cpu_.set_segment(x86::segment_name::tr, new_.segment);
        state_ = layout_of(new_.segment).read(new_task_);
        for (unsigned i{0}; i < state_.gpr.size(); ++i)
            cpu_.set_gpr(static_cast<x86::gpr>(i), state_.gpr[i]);
        cpu_.set_rip(state_.eip);
        cpu_.set_rflags((state_.eflags & defined_flags) | x86::rflags::fixed_one | (nests() ? x86::rflags::nt : 0));
        static_cast<void>(cpu_.write_control_register(0, cpu_.cr0() | x86::cr0::ts));
        cpu_.write_debug_register(7, cpu_.read_debug_register(7) & ~local_breakpoints);
    }

    /// All errors from here on are the new task's.
    [[gnu::cold]] auto load_new_task() -> obstacle {
        using enum x86::segment_name;
        auto const& layout = layout_of(new_.segment);
        task_segments<Cpu> load{cpu_, ext()};
        auto const& selectors = state_.segments;
        auto const selector = [&selectors](x86::segment_name name) { return selectors[static_cast<unsigned>(name)]; };
        bool const virtual_8086{(cpu_.rflags() & x86::rflags::vm) != 0};
        if (virtual_8086)
            load.set_virtual_8086(selectors);
        else
            load.set_selectors(selectors, static_cast<std::uint8_t>(selector(cs) & x86::selector::rpl),
                               layout.register_size == 4);
        if (auto const stop = load.load_ldtr(static_cast<std::uint16_t>(new_task_.read(layout.ldt, 2))))
            return stop;
        if (not virtual_8086) {
            if (auto const stop = load.load_code(selector(cs)))
                return stop;
            if (auto const stop = load.load_stack(selector(ss)))
                return stop;
            for (auto const name : {ds, es, fs, gs})
                if (auto const stop = load.load_data(name, selector(name)))
                    return stop;
        }
        if (request_.has_error_code)
            if (auto const stop = push_error_code(layout.register_size))
                return stop;
        if (state_.eip > cpu_.segment(cs).limit)
            return obstacle::fault(x86::exception::general_protection, ext());
        if (layout.debug_trap != 0 and (new_task_.read(layout.debug_trap, 1) & 1) != 0) {
            auto trap = obstacle::fault(x86::exception::debug);
            trap.qualification = 1u << 15; // DR6.BT
            return trap;
        }
        return {};
    }

    [[gnu::cold]] auto push_error_code(unsigned size) -> obstacle {
        constexpr auto ss = x86::segment_name::ss;
        std::uint64_t const mask{(cpu_.segment(ss).access & x86::segment_access::default_big) != 0 ? 0xffff'ffffu
                                                                                                   : 0xffffu};
        auto const old = cpu_.gpr(x86::gpr::rsp);
        auto const offset = (old - size) & mask;
        gva linear{};
        if (auto const stop = segment_address(cpu_, code_size_of(cpu_), ss, offset, size, access::write, linear)) {
            auto const vector = static_cast<x86::exception>(stop.exception.vector());
            return obstacle::fault(vector, ext());
        }
        system_bytes top{};
        if (auto const stop = top.find(cpu_, paging_of(cpu_), linear.value, size, access::write))
            return stop;
        top.write(0, size, request_.error_code);
        cpu_.set_gpr(x86::gpr::rsp, (old & ~mask) | offset);
        return {};
    }

    Cpu& cpu_;
    task_switch_request const& request_;
    found_descriptor new_{}, old_{};
    system_bytes new_task_{}, old_task_{}, link_{};
    task_state state_{};
};

} // namespace detail

/// Switches tasks as the processor would have done. A fault before the commit leaves the old task as it was.
template <task_cpu Cpu>
[[gnu::cold]] auto switch_task(Cpu& cpu, task_switch_request const& request) -> task_switch_result {
    return detail::task_switcher<Cpu>{cpu, request}.run();
}

} // namespace hv
