// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/emulate/guest_access.hpp>
#include <hv/memory/change_word.hpp>

#include <cstddef>
#include <cstdint>

namespace hv::detail {

/// Bytes that the processor itself reads and writes: of a descriptor table, a task state segment, a stack. They lie in
/// memory, in one page or in two.
class system_bytes {
  public:
    [[nodiscard, gnu::cold, gnu::noinline]] auto read(unsigned offset, unsigned size) const -> std::uint64_t {
        if (offset + size <= first_size_)
            return load(first_ + offset, size);
        std::uint64_t value{};
        for (unsigned i{0}; i < size; ++i)
            value |= load(at(offset + i), 1) << (8 * i);
        return value;
    }
    [[gnu::cold, gnu::noinline]] void write(unsigned offset, unsigned size, std::uint64_t value) const {
        if (offset + size <= first_size_)
            return store(first_ + offset, size, value);
        for (unsigned i{0}; i < size; ++i)
            store(at(offset + i), 1, value >> (8 * i) & 0xff);
    }
    /// As a locked instruction does it: another processor may be looking, unless the callers of `Memory` are serial.
    template <typename Memory>
    void set_bits(Memory const&, unsigned offset, std::uint8_t bits) const {
        set_bits_of<Memory>(byte(offset), bits);
    }
    template <typename Memory>
    void clear_bits(Memory const&, unsigned offset, std::uint8_t bits) const {
        clear_bits_of<Memory>(byte(offset), bits);
    }

    /// Finds `size` bytes, at most 255, at a linear address. `unsupported` where there is no memory.
    template <emulation_cpu Cpu>
    [[nodiscard, gnu::cold]] auto find(Cpu& cpu, paging_state const& paging, std::uint64_t linear, unsigned size,
                                       access wanted) -> obstacle {
        place where{};
        if ((paging.efer & x86::efer::lma) == 0)
            linear &= 0xffff'ffff;
        if (auto const stop = translate_bytes(cpu, paging, gva{linear}, size, wanted, where))
            return stop;
        first_size_ = where.first_size;
        first_ = cpu.memory().at(where.first, wanted);
        second_ = first_size_ == size ? first_ : cpu.memory().at(where.second, wanted);
        return first_ == nullptr or second_ == nullptr ? obstacle{outcome_kind::unsupported} : obstacle{};
    }

  private:
    [[nodiscard]] auto at(unsigned offset) const -> std::byte* {
        return offset < first_size_ ? first_ + offset : second_ + (offset - first_size_);
    }
    [[nodiscard]] auto byte(unsigned offset) const -> std::uint8_t* {
        return reinterpret_cast<std::uint8_t*>(at(offset));
    }

    std::byte* first_{};
    std::byte* second_{};
    unsigned first_size_{};
};

/// Paging as the processor's own accesses to tables see it: they are the supervisor's, whatever runs. SDM Vol. 3A,
/// "Access Rights".
template <emulation_cpu Cpu>
[[nodiscard]] auto system_paging_of(Cpu const& cpu) -> paging_state {
    auto paging = paging_of(cpu);
    paging.cpl = 0;
    paging.rflags &= ~x86::rflags::ac;
    return paging;
}

} // namespace hv::detail
