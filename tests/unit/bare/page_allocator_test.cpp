// SPDX-License-Identifier: BSD-2-Clause
#include <kernel_glue/bare/page_allocator.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

using hv::page_size;
using hv::bare::page_allocator;

namespace {

/// Memory that begins on a 2 MiB boundary and is full of something.
class arena {
  public:
    static constexpr std::uint64_t alignment{2u << 20};

    explicit arena(std::uint64_t size)
        : size_{size}, bytes_{static_cast<unsigned char*>(std::aligned_alloc(alignment, size)), std::free} {
        std::memset(bytes_.get(), 0xa5, size);
    }
    [[nodiscard]] auto at(std::uint64_t offset) const -> std::uint64_t {
        return reinterpret_cast<std::uint64_t>(bytes_.get()) + offset;
    }
    [[nodiscard]] auto pointer(std::uint64_t offset) const -> void* { return bytes_.get() + offset; }
    [[nodiscard]] auto size() const { return size_; }

  private:
    std::uint64_t size_;
    std::unique_ptr<unsigned char, decltype(&std::free)> bytes_;
};

auto is_zero(void const* memory, std::uint64_t bytes) -> bool {
    auto const* const b = static_cast<unsigned char const*>(memory);
    return std::all_of(b, b + bytes, [](unsigned char c) { return c == 0; });
}

constexpr std::uint64_t megabyte{1u << 20};

} // namespace

TEST_CASE("memory comes zeroed, in whole pages, from the bottom") {
    arena a{2 * megabyte};
    page_allocator pages;
    pages.add(a.at(1), a.at(2 * megabyte - 1));
    CHECK(pages.available() == 2 * megabyte - 2 * page_size);
    auto* const one = pages.allocate(1, 1);
    CHECK(one == a.pointer(page_size));
    CHECK(is_zero(one, page_size));
    auto* const two = pages.allocate(page_size + 1, page_size);
    CHECK(two == a.pointer(2 * page_size));
    CHECK(is_zero(two, 2 * page_size));
    CHECK(pages.available() == 2 * megabyte - 5 * page_size);
}

TEST_CASE("an alignment leaves what lies before it free") {
    arena a{8 * megabyte};
    page_allocator pages;
    pages.add(a.at(page_size), a.at(8 * megabyte));
    auto* const large = pages.allocate(4 * megabyte, 2 * megabyte);
    CHECK(large == a.pointer(2 * megabyte));
    CHECK(pages.allocate(page_size, page_size) == a.pointer(page_size));
    CHECK(pages.largest() == 2 * megabyte);
    CHECK(pages.allocate(2 * megabyte, 2 * megabyte) == a.pointer(6 * megabyte));
}

TEST_CASE("what cannot be had is null and changes nothing") {
    arena a{2 * megabyte};
    page_allocator pages;
    CHECK(pages.allocate(1, 1) == nullptr);
    pages.add(a.at(0), a.at(2 * megabyte));
    CHECK(pages.allocate(2 * megabyte + 1, page_size) == nullptr);
    CHECK(pages.allocate(0, page_size) == nullptr);
    CHECK(pages.allocate(page_size, 3 * page_size) == nullptr);
    CHECK(pages.allocate(page_size, 0) == nullptr);
    CHECK(pages.allocate(UINT64_MAX, page_size) == nullptr);
    CHECK(pages.allocate(page_size, std::uint64_t{1} << 63) == nullptr);
    CHECK(pages.available() == 2 * megabyte);
    CHECK(pages.allocate(2 * megabyte, 2 * megabyte) == a.pointer(0));
    CHECK(pages.allocate(1, 1) == nullptr);
}

