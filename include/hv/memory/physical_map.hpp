// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/host.hpp>
#include <hv/lock_order.hpp>
#include <hv/memory/device_windows.hpp>
#include <hv/memory/guest_memory.hpp>
#include <hv/memory/mapping.hpp>
#include <hv/memory/memory_segments.hpp>
#include <hv/memory/nested_table.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hv {

/// All of a guest's physical memory: segments, where they are mapped, and the nested tables that say so to the
/// processor. What is not mapped is a device or nothing.
///
/// `at`, `fault` and the queries may be called while the guest runs, and `dirty` by one thread. Everything else needs
/// all virtual processors out of the guest and excludes every other call: hv::exclusive_access gives that. Calls that
/// take translations away raise `generation`, and a processor that last ran under another generation flushes before it
/// enters.
template <typename Format, host Host, fill Fill = fill::eager>
class guest_physical_map {
  public:
    static constexpr unsigned most_mappings{memory_segments<Host>::most_mappings};
    /// The most pages whose dirty flags one call reads: 1 GiB.
    static constexpr std::uint64_t most_dirty_bytes{std::uint64_t{1} << 30};
    static constexpr std::uint64_t default_limit{std::uint64_t{1} << 40};
    static constexpr bool callers_are_serial{Host::callers_are_serial};

    guest_physical_map() = default;
    guest_physical_map(guest_physical_map const&) = delete;
    auto operator=(guest_physical_map const&) -> guest_physical_map& = delete;

    /// Guest-physical addresses will lie below `limit`, a multiple of the page size. The host must outlive the map.
    auto create(Host& host, std::uint64_t limit = default_limit, leaf_size largest = leaf_size::two_mib) -> status {
        if (limit == 0 or limit % page_size != 0 or limit > table_.limit)
            return status::invalid_argument;
        host_ = &host;
        limit_ = limit;
        return table_.create(host, largest);
    }
    /// Frees everything; the guest never runs again.
    void destroy(Host& host) {
        table_.destroy(host);
        for (; mapped_ != 0; --mapped_)
            segments_.drop(host, *places_[mapped_ - 1].object);
        windows_ = {};
        for (unsigned slot{}; slot != segments_.slot_count; ++slot)
            static_cast<void>(segments_.free(host, slot));
        tracking_ = false;
    }

    auto allocate_segment(Host& host, unsigned segment, std::uint64_t bytes, bool system_memory) -> status {
        return segments_.allocate(host, segment, bytes, system_memory);
    }
    /// What is mapped stays mapped, and its memory with it.
    auto free_segment(Host& host, unsigned segment) -> status { return segments_.free(host, segment); }
    [[nodiscard]] auto segment(unsigned segment) const -> result<segment_info> { return segments_.info(segment); }

    /// Maps a stretch of a segment. invalid_argument: a right or flag that does not exist, no such segment, not within
    /// it, not page-aligned; no_space: all mappings are in use; bad_address: overlaps another mapping or the end of
    /// guest-physical addresses, or there is no memory for the tables.
    auto map(Host& host, gpa first, unsigned segment, std::uint64_t offset, std::uint64_t bytes, access allowed,
             std::uint32_t flags = 0) -> status {
        auto* const object = segments_.find(segment);
        if (allowed == access::none or static_cast<std::uint8_t>(allowed) > 7 or (flags & ~map_wired) != 0 or
            object == nullptr or bytes == 0 or offset > object->memory.bytes() or
            bytes > object->memory.bytes() - offset or ((first.value | offset | bytes) & (page_size - 1)) != 0)
            return status::invalid_argument;
        if (mapped_ == most_mappings)
            return status::no_space;
        if (not is_free(first, bytes))
            return status::bad_address;
        place const added{{{first, bytes}, segment, offset, allowed, flags},
                          object,
                          object->memory.whole() == nullptr ? nullptr : object->memory.whole() + offset};
        if (Fill == fill::eager or (flags & map_wired) != 0 or tracking_)
            if (not fill_range(host, added, first, first + bytes)) {
                remove(host, first, bytes);
                return status::bad_address;
            }
        auto position = mapped_++;
        for (; position != 0 and places_[position - 1].first > first; --position)
            places_[position] = places_[position - 1];
        places_[position] = added;
        segments_.hold(*object);
        return status::ok;
    }
    /// Only exactly what one `map` made: invalid_argument else.
    auto unmap(Host& host, gpa first, std::uint64_t bytes) -> status {
        for (unsigned i{}; i != mapped_; ++i)
            if (places_[i].first == first and places_[i].bytes == bytes) {
                remove_place(host, i);
                return status::ok;
            }
        return status::invalid_argument;
    }
    /// The lowest mapping that begins at or above `from`; not_found.
    [[nodiscard]] auto next_mapping(gpa from) const -> result<memory_mapping> {
        for (unsigned i{}; i != mapped_; ++i)
            if (places_[i].first >= from)
                return memory_mapping{places_[i]};
        return status::not_found;
    }

