// SPDX-License-Identifier: BSD-2-Clause
// Random bytes on random processors: whatever happens, a fault or a refusal has changed nothing, and a processor that
// has to wait for its devices ends up where one that does not is.
#include "emulate/test_cpu.hpp"

#include <catch2/catch.hpp>

#include <random>

namespace {

using hv::code_size;
using hv::operation;
using hv::outcome_kind;
using hv::test::code_page;
using hv::test::cpu;
using hv::test::data_page;
using hv::test::device_page;
using hv::x86::gpr;
using hv::x86::segment_name;

/// A processor whose devices answer only when the instruction is run again.
struct waiting_cpu : cpu {
    std::vector<std::uint64_t> answers; ///< of this instruction or element
    std::size_t replayed{};
    bool pending{};
    bool impatient{}; ///< touched a device while an answer was missing

    template <typename Access>
    auto answer(Access access) -> std::uint64_t {
        impatient = impatient or pending;
        if (replayed < answers.size())
            return answers[replayed++];
        answers.push_back(access());
        pending = true;
        return 0xdead'dead'dead'dead;
    }
    auto read_mmio(hv::gpa address, unsigned size) -> std::uint64_t {
        return answer([&] { return cpu::read_mmio(address, size); });
    }
    void write_mmio(hv::gpa address, unsigned size, std::uint64_t value) {
        answer([&] { return cpu::write_mmio(address, size, value), 0ull; });
    }
    auto read_port(std::uint16_t port, unsigned size) -> std::uint32_t {
        return static_cast<std::uint32_t>(answer([&] { return cpu::read_port(port, size); }));
    }
    void write_port(std::uint16_t port, unsigned size, std::uint32_t value) {
        answer([&] { return cpu::write_port(port, size, value), 0ull; });
    }
    auto access_pending() -> bool { return pending; }
    void accesses_committed() {
        answers.clear();
        replayed = 0;
    }
    void retry() {
        pending = false;
        replayed = 0;
    }
};
static_assert(hv::emulation_cpu<waiting_cpu> and hv::restartable_cpu<waiting_cpu>);

using generator = std::mt19937_64;

/// Addresses that hit memory, devices, edges and nothing.
auto address(generator& random) -> std::uint64_t {
    switch (random() % 8) {
    case 0:
        return random();
    case 1:
        return device_page + random() % 0x1000;
    case 2:
        return data_page + 0xff8 + random() % 16;
    case 3:
        return data_page + 0x1ff8 + random() % 16;
    case 4:
        return 0x7fff'ffff'fff0 + random() % 32;
    case 5:
        return 0 - random() % 16;
    default:
        return data_page + random() % 0x2000;
    }
}

void randomize(cpu& c, generator& random) {
    if (random() % 2 == 0) {
        hv::test::enable_paging(c);
        for (auto const page : {code_page, code_page + 0x1000, data_page, data_page + 0x1000, data_page + 0x2000})
            if (random() % 8 != 0)
                hv::test::map(c, page, page, hv::test::page::all);
        hv::test::map(c, data_page + 0x1000, data_page + 0x1000, random() % 8);
        hv::test::map(c, device_page, device_page, hv::test::page::all);
    }
    for (auto& value : c.register_file::gpr)
        value = address(random);
    if (random() % 4 != 0)
        c[gpr::rcx] = random() % 40;
    c[gpr::rsp] = data_page + random() % 0x2000;
    c.set_rflags(2 | (random() & 0x47'f5d5));
    c.register_file::cpl = random() % 4 == 0 ? 3 : 0;
    c.cr[0] |= random() & (hv::x86::cr0::am | hv::x86::cr0::ts);
    c.cr[4] |= random() & (hv::x86::cr4::de | hv::x86::cr4::umip | hv::x86::cr4::smap | hv::x86::cr4::smep);
    for (auto const name :
         {segment_name::es, segment_name::ss, segment_name::ds, segment_name::fs, segment_name::gs, segment_name::tr}) {
        if (random() % 4 == 0)
            c[name].limit = static_cast<std::uint32_t>(address(random));
        if (random() % 4 == 0)
            c[name].base = address(random);
        if (random() % 8 == 0)
            c[name].access = static_cast<std::uint32_t>(random() & 0x1f0ff);
    }
    if (random() % 8 == 0)
        c.cr[0] &= ~hv::x86::cr0::pe;
    c.refuses_control_registers = random() % 2 == 0;
    c.dr[7] = random() % 2 << 13;
    for (unsigned at{}; at < 0x2000; at += 8)
        c.ram.put(data_page + at, 8, random());
}

/// Bytes that often are an instruction the emulator knows.
void write_code(cpu& c, generator& random) {
    std::array<std::uint8_t, 15> code{};
    for (auto& byte : code)
        byte = static_cast<std::uint8_t>(random());
    constexpr std::uint8_t prefixes[]{0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x48, 0x65, 0x2e};
    auto const count = random() % 3;
    for (unsigned n{}; n < count; ++n)
        code[n] = prefixes[random() % std::size(prefixes)];
    constexpr std::uint8_t strings[]{0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac,
                                     0xad, 0xae, 0xaf, 0x6c, 0x6d, 0x6e, 0x6f};
    if (random() % 4 == 0)
        code[count] = 0x0f;
    else if (random() % 4 == 0)
        code[count] = strings[random() % std::size(strings)];
    else if (random() % 2 == 0)
        code[count] &= 0x3f;
    c.set_rip(random() % 4 == 0 ? code_page + 0xff4 + random() % 12 : code_page);
    for (unsigned n{}; n < code.size(); ++n)
        if (auto* const at = c.ram.at(hv::gpa{c.rip() + n}, hv::access::write))
            *at = static_cast<std::byte>(code[n]);
}

/// Memory without the page tables, in which a walk sets flags.
auto data_of(cpu& c) -> std::vector<std::byte> {
    std::vector<std::byte> all;
    for (auto const& [number, content] : c.ram.pages)
        if (number < hv::test::tables >> 12)
            all.insert(all.end(), content->begin(), content->end());
    return all;
}

} // namespace

TEST_CASE("random instructions on random processors fault cleanly or complete") {
    generator random{20};
    std::map<outcome_kind, unsigned> seen;
    std::map<operation, unsigned> executed;
    constexpr code_size modes[]{code_size::bits_16, code_size::bits_32, code_size::bits_64};
    for (unsigned n{}; n < 40'000; ++n) {
        auto const mode = modes[random() % 3];
        auto c = hv::test::make_cpu(mode);
        c.ram.add(code_page + 0x1000);
        randomize(c, random);
        for (unsigned again{}; again < 8; ++again) {
            write_code(c, random);
            c.log.clear();
            auto const before = c.registers();
            auto const memory = data_of(c);
            auto const o = hv::step(c);
            ++seen[o.kind];
            auto const code =
                hv::decode(std::span{o.instruction.bytes}.first(o.instruction.count), hv::detail::code_size_of(c));
            auto const is_rep =
                code.repeat != hv::repeat_prefix::none and code.op >= operation::movs and code.op <= operation::outs;
            switch (o.kind) {
            case outcome_kind::done:
                ++executed[code.op];
                if (c.rip() != before.rip + o.length and c.rip() != ((before.rip + o.length) & 0xffff'ffff))
                    FAIL("RIP");
                if ((c.rflags() & hv::x86::rflags::rf) != 0)
                    FAIL("RF");
                break;
            case outcome_kind::fault:
                if (not o.exception.valid() or c.rip() != before.rip)
                    FAIL("fault");
                [[fallthrough]];
            case outcome_kind::unsupported:
                // Port reads of the I/O bitmap in a device are reads before the fault; they change no register.
                if (not is_rep and (c.registers() != before or data_of(c) != memory))
                    FAIL("state changed: op " << static_cast<unsigned>(code.op));
                break;
            case outcome_kind::again:
                if (not is_rep or c.rip() != before.rip)
                    FAIL("again");
                break;
            case outcome_kind::pending:
                FAIL("pending");
                break;
            }
        }
    }
    for (auto const kind : {outcome_kind::done, outcome_kind::fault, outcome_kind::unsupported, outcome_kind::again})
        CHECK(seen[kind] > 50);
    CHECK(seen[outcome_kind::done] > 20'000);
    for (auto op = operation::add; op <= operation::nop; op = static_cast<operation>(static_cast<int>(op) + 1))
        if (op != operation::bextr) {
            CAPTURE(static_cast<int>(op));
            CHECK(executed[op] > 0);
        }
}

TEST_CASE("an instruction that waits for its devices ends as if they had answered at once") {
    generator seeds{21};
    unsigned waits{};
    constexpr code_size modes[]{code_size::bits_16, code_size::bits_32, code_size::bits_64};
    for (unsigned n{}; n < 30'000; ++n) {
        auto const seed = seeds();
        auto const mode = modes[seed % 3];
        auto const prepare = [&](cpu& c) {
            generator random{seed};
            static_cast<cpu&>(c) = hv::test::make_cpu(mode);
            c.ram.add(code_page + 0x1000);
            randomize(c, random);
            for (auto const name : {gpr::rbx, gpr::rsi, gpr::rdi, gpr::rax})
                if (random() % 2 == 0)
                    c[name] = random() % 2 == 0 ? device_page + random() % 0x1000 : data_page + 0x1ff8 + random() % 8;
            c[gpr::rcx] = random() % 40;
            write_code(c, random);
        };
        cpu direct;
        prepare(direct);
        waiting_cpu waiting;
        prepare(waiting);
        auto const expected = hv::step(direct);
        auto o = hv::step(waiting);
        for (unsigned tries{}; o.kind == outcome_kind::pending; ++tries) {
            ++waits;
            if (tries > 1000)
                FAIL("never ends");
            waiting.retry();
            o = hv::step(waiting);
        }
        if (waiting.impatient)
            FAIL("a device was touched while an answer was missing");
        if (o.kind != expected.kind or o.exception != expected.exception or o.qualification != expected.qualification or
            waiting.registers() != direct.registers() or waiting.log != direct.log or
            data_of(waiting) != data_of(direct)) {
            auto const i = hv::decode(std::span{o.instruction.bytes}.first(o.instruction.count), mode);
            FAIL("differs: op " << static_cast<unsigned>(i.op) << " kinds " << static_cast<unsigned>(o.kind) << ' '
                                << static_cast<unsigned>(expected.kind) << " seed " << seed);
        }
    }
    CHECK(waits > 3'000);
}
