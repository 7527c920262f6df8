// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <kernel_glue/hosted/host.hpp>

#include <algorithm>
#include <cstring>
#include <thread>
#include <vector>

using hv::hosted::host;

namespace {
auto all_zero(void const* memory, std::size_t bytes) -> bool {
    auto const* const p = static_cast<unsigned char const*>(memory);
    return std::all_of(p, p + bytes, [](unsigned char c) { return c == 0; });
}
} // namespace

TEST_CASE("allocated memory is zeroed, aligned, and has a physical address of its own") {
    host h{};
    for (std::size_t const alignment : {std::size_t{4096}, std::size_t{2} << 20, std::size_t{1} << 30}) {
        auto* const memory = h.allocate(3 * 4096 + 1, alignment);
        REQUIRE(memory != nullptr);
        CHECK(all_zero(memory, 4 * 4096));
        auto const physical = h.physical(memory);
        CHECK(physical.value % alignment == 0);
        CHECK(physical.value != reinterpret_cast<std::uintptr_t>(memory));
        CHECK(h.pointer(physical) == memory);
        CHECK(h.pointer(physical + 4097) == static_cast<std::byte*>(memory) + 4097);
        CHECK_THROWS(h.pointer(physical + 4 * 4096));
        CHECK_THROWS(h.pointer(hv::hpa{reinterpret_cast<std::uintptr_t>(memory)}));
    }
    int on_the_stack{};
    CHECK_THROWS(h.physical(&on_the_stack));
}

TEST_CASE("freed memory comes back zeroed and a wrong free is refused") {
    host h{{.memory = 64 * 4096}};
    std::vector<void*> pages;
    while (auto* const page = h.allocate(4096, 4096))
        pages.push_back(page);
    CHECK(pages.size() == 32); // half of the arena is guard pages
    CHECK(h.allocations() == 32);
    for (auto* const page : pages)
        std::memset(page, 0xa5, 4096);
    CHECK_THROWS(h.free(pages[0], 8192));
    CHECK_THROWS(h.free(static_cast<std::byte*>(pages[0]) + 4096, 4096));
    for (auto* const page : pages)
        h.free(page, 4096);
    CHECK_THROWS(h.free(pages[0], 4096));
    CHECK(h.bytes_in_use() == 0);
    auto* const large = h.allocate(63 * 4096, 4096);
    REQUIRE(large != nullptr);
    CHECK(all_zero(large, 63 * 4096));
    CHECK(h.allocate(4096, 4096) == nullptr);
    CHECK_THROWS(h.allocate(0, 4096));
    CHECK_THROWS(h.allocate(4096, 512));
    CHECK_THROWS(h.allocate(4096, 3 * 4096));
}

TEST_CASE("allocations never overlap, whatever is freed in between") {
    host h{{.memory = 1 << 20}};
    struct piece {
        unsigned char* at;
        std::size_t bytes;
        unsigned char mark;
    };
    std::vector<piece> pieces;
    std::uint32_t seed{1};
    auto const random = [&seed](std::uint32_t n) {
        seed = seed * 1664525 + 1013904223;
        return (seed >> 8) % n;
    };
    for (unsigned step{}; step != 3000; ++step) {
        if (random(3) != 0) {
            auto const bytes = std::size_t{1} + random(20000);
            auto* const memory = h.allocate(bytes, std::size_t{4096} << random(4));
            if (memory == nullptr)
                continue;
            REQUIRE(all_zero(memory, bytes));
            auto const mark = static_cast<unsigned char>(step | 1);
            std::memset(memory, mark, bytes);
            pieces.push_back({static_cast<unsigned char*>(memory), bytes, mark});
        } else if (not pieces.empty()) {
            auto const index = random(1000) % pieces.size();
            auto const one = pieces[index];
            REQUIRE(std::all_of(one.at, one.at + one.bytes, [&](unsigned char c) { return c == one.mark; }));
            h.free(one.at, one.bytes);
            pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(index));
        }
        REQUIRE(h.allocations() == pieces.size());
    }
}

TEST_CASE("allocations fail when the test says so") {
    host h{};
    h.fail_after(2);
    CHECK(h.allocate(4096, 4096) != nullptr);
    CHECK(h.allocate(4096, 4096) != nullptr);
    CHECK(h.allocate(4096, 4096) == nullptr);
    h.fail_after(host::unlimited);
    CHECK(h.allocate(4096, 4096) != nullptr);
    CHECK(h.attempted_allocations() == 4);
    CHECK(h.allocations() == 3);
}

