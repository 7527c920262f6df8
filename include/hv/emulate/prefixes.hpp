// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/instruction.hpp>

#include <cstdint>
#include <span>

namespace hv::detail {

/// The bytes of one instruction, taken front to back. After the first byte that is not there, or the fifteenth, `stop`
/// says why and zeros follow.
class instruction_stream {
  public:
    constexpr explicit instruction_stream(std::span<std::uint8_t const> bytes) : bytes_{bytes} {}

    constexpr auto byte() -> std::uint8_t {
        if (stop_ != decode_status::ok)
            return 0;
        if (at_ == longest_instruction) {
            stop_ = decode_status::too_long;
            return 0;
        }
        if (at_ == bytes_.size()) {
            stop_ = decode_status::truncated;
            return 0;
        }
        return bytes_[at_++];
    }

    constexpr auto little_endian(unsigned count) -> std::uint64_t {
        std::uint64_t value{};
        for (unsigned i{0}; i < count; ++i)
            value |= std::uint64_t{byte()} << (8 * i);
        return value;
    }

    constexpr auto sign_extended(unsigned count) -> std::int64_t {
        auto const unused = 64 - 8 * count;
        return static_cast<std::int64_t>(little_endian(count) << unused) >> unused;
    }

    [[nodiscard]] constexpr auto stop() const -> decode_status { return stop_; }
    [[nodiscard]] constexpr auto taken() const -> unsigned { return at_; }

  private:
    std::span<std::uint8_t const> bytes_;
    unsigned at_{};
    decode_status stop_{decode_status::ok};
};

/// What stands in front of an opcode. SDM Vol. 2A, "Instruction Prefixes" and "REX Prefixes".
struct prefixes {
    bool operand_size{};
    bool address_size{};
    bool lock{};
    repeat_prefix repeat{repeat_prefix::none};
    std::uint8_t rex{}; ///< only a REX directly before the opcode counts
    bool segment_overridden{};
    x86::segment_name segment{x86::segment_name::ds};

    /// Takes `byte` for a legacy prefix, or says that it is none. 64-bit code ignores the four segments that have no
    /// base there; they do not cancel FS or GS either.
    constexpr auto accept(std::uint8_t byte, bool in_64) -> bool {
        using enum x86::segment_name;
        auto const override = [&](x86::segment_name name) {
            if (in_64 and name != fs and name != gs)
                return;
            segment = name;
            segment_overridden = true;
        };
        // clang-format off
        switch (byte) {
        case 0x26: override(es); return true;
        case 0x2e: override(cs); return true;
        case 0x36: override(ss); return true;
        case 0x3e: override(ds); return true;
        case 0x64: override(fs); return true;
        case 0x65: override(gs); return true;
        case 0x66: operand_size = true; return true;
        case 0x67: address_size = true; return true;
        case 0xf0: lock = true; return true;
        case 0xf2: repeat = repeat_prefix::while_not_equal; return true;
        case 0xf3: repeat = repeat_prefix::while_equal; return true;
        default: return false;
        }
        // clang-format on
    }
};

/// Takes the prefixes and the byte behind them, which is returned.
constexpr auto take_prefixes(instruction_stream& from, prefixes& into, bool in_64) -> std::uint8_t {
    for (;;) {
        auto const byte = from.byte();
        if (in_64 and (byte & 0xf0) == 0x40)
            into.rex = byte;
        else if (into.accept(byte, in_64))
            into.rex = 0;
        else
            return byte;
    }
}

} // namespace hv::detail
