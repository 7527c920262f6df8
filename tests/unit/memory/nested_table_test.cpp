// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/memory/ept.hpp>
#include <hv/memory/nested_table.hpp>
#include <hv/memory/npt.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <map>
#include <random>
#include <vector>

using hv::gpa;
using hv::hpa;
using hv::leaf_size;
using hv::memory_type;
using hv::status;
using hv::hosted::host;

namespace {

constexpr std::uint64_t KiB4{4096}, MiB2{2 << 20}, GiB{1 << 30};
constexpr auto rwx = hv::access::read | hv::access::write | hv::access::execute;
constexpr auto rx = hv::access::read | hv::access::execute;

/// A table that gives everything back at its end.
template <typename Format>
struct subject {
    host h{};
    hv::nested_table<Format, host> table{};

    explicit subject(leaf_size largest = leaf_size::one_gib) { REQUIRE(table.create(h, largest) == status::ok); }
    ~subject() {
        table.destroy(h);
        CHECK(h.allocations() == 0);
    }
    auto leaves() {
        std::vector<hv::nested_leaf> all;
        table.for_each(h, [&](hv::nested_leaf const& l) { all.push_back(l); });
        return all;
    }
};

/// What is mapped, as ranges: an independent memory of every operation.
struct range {
    std::uint64_t end;
    std::uint64_t to; ///< of the first byte
    hv::access allowed;
    memory_type type;
};
struct model {
    std::map<std::uint64_t, range> ranges{};

    void cut(std::uint64_t at) {
        auto found = ranges.upper_bound(at);
        if (found == ranges.begin())
            return;
        --found;
        if (found->first == at or found->second.end <= at)
            return;
        auto rest = found->second;
        rest.to += at - found->first;
        found->second.end = at;
        ranges.emplace(at, rest);
    }
    void erase(std::uint64_t first, std::uint64_t end) {
        cut(first);
        cut(end);
        ranges.erase(ranges.lower_bound(first), ranges.lower_bound(end));
    }
    void protect(std::uint64_t first, std::uint64_t end, hv::access allowed) {
        cut(first);
        cut(end);
        for (auto i = ranges.lower_bound(first); i != ranges.lower_bound(end); ++i)
            i->second.allowed = allowed;
    }
    /// Neighbours that continue each other are one.
    auto merged() const {
        std::map<std::uint64_t, range> all;
        for (auto const& [first, r] : ranges) {
            if (not all.empty()) {
                auto& [last_first, last] = *all.rbegin();
                if (last.end == first and last.to + (first - last_first) == r.to and last.allowed == r.allowed and
                    last.type == r.type) {
                    last.end = r.end;
                    continue;
                }
            }
            all.emplace(first, r);
        }
        return all;
    }
};
auto operator==(range const& a, range const& b) -> bool {
    return a.end == b.end and a.to == b.to and a.allowed == b.allowed and a.type == b.type;
}

} // namespace

TEMPLATE_TEST_CASE("a mapping uses the largest entries that fit", "", hv::npt_format, hv::ept_format) {
    subject<TestType> s{};
    // From one page below 2 MiB to one page above 1 GiB + 2 MiB, both sides aligned alike.
    auto const first = MiB2 - KiB4;
    auto const end = 2 * GiB + MiB2 + KiB4;
    REQUIRE(s.table.map(s.h, gpa{first}, hpa{4 * GiB + first}, end - first, rwx, memory_type::write_back) ==
            status::ok);
    auto const all = s.leaves();
    REQUIRE(all.size() == 1 + 511 + 1 + 1 + 1);
    CHECK(all[0].bytes == KiB4);
    CHECK(all[1].bytes == MiB2);
    CHECK(all[512].bytes == GiB);
    CHECK(all[513].bytes == MiB2);
    CHECK(all[514].bytes == KiB4);
    for (auto const& l : all) {
        CHECK(l.address.value == 4 * GiB + l.first.value);
        CHECK(l.allowed == rwx);
        CHECK(l.type == memory_type::write_back);
    }
    CHECK(s.h.allocations() == 1 + 1 + 2 + 2); // root; level 3; two of level 2; two of level 1
    CHECK(s.h.attempted_allocations() == s.h.allocations());
}

