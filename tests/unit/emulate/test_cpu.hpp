// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/execute.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace hv::test {

/// One device access, for comparison with what was expected.
struct device_access {
    char kind; ///< 'r', 'w' memory; 'i', 'o' ports
    std::uint64_t address;
    unsigned size;
    std::uint64_t value;

    auto operator==(device_access const&) const -> bool = default;
};

/// Guest memory of pages that exist or do not. Where none exists, there are devices.
struct page_memory {
    std::map<std::uint64_t, std::unique_ptr<std::array<std::byte, 4096>>> pages;
    std::map<std::uint64_t, bool> read_only;

    auto at(gpa address, access wanted) -> std::byte* {
        auto const found = pages.find(address.value >> 12);
        if (found == pages.end() or (wanted == access::write and read_only.contains(address.value >> 12)))
            return nullptr;
        return found->second->data() + address.page_offset();
    }
    void add(std::uint64_t address) {
        auto& page = pages[address >> 12];
        page = std::make_unique<std::array<std::byte, 4096>>();
    }
    void fill(std::uint64_t address, std::initializer_list<unsigned> bytes) {
        for (auto const byte : bytes) {
            auto* const p = at(gpa{address++}, access::read);
            *p = static_cast<std::byte>(byte);
        }
    }
    void put(std::uint64_t address, unsigned size, std::uint64_t value) {
        for (unsigned i{}; i < size; ++i)
            *at(gpa{address + i}, access::read) = static_cast<std::byte>(value >> 8 * i);
    }
    auto get(std::uint64_t address, unsigned size) -> std::uint64_t {
        std::uint64_t value{};
        for (unsigned i{}; i < size; ++i)
            value |= std::to_integer<std::uint64_t>(*at(gpa{address + i}, access::read)) << 8 * i;
        return value;
    }
};

/// What the guest sees of a processor; two of them compare.
struct register_file {
    std::array<std::uint64_t, 16> gpr{};
    std::uint64_t rip{};
    std::uint64_t rflags{2};
    std::array<std::uint64_t, 16> cr{};
    std::array<std::uint64_t, 8> dr{};
    std::uint64_t efer{};
    std::array<x86::segment, 8> segments{};
    std::uint8_t cpl{};

    auto operator==(register_file const&) const -> bool = default;
};

/// A processor for the emulator, with a log of its device accesses.
struct cpu : register_file {
    page_memory ram;
    std::vector<device_access> log;
    std::uint64_t device_value{0x1122334455667788};
    bool refuses_control_registers{};

    auto gpr(x86::gpr name) const -> std::uint64_t { return register_file::gpr[static_cast<unsigned>(name)]; }
    void set_gpr(x86::gpr name, std::uint64_t v) { register_file::gpr[static_cast<unsigned>(name)] = v; }
    auto rip() const -> std::uint64_t { return register_file::rip; }
    void set_rip(std::uint64_t v) { register_file::rip = v; }
    auto rflags() const -> std::uint64_t { return register_file::rflags; }
    void set_rflags(std::uint64_t v) { register_file::rflags = v; }
    auto cr0() const -> std::uint64_t { return cr[0]; }
    auto cr3() const -> std::uint64_t { return cr[3]; }
    auto cr4() const -> std::uint64_t { return cr[4]; }
    auto efer() const -> std::uint64_t { return register_file::efer; }
    auto segment(x86::segment_name name) const -> x86::segment { return segments[static_cast<unsigned>(name)]; }
    auto cpl() const -> std::uint8_t { return register_file::cpl; }
    auto memory() -> page_memory& { return ram; }

