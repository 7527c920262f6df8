// SPDX-License-Identifier: BSD-2-Clause
// Prints what a Multiboot loader handed over.
#include "payload.hpp"

extern "C" {
extern char const payload_name[];
char const payload_name[]{"report"};
extern payload::u64 boot_magic, boot_information;
}

using namespace payload;

namespace {

// Multiboot Specification, "Boot information format".
struct information {
    u32 flags, mem_lower, mem_upper, boot_device, command_line, modules_count, modules;
    u32 symbols[4];
    u32 map_length, map;
};
struct module {
    u32 start, end, string, reserved;
};

void print_text(char const* name, u32 address) {
    print(name);
    print(" [");
    print(reinterpret_cast<char const*>(u64{address}));
    print("]\n");
}

void print_number(char const* name, u64 value) {
    print(name);
    print_decimal(value);
}

} // namespace

void payload::run() {
    expect_equal(boot_magic & 0xffffffff, 0x2badb002, "EAX is the loader's magic");
    auto const& i = *reinterpret_cast<information const*>(boot_information & 0xffffffff);
    expect_equal(i.flags & 0x4d, 0x4d, "memory, command line, modules and memory map are there");
    print_number("lower ", i.mem_lower);
    print_number(" KiB, upper ", i.mem_upper);
    print_number(" KiB, map entries ", i.map_length / 24);
    print("\n");
    print_text("command line", i.command_line);
    for (u32 n{}; n != i.modules_count; ++n) {
        auto const& m = reinterpret_cast<module const*>(u64{i.modules})[n];
        expect_equal(m.start & 4095, 0, "a module begins a page");
        u64 sum{};
        for (u64 at{m.start}; at != m.end; ++at)
            sum += *reinterpret_cast<u8 const*>(at);
        print_number("module ", n);
        print_number(": bytes ", m.end - m.start);
        print_number(", sum ", sum);
        print_text(", string", m.string);
    }
}
