// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/replay/backend.hpp>
#include <bench/replay/host.hpp>
#include <bench/replay/recorder.hpp>
#include <bench/replay/trace.hpp>

#include <hv/guest/start_state.hpp>
#include <hv/vmm.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <time.h>
#include <vector>

/// How long a machine takes to serve a recording's exits on this processor: Machine's backend is replay::backend, or
/// has one behind it that `direct()` of its virtual processor gives.
namespace hv::replay {

[[nodiscard]] inline auto steps_of(std::span<record const> records) -> std::vector<step> {
    std::vector<step> steps;
    for (auto const& r : records)
        steps.push_back(step_of(r));
    return steps;
}

/// A machine on its host, with the memory that the recording needs.
template <typename Machine>
class stage {
  public:
    explicit stage(trace const& t)
        : trace_{t}, instructions_{t.instructions()}, host_{t.about.tsc_frequency, t.leaves} {}

    /// A machine that was just switched on.
    void build(std::span<step const> steps) {
        host_.reset();
        monitor_ = std::make_unique<vmm<Machine, host>>(host_);
        machine_ = std::make_unique<vm<Machine, host>>();
        if (monitor_->enable() != status::ok or monitor_->create(*machine_) != status::ok or
            machine_->activate(0) != status::ok or
            machine_->give_memory({.size = std::uint64_t{256} << 20}) != status::ok)
            throw std::runtime_error{"no machine"};
        constexpr gpa tables{1u << 20};
        address_space space{machine_->memory(), tables};
        for (auto const& r : instructions_)
            space.add(r);
        cpu().start(guest::long_mode_start(steps[0].rip, tables.value, 0));
        player().play(steps);
    }
    void run() { cpu().run(); }
    /// The recording alone, with a handler that does nothing.
    void play_to_nobody() {
        idle_handler handler;
        while (player().enter(host_, handler) != verdict::leave) {
        }
    }
    [[nodiscard]] auto cpu() -> auto& { return machine_->cpu(0); }

    /// Whether the machine did what it did when it was recorded.
    [[nodiscard]] auto did_the_same() -> bool {
        auto const steps = steps_of(trace_.records);
        build(steps);
        run();
        auto const now = counts_of(cpu().stats()), then = trace_.records.back().before;
        if (now == then and cpu().stats().total_exits() == trace_.records.size())
            return true;
        std::fprintf(
            stderr,
            "replay: %llu exits of %zu, events %u of %u, emulated %u of %u, unclaimed ports %u of %u, unclaimed "
            "MMIO %u of %u, refused MSRs %u of %u\n",
            static_cast<unsigned long long>(cpu().stats().total_exits()), trace_.records.size(), now.events_injected,
            then.events_injected, now.emulated_instructions, then.emulated_instructions, now.unclaimed_ports,
            then.unclaimed_ports, now.unclaimed_mmio, then.unclaimed_mmio, now.refused_msrs, then.refused_msrs);
        return false;
    }

  private:
    struct idle_handler {
        auto on(auto const&) -> verdict { return verdict::resume; }
    };

    [[nodiscard]] auto player() -> vcpu& {
        if constexpr (requires { cpu().hardware().direct(); })
            return cpu().hardware().direct();
        else
            return cpu().hardware();
    }

    trace const& trace_;
    std::vector<record> instructions_;
    host host_;
    std::unique_ptr<vmm<Machine, host>> monitor_{};
    std::unique_ptr<vm<Machine, host>> machine_{};
};

/// What this thread has computed, in seconds: others may run on this computer.
[[nodiscard]] inline auto thread_seconds() -> double {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

/// Time of one exit, by all exits of `records`; `serve` runs them on a stage.
template <typename Machine, typename Serve>
void measure(benchmark::State& state, trace const& t, std::span<record const> records, Serve serve) {
    stage<Machine> on{t};
    auto const steps = steps_of(records);
    for (auto _ : state) {
        on.build(steps);
        auto const start = thread_seconds();
        serve(on);
        state.SetIterationTime(thread_seconds() - start);
    }
    state.counters["exits"] = static_cast<double>(records.size());
    state.counters["per_exit"] =
        benchmark::Counter(static_cast<double>(records.size()),
                           benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

/// The program of a replay: `NAME RECORDING [option of Google Benchmark...]`. NAME/nobody is the recording without a
/// hypervisor: what the replay itself takes. Fails if the machine does not do what it did when it was recorded.
template <typename Machine>
auto main(int argc, char** argv) -> int {
    if (argc < 2) {
        std::fprintf(stderr, "usage: %s RECORDING [--benchmark_...]\n", argv[0]);
        return 2;
    }
    try {
        auto const t = trace::read(argv[1]);
        argv[1] = argv[0];
        --argc;
        ++argv;
        benchmark::Initialize(&argc, argv);
        if (not stage<Machine>{t}.did_the_same())
            return 1;
        auto const add = [&t](std::string const& name, std::vector<record> const& records, auto serve) {
            constexpr int iterations{5};
            benchmark::RegisterBenchmark(name.c_str(), measure<Machine, decltype(serve)>, t, std::span{records}, serve)
                ->Iterations(iterations)
                ->UseManualTime()
                ->Unit(benchmark::kMicrosecond);
        };
        auto const add_both = [&add](std::string const& name, std::vector<record> const& records) {
            constexpr std::size_t too_few{50};
            if (records.size() < too_few)
                return;
            add(name, records, [](stage<Machine>& on) { on.run(); });
            add(name + "/nobody", records, [](stage<Machine>& on) { on.play_to_nobody(); });
        };
        std::vector<std::vector<record>> kinds(exits::all::size);
        add_both("all", t.records);
        for (std::uint8_t k{0}; k != exits::all::size; ++k) {
            kinds[k] = t.only(k);
            add_both(exits::names[k], kinds[k]);
        }
        benchmark::RunSpecifiedBenchmarks();
        return 0;
    } catch (std::exception const& e) {
        std::fprintf(stderr, "replay: %s\n", e.what());
        return 1;
    }
}

} // namespace hv::replay
