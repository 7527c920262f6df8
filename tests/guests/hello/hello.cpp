// SPDX-License-Identifier: BSD-2-Clause
// The smallest image: says what it found and ends with status 7.
#include <kernel_glue/bare/image.hpp>
#include <kernel_glue/bare/text.hpp>

using hv::bare::text;

namespace {

auto sum_of(hv::bare::boot_module const& m, hv::bare::host& host) -> unsigned {
    auto const* const bytes = static_cast<unsigned char const*>(host.pointer(m.start));
    unsigned sum{0};
    for (std::uint64_t i{0}; i != m.size; ++i)
        sum = sum * 31 + bytes[i];
    return sum;
}

} // namespace

auto image_main(hv::bare::host& host, hv::bare::boot_information const& boot) -> int {
    auto const say = [&](text const& t) { host.log(t.view()); };
    say(text{} << "booted by " << name_of(boot.protocol) << ", loader [" << boot.loader << "]");
    say(text{} << "command line [" << boot.command_line << "]");
    // All free memory once: what the loader placed must survive that.
    auto const free = host.memory().available();
    for (auto size = host.memory().largest(); size != 0; size = host.memory().largest())
        (void)host.allocate(size, hv::page_size);
    for (auto const& m : boot.modules()) {
        text t;
        t << "module [" << m.string << "], ";
        t.decimal(m.size) << " bytes, sum 0x";
        say(t.hex(sum_of(m, host)));
    }
    std::uint64_t usable{0};
    for (auto const& e : boot.memory())
        usable += e.kind == hv::bare::memory_kind::usable ? e.size : 0;
    text t;
    t << "memory: ";
    t.decimal(usable >> 20) << " MiB usable, ";
    say(t.decimal(free >> 20) << " MiB free");

    auto const& board = host.board();
    t.clear();
    t << "board: PM timer 0x";
    t.hex(board.pm_timer_port) << ", I/O APICs ";
    t.decimal(board.io_apic_count) << ", processors ";
    t.decimal(board.processor_count) << ", HPET 0x";
    say(t.hex(board.hpet.value));

    auto const& report = host.tsc_report();
    t.clear();
    t << "tsc ";
    t.decimal(host.tsc_frequency()) << " Hz, declared ";
    t.decimal(report.declared) << ", measured ";
    t.decimal(report.measured) << (report.by_pm_timer ? " by PM timer" : " by PIT") << ", checked ";
    say(t.decimal(report.checked));
    return 7;
}
