// SPDX-License-Identifier: BSD-2-Clause
// The decoder against Zydis: every opcode of both maps with every ModRM under many prefixes in all three modes, every
// SIB, and random bytes.
#include <hv/emulate/decode.hpp>

#include <Zydis/Zydis.h>
#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace {

using hv::code_size;
using hv::decode_status;
using hv::operand_kind;
using hv::operation;
using bytes = std::array<std::uint8_t, 15>;

struct name {
    operation op;
    ZydisMnemonic mnemonic;
};

// clang-format off
constexpr name names[]{
    {operation::add, ZYDIS_MNEMONIC_ADD}, {operation::logical_or, ZYDIS_MNEMONIC_OR},
    {operation::adc, ZYDIS_MNEMONIC_ADC}, {operation::sbb, ZYDIS_MNEMONIC_SBB},
    {operation::logical_and, ZYDIS_MNEMONIC_AND}, {operation::sub, ZYDIS_MNEMONIC_SUB},
    {operation::logical_xor, ZYDIS_MNEMONIC_XOR}, {operation::cmp, ZYDIS_MNEMONIC_CMP},
    {operation::test, ZYDIS_MNEMONIC_TEST}, {operation::logical_not, ZYDIS_MNEMONIC_NOT},
    {operation::neg, ZYDIS_MNEMONIC_NEG}, {operation::inc, ZYDIS_MNEMONIC_INC},
    {operation::dec, ZYDIS_MNEMONIC_DEC}, {operation::imul, ZYDIS_MNEMONIC_IMUL},
    {operation::bextr, ZYDIS_MNEMONIC_BEXTR}, {operation::mov, ZYDIS_MNEMONIC_MOV},
    {operation::movzx, ZYDIS_MNEMONIC_MOVZX}, {operation::movsx, ZYDIS_MNEMONIC_MOVSX},
    {operation::movsx, ZYDIS_MNEMONIC_MOVSXD}, {operation::xchg, ZYDIS_MNEMONIC_XCHG},
    {operation::xadd, ZYDIS_MNEMONIC_XADD}, {operation::cmpxchg, ZYDIS_MNEMONIC_CMPXCHG},
    {operation::bt, ZYDIS_MNEMONIC_BT}, {operation::bts, ZYDIS_MNEMONIC_BTS},
    {operation::btr, ZYDIS_MNEMONIC_BTR}, {operation::btc, ZYDIS_MNEMONIC_BTC},
    {operation::push, ZYDIS_MNEMONIC_PUSH}, {operation::pop, ZYDIS_MNEMONIC_POP},
    {operation::movs, ZYDIS_MNEMONIC_MOVSB}, {operation::movs, ZYDIS_MNEMONIC_MOVSW},
    {operation::movs, ZYDIS_MNEMONIC_MOVSD}, {operation::movs, ZYDIS_MNEMONIC_MOVSQ},
    {operation::cmps, ZYDIS_MNEMONIC_CMPSB}, {operation::cmps, ZYDIS_MNEMONIC_CMPSW},
    {operation::cmps, ZYDIS_MNEMONIC_CMPSD}, {operation::cmps, ZYDIS_MNEMONIC_CMPSQ},
    {operation::stos, ZYDIS_MNEMONIC_STOSB}, {operation::stos, ZYDIS_MNEMONIC_STOSW},
    {operation::stos, ZYDIS_MNEMONIC_STOSD}, {operation::stos, ZYDIS_MNEMONIC_STOSQ},
    {operation::lods, ZYDIS_MNEMONIC_LODSB}, {operation::lods, ZYDIS_MNEMONIC_LODSW},
    {operation::lods, ZYDIS_MNEMONIC_LODSD}, {operation::lods, ZYDIS_MNEMONIC_LODSQ},
    {operation::scas, ZYDIS_MNEMONIC_SCASB}, {operation::scas, ZYDIS_MNEMONIC_SCASW},
    {operation::scas, ZYDIS_MNEMONIC_SCASD}, {operation::scas, ZYDIS_MNEMONIC_SCASQ},
    {operation::in, ZYDIS_MNEMONIC_IN}, {operation::out, ZYDIS_MNEMONIC_OUT},
    {operation::ins, ZYDIS_MNEMONIC_INSB}, {operation::ins, ZYDIS_MNEMONIC_INSW},
    {operation::ins, ZYDIS_MNEMONIC_INSD}, {operation::outs, ZYDIS_MNEMONIC_OUTSB},
    {operation::outs, ZYDIS_MNEMONIC_OUTSW}, {operation::outs, ZYDIS_MNEMONIC_OUTSD},
    {operation::mov_control, ZYDIS_MNEMONIC_MOV}, {operation::mov_debug, ZYDIS_MNEMONIC_MOV},
    {operation::clts, ZYDIS_MNEMONIC_CLTS}, {operation::lmsw, ZYDIS_MNEMONIC_LMSW},
    {operation::smsw, ZYDIS_MNEMONIC_SMSW}, {operation::invlpg, ZYDIS_MNEMONIC_INVLPG},
    {operation::clflush, ZYDIS_MNEMONIC_CLFLUSH}, {operation::clflush, ZYDIS_MNEMONIC_CLFLUSHOPT},
    {operation::fence, ZYDIS_MNEMONIC_LFENCE}, {operation::fence, ZYDIS_MNEMONIC_MFENCE},
    {operation::fence, ZYDIS_MNEMONIC_SFENCE}, {operation::nop, ZYDIS_MNEMONIC_NOP},
    {operation::nop, ZYDIS_MNEMONIC_PREFETCH}, {operation::nop, ZYDIS_MNEMONIC_PREFETCHW},
    {operation::nop, ZYDIS_MNEMONIC_PREFETCHWT1}, {operation::nop, ZYDIS_MNEMONIC_PREFETCHNTA},
    {operation::nop, ZYDIS_MNEMONIC_PREFETCHT0}, {operation::nop, ZYDIS_MNEMONIC_PREFETCHT1},
    {operation::nop, ZYDIS_MNEMONIC_PREFETCHT2}, {operation::cpuid, ZYDIS_MNEMONIC_CPUID},
    {operation::hlt, ZYDIS_MNEMONIC_HLT}, {operation::rdmsr, ZYDIS_MNEMONIC_RDMSR},
    {operation::wrmsr, ZYDIS_MNEMONIC_WRMSR}, {operation::rdtsc, ZYDIS_MNEMONIC_RDTSC},
    {operation::rdtscp, ZYDIS_MNEMONIC_RDTSCP}, {operation::rdpmc, ZYDIS_MNEMONIC_RDPMC},
    {operation::rdpru, ZYDIS_MNEMONIC_RDPRU}, {operation::invd, ZYDIS_MNEMONIC_INVD},
    {operation::wbinvd, ZYDIS_MNEMONIC_WBINVD},
    {operation::pause, ZYDIS_MNEMONIC_PAUSE}, {operation::monitor, ZYDIS_MNEMONIC_MONITOR},
    {operation::mwait, ZYDIS_MNEMONIC_MWAIT}, {operation::monitorx, ZYDIS_MNEMONIC_MONITORX},
    {operation::mwaitx, ZYDIS_MNEMONIC_MWAITX}, {operation::xsetbv, ZYDIS_MNEMONIC_XSETBV},
    {operation::vmcall, ZYDIS_MNEMONIC_VMCALL}, {operation::vmmcall, ZYDIS_MNEMONIC_VMMCALL},
    {operation::vmrun, ZYDIS_MNEMONIC_VMRUN}, {operation::vmload, ZYDIS_MNEMONIC_VMLOAD},
    {operation::vmsave, ZYDIS_MNEMONIC_VMSAVE}, {operation::stgi, ZYDIS_MNEMONIC_STGI},
    {operation::clgi, ZYDIS_MNEMONIC_CLGI}, {operation::skinit, ZYDIS_MNEMONIC_SKINIT},
    {operation::invlpga, ZYDIS_MNEMONIC_INVLPGA}, {operation::swapgs, ZYDIS_MNEMONIC_SWAPGS},
    {operation::rsm, ZYDIS_MNEMONIC_RSM}, {operation::sldt, ZYDIS_MNEMONIC_SLDT},
    {operation::str, ZYDIS_MNEMONIC_STR}, {operation::lldt, ZYDIS_MNEMONIC_LLDT},
    {operation::ltr, ZYDIS_MNEMONIC_LTR}, {operation::sgdt, ZYDIS_MNEMONIC_SGDT},
    {operation::sidt, ZYDIS_MNEMONIC_SIDT}, {operation::lgdt, ZYDIS_MNEMONIC_LGDT},
    {operation::lidt, ZYDIS_MNEMONIC_LIDT}, {operation::int3, ZYDIS_MNEMONIC_INT3},
    {operation::int_n, ZYDIS_MNEMONIC_INT}, {operation::into, ZYDIS_MNEMONIC_INTO},
    {operation::int1, ZYDIS_MNEMONIC_INT1}, {operation::iret, ZYDIS_MNEMONIC_IRET},
    {operation::iret, ZYDIS_MNEMONIC_IRETD}, {operation::iret, ZYDIS_MNEMONIC_IRETQ},
    {operation::pushf, ZYDIS_MNEMONIC_PUSHF}, {operation::pushf, ZYDIS_MNEMONIC_PUSHFD},
    {operation::pushf, ZYDIS_MNEMONIC_PUSHFQ}, {operation::popf, ZYDIS_MNEMONIC_POPF},
    {operation::popf, ZYDIS_MNEMONIC_POPFD}, {operation::popf, ZYDIS_MNEMONIC_POPFQ},
    {operation::call_far, ZYDIS_MNEMONIC_CALL}, {operation::jmp_far, ZYDIS_MNEMONIC_JMP},
};
// clang-format on

