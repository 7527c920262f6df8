// SPDX-License-Identifier: BSD-2-Clause
#include "forbidden.hpp"

#include "rules.hpp"

#include <algorithm>
#include <array>

namespace verify {

namespace {

// State that only the FPU switch may touch, by instruction: those whose operands do not show it.
constexpr std::array<std::string_view, 23> fpu_opcodes{
    "FXSAVE",   "FXRSTOR", "XSAVE",  "XRSTOR", "LDMXCSR", "STMXCSR",   "VLDMXCSR", "VSTMXCSR",
    "MMX_EMMS", "FEMMS",   "FSAVE",  "FRSTOR", "FLDENV",  "FSTENV",    "FLDCW",    "FNSTCW",
    "FNSTSW",   "FNINIT",  "FNCLEX", "WAIT",   "VZERO",   "LDTILECFG", "STTILECFG"};

// And by register: x87, MMX, SSE, AVX, AVX-512 and AMX.
auto is_fpu_register(std::string_view name) -> bool {
    constexpr std::array<std::string_view, 9> families{"XMM", "YMM", "ZMM", "TMM", "MM", "ST", "FP", "BND", "K"};
    if (name == "MXCSR" or name == "FPCW" or name == "FPSW")
        return true;
    return std::ranges::any_of(families, [&](auto family) {
        return name.starts_with(family) and name.size() > family.size() and
               name.find_first_not_of("0123456789_K", family.size()) == std::string_view::npos;
    });
}

auto touches_fpu(decoder const& decode, instruction const& i) -> bool {
    return std::ranges::any_of(fpu_opcodes, [&](auto o) { return i.opcode.starts_with(o); }) or
           std::ranges::any_of(decode.registers(i), is_fpu_register);
}

/// An exchange with memory locks without a prefix. SDM Vol. 2, "XCHG".
auto is_locked(decoder const& decode, instruction const& i) -> bool {
    return decode.has_lock_prefix(i) or (i.opcode.starts_with("XCHG") and i.opcode.ends_with("rm"));
}

auto leaves_for_another(instruction const& i) -> bool {
    constexpr std::array<std::string_view, 9> opcodes{"SEAMCALL", "SEAMRET", "SEAMOPS", "TDCALL", "GETSEC",
                                                      "VMFUNC",   "VMCALL",  "VMMCALL", "VMGEXIT"};
    return std::ranges::find(opcodes, i.opcode) != opcodes.end();
}

} // namespace

auto why_forbidden(decoder const& decode, instruction const& i, permissions may) -> std::optional<std::string> {
    switch (i.goes) {
    case flow::nowhere:
        return "undecodable byte";
    case flow::indirect_call:
        return "indirect call";
    case flow::indirect_jump:
        return "indirect jump";
    case flow::table_jump:
        return "indirect jump through a jump table";
    case flow::far:
        if (i.opcode == "INT") {
            if (may.nmi_forward and i.operands.getOperand(0).getImm() == 2)
                return {};
            return "software interrupt";
        }
        if (i.opcode.starts_with("INT"))
            return "software interrupt";
        if (i.opcode.starts_with("SYS"))
            return "system call";
        return "far branch";
    case flow::back:
        if (i.opcode.starts_with("RETI"))
            return "return that moves the caller's stack pointer";
        break;
    default:
        break;
    }
    if (leaves_for_another(i))
        return "way out to firmware or to another hypervisor";
    if (not may.fpu and touches_fpu(decode, i))
        return "x87, MMX, SSE or AVX outside the FPU switch";
    if (not may.locks and is_locked(decode, i))
        return "atomic read-modify-write where no other processor is";
    return {};
}

auto is_indirect_thunk(std::span<std::string const> names) -> bool {
    return std::ranges::any_of(
        names, [](auto const& name) { return matches("*indirect_thunk*", name) or matches("*llvm_retpoline*", name); });
}

} // namespace verify
