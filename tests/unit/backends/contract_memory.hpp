// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "exit_summary.hpp"

#include <hv/address.hpp>
#include <hv/exit.hpp>
#include <hv/memory/nested_leaf.hpp>
#include <hv/status.hpp>

#include <cstdint>

/// Translations of the backend contract. Part of contract.hpp.
namespace hv::test {

template <typename Seat>
struct two_pages {
    explicit two_pages(Seat& s) : seat{s} {
        for (unsigned i{0}; i < 2; ++i) {
            page[i] = static_cast<std::uint64_t*>(seat.host.allocate(page_size, page_size));
            page[i][0] = 100 + i;
        }
    }
    ~two_pages() {
        for (auto* p : page)
            seat.host.free(p, page_size);
    }
    two_pages(two_pages const&) = delete;
    auto operator=(two_pages const&) -> two_pages& = delete;
    void map(unsigned i, access allowed = access::read | access::write | access::execute) {
        REQUIRE(seat.tables.map(seat.host, gpa{0x5000}, seat.host.physical(page[i]), page_size, allowed,
                                memory_type::write_back) == status::ok);
    }
    /// What the guest reads at 5000h: the value, or nothing if that exits.
    auto read() -> std::uint64_t {
        recording_handler handler;
        seat.will_load(gpa{0x5000});
        CHECK(seat.enter(handler) == verdict::leave);
        return handler.last() == "hlt" ? seat.loaded : 0;
    }
    Seat& seat;
    std::uint64_t* page[2]{};
};

TEMPLATE_LIST_TEST_CASE("a processor keeps a translation until the vCPU flushes", "", seats) {
    TestType seat;
    two_pages<TestType> pages{seat};
    CHECK(pages.read() == 0);
    pages.map(0);
    CHECK(pages.read() == 100); // what was not mapped needs no flush
    pages.map(1);
    CHECK(pages.read() == 100); // stale: this is what a forgotten flush looks like
    seat.cpu.flush_translations();
    CHECK(pages.read() == 101);
    REQUIRE(seat.tables.unmap(seat.host, gpa{0x5000}, page_size) == status::ok);
    seat.cpu.flush_translations();
    CHECK(pages.read() == 0);
}

TEMPLATE_LIST_TEST_CASE("a vCPU that comes back to a processor does not find its old translations there", "", seats) {
    TestType seat;
    two_pages<TestType> pages{seat};
    pages.map(0);
    CHECK(pages.read() == 100);
    seat.move_to(1);
    pages.map(1);
    seat.cpu.flush_translations();
    CHECK(pages.read() == 101);
    seat.move_to(0);
    CHECK(pages.read() == 101);
}

TEMPLATE_LIST_TEST_CASE("a nested page fault says what was wanted and whether a mapping was there", "", seats) {
    TestType seat;
    two_pages<TestType> pages{seat};
    recording_handler handler;
    seat.will_store(gpa{0x5008}, 7);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() ==
          summary(exits::nested_page_fault{gpa{0x5008}, access::write, false, false, instruction_bytes{}}));
    pages.map(0, access::read);
    seat.will_store(gpa{0x5008}, 7);
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() ==
          summary(exits::nested_page_fault{gpa{0x5008}, access::write, false, true, instruction_bytes{}}));
    pages.map(0);
    seat.will_store(gpa{0x5008}, 7); // more rights need no flush
    CHECK(seat.enter(handler) == verdict::leave);
    CHECK(handler.last() == "hlt");
    CHECK(pages.page[0][1] == 7);
}

TEMPLATE_LIST_TEST_CASE("stores to a remembered page do not set its dirty bit again before a flush", "", seats) {
    TestType seat;
    two_pages<TestType> pages{seat};
    recording_handler handler;
    auto const store = [&] {
        seat.will_store(gpa{0x5000}, 1);
        CHECK(seat.enter(handler) == verdict::leave);
        CHECK(handler.last() == "hlt");
    };
    pages.map(0);
    store();
    CHECK(seat.tables.clear_dirty(seat.host, gpa{0x5000}));
    store();
    CHECK_FALSE(seat.tables.clear_dirty(seat.host, gpa{0x5000}));
    seat.cpu.flush_translations();
    store();
    CHECK(seat.tables.clear_dirty(seat.host, gpa{0x5000}));
}

} // namespace hv::test
