// SPDX-License-Identifier: BSD-2-Clause
#include "threaded_machine.hpp"

#include <hv/vm_access.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>

using namespace hv;
using namespace hv::test;

namespace {

constexpr unsigned most{fake_smp::max_vcpus};
constexpr gpa window{0x200000}; ///< a page that is mapped to one place after another
constexpr unsigned places{64};
constexpr std::uint8_t ping{0x50}, pong{0x51};

/// A thread of user space, which plays none of the machine's processors: does something again and again until the
/// machine ends.
class controller {
  public:
    template <typename Threaded>
    controller(Threaded& m, std::function<void()> what)
        : thread_{[&m, what = std::move(what)] {
              hosted::this_processor = m.host_processors();
              while (not m.machine->stopped()) {
                  what();
                  std::this_thread::yield();
              }
          }} {}
    ~controller() { thread_.join(); }

  private:
    std::thread thread_;
};

/// Guests that look at the window, send each other interrupts and sleep.
struct busy_guests {
    std::array<std::atomic<unsigned>, most> pings{}, answers{};
    std::atomic<std::uint64_t> published{}; ///< what the window's page holds at least
    std::atomic<unsigned> stale{}, strangers{};

    template <typename Threaded>
    void give(Threaded& m, unsigned rounds, bool looks) {
        auto const cpus = m.cpus();
        for (unsigned id{0}; id != cpus; ++id) {
            auto const next = (id + 1) % cpus;
            m.guest(id).handler = [this, id, before = (id + cpus - 1) % cpus](event e) -> steps {
                if (e == external(ping)) {
                    ++pings[id];
                    return {x2apic::send(pong | icr::to(before)), wrmsr(x2apic::eoi, 0), script::iret{}};
                }
                if (e == external(pong))
                    ++answers[id];
                else
                    ++strangers;
                return {wrmsr(x2apic::eoi, 0), script::iret{}};
            };
            auto code = come_up(id);
            code += meet(up_, cpus);
            for (unsigned round{1}; round <= rounds; ++round) {
                if (looks) {
                    auto& least = m.notes.emplace_back();
                    code.emplace_back(act([this, &least] { least = published.load(); }));
                    code.emplace_back(script::load{window});
                    code.emplace_back(script::act{[this, &least](backends::fake::vcpu& cpu) {
                        if (cpu.gpr(x86::gpr::rax) < least)
                            ++stale;
                    }});
                }
                code.emplace_back(x2apic::send(ping | icr::to(next)));
                halt_until(code, [this, id, round] { return answers[id] >= round; });
            }
            if (looks) // who changes the map may not have come to it yet
                code.emplace_back(script::wait{[this] { return published > 1; }});
            code += m.end();
            m.guest(id).run_script(std::move(code));
        }
    }
    void check(unsigned cpus, unsigned rounds) const {
        CHECK(stale == 0);
        CHECK(strangers == 0);
        for (unsigned id{0}; id != cpus; ++id) {
            CHECK(pings[id] == rounds);
            CHECK(answers[id] == rounds);
        }
    }

  private:
    std::atomic<unsigned> up_{};
};

} // namespace

TEST_CASE("guests find the page that was mapped last while others change the memory map") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned rounds{60};
        threaded_machine m{cpus, processors};
        busy_guests guests;
        std::uint64_t version{0};
        auto const change = [&] {
            exclusive_access held{*m.machine};
            auto& memory = held.memory();
            static_cast<void>(memory.unmap(m.host, window, page_size));
            ++version;
            constexpr auto allowed = hv::access::read | hv::access::write;
            if (memory.map(m.host, window, 1, version % places * page_size, page_size, allowed) != status::ok)
                throw std::runtime_error{"no page"};
            auto* const at = m.machine->memory().at(window, hv::access::write);
            for (unsigned i{0}; i != sizeof version; ++i)
                at[i] = static_cast<std::byte>(version >> 8 * i);
            guests.published = version;
        };
        {
            exclusive_access held{*m.machine};
            REQUIRE(held.memory().allocate_segment(m.host, 1, places * page_size, false) == status::ok);
        }
        change();
        guests.give(m, rounds, true);
        {
            controller const changes{m, change};
            m.run();
        }
        CHECK(m.ended_well());
        CHECK(version > 1);
        guests.check(cpus, rounds);
    }
}

TEST_CASE("guests go on where they were when others suspend, resume, call out, freeze and look at them") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        constexpr unsigned rounds{60};
        threaded_machine m{cpus, processors};
        busy_guests guests;
        guests.give(m, rounds, false);
        random_numbers random{cpus * 100 + processors};
        std::atomic<std::uint64_t> seen{};
        {
            controller const meddles{m, [&, count = cpus] {
                                         auto const id = static_cast<std::uint32_t>(random.below(count));
                                         switch (random.below(5)) {
                                         case 0:
                                             static_cast<void>(m.machine->suspend_cpu(id));
                                             std::this_thread::yield();
                                             static_cast<void>(m.machine->resume_cpu(id));
                                             break;
                                         case 1:
                                             m.machine->suspend_cpus();
                                             m.machine->resume_cpus();
                                             break;
                                         case 2:
                                             static_cast<void>(m.machine->barrier_cpu(id));
                                             break;
                                         case 3:
                                             m.machine->barrier_cpus();
                                             break;
                                         default:
                                             frozen_vcpu held{m.machine->cpu(id)};
                                             seen += held.cpu().rip();
                                         }
                                     }};
            m.run();
        }
        CHECK(m.ended_well());
        guests.check(cpus, rounds);
    }
}