TEST_CASE("neighbours merge when they are freed, in every order") {
    for (int order{0}; order != 6; ++order) {
        arena a{2 * megabyte};
        page_allocator pages;
        pages.add(a.at(0), a.at(3 * page_size));
        std::vector<void*> parts{pages.allocate(1, 1), pages.allocate(1, 1), pages.allocate(1, 1)};
        for (int n{0}; n != order; ++n)
            std::next_permutation(parts.begin(), parts.end());
        for (auto* const p : parts)
            CHECK(pages.free(p, page_size));
        CHECK(pages.largest() == 3 * page_size);
    }
}

TEST_CASE("a piece may be given back page by page") {
    arena a{2 * megabyte};
    page_allocator pages;
    pages.add(a.at(0), a.at(4 * page_size));
    (void)pages.allocate(4 * page_size, page_size);
    CHECK(pages.free(a.pointer(2 * page_size), page_size));
    CHECK(pages.allocate(page_size, page_size) == a.pointer(2 * page_size));
}

TEST_CASE("freeing what is free is refused") {
    arena a{2 * megabyte};
    page_allocator pages;
    pages.add(a.at(0), a.at(2 * megabyte));
    auto* const one = pages.allocate(2 * page_size, page_size);
    CHECK(pages.free(nullptr, page_size));
    CHECK(pages.free(one, 2 * page_size));
    CHECK_FALSE(pages.free(one, 2 * page_size));
    CHECK_FALSE(pages.free(a.pointer(page_size), page_size));
    auto* const again = pages.allocate(page_size, page_size);
    CHECK_FALSE(pages.free(again, 2 * page_size)); // one page too many
    CHECK_FALSE(pages.free(static_cast<char*>(again) + 1, page_size));
    CHECK(pages.available() == 2 * megabyte - page_size);
}

TEST_CASE("freed memory keeps nothing of its owner") {
    arena a{2 * megabyte};
    page_allocator pages;
    pages.add(a.at(0), a.at(2 * megabyte));
    auto* const secret = pages.allocate(megabyte, page_size);
    std::memset(secret, 0x5a, megabyte);
    CHECK(pages.free(secret, megabyte));
    // All but the first words, in which the allocator keeps its list.
    CHECK(is_zero(static_cast<char*>(secret) + 16, megabyte - 16));
}

TEST_CASE("page 0 is never handed out") {
    page_allocator pages;
    pages.add(0, page_size);
    CHECK(pages.available() == 0);
}

TEST_CASE("random use loses and doubles nothing") {
    arena a{16 * megabyte};
    page_allocator pages;
    pages.add(a.at(0), a.at(7 * megabyte));
    pages.add(a.at(8 * megabyte), a.at(16 * megabyte));
    auto const all = pages.available();
    struct piece {
        void* memory;
        std::uint64_t size;
        unsigned char mark;
    };
    std::vector<piece> held;
    std::mt19937 random{4};
    std::uint64_t total{0};
    for (int step{0}; step != 4000; ++step) {
        if (random() % 2 == 0 or held.empty()) {
            auto const size = (1 + random() % 40) * page_size;
            auto const alignment = page_size << random() % 8;
            auto* const memory = pages.allocate(size, alignment);
            if (memory == nullptr)
                continue;
            REQUIRE(reinterpret_cast<std::uint64_t>(memory) % alignment == 0);
            REQUIRE(is_zero(memory, size));
            auto const mark = static_cast<unsigned char>(1 + random() % 255);
            std::memset(memory, mark, size);
            held.push_back({memory, size, mark});
            total += size;
        } else {
            auto const n = random() % held.size();
            auto const p = held[n];
            auto const* const b = static_cast<unsigned char const*>(p.memory);
            REQUIRE(std::all_of(b, b + p.size, [&](unsigned char c) { return c == p.mark; }));
            REQUIRE(pages.free(p.memory, p.size));
            total -= p.size;
            held.erase(held.begin() + static_cast<std::ptrdiff_t>(n));
        }
        REQUIRE(pages.available() + total == all);
    }
    for (auto const& p : held)
        REQUIRE(pages.free(p.memory, p.size));
    CHECK(pages.largest() == 8 * megabyte);
}