    /// Gives the guest a device of the host: uncached, readable and writable. out_of_memory, whatever the cause.
    auto map_device(Host& host, gpa first, std::uint64_t bytes, hpa to) -> status {
        if (windows_.is_full() or not is_free(first, bytes) or
            table_.map(host, first, to, bytes, access::read | access::write, memory_type::uncacheable) != status::ok)
            return status::out_of_memory;
        windows_.add({first, bytes});
        return status::ok;
    }
    /// Only exactly what one `map_device` made: not_found else.
    auto unmap_device(Host& host, gpa first, std::uint64_t bytes) -> status {
        if (not windows_.remove({first, bytes}))
            return status::not_found;
        remove(host, first, bytes);
        return status::ok;
    }

    /// Removes every mapping that is not system memory, as a reset of the machine does.
    void unmap_device_memory(Host& host) {
        for (auto i = mapped_; i != 0; --i)
            if (not places_[i - 1].object->system_memory)
                remove_place(host, i - 1);
    }

    /// Models hv::guest_memory: a pointer to the byte, good to the end of its page; null where there is no memory or
    /// not for this access.
    [[nodiscard]] auto at(gpa address, access wanted) -> std::byte* {
        for (unsigned i{}; i != mapped_; ++i) {
            auto const& p = places_[i];
            auto const inside = address.value - p.first.value;
            if (inside >= p.bytes)
                continue;
            if (not includes(p.allowed | access::read, wanted))
                return nullptr;
            if (tracking_ and includes(wanted, access::write)) [[unlikely]]
                table_.set_dirty(*host_, address);
            return p.direct != nullptr ? p.direct + inside : p.object->memory.at(p.offset + inside);
        }
        return nullptr;
    }

    /// Serves an access of the guest that the nested tables did not allow.
    auto fault(Host& host, gpa address, access wanted) -> fault_outcome {
        auto const* const p = find(address);
        if (p == nullptr)
            return windows_.contains(address) ? fault_outcome::no_permission : fault_outcome::not_memory;
        if (not includes(p->allowed | access::read, wanted))
            return fault_outcome::no_permission;
        lock_.acquire(host);
        auto const filled = fill_around(host, *p, address);
        lock_.release(host);
        return filled ? fault_outcome::mapped : fault_outcome::out_of_memory;
    }

    /// Rises when a translation was taken away or lost a right.
    [[nodiscard]] auto generation() const -> std::uint64_t { return __atomic_load_n(&generation_, __ATOMIC_ACQUIRE); }
    [[nodiscard]] auto root(Host& host) const -> hpa { return table_.root(host); }
    /// What the processor finds at an address.
    [[nodiscard]] auto lookup(Host& host, gpa address) const -> nested_leaf { return table_.lookup(host, address); }

    /// One past the highest mapped byte of system memory; 0 if there is none.
    [[nodiscard]] auto highest_address() const -> gpa {
        gpa highest{};
        for (unsigned i{}; i != mapped_; ++i)
            if (places_[i].object->system_memory)
                highest = places_[i].first + places_[i].bytes; // they are in order and do not overlap
        return highest;
    }
    /// Bytes of system memory that are mapped.
    [[nodiscard]] auto system_memory_bytes() const -> std::uint64_t {
        std::uint64_t sum{};
        for (unsigned i{}; i != mapped_; ++i)
            sum += places_[i].object->system_memory ? places_[i].bytes : 0;
        return sum;
    }
    /// Whether the address belongs to a mapping or to a device of the host.
    [[nodiscard]] auto is_mapped(gpa address) const -> bool {
        return find(address) != nullptr or windows_.contains(address);
    }

    /// Turns the tracking of dirty pages on: all of memory is mapped by 4 KiB from then on. Pages written before may be
    /// clean: begin with `reset` and a copy of everything. out_of_memory leaves it off.
    auto track_dirty(Host& host, bool on) -> status {
        if (on and not tracking_) {
            tracking_ = true; // so that what is filled is filled by pages
            for (unsigned i{}; i != mapped_; ++i)
                if (not fill_range(host, places_[i], places_[i].first, places_[i].first + places_[i].bytes) or
                    table_.split(host, places_[i].first, places_[i].bytes) != status::ok) {
                    tracking_ = false;
                    return status::out_of_memory;
                }
            raise_generation();
        }
        tracking_ = on;
        return status::ok;
    }
    [[nodiscard]] auto tracks_dirty() const -> bool { return tracking_; }

