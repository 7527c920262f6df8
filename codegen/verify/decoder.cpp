// SPDX-License-Identifier: BSD-2-Clause
#include "decoder.hpp"

#include <llvm/MC/MCAsmInfo.h>
#include <llvm/MC/MCContext.h>
#include <llvm/MC/MCDisassembler/MCDisassembler.h>
#include <llvm/MC/MCInstPrinter.h>
#include <llvm/MC/MCInstrAnalysis.h>
#include <llvm/MC/MCInstrInfo.h>
#include <llvm/MC/MCRegisterInfo.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/MCTargetOptions.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <array>

namespace verify {

namespace {

auto x86_target() -> llvm::Target const& {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86Disassembler();
    std::string error;
    auto const* target = llvm::TargetRegistry::lookupTarget("x86_64", error);
    if (target == nullptr)
        throw unusable{"this LLVM has no x86 back end: " + error};
    return *target;
}

} // namespace

struct decoder::machinery {
    static constexpr char const* triple{"x86_64-unknown-none-elf"};

    llvm::Target const& target{x86_target()};
    llvm::MCTargetOptions options{};
    std::unique_ptr<llvm::MCRegisterInfo> registers{target.createMCRegInfo(triple)};
    std::unique_ptr<llvm::MCAsmInfo> assembler{target.createMCAsmInfo(*registers, triple, options)};
    std::unique_ptr<llvm::MCInstrInfo> instructions{target.createMCInstrInfo()};
    std::unique_ptr<llvm::MCSubtargetInfo> subtarget{target.createMCSubtargetInfo(triple, "", "")};
    llvm::MCContext context{llvm::Triple{triple}, assembler.get(), registers.get(), subtarget.get()};
    std::unique_ptr<llvm::MCDisassembler> disassembler{target.createMCDisassembler(*subtarget, context)};
    std::unique_ptr<llvm::MCInstrAnalysis> analysis{target.createMCInstrAnalysis(instructions.get())};
    std::unique_ptr<llvm::MCInstPrinter> printer{
        target.createMCInstPrinter(llvm::Triple{triple}, 0, *assembler, *instructions, *registers)};
    /// Which says how wide a memory operand is.
    std::unique_ptr<llvm::MCInstPrinter> intel_printer{
        target.createMCInstPrinter(llvm::Triple{triple}, 1, *assembler, *instructions, *registers)};

    std::array<unsigned, 16> general{find_general()};

