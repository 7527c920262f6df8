// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <hv/posted_requests.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

using namespace hv;
using request = posted_requests::request;

namespace {

constexpr auto fixed(std::uint8_t vector, bool level = false) -> interrupt_message {
    return {.vector = vector, .level = level};
}
auto vectors_of(posted_requests::taken const& all) {
    std::vector<std::pair<int, bool>> found;
    all.for_each_vector([&](interrupt_message const& m) { found.emplace_back(m.vector, m.level); });
    return found;
}

/// Looks until it is so: at full speed for a moment, then between whatever else this computer has to do. False: it is
/// not so within 20 seconds.
template <typename Until>
auto look_until(Until until) -> bool {
    auto const give_up = std::chrono::steady_clock::now() + std::chrono::seconds{20};
    for (unsigned looks{1}; not until(); ++looks)
        if (looks % 1024 == 0) {
            if (std::chrono::steady_clock::now() > give_up)
                return false;
            std::this_thread::yield();
        }
    return true;
}

} // namespace

TEST_CASE("what was posted is taken once, with its trigger mode") {
    posted_requests p;
    CHECK_FALSE(p.any());
    CHECK(p.post(fixed(0x31)));
    CHECK_FALSE(p.post(fixed(0xff, true))); // the first asked the processor to look already
    CHECK_FALSE(p.post(fixed(0x40)));
    CHECK(p.any());
    auto const all = p.take();
    CHECK(vectors_of(all) == std::vector<std::pair<int, bool>>{{0x31, false}, {0x40, false}, {0xff, true}});
    CHECK_FALSE(p.any());
    CHECK(vectors_of(p.take()).empty());
    CHECK(p.post(fixed(0xff))); // an edge this time
    CHECK(vectors_of(p.take()) == std::vector<std::pair<int, bool>>{{0xff, false}});
}

TEST_CASE("NMIs merge, INIT drops what came before it, and the first start-up behind it counts") {
    posted_requests p;
    CHECK(p.post({.mode = delivery_mode::nmi}));
    CHECK_FALSE(p.post({.mode = delivery_mode::nmi}));
    CHECK_FALSE(p.post({.vector = 0x12, .mode = delivery_mode::start_up}));
    CHECK_FALSE(p.post({.mode = delivery_mode::init}));
    auto first = p.take();
    CHECK_FALSE(first.has(request::nmi));
    CHECK(first.has(request::init));
    CHECK_FALSE(first.has(request::start_up));
    CHECK(p.post({.mode = delivery_mode::init}));
    CHECK_FALSE(p.post({.vector = 0x12, .mode = delivery_mode::start_up}));
    CHECK_FALSE(p.post({.vector = 0x9f, .mode = delivery_mode::start_up}));
    auto const second = p.take();
    CHECK(second.has(request::init));
    CHECK(second.has(request::start_up));
    CHECK(second.start_up_page() == 0x12);
    CHECK(p.post({.mode = delivery_mode::init}));
    CHECK_FALSE(p.post({.mode = delivery_mode::nmi}));
    CHECK(p.take().has(request::nmi)); // it came behind INIT
}

TEST_CASE("a message that no virtual processor takes is not posted") {
    posted_requests p;
    CHECK_FALSE(p.post({.mode = delivery_mode::smi}));
    CHECK_FALSE(p.any());
}

TEST_CASE("nothing is lost between many posters and a processor that looks only when it is asked to") {
    constexpr unsigned posters{3}, rounds{400};
    posted_requests p;
    std::atomic<bool> asked{false};
    std::array<std::atomic<unsigned>, 256> seen{};
    std::atomic<unsigned> left{posters};
    std::vector<std::thread> threads;
    for (unsigned n{0}; n != posters; ++n)
        threads.emplace_back([&, n] {
            bool arrives{true};
            for (unsigned round{1}; round <= rounds and arrives; ++round)
                for (unsigned v{0x40 + n}; v < 0x100 and arrives; v += 37 * posters) {
                    if (p.post(fixed(static_cast<std::uint8_t>(v), (round & 1) != 0)))
                        asked = true;
                    arrives = look_until([&] { return seen[v] == round; });
                }
            --left;
        });
    while (left != 0) {
        if (not asked.exchange(false)) {
            std::this_thread::yield();
            continue;
        }
        p.take().for_each_vector([&](interrupt_message const& m) {
            auto const round = ++seen[m.vector];
            if (m.level != ((round & 1) != 0))
                seen[m.vector] = 1'000'000; // a wrong trigger mode ends the test
        });
    }
    for (auto& t : threads)
        t.join();
    for (unsigned n{0}; n != posters; ++n)
        for (unsigned v{0x40 + n}; v < 0x100; v += 37 * posters)
            CHECK(seen[v] == rounds);
}