    /// Reads, sets or clears the dirty flags of [first, first + bytes), one bit a page, lowest first. `only` says which
    /// pages (empty: all), `was` receives what they were (empty: nobody asks); both may be the same memory.
    /// not_permitted unless tracking is on; invalid_argument: not page-aligned, a bitmap too short; value_overflow: the
    /// range wraps; too_big: more than `most_dirty_bytes`.
    auto dirty(Host& host, gpa first, std::uint64_t bytes, dirty_operation operation,
               std::span<std::uint8_t const> only, std::span<std::uint8_t> was) -> status {
        auto const pages = bytes / page_size;
        if (not tracking_)
            return status::not_permitted;
        if (((first.value | bytes) & (page_size - 1)) != 0 or bytes == 0 or operation < dirty_operation::reset or
            operation > dirty_operation::get)
            return status::invalid_argument;
        if (first.value + bytes < first.value)
            return status::value_overflow;
        if (bytes > most_dirty_bytes)
            return status::too_big;
        if ((not only.empty() and only.size() < (pages + 7) / 8) or (not was.empty() and was.size() < (pages + 7) / 8))
            return status::invalid_argument;
        for (std::uint64_t i{}; i != pages; ++i) {
            auto const bit = static_cast<std::uint8_t>(1u << i % 8);
            auto const chosen = only.empty() or (only[i / 8] & bit) != 0;
            auto const old = chosen and apply(host, first + i * page_size, operation);
            if (not was.empty())
                was[i / 8] = static_cast<std::uint8_t>(old ? was[i / 8] | bit : was[i / 8] & ~bit);
        }
        if (operation != dirty_operation::get)
            raise_generation();
        return status::ok;
    }

  private:
    struct place : memory_mapping {
        typename memory_segments<Host>::object* object{};
        std::byte* direct{}; ///< of `first`, if the segment is one piece
    };

    [[nodiscard]] auto find(gpa address) const -> place const* {
        for (unsigned i{}; i != mapped_; ++i)
            if (places_[i].contains(address))
                return &places_[i];
        return nullptr;
    }
    /// Whether nothing is mapped in a range, and all of it lies below the limit.
    [[nodiscard]] auto is_free(gpa first, std::uint64_t bytes) const -> bool {
        if (first.value >= limit_ or bytes > limit_ - first.value or windows_.overlaps({first, bytes}))
            return false;
        for (unsigned i{}; i != mapped_; ++i)
            if (places_[i].overlaps({first, bytes}))
                return false;
        return true;
    }

    void raise_generation() { count_up<Host>(&generation_); }
    /// Entries never reach beyond a mapping, so this needs no table to split one and cannot fail.
    void remove(Host& host, gpa first, std::uint64_t bytes) {
        static_cast<void>(table_.unmap(host, first, bytes));
        raise_generation();
    }
    void remove_place(Host& host, unsigned index) {
        auto* const held = places_[index].object;
        remove(host, places_[index].first, places_[index].bytes);
        for (--mapped_; index != mapped_; ++index)
            places_[index] = places_[index + 1];
        segments_.drop(host, *held);
    }

    /// Fills what is missing in [first, end) of a mapping, by pieces that are contiguous in the host.
    [[nodiscard, gnu::cold]] auto fill_range(Host& host, place const& p, gpa first, gpa end) -> bool {
        for (auto at = first; at < end;) {
            auto const leaf = table_.lookup(host, at);
            auto const leaf_end = leaf.first + leaf.bytes;
            if (leaf.present) {
                at = leaf_end;
                continue;
            }
            auto const inside = p.offset + (at - p.first);
            auto bytes = p.object->memory.contiguous(inside);
            if (auto const room = (leaf_end < end ? leaf_end : end) - at; room < bytes)
                bytes = room;
            auto const from = host.physical(p.object->memory.at(inside));
            if (map_pages(host, at, from, bytes, p.allowed) != status::ok)
                return false;
            at = at + bytes;
        }
        return true;
    }
    /// While pages are tracked they are mapped one by one.
    auto map_pages(Host& host, gpa at, hpa from, std::uint64_t bytes, access allowed) -> status {
        return table_.map(host, at, from, bytes, allowed, memory_type::write_back,
                          tracking_ ? leaf_size::four_kib : leaf_size::one_gib);
    }
    /// Fills the page, or the 2 MiB around it where one entry can map them all.
    [[nodiscard]] auto fill_around(Host& host, place const& p, gpa address) -> bool {
        constexpr auto large = bytes_of(leaf_size::two_mib);
        auto const block = gpa{address.value & ~(large - 1)};
        if (table_.largest() != leaf_size::four_kib and block >= p.first and block + large <= p.first + p.bytes) {
            auto const inside = p.offset + (block - p.first);
            if (p.object->memory.contiguous(inside) >= large and
                host.physical(p.object->memory.at(inside)).value % large == 0)
                return fill_range(host, p, block, block + large);
        }
        auto const page = address.page();
        auto const from = host.physical(p.object->memory.at(p.offset + (page - p.first)));
        return table_.fill_page(host, page, from, p.allowed, memory_type::write_back) or
               map_pages(host, page, from, page_size, p.allowed) == status::ok;
    }

    auto apply(Host& host, gpa page, dirty_operation operation) -> bool {
        switch (operation) {
        case dirty_operation::reset:
            return table_.clear_dirty(host, page);
        case dirty_operation::set:
            return table_.set_dirty(host, page);
        default:
            return table_.lookup(host, page).dirty;
        }
    }

    std::array<place, most_mappings> places_{}; ///< in order of addresses
    unsigned mapped_{};
    bool tracking_{};
    Host* host_{};
    std::uint64_t limit_{};
    std::uint64_t generation_{1};
    nested_table<Format, Host> table_{};
    memory_segments<Host> segments_{};
    device_windows windows_{};
    ordered_lock<Host, lock_rank::memory> lock_{};
};

} // namespace hv
