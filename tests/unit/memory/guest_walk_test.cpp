// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "flat_memory.hpp"

#include <hv/memory/guest_walk.hpp>

#include <atomic>
#include <thread>

using hv::gpa;
using hv::gva;
using hv::translation_failure;

namespace {

// The oracle describes a mapping by what the operating system meant with it, and a processor by switches; it never
// looks at an entry.
struct shape {
    char const* name;
    bool long_mode, pae;
    unsigned top, leaf;  // levels
    unsigned entry_size; // bytes
    std::uint64_t page;  // bytes
};
constexpr shape shapes[]{
    {"32-bit, 4 KiB", false, false, 2, 1, 4, 1ull << 12}, {"32-bit, 4 MiB", false, false, 2, 2, 4, 1ull << 22},
    {"PAE, 4 KiB", false, true, 3, 1, 8, 1ull << 12},     {"PAE, 2 MiB", false, true, 3, 2, 8, 1ull << 21},
    {"4-level, 4 KiB", true, true, 4, 1, 8, 1ull << 12},  {"4-level, 2 MiB", true, true, 4, 2, 8, 1ull << 21},
    {"4-level, 1 GiB", true, true, 4, 3, 8, 1ull << 30},
};

constexpr std::uint64_t linear{0xc0de'd123};
constexpr std::uint64_t frame{0x40'0000'0000 - (1ull << 30)}; // of 1 GiB alignment, below 2^38, outside the tables
constexpr std::uint64_t low_frame{0x8000'0000};               // for entries of 32 bits

struct guest {
    flat_memory memory{0x8000};
    hv::paging_state state{};
    shape const* s;

    explicit guest(shape const& which) : s{&which} {
        state.cr0 = hv::x86::cr0::pg | hv::x86::cr0::pe;
        state.cr3 = 0x1000;
        state.cr4 = hv::x86::cr4::pse | (which.pae ? hv::x86::cr4::pae : 0);
        state.efer = which.long_mode ? hv::x86::efer::lme | hv::x86::efer::lma : 0;
        for (auto level = which.top; level >= which.leaf; --level)
            set(level, entry(level, true, true, false));
    }

    static auto table(unsigned level, unsigned top) -> std::uint64_t { return 0x1000 * (top - level + 1); }
    auto where(unsigned level) const -> std::uint64_t {
        auto const bits = s->entry_size == 4 ? 10u : 9u;
        auto const index = linear / (4096ull << (bits * (level - 1))) % (1u << bits);
        return table(level, s->top) + index * s->entry_size;
    }
    auto target() const -> std::uint64_t { return s->entry_size == 4 ? low_frame : frame; }
    auto entry(unsigned level, bool user, bool write, bool nx) const -> std::uint64_t {
        auto value = 1ull;
        if (not(s->pae and not s->long_mode and level == 3)) // a PDPTE of PAE has no rights
            value += (write ? 2ull : 0) + (user ? 4ull : 0) + (nx ? 1ull << 63 : 0);
        if (level > s->leaf)
            return value + table(level - 1, s->top);
        return value + target() + (level > 1 ? 0x80 : 0);
    }
    void set(unsigned level, std::uint64_t value) {
        if (s->entry_size == 4)
            memory.put(where(level), static_cast<std::uint32_t>(value));
        else
            memory.put(where(level), value);
    }
    auto get(unsigned level) const -> std::uint64_t {
        return s->entry_size == 4 ? memory.get<std::uint32_t>(where(level)) : memory.get<std::uint64_t>(where(level));
    }
    auto go(hv::access wanted) { return hv::translate(memory, state, gva{linear}, wanted); }
};

constexpr hv::access accesses[]{hv::access::read, hv::access::write, hv::access::execute};

struct rights {
    bool user, write, nx;
};
struct switches {
    bool wp, smep, smap, ac, nxe, user_mode;
};

/// 0 if the access succeeds, else 0x100 and the error code.
auto verdict(shape const& s, switches const& on, rights const (&each)[5], hv::access wanted) -> unsigned {
    auto reserved = false, everywhere_user = true, everywhere_write = true, somewhere_nx = false;
    for (auto level = s.top; level >= s.leaf; --level) {
        if (s.pae and not s.long_mode and level == 3)
            continue;
        everywhere_user = everywhere_user and each[level].user;
        everywhere_write = everywhere_write and each[level].write;
        if (s.pae and each[level].nx) {
            reserved = reserved or not on.nxe;
            somewhere_nx = true;
        }
    }
    auto const fetch = wanted == hv::access::execute;
    auto const write = wanted == hv::access::write;
    auto denied = false;
    if (on.user_mode)
        denied = not everywhere_user or (write and not everywhere_write) or (fetch and somewhere_nx);
    else if (fetch)
        denied = somewhere_nx or (on.smep and everywhere_user);
    else
        denied = (write and on.wp and not everywhere_write) or (on.smap and not on.ac and everywhere_user);
    if (not reserved and not denied)
        return 0;
    return 0x101u + (write ? 2 : 0) + (on.user_mode ? 4 : 0) + (reserved ? 8 : 0) +
           (fetch and (on.smep or (s.pae and on.nxe)) ? 16 : 0);
}

} // namespace

TEST_CASE("every combination of rights, mode and access gives the verdict of the manual") {
    for (auto const& s : shapes) {
        auto const count = s.top - s.leaf + 1;
        std::uint64_t walks{}, faults{}, wrong{};
        guest g{s};
        for (unsigned pattern{}; pattern != 1u << (3 * count); ++pattern) {
            rights each[5]{};
            std::uint64_t entries[5]{};
            for (unsigned level{s.leaf}; level <= s.top; ++level) {
                auto const three = pattern >> (3 * (level - s.leaf)) & 7;
                each[level] = {(three & 1) != 0, (three & 2) != 0, (three & 4) != 0 and s.pae};
                entries[level] = g.entry(level, each[level].user, each[level].write, each[level].nx);
            }
            for (unsigned setting{}; setting != 64; ++setting) {
                switches const on{(setting & 1) != 0, (setting & 2) != 0,  (setting & 4) != 0,
                                  (setting & 8) != 0, (setting & 16) != 0, (setting & 32) != 0};
                g.state.cr0 = 0x8000'0001u | (on.wp ? 1u << 16 : 0);
                g.state.cr4 = 1u << 4 | (s.pae ? 1u << 5 : 0) | (on.smep ? 1u << 20 : 0) | (on.smap ? 1u << 21 : 0);
                g.state.efer = (s.long_mode ? 0x500u : 0) | (on.nxe ? 1u << 11 : 0);
                g.state.rflags = 2u | (on.ac ? 1u << 18 : 0);
                g.state.cpl = on.user_mode ? 3 : static_cast<std::uint8_t>(setting % 3);
                for (auto const wanted : accesses) {
                    for (unsigned level{s.leaf}; level <= s.top; ++level)
                        g.set(level, entries[level]);
                    auto const expected = verdict(s, on, each, wanted);
                    auto const got = g.go(wanted);
                    ++walks;
                    auto same = got.ok == (expected == 0);
                    if (expected == 0)
                        same = same and got.address.value == g.target() + linear % s.page;
                    else
                        same = same and got.failure == translation_failure::page_fault and
                               got.error_code == expected - 0x100;
                    faults += got.ok ? 0 : 1;
                    for (unsigned level{s.leaf}; level <= s.top; ++level) {
                        auto after = entries[level];
                        if (expected == 0 and not(s.pae and not s.long_mode and level == 3))
                            after |= 0x20u | (level == s.leaf and wanted == hv::access::write ? 0x40u : 0);
                        same = same and g.get(level) == (s.entry_size == 4 ? after & 0xffff'ffff : after);
                    }
                    if (not same and wrong++ < 3) {
                        CAPTURE(s.name, pattern, setting, static_cast<int>(wanted), expected, got.error_code, got.ok);
                        FAIL_CHECK("another verdict than the manual's");
                    }
                }
            }
        }
        CAPTURE(s.name);
        CHECK(wrong == 0);
        CHECK(faults > 0);
        CHECK(walks == (1u << (3 * count)) * 64u * 3u);
    }
}

TEST_CASE("exactly the reserved bits of the manual fault") {
    unsigned walks{};
    struct row {
        unsigned shape, level, first, last; // inclusive; bits from MAXPHYADDR are added below
    };
    // SDM Vol. 3A, tables "Format of a … Entry" of the three paging modes.
    constexpr row rows[]{
        {1, 2, 21, 21}, {2, 3, 1, 2}, {2, 3, 6, 8}, {2, 3, 63, 63}, {2, 3, 52, 62}, {2, 2, 52, 62},
        {2, 1, 52, 62}, {3, 3, 1, 2}, {3, 3, 6, 8}, {3, 3, 63, 63}, {3, 3, 52, 62}, {3, 2, 52, 62},
        {3, 2, 13, 20}, {4, 4, 7, 7}, {5, 4, 7, 7}, {5, 2, 13, 20}, {6, 4, 7, 7},   {6, 3, 13, 29},
    };
    for (unsigned index{}; index != std::size(shapes); ++index)
        for (unsigned const physical_bits : {36u, 40u, 46u, 52u})
            for (bool const nxe : {false, true})
                for (unsigned level{shapes[index].leaf}; level <= shapes[index].top; ++level)
                    for (unsigned bit{1}; bit != shapes[index].entry_size * 8; ++bit) {
                        auto const& s = shapes[index];
                        if (bit == 7 and level > s.leaf and level != 4 and
                            not(s.pae and not s.long_mode and level == 3))
                            continue; // PS: makes another mapping of it, which the next test looks at
                        auto reserved = false;
                        for (auto const& r : rows)
                            reserved = reserved or
                                       (r.shape == index and r.level == level and r.first <= bit and bit <= r.last);
                        if (s.entry_size == 8) {
                            reserved = reserved or (physical_bits <= bit and bit <= 51);
                            reserved = reserved or (bit == 63 and not nxe);
                        } else if (level == 2 and s.leaf == 2) // PSE-36: bits 13 and up are address bits 32 and up
                            reserved =
                                reserved or (bit >= 13 + (physical_bits < 40 ? physical_bits : 40) - 32 and bit <= 21);
                        guest g{s};
                        g.state.physical_bits = static_cast<std::uint8_t>(physical_bits);
                        if (nxe)
                            g.state.efer |= hv::x86::efer::nxe;
                        auto const base = s.entry_size == 8 and level == s.leaf
                                              ? g.get(level) & ~(frame) // an address that fits 36 bits
                                              : g.get(level);
                        g.set(level, base | 1ull << bit);
                        if (s.entry_size == 8 and level != s.leaf)
                            g.set(s.leaf, g.get(s.leaf) & ~frame);
                        auto const got = g.go(hv::access::read);
                        auto const faulted = got.failure == translation_failure::page_fault and got.error_code == 9;
                        CAPTURE(s.name, physical_bits, nxe, level, bit, got.error_code);
                        ++walks;
                        if (faulted != reserved)
                            FAIL_CHECK("reserved or not");
                    }
    CHECK(walks > 1000);
}

TEST_CASE("a gigabyte page is a reserved bit where CPUID does not promise it") {
    guest g{shapes[6]};
    CHECK(g.go(hv::access::read).ok);
    g.state.gigabyte_pages = false;
    CHECK(g.go(hv::access::read).error_code == 9);
}

TEST_CASE("a reserved fault in the last entry has the access in its code") {
    guest g{shapes[4]};
    g.state.efer |= hv::x86::efer::nxe;
    g.state.cpl = 3;
    g.set(1, g.get(1) | 1ull << 45);
    CHECK(g.go(hv::access::execute).error_code == 0x1d);
    CHECK(g.go(hv::access::write).error_code == 0xf);
    CHECK(g.go(hv::access::read | hv::access::write).error_code == 0xf);
}

TEST_CASE("a missing entry at any level is a fault without the present flag and changes nothing") {
    for (auto const& s : shapes)
        for (auto level = s.leaf; level <= s.top; ++level) {
            guest g{s};
            g.set(level, g.get(level) & ~1ull);
            auto const before = g.memory.words;
            auto const got = g.go(hv::access::write);
            CAPTURE(s.name, level);
            CHECK(got.failure == translation_failure::page_fault);
            CHECK(got.error_code == 2);
            CHECK(g.memory.words == before);
        }
}

TEST_CASE("PSE-36 places a 4 MiB page above 4 GiB") {
    guest g{shapes[1]};
    g.set(2, 0xabc0'0000u | 0x5au << 13 | 0x80 | 7); // bits 39:32 are 0x5a
    CHECK(g.go(hv::access::write).address.value == 0x5a'abc0'0000 + linear % (4u << 20));
    g.set(2, g.get(2) | 1u << 21);
    CHECK(g.go(hv::access::write).error_code == 0xb);
    g.set(2, 0xabc0'0000u | 0x1000 | 0x80 | 7); // bit 12 is PAT
    CHECK(g.go(hv::access::read).address.value == 0xabc0'0000 + linear % (4u << 20));
}

TEST_CASE("without CR4.PSE the size bit of a 32-bit directory entry means nothing") {
    guest g{shapes[0]};
    g.set(2, g.get(2) | 0x80);
    CHECK(g.go(hv::access::read).address.value == (1ull << 32) + linear % (4u << 20)); // bit 13 of a table at 0x2000
    g.state.cr4 = 0;
    CHECK(g.go(hv::access::read).address.value == low_frame + linear % 4096);
}

TEST_CASE("without paging the address is its own, of 32 bits outside long mode") {
    flat_memory memory{4096};
    hv::paging_state state{.cr0 = hv::x86::cr0::pe};
    for (auto const wanted : accesses) {
        auto const got = hv::translate(memory, state, gva{0x1'2345'6789}, wanted);
        CHECK(got.ok);
        CHECK(got.address == gpa{0x2345'6789});
    }
    guest g{shapes[2]};
    CHECK(hv::translate(g.memory, g.state, gva{linear + (1ull << 32)}, hv::access::read).address.value ==
          frame + linear % 4096);
}

TEST_CASE("control bits of CR3 and PCIDs do not move the tables") {
    guest g{shapes[4]};
    g.state.cr3 |= 0x8000'0000'0000'0fffull;
    CHECK(g.go(hv::access::read).ok);
    guest p{shapes[2]};
    p.state.cr3 |= 0x18;
    CHECK(p.go(hv::access::read).ok);
    p.memory.put(0x1fe0 + 3 * 8, p.get(3)); // a PDPT needs only 32-byte alignment
    p.set(3, 0);
    p.state.cr3 = 0x1fe0;
    CHECK(p.go(hv::access::read).ok);
}

TEST_CASE("a table outside memory is no page fault") {
    for (auto const& s : shapes) {
        guest g{s};
        g.state.cr3 = 0x9000;
        auto const got = g.go(hv::access::read);
        CHECK_FALSE(got.ok);
        CHECK(got.failure == translation_failure::no_memory);
    }
}

TEST_CASE("a table in read-only memory serves until a flag must be set in it") {
    guest g{shapes[4]};
    g.memory.read_only = {0x1000, 0x2000, 0x3000, 0x4000};
    CHECK(g.go(hv::access::read).failure == translation_failure::no_memory);
    CHECK(hv::peek(g.memory, g.state, gva{linear}, hv::access::read).ok);
    for (unsigned level{1}; level <= 4; ++level)
        g.set(level, g.get(level) | 0x20);
    CHECK(g.go(hv::access::read).ok);
    CHECK(g.go(hv::access::write).failure == translation_failure::no_memory);
}

TEST_CASE("peek changes nothing and checks the same rights") {
    guest g{shapes[5]};
    auto const before = g.memory.words;
    CHECK(hv::peek(g.memory, g.state, gva{linear}, hv::access::write).address == gpa{frame + linear % (2u << 20)});
    CHECK(g.memory.words == before);
    g.set(2, g.get(2) & ~2ull);
    g.state.cr0 |= hv::x86::cr0::wp;
    CHECK(hv::peek(g.memory, g.state, gva{linear}, hv::access::write).error_code == 3);
    CHECK(hv::peek(g.memory, g.state, gva{linear}, hv::access::none).ok);
}

struct serial_memory {
    static constexpr bool callers_are_serial{true};
    flat_memory& all;
    auto at(gpa address, hv::access wanted) -> std::byte* { return all.at(address, wanted); }
};

TEST_CASE("where nobody else runs the flags are set all the same") {
    guest g{shapes[4]};
    serial_memory alone{g.memory};
    CHECK(hv::translate(alone, g.state, gva{linear}, hv::access::write).ok);
    CHECK((g.get(1) & 0x60) == 0x60);
    CHECK((g.get(4) & 0x60) == 0x20);
}

TEST_CASE("an entry that changes between look and mark is looked at again") {
    guest g{shapes[4]};
    auto changed = false;
    g.memory.before_access = [&](gpa address, hv::access wanted) {
        if (wanted == hv::access::write and address.value == g.where(1) and not changed) {
            changed = true;
            g.set(1, 0x1234'5000 | 7);
        }
    };
    auto const got = g.go(hv::access::write);
    CHECK(changed);
    CHECK(got.address.value == 0x1234'5000 + linear % 4096);
    CHECK(g.get(1) == (0x1234'5000 | 0x67));
}

TEST_CASE("an entry that never stands still ends the walk") {
    guest g{shapes[4]};
    unsigned changes{};
    g.memory.before_access = [&](gpa address, hv::access wanted) {
        if (wanted == hv::access::write and address.value == g.where(1))
            g.set(1, (std::uint64_t{++changes} << 12) | 7);
    };
    CHECK(g.go(hv::access::write).failure == translation_failure::contended);
    CHECK(changes < 100);
}

TEST_CASE("a walk never brings back an entry that another processor removed") {
    guest g{shapes[4]};
    std::atomic<bool> stop{};
    auto* const entry = reinterpret_cast<std::uint64_t*>(g.memory.at(gpa{g.where(1)}, hv::access::write));
    auto const fresh = g.get(1);
    std::thread walker{[&] {
        while (not stop)
            (void)g.go(hv::access::write);
    }};
    unsigned resurrected{};
    for (unsigned round{}; round != 20000; ++round) {
        __atomic_store_n(entry, fresh, __ATOMIC_SEQ_CST);
        for (unsigned i{}; i != round % 8; ++i)
            (void)__atomic_load_n(entry, __ATOMIC_SEQ_CST);
        __atomic_store_n(entry, 0, __ATOMIC_SEQ_CST);
        for (unsigned i{}; i != 16; ++i)
            resurrected += __atomic_load_n(entry, __ATOMIC_SEQ_CST) != 0;
    }
    stop = true;
    walker.join();
    CHECK(resurrected == 0);
}
