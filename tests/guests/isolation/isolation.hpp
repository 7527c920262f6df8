// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// Makes a machine and proves that its guest reaches nothing of the host: its nested tables, walked entry by entry,
/// and the registers on both sides of a thousand world switches. Every line of a check ends in "ok" or "wrong".
#include "host_registers.hpp"

#include <kernel_glue/bare/image.hpp>
#include <kernel_glue/bare/stacks.hpp>
#include <kernel_glue/bare/text.hpp>

#include <hv/guest/identity_tables.hpp>
#include <hv/vmm.hpp>

#include <array>
#include <cstdint>
#include <new>
#include <string_view>

extern "C" char const isolation_payload[];
extern "C" char const isolation_payload_end[];
extern "C" char const isolation_result[];

namespace hv::test {

using bare::host;
using bare::text;

inline constexpr std::uint64_t code_at{0x100000};
inline constexpr std::uint64_t tables_at{0x200000};
inline constexpr std::uint64_t memory_size{(18 << 20) + page_size}; // large and small entries
inline constexpr std::uint64_t exits_of_a_run{10};

/// Watches the host's registers at each CPUID of the guest, and ends every tenth run there.
template <typename Machine>
struct watch {
    auto on(exits::cpuid const&, auto& cpu) -> verdict {
        auto const now = host_registers{cpu.host()}.read();
        for (auto i = Machine::first_restored_at_exit; i != host_registers::first_of_run; ++i)
            if (now[i] != expected[i] and different == host_registers::count)
                different = i;
        return ++exits % exits_of_a_run == 0 ? verdict::leave : verdict::not_mine;
    }
    host_registers::values expected{};
    std::size_t different{host_registers::count};
    std::uint64_t exits{};
};
/// A machine whose guest has all that the world switch exchanges without an exit: then nothing but the switch keeps it
/// apart. `FirstRestoredAtExit`: the host's registers before it come back only when a run ends.
template <typename Base, std::size_t FirstRestoredAtExit>
struct watched : Base {
    using handlers = exit_chain<watch<watched>>;
    static constexpr auto first_restored_at_exit{FirstRestoredAtExit};
    static constexpr std::array direct_msrs{
        x86::msr::ia32_sysenter_cs, x86::msr::ia32_sysenter_esp,  x86::msr::ia32_sysenter_eip, x86::msr::ia32_star,
        x86::msr::ia32_lstar,       x86::msr::ia32_cstar,         x86::msr::ia32_fmask,        x86::msr::ia32_fs_base,
        x86::msr::ia32_gs_base,     x86::msr::ia32_kernel_gs_base};
};

class checks {
  public:
    explicit checks(host& h) : host_{h} {}
    void operator()(std::string_view what, bool good) {
        wrong_ += not good;
        host_.log((text{} << what << (good ? ": ok" : ": wrong")).view());
    }
    [[nodiscard]] auto wrong() const -> int { return wrong_; }

  private:
    host& host_;
    int wrong_{0};
};

struct range {
    std::uint64_t first{};
    std::uint64_t end{};

