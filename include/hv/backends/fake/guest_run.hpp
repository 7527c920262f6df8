// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/fake/processor.hpp>
#include <hv/backends/fake/script.hpp>
#include <hv/backends/fake/vcpu.hpp>
#include <hv/exit.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>

namespace hv::backends::fake {

/// One stay in the guest: executes steps until one of them exits.
class guest_run {
  public:
    guest_run(processor& on, vcpu& cpu) : on_{on}, cpu_{cpu} {}

    template <typename Host>
    [[nodiscard]] auto until_exit(Host& host) -> script::any_exit {
        ++cpu_.entries;
        choose_tag();
        cpu_.length_ = 0;
        cpu_.interrupted_ = {};
        if (cpu_.exited_ != 0 and cpu_.rip_ != cpu_.exit_rip_)
            done(); // somebody moved RIP: the step that exited is over
        auto const stay_ends = end_of_stay(host);
        if (auto cut = deliver())
            return *cut;
        for (;;) {
            if (host_interrupt_waits(host)) {
                host.take_interrupts();
                return exits::host_interrupt{};
            }
            if (cpu_.bounds_stay and host.tsc() >= stay_ends)
                return exits::deadline{};
            if (cpu_.window_ and (cpu_.rflags_ & x86::rflags::interrupt) != 0 and not cpu_.shadow_) {
                cpu_.window_ = false;
                return exits::interrupt_window{};
            }
            if (cpu_.next_ >= cpu_.script.size())
                return exits::triple_fault{};
            if (cpu_.exited_ > patience)
                return exits::unknown{.code = stuck, .information = {cpu_.next_, cpu_.rip_}};
            auto exit = std::visit([&](auto const& s) { return execute(host, s); }, cpu_.script[cpu_.next_]);
            if (exit)
                return *exit;
        }
    }

    static constexpr std::uint64_t stuck{0xfa4e}; ///< code of exits::unknown: one step exits again and again

  private:
    using maybe_exit = std::optional<script::any_exit>;
    static constexpr unsigned patience{64};
    static constexpr unsigned instruction_size{4}; ///< of steps that do not exit
    static constexpr std::chrono::seconds longest_spin{10};

    /// Another processor has nothing of this guest, and an earlier one may have what is no longer true: each move takes
    /// a new tag.
    void choose_tag() {
        if (cpu_.last_processor_ != &on_) {
            cpu_.last_processor_ = &on_;
            cpu_.tag_ = on_.next_tag++;
        } else if (cpu_.flush_) {
            on_.translations.flush(cpu_.tag_);
        }
        cpu_.flush_ = false;
    }

    /// An event goes through an interrupt gate: interrupts are off behind it. An exception ends the step that exited;
    /// after an interrupt it executes again.
    [[nodiscard]] auto deliver() -> maybe_exit {
        if (not cpu_.slot_.valid())
            return std::nullopt;
        auto const e = std::exchange(cpu_.slot_, event{});
        if (auto const cut = std::exchange(cpu_.delivery_exit_, std::nullopt)) {
            cpu_.interrupted_ = e;
            return cut;
        }
        if (e.type() == event_type::nmi)
            cpu_.nmi_blocked_ = true;
        if (cpu_.exited_ != 0 and (e.type() == event_type::exception or e.type() == event_type::software_interrupt))
            done();
        if (cpu_.handler)
            enter_handler(e);
        cpu_.shadow_ = false;
        cpu_.rflags_ &= ~x86::rflags::interrupt;
        cpu_.delivered.push_back(e);
        return std::nullopt;
    }
    void enter_handler(event e) {
        cpu_.interrupted_scripts_.push_back({std::move(cpu_.script), cpu_.next_, cpu_.rip_, cpu_.rflags_, cpu_.gprs_});
        cpu_.script = cpu_.handler(e);
        cpu_.next_ = 0;
        cpu_.exited_ = 0;
    }
    void leave_handler() {
        auto& back = cpu_.interrupted_scripts_.back();
        cpu_.script = std::move(back.script);
        cpu_.next_ = back.next;
        cpu_.rip_ = back.rip;
        cpu_.rflags_ = back.rflags;
        cpu_.gprs_ = back.gprs;
        cpu_.exited_ = 0;
        cpu_.shadow_ = false;
        cpu_.interrupted_scripts_.pop_back();
    }

    template <typename Host>
    [[nodiscard]] auto end_of_stay(Host& host) -> std::uint64_t {
        auto const least = host.tsc() + std::exchange(cpu_.least_stay_, 0);
        return cpu_.stay_ends > least ? cpu_.stay_ends : least;
    }

    /// A kick or timer interrupt that nobody took yet, on hosts that tell.
    template <typename Host>
    [[nodiscard]] static auto host_interrupt_waits(Host& host) -> bool {
        if constexpr (requires { host.interrupt_waits(); })
            return host.interrupt_waits();
        else
            return false;
    }

    void done() {
        cpu_.next_ = cpu_.jump_ ? *std::exchange(cpu_.jump_, std::nullopt) : cpu_.next_ + 1;
        cpu_.exited_ = 0;
    }
    [[nodiscard]] auto complete() -> maybe_exit {
        cpu_.rip_ += instruction_size;
        cpu_.shadow_ = false;
        done();
        return std::nullopt;
    }
    [[nodiscard]] auto leave_with(script::any_exit exit) -> maybe_exit {
        ++cpu_.exited_;
        cpu_.exit_rip_ = cpu_.rip_;
        return exit;
    }

