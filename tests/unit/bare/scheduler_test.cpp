// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <kernel_glue/bare/pinned.hpp>
#include <kernel_glue/bare/scheduler.hpp>

#include <hv/time.hpp>

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

using hv::nanoseconds;
using hv::never;

namespace {

/// One processor of several; each call is a letter in `log`.
struct fake_host {
    unsigned number{0}, count{1};
    nanoseconds time{100};
    nanoseconds slice_end{};
    bool others_ready{};
    std::string log{};
    std::vector<unsigned> woken{};

    [[nodiscard]] auto processor() const -> unsigned { return number; }
    [[nodiscard]] auto processor_count() const -> unsigned { return count; }
    [[nodiscard]] auto now() const -> nanoseconds { return time; }
    void begin_looking() {}
    [[nodiscard]] auto is_woken() const -> bool { return false; }
    void begin_slice(nanoseconds end, bool others) {
        slice_end = end;
        others_ready = others;
    }
    void arm_timer(nanoseconds when) {
        if (when != never.since_creation)
            time = when;
    }
    void idle() { log += 'i'; }
    void wake(unsigned processor) { woken.push_back(processor); }
};

struct fake_vcpu {
    char name{};
    fake_host* host{};
    bool ready{true};
    hv::instant wakes{never};
    nanoseconds saw_end{};
    bool saw_others{};
    unsigned home{0};
    bool waits{true};

    struct turn {
        bool is_ready{};
        hv::instant wakes_at{};
    };

    void settle(unsigned processor) { home = processor; }
    [[nodiscard]] auto host_processor() const -> unsigned { return home; }
    [[nodiscard]] auto waits_to_run() const -> bool { return waits; }
    auto next_turn() -> turn {
        if (home != host->number)
            throw std::logic_error{"another's vCPU"};
        if (wakes.since_creation <= host->time)
            ready = true;
        return {ready, wakes};
    }
    void run() {
        home = host->number;
        host->log += name;
        saw_end = host->slice_end;
        saw_others = host->others_ready;
    }
};

/// Stops after a number of turns.
struct fake_machine {
    std::vector<fake_vcpu> all{};
    fake_host& host;
    std::size_t turns{};

    auto cpus() -> std::span<fake_vcpu> { return all; }
    auto places() -> std::span<fake_vcpu> { return all; }
    [[nodiscard]] auto stopped() const -> bool { return host.log.size() >= turns; }
    [[nodiscard]] auto host_time(hv::instant when) const -> nanoseconds { return when.since_creation; }
};

template <template <typename, typename> typename Plan = hv::bare::scheduler>
struct basic_board {
    fake_host host{};
    fake_machine machine{.all = {}, .host = host};
    Plan<fake_machine, fake_host> plan{machine, host};

    explicit basic_board(std::size_t vcpus, unsigned processors = 1, unsigned here = 0) {
        host.count = processors;
        host.number = here;
        for (std::size_t n{}; n != vcpus; ++n)
            machine.all.push_back({.name = static_cast<char>('a' + n), .host = &host});
    }
    auto runs(std::size_t turns) -> std::string {
        machine.turns = turns;
        plan.run();
        return host.log;
    }
};

using board = basic_board<>;

} // namespace

TEST_CASE("a pinned vCPU has its processor to itself") {
    basic_board<hv::bare::pinned> b{3, 3, 1};
    b.plan.settle();
    for (std::size_t n{}; n != 3; ++n)
        CHECK(b.machine.all[n].home == n);
    CHECK(b.runs(2) == "bb");
    CHECK(b.machine.all[1].saw_end == never.since_creation);
    CHECK_FALSE(b.machine.all[1].saw_others);
    b.host.log.clear();
    b.machine.all[1].ready = false;
    b.machine.all[1].wakes = {7000};
    CHECK(b.runs(2) == "ib"); // though others are ready
    CHECK(b.host.time == 7000);
}

