// SPDX-License-Identifier: BSD-2-Clause
#include "threaded_machine.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

using namespace hv;
using namespace hv::test;

namespace {

/// Ports of all shared devices whose registers a guest may write as it likes.
constexpr std::array<std::uint16_t, 20> byte_ports{0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40,  0x41,  0x42,  0x43,
                                                   0x61, 0x70, 0x71, 0x60, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3ff};
/// Registers of the I/O APIC and of the HPET.
constexpr std::array<std::uint64_t, 8> registers{0xfec00000, 0xfec00010, 0xfec00040, 0xfed00000,
                                                 0xfed00010, 0xfed00020, 0xfed000f0, 0xfed00108};

/// Where the guest has an instruction for each of them: MOV EAX, moffs32 and MOV moffs32, EAX.
auto code_for(std::size_t index, bool write) -> std::uint64_t {
    return code_at + 32 * index + (write ? 16 : 0);
}

void place_moves(auto& machine) {
    for (std::size_t index{0}; index != registers.size(); ++index)
        for (bool const write : {false, true}) {
            auto at = code_for(index, write);
            auto const put = [&](std::uint64_t byte) {
                *machine.memory().at(gpa{at++}, access::read) = static_cast<std::byte>(byte);
            };
            put(write ? 0xa3 : 0xa1);
            for (unsigned shift{0}; shift != 32; shift += 8)
                put(registers[index] >> shift & 0xff);
        }
}

auto access_register(std::size_t index, bool write, std::uint64_t value) -> steps {
    constexpr unsigned act_length{4};
    return {script::act{[=](backends::fake::vcpu& cpu) {
                cpu.set_rip(code_for(index, write) - act_length);
                cpu.set_gpr(x86::gpr::rax, value);
            }},
            write ? script::step{script::store{gpa{registers[index]}, value, 4}}
                  : script::step{script::load{gpa{registers[index]}, 4}}};
}

/// Any access to any device, but none that ends the machine.
auto any_access(random_numbers& random) -> steps {
    switch (random.below(6)) {
    case 0:
        return {in(0x408, 4)}; // the PM timer
    case 1:
        return access_register(random.below(registers.size()), random.one_in(2), random.next() & 0xffff'ffff);
    case 2:
    case 3:
        return {in(byte_ports[random.below(byte_ports.size())])};
    default:
        return out(byte_ports[random.below(byte_ports.size())], random.next() & 0xff);
    }
}

auto come_up_protected(std::atomic<unsigned>& up, unsigned id, unsigned cpus) -> steps {
    auto code = come_up(id);
    code.emplace_back(
        script::act{[](backends::fake::vcpu& cpu) { hv::apply(cpu, guest::protected_mode_start(code_at, 0)); }});
    code += meet(up, cpus);
    return code;
}

} // namespace

TEST_CASE("all processors use all shared devices at once, and nothing is torn or hangs") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned accesses{300};
        std::atomic<unsigned> up{};
        threaded_machine m{cpus, processors};
        place_moves(*m.machine);
        for (unsigned id{0}; id != cpus; ++id) {
            random_numbers random{id + 100};
            auto code = come_up_protected(up, id, cpus);
            code.emplace_back(popf_on());
            for (unsigned n{0}; n != accesses; ++n)
                code += any_access(random);
            code += m.end();
            m.guest(id).handler = [](event) -> steps {
                steps handler{wrmsr(x2apic::eoi, 0)};
                handler += out(0x20, 0x20);
                handler += out(0xa0, 0x20);
                handler.emplace_back(script::iret{});
                return handler;
            };
            m.guest(id).run_script(std::move(code));
        }
        m.run();
        INFO(m.describe());
        CHECK(m.ended_well());
    }
}

TEST_CASE("bytes that all processors write to one serial port come out, each once") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned bytes{200};
        std::atomic<unsigned> up{};
        threaded_machine m{cpus, processors};
        for (unsigned id{0}; id != cpus; ++id) {
            auto code = come_up_protected(up, id, cpus);
            for (unsigned n{0}; n != bytes; ++n) {
                code += out(0x3f8, 'a' + id);
                code.emplace_back(in(0x3fd));
            }
            code += m.end();
            m.guest(id).run_script(std::move(code));
        }
        m.run();
        CHECK(m.ended_well());
        auto const text = m.host.output();
        CHECK(text.size() == cpus * bytes);
        for (unsigned id{0}; id != cpus; ++id)
            CHECK(std::count(text.begin(), text.end(), static_cast<char>('a' + id)) == bytes);
    }
}

TEST_CASE("a device's level-triggered interrupts reach whichever processor they are routed to, until they are served") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned bytes{24};
        constexpr std::uint8_t vector{0x55};
        std::atomic<unsigned> up{}, served{}, strangers{};
        threaded_machine m{cpus, processors};
        place_moves(*m.machine);
        for (unsigned id{0}; id != cpus; ++id) {
            m.guest(id).handler = [&](event e) -> steps {
                if (e != external(vector))
                    ++strangers;
                // Reading IIR takes the interrupt away; only then does the next byte leave.
                return {in(0x3fa), wrmsr(x2apic::eoi, 0), act([&served] { ++served; }), script::iret{}};
            };
            auto code = come_up_protected(up, id, cpus);
            code.emplace_back(popf_on());
            if (id == 0) {
                code += out(0x3fc, 8); // OUT2 lets interrupts through
                code += out(0x3f9, 2); // interrupts when a byte has left: at once
                for (unsigned n{0}; n != bytes; ++n) {
                    auto const target = n % cpus;
                    code += access_register(0, true, 0x10 + 2 * 4 + 1); // redirection of pin 4
                    code += access_register(1, true, std::uint64_t{target} << 24);
                    code += access_register(0, true, 0x10 + 2 * 4);
                    code += access_register(1, true, 1u << 15 | vector);
                    code.emplace_back(script::wait{[&served, n] { return served > n; }});
                    code += access_register(1, true, 1u << 16);
                    code += out(0x3f8, 'x');
                }
            }
            code += m.end();
            m.guest(id).run_script(std::move(code));
        }
        m.run();
        CHECK(m.ended_well());
        CHECK(strangers == 0);
        CHECK(m.host.output().size() == bytes);
    }
}
