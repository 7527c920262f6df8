// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/host.hpp>
#include <hv/memory/guest_backing.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// A segment as its user sees it; an empty slot has no bytes.
struct segment_info {
    std::uint64_t bytes{};
    bool system_memory{};
};

/// The memory segments of a guest: numbered slots of host memory, which live on after their slot is freed for as long
/// as a mapping holds them.
template <host Host>
class memory_segments {
  public:
    static constexpr unsigned slot_count{5};
    static constexpr unsigned most_mappings{8};

    /// Memory that a slot, mappings, or both refer to.
    struct object {
        guest_backing<Host> memory{};
        unsigned references{};
        bool system_memory{};
    };

    /// invalid_argument: no such slot, or no whole number of pages, or the slot holds something else; already_exists:
    /// it holds the same; out_of_memory.
    auto allocate(Host& host, unsigned slot, std::uint64_t bytes, bool system_memory) -> status {
        if (slot >= slot_count or bytes == 0 or bytes % page_size != 0)
            return status::invalid_argument;
        if (auto const* const old = slots_[slot]; old != nullptr)
            return old->memory.bytes() == bytes and old->system_memory == system_memory ? status::already_exists
                                                                                        : status::invalid_argument;
        auto* free = objects_.data();
        while (free->references != 0)
            ++free; // one is free: there are as many as slots and mappings together
        if (auto const error = free->memory.create(host, bytes); error != status::ok)
            return error;
        free->references = 1;
        free->system_memory = system_memory;
        slots_[slot] = free;
        return status::ok;
    }
    /// invalid_argument if there is no such slot. An empty slot stays empty.
    auto free(Host& host, unsigned slot) -> status {
        if (slot >= slot_count)
            return status::invalid_argument;
        if (slots_[slot] != nullptr)
            drop(host, *slots_[slot]);
        slots_[slot] = nullptr;
        return status::ok;
    }
    /// invalid_argument if there is no such slot.
    [[nodiscard]] auto info(unsigned slot) const -> result<segment_info> {
        if (slot >= slot_count)
            return status::invalid_argument;
        auto const* const held = slots_[slot];
        return held == nullptr ? segment_info{} : segment_info{held->memory.bytes(), held->system_memory};
    }
    /// What the slot holds, or null.
    [[nodiscard]] auto find(unsigned slot) -> object* { return slot < slot_count ? slots_[slot] : nullptr; }

    static void hold(object& o) { ++o.references; }
    void drop(Host& host, object& o) {
        if (--o.references == 0)
            o.memory.destroy(host);
    }

  private:
    std::array<object, slot_count + most_mappings> objects_{};
    std::array<object*, slot_count> slots_{};
};

} // namespace hv
