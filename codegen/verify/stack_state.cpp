// SPDX-License-Identifier: BSD-2-Clause
#include "stack_state.hpp"

#include <algorithm>

namespace verify {

auto stack_state::at_entry() -> stack_state {
    stack_state made;
    made.registers_[rsp] = stack_address{};
    return made;
}

auto stack_state::after(decoder const& decode, instruction const& i) const -> stack_state {
    auto s = *this;
    auto const is = [&](auto... names) { return ((i.opcode == names) or ...); };
    auto const operand = [&](unsigned n) -> llvm::MCOperand const& { return i.operands.getOperand(n); };
    auto const number = [&](unsigned n) { return decode.general_register(operand(n)); };
    auto const value = [&](unsigned n) {
        auto const r = number(n);
        return r ? registers_[*r] : std::nullopt;
    };
    auto const moved = [](std::optional<stack_address> a, std::int64_t by) {
        if (a)
            a->offset += by;
        return a;
    };

    if (i.goes == flow::call or i.goes == flow::indirect_call) {
        for (auto const r : {0, 1, 2, 6, 7, 8, 9, 10, 11})
            s.registers_[static_cast<unsigned>(r)].reset();
    } else if (i.goes == flow::filling) {
        s.push({});
    } else if (i.goes == flow::entry) {
        for (unsigned r{}; r < s.registers_.size(); ++r)
            if (r != rsp)
                s.registers_[r].reset(); // the guest's values
    } else if (is("PUSH64r")) {
        s.push(value(0));
    } else if (is("PUSH64i8", "PUSH64i32", "PUSH64rmm", "PUSHF64", "PUSHFS64", "PUSHGS64")) {
        s.push({});
    } else if (is("POP64r")) {
        auto const popped = s.pop();
        if (auto const r = number(0))
            s.registers_[*r] = popped;
    } else if (is("POP64rmm", "POPF64", "POPFS64", "POPGS64")) {
        s.pop();
    } else if (is("LEAVE64")) {
        s.registers_[rsp] = registers_[rbp];
        s.registers_[rbp] = s.pop();
    } else if (auto const to = i.operands.getNumOperands() != 0 ? number(0) : std::nullopt;
               to and is("MOV64rr", "MOV64rr_REV")) {
        s.registers_[*to] = value(1);
    } else if (to and is("LEA64r")) {
        s.registers_[*to] = referenced(decode, i);
    } else if (to and is("ADD64ri8", "ADD64ri32")) {
        s.registers_[*to] = moved(registers_[*to], operand(2).getImm());
    } else if (to and is("SUB64ri8", "SUB64ri32")) {
        s.registers_[*to] = moved(registers_[*to], -operand(2).getImm());
    } else if (to and is("AND64ri8", "AND64ri32") and operand(2).getImm() < 0) {
        auto aligned = moved(registers_[*to], operand(2).getImm() + 1);
        if (aligned)
            aligned->exact = false;
        s.registers_[*to] = aligned;
    } else if (to and is("MOV64rm")) {
        auto const from = referenced(decode, i);
        s.registers_[*to] = from and from->exact ? load(from->offset) : std::nullopt;
    } else {
        if (auto const written = stored_to(decode, i); written and written->exact)
            s.store(written->offset, is("MOV64mr") ? value(5) : std::nullopt);
        s.forget_written(decode, i);
    }
    return s;
}

auto stack_state::overwrites_return_address(decoder const& decode, instruction const& i) const -> bool {
    auto const hits = [](std::optional<stack_address> const& a) {
        return a and a->exact and a->offset >= 0 and a->offset < 8;
    };
    if (i.opcode.starts_with("PUSH")) {
        auto below = registers_[rsp];
        if (below)
            below->offset -= 8;
        return hits(below);
    }
    return hits(stored_to(decode, i));
}

auto stack_state::join(stack_state const& other) -> bool {
    bool lost{};
    for (unsigned r{}; r < registers_.size(); ++r)
        if (registers_[r] and registers_[r] != other.registers_[r]) {
            registers_[r].reset();
            lost = true;
        }
    lost |= std::erase_if(slots_, [&](auto const& slot) {
                auto const i = other.slots_.find(slot.first);
                return i == other.slots_.end() or i->second != slot.second;
            }) != 0;
    return lost;
}

void stack_state::push(std::optional<stack_address> value) {
    auto& pointer = registers_[rsp];
    if (not pointer)
        return;
    pointer->offset -= 8;
    if (pointer->exact)
        store(pointer->offset, value);
}

auto stack_state::pop() -> std::optional<stack_address> {
    auto& pointer = registers_[rsp];
    if (not pointer)
        return {};
    auto const value = pointer->exact ? load(pointer->offset) : std::nullopt;
    pointer->offset += 8;
    return value;
}

void stack_state::store(std::int64_t offset, std::optional<stack_address> value) {
    std::erase_if(slots_, [&](auto const& slot) { return slot.first > offset - 8 and slot.first < offset + 8; });
    if (value)
        slots_[offset] = *value;
}

auto stack_state::load(std::int64_t offset) const -> std::optional<stack_address> {
    auto const i = slots_.find(offset);
    return i == slots_.end() ? std::nullopt : std::optional{i->second};
}

auto stack_state::referenced(decoder const& decode, instruction const& i) const -> std::optional<stack_address> {
    auto const m = decode.memory_operand(i);
    if (not m)
        return {};
    auto const base = decode.general_register(i.operands.getOperand(*m));
    auto const& displacement = i.operands.getOperand(*m + 3);
    if (not base or not registers_[*base] or i.operands.getOperand(*m + 2).getReg() != 0 or not displacement.isImm())
        return {};
    auto made = *registers_[*base];
    made.offset += displacement.getImm();
    return made;
}

auto stack_state::stored_to(decoder const& decode, instruction const& i) const -> std::optional<stack_address> {
    return i.goes == flow::onward and decode.may_store(i) ? referenced(decode, i) : std::nullopt;
}

void stack_state::forget_written(decoder const& decode, instruction const& i) {
    for (unsigned r{}; r < registers_.size(); ++r)
        if (registers_[r] and not i.opcode.empty() and decode.writes_general_register(i, r))
            registers_[r].reset();
}

} // namespace verify
