// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/posted_requests.hpp>
#include <hv/run_requests.hpp>

#include <vector>

using namespace hv;

TEST_CASE("what keeps a vCPU out is told in the order of the interface, whatever was asked first") {
    run_requests r;
    CHECK(r.waiting() != 0); // the first entry looks
    r.looked();
    CHECK(r.waiting() == 0);
    CHECK_FALSE(r.must_leave());
    CHECK(r.take() == run_end::left);
    for (auto const what : {run_end::run_state, run_end::debug, run_end::yield, run_end::consistent, run_end::barrier,
                            run_end::idle, run_end::stopped})
        r.ask(what);
    CHECK(r.must_leave());
    std::vector<run_end> told;
    for (auto const what :
         {run_end::stopped, run_end::idle, run_end::barrier, run_end::consistent, run_end::debug, run_end::run_state}) {
        told.push_back(r.take());
        CHECK(told.back() == what);
        r.withdraw(what);
    }
    CHECK(r.waiting() == 0);
}

TEST_CASE("what somebody waits for is told once, everything else as long as it holds") {
    run_requests r;
    for (auto const what : {run_end::idle, run_end::barrier, run_end::consistent, run_end::yield}) {
        r.ask(what);
        CHECK(r.take() == what);
        CHECK(r.take() == run_end::left);
    }
    for (auto const what : {run_end::stopped, run_end::debug, run_end::run_state}) {
        r.ask(what);
        CHECK(r.take() == what);
        CHECK(r.take() == what);
        CHECK(r.has(what));
        r.withdraw(what);
        CHECK(r.take() == run_end::left);
    }
}

TEST_CASE("who leaves for another reason has given way too, or it would yield to nobody later") {
    run_requests r;
    r.ask(run_end::yield);
    r.ask(run_end::barrier);
    CHECK(r.take() == run_end::barrier);
    CHECK(r.take() == run_end::left);
}

TEST_CASE("looking is not leaving, and leaving keeps the wish to look") {
    run_requests r;
    CHECK_FALSE(r.must_leave());
    r.ask(run_end::barrier);
    CHECK(r.tells());
    CHECK(r.take() == run_end::barrier);
    CHECK_FALSE(r.tells());
    CHECK(r.waiting() != 0);
    r.looked();
    r.look(false);
    CHECK(r.waiting() == 0);
    r.look(true);
    CHECK(r.waiting() != 0);
}

TEST_CASE("ends of run are posted beside messages; a reset drops these and keeps those") {
    posted_requests p;
    CHECK(p.post(run_end::barrier));
    CHECK_FALSE(p.post(run_end::debug));
    CHECK_FALSE(p.post({.vector = 0x41}));
    CHECK_FALSE(p.post({.mode = delivery_mode::init}));
    CHECK_FALSE(p.post({.vector = 0xff, .mode = delivery_mode::start_up}));
    p.drop_messages();
    CHECK(p.any());
    CHECK_FALSE(p.post(posted_requests::request::debugger));
    p.drop_messages();
    auto const all = p.take();
    CHECK(all.ends() == (bit(run_end::barrier) | bit(run_end::debug)));
    CHECK(all.has(posted_requests::request::debugger));
    CHECK((all.flags & 0xff7f) == 0);
    CHECK_FALSE(p.any());
    CHECK(p.post({.vector = 0x42}));
    unsigned vectors{0};
    p.take().for_each_vector([&vectors](interrupt_message const& m) { vectors += m.vector; });
    CHECK(vectors == 0x42);
}

TEST_CASE("nobody can ask for an end that only the run itself tells") {
    run_requests r;
    r.looked();
    r.ask(run_end::inactive);
    CHECK(r.waiting() == 0);
    CHECK_FALSE(r.must_leave());
    CHECK(r.take() == run_end::left);
    posted_requests p;
    (void)p.post(run_end::inactive);
    CHECK_FALSE(p.any());
}
