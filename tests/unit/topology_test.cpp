// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/cpuid.hpp>
#include <hv/topology.hpp>

#include <algorithm>
#include <set>
#include <string_view>
#include <tuple>
#include <vector>

using namespace hv;

namespace {

enum class vendor { intel, amd };

/// Says of its caches what a processor of eight cores would.
struct host_of {
    vendor who{};

    [[nodiscard]] auto cpuid(std::uint32_t leaf, std::uint32_t index) const -> x86::cpuid_result {
        constexpr std::uint32_t kinds[]{0x21, 0x22, 0x43, 0x63}; // data, instructions, second level, third
        bool const amd{who == vendor::amd};
        switch (leaf) {
        case 0:
            return amd ? x86::cpuid_result{0x10, 0x68747541, 0x444d4163, 0x69746e65}
                       : x86::cpuid_result{0x20, 0x756e6547, 0x6c65746e, 0x49656e69};
        case 0x80000000:
            return {.eax = amd ? 0x80000021u : 0x80000008u};
        case 4:
        case 0x8000001d:
            if ((leaf == 4) == amd or index > 3)
                return {};
            return {0xffffc000u | kinds[index], 0x01c0003f, 63, 0};
        default:
            return {~0u, ~0u, ~0u, ~0u};
        }
    }
    void panic(std::string_view) { FAIL(); }
};

auto leaves_of(vendor who, topology const& shape, std::uint32_t n) -> cpuid_table {
    host_of host{who};
    auto table = make_cpuid_table<default_cpuid_profile>(host);
    show_topology(table, shape, n);
    return table;
}

auto bits(std::uint32_t value, unsigned first, unsigned width) -> std::uint32_t {
    return value >> first & ((1u << width) - 1);
}

/// Socket, core of it and thread of that, by the widths of the extended topology leaf, as the manual says to do it.
auto place_by_leaf(cpuid_table const& leaves, std::uint32_t function) {
    auto const& thread = leaves.find(function, 0)->values;
    auto const& core = leaves.find(function, 1)->values;
    auto const id = thread.edx;
    auto const socket_shift = bits(core.eax, 0, 5), core_shift = bits(thread.eax, 0, 5);
    return std::tuple{id >> socket_shift, (id & ((1u << socket_shift) - 1)) >> core_shift,
                      id & ((1u << core_shift) - 1)};
}

std::vector<topology> const shapes{{1, 1, 1},   {1, 4, 1},   {4, 1, 1},   {2, 2, 1},   {1, 2, 2},
                                   {2, 2, 2},   {1, 3, 1},   {3, 3, 1},   {2, 3, 2},   {1, 6, 2},
                                   {2, 1, 3},   {1, 127, 2}, {2, 127, 1}, {254, 1, 1}, {1, 254, 1},
                                   {1, 1, 254}, {7, 3, 1},   {1, 64, 1},  {5, 5, 1}};

} // namespace

TEST_CASE("a topology of nothing, of too many or of ids that do not fit is refused") {
    CHECK(topology{}.fits(1) == status::ok);
    CHECK(topology{1, 8, 1}.fits(8) == status::ok);
    CHECK(topology{2, 2, 2}.fits(8) == status::ok);
    for (auto const& none : {topology{0, 1, 1}, topology{1, 0, 1}, topology{1, 1, 0}, topology{0, 0, 0}})
        CHECK(none.fits(8) == status::invalid_argument);
    for (auto const& many :
         {topology{1, 9, 1}, topology{9, 1, 1}, topology{1, 1, 9}, topology{3, 3, 1}, topology{0x10000, 0x10000, 1},
          topology{0x80000000, 2, 1}, topology{~0u, ~0u, ~0u}, topology{0x40000000, 2, 2}, topology{1, 0x55555556, 3}})
        CHECK(many.fits(8) == status::invalid_argument);
    CHECK(topology{5, 5, 5}.fits(254) == status::out_of_range); // 6 bits a socket
    CHECK(topology{4, 5, 5}.fits(254) == status::ok);
    CHECK(topology{3, 65, 1}.fits(254) == status::out_of_range);
    CHECK(topology{2, 127, 1}.fits(254) == status::ok); // up to 254
}

TEST_CASE("every processor has an APIC id of its own, in ascending order, below FFh") {
    for (auto const& shape : shapes) {
        INFO(shape.sockets << " " << shape.cores << " " << shape.threads);
        REQUIRE(shape.fits(254) == status::ok);
        std::vector<std::uint32_t> ids;
        for (std::uint32_t n{0}; n != shape.processors(); ++n)
            ids.push_back(shape.apic_id(n));
        CHECK(std::is_sorted(ids.begin(), ids.end()));
        CHECK(std::set(ids.begin(), ids.end()).size() == shape.processors());
        CHECK(ids.back() < 255);
    }
    CHECK(topology{2, 3, 1}.apic_id(3) == 4); // a core of the second socket: the fourth id of the first is nobody's
    CHECK(topology{2, 3, 2}.apic_id(7) == 9);
    for (std::uint32_t n{0}; n != 8; ++n)
        CHECK(topology{}.apic_id(n) == n);
}

