// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "flat_memory.hpp"

#include <hv/memory/copy.hpp>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

using hv::gpa;
using hv::gva;
using hv::status;
using hv::translation_failure;

namespace {

/// 4-level tables at 0x1000; guest-virtual pages 0 to 19 lie at frames that descend from 0x28000, two pages apart.
struct guest {
    flat_memory memory{0x30000};
    hv::paging_state state{.cr0 = hv::x86::cr0::pg | hv::x86::cr0::pe | hv::x86::cr0::wp,
                           .cr3 = 0x1000,
                           .cr4 = hv::x86::cr4::pae,
                           .efer = hv::x86::efer::lme | hv::x86::efer::lma};
    static constexpr unsigned pages{16};

    guest() {
        memory.put<std::uint64_t>(0x1000, 0x2000 | 7);
        memory.put<std::uint64_t>(0x2000, 0x3000 | 7);
        memory.put<std::uint64_t>(0x3000, 0x4000 | 7);
        for (unsigned page{}; page != pages; ++page)
            set(page, frame(page) | 7);
    }
    static auto frame(unsigned page) -> std::uint64_t { return 0x28000 - page * 0x2000ull; }
    void set(unsigned page, std::uint64_t entry) { memory.put(0x4000 + page * 8ull, entry); }
};

auto pattern(std::size_t bytes) -> std::vector<std::byte> {
    std::vector<std::byte> v(bytes);
    for (std::size_t i{}; i != bytes; ++i)
        v[i] = static_cast<std::byte>(i * 7 + (i >> 8));
    return v;
}

} // namespace

TEST_CASE("what was copied out at any alignment and length is copied in again, byte by byte where it belongs") {
    guest g{};
    for (std::size_t const bytes : {0u, 1u, 2u, 3u, 7u, 8u, 15u, 16u, 100u, 4095u, 4096u, 4097u, 9000u})
        for (std::uint64_t const start : {0x0ull, 0x1ull, 0x7ull, 0xff8ull, 0xffdull, 0xfffull, 0x1ffeull}) {
            auto const out = pattern(bytes);
            std::vector<std::byte> in(bytes);
            REQUIRE(hv::copy_out(g.memory, g.state, gva{start}, out).ok());
            REQUIRE(hv::copy_in(g.memory, g.state, gva{start}, in).ok());
            CHECK(in == out);
            for (std::size_t i{}; i < bytes; i += 61)
                if (g.memory.get<std::byte>(guest::frame(static_cast<unsigned>((start + i) >> 12)) +
                                            ((start + i) & 0xfff)) != out[i])
                    FAIL_CHECK("byte " << i << " of " << bytes << " from " << start);
        }
}

TEST_CASE("a copy that faults in its last page moves nothing and names the byte") {
    guest g{};
    auto const out = pattern(6000);
    g.set(2, 0);
    auto const data_before = std::vector(g.memory.words.begin() + 0x5000 / 8, g.memory.words.end());
    auto const written = hv::copy_out(g.memory, g.state, gva{0xf00}, out);
    CHECK(written.error == status::bad_address);
    CHECK(written.failure == translation_failure::page_fault);
    CHECK(written.error_code == 2);
    CHECK(written.address == gva{0x2000});
    CHECK(std::vector(g.memory.words.begin() + 0x5000 / 8, g.memory.words.end()) == data_before);

    std::vector<std::byte> in(6000, std::byte{0xee});
    auto const read = hv::copy_in(g.memory, g.state, gva{0xf00}, in);
    CHECK(read.error_code == 0);
    CHECK(read.address == gva{0x2000});
    CHECK(in == std::vector<std::byte>(6000, std::byte{0xee}));

    g.set(2, guest::frame(2) | 5);
    CHECK(hv::copy_in(g.memory, g.state, gva{0xf00}, in).ok());
    CHECK(hv::copy_out(g.memory, g.state, gva{0xf00}, out).error_code == 3);
}