TEMPLATE_TEST_CASE("entries larger than allowed or than the alignment of both sides are not used", "", hv::npt_format,
                   hv::ept_format) {
    subject<TestType> s{leaf_size::two_mib};
    CHECK(s.table.map(s.h, gpa{0}, hpa{GiB}, GiB, rwx, memory_type::write_back) == status::ok);
    CHECK(s.leaves().size() == 512);
    CHECK(s.table.map(s.h, gpa{0}, hpa{GiB + KiB4}, 2 * MiB2, rwx, memory_type::write_back) == status::ok);
    CHECK(s.leaves().size() == 510 + 1024);
    subject<TestType> small{leaf_size::four_kib};
    CHECK(small.table.map(small.h, gpa{0}, hpa{GiB}, MiB2, rwx, memory_type::write_back) == status::ok);
    CHECK(small.leaves().size() == 512);
}

TEMPLATE_TEST_CASE("a hole in a gigabyte splits it and leaves the rest as it was", "", hv::npt_format, hv::ept_format) {
    subject<TestType> s{};
    REQUIRE(s.table.map(s.h, gpa{GiB}, hpa{3 * GiB}, GiB, rx, memory_type::uncacheable) == status::ok);
    CHECK(s.leaves().size() == 1);
    REQUIRE(s.table.unmap(s.h, gpa{GiB + MiB2 + KiB4}, KiB4) == status::ok);
    CHECK(s.leaves().size() == 511 + 511);
    for (auto const& l : s.leaves()) {
        CHECK(l.address.value == l.first.value + 2 * GiB);
        CHECK(l.allowed == rx);
        CHECK(l.type == memory_type::uncacheable);
    }
    CHECK_FALSE(s.table.lookup(s.h, gpa{GiB + MiB2 + KiB4}).present);
    CHECK(s.table.lookup(s.h, gpa{GiB + MiB2 + 2 * KiB4}).address == hpa{3 * GiB + MiB2 + 2 * KiB4});
    CHECK(s.h.allocations() == 4);
    // The whole gigabyte again: the tables below go.
    REQUIRE(s.table.map(s.h, gpa{GiB}, hpa{3 * GiB}, GiB, rwx, memory_type::write_back) == status::ok);
    CHECK(s.leaves().size() == 1);
    CHECK(s.h.allocations() == 2);
    REQUIRE(s.table.unmap(s.h, gpa{GiB}, GiB) == status::ok);
    CHECK(s.h.allocations() == 1);
}

TEMPLATE_TEST_CASE("unmapping what is not mapped costs nothing", "", hv::npt_format, hv::ept_format) {
    subject<TestType> s{};
    CHECK(s.table.unmap(s.h, gpa{0}, std::uint64_t{1} << 48) == status::ok);
    CHECK(s.table.protect(s.h, gpa{KiB4}, GiB, rx) == status::ok);
    CHECK(s.h.allocations() == 1);
    CHECK(s.table.map(s.h, gpa{(1ull << 48) - KiB4}, hpa{GiB}, KiB4, rwx, memory_type::write_back) == status::ok);
    CHECK(s.table.unmap(s.h, gpa{KiB4}, (std::uint64_t{1} << 48) - KiB4) == status::ok);
    CHECK(s.h.allocations() == 1);
}

TEMPLATE_TEST_CASE("a page is filled where its table is there already, and never in place of another", "",
                   hv::npt_format, hv::ept_format) {
    subject<TestType> s;
    auto const fill = [&s](std::uint64_t page, std::uint64_t to) {
        return s.table.fill_page(s.h, gpa{page}, hpa{to}, rx, memory_type::write_back);
    };
    CHECK_FALSE(fill(GiB, 7 * KiB4));
    CHECK(s.leaves().empty());
    REQUIRE(s.table.map(s.h, gpa{GiB + KiB4}, hpa{9 * KiB4}, KiB4, rwx, memory_type::write_back) == status::ok);
    auto const pages = s.h.allocations();
    CHECK(fill(GiB, 7 * KiB4));
    CHECK(fill(GiB + KiB4, 7 * KiB4));
    CHECK(s.h.allocations() == pages);
    auto const found = s.leaves();
    REQUIRE(found.size() == 2);
    CHECK(found[0].first == gpa{GiB});
    CHECK(found[0].bytes == KiB4);
    CHECK(found[0].address == hpa{7 * KiB4});
    CHECK(found[0].allowed == rx);
    CHECK(found[0].type == memory_type::write_back);
    CHECK(found[1].address == hpa{9 * KiB4});
    CHECK(found[1].allowed == rwx);
    CHECK_FALSE(fill(GiB + MiB2, 7 * KiB4)); // the next table

    REQUIRE(s.table.map(s.h, gpa{4 * GiB}, hpa{MiB2}, MiB2, rwx, memory_type::write_back) == status::ok);
    CHECK(fill(4 * GiB + KiB4, 7 * KiB4)); // a large entry maps it
    CHECK(s.table.lookup(s.h, gpa{4 * GiB + KiB4}).bytes == MiB2);
}