auto is_named(operation op, ZydisMnemonic mnemonic) -> bool {
    return std::ranges::any_of(names, [=](name n) { return n.op == op and n.mnemonic == mnemonic; });
}

auto is_string(operation op) -> bool {
    return op == operation::movs or op == operation::cmps or op == operation::stos or op == operation::lods or
           op == operation::scas or op == operation::ins or op == operation::outs;
}

/// Operations whose operands the executor uses. The others need a length only.
auto operands_matter(operation op) -> bool {
    return op < operation::nop and op != operation::fence and op != operation::clflush and op != operation::clts;
}

auto register_number(ZydisRegister r) -> std::uint8_t {
    auto const id = ZydisRegisterGetId(r);
    return id < 0 ? hv::memory_operand::no_register : static_cast<std::uint8_t>(id);
}

auto as_ours(ZydisDecodedInstruction const& z, ZydisDecodedOperand const& o) -> hv::operand {
    auto const size = static_cast<std::uint8_t>(o.size / 8);
    if (o.type == ZYDIS_OPERAND_TYPE_MEMORY)
        return {operand_kind::memory, 0, size};
    if (o.type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return {operand_kind::immediate, 0, 0};
    if (o.type != ZYDIS_OPERAND_TYPE_REGISTER)
        return {};
    auto const r = o.reg.value;
    auto const number = register_number(r);
    auto const natural = static_cast<std::uint8_t>(z.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? 8 : 4);
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_CONTROL:
        return {operand_kind::control_register, number, natural};
    case ZYDIS_REGCLASS_DEBUG:
        return {operand_kind::debug_register, number, natural};
    default:
        break;
    }
    if (r >= ZYDIS_REGISTER_AH and r <= ZYDIS_REGISTER_BH)
        return {operand_kind::high_byte, static_cast<std::uint8_t>(r - ZYDIS_REGISTER_AH), 1};
    if (r >= ZYDIS_REGISTER_SPL and r <= ZYDIS_REGISTER_R15B)
        return {operand_kind::gpr, static_cast<std::uint8_t>(r - ZYDIS_REGISTER_SPL + 4), 1};
    return {operand_kind::gpr, number, size};
}

