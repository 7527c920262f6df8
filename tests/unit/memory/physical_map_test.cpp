// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/memory/copy.hpp>
#include <hv/memory/ept.hpp>
#include <hv/memory/npt.hpp>
#include <hv/memory/physical_map.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <algorithm>
#include <map>
#include <random>
#include <vector>

using hv::fault_outcome;
using hv::fill;
using hv::gpa;
using hv::hpa;
using hv::leaf_size;
using hv::status;
using hv::hosted::host;

namespace {

constexpr std::uint64_t KiB4{4096}, MiB2{2 << 20}, GiB{1 << 30};
constexpr auto r = hv::access::read, w = hv::access::write, x = hv::access::execute;
constexpr auto rwx = r | w | x;

template <typename Map>
struct subject {
    host h{};
    Map map{};

    explicit subject(std::uint64_t limit = 1ull << 40) { REQUIRE(map.create(h, limit) == status::ok); }
    ~subject() {
        h.fail_after(host::unlimited);
        map.destroy(h);
        CHECK(h.allocations() == 0);
    }
    auto memory(unsigned segment, std::uint64_t bytes, bool system = true) {
        return map.allocate_segment(h, segment, bytes, system);
    }
    auto place(std::uint64_t first, unsigned segment, std::uint64_t offset, std::uint64_t bytes, hv::access a = rwx,
               std::uint32_t flags = 0) {
        return map.map(h, gpa{first}, segment, offset, bytes, a, flags);
    }
};
using eager = hv::guest_physical_map<hv::npt_format, host>;
using lazy = hv::guest_physical_map<hv::ept_format, host, fill::on_fault>;
static_assert(hv::guest_memory<eager> and hv::guest_memory<lazy>);

} // namespace

TEMPLATE_TEST_CASE("a segment is allocated once, in one of five slots, in whole pages", "", eager, lazy) {
    subject<TestType> s{};
    CHECK(s.memory(5, KiB4) == status::invalid_argument);
    CHECK(s.memory(~0u, KiB4) == status::invalid_argument);
    CHECK(s.memory(0, 0) == status::invalid_argument);
    CHECK(s.memory(0, KiB4 + 1) == status::invalid_argument);
    for (unsigned slot{}; slot != 5; ++slot)
        CHECK(s.memory(slot, KiB4 * (slot + 1), slot != 4) == status::ok);
    CHECK(s.memory(1, 2 * KiB4, true) == status::already_exists);
    CHECK(s.memory(1, 2 * KiB4, false) == status::invalid_argument);
    CHECK(s.memory(1, 3 * KiB4, true) == status::invalid_argument);
    CHECK(s.map.segment(4).value.bytes == 5 * KiB4);
    CHECK_FALSE(s.map.segment(4).value.system_memory);
    CHECK(s.map.segment(5).error == status::invalid_argument);
    CHECK(s.map.free_segment(s.h, 1) == status::ok);
    CHECK(s.map.segment(1).value.bytes == 0);
    CHECK(s.map.free_segment(s.h, 1) == status::ok);
    CHECK(s.map.free_segment(s.h, 5) == status::invalid_argument);
    CHECK(s.memory(1, 3 * KiB4, true) == status::ok);
}

TEMPLATE_TEST_CASE("a segment that the host cannot hold leaves nothing behind", "", eager, lazy) {
    subject<TestType> s{};
    CHECK(s.memory(0, 1ull << 62) == status::out_of_memory);
    CHECK(s.memory(0, 1ull << 45) == status::out_of_memory);
    host small{{.memory = 32 * MiB2}};
    TestType map{};
    REQUIRE(map.create(small) == status::ok);
    for (std::uint64_t allowed{}; allowed != 40; ++allowed) {
        small.fail_after(allowed == 39 ? host::unlimited : allowed);
        CHECK(map.allocate_segment(small, 0, 36 * MiB2, true) == status::out_of_memory);
        CHECK(small.allocations() == 1);
    }
    CHECK(map.segment(0).value.bytes == 0);
    map.destroy(small);
    CHECK(small.allocations() == 0);
}

