// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/status.hpp>
#include <hv/x86/cpuid.hpp>
#include <hv/x86/registers.hpp>

#include <bit>
#include <cstdint>

namespace hv {

/// How the virtual processors of a machine are arranged. Number n is a thread of a core of a socket, counted in that
/// order; its APIC id has a field of bits for each, as wide as the most of them need, so that ids may leave gaps. SDM
/// Vol. 3A, "Hierarchical Mapping of Shared Resources".
struct topology {
    std::uint32_t sockets{1};
    std::uint32_t cores{1};   ///< of a socket
    std::uint32_t threads{1}; ///< of a core

    constexpr auto operator==(topology const&) const -> bool = default;

    /// Whether a machine with at most `most` processors, not above 254, can be arranged so. invalid_argument: none of
    /// something, or too many in all; out_of_range: an APIC id would not be below 255.
    [[nodiscard]] constexpr auto fits(std::uint32_t most) const -> status {
        if (sockets == 0 or cores == 0 or threads == 0)
            return status::invalid_argument;
        if (threads > most or cores > most / threads or sockets > most / (threads * cores))
            return status::invalid_argument;
        return apic_id(processors() - 1) < 255 ? status::ok : status::out_of_range;
    }

    [[nodiscard]] constexpr auto processors() const -> std::uint32_t { return sockets * of_socket(); }
    /// Processors of one socket.
    [[nodiscard]] constexpr auto of_socket() const -> std::uint32_t { return cores * threads; }

    /// How many bits of an APIC id tell the threads of a core.
    [[nodiscard]] constexpr auto thread_bits() const -> unsigned { return bits_for(threads); }
    /// How many tell the processors of a socket.
    [[nodiscard]] constexpr auto socket_bits() const -> unsigned { return bits_for(cores) + thread_bits(); }

    [[nodiscard]] constexpr auto apic_id(std::uint32_t processor) const -> std::uint32_t {
        return socket_of(processor) << socket_bits() | core_of(processor) << thread_bits() | processor % threads;
    }
    [[nodiscard]] constexpr auto socket_of(std::uint32_t processor) const -> std::uint32_t {
        return processor / of_socket();
    }
    /// Within its socket.
    [[nodiscard]] constexpr auto core_of(std::uint32_t processor) const -> std::uint32_t {
        return processor / threads % cores;
    }

  private:
    [[nodiscard]] static constexpr auto bits_for(std::uint32_t values) -> unsigned {
        return static_cast<unsigned>(std::bit_width(values - 1));
    }
};

/// Whether CPUID leaf 0 names AMD or its licensee.
[[nodiscard]] constexpr auto is_amd(x86::cpuid_result const& leaf_0) -> bool {
    return leaf_0.ebx == 0x68747541 or leaf_0.ebx == 0x6f677948; // Auth, Hygo
}

/// Whether a processor of that vendor has the leaf at all: some of those below are one vendor's.
[[nodiscard]] constexpr auto belongs_to_vendor(std::uint32_t function, bool amd) -> bool {
    switch (function) {
    case 0x4:
    case 0x1f:
        return not amd;
    case 0x8000001d:
    case 0x8000001e:
        return amd;
    default:
        return true;
    }
}

namespace detail {

/// `value` with a field of it replaced by `what`, or by the most that it holds.
[[nodiscard]] constexpr auto with_field(std::uint32_t value, unsigned first, unsigned width, std::uint32_t what)
    -> std::uint32_t {
    auto const most = (1u << width) - 1;
    return (value & ~(most << first)) | (what < most ? what : most) << first;
}

/// The leaf of a cache, in the layout of both vendors' leaves: the first two levels belong to a core, others to a
/// socket. A power of two on AMD's too: their guests divide APIC ids by it.
constexpr void show_sharing(x86::cpuid_result& cache, topology const& shape) {
    bool const of_core{(cache.eax >> 5 & 7) < 3};
    cache.eax = with_field(cache.eax, 14, 12, (1u << (of_core ? shape.thread_bits() : shape.socket_bits())) - 1);
}

} // namespace detail

/// Enters the place of a processor into those of its CPUID leaves that tell it, by the vendor that leaf 0 names. SDM
/// Vol. 2A, "CPUID—CPU Identification", leaves 01H, 04H, 0BH and 1FH; APM Vol. 3, "Obtaining Processor Information Via
/// the CPUID Instruction", functions 0000_0001h, 0000_000Bh, 8000_0001h, 8000_0008h, 8000_001Dh and 8000_001Eh. Leaves
/// 4 and 8000_001Dh keep the sizes they have.
template <typename Leaves>
[[gnu::cold]] constexpr void show_topology(Leaves& leaves, topology const& shape, std::uint32_t processor) {
    namespace bits = x86::cpuid_bits;
    constexpr std::uint32_t most_caches{8};
    constexpr std::uint32_t thread_level{1}, core_level{2};
    auto const id = shape.apic_id(processor);
    auto const together = shape.of_socket();
    auto const* const name = leaves.find(0, 0);
    bool const amd{name != nullptr and is_amd(name->values)};
    auto const set = [](std::uint32_t& where, std::uint32_t what, bool on) {
        where = (where & ~what) | (on ? what : 0);
    };

    if (auto* const leaf = leaves.find(1, 0)) {
        auto& v = leaf->values;
        v.ebx = detail::with_field(v.ebx, 16, 8, amd ? together : 1u << shape.socket_bits());
        v.ebx = (v.ebx & 0x00ffffff) | id << 24;
        set(v.edx, bits::leaf1_edx::htt, together > 1);
    }
    for (std::uint32_t i{0}; i != most_caches; ++i) {
        if (auto* const leaf = leaves.find(4, i); leaf != nullptr and (leaf->values.eax & 0x1f) != 0) {
            detail::show_sharing(leaf->values, shape);
            auto const cores = (1u << (shape.socket_bits() - shape.thread_bits())) - 1;
            leaf->values.eax = detail::with_field(leaf->values.eax, 26, 6, cores);
        }
        if (auto* const leaf = leaves.find(0x8000001d, i); leaf != nullptr and (leaf->values.eax & 0x1f) != 0)
            detail::show_sharing(leaf->values, shape);
    }
    for (auto const function : {0xbu, 0x1fu}) {
        if (auto* const leaf = leaves.find(function, 0))
            leaf->values = {shape.thread_bits(), shape.threads, thread_level << 8, id};
        if (auto* const leaf = leaves.find(function, 1))
            leaf->values = {shape.socket_bits(), together, core_level << 8 | 1, id};
    }
    if (not amd)
        return;
    auto* const place = leaves.find(0x8000001e, 0);
    if (place != nullptr)
        place->values = {.eax = id,
                         .ebx = (shape.threads - 1) << 8 | shape.core_of(processor),
                         .ecx = shape.socket_of(processor)}; // one node a socket
    if (auto* const leaf = leaves.find(0x80000001, 0)) {
        set(leaf->values.ecx, bits::extended1_ecx::cmp_legacy, together > 1);
        set(leaf->values.ecx, bits::extended1_ecx::topology_extensions, place != nullptr);
    }
    if (auto* const leaf = leaves.find(0x80000008, 0)) {
        leaf->values.ecx = detail::with_field(leaf->values.ecx, 0, 8, together - 1);
        leaf->values.ecx = detail::with_field(leaf->values.ecx, 12, 4, shape.socket_bits());
    }
}

} // namespace hv
