// SPDX-License-Identifier: BSD-2-Clause
// What no second decoder needs to tell: limits, prefixes, and that decoding happens at compile time too.
#include <hv/emulate/decode.hpp>

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace {

using hv::code_size;
using hv::decode_status;
using hv::operand_kind;
using hv::operation;

template <typename... Bytes>
constexpr auto decode(code_size mode, Bytes... values) -> hv::decoded {
    std::array<std::uint8_t, sizeof...(Bytes)> const code{static_cast<std::uint8_t>(values)...};
    return hv::decode(code, mode);
}

// mov rax, [rcx + 4 * rcx + 16]
constexpr auto load = decode(code_size::bits_64, 0x48, 0x8b, 0x44, 0x89, 0x10);
static_assert(load.status == decode_status::ok and load.op == operation::mov and load.length == 5);
static_assert(load.destination == hv::operand{operand_kind::gpr, 0, 8});
static_assert(load.memory.base == 1 and load.memory.index == 1 and load.memory.scale == 4);
static_assert(load.memory.displacement == 16 and load.memory.segment == hv::x86::segment_name::ds);

} // namespace

TEST_CASE("instructions that exit are decoded in every mode and under prefixes") {
    struct row {
        std::array<std::uint8_t, 3> code;
        unsigned length;
        operation op;
    };
    constexpr row rows[]{
        {{0x0f, 0xa2}, 2, operation::cpuid},
        {{0xf4}, 1, operation::hlt},
        {{0x0f, 0x32}, 2, operation::rdmsr},
        {{0x0f, 0x30}, 2, operation::wrmsr},
        {{0xe4, 0x70}, 2, operation::in},
        {{0xe7, 0x70}, 2, operation::out},
        {{0xed}, 1, operation::in},
        {{0xee}, 1, operation::out},
        {{0x6c}, 1, operation::ins},
        {{0x6f}, 1, operation::outs},
        {{0x0f, 0x31}, 2, operation::rdtsc},
        {{0x0f, 0x01, 0xf9}, 3, operation::rdtscp},
        {{0x0f, 0x33}, 2, operation::rdpmc},
        {{0x0f, 0x01, 0xfd}, 3, operation::rdpru},
        {{0x0f, 0x08}, 2, operation::invd},
        {{0x0f, 0x09}, 2, operation::wbinvd},
        {{0x0f, 0x01, 0xc8}, 3, operation::monitor},
        {{0x0f, 0x01, 0xc9}, 3, operation::mwait},
        {{0x0f, 0x01, 0xd1}, 3, operation::xsetbv},
        {{0x0f, 0x01, 0xd9}, 3, operation::vmmcall},
        {{0x0f, 0x01, 0xc1}, 3, operation::vmcall},
        {{0x0f, 0x01, 0x38}, 3, operation::invlpg},
        {{0x0f, 0x06}, 2, operation::clts},
        {{0x0f, 0x01, 0xf0}, 3, operation::lmsw},
        {{0x0f, 0x01, 0xe0}, 3, operation::smsw},
        {{0x0f, 0x20, 0xc0}, 3, operation::mov_control},
        {{0x0f, 0x23, 0xf8}, 3, operation::mov_debug},
        {{0x0f, 0xaa}, 2, operation::rsm},
    };
    for (auto const mode : {code_size::bits_16, code_size::bits_32, code_size::bits_64})
        for (auto const& row : rows)
            for (unsigned const prefix : {0u, 0x66u, 0x67u, 0xf2u, 0xf3u, 0x2eu, 0x65u}) {
                std::array<std::uint8_t, 4> code{static_cast<std::uint8_t>(prefix)};
                std::copy(row.code.begin(), row.code.end(), code.begin() + 1);
                auto const i = hv::decode(std::span{code}.subspan(prefix == 0 ? 1 : 0), mode);
                CAPTURE(static_cast<unsigned>(mode), prefix, row.code[0], row.code[1]);
                CHECK(i.status == decode_status::ok);
                CHECK(i.op == row.op);
                CHECK(i.length == row.length + (prefix != 0));
            }
}