TEMPLATE_TEST_CASE("every wrong argument of map has its status", "", eager, lazy) {
    subject<TestType> s{GiB};
    REQUIRE(s.memory(0, 16 * KiB4) == status::ok);
    CHECK(s.place(0, 0, 0, KiB4, hv::access::none) == status::invalid_argument);
    CHECK(s.place(0, 0, 0, KiB4, static_cast<hv::access>(8 | 1)) == status::invalid_argument);
    CHECK(s.place(0, 0, 0, KiB4, rwx, 2) == status::invalid_argument);
    CHECK(s.place(0, 1, 0, KiB4) == status::invalid_argument); // empty segment
    CHECK(s.place(0, 5, 0, KiB4) == status::invalid_argument); // no such segment
    CHECK(s.place(0, 0, 0, 0) == status::invalid_argument);
    CHECK(s.place(0, 0, KiB4, 16 * KiB4) == status::invalid_argument);
    CHECK(s.place(0, 0, 17 * KiB4, KiB4) == status::invalid_argument);
    CHECK(s.place(0, 0, ~0ull & ~(KiB4 - 1), 2 * KiB4) == status::invalid_argument); // offset + length wraps
    CHECK(s.place(1, 0, 0, KiB4) == status::invalid_argument);
    CHECK(s.place(0, 0, 1, KiB4) == status::invalid_argument);
    CHECK(s.place(0, 0, 0, KiB4 + 1) == status::invalid_argument);
    CHECK(s.place(GiB, 0, 0, KiB4) == status::bad_address);
    CHECK(s.place(GiB - KiB4, 0, 0, 2 * KiB4) == status::bad_address);
    CHECK(s.place(~0ull & ~(KiB4 - 1), 0, 0, 2 * KiB4) == status::bad_address);
    CHECK(s.place(0x10000, 0, 0, 4 * KiB4) == status::ok);
    CHECK(s.place(0x10000, 0, 0, 4 * KiB4) == status::bad_address); // overlaps
    CHECK(s.place(0x13000, 0, 0, 2 * KiB4) == status::bad_address);
    CHECK(s.place(0xf000, 0, 0, 2 * KiB4) == status::bad_address);
    CHECK(s.place(0xf000, 0, 0, KiB4) == status::ok);
    for (unsigned i{}; i != 6; ++i)
        CHECK(s.place(0x20000 + i * 2 * KiB4, 0, 0, KiB4) == status::ok);
    CHECK(s.place(0x80000, 0, 0, KiB4) == status::no_space);
    CHECK(s.map.unmap(s.h, gpa{0x10000}, 4 * KiB4) == status::ok);
    CHECK(s.place(0x80000, 0, 0, KiB4) == status::ok);
}

TEMPLATE_TEST_CASE("unmap takes exactly what map made", "", eager, lazy) {
    subject<TestType> s{};
    REQUIRE(s.memory(0, 16 * KiB4) == status::ok);
    REQUIRE(s.place(0x10000, 0, 0, 4 * KiB4) == status::ok);
    CHECK(s.map.unmap(s.h, gpa{0x10000}, 3 * KiB4) == status::invalid_argument);
    CHECK(s.map.unmap(s.h, gpa{0x11000}, 3 * KiB4) == status::invalid_argument);
    CHECK(s.map.unmap(s.h, gpa{0x10000}, 0) == status::invalid_argument);
    auto const generation = s.map.generation();
    CHECK(s.map.unmap(s.h, gpa{0x10000}, 4 * KiB4) == status::ok);
    CHECK(s.map.generation() > generation);
    CHECK(s.map.at(gpa{0x10000}, r) == nullptr);
    CHECK_FALSE(s.map.lookup(s.h, gpa{0x10000}).present);
    CHECK(s.map.unmap(s.h, gpa{0x10000}, 4 * KiB4) == status::invalid_argument);
}

