// SPDX-License-Identifier: BSD-2-Clause
#include "stack_state.hpp"

#include <algorithm>

namespace verify {

namespace {

/// The bytes that INS, MOVS or STOS stores once where RDI points; 0 for any other instruction.
auto width_of_string_store(std::string_view opcode) -> int {
    constexpr std::string_view letters{"BWLQ"}; // 1, 2, 4 and 8 bytes
    auto const letter = opcode.empty() ? letters.size() : letters.find(opcode.back());
    auto const name = opcode.substr(0, opcode.size() - 1);
    return letter < letters.size() and (name == "INS" or name == "MOVS" or name == "STOS") ? 1 << letter : 0;
}

constexpr std::uint8_t repeated{0xf3};

} // namespace

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
        if (auto const bytes = written(decode, i))
            s.store(*bytes, {});
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
            aligned->slack -= operand(2).getImm() + 1;
        s.registers_[*to] = aligned;
    } else if (to and is("MOV64rm")) {
        auto const from = referenced(decode, i);
        s.registers_[*to] = from and from->exact() ? load(from->offset) : std::nullopt;
    } else {
        if (auto const bytes = written(decode, i))
            s.store(*bytes, is("MOV64mr") ? value(5) : std::nullopt);
        s.forget_written(decode, i);
    }
    if (i.goes != flow::onward or decode.writes_general_register(i, rcx) or decode.has_prefix(i, repeated))
        s.count_.reset();
    if (is("MOV32ri", "MOV64ri32") and decode.writes_general_register(i, rcx))
        s.count_ = operand(1).getImm();
    return s;
}

auto stack_state::overwrites_return_address(decoder const& decode, instruction const& i) const -> bool {
    auto const bytes = written(decode, i);
    return bytes and bytes->first < 8 and bytes->end > 0;
}

auto stack_state::join(stack_state const& other) -> bool {
    bool lost{};
    for (unsigned r{}; r < registers_.size(); ++r)
        if (registers_[r] and registers_[r] != other.registers_[r]) {
            registers_[r].reset();
            lost = true;
        }
    if (count_ and count_ != other.count_) {
        count_.reset();
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
    store({pointer->offset, pointer->offset + pointer->slack + 8}, value);
}

auto stack_state::pop() -> std::optional<stack_address> {
    auto& pointer = registers_[rsp];
    if (not pointer)
        return {};
    auto const value = pointer->exact() ? load(pointer->offset) : std::nullopt;
    pointer->offset += 8;
    return value;
}

void stack_state::store(stack_bytes bytes, std::optional<stack_address> value) {
    std::erase_if(slots_, [&](auto const& slot) { return slot.first > bytes.first - 8 and slot.first < bytes.end; });
    if (value and bytes.end - bytes.first == 8)
        slots_[bytes.first] = *value;
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

auto stack_state::written(decoder const& decode, instruction const& i) const -> std::optional<stack_bytes> {
    auto const begins = [&](auto... names) { return (i.opcode.starts_with(names) or ...); };
    constexpr std::int64_t anywhere{1 << 30};
    auto const from = [](std::optional<stack_address> const& a, std::int64_t by, std::int64_t size) {
        return a ? std::optional{stack_bytes{a->offset + by, a->offset + a->slack + by + size}} : std::nullopt;
    };
    if (i.goes == flow::call or i.goes == flow::indirect_call or i.goes == flow::filling or begins("PUSH", "ENTER")) {
        auto const size = i.opcode.find("16") == std::string_view::npos ? 8 : 2;
        return from(registers_[rsp], -size, size);
    }
    if (i.goes != flow::onward)
        return {};
    if (auto const width = width_of_string_store(i.opcode); width != 0) {
        auto const& to = registers_[rdi];
        if (not decode.has_prefix(i, repeated))
            return from(to, 0, width);
        if (count_ and *count_ >= 0)
            return from(to, 0, *count_ * width);
        // g++ fills an object at -O0 from an aligned address on, and computes the count from what was aligned away.
        return from(to, 0, to and not to->exact() ? width : anywhere);
    }
    if (begins("MOVDIR64B", "ENQCMD")) {
        auto const to = decode.general_register(i.operands.getOperand(0));
        return to ? from(registers_[*to], 0, 64) : std::nullopt;
    }
    if (begins("CLZERO")) // the cache line around RAX
        return from(registers_[rax], -63, 127);
    auto const at = referenced(decode, i);
    if (not at)
        return {};
    auto const size = decode.stored_bytes(i);
    if (not size)
        return from(at, -anywhere, 2 * anywhere);
    // POP computes the address of its operand after it has moved RSP. SDM Vol. 2, "POP".
    auto const base = decode.general_register(i.operands.getOperand(*decode.memory_operand(i)));
    auto const moved = begins("POP") and base == rsp ? std::int64_t{*size} : 0;
    return *size == 0 ? std::nullopt : from(at, moved, *size);
}

void stack_state::forget_written(decoder const& decode, instruction const& i) {
    for (unsigned r{}; r < registers_.size(); ++r)
        if (registers_[r] and not i.opcode.empty() and decode.writes_general_register(i, r))
            registers_[r].reset();
}

} // namespace verify
