// SPDX-License-Identifier: BSD-2-Clause
// Every operation with random operands, executed by this machine's processor and by the emulator: registers, status
// flags and memory must agree.
#include "emulate/test_cpu.hpp"

#include <catch2/catch.hpp>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <string>

namespace {

struct host_state {
    std::uint64_t gpr[16];
    std::uint64_t rflags;
};

} // namespace

// Loads all registers but RSP from the state, runs the code, and stores them.
extern "C" {
void run_on_host(host_state* state);
void back_from_host();
[[gnu::used]] void* host_code_address{};
}
asm(R"(
    .text
    .globl run_on_host
    .globl back_from_host
run_on_host:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdi
    push 128(%rdi)
    popfq
    mov 0(%rdi), %rax
    mov 8(%rdi), %rcx
    mov 16(%rdi), %rdx
    mov 24(%rdi), %rbx
    mov 40(%rdi), %rbp
    mov 48(%rdi), %rsi
    mov 64(%rdi), %r8
    mov 72(%rdi), %r9
    mov 80(%rdi), %r10
    mov 88(%rdi), %r11
    mov 96(%rdi), %r12
    mov 104(%rdi), %r13
    mov 112(%rdi), %r14
    mov 120(%rdi), %r15
    mov 56(%rdi), %rdi
    jmp *host_code_address(%rip)
back_from_host:
    pushfq
    cld
    push %rdi
    mov 16(%rsp), %rdi
    mov %rax, 0(%rdi)
    mov %rcx, 8(%rdi)
    mov %rdx, 16(%rdi)
    mov %rbx, 24(%rdi)
    mov %rbp, 40(%rdi)
    mov %rsi, 48(%rdi)
    mov %r8, 64(%rdi)
    mov %r9, 72(%rdi)
    mov %r10, 80(%rdi)
    mov %r11, 88(%rdi)
    mov %r12, 96(%rdi)
    mov %r13, 104(%rdi)
    mov %r14, 112(%rdi)
    mov %r15, 120(%rdi)
    pop %rax
    mov %rax, 56(%rdi)
    pop %rax
    mov %rax, 128(%rdi)
    pop %rdi
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
)");