TEMPLATE_TEST_CASE("mappings are listed from an address on, lowest first", "", eager, lazy) {
    subject<TestType> s{};
    REQUIRE(s.memory(0, 16 * KiB4) == status::ok);
    REQUIRE(s.memory(3, 16 * KiB4, false) == status::ok);
    CHECK(s.map.next_mapping(gpa{0}).error == status::not_found);
    CHECK(s.place(0x40000, 0, KiB4, 2 * KiB4, r | w) == status::ok);
    CHECK(s.place(0x10000, 3, 0, KiB4, r | x) == status::ok);
    CHECK(s.place(0x30000, 0, 0, KiB4, rwx, hv::map_wired) == status::ok);
    auto const first = s.map.next_mapping(gpa{0}).value;
    CHECK(first.first == gpa{0x10000});
    CHECK(first.segment == 3);
    CHECK(first.allowed == (r | x));
    CHECK(s.map.next_mapping(gpa{0x10001}).value.first == gpa{0x30000});
    CHECK(s.map.next_mapping(gpa{0x30000}).value.flags == hv::map_wired);
    auto const last = s.map.next_mapping(gpa{0x30001}).value;
    CHECK(last.first == gpa{0x40000});
    CHECK(last.bytes == 2 * KiB4);
    CHECK(last.offset == KiB4);
    CHECK(s.map.next_mapping(gpa{0x40001}).error == status::not_found);
    CHECK(s.map.highest_address() == gpa{0x42000});
    CHECK(s.map.system_memory_bytes() == 3 * KiB4);
    CHECK(s.map.is_mapped(gpa{0x10fff}));
    CHECK_FALSE(s.map.is_mapped(gpa{0x11000}));
    REQUIRE(s.place(0x50000, 3, 0, KiB4) == status::ok);
    CHECK(s.map.highest_address() == gpa{0x42000}); // device memory does not count
}

TEMPLATE_TEST_CASE("memory lives on while it is mapped, and its slot is free at once", "", eager, lazy) {
    subject<TestType> s{};
    REQUIRE(s.memory(0, 16 * KiB4) == status::ok);
    REQUIRE(s.place(0, 0, 0, 16 * KiB4) == status::ok);
    auto* const old = s.map.at(gpa{0x1000}, w);
    *old = std::byte{0x5a};
    CHECK(s.map.free_segment(s.h, 0) == status::ok);
    CHECK(s.memory(0, 2 * KiB4) == status::ok);
    CHECK(s.place(0x100000, 0, 0, 2 * KiB4) == status::ok);
    CHECK(s.map.at(gpa{0x1000}, r) == old);
    CHECK(*s.map.at(gpa{0x1000}, r) == std::byte{0x5a});
    CHECK(*s.map.at(gpa{0x101000}, r) == std::byte{0});
    auto const before = s.h.bytes_in_use();
    CHECK(s.map.unmap(s.h, gpa{0}, 16 * KiB4) == status::ok);
    CHECK(s.h.bytes_in_use() <= before - 16 * KiB4);
    // As often as one likes.
    for (unsigned i{}; i != 100; ++i) {
        REQUIRE(s.map.free_segment(s.h, 0) == status::ok);
        REQUIRE(s.memory(0, KiB4) == status::ok);
        REQUIRE(s.map.unmap(s.h, gpa{0x100000}, i == 0 ? 2 * KiB4 : KiB4) == status::ok);
        REQUIRE(s.place(0x100000, 0, 0, KiB4) == status::ok);
    }
}

TEMPLATE_TEST_CASE("memory that a guest used is zero for the next", "", eager, lazy) {
    subject<TestType> s{};
    for (unsigned i{}; i != 50; ++i) {
        REQUIRE(s.memory(0, 4 * MiB2) == status::ok);
        REQUIRE(s.place(0, 0, 0, 4 * MiB2) == status::ok);
        for (std::uint64_t at{}; at < 4 * MiB2; at += KiB4) {
            REQUIRE(*s.map.at(gpa{at + i}, w) == std::byte{0});
            *s.map.at(gpa{at + i}, w) = std::byte{0xff};
        }
        REQUIRE(s.map.unmap(s.h, gpa{0}, 4 * MiB2) == status::ok);
        REQUIRE(s.map.free_segment(s.h, 0) == status::ok);
    }
}

