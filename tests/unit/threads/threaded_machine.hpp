// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "random.hpp"
#include <machine/whole_machine.hpp>

#include <hv/x86/apic.hpp>
#include <hv/x86/msr.hpp>
#include <kernel_glue/bare/scheduler.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

/// A machine with several vCPUs on several threads: each thread plays a processor of the host and runs the bare host's
/// scheduler.
namespace hv::test {

/// A PC with scripted processors, as many as a test wants.
struct fake_smp : default_machine {
    using backend = fake;
    using devices = pc_devices;
    static constexpr unsigned max_vcpus{8};
};

using steps = std::vector<script::step>;

inline auto operator+=(steps& all, steps more) -> steps& {
    all.insert(all.end(), std::move_iterator{more.begin()}, std::move_iterator{more.end()});
    return all;
}

// Instructions of the guests.

[[nodiscard]] inline auto wrmsr(std::uint32_t index, std::uint64_t value) -> script::step {
    return script::exit{exits::msr_write{.index = index, .value = value}};
}
[[nodiscard]] inline auto out(std::uint16_t port, std::uint64_t value, std::uint8_t size = 1) -> steps {
    return {script::set{x86::gpr::rax, value}, whole_machine<>::io(port, size, false)};
}
[[nodiscard]] inline auto in(std::uint16_t port, std::uint8_t size = 1) -> script::step {
    return whole_machine<>::io(port, size, true);
}
[[nodiscard]] inline auto hlt() -> script::step {
    return script::exit{exits::hlt{}};
}
[[nodiscard]] inline auto cli() -> script::step {
    return script::set_flags{0};
}
[[nodiscard]] inline auto popf_on() -> script::step {
    return script::set_flags{x86::rflags::interrupt};
}
template <typename Act>
[[nodiscard]] auto act(Act what) -> script::step {
    return script::act{[what](backends::fake::vcpu&) { what(); }};
}
/// Waits with HLT, as guests do that know who will wake them.
template <typename Until>
void halt_until(steps& code, Until until) {
    auto const again = code.size();
    code.emplace_back(cli());
    code.emplace_back(script::act{[until, again](backends::fake::vcpu& cpu) {
        if (until())
            cpu.jump(again + 4);
    }});
    code.emplace_back(script::sti{});
    code.emplace_back(hlt());
    // Behind the HLT, and where the jump goes: interrupts on, and back unless it is so.
    code.emplace_back(popf_on());
    code.emplace_back(script::act{[until, again](backends::fake::vcpu& cpu) {
        if (not until())
            cpu.jump(again);
    }});
}

namespace icr {
inline constexpr std::uint64_t fixed{0}, lowest_priority{1u << 8}, nmi{4u << 8}, init{5u << 8}, start_up{6u << 8};
inline constexpr std::uint64_t logical{1u << 11}, assert_level{1u << 14};
inline constexpr std::uint64_t self{1u << 18}, all{2u << 18}, others{3u << 18};
[[nodiscard]] constexpr auto to(std::uint32_t destination) -> std::uint64_t {
    return std::uint64_t{destination} << 32;
}
} // namespace icr

namespace x2apic {
inline constexpr std::uint32_t eoi{0x80b}, spurious{0x80f}, command{0x830}, self_ipi{0x83f}, task_priority{0x808};
/// Turns it on, and the local APIC's software enable too.
[[nodiscard]] inline auto enable(bool bootstrap) -> steps {
    constexpr std::uint64_t enabled{1u << 11 | 1u << 10};
    return {wrmsr(x86::msr::ia32_apic_base, x86::apic::default_base | enabled | (bootstrap ? 1u << 8 : 0)),
            wrmsr(spurious, 0x1ff)};
}
[[nodiscard]] inline auto send(std::uint64_t message) -> script::step {
    return wrmsr(command, message | icr::assert_level);
}
} // namespace x2apic

/// What each vCPU begins with: its local APIC is on, and the first one starts others.
[[nodiscard]] inline auto come_up(unsigned id, std::uint64_t whom = icr::others) -> steps {
    auto code = x2apic::enable(id == 0);
    if (id == 0) {
        code.emplace_back(x2apic::send(icr::init | whom));
        code.emplace_back(x2apic::send(icr::start_up | whom | 1));
    }
    return code;
}
/// Waits until all have come here.
[[nodiscard]] inline auto meet(std::atomic<unsigned>& here, unsigned cpus) -> steps {
    return {act([&here] { ++here; }), script::wait{[&here, cpus] { return here == cpus; }}};
}

/// The machine, its processors, and the end of a test that hangs.
template <typename Machine = fake_smp>
class threaded_machine {
  public:
    using host_type = hosted::host;
    using machine_type = vm<Machine, host_type>;
    static constexpr std::uint64_t memory_size{1u << 20};
    static constexpr std::uint8_t done{0xd7}; ///< code of a good end