TEST_CASE("vCPUs belong to processors in turn, and each processor runs its own only") {
    board b{5, 2, 1};
    b.plan.settle();
    for (std::size_t n{}; n != 5; ++n)
        CHECK(b.machine.all[n].home == n % 2);
    CHECK(b.runs(4) == "dbdb");
}

TEST_CASE("a processor takes over from another that has two more to run, but never the first vCPU") {
    board b{5, 2};
    auto& all = b.machine.all;
    b.plan.settle();
    all[2].ready = all[4].ready = false;
    all[0].ready = true;
    CHECK(b.runs(2) == "aa");
    CHECK(b.host.woken == std::vector{1u}); // at the end
    b.host.woken.clear();

    all[2].ready = true; // two there
    b.host.log.clear();
    CHECK(b.runs(2) == "ca");
    CHECK(all[0].saw_others);
    CHECK(b.host.woken == std::vector{1u, 1u, 1u}); // processor 1 runs nothing yet: each look calls it

    b.host.number = 1;
    b.host.log.clear();
    all[1].ready = all[3].ready = false;
    CHECK(b.runs(1) == "c");
    CHECK(all[2].home == 1);
    CHECK_FALSE(all[2].saw_others);
    b.host.log.clear();
    CHECK(b.runs(1) == "c"); // and has enough now

    b.host.number = 0; // which does not know yet
    b.host.log.clear();
    CHECK(b.runs(2) == "aa");
    CHECK_FALSE(all[0].saw_others);

    b.host.number = 1;
    all[2].ready = false;
    b.host.log.clear();
    CHECK(b.runs(2) == "ii");
}

TEST_CASE("a vCPU that somebody has is not taken over") {
    board b{4, 2};
    b.plan.settle();
    b.machine.all[1].ready = b.machine.all[3].ready = false;
    CHECK(b.runs(2) == "ca");
    b.host.number = 1;
    b.machine.all[2].waits = false; // it runs there
    b.host.log.clear();
    CHECK(b.runs(1) == "i");
    CHECK(b.machine.all[2].home == 0);
}

TEST_CASE("loads that differ by two become even") {
    board b{6, 2};
    auto& all = b.machine.all;
    for (std::size_t n{0}; n != 5; ++n)
        all[n].home = 0;
    all[5].home = 1;
    CHECK(b.runs(1).size() == 1);
    b.host.number = 1;
    b.host.log.clear();
    CHECK(b.runs(1) == "b"); // 4 to 2
    CHECK(all[1].saw_others);
    b.host.log.clear();
    CHECK(b.runs(4) == "cfbc"); // 3 to 3
}

TEST_CASE("whoever ends its turn early goes behind all others that are ready") {
    board b{3};
    CHECK(b.runs(9) == "bcabcabca"); // no matter how short the turns of one of them are
    b.host.log.clear();
    b.machine.all[1].ready = false;
    CHECK(b.runs(4) == "caca");
}

TEST_CASE("a vCPU hears whether others would run in its place, and when its turn is over") {
    board b{2};
    (void)b.runs(2);
    CHECK(b.machine.all[0].saw_others);
    CHECK(b.machine.all[0].saw_end == 100 + hv::bare::scheduler<fake_machine, fake_host>::slice);
    b.machine.all[1].ready = false;
    b.host.log.clear();
    (void)b.runs(2);
    CHECK_FALSE(b.machine.all[0].saw_others); // then a loop of PAUSE changes nothing
    CHECK(b.machine.all[0].saw_end == never.since_creation);
    b.machine.all[1].wakes = {5000};
    b.host.log.clear();
    (void)b.runs(1);
    CHECK_FALSE(b.machine.all[0].saw_others);
    CHECK(b.machine.all[0].saw_end == 5000);
}

TEST_CASE("a processor without work sleeps until the first of its vCPUs wakes") {
    board b{2};
    b.machine.all[0].ready = b.machine.all[1].ready = false;
    b.machine.all[0].wakes = {9000};
    b.machine.all[1].wakes = {7000};
    CHECK(b.runs(2) == "ib");
    CHECK(b.host.time == 7000);
}