TEST_CASE("a first byte that faults is the address of the fault") {
    guest g{};
    g.set(1, 0);
    std::vector<std::byte> in(16);
    CHECK(hv::copy_in(g.memory, g.state, gva{0x1ffd}, in).address == gva{0x1ffd});
}

TEST_CASE("a page that leads out of memory is no page fault") {
    guest g{};
    g.set(1, 0x7000'0000 | 7);
    std::vector<std::byte> in(16);
    auto const r = hv::copy_in(g.memory, g.state, gva{0xff8}, in);
    CHECK(r.error == status::bad_address);
    CHECK(r.failure == translation_failure::no_memory);
    CHECK(r.address == gva{0x1000});
}

TEST_CASE("the longest copy works at any alignment and a longer one is refused before it looks") {
    guest g{};
    auto const out = pattern(hv::longest_copy + 1);
    CHECK(hv::copy_out(g.memory, g.state, gva{0}, std::span{out}.first(hv::longest_copy)).ok());
    auto const seventeen = hv::copy_out(g.memory, g.state, gva{1}, std::span{out}.first(hv::longest_copy));
    CHECK(seventeen.error == status::bad_address); // the guest has only 16 pages
    CHECK(seventeen.address == gva{0x10000});
    g.set(16, guest::frame(3) | 7);
    CHECK(hv::copy_out(g.memory, g.state, gva{0xfff}, std::span{out}.first(hv::longest_copy)).ok());
    auto const before = g.memory.words;
    CHECK(hv::copy_out(g.memory, g.state, gva{0}, out).error == status::too_big);
    CHECK(g.memory.words == before);
}

TEST_CASE("guest-physical copies are whole or nothing as well") {
    flat_memory memory{0x4000};
    memory.read_only = {0x2000};
    auto const out = pattern(5000);
    CHECK(hv::copy_out(memory, gpa{0x7ff}, out) == status::ok);
    std::vector<std::byte> in(5000);
    CHECK(hv::copy_in(memory, gpa{0x7ff}, in) == status::ok);
    CHECK(in == out);
    auto const before = memory.words;
    CHECK(hv::copy_out(memory, gpa{0x1f00}, out) == status::bad_address); // read-only page
    CHECK(hv::copy_in(memory, gpa{0x3000}, in) == status::bad_address);   // end of memory
    CHECK(hv::copy_in(memory, gpa{~0ull - 4000}, in) == status::bad_address);
    CHECK(memory.words == before);
    CHECK(in == out);
    CHECK(hv::copy_in(memory, gpa{0x1f00}, in) == status::ok);
    CHECK(hv::read_value<std::uint16_t>(memory, gpa{0x7ff}).value == 0x0700);
    CHECK(hv::read_value<std::uint16_t>(memory, gpa{0x3fff}).error == status::bad_address);
}

TEST_CASE("CVE-2021-29657: what a racing guest writes is read once, and aligned values are never torn") {
    flat_memory memory{0x2000};
    struct request {
        std::uint64_t length;
        std::uint64_t again;
    };
    std::atomic<bool> stop{};
    auto* const shared = reinterpret_cast<std::uint64_t*>(memory.at(gpa{0x100}, hv::access::write));
    std::thread attacker{[&] {
        for (std::uint64_t n{}; not stop; ++n)
            __atomic_store_n(shared, (n & 1) != 0 ? ~0ull : 0ull, __ATOMIC_RELAXED);
    }};
    unsigned torn{}, changed{}, flips{};
    std::uint64_t last{};
    for (unsigned i{}; i != 50'000'000 and flips < 10'000; ++i) { // until the attacker has really raced
        auto const r = hv::read_value<request>(memory, gpa{0x100});
        flips += r.value.length != last;
        last = r.value.length;
        torn += r.value.length != 0 and r.value.length != ~0ull;
        if (r.value.length == 0)            // the check …
            changed += r.value.length != 0; // … and the use
    }
    stop = true;
    attacker.join();
    CHECK(torn == 0);
    CHECK(changed == 0);
}