TEMPLATE_TEST_CASE("pointers, faults and the nested tables agree on rights", "", eager, lazy) {
    subject<TestType> s{};
    REQUIRE(s.memory(0, MiB2) == status::ok);
    REQUIRE(s.memory(1, 16 * KiB4, false) == status::ok);
    REQUIRE(s.place(0, 0, 0, MiB2, rwx) == status::ok);
    REQUIRE(s.place(0xfffc0000, 1, 0, 16 * KiB4, r | x) == status::ok); // a ROM
    CHECK(s.map.at(gpa{0xfffc0000}, r) != nullptr);
    CHECK(s.map.at(gpa{0xfffc0000}, x) != nullptr);
    CHECK(s.map.at(gpa{0xfffc0000}, w) == nullptr);
    CHECK(s.map.at(gpa{0xfffc0000}, r | w) == nullptr);
    CHECK(s.map.at(gpa{0xfffcffff}, r) == s.map.at(gpa{0xfffc0000}, r) + 0xffff);
    CHECK(s.map.at(gpa{0xfffd0000}, r) == nullptr);
    CHECK(s.map.at(gpa{0xfffbffff}, r) == nullptr);
    CHECK(s.map.at(gpa{~0ull}, r) == nullptr);
    CHECK(s.map.fault(s.h, gpa{0xfffc0000}, w) == fault_outcome::no_permission);
    CHECK(s.map.fault(s.h, gpa{0xfffc1234}, x) == fault_outcome::mapped);
    CHECK(s.map.fault(s.h, gpa{0xfee00000}, r) == fault_outcome::not_memory);
    CHECK(s.map.fault(s.h, gpa{~0ull}, r) == fault_outcome::not_memory);
    CHECK(s.map.fault(s.h, gpa{0x1234}, w) == fault_outcome::mapped);
    CHECK(s.map.lookup(s.h, gpa{0xfffc1000}).allowed == (r | x));
    CHECK(s.map.lookup(s.h, gpa{0x1000}).allowed == rwx);
    CHECK(s.map.lookup(s.h, gpa{0x1000}).type == hv::memory_type::write_back);
}

TEST_CASE("eager filling uses the largest entries, and none is missing") {
    subject<eager> s{};
    REQUIRE(s.memory(0, 64 * MiB2) == status::ok);
    REQUIRE(s.place(0, 0, 0, 0xa0000) == status::ok);
    REQUIRE(s.place(MiB2, 0, MiB2, 63 * MiB2) == status::ok);
    CHECK(s.map.lookup(s.h, gpa{0x9f000}).bytes == KiB4);
    CHECK_FALSE(s.map.lookup(s.h, gpa{0xa0000}).present);
    for (std::uint64_t at{MiB2}; at != 64 * MiB2; at += MiB2) {
        auto const leaf = s.map.lookup(s.h, gpa{at});
        REQUIRE(leaf.bytes == MiB2);
        REQUIRE(s.h.pointer(leaf.address) == s.map.at(gpa{at}, r));
    }
}

TEST_CASE("filling on fault maps what was touched, by 2 MiB where that lies inside the mapping") {
    subject<lazy> s{};
    REQUIRE(s.memory(0, 64 * MiB2) == status::ok);
    REQUIRE(s.place(0, 0, 0, 0xa0000) == status::ok);
    REQUIRE(s.place(MiB2, 0, MiB2, 4 * MiB2 + KiB4) == status::ok);
    REQUIRE(s.place(GiB + KiB4, 0, 0, 4 * MiB2, rwx) == status::ok); // the two sides are not aligned alike
    auto const generation = s.map.generation();
    CHECK_FALSE(s.map.lookup(s.h, gpa{0x5000}).present);
    CHECK(s.map.fault(s.h, gpa{0x5678}, r) == fault_outcome::mapped);
    CHECK(s.map.lookup(s.h, gpa{0x5000}).bytes == KiB4);
    CHECK_FALSE(s.map.lookup(s.h, gpa{0x6000}).present);
    CHECK(s.map.fault(s.h, gpa{MiB2 + 0x5678}, w) == fault_outcome::mapped);
    CHECK(s.map.lookup(s.h, gpa{MiB2}).bytes == MiB2);
    CHECK_FALSE(s.map.lookup(s.h, gpa{2 * MiB2}).present);
    CHECK(s.map.fault(s.h, gpa{5 * MiB2 + 0x10}, w) == fault_outcome::mapped); // the last page alone
    CHECK(s.map.lookup(s.h, gpa{5 * MiB2}).bytes == KiB4);
    CHECK(s.map.fault(s.h, gpa{GiB + MiB2 + 0x10}, w) == fault_outcome::mapped);
    CHECK(s.map.lookup(s.h, gpa{GiB + MiB2}).bytes == KiB4);
    CHECK(s.map.lookup(s.h, gpa{GiB + MiB2}).present);
    CHECK_FALSE(s.map.lookup(s.h, gpa{GiB + MiB2 + KiB4}).present);
    CHECK(s.map.generation() == generation); // nothing was taken away
    auto const tables = s.h.allocations();
    CHECK(s.map.fault(s.h, gpa{0x5678}, r) == fault_outcome::mapped); // again, by another processor
    CHECK(s.h.allocations() == tables);
    CHECK(s.place(3 * GiB, 0, 0, MiB2, rwx, hv::map_wired) == status::ok);
    CHECK(s.map.lookup(s.h, gpa{3 * GiB}).bytes == MiB2);
}

