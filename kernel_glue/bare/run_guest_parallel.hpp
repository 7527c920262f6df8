// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "parallel_host.hpp"
#include "pinned.hpp"
#include "run_guest.hpp"
#include "scheduler.hpp"

#include <hv/topology.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>

/// The same program for a machine with several vCPUs: they run on all processors of the host. One more word of the
/// image's command line: cpus=N, how many of its vCPUs the machine has, or topology=S,C,T, how many sockets, cores of a
/// socket, and threads of a core.
namespace hv::bare {

namespace detail {

/// What the words say, or `most` cores of one socket; of no processor at all if they say nonsense.
[[nodiscard, gnu::cold]] constexpr auto topology_of(options const& words, std::uint32_t most) -> topology {
    if (not words.has("topology")) {
        auto const cores = words.number("cpus", most);
        return {.cores = cores <= most ? static_cast<std::uint32_t>(cores) : 0};
    }
    constexpr std::size_t parts{3};
    std::array<std::uint32_t, parts> numbers{};
    std::size_t at{0};
    for (auto const c : words.text("topology")) {
        if (c == ',' and ++at != parts)
            continue;
        if (at == parts or c < '0' or c > '9' or numbers[at] > most)
            return {.sockets = 0};
        numbers[at] = numbers[at] * 10 + static_cast<std::uint32_t>(c - '0');
    }
    return at != parts - 1 ? topology{.sockets = 0} : topology{numbers[0], numbers[1], numbers[2]};
}
static_assert(topology_of(options{"topology=2,3,1"}, 8) == topology{2, 3, 1});
static_assert(topology_of(options{"cpus=5"}, 8) == topology{.cores = 5} and topology_of(options{""}, 8).cores == 8);
static_assert(topology_of(options{"topology=2,3"}, 8).sockets == 0 and topology_of(options{"cpus=9"}, 8).cores == 0);

/// How well the TSCs of the host's processors agree: of which those that do not are put right.
[[gnu::cold]] inline void print_counters(host& h, parallel_host const& processors) {
    std::uint64_t spread{0};
    for (unsigned n{1}; n != processors.processor_count(); ++n) {
        auto const found = processors.difference(n);
        spread = found.spread > spread ? found.spread : spread;
        if (found.ahead == 0 and found.constant)
            continue;
        auto const ticks = static_cast<std::uint64_t>(found.ahead < 0 ? -found.ahead : found.ahead);
        text_line<> line;
        line.text("TSC of processor ").decimal(n).text(found.constant ? " is " : " does not keep step, is ");
        h.log(line.decimal(ticks).text(found.ahead < 0 ? " ticks behind" : " ticks ahead").view());
    }
    if (processors.processor_count() != 1)
        h.log(text_line<>{}.text("TSCs compared to within ").decimal(spread).text(" ticks").view());
}

} // namespace detail

/// What the processors of the host share.
template <typename Machine>
struct parallel_program {
    explicit parallel_program(host& h) : processors{h} {}

