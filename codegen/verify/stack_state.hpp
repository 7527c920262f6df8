// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "decoder.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <optional>

namespace verify {

/// An address on the stack, as a distance from where the return address lies.
struct stack_address {
    std::int64_t offset{};
    std::int64_t slack{}; ///< how much higher it may be, after it was aligned downwards

    [[nodiscard]] auto exact() const -> bool { return slack == 0; }

    auto operator==(stack_address const&) const -> bool = default;
};

/// All bytes of the stack that an instruction may write.
struct stack_bytes {
    std::int64_t first{};
    std::int64_t end{};
};

/// Which general-purpose registers and stack slots hold stack addresses at one instruction.
class stack_state {
  public:
    static auto at_entry() -> stack_state;

    [[nodiscard]] auto stack_pointer() const -> std::optional<stack_address> { return registers_[rsp]; }
    /// The state behind an instruction. A called function keeps the stack pointer and the registers that the System V
    /// ABI tells it to keep.
    [[nodiscard]] auto after(decoder const&, instruction const&) const -> stack_state;
    [[nodiscard]] auto overwrites_return_address(decoder const&, instruction const&) const -> bool;
    /// Keeps what both states agree on; answers whether this one lost something.
    auto join(stack_state const&) -> bool;

  private:
    static constexpr unsigned rax{0};
    static constexpr unsigned rcx{1};
    static constexpr unsigned rsp{4};
    static constexpr unsigned rbp{5};
    static constexpr unsigned rdi{7};

    void push(std::optional<stack_address>);
    auto pop() -> std::optional<stack_address>;
    void store(stack_bytes, std::optional<stack_address>);
    [[nodiscard]] auto load(std::int64_t offset) const -> std::optional<stack_address>;
    /// The address of a memory operand, where it is on the stack.
    [[nodiscard]] auto referenced(decoder const&, instruction const&) const -> std::optional<stack_address>;
    /// What an instruction writes, where it is on the stack.
    [[nodiscard]] auto written(decoder const&, instruction const&) const -> std::optional<stack_bytes>;
    void forget_written(decoder const&, instruction const&);

    std::array<std::optional<stack_address>, 16> registers_{};
    std::map<std::int64_t, stack_address> slots_{};
    std::optional<std::int64_t> count_{}; ///< in RCX, for REP
};

} // namespace verify