TEMPLATE_TEST_CASE("arguments that make no range are refused", "", hv::npt_format, hv::ept_format) {
    subject<TestType> s{};
    auto const map = [&](std::uint64_t first, std::uint64_t to, std::uint64_t bytes, hv::access a) {
        return s.table.map(s.h, gpa{first}, hpa{to}, bytes, a, memory_type::write_back);
    };
    CHECK(map(1, 0, KiB4, rwx) == status::invalid_argument);
    CHECK(map(0, 1, KiB4, rwx) == status::invalid_argument);
    CHECK(map(0, 0, KiB4 + 1, rwx) == status::invalid_argument);
    CHECK(map(0, 0, 0, rwx) == status::invalid_argument);
    CHECK(map(0, 0, KiB4, hv::access::none) == status::invalid_argument);
    CHECK(map(0, 0, KiB4, static_cast<hv::access>(8)) == status::invalid_argument);
    CHECK(map(1ull << 48, 0, KiB4, rwx) == status::invalid_argument);
    CHECK(map((1ull << 48) - KiB4, 0, 2 * KiB4, rwx) == status::invalid_argument);
    CHECK(map(KiB4, 0, ~0ull & ~(KiB4 - 1), rwx) == status::invalid_argument);
    CHECK(map(0, 1ull << 52, KiB4, rwx) == status::invalid_argument);
    CHECK(s.table.unmap(s.h, gpa{0}, 0) == status::invalid_argument);
    CHECK(s.table.unmap(s.h, gpa{KiB4}, 1ull << 48) == status::invalid_argument);
    CHECK(s.table.protect(s.h, gpa{0}, KiB4, hv::access::none) == status::invalid_argument);
    CHECK(s.table.split(s.h, gpa{1}, KiB4) == status::invalid_argument);
    CHECK_FALSE(s.table.lookup(s.h, gpa{1ull << 48}).present);
    CHECK_FALSE(s.table.clear_dirty(s.h, gpa{~0ull}));
    CHECK(s.table.create(s.h) == status::already_exists);
}

TEMPLATE_TEST_CASE("rights that the format cannot express become the next larger ones", "", hv::npt_format,
                   hv::ept_format) {
    subject<TestType> s{};
    REQUIRE(s.table.map(s.h, gpa{0}, hpa{GiB}, KiB4, hv::access::write, memory_type::write_back) == status::ok);
    CHECK(s.table.lookup(s.h, gpa{0}).allowed == (hv::access::read | hv::access::write));
    REQUIRE(s.table.protect(s.h, gpa{0}, KiB4, hv::access::execute) == status::ok);
    CHECK(s.table.lookup(s.h, gpa{0}).allowed == rx);
}

TEMPLATE_TEST_CASE("dirty flags survive protect and split, and are cleared one page at a time", "", hv::npt_format,
                   hv::ept_format) {
    subject<TestType> s{};
    REQUIRE(s.table.map(s.h, gpa{0}, hpa{GiB}, 2 * MiB2, rwx, memory_type::write_back) == status::ok);
    CHECK_FALSE(s.table.set_dirty(s.h, gpa{0x1234}));
    CHECK(s.table.set_dirty(s.h, gpa{0x1234}));
    CHECK(s.table.lookup(s.h, gpa{0}).dirty);
    CHECK_FALSE(s.table.lookup(s.h, gpa{MiB2}).dirty);
    REQUIRE(s.table.split(s.h, gpa{0}, 2 * MiB2) == status::ok);
    CHECK(s.leaves().size() == 1024);
    REQUIRE(s.table.protect(s.h, gpa{0}, 2 * MiB2, rx) == status::ok);
    CHECK(s.table.clear_dirty(s.h, gpa{KiB4}));
    CHECK_FALSE(s.table.clear_dirty(s.h, gpa{KiB4}));
    CHECK(s.table.lookup(s.h, gpa{0}).dirty);
    CHECK(s.table.lookup(s.h, gpa{2 * KiB4}).dirty);
    CHECK_FALSE(s.table.set_dirty(s.h, gpa{KiB4})); // not writable now
    CHECK_FALSE(s.table.lookup(s.h, gpa{KiB4}).dirty);
    CHECK_FALSE(s.table.set_dirty(s.h, gpa{GiB}));
}

