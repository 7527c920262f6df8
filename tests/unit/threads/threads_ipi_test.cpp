// SPDX-License-Identifier: BSD-2-Clause
#include "threaded_machine.hpp"

#include <array>
#include <atomic>
#include <bitset>
#include <cstdint>
#include <numeric>

using namespace hv;
using namespace hv::test;

namespace {

constexpr unsigned most{fake_smp::max_vcpus};
constexpr std::uint8_t first_vector{0x40};
constexpr std::uint8_t reply{0xf1};

/// Who sent what to whom. A sender has one message on its way at a time, so that none can merge with another.
struct tally {
    std::array<std::array<std::atomic<unsigned>, most>, most> received{}; ///< by sender, by receiver
    std::array<std::array<unsigned, most>, most> sent{};                  ///< the sender's own
    std::atomic<unsigned> strangers{};
    std::atomic<unsigned> up{};

    [[nodiscard]] auto sum_received(unsigned sender) const -> unsigned {
        unsigned sum{};
        for (auto const& n : received[sender])
            sum += n.load(std::memory_order_relaxed);
        return sum;
    }
    [[nodiscard]] auto sum_sent(unsigned sender) const -> unsigned {
        return std::accumulate(sent[sender].begin(), sent[sender].end(), 0u);
    }
};

/// A message and the vCPUs that get it; of a lowest-priority message one of them.
struct message {
    script::step send;
    std::bitset<most> targets;
    bool one_of_them{};
};

auto all_of(unsigned cpus) -> std::bitset<most> {
    return (1u << cpus) - 1;
}

/// Of every form that an x2APIC has.
auto any_message(random_numbers& random, unsigned cpus, unsigned sender) -> message {
    auto const vector = first_vector + sender + most * random.below(16);
    auto const target = static_cast<unsigned>(random.below(cpus));
    auto const one = std::bitset<most>{1u << target};
    auto const mask = std::bitset<most>{random.next()} & all_of(cpus);
    using namespace icr;
    switch (random.below(10)) {
    case 0:
        return {x2apic::send(vector | to(target)), one};
    case 1:
        return {x2apic::send(vector | logical | to(1u << target)), one};
    case 2:
        return {x2apic::send(vector | logical | to(static_cast<std::uint32_t>(mask.to_ulong()))), mask};
    case 3:
        return {x2apic::send(vector | self), 1u << sender};
    case 4:
        return {wrmsr(x2apic::self_ipi, vector), 1u << sender};
    case 5:
        return {x2apic::send(vector | all), all_of(cpus)};
    case 6:
        return {x2apic::send(vector | others), all_of(cpus) & ~std::bitset<most>{1u << sender}};
    case 7:
        return {x2apic::send(vector | to(0xffff'ffff)), all_of(cpus)};
    case 8:
        return {x2apic::send(vector | logical | lowest_priority | to(static_cast<std::uint32_t>(mask.to_ulong()))),
                mask, true};
    default:
        return {x2apic::send(vector | lowest_priority | to(0xffff'ffff)), all_of(cpus), true};
    }
}

/// Sends, and waits for every receiver: with HLT, or without.
auto storm(tally& counts, unsigned id, unsigned cpus, unsigned rounds) -> steps {
    random_numbers random{id + 1};
    auto code = come_up(id);
    code += meet(counts.up, cpus);
    code.emplace_back(popf_on());
    for (unsigned round{0}; round != rounds; ++round) {
        if (random.one_in(4))
            code.emplace_back(wrmsr(x2apic::task_priority, random.below(4) << 4)); // masks none of the vectors
        auto message = any_message(random, cpus, id);
        if (random.one_in(3))
            code.emplace_back(cli()); // it arrives, but is taken later
        code.emplace_back(std::move(message.send));
        if (message.one_of_them) {
            if (message.targets.any())
                ++counts.sent[id][0];
        } else {
            for (unsigned n{0}; n != cpus; ++n)
                counts.sent[id][n] += message.targets[n];
        }
        auto const arrived = [&counts, id, expected = counts.sum_sent(id)] {
            return counts.sum_received(id) >= expected;
        };
        code.emplace_back(popf_on());
        if (random.one_in(2))
            halt_until(code, arrived);
        else
            code.emplace_back(script::wait{arrived});
    }
    return code;
}

/// Counts the interrupt, and wakes its sender, who may sleep.
auto handle(tally& counts, unsigned me, event e) -> steps {
    if (e == external(reply))
        return {wrmsr(x2apic::eoi, 0), script::iret{}};
    if (e.type() != event_type::external_interrupt or e.vector() < first_vector) {
        ++counts.strangers;
        return {script::iret{}};
    }
    auto const sender = (e.vector() - first_vector) % most;
    return {act([&counts, me, sender] { counts.received[sender][me].fetch_add(1, std::memory_order_relaxed); }),
            x2apic::send(reply | icr::to(sender)), wrmsr(x2apic::eoi, 0), script::iret{}};
}

} // namespace

TEST_CASE("no IPI of any form is lost between vCPUs on several processors") {
    for (auto const [cpus, processors] : shapes) {
        INFO(cpus << " vCPUs on " << processors << " processors");
        tally counts;
        threaded_machine m{cpus, processors};
        for (unsigned id{0}; id != cpus; ++id) {
            auto code = storm(counts, id, cpus, 40);
            code += m.end();
            m.guest(id).handler = [&counts, id](event e) { return handle(counts, id, e); };
            m.guest(id).run_script(std::move(code));
        }
        m.run();
        CHECK(m.ended_well());
        CHECK(counts.strangers == 0);
        for (unsigned sender{0}; sender != cpus; ++sender)
            CHECK(counts.sum_received(sender) == counts.sum_sent(sender));
    }
}