    auto read_mmio(gpa address, unsigned size) -> std::uint64_t {
        auto const value = arithmetic::truncate(device_value, size);
        device_value += 0x0101010101010101;
        log.push_back({'r', address.value, size, value});
        return value;
    }
    void write_mmio(gpa address, unsigned size, std::uint64_t value) {
        log.push_back({'w', address.value, size, value});
    }
    auto read_port(std::uint16_t port, unsigned size) -> std::uint32_t {
        auto const value = arithmetic::truncate(device_value, size);
        device_value += 0x0101010101010101;
        log.push_back({'i', port, size, value});
        return static_cast<std::uint32_t>(value);
    }
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) { log.push_back({'o', port, size, value}); }
    auto read_control_register(unsigned number) -> std::uint64_t { return cr[number]; }
    auto write_control_register(unsigned number, std::uint64_t value) -> bool {
        if (not refuses_control_registers)
            cr[number] = value;
        return not refuses_control_registers;
    }
    auto read_debug_register(unsigned number) -> std::uint64_t { return dr[number]; }
    void write_debug_register(unsigned number, std::uint64_t value) { dr[number] = value; }

    auto registers() const -> register_file const& { return *this; }
    auto& operator[](x86::gpr name) { return register_file::gpr[static_cast<unsigned>(name)]; }
    auto& operator[](x86::segment_name name) { return segments[static_cast<unsigned>(name)]; }
};
static_assert(emulation_cpu<cpu>);

inline constexpr std::uint64_t code_page{0x10000};
inline constexpr std::uint64_t data_page{0x20000};      ///< memory; the page behind it too
inline constexpr std::uint64_t device_page{0xfee00000}; ///< none

namespace access_rights {
inline constexpr std::uint32_t data{0x93 | x86::segment_access::default_big};
inline constexpr std::uint32_t code_32{0x9b | x86::segment_access::default_big};
inline constexpr std::uint32_t code_64{0x9b | x86::segment_access::long_mode};
} // namespace access_rights

/// A processor without paging, flat segments, code at `code_page`. Real 64-bit code needs paging; most tests do not.
inline auto make_cpu(code_size mode) -> cpu {
    cpu c;
    c.cr[0] = x86::cr0::pe;
    for (auto& s : c.segments)
        s = {.base = 0, .limit = 0xffffffff, .access = access_rights::data, .selector = 8};
    auto& cs = c[x86::segment_name::cs];
    cs.access = mode == code_size::bits_64   ? access_rights::code_64
                : mode == code_size::bits_32 ? access_rights::code_32
                                             : access_rights::code_32 & ~x86::segment_access::default_big;
    if (mode == code_size::bits_64)
        c.register_file::efer = x86::efer::lme | x86::efer::lma;
    c.register_file::rip = code_page;
    for (auto const page : {code_page, data_page, data_page + 0x1000})
        c.ram.add(page);
    c[x86::gpr::rsp] = data_page + 0x800;
    return c;
}

namespace page {
inline constexpr std::uint64_t present{1};
inline constexpr std::uint64_t writable{2};
inline constexpr std::uint64_t user{4};
inline constexpr std::uint64_t no_execute{1ull << 63};
inline constexpr std::uint64_t all{present | writable | user};
} // namespace page

inline constexpr std::uint64_t tables{0x100'0000};

/// Turns on four-level paging; `map` then adds pages.
inline void enable_paging(cpu& c) {
    c.cr[0] |= x86::cr0::pg | x86::cr0::wp;
    c.cr[4] |= x86::cr4::pae;
    c.register_file::efer |= x86::efer::lme | x86::efer::lma | x86::efer::nxe;
    c.cr[3] = tables;
    c.ram.add(tables);
}

inline void map(cpu& c, std::uint64_t linear, std::uint64_t physical, std::uint64_t rights) {
    auto table = c.cr[3];
    for (unsigned shift{39}; shift > 12; shift -= 9) {
        auto const at = table + (linear >> shift & 511) * 8;
        if (c.ram.get(at, 8) == 0) {
            auto next = tables + 0x1000;
            while (c.ram.pages.contains(next >> 12))
                next += 0x1000;
            c.ram.add(next);
            c.ram.put(at, 8, next | page::all);
        }
        table = c.ram.get(at, 8) & 0xffff'ffff'f000;
    }
    c.ram.put(table + (linear >> 12 & 511) * 8, 8, physical | rights);
}

/// Puts instruction bytes at RIP and runs them once.
inline auto run(cpu& c, std::initializer_list<unsigned> bytes) -> outcome {
    c.ram.fill(c.rip(), bytes);
    return step(c);
}

} // namespace hv::test
