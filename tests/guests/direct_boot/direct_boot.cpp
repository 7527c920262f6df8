// SPDX-License-Identifier: BSD-2-Clause
#include "devices.hpp"

#include <hv/guest/acpi.hpp>
#include <hv/guest/image.hpp>
#include <hv/guest/mp_table.hpp>

#include <cstddef>
#include <span>
#include <string_view>

/// A boot loader made of the library's own: it loads the first module into this computer's memory as if that were a
/// guest's, writes the firmware tables, and jumps. So the loaders and tables meet real kernels without a hypervisor.
namespace {

constexpr hv::guest::memory_layout layout{512ull << 20};

/// Guest memory that is this computer's own.
struct own_memory {
    auto at(hv::gpa address, hv::access) -> std::byte* {
        return layout.contains(address.value, 1) ? reinterpret_cast<std::byte*>(address.value) : nullptr;
    }
};

struct multiboot_information {
    payload::u32 flags, lower, upper, boot_device, command_line, module_count, modules;
};
struct multiboot_module {
    payload::u32 start, end, text, reserved;
};

auto text_at(payload::u32 address) -> std::string_view {
    return reinterpret_cast<char const*>(payload::u64{address});
}

/// The first word of a text, or what follows it.
auto first_word(std::string_view text) -> std::string_view {
    std::size_t n{};
    while (n != text.size() and text[n] != ' ')
        ++n;
    return {text.data(), n};
}
auto behind_first_word(std::string_view text) -> std::string_view {
    text.remove_prefix(first_word(text).size());
    if (not text.empty())
        text.remove_prefix(1);
    return text;
}

auto module_of(multiboot_module const& m) -> hv::guest::boot_module {
    return {{reinterpret_cast<std::byte const*>(payload::u64{m.start}), m.end - m.start}, text_at(m.text)};
}

/// SeaBIOS leaves the BIOS area write-protected: q35's registers PAM0-6 open it. Intel Q35 datasheet, "Programmable
/// Attribute Map".
void open_bios_area() {
    constexpr payload::u32 first{0x80000090};
    for (payload::u32 offset{}; offset != 8; offset += 4) {
        payload::out32(0xcf8, first + offset);
        payload::out32(0xcfc, offset == 0 ? 0x33333330 : 0x00333333);
    }
}

/// QEMU's board, as SeaBIOS leaves it.
constexpr hv::guest::platform board{.hpet_block_id = 0x8086a201, .pm_timer_32_bits = false, .sleep_type_s5 = 0};

} // namespace

// What string_view and the loaders call.
extern "C" auto strlen(char const* text) -> std::size_t {
    std::size_t n{};
    while (static_cast<char const volatile*>(text)[n] != 0)
        ++n;
    return n;
}

extern "C" {
extern payload::u64 boot_information;
void enter_long_mode(payload::u64 const* registers, payload::u64 rip, payload::u64 cr3, void const* descriptors);
void enter_protected_mode(payload::u32 eip, payload::u32 eax, payload::u32 ebx, void const* descriptors);
}

asm(R"(
        .text
        .code64
enter_long_mode:                        # RDI: general registers; RSI: RIP; RDX: CR3; RCX: descriptor table
        mov %rdx, %cr3
        lgdt (%rcx)
        mov $0x18, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %eax, %fs
        mov %eax, %gs
        mov 32(%rdi), %rsp
        push $0x10
        push %rsi
        mov 48(%rdi), %rsi
        lretq

enter_protected_mode:                   # EDI: EIP; ESI: EAX; EDX: EBX; RCX: descriptor table
        mov %edx, %ebx
        mov %rcx, %rbp
        movl $1f, far_32
        movw $0x18, far_32 + 4
        ljmp *far_32
        .code32
1:      mov %cr0, %eax
        and $0x7fffffff, %eax
        mov %eax, %cr0
        mov $0xc0000080, %ecx
        rdmsr
        and $0xfffffeff, %eax
        wrmsr
        xor %eax, %eax
        mov %eax, %cr4
        mov $0x11, %eax
        mov %eax, %cr0
        lgdt (%ebp)
        mov $0x18, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov %eax, %fs
        mov %eax, %gs
        mov %edi, far_32
        movw $0x10, far_32 + 4
        mov %esi, %eax
        ljmp *far_32
        .code64
        .bss
        .balign 8
far_32: .skip 8
        .text
)");

void payload::run() {
    auto const& information = *reinterpret_cast<multiboot_information const*>(boot_information);
    auto const* const modules = reinterpret_cast<multiboot_module const*>(u64{information.modules});
    if (information.module_count == 0) {
        fail("no module to boot");
        finish();
    }
    open_bios_area();
    own_memory memory;
    static hv::guest::boot_module files[8];
    auto const count = information.module_count < 9 ? information.module_count : 9;
    for (u32 i{1}; i != count; ++i)
        files[i - 1] = module_of(modules[i]);
    auto const kernel = module_of(modules[0]);
    auto const rsdp = hv::guest::write_acpi_tables(memory, board);
    (void)hv::guest::mp::write(memory, board);
    auto const loaded = hv::guest::load(memory, {.image = kernel.bytes,
                                                 .name = first_word(kernel.text),
                                                 .command_line = behind_first_word(kernel.text),
                                                 .modules = {files, count - 1},
                                                 .layout = layout,
                                                 .rsdp = rsdp,
                                                 .tsc_khz = tsc_per_ms()});
    if (not loaded) {
        for (char const c : loaded.reason)
            print_char(c);
        fail(" (refused)");
        finish();
    }
    auto const& start = loaded.start;
    struct [[gnu::packed]] {
        u16 limit;
        u64 base;
    } const table{start.gdtr.limit, start.gdtr.base};
    if (start.mode == hv::guest::start_mode::long64)
        enter_long_mode(start.gpr.data(), start.rip, start.cr3, &table);
    else if (start.mode == hv::guest::start_mode::protected32)
        enter_protected_mode(static_cast<u32>(start.rip), static_cast<u32>(start.reg(hv::x86::gpr::rax)),
                             static_cast<u32>(start.reg(hv::x86::gpr::rbx)), &table);
    fail("nothing to jump to");
}