TEST_CASE("a fault for which the host has no page says so and can be tried again") {
    subject<lazy> s{};
    REQUIRE(s.memory(0, MiB2) == status::ok);
    REQUIRE(s.place(0x1000, 0, 0, MiB2) == status::ok);
    auto const before = s.h.allocations();
    for (unsigned allowed{}; allowed != 3; ++allowed) {
        s.h.fail_after(allowed);
        CHECK(s.map.fault(s.h, gpa{0x1000}, r) == fault_outcome::out_of_memory);
        CHECK(s.h.allocations() == before);
    }
    s.h.fail_after(host::unlimited);
    CHECK(s.map.fault(s.h, gpa{0x1000}, r) == fault_outcome::mapped);
}

TEST_CASE("an eager mapping for which the host has no tables is undone") {
    subject<eager> s{};
    REQUIRE(s.memory(0, 2 * MiB2 + 2 * KiB4) == status::ok);
    auto const before = s.h.allocations();
    for (unsigned allowed{}; allowed != 4; ++allowed) {
        s.h.fail_after(allowed);
        CHECK(s.place(KiB4, 0, 0, 2 * MiB2) == status::bad_address);
        CHECK(s.h.allocations() == before);
        CHECK(s.map.next_mapping(gpa{0}).error == status::not_found);
        CHECK_FALSE(s.map.lookup(s.h, gpa{KiB4}).present);
    }
    s.h.fail_after(host::unlimited);
    CHECK(s.place(KiB4, 0, 0, 2 * MiB2) == status::ok);
}

TEMPLATE_TEST_CASE("memory in pieces behaves like memory in one", "", eager, lazy) {
    // A host whose largest free stretch is smaller than the segment.
    host h{{.memory = 40 * MiB2}};
    TestType map{};
    REQUIRE(map.create(h) == status::ok);
    std::vector<void*> obstacles;
    for (unsigned i{}; i != 12; ++i) {
        auto* const gap = h.allocate(3 * MiB2 - KiB4, MiB2);
        obstacles.push_back(h.allocate(KiB4, KiB4));
        h.free(gap, 3 * MiB2 - KiB4);
    }
    auto const bytes = 11 * MiB2 + 3 * KiB4;
    auto const in_use = h.bytes_in_use();
    REQUIRE(map.allocate_segment(h, 0, bytes, true) == status::ok);
    CHECK(h.bytes_in_use() == in_use + bytes + KiB4); // the last piece is no larger than needed
    REQUIRE(map.map(h, gpa{0}, 0, 0, bytes, rwx) == status::ok);
    CHECK(h.allocations() >= obstacles.size() + 1 + 1 + 6); // root, directory, pieces of 4 MiB
    for (std::uint64_t at{}; at != bytes; at += KiB4) {
        REQUIRE(map.fault(h, gpa{at}, w) == fault_outcome::mapped);
        auto const leaf = map.lookup(h, gpa{at});
        auto* const pointer = map.at(gpa{at}, w);
        REQUIRE(h.pointer(leaf.address + (at - leaf.first.value)) == pointer);
        REQUIRE(*pointer == std::byte{0});
        *pointer = std::byte{1};
    }
    CHECK(map.lookup(h, gpa{0}).bytes == MiB2);
    // A copy across all pieces.
    std::vector<std::byte> data(bytes - 5, std::byte{7}), back(bytes - 5);
    CHECK(hv::copy_out(map, gpa{5}, data) == status::ok);
    CHECK(hv::copy_in(map, gpa{5}, back) == status::ok);
    CHECK(back == data);
    CHECK(hv::copy_in(map, gpa{6}, back) == status::bad_address);
    map.destroy(h);
    CHECK(h.allocations() == obstacles.size());
}

