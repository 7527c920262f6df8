// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/exit_list.hpp>
#include <hv/stats.hpp>
#include <hv/stop.hpp>
#include <hv/text.hpp>
#include <hv/trace.hpp>
#include <hv/x86/registers.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

/// What an image prints about a machine that ended.
namespace hv::bare {

/// `count` of `total` in percent with one decimal.
[[gnu::cold]] inline void put_share(text_writer& line, std::uint64_t count, std::uint64_t total) {
    auto const tenths = total == 0 ? 0 : (count * 1000 + total / 2) / total;
    line.decimal(tenths / 10).character('.').decimal(tenths % 10).text(" %");
}

[[gnu::cold]] inline void put_padded(text_writer& line, std::string_view text, std::size_t width) {
    line.text(text);
    for (auto i = text.size(); i < width; ++i)
        line.character(' ');
}

[[gnu::cold]] inline void put_right(text_writer& line, std::uint64_t value, std::size_t width) {
    text_line<24> digits;
    digits.decimal(value);
    for (auto i = digits.view().size(); i < width; ++i)
        line.character(' ');
    line.text(digits.view());
}

/// The table of exits: reason, count, share, most frequent first.
template <typename Host>
[[gnu::cold]] void print_exits(Host& host, vcpu_stats const& stats) {
    auto const total = stats.total_exits();
    host.log("exit                        count    share");
    std::array<bool, exits::all::size> printed{};
    for (std::size_t row{0}; row != exits::all::size; ++row) {
        std::size_t best{exits::all::size};
        for (std::size_t i{0}; i != exits::all::size; ++i)
            if (not printed[i] and stats.exits[i] != 0 and
                (best == exits::all::size or stats.exits[i] > stats.exits[best]))
                best = i;
        if (best == exits::all::size)
            break;
        printed[best] = true;
        text_line<> line;
        put_padded(line, exits::names[best], 22);
        put_right(line, stats.exits[best], 11);
        line.text("   ");
        put_share(line, stats.exits[best], total);
        host.log(line.view());
    }
    text_line<> line;
    put_padded(line, "all", 22);
    put_right(line, total, 11);
    host.log(line.view());
    line.clear();
    line.text("events injected ")
        .decimal(stats.events_injected)
        .text(", deliveries interrupted ")
        .decimal(stats.interrupted_deliveries);
    line.text(", instructions emulated ").decimal(stats.emulated_instructions);
    host.log(line.view());
    line.clear();
    line.text("unclaimed: ports ").decimal(stats.unclaimed_ports).text(", MMIO ").decimal(stats.unclaimed_mmio);
    line.text("; MSR accesses refused ").decimal(stats.refused_msrs);
    host.log(line.view());
}

/// What the processor has and needs against side channels of speculation, in one line; none if it says nothing.
template <typename Host>
[[gnu::cold]] void print_speculation(Host& host, backends::speculation const& has) {
    text_line<> line;
    line.text("speculation:");
    auto const empty = line.view().size();
    auto const remedy = [&](char const* name, bool there) {
        if (there)
            line.text(line.view().size() == empty ? " " : ", ").text(name);
    };
    remedy("SPEC_CTRL", has.control != 0);
    remedy("exchanged by the processor", has.virtual_control);
    remedy("IBPB", has.barrier);
    remedy("IBPB at exits", has.barrier_at_exit);
    remedy("VERW at entries", has.clear_buffers);
    remedy("L1D flush", has.level1_flush);
    remedy("at entries", has.flush_at_entry);
    if (line.view().size() != empty)
        host.log(line.view());
}

/// What the processor offers, in one line.
template <typename Host>
[[gnu::cold]] void print_processor(Host& host, processor_report const& report) {
    text_line<256> line;
    line.text("processor: ").decimal(report.address_spaces).text(" address spaces");
    auto const feature = [&line](char const* name, bool there) { line.text(there ? ", " : ", no ").text(name); };
    feature("next RIP", report.next_rip);
    feature("decode assists", report.decode_assist);
    feature("flush by ASID", report.flush_by_asid);
    feature("clean bits", report.clean_bits);
    feature("timer in the guest", report.bounded_stay);
    feature("TSC scaling", report.tsc_scaling);
    feature("PAUSE loops", report.pause_loops);
    feature("XSETBV intercept", report.xsetbv_intercepted);
    host.log(line.view());
    print_speculation(host, report.speculation);
}

/// What time is measured by, in one line. `clock` is the host's tsc_report.
template <typename Host, typename Clock>
[[gnu::cold]] void print_clock(Host& host, Clock const& clock) {
    text_line<> line;
    line.text("clock: TSC at ").decimal(host.tsc_frequency() / 1000).text(" kHz, ");
    line.text(clock.by_pm_timer ? "checked against the PM timer" : "checked against the 8254");
    auto const apart = clock.checked > 1'000'000 ? clock.checked - 1'000'000 : 1'000'000 - clock.checked;
    line.text(": ").decimal(apart).text(" ppm apart");
    host.log(line.view());
}

/// Why the machine stopped, in one line.
template <typename Host>
[[gnu::cold]] void print_stop(Host& host, stop_reason const& reason) {
    text_line<256> line;
    line.text("stopped: ").text(name_of(reason.kind));
    if (reason.text[0] != '\0')
        line.text(" (").text(reason.text).text(")");
    if (reason.kind == stop_kind::exit_code or reason.kind == stop_kind::unknown_exit or reason.code != 0)
        line.text(", code 0x").hex(reason.code);
    if (reason.kind == stop_kind::unknown_exit)
        line.text(", information 0x").hex(reason.information[0]).text(" 0x").hex(reason.information[1]);
    if (reason.instruction.count != 0) {
        line.text(", bytes");
        for (unsigned i{0}; i != reason.instruction.count; ++i)
            line.character(' ').hex(reason.instruction.bytes[i], 2);
    }
    host.log(line.view());
}

/// The whole state of a vCPU on one line, for --log.
template <typename Host, typename Vcpu>
[[gnu::cold]] void write_state(Host& host, Vcpu& cpu, stop_reason const& reason) {
    constexpr std::array gprs{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                              "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    constexpr std::array segments{"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
    auto const& hardware = cpu.hardware();
    text_line<2048> line;
    auto const field = [&line](char const* name, std::uint64_t value) {
        line.character(' ').text(name).text("=0x").hex(value);
    };
    line.text("stop=\"").text(name_of(reason.kind)).text("\" vcpu=").decimal(cpu.id());
    field("code", reason.code);
    field("rip", hardware.rip());
    field("rflags", hardware.rflags());
    for (unsigned i{0}; i != x86::gpr_count; ++i)
        field(gprs[i], hardware.gpr(static_cast<x86::gpr>(i)));
    field("cr0", hardware.cr0());
    field("cr2", hardware.cr2());
    field("cr3", hardware.cr3());
    field("cr4", hardware.cr4());
    field("efer", hardware.efer());
    for (unsigned i{0}; i != x86::segment_count; ++i) {
        auto const s = hardware.segment(static_cast<x86::segment_name>(i));
        line.character(' ')
            .text(segments[i])
            .character('=')
            .hex(s.selector, 4)
            .character(':')
            .hex(s.base)
            .character('/');
        line.hex(s.limit).character('/').hex(s.access);
    }
    auto const table = [&](char const* name, x86::descriptor_table t) {
        line.character(' ').text(name).character('=').hex(t.base).character('/').hex(t.limit);
    };
    table("gdtr", hardware.gdtr());
    table("idtr", hardware.idtr());
    for (unsigned const i : {0u, 1u, 2u, 3u, 6u, 7u})
        line.text(" dr").decimal(i).text("=0x").hex(hardware.debug_register(i));
    line.text(" exits=").decimal(cpu.stats().total_exits()).character('\n');
    for (auto const c : line.view())
        host.put(1, static_cast<std::uint8_t>(c));
}

/// The trace in the format of Chrome's and Perfetto's viewers, on stream 2. Times are microseconds of the host's TSC
/// since the first record.
template <typename Host, typename Trace>
[[gnu::cold]] void write_trace(Host& host, Trace const& trace, unsigned vcpu) {
    auto const text = [&host](std::string_view words) {
        for (auto const c : words)
            host.put(2, static_cast<std::uint8_t>(c));
    };
    text("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[");
    auto const frequency = host.tsc_frequency();
    for (std::size_t i{0}; i != trace.size(); ++i) {
        auto const& r = trace.at(i);
        auto const microseconds = [&](text_line<512>& line, std::uint64_t ticks) {
            auto const ns = static_cast<std::uint64_t>(time_for(ticks, frequency));
            line.decimal(ns / 1000).character('.').character(static_cast<char>('0' + ns / 100 % 10));
            line.character(static_cast<char>('0' + ns / 10 % 10)).character(static_cast<char>('0' + ns % 10));
        };
        text_line<512> line;
        line.text(i == 0 ? "\n" : ",\n").text("{\"ph\":\"X\",\"pid\":0,\"tid\":").decimal(vcpu).text(",\"name\":\"");
        line.text(exits::names[r.kind]).text("\",\"ts\":");
        microseconds(line, r.exit_tsc - trace.at(0).exit_tsc);
        line.text(",\"dur\":");
        microseconds(line, r.entry_tsc - r.exit_tsc);
        line.text(",\"args\":{\"rip\":\"0x").hex(r.rip).text("\",\"detail\":\"0x").hex(r.detail).text("\"}}");
        text(line.view());
    }
    text("\n]}\n");
}

} // namespace hv::bare
