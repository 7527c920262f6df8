// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/system_bytes.hpp>
#include <hv/x86/descriptor.hpp>

#include <concepts>
#include <cstdint>
#include <span>

namespace hv {

/// What a task switch needs of a virtual processor beyond what instructions need.
template <typename C>
concept task_cpu =
    emulation_cpu<C> and requires(C& cpu, C const& constant, x86::segment_name name, x86::segment const& segment) {
        { cpu.set_segment(name, segment) } -> std::same_as<void>;
        { constant.gdtr() } -> std::same_as<x86::descriptor_table>;
    };

namespace detail {

/// A descriptor where it lies in its table, and the segment register that it makes.
struct found_descriptor {
    system_bytes bytes{};
    x86::segment segment{};

    static constexpr unsigned access_byte{5};
};

/// Finds the descriptor of a selector. `missing` is the exception if the table has none.
template <task_cpu Cpu>
[[gnu::cold]] auto find_descriptor(Cpu& cpu, std::uint16_t selector, access wanted, obstacle const& missing,
                                   found_descriptor& found) -> obstacle {
    auto const offset = x86::selector::offset(selector);
    std::uint64_t base{}, limit{};
    if ((selector & x86::selector::local) != 0) {
        auto const table = cpu.segment(x86::segment_name::ldtr);
        if ((table.access & x86::segment_access::unusable) != 0)
            return missing;
        base = table.base;
        limit = table.limit;
    } else {
        auto const table = cpu.gdtr();
        base = table.base;
        limit = table.limit;
    }
    if (offset + 7 > limit)
        return missing;
    if (auto const stop = found.bytes.find(cpu, system_paging_of(cpu), base + offset, 8, wanted))
        return stop;
    found.segment = x86::segment_of(found.bytes.read(0, 8), selector);
    return {};
}

/// Loads the segment registers of a task that has been switched to, with the checks that belong to the new task. SDM
/// Vol. 3A, "Task Switching"; the exceptions are those of its table "Exception Conditions Checked During a Task
/// Switch". `ext` is the bit of error codes that tells an event from outside the program.
template <task_cpu Cpu>
class task_segments {
  public:
    task_segments(Cpu& cpu, std::uint32_t ext) : cpu_{cpu}, ext_{ext} {}

    /// What the registers hold until they are loaded: selectors without segments behind them. VM entry wants a usable
    /// CS even then; nothing is fetched through it.
    [[gnu::cold]] void set_selectors(std::span<std::uint16_t const, 6> selectors, std::uint8_t cpl, bool wide) {
        namespace bit = x86::segment_access;
        auto const dpl = std::uint32_t{cpl} << bit::dpl_shift;
        for (unsigned i{0}; i < selectors.size(); ++i)
            cpu_.set_segment(static_cast<x86::segment_name>(i),
                             {.access = bit::unusable | dpl, .selector = selectors[i]});
        auto const cs = static_cast<unsigned>(x86::segment_name::cs);
        cpu_.set_segment(x86::segment_name::cs, {.access = bit::present | bit::not_system | bit::code | bit::writable |
                                                           bit::accessed | dpl | (wide ? bit::default_big : 0),
                                                 .selector = selectors[cs]});
    }

    /// Virtual-8086 mode: no descriptors. SDM Vol. 3B, "Entering Virtual-8086 Mode".
    [[gnu::cold]] void set_virtual_8086(std::span<std::uint16_t const, 6> selectors) {
        for (unsigned i{0}; i < selectors.size(); ++i)
            cpu_.set_segment(
                static_cast<x86::segment_name>(i),
                {.base = std::uint64_t{selectors[i]} << 4, .limit = 0xffff, .access = 0xf3, .selector = selectors[i]});
    }

    [[gnu::cold]] auto load_ldtr(std::uint16_t selector) -> obstacle {
        cpu_.set_segment(x86::segment_name::ldtr, {.access = x86::segment_access::unusable, .selector = selector});
        if (x86::selector::is_null(selector))
            return {};
        if ((selector & x86::selector::local) != 0)
            return invalid(selector);
        found_descriptor d{};
        if (auto const stop = find_descriptor(cpu_, selector, access::read, invalid(selector), d))
            return stop;
        if (system_type(d) != x86::system_type::ldt or not is_present(d))
            return invalid(selector);
        cpu_.set_segment(x86::segment_name::ldtr, d.segment);
        return {};
    }

