// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "machine.hpp"

/// A payload is one small guest that judges one behaviour. It defines `payload::run`; the runtime prints its name,
/// calls it, and ends the machine through the exit port with 0 if every expectation held, else with 1.
///
/// Each payload begins with `// expect: N`, the exit status of the run (0 and 1 from the exit port or power-off, 3 if
/// the hypervisor had to stop the guest, 124 if only the runner's time limit can), and `// judges: sentence`. Further
/// lines: `// processors: N`; `// also with: N...` for other numbers of them; `// shares: N` if as many of them share
/// one of the host's; `// machine: NAME` if it needs another than the pc; `// also on: NAME...` for machines that it
/// runs on besides; `// says: text` that the run must print; `// smoke: yes` if it belongs to those that always run on
/// every combination, `// long: N` if it may take N seconds and belongs to the long run; `// not on COMBINATION:
/// reason` if an emulator cannot run it (qemu-svm, bochs-svm, bochs-vmx);
/// `// reference: no, reason` if another implementation (QEMU) answers differently by right.
namespace payload {

/// The payload's own part.
void run();

/// Printing goes to the debug port where it exists, else to the first serial port.
void print_char(char c);
void print(char const* text);
void print_hex(u64 value);
void print_decimal(u64 value);

/// Counts and prints a failure; the payload goes on.
void fail(char const* what);
void expect(bool condition, char const* what);
void expect_equal(u64 actual, u64 wanted, char const* what);
void expect_between(u64 actual, u64 low, u64 high, char const* what);

/// Ends the machine with a code.
[[noreturn]] void leave(u32 code);
/// Ends the machine with what the expectations came to.
[[noreturn]] void finish();

/// What lies on the stack of an interrupt handler.
struct frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u64 vector, error_code;
    u64 rip, cs, rflags, rsp, ss;
};

using handler = void (*)(frame&);

/// Serves a vector from now on; null: exceptions are unexpected again, interrupts are only counted.
void set_handler(unsigned vector, handler function);
/// How often a vector arrived at its gate so far.
auto count_of(unsigned vector) -> u64;

inline constexpr unsigned none{256};

/// An exception that `attempt` caught; `vector` is `none` if there was none.
struct caught {
    unsigned vector{none};
    u64 error_code{};
    u64 rip{};
    u64 cr2{};
};

namespace detail {
auto attempt(void (*function)(void*), void* argument) -> caught;
}

/// Calls `function` and answers the exception that ended it. Handlers set with set_handler come first.
template <typename Function>
auto attempt(Function function) -> caught {
    return detail::attempt([](void* argument) { (*static_cast<Function*>(argument))(); }, &function);
}

/// Expects an exception of `function`, or `none`.
template <typename Function>
void expect_exception(unsigned vector, Function function, char const* what) {
    expect_equal(attempt(function).vector, vector, what);
}

namespace vector {
inline constexpr unsigned divide_error{0}, debug{1}, nmi{2}, breakpoint{3}, overflow{4}, undefined{6}, no_fpu{7},
    double_fault{8}, invalid_tss{10}, not_present{11}, stack_fault{12}, protection{13}, page_fault{14}, alignment{17};
}

inline constexpr u16 code64{0x08}, data{0x10}, code32{0x18}, user_data{0x23}, user_code64{0x2b}, code16{0x40};

/// One gate of the interrupt table.
struct gate {
    u64 low, high;
};
auto gate_of(unsigned vector) -> gate&;

namespace page {
inline constexpr u64 present{1}, writable{2}, user{4}, accessed{0x20}, dirty{0x40}, large{0x80}, no_execute{1ull << 63};
}

/// The last-level entry of an address below 4 GiB, after its 2 MiB page was split. A few splits are possible.
auto entry_of(u64 address) -> u64&;
/// Lets user code in: sets the user bit on all levels above the entry.
void allow_user(u64 address);

/// Runs code at `rip` in ring 3 with `rsp`, until an exception or interrupt without a handler ends it.
auto attempt_user(u64 rip, u64 rsp) -> caught;

} // namespace payload
