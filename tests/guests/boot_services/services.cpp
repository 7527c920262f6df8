// SPDX-License-Identifier: BSD-2-Clause
// Uses what the host offers and says what it saw; every line of a check ends in "ok" or "wrong".
#include <kernel_glue/bare/image.hpp>
#include <kernel_glue/bare/text.hpp>

using hv::bare::host;
using hv::bare::text;

namespace {

constexpr hv::nanoseconds millisecond{1'000'000};

class checks {
  public:
    explicit checks(host& h) : host_{h} {}
    void operator()(std::string_view what, bool good) {
        wrong_ += not good;
        host_.log((text{} << what << (good ? ": ok" : ": wrong")).view());
    }
    [[nodiscard]] auto wrong() const -> int { return wrong_; }

  private:
    host& host_;
    int wrong_{0};
};

void check_memory(host& h, checks& check) {
    constexpr std::size_t large{256u << 20}, two_megabytes{2u << 20};
    auto const free = h.memory().available();
    auto* const guest = static_cast<unsigned char*>(h.allocate(large, two_megabytes));
    check("256 MiB in one piece, on 2 MiB", guest != nullptr and h.physical(guest).value % two_megabytes == 0);
    if (guest == nullptr)
        return;
    check("the host's address is the physical one", h.pointer(h.physical(guest)) == guest);
    check("memory comes zeroed", guest[0] == 0 and guest[large - 1] == 0);
    guest[0] = guest[large - 1] = 0x5a;
    h.free(guest, large);
    auto* const again = static_cast<unsigned char*>(h.allocate(large, two_megabytes));
    check("also the second time", again == guest and again[0] == 0 and again[large - 1] == 0);
    h.free(again, large);
    check("nothing is lost", h.memory().available() == free);
    check("no memory is null", h.allocate(free + 4096, 4096) == nullptr);
    auto const address = h.physical(guest).value;
    check("the image lies outside", address >= reinterpret_cast<std::uint64_t>(hv::bare::image_end) or
                                        address + large <= reinterpret_cast<std::uint64_t>(hv::bare::image_start));
}

/// The image's own memcpy and its like, with sizes that the compiler does not know.
void check_memory_functions(checks& check) {
    char bytes[16]{"abcdefghij"};
    auto const n = [](std::size_t size) {
        asm volatile("" : "+r"(size));
        return size;
    };
    __builtin_memmove(bytes + 2, bytes, n(8));
    check("memmove upwards over itself", __builtin_memcmp(bytes, "ababcdefgh", n(10)) == 0);
    __builtin_memmove(bytes, bytes + 2, n(8));
    check("memmove downwards over itself", __builtin_memcmp(bytes, "abcdefghgh", n(10)) == 0);
    __builtin_memset(bytes + 1, 'x', n(3));
    __builtin_memcpy(bytes + 8, "YZ", n(2));
    check("memset and memcpy", __builtin_memcmp(bytes, "axxxefghYZ", n(11)) == 0);
    char words[24]{}, copy[24]{};
    __builtin_memset(words + 1, 0x1a5, n(21));
    check("memset of words and a rest",
          words[0] == 0 and words[1] == '\xa5' and words[16] == '\xa5' and words[21] == '\xa5' and words[22] == 0);
    for (char i{0}; i != 24; ++i)
        words[static_cast<std::size_t>(i)] = i;
    __builtin_memcpy(copy, words + 1, n(19));
    check("memcpy of words and a rest", __builtin_memcmp(copy, words + 1, n(19)) == 0 and copy[19] == 0);
    check("memcmp orders", __builtin_memcmp("abc", "abd", n(3)) < 0 and __builtin_memcmp("ab\xff", "abd", n(3)) > 0 and
                               __builtin_memcmp("abc", "abd", n(0)) == 0);
    check("memchr", __builtin_memchr(bytes, 'Z', n(16)) == bytes + 9 and
                        __builtin_memchr(bytes, 'Z', n(9)) == nullptr and
                        __builtin_memchr(bytes, 'a', n(0)) == nullptr);
    bytes[n(5)] = '\0';
    check("strlen", std::string_view{bytes}.size() == 5 and std::string_view{bytes + n(5)}.empty());
}

void check_time(host& h, checks& check) {
    auto const& report = h.tsc_report();
    text t;
    t << "TSC by " << (report.by_pm_timer ? "PM timer" : "PIT") << ", checked ";
    h.log(t.decimal(report.checked).view());
    constexpr std::uint64_t one{1'000'000}, five_percent{50'000};
    check("two measurements agree", report.checked > one - five_percent and report.checked < one + five_percent);
    auto const before = h.now();
    h.arm_timer(before + 5 * millisecond);
    auto const interrupts = h.timer_interrupt_count();
    while (h.timer_interrupt_count() == interrupts)
        h.idle();
    auto const slept = h.now() - before;
    t.clear();
    t << "slept ";
    h.log((t.decimal(static_cast<std::uint64_t>(slept / 1000)) << " us for 5000").view());
    check("idle ends with the timer, not before it", slept >= 5 * millisecond);

    h.arm_timer(h.now() + millisecond);
    auto const start = h.now();
    while (h.timer_interrupt_count() == interrupts + 1 and h.now() - start < 10'000 * millisecond)
        h.take_interrupts();
    check("take_interrupts lets the timer in", h.timer_interrupt_count() == interrupts + 2);

    h.arm_timer(h.now() - millisecond);
    h.idle();
    check("a deadline in the past comes at once", h.timer_interrupt_count() == interrupts + 3);

    // Only a timer that was disarmed before its deadline has to be silent; an emulator may be suspended in between.
    hv::nanoseconds deadline{};
    do {
        h.take_interrupts();
        deadline = h.now() + 20 * millisecond;
        h.arm_timer(deadline);
        h.arm_timer(INT64_MAX);
    } while (h.now() >= deadline);
    auto const before_silence = h.timer_interrupt_count();
    while (h.now() < deadline + 10 * millisecond)
        h.take_interrupts();
    check("a disarmed timer is silent", h.timer_interrupt_count() == before_silence);

    auto const rate = (h.tsc() - h.tsc()) / 2; // two readings in order
    check("the TSC counts up", rate > UINT64_MAX / 4);
    constexpr std::int64_t year_2020{1'577'836'800}, year_2069{3'124'224'000};
    auto const seconds = h.wall_clock() / hv::nanoseconds_per_second;
    t.clear();
    t << "wall clock ";
    h.log(t.decimal(static_cast<std::uint64_t>(seconds)).view());
    check("the wall clock shows a time", seconds >= year_2020 and seconds < year_2069);
}

void check_long_timer(host& h, checks& check) {
    auto const interrupts = h.timer_interrupt_count();
    // At 1 GHz the counter of an APIC without TSC deadline ends after 4.3 s.
    auto const deadline = h.now() + 6000 * millisecond;
    h.arm_timer(deadline);
    while (h.timer_interrupt_count() == interrupts)
        h.idle();
    auto const late = h.now() - deadline;
    check("a deadline beyond the counter comes in time", late >= 0 and late < 100 * millisecond);
}

void check_fpu(host& h, checks& check) {
    host::fpu_area one{}, two{}, three{};
    h.load_guest_fpu(one);
    h.save_guest_fpu(one);
    check("a new FPU is as after FNINIT", one.bytes[0] == std::byte{0x7f} and one.bytes[1] == std::byte{3} and
                                              one.bytes[24] == std::byte{0x80} and one.bytes[25] == std::byte{0x1f});
    constexpr std::size_t xmm0{160}, xmm15{400}, state_in_use{512};
    two = one;
    two.bytes[state_in_use] = std::byte{3}; // XSTATE_BV: x87 and SSE
    two.bytes[xmm0] = std::byte{0x11};
    two.bytes[xmm15 + 15] = std::byte{0x22};
    h.load_guest_fpu(two);
    h.save_guest_fpu(three);
    check("SSE registers go in and come out",
          three.bytes[xmm0] == std::byte{0x11} and three.bytes[xmm15 + 15] == std::byte{0x22});
    h.load_guest_fpu(one);
    h.save_guest_fpu(three);
    check("and do not stay", three.bytes[xmm0] == std::byte{0} and three.bytes[xmm15 + 15] == std::byte{0});
}

void check_input(host& h, checks& check) {
    check("no input is -1", h.get() == -1);
    h.log("ready");
    text line;
    for (;;) {
        auto const byte = h.get();
        if (byte == '.')
            break;
        if (byte < 0)
            h.idle(); // no timer is armed: only the input ends it
        else
            line << static_cast<char>(byte);
    }
    h.log((text{} << "typed [" << line.view() << "]").view());
}

} // namespace

auto image_main(host& h, hv::bare::boot_information const& boot) -> int {
    checks check{h};
    if (boot.command_line == "input") {
        check_input(h, check);
    } else if (boot.command_line == "long") {
        check_long_timer(h, check);
    } else {
        check_memory(h, check);
        check_memory_functions(check);
        check_time(h, check);
        check_fpu(h, check);
        for (char const c : std::string_view{"second port\n"})
            h.put(1, static_cast<std::uint8_t>(c));
        for (char const c : std::string_view{"debug port\n"})
            h.put(2, static_cast<std::uint8_t>(c));
        h.put(3, 'x');
    }
    return check.wrong();
}