TEST_CASE("software that follows the manual finds each processor's socket, core and thread") {
    for (auto const who : {vendor::intel, vendor::amd})
        for (auto const& shape : shapes) {
            INFO(shape.sockets << " " << shape.cores << " " << shape.threads);
            std::set<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>> places;
            for (std::uint32_t n{0}; n != shape.processors(); ++n) {
                auto const leaves = leaves_of(who, shape, n);
                auto const place = place_by_leaf(leaves, 0xb);
                places.insert(place);
                REQUIRE(place == std::tuple{n / shape.of_socket(), n / shape.threads % shape.cores, n % shape.threads});
                auto const& one = leaves.find(1, 0)->values;
                REQUIRE(one.ebx >> 24 == leaves.find(0xb, 0)->values.edx);
                REQUIRE((one.edx >> 28 & 1) == (shape.of_socket() > 1));
                if (who == vendor::intel) {
                    REQUIRE(place_by_leaf(leaves, 0x1f) == place);
                } else {
                    auto const& node = leaves.find(0x8000001e, 0)->values;
                    REQUIRE(node.eax == one.ebx >> 24);
                    REQUIRE(bits(node.ebx, 0, 8) == std::get<1>(place));
                    REQUIRE(bits(node.ebx, 8, 8) == shape.threads - 1);
                    REQUIRE(bits(node.ecx, 0, 8) == std::get<0>(place));
                    REQUIRE(bits(node.ecx, 8, 3) == 0);
                }
            }
            CHECK(places.size() == shape.processors());
        }
}

TEST_CASE("the extended topology leaves name their levels, how many processors each has, and no third") {
    for (auto const& shape : shapes) {
        auto const leaves = leaves_of(vendor::intel, shape, 0);
        for (auto const function : {0xbu, 0x1fu}) {
            auto const& thread = leaves.find(function, 0)->values;
            auto const& core = leaves.find(function, 1)->values;
            CHECK(thread.ecx == 0x100);
            CHECK(core.ecx == 0x201);
            CHECK(thread.ebx == shape.threads);
            CHECK(core.ebx == shape.cores * shape.threads);
            CHECK(1u << thread.eax >= shape.threads);
            CHECK(1u << core.eax >= shape.threads * shape.cores);
            CHECK(leaves.find(function, 2) == nullptr);
        }
    }
    auto const leaves = leaves_of(vendor::intel, {2, 3, 2}, 0);
    CHECK(leaves.find(0xb, 0)->values.eax == 1);
    CHECK(leaves.find(0xb, 1)->values.eax == 3);
}

TEST_CASE("Intel's leaves 1 and 4 count addressable ids, a power of two") {
    auto const leaves = leaves_of(vendor::intel, {2, 3, 2}, 7);
    CHECK(bits(leaves.find(1, 0)->values.ebx, 16, 8) == 8);
    for (std::uint32_t i{0}; i != 4; ++i) {
        auto const& cache = leaves.find(4, i)->values;
        CHECK(bits(cache.eax, 26, 6) == 3);                   // cores of a socket
        CHECK(bits(cache.eax, 14, 12) == (i == 3 ? 7u : 1u)); // the third level is the socket's
        CHECK(cache.ebx == 0x01c0003f);
        CHECK(cache.ecx == 63);
    }
    auto const many = leaves_of(vendor::intel, {1, 254, 1}, 253);
    CHECK(bits(many.find(1, 0)->values.ebx, 16, 8) == 255); // the most that the field holds
    CHECK(bits(many.find(4, 0)->values.eax, 26, 6) == 63);
    CHECK(bits(many.find(4, 3)->values.eax, 14, 12) == 255);
    CHECK(leaves.find(0x8000001e, 0) == nullptr);
    CHECK(leaves.find(0x8000001d, 0) == nullptr);
    CHECK(leaves.find(0x80000008, 0)->values.ecx == 0);
    CHECK(bits(leaves.find(0x80000001, 0)->values.ecx, 1, 1) == 0);
    CHECK(leaves.find(0, 0)->values.eax == 0x1f);
    CHECK(leaves.find(0x80000000, 0)->values.eax == 0x80000008);
}

TEST_CASE("AMD's leaves count processors, and how wide the ids of a socket are") {
    auto const leaves = leaves_of(vendor::amd, {2, 3, 2}, 7);
    CHECK(bits(leaves.find(1, 0)->values.ebx, 16, 8) == 6);
    CHECK(bits(leaves.find(0x80000008, 0)->values.ecx, 0, 8) == 5);
    CHECK(bits(leaves.find(0x80000008, 0)->values.ecx, 12, 4) == 3);
    CHECK(bits(leaves.find(0x80000001, 0)->values.ecx, 1, 1) == 1);  // CmpLegacy
    CHECK(bits(leaves.find(0x80000001, 0)->values.ecx, 22, 1) == 1); // TopologyExtensions
    for (std::uint32_t i{0}; i != 4; ++i)
        CHECK(bits(leaves.find(0x8000001d, i)->values.eax, 14, 12) == (i == 3 ? 7u : 1u));
    CHECK(leaves.find(4, 0) == nullptr);
    CHECK(leaves.find(0x1f, 0) == nullptr);
    CHECK(leaves.find(0, 0)->values.eax == 0xd);
    CHECK(leaves.find(0x80000000, 0)->values.eax == 0x8000001e);
    auto const alone = leaves_of(vendor::amd, {}, 0);
    CHECK(bits(alone.find(0x80000001, 0)->values.ecx, 1, 1) == 0);
    CHECK(alone.find(0x80000008, 0)->values.ecx == 0);
}

TEST_CASE("a processor that is placed anew says nothing of its old place") {
    for (auto const who : {vendor::intel, vendor::amd}) {
        auto leaves = leaves_of(who, {2, 63, 2}, 251);
        show_topology(leaves, {1, 2, 1}, 1);
        auto const fresh = leaves_of(who, {1, 2, 1}, 1);
        REQUIRE(leaves.entries().size() == fresh.entries().size());
        for (std::size_t i{0}; i != fresh.entries().size(); ++i)
            CHECK(leaves.entries()[i].values == fresh.entries()[i].values);
    }
}
