// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/elf.hpp>
#include <hv/guest/load.hpp>
#include <hv/guest/table_writer.hpp>

#include <cstdint>

/// Kernels of the Multiboot Specification, version 0.6.96. Header flags beyond "load by the addresses in the header"
/// change nothing: modules are always page-aligned, and memory sizes, memory map and command line always there.
///
/// Behind the kernel come, each from a page's start, the boot information with its strings, and the modules.
namespace hv::guest::multiboot {

inline constexpr std::uint32_t header_magic{0x1badb002};
inline constexpr std::uint32_t boot_magic{0x2badb002};
inline constexpr std::uint64_t header_search{8192};

namespace header_flag {
inline constexpr std::uint32_t addresses{1u << 16};
inline constexpr std::uint32_t required{0xffff};
inline constexpr std::uint32_t known_required{7}; ///< page-aligned modules, memory information, video mode
} // namespace header_flag

namespace info_flag {
inline constexpr std::uint32_t memory{1u << 0};
inline constexpr std::uint32_t command_line{1u << 2};
inline constexpr std::uint32_t modules{1u << 3};
inline constexpr std::uint32_t memory_map{1u << 6};
inline constexpr std::uint32_t boot_loader_name{1u << 9};
} // namespace info_flag

/// A Multiboot header in a file.
struct header {
    bool found{};
    std::uint32_t offset{};
    std::uint32_t flags{};
};

[[nodiscard]] constexpr auto find_header(file bytes) -> header {
    for (std::uint32_t at{}; at + 12 <= header_search and holds(bytes, at, 12); at += 4) {
        auto const flags = number_at<std::uint32_t>(bytes, at + 4);
        if (number_at<std::uint32_t>(bytes, at) == header_magic and
            header_magic + flags + number_at<std::uint32_t>(bytes, at + 8) == 0)
            return {true, at, flags};
    }
    return {};
}

namespace detail {

/// Loads by the addresses in the header: for files that are not ELF, or not ELF32.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto load_by_header(M& memory, load_request const& request, header const& h,
                                                       elf::placement& out) -> refusal {
    auto const bytes = request.image;
    if (not holds(bytes, h.offset, 32))
        return {status::invalid_argument, "The file ends inside its Multiboot header."};
    auto const field = [bytes, h](unsigned offset) -> std::uint64_t {
        return number_at<std::uint32_t>(bytes, h.offset + offset);
    };
    auto const header_address = field(12), load_address = field(16), load_end = field(20), bss_end = field(24);
    if (load_address > header_address or header_address - load_address > h.offset)
        return {status::invalid_argument, "The load address of the Multiboot header lies before the file."};
    auto const offset = h.offset - (header_address - load_address);
    auto const rest = bytes.size() - offset;
    auto const size = load_end == 0 ? rest : load_end - load_address;
    if (load_end != 0 and (load_end < load_address or size > rest))
        return {status::invalid_argument, "The load end address of the Multiboot header lies beyond the file."};
    auto const end = bss_end == 0 ? load_address + size : bss_end;
    if (end < load_address + size)
        return {status::invalid_argument, "The bss of the Multiboot header ends before its data."};
    if (not request.layout.contains(load_address, end - load_address))
        return {status::file_too_big, "The kernel lies beyond the guest's memory."};
    out = {load_address, end, field(28)};
    if (out.entry < out.first or out.entry >= out.end)
        return {status::invalid_argument, "The entry address of the Multiboot header lies outside the kernel."};
    if (not place(memory, load_address, part_of(bytes, offset, size)) or
        not clear(memory, load_address + size, end - load_address - size))
        return guest::detail::not_memory;
    return {};
}

template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto load_kernel(M& memory, load_request const& request, elf::placement& out)
    -> refusal {
    auto const h = find_header(request.image);
    if (not h.found)
        return {status::invalid_argument, "The file has no Multiboot header in its first 8 KiB."};
    if ((h.flags & header_flag::required & ~header_flag::known_required) != 0)
        return {status::not_supported, "The Multiboot header requires something that Multiboot 1 does not define."};
    if ((h.flags & header_flag::addresses) != 0)
        return load_by_header(memory, request, h, out);
    elf::executable image{};
    if (auto const no = elf::parse(request.image, image))
        return no;
    return elf::load(memory, image, request.layout, 0, out);
}

/// Where the information and all that it points at go.
struct plan {
    std::uint64_t information{};
    std::uint64_t first_module{};
    std::uint64_t end{};
};

inline constexpr std::uint32_t information_size{120};
inline constexpr std::uint32_t map_entry_size{24};
inline constexpr std::uint32_t module_entry_size{16};
inline constexpr std::string_view loader_name{"hv"};

/// False if it does not fit into memory below 4 GiB.
[[nodiscard]] constexpr auto make_plan(load_request const& request, std::uint64_t kernel_end, plan& out) -> bool {
    auto const limit = request.layout.below_4g();
    std::uint64_t strings{request.name.size() + request.command_line.size() + loader_name.size() + 3};
    for (auto const& module : request.modules)
        strings += module.text.size() + 1;
    auto const map = request.layout.map().count * map_entry_size;
    auto const block = sizeof(flat_descriptors(start_mode::protected32)) + information_size + map +
                       request.modules.size() * module_entry_size + strings;
    // No sum wraps: sizes are those of objects in the caller's memory, and each step stays below 4 GiB.
    out.information = align_up(kernel_end < one_mib ? one_mib : kernel_end, page_size);
    out.first_module = align_up(out.information + block, page_size);
    out.end = out.first_module;
    for (auto const& module : request.modules) {
        if (out.end > limit or module.bytes.size() > limit)
            return false;
        out.end = align_up(out.end + module.bytes.size(), page_size);
    }
    return out.end <= limit;
}

/// Answers where the information structure is, in the register that the kernel gets it in.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto write_information(M& memory, load_request const& request, plan const& where,
                                                          std::uint32_t& information) -> bool {
    table_writer out{memory, where.information, where.first_module};
    for (auto const descriptor : flat_descriptors(start_mode::protected32))
        out.put(descriptor);

    auto const map = static_cast<std::uint32_t>(out.position());
    auto const ranges = request.layout.map();
    for (auto const& range : ranges) {
        out.put(map_entry_size - 4); // the size does not count itself
        out.put(range.first);
        out.put(range.size);
        out.put(static_cast<std::uint32_t>(range.type));
    }
    auto const map_size = static_cast<std::uint32_t>(out.position()) - map;

    auto const modules = static_cast<std::uint32_t>(out.position());
    auto const count = static_cast<std::uint32_t>(request.modules.size());
    information = modules + count * module_entry_size;
    auto text = information + information_size;
    auto start = static_cast<std::uint32_t>(where.first_module);
    for (auto const& module : request.modules) {
        auto const size = static_cast<std::uint32_t>(module.bytes.size());
        out.put(start);
        out.put(start + size);
        out.put(text);
        out.put(std::uint32_t{});
        start = static_cast<std::uint32_t>(align_up(start + size, page_size));
        text += static_cast<std::uint32_t>(module.text.size()) + 1;
    }

    auto const low = request.layout.below_4g();
    auto const kib = [](std::uint64_t bytes) { return static_cast<std::uint32_t>(bytes >> 10); };
    auto const command_line = text;
    auto const name_size = static_cast<std::uint32_t>(request.name.size() + request.command_line.size() + 2);
    out.put(info_flag::memory | info_flag::command_line | info_flag::modules | info_flag::memory_map |
            info_flag::boot_loader_name);
    out.put(kib(low < memory_layout::reserved_first ? low : memory_layout::reserved_first));
    out.put(kib(low < one_mib ? 0 : low - one_mib));
    out.put(std::uint32_t{}); // boot device: not told
    out.put(command_line);
    out.put(count);
    out.put(modules);
    out.zeros(16); // symbols: none
    out.put(map_size);
    out.put(map);
    out.zeros(12); // drives, configuration table: none
    out.put(command_line + name_size);
    out.zeros(information_size - 68);

    for (auto const& module : request.modules) {
        out.put(module.text);
        out.zeros(1);
    }
    out.put(request.name);
    out.put(" ");
    out.put(request.command_line);
    out.zeros(1);
    out.put(loader_name);
    out.zeros(1);
    return out.ok();
}

} // namespace detail

/// Loads a Multiboot kernel with its modules.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto load(M& memory, load_request const& request) -> load_result {
    elf::placement kernel{};
    if (auto const no = detail::load_kernel(memory, request, kernel))
        return no;
    if (kernel.end > four_gib)
        return {.error = status::file_too_big, .reason = "The kernel lies above 4 GiB, where it cannot start."};
    detail::plan where{};
    if (not detail::make_plan(request, kernel.end, where))
        return {.error = status::file_too_big,
                .reason = "The modules do not fit between the kernel and the end of memory."};
    std::uint32_t information{};
    if (not detail::write_information(memory, request, where, information))
        return guest::detail::not_memory;
    auto at = where.first_module;
    for (auto const& module : request.modules) {
        if (not place(memory, at, module.bytes))
            return guest::detail::not_memory;
        at = align_up(at + module.bytes.size(), page_size);
    }
    auto start = protected_mode_start(static_cast<std::uint32_t>(kernel.entry), where.information);
    start.reg(x86::gpr::rax) = boot_magic;
    start.reg(x86::gpr::rbx) = information;
    return {.start = start};
}

} // namespace hv::guest::multiboot