auto segment_of(ZydisRegister r) -> hv::x86::segment_name {
    return static_cast<hv::x86::segment_name>(r - ZYDIS_REGISTER_ES);
}

/// Segment names that make no difference in this mode compare equal.
auto same_segment(code_size mode, hv::x86::segment_name a, hv::x86::segment_name b) -> bool {
    using enum hv::x86::segment_name;
    if (a == b)
        return true;
    return mode == code_size::bits_64 and a != fs and a != gs and b != fs and b != gs and
           (a == ss) == (b == ss); // SS decides between #SS and #GP
}

auto operands_agree(hv::decoded const& i, ZydisDecodedInstruction const& z, ZydisDecodedOperand const* o,
                    code_size mode) -> bool {
    if (is_string(i.op)) {
        auto const* source = std::find_if(o, o + z.operand_count, [&](ZydisDecodedOperand const& one) {
            return one.type == ZYDIS_OPERAND_TYPE_MEMORY and one.mem.base != ZYDIS_REGISTER_DI and
                   one.mem.base != ZYDIS_REGISTER_EDI and one.mem.base != ZYDIS_REGISTER_RDI;
        });
        auto const* memory = std::find_if(o, o + z.operand_count, [&](ZydisDecodedOperand const& one) {
            return one.type == ZYDIS_OPERAND_TYPE_MEMORY;
        });
        return memory->size / 8 == i.operand_size and z.address_width / 8 == i.address_size and
               (source == o + z.operand_count or same_segment(mode, segment_of(source->mem.segment), i.memory.segment));
    }
    hv::operand const ours[]{i.destination, i.source, i.third};
    unsigned at{};
    for (unsigned n{}; n < z.operand_count; ++n) {
        if (o[n].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
            continue;
        while (at < 3 and ours[at].kind == operand_kind::none)
            ++at;
        if (at == 3)
            return false;
        auto const& mine = ours[at++];
        auto theirs = as_ours(z, o[n]);
        if (theirs.kind != mine.kind or theirs.number != mine.number)
            return false;
        if (mine.kind == operand_kind::immediate) {
            auto const mask = i.operand_size == 8 ? ~0ull : (1ull << 8 * i.operand_size) - 1;
            if ((o[n].imm.value.u & mask) != (i.immediate & mask))
                return false;
            continue;
        }
        if (theirs.size != mine.size and i.op != operation::invlpg)
            return false;
        if (mine.kind == operand_kind::memory) {
            auto const& m = i.memory;
            auto const& t = o[n].mem;
            auto const rip = t.base == ZYDIS_REGISTER_RIP or t.base == ZYDIS_REGISTER_EIP;
            if (rip != m.rip_relative or not same_segment(mode, segment_of(t.segment), m.segment))
                return false;
            if (not rip and
                (t.base == ZYDIS_REGISTER_NONE ? hv::memory_operand::no_register : register_number(t.base)) != m.base)
                return false;
            if ((t.index == ZYDIS_REGISTER_NONE ? hv::memory_operand::no_register : register_number(t.index)) !=
                m.index)
                return false;
            if (m.index != hv::memory_operand::no_register and std::max<int>(t.scale, 1) != m.scale)
                return false;
            auto const displacement = t.disp.has_displacement ? t.disp.value : 0;
            auto const mask = i.address_size == 8 ? ~0ull : (1ull << 8 * i.address_size) - 1;
            if (((static_cast<std::uint64_t>(displacement) ^ static_cast<std::uint64_t>(m.displacement)) & mask) != 0)
                return false;
            if (z.address_width / 8 != i.address_size)
                return false;
        }
    }
    while (at < 3)
        if (ours[at++].kind != operand_kind::none)
            return false;
    return true;
}

/// Where we differ from Zydis 4.0 on purpose.
auto is_allowed(hv::decoded const& i, bool good, ZydisDecodedInstruction const& z, ZydisDecodedOperand const* o,
                bytes const& code) -> bool {
    auto const prefixed = (z.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE) != 0 or i.repeat != hv::repeat_prefix::none;
    switch (i.op) {
    // LOCK MOV CR0 reaches CR8 on AMD processors in 16- and 32-bit code too; Zydis knows it for 64-bit code only.
    case operation::mov_control:
        return not good;
    // The manual forbids 66, F2 and F3 here, but processors that ignore them exist, and their exits need a length.
    case operation::monitor:
    case operation::mwait:
    case operation::monitorx:
    case operation::mwaitx:
    case operation::xsetbv:
    case operation::vmcall:
        return not good and
               (prefixed or std::find(code.begin(), code.begin() + i.length, 0x66) != code.begin() + i.length);
    // MOVSXD r16, r/m16 by the manual; Zydis reads 32 bits.
    case operation::movsx:
        if (z.mnemonic == ZYDIS_MNEMONIC_MOVSXD and i.operand_size == 2 and i.source.size == 2)
            return true;
        break;
    default:
        break;
    }
    // Zydis takes R13D for the base of [index * scale + disp32] with 67 and REX.B, and loses the displacement.
    return good and i.address_size == 4 and i.memory.base == hv::memory_operand::no_register and
           std::any_of(o, o + z.operand_count,
                       [](ZydisDecodedOperand const& one) { return one.mem.base == ZYDIS_REGISTER_R13D; });
}

/// Opcodes with a known mnemonic that we leave alone: MOV, PUSH and POP of segment registers, near CALL and JMP, the
/// one-operand IMUL, SSE instructions that share a name, the reserved NOPs, UD0 and UD1, and what may be XOP.
auto is_left_alone(ZydisDecodedInstruction const& z) -> bool {
    auto const op = z.opcode;
    if (z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
        return op == 0x8c or op == 0x8e or op == 0xe8 or op == 0xe9 or op == 0xeb or (op < 0x40 and (op & 7) >= 6) or
               ((op == 0xf6 or op == 0xf7) and z.mnemonic == ZYDIS_MNEMONIC_IMUL) or
               (op == 0xff and (z.raw.modrm.reg == 2 or z.raw.modrm.reg == 4)) or (op == 0x8f and z.raw.modrm.reg != 0);
    if (z.opcode_map != ZYDIS_OPCODE_MAP_0F)
        return true;
    return op == 0x10 or op == 0x11 or op == 0xc2 or (op >= 0x19 and op <= 0x1e) or
           (op >= 0xa0 and op <= 0xa9 and (op & 7) <= 1);
}

class comparison {
  public:
    comparison() {
        ZydisDecoderInit(&decoders_[0], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
        ZydisDecoderInit(&decoders_[1], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
        ZydisDecoderInit(&decoders_[2], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    }

    void check(bytes const& code, code_size mode) {
        ++total_;
        auto const& decoder = decoders_[mode == code_size::bits_16 ? 0 : mode == code_size::bits_32 ? 1 : 2];
        ZydisDecodedInstruction z{};
        std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands{};
        auto const good = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &z, operands.data()));
        auto const i = hv::decode(code, mode);
        switch (i.status) {
        case decode_status::ok:
            ++agreed_[static_cast<unsigned>(i.op)];
            if (not good)
                differ("ours is ok, theirs is not", code, mode, i, z, operands.data(), good);
            else if (z.length != i.length)
                complain("length", code, mode, i, z);
            else if (not is_named(i.op, z.mnemonic))
                complain("mnemonic", code, mode, i, z);
            else if (operands_matter(i.op) and not operands_agree(i, z, operands.data(), mode))
                differ("operands", code, mode, i, z, operands.data(), good);
            else
                prefix_of(code, mode, i);
            break;
        case decode_status::unsupported:
            ++unsupported_;
            if (good and not is_left_alone(z) and
                std::ranges::any_of(names, [&](name n) { return n.mnemonic == z.mnemonic; }))
                complain("unsupported", code, mode, i, z);
            break;
        case decode_status::undefined:
            ++undefined_;
            if (good and z.mnemonic != ZYDIS_MNEMONIC_UD2)
                complain("undefined", code, mode, i, z);
            break;
        case decode_status::too_long:
            ++too_long_;
            if (good)
                complain("too long", code, mode, i, z);
            break;
        case decode_status::truncated:
            complain("truncated although 15 bytes are there", code, mode, i, z);
            break;
        }
    }

    void report() const {
        for (auto const& [what, count] : complaints_)
            std::printf("  %8lu x %s\n", count.first, what.c_str());
        std::printf("%lu encodings: ok per operation:", total_);
        for (unsigned op{}; op < agreed_.size(); ++op)
            if (auto const* n = std::ranges::find(names, static_cast<operation>(op), &name::op);
                n != std::end(names) and agreed_[op] != 0)
                std::printf(" %s %lu", ZydisMnemonicGetString(n->mnemonic), agreed_[op]);
        std::printf("; undefined %lu, unsupported %lu, too long %lu, allowed differences %lu\n", undefined_,
                    unsupported_, too_long_, allowed_);
    }

    [[nodiscard]] auto total() const -> std::uint64_t { return total_; }
    [[nodiscard]] auto differences() const -> std::uint64_t {
        std::uint64_t sum{};
        for (auto const& [what, count] : complaints_)
            sum += count.first;
        return sum;
    }
    [[nodiscard]] auto seen(operation op) const -> std::uint64_t { return agreed_[static_cast<unsigned>(op)]; }

  private:
    /// One byte less is too little, and the bytes behind do not matter.
    void prefix_of(bytes const& code, code_size mode, hv::decoded const& i) {
        auto const all = std::span{code};
        if (hv::decode(all.first(i.length), mode) != i)
            complain("depends on bytes behind the instruction", code, mode, i, {});
        if (hv::decode(all.first(i.length - 1u), mode).status != decode_status::truncated)
            complain("complete although a byte is missing", code, mode, i, {});
    }

    void differ(char const* what, bytes const& code, code_size mode, hv::decoded const& i,
                ZydisDecodedInstruction const& z, ZydisDecodedOperand const* o, bool good) {
        if (is_allowed(i, good, z, o, code))
            ++allowed_;
        else
            complain(what, code, mode, i, z);
    }

    void complain(char const* what, bytes const& code, code_size mode, hv::decoded const& i,
                  ZydisDecodedInstruction const& z) {
        char text[200];
        std::snprintf(text, sizeof text, "%s: op %u, %s", what, static_cast<unsigned>(i.op),
                      ZydisMnemonicGetString(z.mnemonic));
        auto& entry = complaints_[text];
        if (entry.first++ < 3) {
            char example[100];
            auto at = std::snprintf(example, sizeof example, "%u-bit %u/%u:", 8 * static_cast<unsigned>(mode), i.length,
                                    z.length);
            for (auto const b : code)
                at += std::snprintf(example + at, sizeof example - static_cast<unsigned>(at), " %02x", b);
            std::printf("%s %s\n", text, example);
        }
    }

    std::array<ZydisDecoder, 3> decoders_{};
    std::array<std::uint64_t, 128> agreed_{};
    std::uint64_t total_{}, undefined_{}, unsupported_{}, too_long_{}, allowed_{};
    std::map<std::string, std::pair<std::uint64_t, int>> complaints_{};
};

constexpr code_size modes[]{code_size::bits_16, code_size::bits_32, code_size::bits_64};

using prefix_list = std::vector<std::uint8_t>;

/// Fifteen bytes, written front to back.
struct writer {
    bytes code{};
    unsigned at{};

    void put(unsigned byte) { code[at++] = static_cast<std::uint8_t>(byte); }
};

auto random_bytes(std::mt19937_64& random) -> bytes {
    bytes code{};
    for (auto& b : code)
        b = static_cast<std::uint8_t>(random());
    return code;
}

} // namespace

TEST_CASE("the decoder agrees with Zydis on every opcode with every ModRM under every single prefix") {
    comparison all;
    std::mt19937_64 random{1};
    std::vector<prefix_list> const prefixes{
        {},     {0x66}, {0x67}, {0xf2}, {0xf3},       {0xf0},       {0x26},       {0x2e},
        {0x36}, {0x3e}, {0x64}, {0x65}, {0x66, 0x67}, {0x66, 0xf0}, {0x66, 0x48}, {0x48},
        {0x41}, {0x42}, {0x44}, {0x40}, {0x4f},       {0x67, 0x4f}, {0xf0, 0x48}, {0x66, 0xf3},
    };
    for (auto const mode : modes)
        for (auto const& prefix : prefixes)
            for (unsigned opcode{}; opcode < 512; ++opcode)
                for (unsigned modrm{}; modrm < 256; ++modrm) {
                    writer w{random_bytes(random)};
                    for (auto const byte : prefix)
                        w.put(byte);
                    if (opcode >= 256)
                        w.put(0x0f);
                    w.put(opcode);
                    w.put(modrm);
                    all.check(w.code, mode);
                }
    all.report();
    CHECK(all.differences() == 0);
    CHECK(all.total() > 100'000);
}

TEST_CASE("the decoder agrees with Zydis on every SIB byte") {
    comparison all;
    std::mt19937_64 random{2};
    for (auto const mode : modes)
        for (unsigned prefix{}; prefix < 32; ++prefix)
            for (unsigned modrm{4}; modrm < 0xc0; modrm += 8)
                for (unsigned sib{}; sib < 256; ++sib) {
                    writer w{random_bytes(random)};
                    if ((prefix & 16) != 0)
                        w.put(0x67);
                    w.put(mode == code_size::bits_64 ? 0x40 | (prefix & 15) : 0x66);
                    w.put(0x8b);
                    w.put(modrm);
                    w.put(sib);
                    all.check(w.code, mode);
                }
    all.report();
    CHECK(all.differences() == 0);
}

TEST_CASE("the decoder agrees with Zydis on random bytes behind random prefixes") {
    comparison all;
    std::mt19937_64 random{3};
    constexpr std::uint8_t prefixes[]{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x41};
    for (unsigned n{}; n < 1'500'000; ++n) {
        auto code = random_bytes(random);
        auto const count = random() % 16 < 12 ? random() % 4 : random() % 16;
        for (unsigned i{}; i < count; ++i)
            code[i] = prefixes[random() % std::size(prefixes)];
        if (count < 14 and (random() & 1) != 0)
            code[count] = 0x0f;
        else if (count < 11 and random() % 16 == 0) {
            code[count] = 0xc4;
            code[count + 1] = static_cast<std::uint8_t>((code[count + 1] & 0xe0) | 2);
            if (random() % 4 != 0)
                code[count + 2] &= 0xf8;
            code[count + 3] = 0xf7;
        }
        all.check(code, modes[random() % 3]);
    }
    all.report();
    CHECK(all.differences() == 0);
}

TEST_CASE("every operation has been seen by the comparison") {
    comparison all;
    std::mt19937_64 random{4};
    for (unsigned opcode{}; opcode < 0x201; ++opcode)
        for (unsigned modrm{}; modrm < 256; ++modrm)
            for (auto const mode : modes)
                for (unsigned const repeat : {0u, 0xf3u}) {
                    writer w{};
                    if (repeat != 0)
                        w.put(repeat);
                    if (opcode < 0x200) {
                        if (opcode >= 0x100)
                            w.put(0x0f);
                        w.put(opcode);
                    } else {
                        for (unsigned const byte : {0xc4u, 0xe2u, 0x70u, 0xf7u})
                            w.put(byte);
                    }
                    w.put(modrm);
                    all.check(w.code, mode);
                }
    for (auto const& n : names)
        CHECK(all.seen(n.op) > 0);
    CHECK(all.differences() == 0);
}
