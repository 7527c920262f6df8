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
    bool exact{true}; ///< otherwise aligned downwards by an unknown amount, which `offset` bounds

    auto operator==(stack_address const&) const -> bool = default;
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
    static constexpr unsigned rsp{4};
    static constexpr unsigned rbp{5};

    void push(std::optional<stack_address>);
    auto pop() -> std::optional<stack_address>;
    void store(std::int64_t offset, std::optional<stack_address>);
    [[nodiscard]] auto load(std::int64_t offset) const -> std::optional<stack_address>;
    /// The address of a memory operand, where it is on the stack.
    [[nodiscard]] auto referenced(decoder const&, instruction const&) const -> std::optional<stack_address>;
    /// The place that an instruction writes, where it is on the stack.
    [[nodiscard]] auto stored_to(decoder const&, instruction const&) const -> std::optional<stack_address>;
    void forget_written(decoder const&, instruction const&);

    std::array<std::optional<stack_address>, 16> registers_{};
    std::map<std::int64_t, stack_address> slots_{};
};

} // namespace verify
