// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/load.hpp>

#include <cstdint>

/// ELF executables. System V Application Binary Interface, "ELF Header" and "Program Header".
namespace hv::guest::elf {

enum class machine : std::uint16_t { i386 = 3, x86_64 = 62 };

/// A PT_LOAD program header of either class; other types have `loads` false.
struct segment {
    bool loads{};
    std::uint64_t offset{};
    std::uint64_t virtual_address{};
    std::uint64_t physical_address{};
    std::uint64_t file_size{};
    std::uint64_t memory_size{};
};

/// An ELF header that was checked.
struct executable {
    file bytes{};
    bool is_64{};
    std::uint64_t entry{};
    std::uint64_t table{};
    std::uint16_t entry_size{};
    std::uint16_t count{};

    [[nodiscard, gnu::cold]] constexpr auto segment_at(std::uint16_t index) const -> segment {
        auto const at = table + std::uint64_t{index} * entry_size;
        auto const u32 = [this, at](unsigned offset) { return number_at<std::uint32_t>(bytes, at + offset); };
        auto const u64 = [this, at](unsigned offset) { return number_at<std::uint64_t>(bytes, at + offset); };
        constexpr std::uint32_t pt_load{1};
        if (is_64)
            return {u32(0) == pt_load, u64(8), u64(16), u64(24), u64(32), u64(40)};
        return {u32(0) == pt_load, u32(4), u32(8), u32(12), u32(16), u32(20)};
    }
};

[[nodiscard]] constexpr auto has_magic(file bytes) -> bool {
    return number_at<std::uint32_t>(bytes, 0) == 0x464c457f;
}
[[nodiscard]] constexpr auto is_64(file bytes) -> bool {
    return number_at<std::uint8_t>(bytes, 4) == 2;
}

/// Checks the header and the table of segments; every refusal has its sentence.
[[nodiscard, gnu::cold]] constexpr auto parse(file bytes, executable& out) -> refusal {
    auto const u8 = [bytes](unsigned at) { return number_at<std::uint8_t>(bytes, at); };
    auto const u16 = [bytes](unsigned at) { return number_at<std::uint16_t>(bytes, at); };
    if (not has_magic(bytes))
        return {status::invalid_argument, "The image is not an ELF file."};
    auto const class_64 = is_64(bytes);
    if (not class_64 and u8(4) != 1)
        return {status::invalid_argument, "The ELF file is neither of the 32-bit nor of the 64-bit class."};
    if (bytes.size() < (class_64 ? 64u : 52u))
        return {status::invalid_argument, "The ELF file ends inside its header."};
    if (u8(5) != 1)
        return {status::not_supported, "The ELF file is not little-endian."};
    if (u16(18) != static_cast<std::uint16_t>(class_64 ? machine::x86_64 : machine::i386))
        return {status::not_supported, "The ELF file is for another architecture than x86."};
    constexpr std::uint16_t et_exec{2};
    if (u16(16) != et_exec)
        return {status::not_supported, "The ELF file is not an executable at fixed addresses."};

    if (class_64)
        out = {bytes, true, number_at<std::uint64_t>(bytes, 24), number_at<std::uint64_t>(bytes, 32), u16(54), u16(56)};
    else
        out = {bytes,   false,  number_at<std::uint32_t>(bytes, 24), number_at<std::uint32_t>(bytes, 28),
               u16(42), u16(44)};
    if (out.count == 0)
        return {status::invalid_argument, "The ELF file has no program headers, so nothing says where it loads."};
    if (out.entry_size < (class_64 ? 56u : 32u))
        return {status::invalid_argument, "The program headers of the ELF file are too small."};
    if (not holds(bytes, out.table, std::uint64_t{out.count} * out.entry_size))
        return {status::invalid_argument, "The ELF file ends inside its program headers."};
    return {};
}

/// The guest-physical range that an image came to occupy, and where it starts running.
struct placement {
    std::uint64_t first{UINT64_MAX};
    std::uint64_t end{};
    std::uint64_t entry{};
};

namespace detail {

/// Whether everything that loads is in the file and fits into memory at or above `lowest`.
[[nodiscard, gnu::cold]] constexpr auto check(executable const& image, memory_layout layout, std::uint64_t lowest,
                                              placement& out) -> refusal {
    std::uint64_t total{};
    bool entry_found{};
    for (std::uint16_t i{}; i != image.count; ++i) {
        auto const s = image.segment_at(i);
        if (not s.loads or s.memory_size == 0)
            continue;
        if (s.file_size > s.memory_size)
            return {status::invalid_argument, "A segment of the ELF file has more bytes than memory."};
        if (not holds(image.bytes, s.offset, s.file_size))
            return {status::invalid_argument, "The ELF file ends inside a segment."};
        if (not layout.contains(s.physical_address, s.memory_size))
            return {status::file_too_big, "A segment of the ELF file lies beyond the guest's memory."};
        if (s.physical_address < lowest)
            return {status::not_supported, "A segment of the ELF file lies where the loader's tables go."};
        if (s.memory_size > layout.size - total) // also bounds the work that a hostile file can ask for
            return {status::invalid_argument, "The segments of the ELF file overlap."};
        total += s.memory_size;
        if (s.physical_address < out.first)
            out.first = s.physical_address;
        if (s.physical_address + s.memory_size > out.end)
            out.end = s.physical_address + s.memory_size;
        // An entry point is a physical address by convention, but kernels linked high may give a virtual one.
        if (image.entry - s.physical_address < s.memory_size) {
            out.entry = image.entry;
            entry_found = true;
        } else if (not entry_found and image.entry - s.virtual_address < s.memory_size) {
            out.entry = image.entry - s.virtual_address + s.physical_address;
            entry_found = true;
        }
    }
    if (out.end == 0)
        return {status::invalid_argument, "No segment of the ELF file is to be loaded."};
    if (not entry_found)
        return {status::invalid_argument, "The entry point of the ELF file lies in none of its segments."};
    return {};
}

} // namespace detail

/// Copies the segments to their physical addresses and zeroes what the file does not fill. Refuses before the first
/// write, except where memory itself does not take a write.
template <guest_memory M>
[[nodiscard, gnu::cold]] constexpr auto load(M& memory, executable const& image, memory_layout layout,
                                             std::uint64_t lowest, placement& out) -> refusal {
    if (auto const no = detail::check(image, layout, lowest, out))
        return no;
    for (std::uint16_t i{}; i != image.count; ++i) {
        auto const s = image.segment_at(i);
        if (not s.loads or s.memory_size == 0)
            continue;
        if (not place(memory, s.physical_address, part_of(image.bytes, s.offset, s.file_size)) or
            not clear(memory, s.physical_address + s.file_size, s.memory_size - s.file_size))
            return guest::detail::not_memory;
    }
    return {};
}

} // namespace hv::guest::elf
