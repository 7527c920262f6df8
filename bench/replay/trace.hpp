// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <bench/replay/record.hpp>

#include <hv/address.hpp>
#include <hv/emulate/decode.hpp>
#include <hv/exit.hpp>
#include <hv/exit_list.hpp>
#include <hv/memory/guest_memory.hpp>
#include <hv/x86/paging.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace hv::replay {

/// A recording in memory.
struct trace {
    header about{};
    std::vector<cpuid_leaf> leaves{};
    std::vector<record> records{};

    [[nodiscard]] static auto read(std::string const& path) -> trace {
        std::ifstream stream{path, std::ios::binary};
        auto const take = [&stream](auto& value) {
            return static_cast<bool>(stream.read(reinterpret_cast<char*>(&value), sizeof value));
        };
        trace t;
        if (not take(t.about) or t.about.magic != header::expected_magic or t.about.record_size != sizeof(record) or
            t.about.tsc_frequency == 0)
            throw std::runtime_error{path + ": not a recording of this build"};
        t.leaves.resize(t.about.leaf_count < 256 ? t.about.leaf_count : 0);
        for (auto& leaf : t.leaves)
            if (not take(leaf))
                throw std::runtime_error{path + ": ends in its header"};
        for (record r; take(r);)
            t.records.push_back(r);
        if (t.records.empty())
            throw std::runtime_error{path + ": holds no exit"};
        return t;
    }

    /// One record of each instruction that exits: with each code at its place, and each page that it reaches.
    [[nodiscard]] auto instructions() const -> std::vector<record> {
        std::map<std::array<std::uint64_t, 4>, record const*> found;
        for (auto const& r : records) {
            std::array<std::uint64_t, 4> key{r.rip};
            std::memcpy(&key[1], r.code.data(), sizeof r.code);
            if (r.kind == exits::number_of<exits::nested_page_fault>)
                std::memcpy(&key[3], r.exit.data(), sizeof key[3]);
            found.try_emplace(key, &r);
        }
        std::vector<record> chosen;
        for (auto const& [key, r] : found)
            chosen.push_back(*r);
        return chosen;
    }

    /// The exits of one kind, in their order.
    [[nodiscard]] auto only(std::uint8_t kind) const -> std::vector<record> {
        std::vector<record> chosen;
        for (auto const& r : records)
            if (r.kind == kind)
                chosen.push_back(r);
        return chosen;
    }
};

/// Gives a machine's memory what the emulator reads of it: the code at each exit, and page tables that lead there and
/// from the operands of its instructions to the devices. `root` is the guest-physical address of the tables.
template <guest_memory Memory>
class address_space {
  public:
    address_space(Memory& memory, gpa root) : memory_{memory}, root_{root}, free_{root + page_size} {}

    void add(record const& r) {
        for (unsigned i{0}; i != r.code_count; ++i)
            *at(code_page(r.rip + i) + (r.rip + i) % page_size) = std::byte{r.code[i]};
        if (r.kind != exits::number_of<exits::nested_page_fault>)
            return;
        exits::nested_page_fault fault;
        std::memcpy(static_cast<void*>(&fault), r.exit.data(), sizeof fault);
        auto const linear = operand(r);
        if (linear % page_size == fault.address.value % page_size)
            if (auto& entry = leaf(linear); entry == 0)
                entry = (fault.address.value & ~std::uint64_t{page_size - 1}) | flags;
    }

  private:
    static constexpr std::uint64_t flags{x86::paging::present | x86::paging::writable | x86::paging::accessed |
                                         x86::paging::dirty};

    [[nodiscard]] static auto operand(record const& r) -> std::uint64_t {
        auto const i = decode(std::span{r.code}.first(r.code_count), code_size::bits_64).memory;
        auto const part = [&r](std::uint8_t number) {
            return number == memory_operand::no_register ? 0 : r.gprs[number];
        };
        return part(i.base) + part(i.index) * i.scale + static_cast<std::uint64_t>(i.displacement) +
               (i.rip_relative ? r.rip + r.length : 0);
    }
    [[nodiscard]] auto at(gpa address) -> std::byte* {
        auto* const byte = memory_.at(address, access::write);
        if (byte == nullptr)
            throw std::runtime_error{"the guest's memory is too small for its page tables"};
        return byte;
    }
    [[nodiscard]] auto new_page() -> gpa {
        auto const page = free_;
        free_ = free_ + page_size;
        return page;
    }
    /// The entry of the lowest level, with all tables above it.
    [[nodiscard]] auto leaf(std::uint64_t linear) -> std::uint64_t& {
        auto table = root_;
        for (unsigned shift{39};; shift -= 9) {
            auto& entry = *reinterpret_cast<std::uint64_t*>(at(table + 8 * (linear >> shift & 511)));
            if (shift == page_shift)
                return entry;
            if (entry == 0)
                entry = new_page().value | flags;
            table = gpa{entry & x86::paging::frame(52)};
        }
    }
    [[nodiscard]] auto code_page(std::uint64_t linear) -> gpa {
        auto& entry = leaf(linear);
        if (entry == 0)
            entry = new_page().value | flags;
        return gpa{entry & x86::paging::frame(52)};
    }

    Memory& memory_;
    gpa root_;
    gpa free_;
};

} // namespace hv::replay