    parallel_host processors;
    vmm<Machine, parallel_host> monitor{processors};
    vm<Machine, parallel_host> machine{};
    std::conditional_t<Machine::scheduling == scheduling_policy::pinned, //
                       pinned<vm<Machine, parallel_host>, parallel_host>,
                       scheduler<vm<Machine, parallel_host>, parallel_host>>
        plan{machine, processors};
    static_assert(scheduler<vm<Machine, parallel_host>, parallel_host>::most_processors >=
                      parallel_host::most_processors,
                  "the scheduler has no place for some processor of the host");
    std::atomic<unsigned> enabled{0}, refused{0}, done{0};
    std::atomic<bool> begun{false};
};

template <typename Machine>
inline constinit parallel_program<Machine>* the_program{nullptr};

template <typename Machine>
auto run_guest_parallel(host& h, boot_information const& boot) -> int {
    options const words{boot.command_line};
    bool const quiet{words.has("quiet")};
    if (boot.modules().empty())
        return detail::refuse(h, "no guest: the boot loader gave no module");
    auto const shape = detail::topology_of(words, Machine::max_vcpus);
    if (shape.fits(Machine::max_vcpus) != status::ok)
        return detail::refuse(
            h, text_line<>{}.text("cpus= or topology=: this machine has 1 to ").decimal(Machine::max_vcpus).view());
    auto const cpus = shape.processors();

    auto* const place = h.allocate(sizeof(parallel_program<Machine>), page_size);
    if (place == nullptr)
        return detail::refuse(h, "no memory for the virtual machine itself");
    auto& program = *new (place) parallel_program<Machine>{h};
    the_program<Machine> = &program;
    auto& processors = program.processors;
    auto& monitor = program.monitor;
    auto& machine = program.machine;

    processors.start(cpus);
    if (Machine::scheduling == scheduling_policy::pinned and processors.processor_count() < cpus)
        return detail::refuse(h, text_line<>{}
                                     .text("pinned: the host has ")
                                     .decimal(processors.processor_count())
                                     .text(" processors for ")
                                     .decimal(cpus)
                                     .text(" virtual ones")
                                     .view());
    auto const report = monitor.examine();
    if (report.verdict != status::ok)
        return detail::refuse(h, "this processor cannot run the machine: it lacks ", report.missing);
    if (monitor.enable() != status::ok)
        return detail::refuse(h, "this processor refused to turn virtualisation on");
    while (program.enabled + program.refused != processors.processor_count() - 1)
        asm volatile("pause");
    if (program.refused != 0)
        return detail::refuse(h, "not all processors can run the machine");
    if (auto const made = monitor.create(machine); made != status::ok)
        return detail::refuse(h, "the virtual machine could not be made: ", detail::why_not_made(made));
    (void)machine.set_topology(shape);
    if (auto const made = machine.activate_cpus(cpus); made != status::ok)
        return detail::refuse(h, "the virtual processors could not be made: ", detail::why_not_made(made));
    auto const loaded = detail::load_guest<Machine>(machine, h, boot);
    if (not loaded.what.empty())
        return detail::refuse(h, loaded.what, loaded.why);

    if (not quiet) {
        print_processor(h, monitor.examine());
        print_clock(h, h.tsc_report());
        text_line<> line;
        line.decimal(cpus).text(" virtual processors on ").decimal(processors.processor_count()).text(" of the host");
        h.log(line.view());
        detail::print_counters(h, processors);
    }
    program.plan.settle();
    machine.cpu(0).start(loaded.start);
    auto const started = h.tsc();
    program.begun = true;
    for (unsigned n{1}; n != processors.processor_count(); ++n)
        processors.kick(n);
    program.plan.run();
    while (program.done != processors.processor_count() - 1)
        asm volatile("pause");
    auto const status = detail::report_end(machine, h, quiet, started, h.tsc());
    machine.destroy();
    monitor.disable();
    return static_cast<int>(status);
}

/// The program of an image, of either kind.
template <typename Machine>
auto run_image(host& h, boot_information const& boot) -> int {
    if constexpr (Machine::max_vcpus > 1)
        return run_guest_parallel<Machine>(h, boot);
    else
        return run_guest<Machine>(h, boot);
}

/// What each processor but the first does.
template <typename Machine>
void join_guest() {
    if constexpr (Machine::max_vcpus > 1) {
        auto& program = *the_program<Machine>;
        auto const on = program.monitor.enable() == status::ok;
        ++(on ? program.enabled : program.refused);
        while (not program.begun.load())
            program.processors.idle();
        if (on)
            program.plan.run();
        ++program.done;
    }
}

template <typename Machine>
void serve_processor(std::uint8_t which) {
    if constexpr (Machine::max_vcpus > 1)
        if (the_program<Machine> != nullptr)
            the_program<Machine>->processors.serve(which);
}

template <typename Machine>
void stop_other_processors() {
    if constexpr (Machine::max_vcpus > 1)
        if (the_program<Machine> != nullptr)
            the_program<Machine>->processors.stop_others();
}

} // namespace hv::bare