TEMPLATE_TEST_CASE("random operations with failing allocations agree with a list of ranges", "", hv::npt_format,
                   hv::ept_format) {
    for (unsigned seed{1}; seed != 9; ++seed) {
        subject<TestType> s{static_cast<leaf_size>(1 + seed % 3)};
        model m{};
        std::mt19937_64 random{seed};
        auto const below = [&](std::uint64_t n) { return random() % n; };
        unsigned failed{}, done{};
        auto const window = seed % 3 == 2 ? 3 * GiB : 64 * MiB2;
        for (unsigned step{}; step != 1000; ++step) {
            // Gigabytes are rare, 2 MiB are common, edges may be off by a few pages.
            auto const unit = below(10) == 0 and seed % 3 == 2 ? GiB : below(2) == 0 ? MiB2 : KiB4;
            auto first = below(window / unit) * unit;
            auto bytes = (1 + below(unit == GiB ? 2 : 6)) * unit;
            if (below(4) == 0) {
                first += below(3) * KiB4;
                bytes += below(3) * KiB4;
            }
            if (seed % 3 == 0 and unit == MiB2)
                bytes = std::min(bytes, MiB2); // 4 KiB entries only: keep it small
            auto const end = first + bytes;
            auto const tables = s.h.allocations();
            auto const fails = below(3) == 0;
            s.h.fail_after(fails ? below(4) : host::unlimited);
            auto const allowed = below(2) == 0 ? rwx : rx;
            auto result = status::ok;
            switch (auto const kind = below(8)) {
            case 0:
            case 1:
            case 2:
            case 3: {
                auto const to = 16 * GiB + first + (below(6) == 0 and bytes < 4 * MiB2 ? KiB4 : kind == 1 ? MiB2 : 0);
                auto const type = below(5) == 0 ? memory_type::uncacheable : memory_type::write_back;
                result = s.table.map(s.h, gpa{first}, hpa{to}, bytes, allowed, type);
                if (result == status::ok) {
                    m.erase(first, end);
                    m.ranges.emplace(first, range{end, to, allowed, type});
                }
                break;
            }
            case 4:
            case 5:
                result = s.table.unmap(s.h, gpa{first}, bytes);
                if (result == status::ok)
                    m.erase(first, end);
                break;
            case 6:
                result = s.table.protect(s.h, gpa{first}, bytes, allowed);
                if (result == status::ok)
                    m.protect(first, end, allowed);
                break;
            default:
                result = s.table.split(s.h, gpa{first}, std::min(bytes, 4 * MiB2));
                break;
            }
            if (result != status::ok) {
                REQUIRE(result == status::out_of_memory);
                REQUIRE(fails);
                REQUIRE(s.h.allocations() == tables);
                ++failed;
            } else
                ++done;
            if (step % 16 == 0 or result != status::ok) {
                model seen{};
                s.table.for_each(s.h, [&](hv::nested_leaf const& l) {
                    seen.ranges.emplace(l.first.value,
                                        range{l.first.value + l.bytes, l.address.value, l.allowed, l.type});
                });
                if (not(seen.merged() == m.merged())) {
                    CAPTURE(seed, step);
                    FAIL("table and model differ");
                }
            }
        }
        CHECK(failed > 5);
        CHECK(done > 400);
        s.h.fail_after(host::unlimited);
        REQUIRE(s.table.unmap(s.h, gpa{0}, 1ull << 48) == status::ok);
        CHECK(s.leaves().empty());
        CHECK(s.h.allocations() == 1);
    }
}

TEMPLATE_TEST_CASE("an operation allocates exactly what it links", "", hv::npt_format, hv::ept_format) {
    subject<TestType> s{};
    std::mt19937_64 random{7};
    for (unsigned step{}; step != 400; ++step) {
        auto const first = random() % 1024 * (step % 2 == 0 ? MiB2 : KiB4 * 77);
        auto const bytes = (1 + random() % 700) * KiB4;
        auto const before = s.h.allocations();
        auto const attempts = s.h.attempted_allocations();
        auto const frees_nothing = step % 3 == 0;
        if (frees_nothing)
            REQUIRE(s.table.protect(s.h, gpa{first}, bytes, rx) == status::ok);
        else
            REQUIRE(s.table.map(s.h, gpa{first}, hpa{8 * GiB + first}, bytes, rwx, memory_type::write_back) ==
                    status::ok);
        auto const asked = s.h.attempted_allocations() - attempts;
        if (frees_nothing)
            CHECK(s.h.allocations() == before + asked);
        else
            CHECK(s.h.allocations() <= before + asked);
    }
}
