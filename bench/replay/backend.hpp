// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/replay/record.hpp>

#include <hv/backends/fake.hpp>
#include <hv/exit_list.hpp>
#include <hv/memory/npt.hpp>
#include <hv/meta/tuple.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace hv::replay {

/// A record as it is played: small, so that it is the exits that take time. Most need three registers; the others find
/// all in their record.
struct step {
    std::uint64_t tsc{}, rip{}, rax{}, rcx{}, rdx{};
    std::array<std::byte, 40> exit{};
    record const* registers{};
    std::uint32_t rflags{};
    std::uint8_t kind{}, length{};
    bool interrupt_shadow{};
};

[[nodiscard]] inline auto step_of(record const& r) -> step {
    auto const gpr = [&r](x86::gpr name) { return r.gprs[static_cast<unsigned>(name)]; };
    auto const is = [&r]<typename... Exits>(meta::types<Exits...>) {
        return ((r.kind == exits::number_of<Exits>) or ...);
    };
    bool few{is(meta::types<exits::cpuid, exits::msr_read, exits::msr_write, exits::hlt, exits::interrupt_window,
                            exits::host_interrupt>{})};
    if (is(meta::types<exits::io_port>{})) {
        exits::io_port access;
        std::memcpy(static_cast<void*>(&access), r.exit.data(), sizeof access);
        few = not access.string;
    }
    return {.tsc = r.tsc,
            .rip = r.rip,
            .rax = gpr(x86::gpr::rax),
            .rcx = gpr(x86::gpr::rcx),
            .rdx = gpr(x86::gpr::rdx),
            .exit = r.exit,
            .registers = few ? nullptr : &r,
            .rflags = static_cast<std::uint32_t>(r.rflags),
            .kind = r.kind,
            .length = r.length,
            .interrupt_shadow = r.interrupt_shadow};
}

namespace detail {

/// Calls the handler with the exit that a step holds.
template <typename... Exits, typename Handler>
[[nodiscard, gnu::always_inline]] inline auto hand_over(meta::types<Exits...>, step const& r, Handler& handler)
    -> verdict {
    auto answer = verdict::leave;
    auto const is = [&]<typename Exit>(Exit*) __attribute__((always_inline)) {
        if (r.kind != exits::number_of<Exit>)
            return false;
        Exit exit;
        std::memcpy(static_cast<void*>(&exit), r.exit.data(), sizeof exit);
        answer = handler.on(exit);
        return true;
    };
    static_cast<void>((is(static_cast<Exits*>(nullptr)) or ...));
    return answer;
}

/// See hv::remembers_code.
[[nodiscard]] constexpr auto opcode_length_of(std::uint8_t kind) -> std::uint8_t {
    if (kind == exits::number_of<exits::hypercall>)
        return 3;
    return kind == exits::number_of<exits::cpuid> or kind == exits::number_of<exits::msr_read> or
                   kind == exits::number_of<exits::msr_write>
               ? 2
               : 0;
}

} // namespace detail

/// The fake backend's virtual processor, whose guest is a recording.
class vcpu : public backends::fake::vcpu {
  public:
    /// Begins again with these exits.
    void play(std::span<step const> steps) {
        next_ = steps.data();
        end_ = next_ + steps.size();
    }
    [[nodiscard]] auto fetch_state() const -> std::array<std::uint64_t, 3> { return {cr3(), paging_changes_, code_}; }
    [[nodiscard]] auto opcode_length() const -> std::uint8_t { return opcode_length_; }
    void set_cr0(std::uint64_t value) {
        fake::vcpu::set_cr0(value);
        ++paging_changes_;
    }
    void set_cr4(std::uint64_t value) {
        fake::vcpu::set_cr4(value);
        ++paging_changes_;
    }
    void set_efer(std::uint64_t value) {
        fake::vcpu::set_efer(value);
        ++paging_changes_;
    }
    void set_segment(x86::segment_name name, x86::segment const& value) {
        fake::vcpu::set_segment(name, value);
        code_ = std::uint64_t{segment(x86::segment_name::cs).access} << 8 | cpl();
    }
    [[nodiscard]] auto instruction_length() const -> std::uint8_t { return length_; }

    template <typename Host, typename Handler>
    [[nodiscard]] auto enter(Host& host, Handler& to) -> verdict {
        if (next_ == end_)
            return verdict::leave;
        auto const& r = *next_++;
        host.set_tsc(r.tsc);
        static_cast<void>(withdraw_injection()); // it was delivered
        if (r.registers != nullptr)
            for (unsigned i{0}; i != x86::gpr_count; ++i)
                set_gpr(static_cast<x86::gpr>(i), r.registers->gprs[i]);
        set_gpr(x86::gpr::rax, r.rax);
        set_gpr(x86::gpr::rcx, r.rcx);
        set_gpr(x86::gpr::rdx, r.rdx);
        set_rip(r.rip);
        set_rflags(r.rflags);
        set_interrupt_shadow(r.interrupt_shadow);
        length_ = r.length;
        opcode_length_ = detail::opcode_length_of(r.kind);
        return detail::hand_over(exits::all{}, r, to);
    }

  private:
    step const* next_{};
    step const* end_{};
    std::uint64_t code_{};
    std::uint64_t paging_changes_{};
    std::uint8_t length_{}, opcode_length_{};
};

/// The fake backend with recordings for guests. A processor without next-RIP is not modelled.
struct backend : fake {
    using vcpu = replay::vcpu;

    template <typename Host, typename Handler>
    [[nodiscard, gnu::always_inline]] static auto enter(Host& host, processor&, vcpu& cpu, Handler& handler)
        -> verdict {
        return cpu.enter(host, handler);
    }
};

} // namespace hv::replay