TEST_CASE("two messages one right behind the other both arrive, however the processor's look falls between them") {
    bool const only_when_asked{GENERATE(true, false)}; // else as one that looks at each exit
    constexpr unsigned most_rounds{8'000};
    posted_requests p;
    std::atomic<bool> asked{false};
    std::atomic<unsigned> seen{0};
    unsigned rounds{0};
    std::thread poster{[&] {
        auto const pause = [](unsigned length) {
            for (std::atomic<unsigned> n{0}; n.load(std::memory_order_relaxed) < length;)
                n.fetch_add(1, std::memory_order_relaxed);
        };
        auto const enough = std::chrono::steady_clock::now() + std::chrono::seconds{10}; // on a busy computer
        do {
            if (p.post(fixed(0x31)))
                asked = true;
            pause(rounds % 61);
            if ((rounds & 1) != 0 ? p.post(fixed(0x32)) : p.post({.mode = delivery_mode::nmi}))
                asked = true;
            ++rounds;
        } while (look_until([&] { return seen == 2 * rounds; }) and rounds != most_rounds and
                 std::chrono::steady_clock::now() < enough);
        (void)p.post(request::look);
        asked = true;
    }};
    for (bool over{false}; not over;) {
        if (not look_until([&] { return only_when_asked ? asked.exchange(false) : p.any(); }))
            continue;
        auto const all = p.take();
        over = all.has(request::look);
        seen += static_cast<unsigned>(vectors_of(all).size() + all.has(request::nmi));
    }
    poster.join();
    CHECK(seen == 2 * rounds);
}

TEST_CASE("interrupts can be taken apart from all else, unless they stand behind an INIT") {
    posted_requests p;
    auto const post_interrupts = [&p] {
        (void)p.post(fixed(0x31));
        (void)p.post({.mode = delivery_mode::nmi});
        (void)p.post({.mode = delivery_mode::external});
        (void)p.post(request::lint0);
    };
    auto const has_all = [](posted_requests::taken const& all) {
        unsigned vectors{0};
        all.for_each_vector([&vectors](interrupt_message const& message) { vectors += message.vector; });
        return vectors == 0x31 and all.has(request::nmi) and all.has(request::external) and all.has(request::lint0);
    };
    post_interrupts();
    (void)p.post({.vector = 0x9a, .mode = delivery_mode::start_up});
    (void)p.post(request::look);
    (void)p.post(run_end::barrier);
    auto const taken = p.take_interrupts();
    CHECK(has_all(taken));
    CHECK_FALSE(taken.has(request::look));
    CHECK_FALSE(taken.has(request::start_up));
    CHECK(taken.ends() == 0);
    CHECK(p.any());
    auto const rest = p.take();
    CHECK(rest.has(request::look));
    CHECK(rest.start_up_page() == 0x9a);
    CHECK(rest.ends() == bit(run_end::barrier));
    CHECK_FALSE(rest.has(request::nmi));
    CHECK_FALSE(rest.has(request::vectors));

    (void)p.post({.mode = delivery_mode::init});
    post_interrupts();
    CHECK(p.take_interrupts().flags == 0);
    CHECK(has_all(p.take()));
    post_interrupts();
    CHECK(has_all(p.take_interrupts()));
    CHECK_FALSE(p.any());
    CHECK(p.post(request::look)); // the next finds nothing again
}