    threaded_machine(unsigned cpus, unsigned processors)
        : host{{.memory = std::size_t{64} << 20, .processors = processors, .real_time = true}} {
        offer_everything(host);
        if (monitor.enable() != status::ok or monitor.create(*machine) != status::ok or
            machine->give_memory({.size = memory_size}) != status::ok or machine->activate_cpus(cpus) != status::ok)
            throw std::runtime_error{"no machine"};
        left_.store(cpus);
    }
    ~threaded_machine() {
        machine->destroy();
        monitor.disable();
    }
    threaded_machine(threaded_machine const&) = delete;
    auto operator=(threaded_machine const&) -> threaded_machine& = delete;

    [[nodiscard]] auto cpus() -> unsigned { return static_cast<unsigned>(machine->cpus().size()); }
    [[nodiscard]] auto guest(unsigned id) -> backends::fake::vcpu& { return machine->cpu(id).hardware(); }
    [[nodiscard]] auto host_processors() -> unsigned { return host.processor_count(); }

    /// The last steps of each script: waits for the others, then the machine ends.
    [[nodiscard]] auto end() -> steps {
        steps code{script::act{[this](backends::fake::vcpu& cpu) {
            if (left_.fetch_sub(1) != 1)
                cpu.jump(cpu.steps_done() + 3);
        }}};
        code += out(0xf4, done);
        code.emplace_back(popf_on());
        code.emplace_back(script::wait{[] { return false; }});
        return code;
    }

    /// Runs it on all processors to its end. Throws what went wrong on any of them, and if there is no end.
    void run(std::chrono::seconds longest = std::chrono::seconds{40}) {
        plan.settle();
        std::vector<std::thread> threads;
        for (unsigned n{0}; n != host_processors(); ++n)
            threads.emplace_back([this, n] { play(n); });
        auto const plays = std::exchange(hosted::this_processor, host_processors()); // none of them
        auto const give_up = std::chrono::steady_clock::now() + longest;
        bool hangs{false};
        while (running_.load() != 0 and not hangs) {
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
            hangs = std::chrono::steady_clock::now() > give_up;
        }
        if (hangs) {
            machine->stop({.kind = stop_kind::exit_code, .code = 0});
            std::this_thread::sleep_for(std::chrono::seconds{5});
            if (running_.load() != 0) { // not even for that: there is no way to end the threads
                std::fprintf(stderr, "it hangs: %s\n", describe().c_str());
                std::_Exit(1);
            }
        }
        for (auto& thread : threads)
            thread.join();
        hosted::this_processor = plays;
        if (failure_)
            std::rethrow_exception(failure_);
        if (hangs)
            throw std::runtime_error{"it hangs: " + describe()};
    }
    [[nodiscard]] auto ended_well() -> bool {
        return machine->reason().kind == stop_kind::exit_code and machine->reason().code == done;
    }
    /// Where each vCPU stands.
    [[nodiscard]] auto describe() -> std::string {
        auto text = std::string{name_of(machine->reason().kind)};
        for (auto& cpu : machine->cpus())
            text += "; vCPU " + std::to_string(cpu.id()) + " at step " + std::to_string(cpu.hardware().steps_done()) +
                    " of " + std::to_string(cpu.hardware().script.size()) + ", activity " +
                    std::to_string(static_cast<unsigned>(cpu.activity())) +
                    (cpu.shared().posted.any() ? ", something posted" : "");
        return text;
    }

    host_type host;
    vmm<Machine, host_type> monitor{host};
    std::unique_ptr<machine_type> machine{std::make_unique<machine_type>()};
    bare::scheduler<machine_type, host_type> plan{*machine, host};
    std::deque<std::uint64_t> notes{}; ///< what scripts keep; stays where it is

  private:
    void play(unsigned processor) {
        hosted::this_processor = processor;
        try {
            if (processor != 0 and monitor.enable() != status::ok)
                throw std::runtime_error{"a processor refuses"};
            plan.run();
            if (processor != 0)
                monitor.disable();
        } catch (...) {
            std::lock_guard const hold{mutex_};
            if (not failure_)
                failure_ = std::current_exception();
            machine->stop({.kind = stop_kind::exit_code, .code = 1});
        }
        running_.fetch_sub(1);
    }

    std::atomic<unsigned> left_{};
    std::atomic<unsigned> running_{host_processors()};
    std::mutex mutex_{};
    std::exception_ptr failure_{};
};

/// How many vCPUs run on how many processors.
struct shape {
    unsigned cpus, processors;
};
inline constexpr std::array shapes{shape{2, 2}, shape{4, 4}, shape{8, 4}, shape{8, 2}, shape{4, 1}};

} // namespace hv::test