    /// Exits without an instruction behind them happen once.
    [[nodiscard]] static auto is_instruction(script::any_exit const& exit) -> bool {
        return std::visit(
            []<typename E>(E const&) {
                return not(std::is_same_v<E, exits::host_interrupt> or std::is_same_v<E, exits::deadline> or
                           std::is_same_v<E, exits::interrupt_window> or std::is_same_v<E, exits::nmi_window> or
                           std::is_same_v<E, exits::machine_check> or std::is_same_v<E, exits::triple_fault> or
                           std::is_same_v<E, exits::entry_failed> or std::is_same_v<E, exits::isolation_broken> or
                           std::is_same_v<E, exits::unknown>);
            },
            exit);
    }

    template <typename Host>
    [[nodiscard]] auto execute(Host& host, script::exit const& step) -> maybe_exit {
        if (std::holds_alternative<exits::host_interrupt>(step.what))
            host.take_interrupts();
        cpu_.interrupted_ = step.interrupts;
        if (not is_instruction(step.what)) {
            done();
            return step.what;
        }
        cpu_.length_ = std::holds_alternative<exits::nested_page_fault>(step.what) ? 0 : step.length;
        return leave_with(step.what);
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host&, script::set const& step) -> maybe_exit {
        cpu_.set_gpr(step.name, step.value);
        return complete();
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host&, script::set_flags const& step) -> maybe_exit {
        cpu_.set_rflags(step.value);
        return complete();
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host&, script::sti const&) -> maybe_exit {
        auto const was_on = (cpu_.rflags_ & x86::rflags::interrupt) != 0;
        cpu_.rflags_ |= x86::rflags::interrupt;
        auto const done_with = complete();
        cpu_.shadow_ = not was_on;
        return done_with;
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host&, script::move_to_cr8 const& step) -> maybe_exit {
        if (cpu_.watches_task_priority) {
            cpu_.length_ = instruction_size;
            return leave_with(exits::control_register{.number = 8,
                                                      .write = true,
                                                      .decoded = true,
                                                      .kind = exits::control_register::form::mov,
                                                      .source = step.from,
                                                      .machine_status_word = 0});
        }
        cpu_.set_task_priority(static_cast<std::uint8_t>(cpu_.gpr(step.from)));
        return complete();
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host&, script::iret const&) -> maybe_exit {
        if (cpu_.nmi_blocked_) {
            cpu_.nmi_blocked_ = false;
            cpu_.shadow_ = true;
            return exits::nmi_window{};
        }
        if (not cpu_.interrupted_scripts_.empty()) {
            leave_handler();
            return std::nullopt;
        }
        cpu_.rflags_ |= x86::rflags::interrupt;
        return complete();
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host&, script::delivery_exits const& step) -> maybe_exit {
        cpu_.delivery_exit_ = step.what;
        return complete();
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host& host, script::spin const&) -> maybe_exit {
        auto const give_up = std::chrono::steady_clock::now() + longest_spin;
        while (not host_interrupt_waits(host)) {
            if (std::chrono::steady_clock::now() > give_up)
                return exits::unknown{.code = stuck, .information = {cpu_.next_, cpu_.rip_}};
            std::this_thread::yield();
        }
        host.take_interrupts();
        static_cast<void>(complete());
        return exits::host_interrupt{};
    }

    template <typename Host>
    [[nodiscard]] auto execute(Host&, script::act const& step) -> maybe_exit {
        step.what(cpu_);
        return complete();
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host&, script::wait const& step) -> maybe_exit {
        if (step.until())
            return complete();
        cpu_.shadow_ = false;
        std::this_thread::yield();
        return std::nullopt;
    }

    template <typename Host>
    [[nodiscard]] auto execute(Host& host, script::load const& step) -> maybe_exit {
        std::uint64_t value{};
        for (unsigned i{0}; i < step.size; ++i) {
            maybe_exit exit;
            auto const* const byte = reach(host, step.from + i, access::read, exit);
            if (byte == nullptr)
                return exit;
            value |= std::uint64_t{__atomic_load_n(byte, __ATOMIC_RELAXED)} << (8 * i);
        }
        cpu_.set_gpr(step.into, value);
        cpu_.loaded.push_back(value);
        return complete();
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host& host, script::store const& step) -> maybe_exit {
        std::uint8_t* bytes[8]{};
        for (unsigned i{0}; i < step.size; ++i) { // all or nothing, as a store that faults
            maybe_exit exit;
            bytes[i] = reach(host, step.to + i, access::write, exit);
            if (bytes[i] == nullptr)
                return exit;
        }
        for (unsigned i{0}; i < step.size; ++i)
            __atomic_store_n(bytes[i], static_cast<std::uint8_t>(step.value >> (8 * i)), __ATOMIC_RELAXED);
        return complete();
    }
    template <typename Host>
    [[nodiscard]] auto execute(Host& host, script::fetch const& step) -> maybe_exit {
        maybe_exit exit;
        return reach(host, step.from, access::execute, exit) == nullptr ? exit : complete();
    }

    template <typename Host>
    [[nodiscard]] auto reach(Host& host, gpa address, access wanted, maybe_exit& exit) -> std::uint8_t* {
        translation_fault fault;
        auto const where =
            on_.translations.translate(host, cpu_.tag_, cpu_.machine_->controls.nested_root, address, wanted, fault);
        if (where)
            return static_cast<std::uint8_t*>(host.pointer(*where));
        exit = leave_with(exits::nested_page_fault{
            .address = address, .wanted = wanted, .page_walk = false, .present = fault.present, .instruction = {}});
        return nullptr;
    }

    processor& on_;
    vcpu& cpu_;
};

} // namespace hv::backends::fake