TEMPLATE_TEST_CASE("a device of the host is mapped uncached and unmapped exactly", "", eager, lazy) {
    subject<TestType> s{};
    REQUIRE(s.memory(0, MiB2) == status::ok);
    REQUIRE(s.place(0, 0, 0, MiB2) == status::ok);
    auto const bar = hpa{0xfebc0000};
    CHECK(s.map.map_device(s.h, gpa{0x1000}, KiB4, bar) == status::out_of_memory); // overlaps memory
    CHECK(s.map.map_device(s.h, gpa{0xe0000001}, KiB4, bar) == status::out_of_memory);
    CHECK(s.map.map_device(s.h, gpa{0xe0000000}, 0, bar) == status::out_of_memory);
    CHECK(s.map.map_device(s.h, gpa{0xe0000000}, 4 * KiB4, bar) == status::ok);
    CHECK(s.place(0xe0003000, 0, 0, KiB4) == status::bad_address);
    auto const leaf = s.map.lookup(s.h, gpa{0xe0003000});
    CHECK(leaf.address == bar + 0x3000);
    CHECK(leaf.type == hv::memory_type::uncacheable);
    CHECK(leaf.allowed == (r | w));
    CHECK(s.map.at(gpa{0xe0000000}, r) == nullptr); // no memory of the guest
    CHECK(s.map.is_mapped(gpa{0xe0003fff}));
    CHECK(s.map.fault(s.h, gpa{0xe0000000}, x) == fault_outcome::no_permission);
    CHECK(s.map.unmap_device(s.h, gpa{0xe0000000}, KiB4) == status::not_found);
    CHECK(s.map.unmap_device(s.h, gpa{0xe0001000}, 0) == status::not_found);
    CHECK(s.map.unmap(s.h, gpa{0xe0000000}, 4 * KiB4) == status::invalid_argument);
    auto const generation = s.map.generation();
    CHECK(s.map.unmap_device(s.h, gpa{0xe0000000}, 4 * KiB4) == status::ok);
    CHECK(s.map.generation() > generation);
    CHECK_FALSE(s.map.lookup(s.h, gpa{0xe0000000}).present);
    for (unsigned i{}; i != 8; ++i)
        CHECK(s.map.map_device(s.h, gpa{0xe0000000 + i * KiB4}, KiB4, bar) == status::ok);
    CHECK(s.map.map_device(s.h, gpa{0xf0000000}, KiB4, bar) == status::out_of_memory);
}

TEMPLATE_TEST_CASE("a reset keeps system memory and removes the rest", "", eager, lazy) {
    subject<TestType> s{};
    REQUIRE(s.memory(0, MiB2) == status::ok);
    REQUIRE(s.memory(1, MiB2, false) == status::ok);
    REQUIRE(s.place(0, 0, 0, MiB2) == status::ok);
    REQUIRE(s.place(GiB, 1, 0, KiB4) == status::ok);
    REQUIRE(s.place(2 * GiB, 1, 0, KiB4) == status::ok);
    REQUIRE(s.place(3 * GiB, 0, 0, KiB4) == status::ok);
    *s.map.at(gpa{1}, w) = std::byte{9};
    s.map.unmap_device_memory(s.h);
    CHECK(*s.map.at(gpa{1}, r) == std::byte{9});
    CHECK(s.map.at(gpa{GiB}, r) == nullptr);
    CHECK(s.map.next_mapping(gpa{1}).value.first == gpa{3 * GiB});
    CHECK(s.map.segment(1).value.bytes == MiB2);
}

