// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/event_queue.hpp>

using hv::event;
using hv::event_queue;
using hv::event_type;
using hv::x86::exception;

namespace {

constexpr auto fault(unsigned vector) -> event {
    auto const v = static_cast<exception>(vector);
    return hv::x86::has_error_code(v) ? event::make(v, 0x55) : event::make(v);
}

enum class severity { benign, contributory, page_fault };

/// SDM Vol. 3A, "Interrupt and Exception Classes", written down once more.
constexpr auto severity_of(unsigned vector) -> severity {
    switch (vector) {
    case 14:
    case 20:
        return severity::page_fault;
    case 0:
    case 10:
    case 11:
    case 12:
    case 13:
    case 21:
        return severity::contributory;
    default:
        return severity::benign;
    }
}

constexpr auto is_exception(unsigned vector) -> bool {
    return vector != 2 and vector != 8 and vector != 9 and vector != 15;
}

} // namespace

TEST_CASE("every pair of exceptions combines as the manual's table says") {
    for (unsigned first{0}; first <= 21; ++first)
        for (unsigned second{0}; second <= 21; ++second) {
            if (not is_exception(first) or not is_exception(second))
                continue;
            event_queue queue;
            REQUIRE(queue.set_interrupted(fault(first)) == hv::status::ok);
            queue.raise(fault(second));
            auto const next = queue.take();
            auto const a = severity_of(first);
            auto const b = severity_of(second);
            bool const double_fault{(a == severity::contributory and b == severity::contributory) or
                                    (a == severity::page_fault and b != severity::benign)};
            INFO("first " << first << ", second " << second);
            CHECK_FALSE(next.triple_fault);
            CHECK(next.first == (double_fault ? event::make(exception::double_fault, 0) : fault(second)));
            CHECK(queue.empty());
        }
}

TEST_CASE("a contributory fault while delivering a double fault is a triple fault") {
    for (unsigned second{0}; second <= 21; ++second) {
        if (not is_exception(second))
            continue;
        event_queue queue;
        REQUIRE(queue.set_interrupted(event::make(exception::double_fault, 0)) == hv::status::ok);
        queue.raise(fault(second));
        INFO("second " << second);
        CHECK(queue.take().triple_fault == (severity_of(second) != severity::benign));
        CHECK(queue.empty());
    }
}

TEST_CASE("an interrupt whose delivery faulted is delivered after the fault") {
    event_queue queue;
    auto const interrupt = event::make(event_type::external_interrupt, 0x30);
    REQUIRE(queue.set_interrupted(interrupt) == hv::status::ok);
    CHECK(queue.holds_interrupt());
    queue.raise(fault(14));
    CHECK_FALSE(queue.holds_interrupt());
    CHECK(queue.take().first == fault(14));
    REQUIRE(queue.must_deliver());
    CHECK(queue.holds_interrupt());
    CHECK(queue.take().first == interrupt);
    CHECK(queue.empty());
}

TEST_CASE("an NMI whose delivery faulted is pending again") {
    event_queue queue;
    REQUIRE(queue.set_interrupted(event::make(event_type::nmi, 2)) == hv::status::ok);
    queue.raise(fault(14));
    CHECK(queue.take().first == fault(14));
    CHECK_FALSE(queue.must_deliver());
    CHECK(queue.nmi_pending());
}

TEST_CASE("an interrupted event alone is delivered again") {
    event_queue queue;
    REQUIRE(queue.set_interrupted(fault(13)) == hv::status::ok);
    CHECK(queue.take().first == fault(13));
    CHECK(queue.empty());
}

TEST_CASE("two exceptions raised before a delivery combine; none is lost") {
    event_queue queue;
    queue.raise(fault(13));
    queue.raise(fault(13));
    CHECK(queue.take().first == event::make(exception::double_fault, 0));
    queue.raise(fault(6));
    queue.raise(fault(14));
    CHECK(queue.take().first == fault(14));
}

TEST_CASE("events that cannot exist are refused and change nothing") {
    event_queue queue;
    REQUIRE(queue.set_interrupted(fault(13)) == hv::status::ok);
    CHECK(queue.set_interrupted(event::make(event_type::nmi, 3)) == hv::status::invalid_argument);
    CHECK(queue.set_interrupted(event::make(event_type::exception, 32)) == hv::status::invalid_argument);
    CHECK(queue.set_interrupted({event::make(exception::debug).raw | 1u << 12}) == hv::status::invalid_argument);
    for (unsigned const type : {1u, 5u, 6u, 7u})
        CHECK(queue.set_interrupted({event::valid_bit | type << 8 | 3}) == hv::status::invalid_argument);
    CHECK(queue.interrupted() == fault(13));
    CHECK(queue.set_interrupted({}) == hv::status::ok);
    CHECK_FALSE(queue.must_deliver());
}

TEST_CASE("NMIs coalesce") {
    event_queue queue;
    queue.raise_nmi();
    queue.raise_nmi();
    CHECK(queue.nmi_pending());
    queue.clear_nmi();
    CHECK_FALSE(queue.nmi_pending());
    CHECK(queue.empty());
}