TEST_CASE("a standing clock moves only when told, and idle moves it to the timer") {
    host h{{.tsc_frequency = 2'000'000'000}};
    CHECK(h.now() == 0);
    h.advance(1500);
    CHECK(h.tsc() == 3000);
    h.set_wall_clock_zero(1'000'000);
    CHECK(h.wall_clock() == 1'001'500);
    h.idle();
    CHECK(h.now() == 1500);
    h.arm_timer(9000);
    CHECK(h.timer() == 9000);
    h.kick(0);
    h.idle(); // the kick ends it first
    CHECK(h.now() == 1500);
    h.take_interrupts();
    CHECK(h.timer() == 9000);
    h.idle();
    CHECK(h.now() == 9000);
    h.take_interrupts();
    CHECK_FALSE(h.timer());
    CHECK(h.idles() == 3);
    CHECK(h.interrupt_windows() == 2);
    CHECK(h.kicks(0) == 1);
}

TEST_CASE("on a running clock a kick from another thread ends idle") {
    host h{{.processors = 2, .real_time = true}};
    std::thread sleeper{[&] {
        hv::hosted::this_processor = 1;
        h.idle();
        h.take_interrupts();
        h.arm_timer(h.now() + 1'000'000);
        auto const armed = *h.timer(1);
        h.idle();
        CHECK(h.now() >= armed);
    }};
    while (h.idles() == 0)
        std::this_thread::yield();
    h.kick(1);
    sleeper.join();
    CHECK(h.kicks(1) == 1);
    CHECK(h.kicks(0) == 0);
}

TEST_CASE("CPUID and MSRs are what the test put in") {
    host h{};
    CHECK(h.cpuid(1, 0) == hv::x86::cpuid_result{});
    h.set_cpuid(7, 1, {1, 2, 3, 4});
    CHECK(h.cpuid(7, 1) == hv::x86::cpuid_result{1, 2, 3, 4});
    CHECK(h.cpuid(7, 0) == hv::x86::cpuid_result{});
    CHECK(host{{.real_cpuid = true}}.cpuid(0, 0).eax != 0);

    CHECK(h.read_msr(0xc0000080).error == hv::status::no_device);
    CHECK(h.write_msr(0xc0000080, 1) == hv::status::no_device);
    h.set_msr(0xc0000080, 0x500);
    CHECK(h.read_msr(0xc0000080).value == 0x500);
    CHECK(h.write_msr(0xc0000080, 0xd01) == hv::status::ok);
    CHECK(h.read_msr(0xc0000080).value == 0xd01);
    CHECK(h.msr_writes().size() == 1);
}

TEST_CASE("the guest borrows the FPU and the host gets its own registers back") {
    host h{};
    host::fpu_area own{};
    own.bytes[0] = std::byte{1};
    h.set_fpu(own);
    host::fpu_area guest{};
    guest.bytes[0] = std::byte{2};
    h.load_guest_fpu(guest);
    CHECK(h.fpu().bytes[0] == std::byte{2});
    own.bytes[0] = std::byte{3};
    h.set_fpu(own); // the guest computes
    h.save_guest_fpu(guest);
    CHECK(guest.bytes[0] == std::byte{3});
    CHECK(h.fpu().bytes[0] == std::byte{1});
    CHECK_THROWS(h.save_guest_fpu(guest));
}

TEST_CASE("console, log and panic are recorded") {
    host h{};
    CHECK(h.get() == -1);
    h.feed("ab");
    CHECK(h.get() == 'a');
    CHECK(h.get() == 'b');
    CHECK(h.get() == -1);
    for (char const c : std::string_view{"hello"})
        h.put(0, static_cast<std::uint8_t>(c));
    h.put(2, 'x');
    CHECK(h.output() == "hello");
    CHECK(h.output(2) == "x");
    CHECK(h.output(1).empty());
    h.log("one line");
    CHECK(h.log_lines() == std::vector<std::string>{"one line"});
    CHECK_THROWS_AS(h.panic("broken"), hv::hosted::panicked);
}

TEMPLATE_TEST_CASE("a lock used wrongly is refused", "", hv::hosted::host, hv::hosted::serial_host) {
    typename TestType::lock lock{};
    lock.acquire();
    CHECK_THROWS(lock.acquire());
    lock.release();
    CHECK_THROWS(lock.release());
    lock.acquire();
    lock.release();
}

TEST_CASE("the real lock excludes other threads") {
    host::lock lock{};
    unsigned counter{};
    auto const work = [&] {
        for (unsigned i{}; i != 20000; ++i) {
            lock.acquire();
            ++counter;
            lock.release();
        }
    };
    std::thread other{work};
    work();
    other.join();
    CHECK(counter == 40000);
}