TEMPLATE_TEST_CASE("dirty pages are those that the processor or the host wrote", "", eager, lazy) {
    subject<TestType> s{};
    REQUIRE(s.memory(0, 2 * MiB2) == status::ok);
    REQUIRE(s.place(0, 0, 0, 2 * MiB2) == status::ok);
    std::vector<std::uint8_t> bits(128);
    auto const all = std::span<std::uint8_t const>{};
    auto const nobody = std::span<std::uint8_t>{};
    using op = hv::dirty_operation;
    auto const dirty = [&](op o, std::span<std::uint8_t const> only, std::span<std::uint8_t> was) {
        return s.map.dirty(s.h, gpa{0}, 2 * MiB2, o, only, was);
    };
    CHECK(dirty(op::get, all, bits) == status::not_permitted);
    auto generation = s.map.generation();
    REQUIRE(s.map.track_dirty(s.h, true) == status::ok);
    CHECK(s.map.generation() > generation);
    CHECK(s.map.lookup(s.h, gpa{0}).bytes == KiB4);
    REQUIRE(dirty(op::reset, all, nobody) == status::ok);

    *s.map.at(gpa{5 * KiB4 + 1}, w) = std::byte{1};
    CHECK(*s.map.at(gpa{6 * KiB4}, r) == std::byte{0});
    generation = s.map.generation();
    REQUIRE(dirty(op::get, all, bits) == status::ok);
    CHECK(s.map.generation() == generation);
    CHECK(bits[0] == 1 << 5);
    CHECK(std::count(bits.begin(), bits.end(), 0) == 127);

    std::vector<std::uint8_t> choice(128);
    choice[1] = 0x0f;
    REQUIRE(dirty(op::set, choice, nobody) == status::ok);
    CHECK(s.map.generation() > generation);
    choice[0] = 0xff; // pages 0-11
    REQUIRE(dirty(op::reset, choice, choice) == status::ok);
    CHECK(choice[0] == 1 << 5);
    CHECK(choice[1] == 0x0f);
    REQUIRE(dirty(op::get, all, bits) == status::ok);
    CHECK(std::count(bits.begin(), bits.end(), 0) == 128);

    CHECK(s.map.dirty(s.h, gpa{1}, KiB4, op::get, all, bits) == status::invalid_argument);
    CHECK(s.map.dirty(s.h, gpa{0}, KiB4 + 1, op::get, all, bits) == status::invalid_argument);
    CHECK(s.map.dirty(s.h, gpa{0}, 0, op::get, all, bits) == status::invalid_argument);
    CHECK(s.map.dirty(s.h, gpa{0}, KiB4, static_cast<op>(4), all, bits) == status::invalid_argument);
    CHECK(s.map.dirty(s.h, gpa{0}, KiB4, static_cast<op>(0), all, bits) == status::invalid_argument);
    CHECK(s.map.dirty(s.h, gpa{KiB4}, ~0ull & ~(KiB4 - 1), op::get, all, bits) == status::value_overflow);
    CHECK(s.map.dirty(s.h, gpa{0}, GiB + KiB4, op::get, all, bits) == status::too_big);
    CHECK(s.map.dirty(s.h, gpa{0}, 2 * MiB2 + KiB4, op::get, all, bits) == status::invalid_argument); // 128 bytes
    CHECK(s.map.dirty(s.h, gpa{0}, GiB, op::reset, all, nobody) == status::ok);                       // holes are clean

    // What is mapped later is tracked as well.
    REQUIRE(s.place(GiB, 0, 0, MiB2) == status::ok);
    CHECK(s.map.lookup(s.h, gpa{GiB}).bytes == KiB4);
    CHECK(s.map.lookup(s.h, gpa{GiB}).present);
    CHECK(s.map.track_dirty(s.h, false) == status::ok);
    CHECK_FALSE(s.map.tracks_dirty());
}

TEST_CASE("tracking that cannot get its tables stays off and the guest keeps its memory") {
    subject<lazy> s{};
    REQUIRE(s.memory(0, 8 * MiB2) == status::ok);
    REQUIRE(s.place(0, 0, 0, 8 * MiB2) == status::ok);
    REQUIRE(s.map.fault(s.h, gpa{0}, w) == fault_outcome::mapped);
    for (unsigned allowed{}; allowed != 4; ++allowed) {
        s.h.fail_after(allowed);
        CHECK(s.map.track_dirty(s.h, true) == status::out_of_memory);
        CHECK_FALSE(s.map.tracks_dirty());
        auto const leaf = s.map.lookup(s.h, gpa{0x3000});
        CHECK(leaf.present);
        CHECK(s.h.pointer(leaf.address + (0x3000 - leaf.first.value)) == s.map.at(gpa{0x3000}, r));
    }
    s.h.fail_after(host::unlimited);
    CHECK(s.map.track_dirty(s.h, true) == status::ok);
}