    [[nodiscard]] auto overlaps(range o) const -> bool { return first < o.end and o.first < end; }
    [[nodiscard]] auto contains(range o) const -> bool { return first <= o.first and o.end <= end; }
};
inline auto range_at(void const* memory, std::uint64_t bytes) -> range {
    auto const first = reinterpret_cast<std::uint64_t>(memory);
    return {first, first + bytes};
}

/// Calls `table(range)` for each page of 4-level tables and `leaf(range)` for each stretch that they map. AMD's nested
/// tables and the host's own have one format. APM Vol. 2, "Long-Mode Page Translation".
template <typename Table, typename Leaf>
void walk(std::uint64_t root, Table table, Leaf leaf) {
    constexpr std::uint64_t present{1}, large{1u << 7}, frame{0x000f'ffff'ffff'f000};
    struct place {
        std::uint64_t const* table{};
        unsigned next{};
    };
    std::array<place, 4> path{}; // the table of each level on the way, the top one last
    unsigned level{3};
    path[level] = {reinterpret_cast<std::uint64_t const*>(root), 0};
    table(range_at(path[level].table, page_size));
    while (true) {
        auto& here = path[level];
        if (here.next == 512) {
            if (level == 3)
                return;
            ++level;
            continue;
        }
        auto const entry = here.table[here.next++];
        auto const bytes = page_size << 9 * level;
        if ((entry & present) == 0)
            continue;
        if (level == 0 or (entry & large) != 0) {
            auto const first = entry & frame & ~(bytes - 1);
            leaf(range{first, first + bytes});
            continue;
        }
        path[--level] = {reinterpret_cast<std::uint64_t const*>(entry & frame), 0};
        table(range_at(path[level].table, page_size));
    }
}

/// Whether no leaf of the guest's tables overlaps a range.
inline auto is_out_of_reach(std::uint64_t root, range secret) -> bool {
    bool safe{true};
    walk(root, [](range) {}, [&](range leaf) { safe = safe and not leaf.overlaps(secret); });
    return safe;
}

template <typename Machine>
void check_memory(host& h, bare::boot_information const& boot, vm<Machine, host>& machine, checks& check) {
    auto const root = machine.memory().root(h).value;
    auto const own = range_at(machine.memory().at(gpa{0}, access::read), memory_size);
    std::uint64_t mapped{0};
    bool inside{true};
    walk(
        root, [](range) {},
        [&](range leaf) {
            mapped += leaf.end - leaf.first;
            inside = inside and own.contains(leaf);
        });
    check("the guest's tables map nothing but its memory", inside and mapped == memory_size);
    check("a walk finds what is there", not is_out_of_reach(root, {own.end - 1, own.end}));

    range const image{reinterpret_cast<std::uint64_t>(bare::image_start),
                      reinterpret_cast<std::uint64_t>(bare::image_end)};
    auto const here = reinterpret_cast<std::uint64_t>(__builtin_frame_address(0));
    auto const stack = bare::stack_of(here);
    check("the image, stacks included",
          is_out_of_reach(root, image) and stack.first != stack.end and image.contains({stack.first, stack.end}));
    bool safe{not boot.modules().empty()};
    for (auto const& m : boot.modules())
        safe = safe and is_out_of_reach(root, {m.start.value, m.end().value});
    check("boot modules", safe);
    safe = true;
    walk(root, [&](range table) { safe = safe and is_out_of_reach(root, table); }, [](range) {});
    check("the nested tables", safe);
    safe = true;
    walk(
        bare::read_cr3() & ~0xfffull, [&](range table) { safe = safe and is_out_of_reach(root, table); }, [](range) {});
    check("the host's page tables", safe);
    check("the machine", is_out_of_reach(root, range_at(&machine, sizeof(machine))));
}

inline auto guest_register(std::uint64_t number) -> text {
    constexpr std::array<std::string_view, 19> names{
        "DR0",     "DR1",     "DR2",    "DR3",   "DR6",         "DR7",          "CR2",          "KERNEL_GS_BASE",
        "STAR",    "LSTAR",   "CSTAR",  "FMASK", "SYSENTER_CS", "SYSENTER_ESP", "SYSENTER_EIP", "PAT",
        "FS base", "GS base", "TSC_AUX"};
    constexpr std::array<std::string_view, 17> behaviour{"GS base in use",
                                                         "FS base in use",
                                                         "KERNEL_GS_BASE in use",
                                                         "SYSCALL",
                                                         "FMASK in use",
                                                         "TSC_AUX in use",
                                                         "RBP",
                                                         "RSI",
                                                         "RDI",
                                                         "R8",
                                                         "R9",
                                                         "R10",
                                                         "R11",
                                                         "R12",
                                                         "R13",
                                                         "R14",
                                                         "R15"};
    text t;
    if (number >= 500)
        t << "of a new guest: ";
    else if (number >= 300)
        t << "does not take its value: ";
    else if (number >= 200)
        return t << behaviour[number - 200 < behaviour.size() ? number - 200 : 0];
    number -= number >= 500 ? 500 : number >= 300 ? 300 : 0;
    if (number < names.size())
        return t << names[number];
    t << "byte ";
    t.decimal((number - 24) * 8);
    return t << " of the FPU's state";
}

template <typename Machine>
void check_registers(host& h, vm<Machine, host>& machine, checks& check) {
    auto& memory = machine.memory();
    auto const size = static_cast<std::uint64_t>(isolation_payload_end - isolation_payload);
    bool ready{guest::write_identity_tables(memory, tables_at)};
    for (std::uint64_t i{0}; i != size; ++i)
        *memory.at(gpa{code_at + i}, access::write) = static_cast<std::byte>(isolation_payload[i]);
    check("the payload is in place", ready);

    auto& cpu = machine.cpu(0);
    auto& handler = cpu.handlers().template get<watch<Machine>>();
    cpu.start(guest::long_mode_start(code_at, tables_at, 0));
    host_registers registers{h};
    registers.fill();
    host_registers::spoil_fpu();
    handler.expected = registers.read();
    auto different = host_registers::count;
    std::uint64_t runs{0};
    while (not machine.stopped()) {
        cpu.run();
        host_registers::spoil_fpu();
        ++runs;
        auto const now = registers.read();
        for (std::size_t i{0}; i != now.size(); ++i)
            if (now[i] != handler.expected[i] and different == host_registers::count)
                different = i;
    }
    text t;
    t << "runs ";
    t.decimal(runs) << ", exits watched ";
    h.log(t.decimal(handler.exits).view());

    auto const& reason = machine.reason();
    auto const good = reason.kind == stop_kind::exit_code and reason.code == 0;
    if (not good) {
        std::array<std::uint64_t, 3> result{};
        auto const at = code_at + static_cast<std::uint64_t>(isolation_result - isolation_payload);
        for (std::size_t i{0}; i != result.size(); ++i)
            __builtin_memcpy(&result[i], memory.at(gpa{at + i * 8}, access::read), 8);
        t.clear();
        h.log((t << "the guest stopped: " << name_of(reason.kind) << " " << reason.text).view());
        auto found = guest_register(result[0]);
        found << ", expected 0x";
        found.hex(result[1]) << ", seen 0x";
        h.log(found.hex(result[2]).view());
        cpu.hardware().dump(h);
    }
    check("the guest found its registers as it left them, 1000 times", good and handler.exits >= 1000);
    auto const say = [&](std::string_view when, std::size_t which) {
        if (which != host_registers::count)
            h.log((text{} << "differs: " << host_registers::names[which]).view());
        check(when, which == host_registers::count);
    };
    say("the host's registers at each exit", handler.different);
    say("the host's registers behind each run", different);
    check("many runs", runs > 1000 / exits_of_a_run);
}

/// The program of an image: its exit status.
template <typename Machine>
auto prove_isolation(host& h, bare::boot_information const& boot) -> int {
    using machine_type = vm<Machine, host>;
    checks check{h};
    vmm<Machine, host> monitor{h};
    auto* const place = h.allocate(sizeof(machine_type), page_size);
    if (monitor.enable() != status::ok or place == nullptr) {
        h.log("no virtualisation");
        return 2;
    }
    auto& machine = *new (place) machine_type;
    if (monitor.create(machine) != status::ok or machine.activate(0) != status::ok or
        machine.give_memory({.size = memory_size}) != status::ok) {
        h.log("no machine");
        return 2;
    }
    check_memory(h, boot, machine, check);
    check_registers(h, machine, check);
    machine.destroy();
    monitor.disable();
    return check.wrong() == 0 ? 0 : 1;
}

} // namespace hv::test