    [[nodiscard]] auto find_general() const -> std::array<unsigned, 16> {
        constexpr std::array<std::string_view, 16> names{"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                                         "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};
        std::array<unsigned, 16> made{};
        for (unsigned r{1}; r < registers->getNumRegs(); ++r)
            if (auto const n = std::ranges::find(names, std::string_view{registers->getName(r)}); n != names.end())
                made.at(static_cast<std::size_t>(n - names.begin())) = r;
        return made;
    }
    [[nodiscard]] auto description(instruction const& i) const -> llvm::MCInstrDesc const& {
        return instructions->get(i.operands.getOpcode());
    }
};

decoder::decoder(image const& file) : image_{file}, llvm_{std::make_unique<machinery>()} {
    llvm_->printer->setPrintBranchImmAsAddress(true);
    llvm_->printer->setPrintImmHex(true);
}
decoder::~decoder() = default;

auto decoder::at(address a) -> instruction const& {
    if (auto const i = decoded_.find(a); i != decoded_.end())
        return i->second;
    return decoded_.emplace(a, decode(a)).first->second;
}

auto decoder::decode(address a) const -> instruction {
    instruction made{.at = a, .size = 1};
    auto const bytes = image_.code_at(a);
    std::uint64_t size{};
    if (bytes.empty() or llvm_->disassembler->getInstruction(made.operands, size, {bytes.data(), bytes.size()}, a,
                                                             llvm::nulls()) != llvm::MCDisassembler::Success)
        return made;
    made.size = static_cast<unsigned>(size);
    if (relocation_changes(made))
        return {.at = a, .size = 1};
    made.opcode = std::string_view{llvm_->instructions->getName(made.operands.getOpcode())};
    made.goes = flow_of(made);
    if (made.goes == flow::call or made.goes == flow::jump or made.goes == flow::conditional_jump)
        find_target(made);
    if (made.goes == flow::call and is_filling(a))
        made.goes = flow::filling;
    return made;
}

/// Whether a relocation writes anything but a displacement or an immediate of an instruction: then other bytes in its
/// place make another instruction.
auto decoder::relocation_changes(instruction const& i) const -> bool {
    auto const r = image_.references().lower_bound(i.at);
    if (r == image_.references().end() or r->first >= i.next())
        return false;
    auto const place = r->first - i.at;
    auto const code = image_.code_at(i.at).first(i.size);
    std::vector<std::uint8_t> other{code.begin(), code.end()};
    if (place == 0 or place + r->second.size > other.size())
        return true;
    for (std::size_t n{}; n < r->second.size; ++n)
        other[place + n] ^= 0x3f;
    llvm::MCInst changed;
    std::uint64_t size{};
    auto const same = [](llvm::MCOperand const& x, llvm::MCOperand const& y) {
        return x.isReg() ? y.isReg() and x.getReg() == y.getReg() : x.isImm() == y.isImm();
    };
    return llvm_->disassembler->getInstruction(changed, size, other, i.at, llvm::nulls()) !=
               llvm::MCDisassembler::Success or
           size != i.size or changed.getOpcode() != i.operands.getOpcode() or
           not std::ranges::equal(changed, i.operands, same);
}

/// Whether the call at `a` is one of exactly 32, each of which leads over an INT3 to the next, before ADD $256, %rsp
/// drops what they pushed and LFENCE waits for them. Compared byte by byte: nothing else will do, and no call of
/// another form becomes allowed.
auto decoder::is_filling(address a) const -> bool {
    constexpr std::array<std::uint8_t, 6> call{0xe8, 0x01, 0x00, 0x00, 0x00, 0xcc};
    constexpr std::array<std::uint8_t, 10> end{0x48, 0x81, 0xc4, 0x00, 0x01, 0x00, 0x00, 0x0f, 0xae, 0xe8};
    constexpr unsigned count{32};
    auto const stands = [this](address at, auto const& bytes) {
        auto const code = image_.code_at(at);
        auto const references = image_.references().lower_bound(at);
        return code.size() >= bytes.size() and std::equal(bytes.begin(), bytes.end(), code.begin()) and
               (references == image_.references().end() or references->first >= at + bytes.size());
    };
    unsigned before{}, behind{};
    while (before <= count and stands(a - (before + 1) * call.size(), call))
        ++before;
    while (behind <= count and stands(a + behind * call.size(), call))
        ++behind;
    return before + behind == count and stands(a + behind * call.size(), end);
}

auto decoder::flow_of(instruction const& i) const -> flow {
    auto const is = [&](auto... names) { return ((i.opcode == names) or ...); };
    auto const begins = [&](auto... names) { return (i.opcode.starts_with(names) or ...); };
    if (is("VMRUN64", "VMRUN32", "VMLAUNCH", "VMRESUME"))
        return flow::entry;
    if (begins("LRET", "FARCALL", "FARJMP", "SYSCALL", "SYSRET", "SYSENTER", "SYSEXIT", "INT", "UIRET", "RSM", "XBEGIN",
               "XABORT", "ENCL", "SKINIT", "ERETS", "ERETU", "JMPABS"))
        return flow::far;
    if (begins("IRET"))
        return is("IRET64") ? flow::interrupt_return : flow::far;
    if (is("TRAP") or begins("UD1"))
        return flow::trap;
    auto const& analysis = *llvm_->analysis;
    // A near branch with an operand-size prefix: AMD's processors cut RIP to 16 bits, Intel's ignore the prefix. APM
    // Vol. 3, "Near Branches in 64-Bit Mode".
    auto const near = analysis.isReturn(i.operands) or analysis.isCall(i.operands) or analysis.isBranch(i.operands) or
                      begins("LEAVE", "LOOP", "JCXZ", "JECXZ", "JRCXZ");
    if (is("DATA16_PREFIX") or (near and has_prefix(i, 0x66)))
        return flow::nowhere;
    if (analysis.isReturn(i.operands))
        return flow::back;
    auto const& description = llvm_->description(i);
    auto const direct = std::ranges::any_of(description.operands(),
                                            [](auto const& o) { return o.OperandType == llvm::MCOI::OPERAND_PCREL; });
    if (analysis.isCall(i.operands))
        return direct ? flow::call : flow::indirect_call;
    if (not analysis.isBranch(i.operands))
        return flow::onward;
    if (direct)
        return description.isUnconditionalBranch() ? flow::jump : flow::conditional_jump;
    if (auto const m = memory_operand(i); m and i.operands.getOperand(*m + 2).getReg() != 0)
        return flow::table_jump;
    return flow::indirect_jump;
}

void decoder::find_target(instruction& i) const {
    auto const& references = image_.references();
    if (auto const r = references.lower_bound(i.at); r != references.end() and r->first < i.next()) {
        if (r->second.target) // relative to the field; the processor adds to the end of the instruction
            i.target = *r->second.target + (i.next() - r->first);
        else
            i.outside = r->second.symbol;
        return;
    }
    std::uint64_t target{};
    if (llvm_->analysis->evaluateBranch(i.operands, i.at, i.size, target))
        i.target = target;
}

auto decoder::text(instruction const& i) const -> std::string {
    if (i.opcode.empty()) {
        auto const bytes = image_.code_at(i.at);
        return bytes.empty() ? "nothing" : "byte " + hexadecimal(bytes.front());
    }
    std::string made;
    llvm::raw_string_ostream stream{made};
    llvm_->printer->printInst(&i.operands, i.at, "", *llvm_->subtarget, stream);
    std::ranges::replace(made, '\t', ' ');
    return made.substr(std::min(made.find_first_not_of(' '), made.size()));
}

auto decoder::names_of_target(instruction const& i) const -> std::vector<std::string> {
    if (not i.target)
        return all_names(i.outside);
    auto const names = image_.names_at(*i.target);
    return {names.begin(), names.end()};
}

auto decoder::registers(instruction const& i) const -> std::vector<std::string_view> {
    std::vector<std::string_view> names;
    auto const add = [&](unsigned r) {
        if (r != 0)
            names.emplace_back(llvm_->registers->getName(r));
    };
    for (auto const& o : i.operands)
        if (o.isReg())
            add(o.getReg());
    auto const& description = llvm_->description(i);
    for (auto const r : description.implicit_uses())
        add(r);
    for (auto const r : description.implicit_defs())
        add(r);
    return names;
}

auto decoder::general_register(llvm::MCOperand const& o) const -> std::optional<unsigned> {
    auto const i = o.isReg() ? std::ranges::find(llvm_->general, o.getReg()) : llvm_->general.end();
    if (i == llvm_->general.end())
        return {};
    return static_cast<unsigned>(i - llvm_->general.begin());
}

auto decoder::writes_general_register(instruction const& i, unsigned number) const -> bool {
    return llvm_->description(i).hasDefOfPhysReg(i.operands, llvm_->general.at(number), *llvm_->registers);
}

auto decoder::stored_bytes(instruction const& i) const -> std::optional<unsigned> {
    if (i.opcode.starts_with("SGDT") or i.opcode.starts_with("SIDT"))
        return 10;
    // LLVM does not know that these store.
    if (not llvm_->description(i).mayStore() and not i.opcode.starts_with("SMSW") and i.opcode != "VMPTRSTm")
        return 0;
    // The bit number in a register may name any byte.
    if (i.opcode.starts_with("BT") and i.opcode.ends_with("mr"))
        return {};
    constexpr std::array<std::pair<std::string_view, unsigned>, 8> widths{{{"byte", 1},
                                                                           {"word", 2},
                                                                           {"dword", 4},
                                                                           {"qword", 8},
                                                                           {"tbyte", 10},
                                                                           {"xmmword", 16},
                                                                           {"ymmword", 32},
                                                                           {"zmmword", 64}}};
    std::string text;
    llvm::raw_string_ostream stream{text};
    llvm_->intel_printer->printInst(&i.operands, i.at, "", *llvm_->subtarget, stream);
    auto const end = text.find(" ptr ");
    if (end == std::string::npos)
        return {};
    auto const word = std::string_view{text}.substr(0, end).substr(text.find_last_of(" \t,", end - 1) + 1);
    auto const w = std::ranges::find(widths, word, &std::pair<std::string_view, unsigned>::first);
    return w == widths.end() ? std::nullopt : std::optional{w->second};
}

auto decoder::has_prefix(instruction const& i, std::uint8_t prefix) const -> bool {
    constexpr std::array<std::uint8_t, 11> all{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
    for (auto const byte : image_.code_at(i.at).first(i.opcode.empty() ? 0 : i.size)) {
        if (byte == prefix)
            return true;
        if (std::ranges::find(all, byte) == all.end())
            break;
    }
    return false;
}

auto decoder::memory_operand(instruction const& i) const -> std::optional<unsigned> {
    if (i.opcode.starts_with("LEA") and
        not i.opcode.starts_with("LEAVE")) // whose operand LLVM does not count as memory
        return 1;
    auto const& operands = llvm_->description(i).operands();
    for (unsigned o{}; o + 4 < operands.size(); ++o)
        if (operands[o].OperandType == llvm::MCOI::OPERAND_MEMORY and o + 4 < i.operands.getNumOperands() and
            i.operands.getOperand(o).isReg() and i.operands.getOperand(o + 2).isReg())
            return o;
    return {};
}

auto decoder::named_address(instruction const& i) const -> std::optional<address> {
    return llvm_->analysis->evaluateMemoryOperandAddress(i.operands, llvm_->subtarget.get(), i.at, i.size);
}

} // namespace verify
