// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "recording_host.hpp"
#include "whole_machine.hpp"

#include <cstring>
#include <set>

using namespace hv;
using namespace hv::test;
using x86::gpr;

namespace {

struct lazy_pc : fake_pc {
    static constexpr fill memory_fill{fill::on_fault};
};

/// A guest that looks at its FPU registers and fills them: the hosted host has one file of them.
struct fpu_user {
    auto on(exits::hypercall const&, auto& cpu) -> verdict {
        seen = std::to_integer<unsigned>(cpu.host().fpu().bytes[100]);
        typename std::remove_reference_t<decltype(cpu.host())>::fpu_area area{};
        area.bytes.fill(fills);
        cpu.host().set_fpu(area);
        return verdict::advance;
    }
    std::byte fills{};
    unsigned seen{~0u};
};
struct fpu_pc : fake_pc {
    using handlers = exit_chain<fpu_user, leave_at_pause>;
};
auto uses_fpu(auto& cpu, unsigned fills) -> unsigned {
    auto& user = cpu.handlers().template get<fpu_user>();
    user.fills = static_cast<std::byte>(fills);
    cpu.hardware().run_script({script::exit{exits::hypercall{}}, script::exit{exits::pause{}}});
    cpu.run();
    return user.seen;
}

template <typename Machine>
void fail_each_allocation() {
    hosted::serial_host host;
    offer_everything(host);
    for (std::uint64_t good{0};; ++good) {
        vmm<Machine, hosted::serial_host> monitor{host};
        auto machine = std::make_unique<vm<Machine, hosted::serial_host>>();
        REQUIRE(monitor.enable() == status::ok);
        host.fail_after(good);
        auto made = monitor.create(*machine);
        if (made == status::ok and (made = machine->activate(0)) != status::ok)
            machine->destroy();
        INFO("allocations that succeed: " << good);
        if (made != status::ok) {
            CHECK(made == status::out_of_memory);
            CHECK(host.allocations() == 0); // nothing is left behind
            machine->destroy();             // and this is no mistake
            host.fail_after(hosted::serial_host::unlimited);
            CHECK(monitor.create(*machine) == status::ok); // the same machine, later
            CHECK(machine->activate(0) == status::ok);
            machine->destroy();
            CHECK(host.allocations() == 0);
            continue;
        }
        auto const given = machine->give_memory({.size = (3ull << 30) + (1 << 20)});
        auto const all_went_well = given == status::ok;
        if (not all_went_well) {
            CHECK(given == status::out_of_memory);
            host.fail_after(hosted::serial_host::unlimited);
            CHECK(machine->memory().system_memory_bytes() == 0);
            CHECK(machine->give_memory({.size = 1 << 20}) == status::ok); // there is room for less
        }
        host.fail_after(hosted::serial_host::unlimited);
        machine->destroy();
        CHECK(host.allocations() == 0);
        monitor.disable();
        if (all_went_well)
            return;
        REQUIRE(good < 100);
    }
}

} // namespace

TEST_CASE("whichever allocation fails, creation says so and leaves nothing behind") {
    fail_each_allocation<fake_pc>();
    fail_each_allocation<lazy_pc>();
    fail_each_allocation<bare_fake>();
}

TEST_CASE("a machine that was destroyed has given everything back, twice too") {
    recording_host host{{.memory = std::size_t{64} << 20}};
    offer_everything(host);
    vmm<fake_pc, recording_host> monitor{host};
    REQUIRE(monitor.enable() == status::ok);
    auto machine = std::make_unique<vm<fake_pc, recording_host>>();
    machine->destroy(); // never created
    for (unsigned i{0}; i != 3; ++i) {
        REQUIRE(monitor.create(*machine) == status::ok);
        REQUIRE(machine->activate(0) == status::ok);
        REQUIRE(machine->give_memory({.size = 1 << 20}) == status::ok);
        CHECK(host.allocations() > 0);
        machine->destroy();
        CHECK(host.allocations() == 0);
        CHECK(host.bytes_in_use() == 0);
        machine->destroy();
    }
    monitor.disable();
}

TEST_CASE("a machine is created once") {
    whole_machine<> m;
    m.machine->stop({.kind = stop_kind::requested});
    auto const allocations = m.host.allocations();
    m.host.advance(1000);
    auto const time = m.machine->now();
    CHECK(m.monitor.create(*m.machine) == status::already_exists);
    CHECK(m.stopped() == stop_kind::requested); // nothing changed
    CHECK(m.machine->now() == time);
    CHECK(m.host.allocations() == allocations);
}