TEST_CASE("PAUSE is F3 NOP, and XCHG with R8 is neither") {
    CHECK(decode(code_size::bits_64, 0xf3, 0x90).op == operation::pause);
    CHECK(decode(code_size::bits_64, 0x90).op == operation::nop);
    CHECK(decode(code_size::bits_64, 0x41, 0x90).op == operation::xchg);
    CHECK(decode(code_size::bits_32, 0x87, 0xc0).op == operation::xchg);
}

TEST_CASE("fifteen bytes are the longest instruction") {
    std::array<std::uint8_t, 16> code{};
    code.fill(0x66);
    code[14] = 0x90;
    CHECK(hv::decode(code, code_size::bits_64).length == 15);
    CHECK(hv::decode(code, code_size::bits_64).status == decode_status::ok);
    code[14] = 0x66;
    code[15] = 0x90;
    CHECK(hv::decode(code, code_size::bits_64).status == decode_status::too_long);
    CHECK(hv::decode(std::span{code}.first(15), code_size::bits_64).status == decode_status::too_long);
    CHECK(hv::decode(std::span{code}.first(14), code_size::bits_64).status == decode_status::truncated);
    CHECK(hv::decode({}, code_size::bits_64).status == decode_status::truncated);
}

TEST_CASE("only the REX directly before the opcode counts") {
    CHECK(decode(code_size::bits_64, 0x48, 0x66, 0x89, 0xc8).operand_size == 2);
    CHECK(decode(code_size::bits_64, 0x66, 0x48, 0x89, 0xc8).operand_size == 8);
    CHECK(decode(code_size::bits_64, 0x48, 0x44, 0x89, 0xc8).operand_size == 4);
    CHECK(decode(code_size::bits_32, 0x48).op == operation::dec);
}

TEST_CASE("LOCK is for read-modify-write of memory only") {
    CHECK(decode(code_size::bits_64, 0xf0, 0x01, 0x00).lock);
    CHECK(decode(code_size::bits_64, 0xf0, 0x01, 0x00).status == decode_status::ok);
    CHECK(decode(code_size::bits_64, 0xf0, 0x01, 0xc0).status == decode_status::undefined); // register
    CHECK(decode(code_size::bits_64, 0xf0, 0x03, 0x00).status == decode_status::undefined); // memory is the source
    CHECK(decode(code_size::bits_64, 0xf0, 0x39, 0x00).status == decode_status::undefined); // CMP
    CHECK(decode(code_size::bits_64, 0xf0, 0x0f, 0xa3, 0x00).status == decode_status::undefined); // BT
    CHECK(decode(code_size::bits_64, 0xf0, 0x89, 0x00).status == decode_status::undefined);       // MOV
    CHECK(decode(code_size::bits_32, 0xf0, 0x0f, 0x22, 0xc0).destination.number == 8);            // CR8 by another name
}

TEST_CASE("control registers that do not exist are undefined") {
    for (unsigned number{}; number < 16; ++number) {
        auto const rex = number >= 8 ? 0x44 : 0x40;
        auto const i = decode(code_size::bits_64, rex, 0x0f, 0x20, 0xc0 | (number & 7) << 3);
        auto const exists = number == 0 or (number >= 2 and number <= 4) or number == 8;
        CHECK(i.status == (exists ? decode_status::ok : decode_status::undefined));
        auto const debug = decode(code_size::bits_64, rex, 0x0f, 0x21, 0xc0 | (number & 7) << 3);
        CHECK(debug.status == (number < 8 ? decode_status::ok : decode_status::undefined));
    }
}

TEST_CASE("a segment override changes the segment of memory and of nothing else") { // XSA-123
    auto const plain = decode(code_size::bits_32, 0x01, 0xc8);
    auto overridden = decode(code_size::bits_32, 0x64, 0x01, 0xc8);
    CHECK(overridden.destination == plain.destination);
    CHECK(overridden.source == plain.source);
    CHECK(decode(code_size::bits_64, 0x8b, 0x45, 0x00).memory.segment == hv::x86::segment_name::ss);
    CHECK(decode(code_size::bits_64, 0x65, 0x8b, 0x45, 0x00).memory.segment == hv::x86::segment_name::gs);
    CHECK(decode(code_size::bits_64, 0x41, 0x8b, 0x45, 0x00).memory.segment == hv::x86::segment_name::ds); // R13
}