TEMPLATE_TEST_CASE("random use with failing allocations leaks nothing and never points astray", "", eager, lazy) {
    for (unsigned seed{1}; seed != 7; ++seed) {
        subject<TestType> s{GiB};
        std::mt19937_64 random{seed};
        auto const below = [&](std::uint64_t n) { return random() % n; };
        struct placed {
            std::uint64_t bytes, offset;
            unsigned segment;
            hv::access allowed;
        };
        std::map<std::uint64_t, placed> model;
        auto generation = s.map.generation();
        unsigned made{}, failed{};
        for (unsigned step{}; step != 4000; ++step) {
            s.h.fail_after(below(4) == 0 ? below(5) : host::unlimited);
            switch (below(6)) {
            case 0: {
                auto const slot = static_cast<unsigned>(below(6));
                (void)s.memory(slot, below(5) * (below(2) == 0 ? KiB4 : MiB2), below(2) == 0);
                break;
            }
            case 1:
                if (below(3) == 0)
                    (void)s.map.free_segment(s.h, static_cast<unsigned>(below(5)));
                break;
            case 2:
            case 3: {
                auto const first = below(64) * (below(2) == 0 ? KiB4 : MiB2);
                placed const p{(1 + below(4)) * (below(2) == 0 ? KiB4 : MiB2), below(3) * KiB4,
                               static_cast<unsigned>(below(5)), below(2) == 0 ? rwx : r | x};
                auto const error = s.place(first, p.segment, p.offset, p.bytes, p.allowed);
                auto const fits = s.map.segment(p.segment).value.bytes >= p.offset + p.bytes;
                auto overlap = false;
                for (auto const& [at, m] : model)
                    overlap = overlap or (at < first + p.bytes and first < at + m.bytes);
                if (not fits)
                    REQUIRE(error == status::invalid_argument);
                else if (model.size() == 8)
                    REQUIRE(error == status::no_space);
                else if (overlap)
                    REQUIRE(error == status::bad_address);
                if (error == status::ok) {
                    model.emplace(first, p);
                    ++made;
                } else
                    ++failed;
                break;
            }
            case 4:
                if (not model.empty() and below(2) == 0) {
                    auto const victim = std::next(model.begin(), static_cast<std::ptrdiff_t>(below(model.size())));
                    REQUIRE(s.map.unmap(s.h, gpa{victim->first}, victim->second.bytes) == status::ok);
                    REQUIRE(s.map.generation() > generation);
                    model.erase(victim);
                }
                break;
            default: {
                auto const where = gpa{below(140) * MiB2 / 2 + below(8) * KiB4 + below(KiB4)};
                auto const after = model.upper_bound(where.value);
                auto const* const inside =
                    after == model.begin() or where.value - std::prev(after)->first >= std::prev(after)->second.bytes
                        ? nullptr
                        : &std::prev(after)->second;
                for (auto const wanted : {r, w, x}) {
                    auto const legal = inside != nullptr and hv::includes(inside->allowed, wanted);
                    REQUIRE((s.map.at(where, wanted) != nullptr) == legal);
                    auto const outcome = s.map.fault(s.h, where, wanted);
                    if (inside == nullptr)
                        REQUIRE(outcome == fault_outcome::not_memory);
                    else if (not legal)
                        REQUIRE(outcome == fault_outcome::no_permission);
                    else
                        REQUIRE((outcome == fault_outcome::mapped or outcome == fault_outcome::out_of_memory));
                    auto const leaf = s.map.lookup(s.h, where);
                    REQUIRE((not leaf.present or inside != nullptr));
                    if (outcome == fault_outcome::mapped) {
                        REQUIRE(leaf.present);
                        REQUIRE(hv::includes(leaf.allowed, wanted));
                    }
                    if (leaf.present)
                        REQUIRE(s.h.pointer(leaf.address + (where.value - leaf.first.value)) == s.map.at(where, r));
                }
            }
            }
            generation = s.map.generation();
        }
        CHECK(made > 50);
        CHECK(failed > 50);
    }
}