TEST_CASE("memory is zero when a machine gets it and zeroed when it gives it back") {
    hosted::serial_host host{{.memory = std::size_t{4} << 20}};
    offer_everything(host);
    vmm<fake_pc, hosted::serial_host> monitor{host};
    REQUIRE(monitor.enable() == status::ok);
    auto machine = std::make_unique<vm<fake_pc, hosted::serial_host>>();
    for (unsigned round{0}; round != 2; ++round) {
        REQUIRE(monitor.create(*machine) == status::ok);
        REQUIRE(machine->activate(0) == status::ok);
        REQUIRE(machine->give_memory({.size = 1 << 20}) == status::ok);
        bool zero{true};
        for (std::uint64_t at{0}; at != 1 << 20; at += page_size) {
            auto* const page = machine->memory().at(gpa{at}, access::write);
            for (std::uint64_t i{0}; i != page_size; ++i)
                zero = zero and page[i] == std::byte{};
            std::memset(page, 0x5a, page_size);
        }
        CHECK(zero);
        machine->destroy();
    }
    // Whoever comes next finds zeros, wherever the guest's memory was.
    bool zero{true};
    while (auto* const page = static_cast<std::byte*>(host.allocate(page_size, page_size)))
        for (std::uint64_t i{0}; i != page_size; ++i)
            zero = zero and page[i] == std::byte{};
    CHECK(zero);
}

TEST_CASE("no register of one guest is seen by the next in the same machine object") {
    using host_type = hosted::serial_host;
    host_type host{{.memory = std::size_t{64} << 20}};
    offer_everything(host);
    vmm<fpu_pc, host_type> monitor{host};
    REQUIRE(monitor.enable() == status::ok);
    auto machine = std::make_unique<vm<fpu_pc, host_type>>();
    for (unsigned guest{0}; guest != 2; ++guest) {
        REQUIRE(monitor.create(*machine) == status::ok);
        REQUIRE(machine->activate(0) == status::ok);
        auto& cpu = machine->cpu(0);
        CHECK(cpu.gpr(gpr::r15) == 0);
        CHECK(cpu.events().empty());
        CHECK(cpu.stats().total_exits() == 0);
        CHECK_FALSE(machine->stopped());
        CHECK(uses_fpu(cpu, 0x77) == 0);
        CHECK(uses_fpu(cpu, 0x78) == 0x77); // its own it keeps
        cpu.set_gpr(gpr::r15, 0x7777);
        cpu.events().raise_nmi();
        machine->stop({.kind = stop_kind::requested});
        machine->destroy();
    }
}

TEST_CASE("the guest's FPU is in force while it runs and the host's when it does not") {
    whole_machine<fpu_pc> m;
    hosted::serial_host::fpu_area ours{};
    ours.bytes.fill(std::byte{0x11});
    m.host.set_fpu(ours);
    CHECK(uses_fpu(m.cpu(), 0x22) == 0);
    CHECK(m.host.fpu().bytes == ours.bytes);
    CHECK(uses_fpu(m.cpu(), 0x33) == 0x22);
    CHECK(m.host.fpu().bytes == ours.bytes);
}

TEST_CASE("two machines on one processor keep apart") {
    hosted::serial_host host{{.memory = std::size_t{64} << 20}};
    offer_everything(host);
    vmm<fake_pc, hosted::serial_host> monitor{host};
    REQUIRE(monitor.enable() == status::ok);
    using machine_type = vm<fake_pc, hosted::serial_host>;
    auto a = std::make_unique<machine_type>();
    auto b = std::make_unique<machine_type>();
    for (auto* const machine : {a.get(), b.get()}) {
        REQUIRE(monitor.create(*machine) == status::ok);
        REQUIRE(machine->activate(0) == status::ok);
        REQUIRE(machine->give_memory({.size = 1 << 20}) == status::ok);
    }
    auto const run = [](machine_type& machine, std::vector<script::step> steps) {
        steps.emplace_back(script::exit{exits::pause{}});
        machine.cpu(0).hardware().run_script(steps);
        machine.cpu(0).run();
    };
    run(*a, {script::store{gpa{0x5000}, 0xaaaa}, script::load{gpa{0x5000}}});
    run(*b, {script::load{gpa{0x5000}}, script::store{gpa{0x5000}, 0xbbbb}});
    run(*a, {script::load{gpa{0x5000}}});
    CHECK(a->cpu(0).hardware().loaded == std::vector<std::uint64_t>{0xaaaa, 0xaaaa});
    CHECK(b->cpu(0).hardware().loaded == std::vector<std::uint64_t>{0});
    CHECK(b->cpu(0).stats().total_exits() == 1);
    b->stop({.kind = stop_kind::requested});
    CHECK_FALSE(a->stopped());
    b->destroy();
    run(*a, {script::load{gpa{0x5000}}});
    CHECK(a->cpu(0).hardware().loaded.back() == 0xaaaa);
    a->destroy();
    CHECK(host.allocations() == 0);
}

