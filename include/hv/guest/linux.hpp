// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/elf.hpp>
#include <hv/guest/identity_tables.hpp>
#include <hv/guest/load.hpp>

#include <cstdint>

/// Linux by the 64-bit boot protocol: a decompressed vmlinux or a bzImage. Linux kernel documentation, "The Linux/x86
/// Boot Protocol", "64-bit Boot Protocol" and "Zero Page".
///
/// Guest memory below 1 MiB at the start, all of it the kernel's once it runs:
/// 0x1000 GDT, 0x2000 zero page, 0x3000-0x8fff page tables, up to 0xa000 stack, 0x10000-0x1ffff command line.
namespace hv::guest::linux_boot {

inline constexpr std::uint64_t descriptors{0x1000};
inline constexpr std::uint64_t zero_page{0x2000};
inline constexpr std::uint64_t page_tables{0x3000};
inline constexpr std::uint64_t stack_end{0xa000};
inline constexpr std::uint64_t command_line{0x10000};
inline constexpr std::uint32_t command_line_room{0x10000};
static_assert(page_tables + identity_tables_size <= stack_end - page_size);

/// Offsets into the setup header of a bzImage and the same places of the zero page.
namespace field {
inline constexpr unsigned acpi_rsdp_addr{0x70};
inline constexpr unsigned e820_entries{0x1e8};
inline constexpr unsigned setup_sects{0x1f1};
inline constexpr unsigned syssize{0x1f4};
inline constexpr unsigned boot_flag{0x1fe};
inline constexpr unsigned jump{0x200};
inline constexpr unsigned header{0x202};
inline constexpr unsigned version{0x206};
inline constexpr unsigned type_of_loader{0x210};
inline constexpr unsigned loadflags{0x211};
inline constexpr unsigned code32_start{0x214};
inline constexpr unsigned ramdisk_image{0x218};
inline constexpr unsigned ramdisk_size{0x21c};
inline constexpr unsigned cmd_line_ptr{0x228};
inline constexpr unsigned initrd_addr_max{0x22c};
inline constexpr unsigned kernel_alignment{0x230};
inline constexpr unsigned relocatable_kernel{0x234};
inline constexpr unsigned xloadflags{0x236};
inline constexpr unsigned cmdline_size{0x238};
inline constexpr unsigned pref_address{0x258};
inline constexpr unsigned init_size{0x260};
inline constexpr unsigned setup_header_end{0x290}; ///< the E820 table must not be reached
inline constexpr unsigned e820_table{0x2d0};
} // namespace field

inline constexpr std::uint16_t boot_flag_value{0xaa55};
inline constexpr std::uint32_t header_magic{0x53726448}; ///< "HdrS"
inline constexpr std::uint8_t loaded_high{1};
inline constexpr std::uint16_t kernel_64{1};

/// Where the kernel went and what it asked for.
struct kernel {
    std::uint64_t entry{};
    std::uint64_t load_address{};
    std::uint64_t end{};                    ///< of all memory that it uses before it reads the memory map
    std::uint32_t initrd_limit{0x7fffffff}; ///< highest address that the initial RAM disk may use
    std::uint32_t command_line_limit{2047}; ///< bytes, without the NUL
    file setup_header{};                    ///< of a bzImage, from setup_sects on
};

namespace detail {

template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto write_zero_page(M& memory, load_request const& request, kernel const& loaded,
                                                        std::uint64_t initrd) -> bool {
    bool ok{clear(memory, zero_page, page_size)};
    auto const put = [&memory, &ok](std::uint64_t offset, auto value) {
        ok = ok and place_value(memory, zero_page + offset, value);
    };
    if (loaded.setup_header.empty()) {
        put(field::boot_flag, boot_flag_value);
        put(field::header, header_magic);
        put(field::version, std::uint16_t{0x20f});
        put(field::kernel_alignment, std::uint32_t{0x200000});
        put(field::loadflags, loaded_high);
    } else {
        ok = ok and place(memory, zero_page + field::setup_sects, loaded.setup_header);
    }
    put(field::type_of_loader, std::uint8_t{0xff}); // a loader without a number of its own
    put(field::code32_start, static_cast<std::uint32_t>(loaded.load_address));
    put(field::cmd_line_ptr, static_cast<std::uint32_t>(command_line));
    put(field::acpi_rsdp_addr, request.rsdp);
    if (not request.modules.empty()) {
        put(field::ramdisk_image, static_cast<std::uint32_t>(initrd));
        put(field::ramdisk_size, static_cast<std::uint32_t>(request.modules[0].bytes.size()));
    }
    auto const map = request.layout.map();
    put(field::e820_entries, static_cast<std::uint8_t>(map.count));
    std::uint64_t at{field::e820_table};
    for (auto const& range : map) {
        put(at, range.first);
        put(at + 8, range.size);
        put(at + 16, static_cast<std::uint32_t>(range.type));
        at += 20;
    }
    return ok;
}

/// As high as allowed, so that it is out of the way of the kernel, which grows upwards.
template <guest_memory M>
[[nodiscard]] constexpr auto place_initrd(M& memory, load_request const& request, kernel const& loaded,
                                          std::uint64_t& at) -> refusal {
    if (request.modules.size() > 1)
        return {status::invalid_argument, "Linux takes one module, its initial RAM disk."};
    if (request.modules.empty())
        return {};
    auto const bytes = request.modules[0].bytes;
    auto const limit = std::uint64_t{loaded.initrd_limit} + 1;
    auto const top = request.layout.below_4g() < limit ? request.layout.below_4g() : limit;
    if (bytes.size() > top or align_down(top - bytes.size(), page_size) < loaded.end)
        return {status::file_too_big, "The initial RAM disk does not fit between the kernel and the end of memory."};
    at = align_down(top - bytes.size(), page_size);
    if (not place(memory, at, bytes))
        return guest::detail::not_memory;
    return {};
}

inline constexpr std::string_view tsc_option{"tsc_early_khz="};

[[nodiscard]] constexpr auto mentions(std::string_view text, std::string_view word) -> bool {
    for (std::size_t at{}; at + word.size() <= text.size(); ++at) {
        std::size_t same{};
        while (same != word.size() and text[at + same] == word[same])
            ++same;
        if (same == word.size())
            return true;
    }
    return false;
}

/// A command line in the making.
template <guest_memory M>
struct line_writer {
    M& memory;
    std::uint32_t limit{};
    std::uint32_t size{};
    bool fits{true};
    bool ok{true};