    [[gnu::cold]] auto load_code(std::uint16_t selector) -> obstacle {
        found_descriptor d{};
        if (auto const stop = find(selector, d))
            return stop;
        auto const conforming = (d.segment.access & x86::segment_access::expand_down) != 0;
        unsigned const rpl{static_cast<unsigned>(selector) & x86::selector::rpl};
        if (not is_code(d) or (conforming ? dpl(d) > rpl : dpl(d) != rpl))
            return invalid(selector);
        return finish(x86::segment_name::cs, d, x86::exception::segment_not_present);
    }

    [[gnu::cold]] auto load_stack(std::uint16_t selector) -> obstacle {
        found_descriptor d{};
        if (auto const stop = find(selector, d))
            return stop;
        if (is_code(d) or (d.segment.access & x86::segment_access::writable) == 0 or dpl(d) != cpu_.cpl() or
            (selector & x86::selector::rpl) != cpu_.cpl())
            return invalid(selector);
        return finish(x86::segment_name::ss, d, x86::exception::stack_fault);
    }

    [[gnu::cold]] auto load_data(x86::segment_name name, std::uint16_t selector) -> obstacle {
        if (x86::selector::is_null(selector))
            return {};
        found_descriptor d{};
        if (auto const stop = find(selector, d))
            return stop;
        namespace bit = x86::segment_access;
        if (is_code(d) and (d.segment.access & bit::writable) == 0)
            return invalid(selector); // execute-only
        bool const conforming{is_code(d) and (d.segment.access & bit::expand_down) != 0};
        if (not conforming and (dpl(d) < cpu_.cpl() or dpl(d) < (selector & x86::selector::rpl)))
            return invalid(selector);
        return finish(name, d, x86::exception::segment_not_present);
    }

  private:
    [[nodiscard]] auto fault(x86::exception vector, std::uint16_t selector) const -> obstacle {
        return obstacle::fault(vector, x86::selector::error_code(selector) | ext_);
    }
    [[nodiscard]] auto invalid(std::uint16_t selector) const -> obstacle {
        return fault(x86::exception::invalid_tss, selector);
    }
    [[nodiscard]] static auto is_present(found_descriptor const& d) -> bool {
        return (d.segment.access & x86::segment_access::present) != 0;
    }
    [[nodiscard]] static auto is_code(found_descriptor const& d) -> bool {
        return (d.segment.access & x86::segment_access::code) != 0;
    }
    [[nodiscard]] static auto dpl(found_descriptor const& d) -> unsigned {
        return (d.segment.access & x86::segment_access::dpl) >> x86::segment_access::dpl_shift;
    }
    [[nodiscard]] static auto system_type(found_descriptor const& d) -> std::uint32_t {
        return d.segment.access & (x86::segment_access::type | x86::segment_access::not_system);
    }

    /// The descriptor of a code or data segment.
    [[gnu::cold, gnu::noinline]] auto find(std::uint16_t selector, found_descriptor& d) -> obstacle {
        if (x86::selector::is_null(selector))
            return invalid(selector);
        if (auto const stop = find_descriptor(cpu_, selector, access::read, invalid(selector), d))
            return stop;
        return (d.segment.access & x86::segment_access::not_system) == 0 ? invalid(selector) : obstacle{};
    }

    [[gnu::cold, gnu::noinline]] auto finish(x86::segment_name name, found_descriptor& d, x86::exception absent)
        -> obstacle {
        auto const selector = d.segment.selector;
        if (not is_present(d))
            return fault(absent, selector);
        if ((d.segment.access & x86::segment_access::accessed) == 0) {
            found_descriptor again{};
            if (auto const stop = find_descriptor(cpu_, selector, access::write, invalid(selector), again))
                return stop;
            again.bytes.set_bits(cpu_.memory(), found_descriptor::access_byte, x86::segment_access::accessed);
            d.segment.access |= x86::segment_access::accessed;
        }
        cpu_.set_segment(name, d.segment);
        return {};
    }

    Cpu& cpu_;
    std::uint32_t ext_;
};

} // namespace detail
} // namespace hv