TEST_CASE("isolation: no table of a guest maps anything but the guest's own memory") {
    recording_host host{{.memory = std::size_t{64} << 20}};
    offer_everything(host);
    vmm<fake_pc, recording_host> monitor{host};
    REQUIRE(monitor.enable() == status::ok);
    auto machine = std::make_unique<vm<fake_pc, recording_host>>();
    REQUIRE(monitor.create(*machine) == status::ok);
    REQUIRE(machine->activate(0) == status::ok);
    auto const others = host.pieces; // tables, permission maps, control blocks: all that is not guest memory
    constexpr std::uint64_t size{(5 << 20) + page_size};
    REQUIRE(machine->give_memory({.size = size}) == status::ok);
    auto& cpu = machine->cpu(0);
    cpu.hardware().run_script({script::store{gpa{0x5000}, 1}, script::exit{exits::pause{}}});
    cpu.run();
    std::uint64_t mapped{0};
    std::set<std::uint64_t> backing;
    for (std::uint64_t at{0}; at < nested_table<npt_format, recording_host>::limit;) {
        auto const leaf = machine->memory().lookup(host, gpa{at});
        REQUIRE(leaf.bytes != 0);
        at = leaf.first.value + leaf.bytes;
        if (not leaf.present)
            continue;
        mapped += leaf.bytes;
        // All of it lies within one piece that was allocated for memory, and nothing else's.
        auto piece = host.pieces.upper_bound(leaf.address.value);
        REQUIRE(piece != host.pieces.begin());
        --piece;
        CHECK(leaf.address.value + leaf.bytes <= piece->first + piece->second);
        CHECK(others.count(piece->first) == 0);
        backing.insert(piece->first);
        CHECK(leaf.first.value + leaf.bytes <= size);
    }
    CHECK(mapped == size);
    std::uint64_t backed{0};
    for (auto const piece : backing)
        backed += host.pieces[piece];
    CHECK(backed == size); // so no piece is half the guest's
    // The tables themselves lie in none of them.
    CHECK(backing.count(machine->memory().root(host).value) == 0);
    machine->destroy();
}

TEST_CASE("translations that are taken away are flushed before the guest runs again") {
    whole_machine<> m;
    constexpr gpa more{0x200000};
    auto const map = [&](hv::access allowed) {
        exclusive_access held{*m.machine};
        REQUIRE(held.memory().allocate_segment(m.host, 1, page_size, false) == status::ok);
        REQUIRE(held.memory().map(m.host, more, 1, 0, page_size, allowed) == status::ok);
    };
    map(access::read | access::write);
    m.run({script::store{more, 0x1234}, script::load{more}});
    REQUIRE(m.guest().loaded.back() == 0x1234);
    auto const flushes = m.guest().flushes;
    m.run({script::load{more}});
    CHECK(m.guest().flushes == flushes); // nothing changed: nothing is flushed
    {
        exclusive_access held{*m.machine};
        REQUIRE(held.memory().unmap(m.host, more, page_size) == status::ok);
        REQUIRE(held.memory().free_segment(m.host, 1) == status::ok);
    }
    m.place_code({0xa1, 0x00, 0x00, 0x20, 0x00}); // MOV EAX, [200000h]
    m.run({script::load{more, 4}});
    CHECK(m.guest().loaded.back() == 0x1234); // of before: the access exited and was emulated
    CHECK((m.rax() & 0xffffffff) == 0xffffffff);
    CHECK(m.guest().flushes == flushes + 1);
    // Another page in its place, with fewer rights.
    map(access::read);
    m.run({script::load{more}});
    CHECK(m.guest().loaded.back() == 0);
    m.place_code({0xa3, 0x00, 0x00, 0x20, 0x00});
    m.run({script::store{more, 1, 4}, script::load{more}});
    CHECK(m.guest().loaded.back() == 0);
}

TEST_CASE("clearing dirty flags makes the processor set them again") {
    whole_machine<> m;
    {
        exclusive_access held{*m.machine};
        REQUIRE(held.memory().track_dirty(m.host, true) == status::ok);
    }
    auto const dirty = [&] {
        std::array<std::uint8_t, 1> bits{};
        REQUIRE(m.machine->dirty(gpa{0x8000}, 8 * page_size, dirty_operation::reset, {}, bits) == status::ok);
        return bits[0];
    };
    (void)dirty();
    m.run({script::store{gpa{0x9000}, 1}, script::store{gpa{0xb008}, 1}});
    CHECK(dirty() == 0b1010);
    CHECK(dirty() == 0);
    m.run({script::store{gpa{0x9000}, 2}}); // the processor remembered the page as dirty
    CHECK(dirty() == 0b10);
}