    constexpr void add(std::string_view text) {
        for (char const c : text)
            add(c);
    }
    constexpr void add(char c) {
        fits = fits and size < limit;
        ok = ok and fits and place_value(memory, command_line + size++, c);
    }
    constexpr void add_decimal(std::uint64_t value) {
        std::uint64_t scale{1};
        while (value / scale >= 10)
            scale *= 10;
        for (; scale != 0; scale /= 10)
            add(static_cast<char>('0' + value / scale % 10));
    }
};

template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto write_command_line(M& memory, load_request const& request, kernel const& loaded)
    -> refusal {
    auto const room = command_line_room - 1;
    line_writer<M> line{memory, loaded.command_line_limit < room ? loaded.command_line_limit : room};
    line.add(request.command_line);
    if (request.tsc_khz != 0 and not mentions(request.command_line, tsc_option)) {
        if (line.size != 0)
            line.add(' ');
        line.add(tsc_option);
        line.add_decimal(request.tsc_khz);
    }
    if (not line.fits)
        return {status::too_big, "The command line is longer than the kernel takes."};
    if (not line.ok or not place_value(memory, command_line + line.size, '\0'))
        return guest::detail::not_memory;
    return {};
}

/// What is the same for both kinds of file.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto finish(M& memory, load_request const& request, kernel const& loaded)
    -> load_result {
    if (auto const no = write_command_line(memory, request, loaded))
        return no;
    std::uint64_t initrd{};
    if (auto const no = place_initrd(memory, request, loaded, initrd))
        return no;
    if (not write_zero_page(memory, request, loaded, initrd) or not write_identity_tables(memory, page_tables) or
        not place_value(memory, descriptors, flat_descriptors(start_mode::long64)))
        return guest::detail::not_memory;
    auto start = long_mode_start(loaded.entry, page_tables, descriptors);
    start.reg(x86::gpr::rsi) = zero_page;
    start.reg(x86::gpr::rsp) = stack_end;
    return {.start = start};
}

} // namespace detail

/// Loads a vmlinux.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto load_elf(M& memory, load_request const& request) -> load_result {
    elf::executable image{};
    if (auto const no = elf::parse(request.image, image))
        return no;
    if (not image.is_64)
        return {.error = status::not_supported, .reason = "The ELF file is a 32-bit program without Multiboot header."};
    elf::placement where{};
    if (auto const no = elf::load(memory, image, request.layout, one_mib, where))
        return no;
    if (where.end > four_gib)
        return {.error = status::file_too_big, .reason = "The kernel lies above 4 GiB, where it cannot start."};
    return detail::finish(memory, request, {.entry = where.entry, .load_address = where.first, .end = where.end});
}

