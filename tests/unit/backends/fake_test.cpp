// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "fake_seat.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

using namespace hv;
using namespace hv::test;

namespace {

auto run(fake_seat& seat, std::vector<script::step> const& steps, recording_handler& handler, int entries) {
    seat.cpu.run_script(steps);
    for (int i{0}; i < entries; ++i)
        (void)seat.enter(handler);
}

} // namespace

TEST_CASE("steps without exits run through, and a script that ends shuts the guest down") {
    fake_seat seat;
    recording_handler handler;
    run(seat, {script::set{x86::gpr::rbx, 5}, script::set_flags{x86::rflags::cf}, script::fetch{gpa{0x1000}}}, handler,
        1);
    CHECK(handler.last() == summary(exits::nested_page_fault{gpa{0x1000}, access::execute, false, false, {}}));
    CHECK(seat.cpu.gpr(x86::gpr::rbx) == 5);
    CHECK(seat.cpu.rflags() == (x86::rflags::cf | x86::rflags::fixed_one));
    run(seat, {script::set{x86::gpr::rbx, 6}}, handler, 1);
    CHECK(handler.last() == "triple_fault");
}

TEST_CASE("an instruction exits again until RIP moves or an exception replaces it") {
    fake_seat seat;
    recording_handler handler;
    std::vector<script::step> const steps{script::exit{exits::cpuid{}}, script::exit{exits::hlt{}},
                                          script::exit{exits::pause{}}};
    run(seat, steps, handler, 2);
    CHECK(handler.seen == std::vector<std::string>{"cpuid", "cpuid"});
    seat.cpu.set_rip(seat.cpu.rip() + seat.cpu.instruction_length());
    (void)seat.enter(handler);
    CHECK(handler.last() == "hlt");
    seat.cpu.inject(event::make(event_type::external_interrupt, 0x20));
    (void)seat.enter(handler);
    CHECK(handler.last() == "hlt"); // after an interrupt the instruction executes again
    seat.cpu.inject(event::make(x86::exception::invalid_opcode));
    (void)seat.enter(handler);
    CHECK(handler.last() == "pause");
}

TEST_CASE("a handler that never advances is found out") {
    fake_seat seat;
    recording_handler handler;
    run(seat, {script::exit{exits::cpuid{}}}, handler, 100);
    CHECK(handler.last().find("unknown code=fa4e") == 0);
}

TEST_CASE("a store that crosses into an unmapped page stores nothing") {
    fake_seat seat;
    auto* const page = static_cast<std::uint64_t*>(seat.host.allocate(page_size, page_size));
    REQUIRE(seat.tables.map(seat.host, gpa{0x5000}, seat.host.physical(page), page_size, access::read | access::write,
                            memory_type::write_back) == status::ok);
    recording_handler handler;
    run(seat, {script::store{gpa{0x5ffc}, ~std::uint64_t{0}}}, handler, 1);
    CHECK(handler.last() == summary(exits::nested_page_fault{gpa{0x6000}, access::write, false, false, {}}));
    CHECK(page[511] == 0);
    run(seat, {script::store{gpa{0x5ffc}, 0x1122'3344'5566'7788, 4}, script::load{gpa{0x5ffe}, 2, x86::gpr::r9}},
        handler, 1);
    CHECK(page[511] == 0x5566'7788'0000'0000);
    CHECK(seat.cpu.gpr(x86::gpr::r9) == 0x5566);
    run(seat, {script::fetch{gpa{0x5000}}}, handler, 1); // mapped without execute
    CHECK(handler.last() == summary(exits::nested_page_fault{gpa{0x5000}, access::execute, false, true, {}}));
    seat.host.free(page, page_size);
}

TEST_CASE("large pages and addresses beyond the tables translate as the processor does") {
    fake_seat seat;
    constexpr std::size_t large{std::size_t{2} << 20};
    auto* const memory = static_cast<std::uint64_t*>(seat.host.allocate(large, large));
    REQUIRE(memory != nullptr);
    REQUIRE(seat.tables.map(seat.host, gpa{large}, seat.host.physical(memory), large, access::read,
                            memory_type::write_back) == status::ok);
    memory[0x12'3458 / 8] = 42;
    recording_handler handler;
    run(seat, {script::load{gpa{large + 0x12'3458}}}, handler, 1);
    CHECK(seat.cpu.loaded == std::vector<std::uint64_t>{42});
    for (auto const nowhere : {std::uint64_t{1} << 48, ~std::uint64_t{0} - 7}) {
        run(seat, {script::load{gpa{nowhere}}}, handler, 1);
        CHECK(handler.last() == summary(exits::nested_page_fault{gpa{nowhere}, access::read, false, false, {}}));
    }
    seat.host.free(memory, large);
}

TEST_CASE("STI opens the interrupt window behind one more instruction") {
    fake_seat seat;
    recording_handler handler;
    seat.cpu.request_interrupt_window(true);
    run(seat, {script::sti{}, script::set{x86::gpr::rcx, 1}, script::set{x86::gpr::rcx, 2}}, handler, 1);
    CHECK(handler.last() == "interrupt_window");
    CHECK(seat.cpu.gpr(x86::gpr::rcx) == 1);
    CHECK_FALSE(seat.cpu.window_requested());
}

TEST_CASE("a kick that came before the entry ends the guest before its first step") {
    fake_seat seat;
    recording_handler handler;
    seat.host.kick(0);
    run(seat, {script::exit{exits::hlt{}}}, handler, 2);
    CHECK(handler.seen == std::vector<std::string>{"host_interrupt", "hlt"});
    CHECK(seat.host.interrupt_windows() == 1);
}

TEST_CASE("kicks from another thread end a guest that spins") {
    fake_seat seat;
    recording_handler handler;
    seat.cpu.run_script({script::spin{}, script::exit{exits::hlt{}}});
    std::atomic<bool> enough{};
    std::thread other{[&] {
        while (not enough) {
            seat.host.kick(0);
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
        }
    }};
    for (int i{0}; i < 1000 and seat.cpu.steps_done() == 0; ++i)
        (void)seat.enter(handler);
    enough = true;
    other.join();
    CHECK(seat.cpu.steps_done() == 1);
    CHECK(handler.last() == "host_interrupt");
}

TEST_CASE("an event whose delivery a step cuts short comes back") {
    fake_seat seat;
    recording_handler handler;
    std::vector<script::step> const steps{script::delivery_exits{exits::task_switch{}}, script::exit{exits::cpuid{}}};
    run(seat, steps, handler, 1);
    CHECK(handler.last() == "cpuid");
    auto const e = event::make(x86::exception::general_protection, 0);
    seat.cpu.inject(e);
    (void)seat.enter(handler);
    CHECK(handler.last().find("task_switch") == 0);
    CHECK(seat.cpu.take_interrupted_event() == e);
}
