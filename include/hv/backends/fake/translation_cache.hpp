// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <atomic>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace hv::backends::fake {

/// Why a guest-physical address has no translation.
struct translation_fault {
    bool present{}; ///< there is a mapping, without the permission
};

/// What one processor remembers of nested page tables, tagged with an address space. It keeps an entry until it is told
/// to flush it, as the manual allows, and looks into the tables only for what it does not remember: so software that
/// changes a table and forgets the flush keeps the old page. Tables have the long-mode format. APM Vol. 2, "Nested
/// Paging" and "TLB Management".
class translation_cache {
  public:
    /// Where `address` lies for an access of one kind; sets the accessed and dirty bits of the tables on the way.
    template <typename Host>
    [[nodiscard]] auto translate(Host& host, std::uint64_t tag, hpa root, gpa address, access wanted,
                                 translation_fault& fault) -> std::optional<hpa> {
        auto const key = std::pair{tag, address.value >> page_shift};
        auto found = entries_.find(key);
        // A remembered entry without the permission makes the processor walk again before it faults.
        if (found == entries_.end() or not found->second.allows(wanted)) {
            auto const walked = walk(host, root, address, wanted, fault);
            if (not walked) {
                entries_.erase(key);
                return std::nullopt;
            }
            found = entries_.insert_or_assign(key, *walked).first;
        }
        return found->second.page + address.page_offset();
    }

    void flush_all() { entries_.clear(); }
    void flush(std::uint64_t tag) {
        std::erase_if(entries_, [tag](auto const& e) { return e.first.first == tag; });
    }
    [[nodiscard]] auto size() const -> std::size_t { return entries_.size(); }

  private:
    struct entry {
        hpa page{};
        bool execute{};
        bool write{}; ///< and the dirty bit of the leaf is set

        [[nodiscard]] auto allows(access wanted) const -> bool {
            return (not includes(wanted, access::execute) or execute) and
                   (not includes(wanted, access::write) or write);
        }
    };

    static constexpr std::uint64_t present{1}, writable{2}, user{4}, accessed{1u << 5}, dirty{1u << 6}, large{1u << 7};
    static constexpr std::uint64_t no_execute{std::uint64_t{1} << 63}, frame{0x000f'ffff'ffff'f000};

    template <typename Host>
    [[nodiscard]] static auto walk(Host& host, hpa root, gpa address, access wanted, translation_fault& fault)
        -> std::optional<entry> {
        while (true)
            if (auto const end = walk_once(host, root, address, wanted, fault); not end.moved)
                return end.found;
    }

    struct end_of_walk {
        std::optional<entry> found{};
        bool moved{}; ///< an entry of the tables changed on the way
    };
    template <typename Host>
    [[nodiscard]] static auto walk_once(Host& host, hpa root, gpa address, access wanted, translation_fault& fault)
        -> end_of_walk {
        constexpr end_of_walk none{}, moved{.moved = true};
        fault = {};
        if (address.value >> 48 != 0)
            return none;
        auto table = root;
        std::uint64_t allowed{writable | user};
        bool executable{true};
        for (unsigned level{4}; level > 0; --level) {
            auto const shift = page_shift + 9 * (level - 1);
            // Other processors walk the same tables, and software changes them meanwhile.
            std::atomic_ref const entry_of_table{
                static_cast<std::uint64_t*>(host.pointer(table))[address.value >> shift & 511]};
            auto item = entry_of_table.load(std::memory_order_acquire);
            if ((item & present) == 0)
                return none;
            allowed &= item;
            executable = executable and (item & no_execute) == 0;
            bool const leaf{level == 1 or (item & large) != 0};
            if (leaf) {
                fault.present = true;
                if (level == 4 or (allowed & user) == 0 or
                    (includes(wanted, access::write) and (allowed & writable) == 0) or
                    (includes(wanted, access::execute) and not executable))
                    return none;
                auto const marks = accessed | (includes(wanted, access::write) ? dirty : 0);
                // Only in the entry that was looked at: another one allows other things.
                if ((item & marks) != marks and not entry_of_table.compare_exchange_strong(item, item | marks))
                    return moved;
                item |= marks;
                auto const inside = address.value & ((std::uint64_t{1} << shift) - 1) & ~(page_size - 1);
                auto const base = item & frame & ~((std::uint64_t{1} << shift) - 1);
                return {.found =
                            entry{hpa{base + inside}, executable, (allowed & writable) != 0 and (item & dirty) != 0}};
            }
            if ((item & accessed) == 0 and not entry_of_table.compare_exchange_strong(item, item | accessed))
                return moved;
            table = hpa{item & frame};
        }
        return none;
    }

    std::map<std::pair<std::uint64_t, std::uint64_t>, entry> entries_{};
};

} // namespace hv::backends::fake
