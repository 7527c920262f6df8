// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "image.hpp"
#include "marks.hpp"
#include "options.hpp"
#include "report.hpp"

#include <hv/guest/acpi.hpp>
#include <hv/guest/image.hpp>
#include <hv/guest/platform_of.hpp>
#include <hv/vmm.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string_view>

/// The program of an image made from a machine type: take the guest from the boot modules, run it, tell how it went.
///
/// The first module is the guest's kernel, its string is `name command-line`; the others are its initial RAM disk or
/// Multiboot modules, their strings `name text`. Words of the image's own command line: memory=MiB, flat (the kernel is
/// real-mode code; flat=otherwise: unless it looks like something else), quiet.
namespace hv::bare {

/// How an image ends; ./hv run passes it on.
enum class exit_status : int { success = 0, guest_failed = 1, unusable = 2, stopped = 3 };

namespace detail {

[[nodiscard, gnu::cold]] inline auto refuse(host& h, std::string_view what, std::string_view why = {}) -> int {
    h.log(text_line<256>{}.text(what).text(why).view());
    return static_cast<int>(exit_status::unusable);
}

inline auto first_word(std::string_view line) -> std::string_view {
    return part(line, 0, line.find(' '));
}
inline auto behind_first_word(std::string_view line) -> std::string_view {
    auto const space = line.find(' ');
    return space == std::string_view::npos ? std::string_view{} : part(line, space + 1);
}

template <typename Host>
[[gnu::cold]] void print_seconds(Host& h, std::string_view what, std::uint64_t ticks) {
    auto const ms = static_cast<std::uint64_t>(time_for(ticks, h.tsc_frequency()) / 1'000'000);
    text_line<> line;
    line.text(what).decimal(ms / 1000).character('.').character(static_cast<char>('0' + ms / 100 % 10));
    line.character(static_cast<char>('0' + ms / 10 % 10)).character(static_cast<char>('0' + ms % 10)).text(" s");
    h.log(line.view());
}

/// When the guest's init began. Under QEMU's -icount the counter began at power-on and counts instructions.
template <typename Host>
void print_start(Host& h, std::uint64_t started, std::uint64_t init) {
    print_seconds(h, "first entry to mark I ", init - started);
    text_line<> line;
    line.text("TSC at the first entry ").decimal(started).text(", at mark I ").decimal(init);
    h.log(line.view());
}

/// What to load a kernel as: `flat` is real-mode code without a mark to know it by.
[[nodiscard]] constexpr auto kind_of(guest::file kernel, options const& words) -> guest::image_kind {
    auto const looks_like = guest::detect(kernel);
    bool const otherwise{words.text("flat") == "otherwise"};
    return words.has("flat") and (not otherwise or looks_like == guest::image_kind::unknown) ? guest::image_kind::flat
                                                                                             : looks_like;
}

[[nodiscard]] constexpr auto status_of(stop_reason const& reason) -> exit_status {
    if (reason.kind == stop_kind::exit_code)
        return reason.code == 0 ? exit_status::success : exit_status::guest_failed;
    return is_orderly(reason.kind) ? exit_status::success : exit_status::stopped;
}

} // namespace detail

namespace detail {

/// Puts the guest of the boot modules into a machine that was just made. Empty `why` if it is there, else a sentence.
struct loaded_guest {
    guest::start_state start{};
    std::string_view what{}, why{};
};
template <typename Machine, typename Vm>
[[nodiscard]] auto load_guest(Vm& machine, host& h, boot_information const& boot) -> loaded_guest {
    options const words{boot.command_line};
    auto const modules = boot.modules();
    guest::memory_layout const layout{.size = words.number("memory", 256) << 20};
    if (machine.give_memory(layout) != status::ok)
        return {.what = "this computer has not enough memory for the guest's"};

    std::array<guest::boot_module, 16> files{};
    std::size_t file_count{0};
    auto const bytes_of = [&h](boot_module const& m) {
        return std::span{static_cast<std::byte const*>(h.pointer(m.start)), m.size};
    };
    for (auto const& m : modules.subspan(1))
        if (file_count != files.size())
            files[file_count++] = {.bytes = bytes_of(m), .text = behind_first_word(m.string)};

    auto const rsdp = guest::write_acpi_tables(machine.memory(), guest::acpi_of<Machine>(machine.topology()));
    auto const loaded = guest::load(machine.memory(), {.image = bytes_of(modules[0]),
                                                       .kind = kind_of(bytes_of(modules[0]), words),
                                                       .name = first_word(modules[0].string),
                                                       .command_line = behind_first_word(modules[0].string),
                                                       .modules = std::span{files}.first(file_count),
                                                       .layout = layout,
                                                       .rsdp = rsdp,
                                                       .tsc_khz = machine.tsc_frequency() / 1000});
    if (not loaded)
        return {.what = "cannot load the guest: ", .why = loaded.reason};
    return {.start = loaded.start};
}

/// Tells how it went; the exit status.
template <typename Machine>
[[nodiscard]] auto report_end(Machine& machine, host& h, bool quiet, std::uint64_t started, std::uint64_t ended)
    -> exit_status {
    auto const& reason = machine.reason();
    auto const status = status_of(reason);
    h.put(0, '\n');
    print_stop(h, reason);
    vcpu_stats all{};
    for (auto& cpu : machine.cpus()) {
        if (cpu.stats().total_exits() == 0 and cpu.id() != 0)
            continue; // it never started
        if (status == exit_status::stopped)
            cpu.hardware().dump(h);
        write_state(h, cpu, reason);
        all += cpu.stats();
    }
    if (not quiet) {
        print_exits(h, all);
        print_seconds(h, "guest ran ", ended - started);
        if (auto const i = h.marks().at('I'); i > started)
            print_start(h, started, i);
        if (auto const a = h.marks().at('A'), b = h.marks().at('B'); a != 0 and b > a)
            print_seconds(h, "mark A to mark B ", b - a);
    }
    return status;
}

[[nodiscard]] constexpr auto why_not_made(status made) -> std::string_view {
    return made == status::out_of_range ? "its TSC is too far from this processor's to be scaled" : "out of memory";
}

} // namespace detail

template <typename Machine>
[[gnu::cold]] auto run_guest(host& h, boot_information const& boot) -> int {
    using machine_type = vm<Machine, host>;
    bool const quiet{options{boot.command_line}.has("quiet")};
    if (boot.modules().empty())
        return detail::refuse(h, "no guest: the boot loader gave no module");

    vmm<Machine, host> monitor{h};
    auto const report = monitor.examine();
    if (report.verdict != status::ok)
        return detail::refuse(h, "this processor cannot run the machine: it lacks ", report.missing);
    if (monitor.enable() != status::ok)
        return detail::refuse(h, "this processor refused to turn virtualisation on");

    auto* const place = h.allocate(sizeof(machine_type), page_size);
    if (place == nullptr)
        return detail::refuse(h, "no memory for the virtual machine itself");
    auto& machine = *new (place) machine_type;
    auto made = monitor.create(machine);
    if (made == status::ok)
        made = machine.activate(0);
    if (made != status::ok)
        return detail::refuse(h, "the virtual machine could not be made: ", detail::why_not_made(made));
    auto const loaded = detail::load_guest<Machine>(machine, h, boot);
    if (not loaded.what.empty())
        return detail::refuse(h, loaded.what, loaded.why);

    if (not quiet) {
        print_processor(h, monitor.examine());
        print_clock(h, h.tsc_report());
    }
    auto& cpu = machine.cpu(0);
    cpu.start(loaded.start);
    auto const started = h.tsc();
    cpu.run();
    auto const status = detail::report_end(machine, h, quiet, started, h.tsc());
    if constexpr (Machine::trace::enabled)
        write_trace(h, cpu.trace(), cpu.id());
    machine.destroy();
    monitor.disable();
    return static_cast<int>(status);
}

} // namespace hv::bare