/// Whether the file has the setup header of the boot protocol.
[[nodiscard]] constexpr auto is_linux_image(file bytes) -> bool {
    return number_at<std::uint16_t>(bytes, field::boot_flag) == boot_flag_value and
           number_at<std::uint32_t>(bytes, field::header) == header_magic;
}

namespace detail {

/// Where a bzImage goes: its preferred address, or the lowest that suits a relocatable one; 0 if nowhere.
[[nodiscard, gnu::cold]] constexpr auto load_address(file bytes, memory_layout layout) -> std::uint64_t {
    auto const size = number_at<std::uint32_t>(bytes, field::init_size);
    auto const fits = [=](std::uint64_t at) { return at >= one_mib and at < four_gib and layout.contains(at, size); };
    if (auto const preferred = number_at<std::uint64_t>(bytes, field::pref_address); fits(preferred))
        return preferred;
    auto const alignment = number_at<std::uint32_t>(bytes, field::kernel_alignment);
    if (number_at<std::uint8_t>(bytes, field::relocatable_kernel) == 0 or not is_power_of_two(alignment))
        return 0;
    auto const lowest = align_up(one_mib, alignment);
    return fits(lowest) ? lowest : 0;
}

[[nodiscard]] constexpr auto check_image(file bytes) -> refusal {
    if (not is_linux_image(bytes))
        return {status::invalid_argument, "The file has no Linux setup header."};
    if (number_at<std::uint16_t>(bytes, field::version) < 0x20c)
        return {status::not_supported, "The kernel's boot protocol is older than 2.12."};
    if (bytes.size() < field::setup_header_end)
        return {status::invalid_argument, "The kernel ends inside its setup header."};
    if ((number_at<std::uint8_t>(bytes, field::loadflags) & loaded_high) == 0)
        return {status::not_supported, "The kernel is a zImage, which loads low."};
    if ((number_at<std::uint16_t>(bytes, field::xloadflags) & kernel_64) == 0)
        return {status::not_supported, "The kernel has no 64-bit entry."};
    return {};
}

} // namespace detail

/// Loads a bzImage.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto load_image(M& memory, load_request const& request) -> load_result {
    auto const bytes = request.image;
    if (auto const no = detail::check_image(bytes))
        return no;
    auto const sectors = number_at<std::uint8_t>(bytes, field::setup_sects);
    auto const start = (std::uint64_t{sectors == 0 ? std::uint8_t{4} : sectors} + 1) * 512;
    auto const size = std::uint64_t{number_at<std::uint32_t>(bytes, field::syssize)} * 16;
    if (bytes.size() <= start or bytes.size() - start + 15 < size) // syssize is rounded up
        return {.error = status::invalid_argument, .reason = "The kernel ends before its code does."};
    auto const code = bytes.subspan(static_cast<std::size_t>(start));
    auto const init_size = number_at<std::uint32_t>(bytes, field::init_size);
    constexpr std::uint64_t entry_offset{0x200};
    if (init_size < code.size() or code.size() <= entry_offset)
        return {.error = status::invalid_argument, .reason = "The kernel's init_size does not hold its code."};
    auto const at = detail::load_address(bytes, request.layout);
    if (at == 0)
        return {.error = status::file_too_big, .reason = "The kernel does not fit into the guest's memory."};
    if (not place(memory, at, code))
        return guest::detail::not_memory;

    auto const header_end = field::header + unsigned{number_at<std::uint8_t>(bytes, field::jump + 1)};
    auto const kept = header_end < field::setup_header_end ? header_end : field::setup_header_end;
    return detail::finish(memory, request,
                          {.entry = at + entry_offset,
                           .load_address = at,
                           .end = at + init_size,
                           .initrd_limit = number_at<std::uint32_t>(bytes, field::initrd_addr_max),
                           .command_line_limit = number_at<std::uint32_t>(bytes, field::cmdline_size),
                           .setup_header = part_of(bytes, field::setup_sects, kept - field::setup_sects)});
}

} // namespace hv::guest::linux_boot
