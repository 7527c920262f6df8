// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "image.hpp"

#include <llvm/MC/MCInst.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace verify {

/// Where control goes after an instruction.
enum class flow {
    onward,
    entry, ///< VMRUN, VMLAUNCH, VMRESUME: into the guest
    call,
    filling, ///< one of the calls that fill the return predictor: a push, and a jump over the INT3 behind it
    jump,
    conditional_jump,
    indirect_call,
    indirect_jump,
    table_jump, ///< an indirect jump through an indexed memory operand
    back,       ///< RET
    interrupt_return,
    far,    ///< a change of code segment, or a system call
    trap,   ///< UD2: ends the path in an exception
    nowhere ///< not an instruction
};

/// One instruction and what the verifier asks about it.
struct instruction {
    address at{};
    unsigned size{};
    flow goes{flow::nowhere};
    std::string_view opcode{};       ///< LLVM's name for it
    std::optional<address> target{}; ///< of a direct call or jump inside the file
    std::string outside{};           ///< of a direct call or jump that leaves the file
    llvm::MCInst operands{};

    [[nodiscard]] auto next() const -> address { return at + size; }
};

/// Decodes the code of an image, each address once.
class decoder {
  public:
    explicit decoder(image const&);
    ~decoder();
    decoder(decoder const&) = delete;
    auto operator=(decoder const&) -> decoder& = delete;

    [[nodiscard]] auto at(address) -> instruction const&;
    [[nodiscard]] auto text(instruction const&) const -> std::string;

    /// Linker names and demangled names of what a direct call or jump leads to.
    [[nodiscard]] auto names_of_target(instruction const&) const -> std::vector<std::string>;
    /// Names of the registers that an instruction reads or writes, mentioned or not.
    [[nodiscard]] auto registers(instruction const&) const -> std::vector<std::string_view>;
    /// The number, as instructions encode it, of a 64-bit general-purpose register.
    [[nodiscard]] auto general_register(llvm::MCOperand const&) const -> std::optional<unsigned>;
    [[nodiscard]] auto writes_general_register(instruction const&, unsigned number) const -> bool;
    /// How many bytes an instruction stores at its memory operand, 0 where it only reads; none where that is not known.
    [[nodiscard]] auto stored_bytes(instruction const&) const -> std::optional<unsigned>;
    [[nodiscard]] auto has_prefix(instruction const&, std::uint8_t) const -> bool;
    [[nodiscard]] auto has_lock_prefix(instruction const& i) const -> bool { return has_prefix(i, 0xf0); }
    /// The operand with which a memory reference begins: base, scale, index, displacement, segment; or none.
    [[nodiscard]] auto memory_operand(instruction const&) const -> std::optional<unsigned>;
    /// The address that a RIP-relative operand names.
    [[nodiscard]] auto named_address(instruction const&) const -> std::optional<address>;

  private:
    struct machinery;

    auto decode(address) const -> instruction;
    auto flow_of(instruction const&) const -> flow;
    [[nodiscard]] auto relocation_changes(instruction const&) const -> bool;
    [[nodiscard]] auto is_filling(address) const -> bool;
    void find_target(instruction&) const;

    image const& image_;
    std::unique_ptr<machinery> llvm_;
    std::unordered_map<address, instruction> decoded_{};
};

} // namespace verify
