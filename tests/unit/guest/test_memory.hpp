// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/guest/load.hpp>
#include <hv/memory/guest_memory.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace test {

/// Guest memory whose pages are allocated one by one when they are first asked for, so that a sanitizer sees any step
/// across a page's end.
class sparse_memory {
  public:
    explicit sparse_memory(hv::guest::memory_layout layout) : layout_{layout} {}

    auto at(hv::gpa address, hv::access) -> std::byte* {
        if (not layout_.contains(address.value, 1) or address.value == refused_page)
            return nullptr;
        auto& page = pages_[address.page().value];
        if (not page)
            page = std::make_unique<std::array<std::byte, hv::page_size>>();
        return page->data() + address.page_offset();
    }

    template <typename T>
    auto read(std::uint64_t address) -> T {
        std::uint64_t value{};
        for (std::size_t i{sizeof(T)}; i != 0; --i)
            value = value << 8 | static_cast<std::uint8_t>(*at(hv::gpa{address + i - 1}, hv::access::read));
        return static_cast<T>(value);
    }
    auto text(std::uint64_t address) -> std::string {
        std::string result;
        while (auto const c = read<std::uint8_t>(address++))
            result += static_cast<char>(c);
        return result;
    }
    [[nodiscard]] auto touched() const -> std::size_t { return pages_.size(); }

    std::uint64_t refused_page{UINT64_MAX}; ///< its first byte is no memory

  private:
    hv::guest::memory_layout layout_;
    std::map<std::uint64_t, std::unique_ptr<std::array<std::byte, hv::page_size>>> pages_;
};
static_assert(hv::guest_memory<sparse_memory>);

/// A file under construction: numbers are put at offsets, the file grows as needed.
struct bytes {
    std::vector<std::byte> content;

    template <typename T>
    void put(std::size_t offset, std::uint64_t value) { // what does not fit into T is cut off
        store(offset, value, sizeof(T));
    }
    void store(std::size_t offset, std::uint64_t value, std::size_t size) {
        if (content.size() < offset + size)
            content.resize(offset + size);
        for (std::size_t i{}; i != size; ++i)
            content[offset + i] = static_cast<std::byte>(value >> (8 * i));
    }
    operator hv::guest::file() const { return content; }

    /// A copy with no slack behind it, so that a sanitizer sees a read beyond the end.
    [[nodiscard]] auto first(std::size_t count) const -> std::vector<std::byte> {
        std::vector<std::byte> part(content.begin(), content.begin() + static_cast<std::ptrdiff_t>(count));
        part.shrink_to_fit();
        return part;
    }
};

/// An ELF executable whose one segment holds `code`.
struct elf_options {
    bool is_64{true};
    std::uint64_t entry{0x1000000};
    std::uint64_t virtual_address{0xffffffff81000000};
    std::uint64_t physical_address{0x1000000};
    std::uint64_t file_size{0x100};
    std::uint64_t memory_size{0x3000};
    std::uint16_t machine{62};
    std::uint16_t type{2};
};

inline auto make_elf(elf_options const& o) -> bytes {
    bytes f;
    f.put<std::uint32_t>(0, 0x464c457f);
    f.put<std::uint8_t>(4, o.is_64 ? 2 : 1);
    f.put<std::uint8_t>(5, 1);
    f.put<std::uint8_t>(6, 1);
    f.put<std::uint16_t>(16, o.type);
    f.put<std::uint16_t>(18, o.machine);
    f.put<std::uint32_t>(20, 1);
    constexpr std::uint64_t code{0x400};
    if (o.is_64) {
        f.put<std::uint64_t>(24, o.entry);
        f.put<std::uint64_t>(32, 64);
        f.put<std::uint16_t>(54, 56);
        f.put<std::uint16_t>(56, 1);
        f.put<std::uint32_t>(64, 1);
        f.put<std::uint64_t>(64 + 8, code);
        f.put<std::uint64_t>(64 + 16, o.virtual_address);
        f.put<std::uint64_t>(64 + 24, o.physical_address);
        f.put<std::uint64_t>(64 + 32, o.file_size);
        f.put<std::uint64_t>(64 + 40, o.memory_size);
    } else {
        f.put<std::uint32_t>(24, o.entry);
        f.put<std::uint32_t>(28, 52);
        f.put<std::uint16_t>(42, 32);
        f.put<std::uint16_t>(44, 1);
        f.put<std::uint32_t>(52, 1);
        f.put<std::uint32_t>(52 + 4, code);
        f.put<std::uint32_t>(52 + 8, o.virtual_address);
        f.put<std::uint32_t>(52 + 12, o.physical_address);
        f.put<std::uint32_t>(52 + 16, o.file_size);
        f.put<std::uint32_t>(52 + 20, o.memory_size);
    }
    for (std::uint64_t i{}; i != 0x100; ++i)
        f.put<std::uint8_t>(code + i, i ^ 0x5a);
    return f;
}

/// A bzImage with two pages of code behind one setup sector.
inline auto make_linux_image() -> bytes {
    bytes f;
    f.put<std::uint8_t>(0x1f1, 1);
    f.put<std::uint32_t>(0x1f4, 0x2000 / 16);
    f.put<std::uint16_t>(0x1fe, 0xaa55);
    f.put<std::uint16_t>(0x200, 0x66eb); // jmp over the header: its end is 0x268
    f.put<std::uint32_t>(0x202, 0x53726448);
    f.put<std::uint16_t>(0x206, 0x20f);
    f.put<std::uint8_t>(0x211, 1);
    f.put<std::uint32_t>(0x22c, 0x7fffffff);
    f.put<std::uint32_t>(0x230, 0x200000);
    f.put<std::uint8_t>(0x234, 1);
    f.put<std::uint16_t>(0x236, 1);
    f.put<std::uint32_t>(0x238, 2047);
    f.put<std::uint64_t>(0x258, 0x1000000);
    f.put<std::uint32_t>(0x260, 0x5000);
    for (std::size_t i{}; i != 0x2000; ++i)
        f.put<std::uint8_t>(1024 + i, i % 251);
    return f;
}

} // namespace test
