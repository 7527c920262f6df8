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

namespace detail {

/// Calls the handler with the exit that a record holds.
template <typename... Exits, typename Handler>
[[nodiscard, gnu::always_inline]] inline auto hand_over(meta::types<Exits...>, record const& r, Handler& handler)
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

} // namespace detail

/// The fake backend's virtual processor, whose guest is a recording.
class vcpu : public backends::fake::vcpu {
  public:
    /// Begins again with these exits.
    void play(std::span<record const> records) {
        next_ = records.data();
        end_ = next_ + records.size();
    }
    [[nodiscard]] auto fetch_state() const -> std::array<std::uint64_t, 5> {
        return {cr0(), cr3(), cr4(), efer(), code_};
    }
    void set_segment(x86::segment_name name, x86::segment const& value) {
        fake::vcpu::set_segment(name, value);
        code_ = std::uint64_t{segment(x86::segment_name::cs).access} << 8 | cpl();
    }
    [[nodiscard]] auto instruction_length() const -> std::uint8_t { return length_; }

    template <typename Host, typename Handler>
    [[nodiscard]] auto enter(Host& host, Handler& handler) -> verdict {
        if (next_ == end_)
            return verdict::leave;
        auto const& r = *next_++;
        host.set_tsc(r.tsc);
        static_cast<void>(withdraw_injection()); // it was delivered
        for (unsigned i{0}; i != x86::gpr_count; ++i)
            set_gpr(static_cast<x86::gpr>(i), r.gprs[i]);
        set_rip(r.rip);
        set_rflags(r.rflags);
        set_interrupt_shadow(r.interrupt_shadow);
        length_ = r.length;
        return detail::hand_over(exits::all{}, r, handler);
    }

  private:
    record const* next_{};
    record const* end_{};
    std::uint64_t code_{};
    std::uint8_t length_{};
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
