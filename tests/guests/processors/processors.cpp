// SPDX-License-Identifier: BSD-2-Clause
// Starts all processors, kicks each a thousand times, lets each one's timer run, takes a page from them all, lets one
// die of an exception while the others print, and lets one come when nobody waits for it any more.
#include <kernel_glue/bare/image.hpp>
#include <kernel_glue/bare/instructions.hpp>
#include <kernel_glue/bare/parallel_host.hpp>
#include <kernel_glue/bare/text.hpp>

#include <atomic>

using hv::bare::host;
using hv::bare::parallel_host;
using hv::bare::text;

namespace {

constexpr unsigned kicks{1000};
constexpr hv::nanoseconds millisecond{1'000'000};

parallel_host* all{};

struct alignas(64) tally {
    std::atomic<unsigned> asked{}, seen{}, together{};
    std::atomic<bool> timed{}, alone{};
};
tally tallies[parallel_host::most_processors];
parallel_host::lock shared_lock{};
unsigned shared_count{};
std::atomic<unsigned> counted{}, ran{};
std::atomic<bool> fail{};
std::atomic<hv::bare::stacks*> page_to_read{};
std::atomic<unsigned> readers{};
std::atomic<bool> page_is_gone{};

void count_together() {
    for (unsigned i{0}; i != 10'000; ++i) {
        shared_lock.acquire();
        ++shared_count;
        shared_lock.release();
    }
    ++counted;
}

} // namespace

extern "C" {
extern char const hv_bare_trampoline[];
extern hv::bare::processor* hv_bare_starting_processor;
}

extern "C" void hv_bare_serve_processor(std::uint8_t which) {
    if (all != nullptr)
        all->serve(which);
}
extern "C" void hv_bare_stop_other_processors() {
    if (all != nullptr)
        all->stop_others();
}

namespace {
void read(std::byte const volatile* at) {
    [[maybe_unused]] std::byte const value{*at};
}
void wait_a_little() {
    all->take_interrupts();
    asm volatile("pause");
}
} // namespace

extern "C" void hv_bare_run_processor(hv::bare::processor& self) {
    auto& mine = tallies[self.number];
    mine.together = all->processor_count();
    ++ran;
    count_together();
    auto const begin = all->now();
    all->arm_timer(begin + 5 * millisecond);
    while (self.timer_interrupts == 0)
        all->idle();
    mine.timed = all->now() - begin >= 5 * millisecond;
    while (mine.seen.load() != kicks) {
        while (mine.asked.load() == mine.seen.load())
            all->idle();
        ++mine.seen;
    }
    while (page_to_read.load() == nullptr and not fail.load())
        wait_a_little();
    if (auto* const place = page_to_read.load(); place != nullptr) {
        auto const* const byte = static_cast<std::byte volatile*>(place->guard.nothing.data());
        read(byte);
        ++readers;
        while (not page_is_gone.load())
            wait_a_little();
        if (self.number == 1) {
            read(byte);
            all->log("read a page that is gone");
        }
        for (;;)
            all->idle();
    }
    if (self.number == 1)
        asm volatile("ud2");
    for (;;)
        all->log("goes on");
}

/// Takes a page from all processors that have just read it; another then dies of reading it again.
[[noreturn]] void take_page(host& h) {
    auto* const place = static_cast<hv::bare::stacks*>(h.allocate(sizeof(hv::bare::stacks), hv::page_size));
    page_to_read = place;
    while (readers != all->processor_count() - 1)
        asm volatile("pause");
    if (not h.guard(std::span{place, 1}))
        h.panic("no memory for page tables");
    all->flush_translations();
    page_is_gone = true;
    for (;;)
        all->idle();
}

constexpr std::uint16_t jump_to_itself{0xfeeb};

/// Makes what processors start in an endless loop, and answers what it began with.
auto hold_processors_up() -> std::uint16_t {
    auto* const place = const_cast<std::uint16_t volatile*>(reinterpret_cast<std::uint16_t const*>(hv_bare_trampoline));
    auto const was = *place;
    auto const cr0 = hv::bare::read_cr0();
    hv::bare::write_cr0(cr0 & ~hv::x86::cr0::wp);
    *place = jump_to_itself;
    hv::bare::write_cr0(cr0);
    return was;
}

/// Lets the processor go that was held up, and judges that it is neither lost nor takes part.
auto let_go(host& h, std::uint16_t beginning) -> bool {
    auto* const place = reinterpret_cast<std::uint16_t volatile*>(std::uintptr_t{0x8000});
    if (*place != jump_to_itself) {
        h.log("the processor's code is gone");
        return false;
    }
    *place = beginning;
    auto const wait = [](auto until) {
        for (auto const end = all->now() + 1000 * millisecond; all->now() < end and not until();)
            wait_a_little();
    };
    auto* const volatile& straggler = hv_bare_starting_processor->self;
    wait([&] { return straggler != nullptr; });
    if (straggler == nullptr)
        h.log("the processor never came");
    wait([] { return ran != 0; });
    return straggler != nullptr and ran == 0;
}

auto image_main(host& h, hv::bare::boot_information const& boot) -> int {
    alignas(parallel_host) static std::byte place[sizeof(parallel_host)];
    all = new (place) parallel_host{h};
    auto const straggles = boot.command_line.find("straggle") != std::string_view::npos;
    auto const beginning = straggles ? hold_processors_up() : std::uint16_t{};
    all->start(parallel_host::most_processors);
    auto const n = all->processor_count();
    text t;
    h.log((t.decimal(n) << " processors, this is number ").decimal(all->processor()).view());
    count_together();
    for (unsigned p{1}; p != n; ++p)
        for (unsigned i{0}; i != kicks; ++i) {
            tallies[p].asked.fetch_add(1);
            all->kick(p);
            while (tallies[p].seen.load() != tallies[p].asked.load())
                asm volatile("pause");
        }
    bool good{shared_count == 10'000 * n and counted == n};
    for (unsigned p{1}; p != n; ++p)
        good = good and tallies[p].timed and tallies[p].together == n;
    good = good and (not straggles or let_go(h, beginning));
    h.log(good ? "all counted, timed and kicked: ok" : "something is missing");
    if (boot.command_line.find("page") != std::string_view::npos)
        take_page(h);
    if (boot.command_line.find("die") != std::string_view::npos) {
        fail = true;
        for (;;)
            all->log("goes on");
    }
    return good ? 0 : 1;
}