namespace {

using hv::operand_kind;
using hv::operation;
using hv::x86::gpr;

namespace flag = hv::x86::rflags;

/// Below 4 GiB, so that 32-bit addresses reach it; the emulator's guest has memory at the same addresses.
constexpr std::uint64_t buffer{0x2000'0000};
constexpr std::uint64_t buffer_size{0x2000};
constexpr std::uint64_t middle{buffer + 0x1000};

class host {
  public:
    host() {
        auto const at = [](std::uint64_t address, int protection) {
            auto* const wanted = reinterpret_cast<void*>(address);
            auto* const got =
                mmap(wanted, buffer_size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
            REQUIRE(got == wanted);
            return static_cast<std::uint8_t*>(got);
        };
        memory = at(buffer, PROT_READ | PROT_WRITE);
        code_ = at(buffer + 0x10'0000, PROT_READ | PROT_WRITE | PROT_EXEC);
        host_code_address = code_;
    }
    host(host const&) = delete;
    auto operator=(host const&) -> host& = delete;
    ~host() {
        munmap(memory, buffer_size);
        munmap(code_, buffer_size);
    }

    void run(std::span<std::uint8_t const> instruction, host_state& state) {
        auto* p = std::copy(instruction.begin(), instruction.end(), code_);
        constexpr std::uint8_t jump[]{0xff, 0x25, 0, 0, 0, 0}; // jmp [rip]
        p = std::copy(std::begin(jump), std::end(jump), p);
        auto const target = reinterpret_cast<std::uint64_t>(&back_from_host);
        std::memcpy(p, &target, sizeof target);
        run_on_host(&state);
    }

    std::uint8_t* memory{};

  private:
    std::uint8_t* code_{};
};

/// Status flags that the manual leaves undefined after an operation.
auto undefined_flags(operation op) -> std::uint64_t {
    switch (op) {
    case operation::logical_and:
    case operation::logical_or:
    case operation::logical_xor:
    case operation::test:
        return flag::af;
    case operation::imul:
        return flag::sf | flag::zf | flag::af | flag::pf;
    case operation::bt:
    case operation::bts:
    case operation::btr:
    case operation::btc:
        return flag::of | flag::sf | flag::af | flag::pf;
    case operation::bextr:
        return flag::af | flag::sf | flag::pf;
    default:
        return 0;
    }
}

auto uses_stack_pointer(hv::decoded const& i) -> bool {
    auto const is_rsp = [](hv::operand const& o) { return o.kind == operand_kind::gpr and o.number == 4; };
    return is_rsp(i.destination) or is_rsp(i.source) or is_rsp(i.third) or i.memory.base == 4;
}

auto is_string(operation op) -> bool {
    return op >= operation::movs and op <= operation::scas;
}

auto runs_on_host(hv::decoded const& i) -> bool {
    if (i.status != hv::decode_status::ok or uses_stack_pointer(i))
        return false;
    if (i.op == operation::bextr)
        return __builtin_cpu_supports("bmi");
    return i.op <= operation::btc or is_string(i.op) or i.op == operation::nop or i.op == operation::fence;
}

class differential {
  public:
    explicit differential(unsigned seed) : random_{seed} {
        guest_ = hv::test::make_cpu(hv::code_size::bits_64);
        guest_.ram.add(buffer);
        guest_.ram.add(buffer + 0x1000);
    }

    /// Runs one instruction with random registers on both, if that is safe on this machine.
    void run(std::span<std::uint8_t const> code) {
        auto const i = hv::decode(code, hv::code_size::bits_64);
        if (not runs_on_host(i))
            return;
        auto const instruction = code.first(i.length);
        host_state state{};
        fill(state, i);
        if (not aim(state, i))
            return;
        for (unsigned at{}; at < buffer_size; at += 8) {
            auto const value = random_();
            std::memcpy(host_.memory + at, &value, 8);
        }
        for (unsigned page{}; page < 2; ++page)
            std::memcpy(guest_.ram.at(hv::gpa{buffer + page * 0x1000}, hv::access::read), host_.memory + page * 0x1000,
                        0x1000);
        std::copy(std::begin(state.gpr), std::end(state.gpr), guest_.register_file::gpr.begin());
        guest_.set_rflags(state.rflags);
        guest_.set_rip(hv::test::code_page);

        auto const outcome = hv::step(guest_, instruction);
        host_.run(instruction, state);

        ++runs_[i.op];
        auto const ignored = undefined_flags(i.op);
        auto const compared = hv::arithmetic::status_flags & ~ignored;
        auto same = outcome.kind == hv::outcome_kind::done and guest_.rip() == hv::test::code_page + i.length and
                    ((guest_.rflags() ^ state.rflags) & compared) == 0 and
                    std::equal(std::begin(state.gpr), std::end(state.gpr), guest_.register_file::gpr.begin());
        for (unsigned page{}; page < 2; ++page)
            same = same and std::memcmp(guest_.ram.at(hv::gpa{buffer + page * 0x1000}, hv::access::read),
                                        host_.memory + page * 0x1000, 0x1000) == 0;
        if (not same and wrong_++ < 10) {
            std::string text;
            for (auto const byte : instruction) {
                char digits[4];
                std::snprintf(digits, sizeof digits, " %02x", byte);
                text += digits;
            }
            std::printf("differs:%s kind %u flags %lx/%lx\n", text.c_str(), static_cast<unsigned>(outcome.kind),
                        guest_.rflags(), state.rflags);
            for (unsigned n{}; n < 16; ++n)
                if (state.gpr[n] != guest_.register_file::gpr[n])
                    std::printf("  gpr %u %lx/%lx\n", n, guest_.register_file::gpr[n], state.gpr[n]);
        }
    }

    [[nodiscard]] auto wrong() const -> std::uint64_t { return wrong_; }
    [[nodiscard]] auto runs() const -> std::map<operation, std::uint64_t> const& { return runs_; }
    auto random() -> std::uint64_t { return random_(); }

  private:
    /// Random values; often small ones, equal ones and those around the signs.
    auto interesting() -> std::uint64_t {
        switch (random_() % 6) {
        case 0:
            return random_() % 3;
        case 1:
            return 0 - random_() % 3;
        case 2:
            return (0x80ull << (8 * (random_() % 8))) - random_() % 2;
        case 3:
            return 0x8080808080808080 ^ (random_() & 0x0101010101010101);
        default:
            return random_();
        }
    }

    void fill(host_state& state, hv::decoded const& i) {
        for (auto& value : state.gpr)
            value = interesting();
        if (i.op == operation::cmpxchg and random_() % 2 == 0)
            state.gpr[0] = i.destination.kind == operand_kind::gpr ? state.gpr[i.destination.number] : state.gpr[0];
        if (i.op == operation::bextr and random_() % 4 != 0)
            state.gpr[i.third.number] = random_() % 70 | random_() % 70 << 8;
        state.gpr[4] = 0;
        state.rflags = 2 | 0x200 | (random_() & hv::arithmetic::status_flags);
        if (is_string(i.op) and random_() % 2 == 0)
            state.rflags |= flag::df;
    }

    /// Points the memory operand into the buffer; false if that cannot be.
    auto aim(host_state& state, hv::decoded const& i) -> bool {
        auto const offset = [&] { return middle - 0x400 + random_() % 0x800; };
        if (is_string(i.op)) {
            state.gpr[6] = offset();
            state.gpr[7] = random_() % 4 == 0 ? state.gpr[6] : offset();
            state.gpr[1] = random_() % 64;
            return i.memory.segment == hv::x86::segment_name::ds;
        }
        if (i.destination.kind != operand_kind::memory and i.source.kind != operand_kind::memory)
            return true;
        auto const& m = i.memory;
        if (m.base == hv::memory_operand::no_register or m.index != hv::memory_operand::no_register or
            m.segment == hv::x86::segment_name::fs or m.segment == hv::x86::segment_name::gs)
            return false;
        auto const is_bit_string = i.op >= operation::bt and i.op <= operation::btc;
        if (is_bit_string and i.source.kind == operand_kind::gpr) {
            if (i.source.number == m.base)
                return false;
            state.gpr[i.source.number] =
                static_cast<std::uint64_t>(static_cast<std::int64_t>(random_() % 0x4000) - 0x2000);
        }
        auto const displacement = static_cast<std::uint64_t>(m.displacement);
        state.gpr[m.base] = offset() - displacement;
        if (i.address_size == 4)
            state.gpr[m.base] &= 0xffff'ffff;
        if (i.op == operation::cmpxchg and m.base == 0)
            return false;
        return true;
    }

    host host_;
    hv::test::cpu guest_;
    std::mt19937_64 random_;
    std::map<operation, std::uint64_t> runs_;
    std::uint64_t wrong_{};
};

} // namespace

TEST_CASE("the emulator agrees with this processor on every operation, form and size") {
    differential d{1};
    constexpr unsigned rounds{12};
    for (unsigned round{}; round < rounds; ++round)
        for (unsigned opcode{}; opcode < 0x201; ++opcode)
            for (unsigned modrm{}; modrm < 256; ++modrm)
                for (unsigned const size : {0u, 1u, 2u, 3u}) {
                    std::array<std::uint8_t, 15> code{};
                    for (auto& byte : code)
                        byte = static_cast<std::uint8_t>(d.random());
                    unsigned at{};
                    auto const put = [&](unsigned byte) { code[at++] = static_cast<std::uint8_t>(byte); };
                    if (size == 1)
                        put(0x66);
                    if (d.random() % 8 == 0)
                        put(0x67);
                    if (d.random() % 8 == 0)
                        put(d.random() % 2 == 0 ? 0xf2 : 0xf3);
                    if (opcode == 0x200) {
                        for (unsigned const byte :
                             {0xc4u, 0xe2u, 0x70u | static_cast<unsigned>(d.random() & 0x88), 0xf7u})
                            put(byte);
                    } else {
                        if (d.random() % 8 == 0)
                            put(0xf0);
                        if (size >= 2)
                            put((size == 2 ? 0x48 : 0x40) | static_cast<unsigned>(d.random() & 5));
                        if (opcode >= 0x100)
                            put(0x0f);
                        put(opcode);
                    }
                    put(modrm);
                    d.run(code);
                }
    CHECK(d.wrong() == 0);
    std::uint64_t sum{};
    for (auto const& [op, count] : d.runs())
        sum += count;
    CHECK(sum > 1'000'000);
    for (auto op = operation::add; op <= operation::scas; op = static_cast<operation>(static_cast<int>(op) + 1))
        if (op != operation::push and op != operation::pop and
            (op != operation::bextr or __builtin_cpu_supports("bmi")))
            CHECK(d.runs().at(op) >= 100);
}
