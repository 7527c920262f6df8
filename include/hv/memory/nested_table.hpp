// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/host.hpp>
#include <hv/memory/change_word.hpp>
#include <hv/memory/nested_leaf.hpp>
#include <hv/memory/page_reserve.hpp>
#include <hv/status.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// The tables through which a guest's physical addresses become the host's: four levels of 512 entries in `Format`,
/// the processor's own.
///
/// Addresses and lengths are multiples of 4 KiB. What cannot get its memory changes nothing. Calls that change the
/// tables exclude each other. Mapping what was not mapped may happen while the guest runs; everything else only while
/// no processor is in the guest, and each must flush its translations before it enters again, because tables that
/// became empty are freed at once.
template <typename Format, host Host>
class nested_table {
  public:
    static constexpr unsigned levels{4};
    /// Guest-physical addresses lie below this.
    static constexpr std::uint64_t limit{1ull << 48};

    nested_table() = default;
    nested_table(nested_table const&) = delete;
    auto operator=(nested_table const&) -> nested_table& = delete;

    /// `largest` must not exceed what the processor can map with one entry. out_of_memory, or already_exists.
    auto create(Host& host, leaf_size largest = leaf_size::two_mib) -> status {
        if (root_ != nullptr)
            return status::already_exists;
        root_ = static_cast<std::uint64_t*>(host.allocate(page_size, page_size));
        largest_ = largest;
        return root_ == nullptr ? status::out_of_memory : status::ok;
    }
    /// Frees every table. The guest never runs again.
    void destroy(Host& host) {
        if (root_ != nullptr)
            free_tables(host, root_, levels);
        root_ = nullptr;
    }
    /// Where the top table lies, for the processor.
    [[nodiscard]] auto root(Host& host) const -> hpa { return host.physical(root_); }

    /// The largest entries it makes.
    [[nodiscard]] auto largest() const -> leaf_size { return largest_; }

    /// Maps [first, first + bytes) to host memory from `to` on, with the largest entries that fit, in place of whatever
    /// was mapped there; none larger than `largest`. invalid_argument, out_of_memory.
    [[gnu::cold]] auto map(Host& host, gpa first, hpa to, std::uint64_t bytes, access allowed, memory_type type,
                           leaf_size largest = leaf_size::one_gib) -> status {
        if (not is_range(first.value, bytes, limit) or not is_range(to.value, bytes, 1ull << 52) or
            not is_right(allowed))
            return status::invalid_argument;
        page_reserve<Host> reserve{};
        if (not reserve.fill(host, tables_to_map(host, first, to, bytes, largest)))
            return status::out_of_memory;
        for (std::uint64_t done{}; done != bytes;) {
            auto const level = level_that_fits(first + done, to + done, bytes - done, largest);
            place(host, reserve, first + done, level, Format::leaf(to + done, level, allowed, type));
            done += level_bytes(level);
        }
        reserve.release(host);
        return status::ok;
    }

    /// Maps one page where its table is there already, and leaves one that is mapped as it is: all that most first
    /// touches of a guest need. False: `map` makes the table.
    [[nodiscard]] auto fill_page(Host& host, gpa page, hpa to, access allowed, memory_type type) -> bool {
        auto const found = find(host, page);
        if (Format::is_present(load(found.entry())))
            return true;
        if (found.level != 1)
            return false;
        store(found.entry(), Format::leaf(to, 1, allowed, type));
        return true;
    }

    /// Removes every translation of [first, first + bytes). Larger entries at the edges are split.
    auto unmap(Host& host, gpa first, std::uint64_t bytes) -> status {
        return change(host, first, bytes, [](std::uint64_t, unsigned) { return std::uint64_t{}; });
    }

    /// Gives what is mapped in [first, first + bytes) another set of rights.
    auto protect(Host& host, gpa first, std::uint64_t bytes, access allowed) -> status {
        if (not is_right(allowed))
            return status::invalid_argument;
        return change(host, first, bytes, [allowed](std::uint64_t e, unsigned level) {
            return Format::leaf(address(e, level), level, allowed, Format::type(e)) |
                   (e & (Format::accessed | Format::dirty));
        });
    }

    /// Splits what is mapped in [first, first + bytes) into 4 KiB entries, so that each page has a dirty flag.
    auto split(Host& host, gpa first, std::uint64_t bytes) -> status {
        if (not is_range(first.value, bytes, limit))
            return status::invalid_argument;
        page_reserve<Host> reserve{};
        if (not reserve.fill(host, tables_to_split(host, first, bytes)))
            return status::out_of_memory;
        for (auto at = first; at < first + bytes;) {
            auto const found = find(host, at);
            if (found.level > 1 and Format::is_present(load(found.entry())))
                split_entry(host, reserve, found.entry(), found.level);
            else
                at = found.end(at);
        }
        reserve.release(host);
        return status::ok;
    }

    /// The entry that decides about an address.
    [[nodiscard, gnu::cold]] auto lookup(Host& host, gpa where) const -> nested_leaf {
        if (where.value >= limit)
            return {};
        auto const found = find(host, where);
        auto const e = load(found.entry());
        auto const bytes = level_bytes(found.level);
        nested_leaf leaf{.first = gpa{where.value & ~(bytes - 1)}, .bytes = bytes};
        if (Format::is_present(e)) {
            leaf.present = true;
            leaf.address = address(e, found.level);
            leaf.allowed = Format::allowed(e);
            leaf.type = Format::type(e);
            leaf.accessed = (e & Format::accessed) != 0;
            leaf.dirty = (e & Format::dirty) != 0;
        }
        return leaf;
    }

    /// Calls `f(nested_leaf)` for each entry that maps something, in order of addresses.
    template <typename F>
    void for_each(Host& host, F&& f) const {
        for (std::uint64_t at{}; at < limit;) {
            auto const leaf = lookup(host, gpa{at});
            if (leaf.present)
                f(leaf);
            at = leaf.first.value + leaf.bytes;
        }
    }

    /// Clears the dirty flag of the entry that maps `where` and answers what it was. A processor that holds the
    /// translation sets it again only after a flush. May happen while the guest runs.
    auto clear_dirty(Host& host, gpa where) -> bool {
        auto* const e = leaf_entry(host, where);
        return e != nullptr and (clear_bits_of<Host>(e, std::uint64_t{Format::dirty}) & Format::dirty) != 0;
    }
    /// Marks the page dirty as a write by the guest would, if it is mapped writable; answers what the flag was.
    auto set_dirty(Host& host, gpa where) -> bool {
        auto* const e = leaf_entry(host, where);
        if (e == nullptr or not includes(Format::allowed(load(e)), access::write))
            return false;
        return (set_bits_of<Host>(e, std::uint64_t{Format::accessed | Format::dirty}) & Format::dirty) != 0;
    }

  private:
    static constexpr unsigned entries{detail::table_entries};

    /// The entries from the top to the one that ends the walk.
    struct path {
        std::array<std::uint64_t*, levels + 1> at{}; ///< by level
        unsigned level{};

        [[nodiscard]] auto entry() const -> std::uint64_t* { return at[level]; }
        [[nodiscard]] auto end(gpa where) const -> gpa {
            return gpa{(where.value & ~(level_bytes(level) - 1)) + level_bytes(level)};
        }
    };

    [[nodiscard]] static constexpr auto is_range(std::uint64_t first, std::uint64_t bytes, std::uint64_t end) -> bool {
        return bytes != 0 and ((first | bytes) & (page_size - 1)) == 0 and first < end and bytes <= end - first;
    }
    [[nodiscard]] static constexpr auto is_right(access a) -> bool {
        return a != access::none and static_cast<std::uint8_t>(a) <= 7;
    }
    /// Bit 12 of a large entry is no address bit.
    [[nodiscard]] static constexpr auto address(std::uint64_t e, unsigned level) -> hpa {
        return hpa{Format::address(e).value & ~(level_bytes(level) - 1)};
    }
    [[nodiscard]] static auto load(std::uint64_t const* e) -> std::uint64_t {
        return __atomic_load_n(e, __ATOMIC_RELAXED);
    }
    /// A table is complete before an entry leads to it.
    static void store(std::uint64_t* e, std::uint64_t value) { __atomic_store_n(e, value, __ATOMIC_RELEASE); }
    [[nodiscard]] static auto is_table(std::uint64_t e, unsigned level) -> bool {
        return Format::is_present(e) and not Format::is_leaf(e, level);
    }
    [[nodiscard]] static auto next(Host& host, std::uint64_t e) -> std::uint64_t* {
        return static_cast<std::uint64_t*>(host.pointer(Format::address(e)));
    }

    [[nodiscard]] auto find(Host& host, gpa where) const -> path {
        path p{.level = levels};
        p.at[levels] = root_ + detail::table_index(where, levels);
        while (is_table(load(p.entry()), p.level)) {
            auto* const table = next(host, load(p.entry()));
            --p.level;
            p.at[p.level] = table + detail::table_index(where, p.level);
        }
        return p;
    }
    [[nodiscard]] auto leaf_entry(Host& host, gpa where) const -> std::uint64_t* {
        if (where.value >= limit)
            return nullptr;
        auto const found = find(host, where);
        return Format::is_present(load(found.entry())) ? found.entry() : nullptr;
    }

    [[nodiscard]] auto level_that_fits(gpa first, hpa to, std::uint64_t bytes, leaf_size largest) const -> unsigned {
        auto level = static_cast<unsigned>(largest < largest_ ? largest : largest_);
        while (level > 1 and (((first.value | to.value) & (level_bytes(level) - 1)) != 0 or bytes < level_bytes(level)))
            --level;
        return level;
    }

    /// How many tables `map` will add. Each is counted at the first address of the range that needs it.
    [[nodiscard, gnu::cold]] auto tables_to_map(Host& host, gpa first, hpa to, std::uint64_t bytes,
                                                leaf_size largest) const -> std::size_t {
        std::size_t count{};
        for (std::uint64_t done{}; done != bytes;) {
            auto const level = level_that_fits(first + done, to + done, bytes - done, largest);
            for (auto above = find(host, first + done).level; above > level; --above)
                count += done == 0 or detail::is_aligned(first + done, above) ? 1 : 0;
            done += level_bytes(level);
        }
        return count;
    }
    [[nodiscard]] auto tables_to_split(Host& host, gpa first, std::uint64_t bytes) const -> std::size_t {
        std::size_t count{};
        for (auto at = first; at < first + bytes;) {
            auto const found = find(host, at);
            auto step = found.end(at);
            if (found.level > 1 and Format::is_present(load(found.entry()))) {
                for (auto level = found.level; level > 1; --level)
                    count += at == first or detail::is_aligned(at, level) ? 1 : 0;
                step = gpa{(at.value & ~(level_bytes(2) - 1)) + level_bytes(2)};
            }
            at = step;
        }
        return count;
    }
    /// How many tables it takes to cut the entries in which the range begins and ends.
    [[nodiscard]] auto tables_to_cut(Host& host, gpa first, std::uint64_t bytes) const -> std::size_t {
        std::size_t count{};
        auto const end = first + bytes;
        auto const inside = [](gpa edge, unsigned level) { return not detail::is_aligned(edge, level); };
        auto const is_mapped = [](path const& p) { return Format::is_present(load(p.entry())); };
        auto const start = find(host, first);
        if (is_mapped(start))
            for (auto level = start.level; level > 1 and inside(first, level); --level)
                ++count;
        if (end.value == limit)
            return count;
        auto const finish = find(host, end);
        if (is_mapped(finish))
            for (auto level = finish.level; level > 1 and inside(end, level); --level) {
                auto const cut_already = inside(first, level) and is_mapped(start) and level <= start.level and
                                         first.value / level_bytes(level) == end.value / level_bytes(level);
                count += cut_already ? 0 : 1;
            }
        return count;
    }

    /// Puts a table of smaller entries in place of one that maps, or of one that does not.
    void split_entry(Host& host, page_reserve<Host>& reserve, std::uint64_t* at, unsigned level) {
        auto* const table = static_cast<std::uint64_t*>(reserve.take());
        auto const old = load(at);
        if (Format::is_present(old))
            for (unsigned i{}; i != entries; ++i)
                table[i] = Format::leaf(address(old, level) + i * level_bytes(level - 1), level - 1,
                                        Format::allowed(old), Format::type(old)) |
                           (old & (Format::accessed | Format::dirty));
        store(at, Format::table(host.physical(table)));
    }

    [[gnu::cold]] void place(Host& host, page_reserve<Host>& reserve, gpa where, unsigned level, std::uint64_t leaf) {
        auto* at = root_ + detail::table_index(where, levels);
        for (auto above = levels; above > level; --above) {
            if (not is_table(load(at), above))
                split_entry(host, reserve, at, above);
            at = next(host, load(at)) + detail::table_index(where, above - 1);
        }
        auto const old = load(at);
        store(at, leaf);
        if (is_table(old, level))
            free_tables(host, next(host, old), level - 1);
    }

    /// Replaces each entry in the range by `changed(entry, level)`, cutting those that reach beyond it.
    template <typename F>
    auto change(Host& host, gpa first, std::uint64_t bytes, F&& changed) -> status {
        if (not is_range(first.value, bytes, limit))
            return status::invalid_argument;
        page_reserve<Host> reserve{};
        if (not reserve.fill(host, tables_to_cut(host, first, bytes)))
            return status::out_of_memory;
        auto const end = first + bytes;
        for (auto at = first; at < end;) {
            auto const found = find(host, at);
            auto const after = found.end(at);
            auto const old = load(found.entry());
            if (Format::is_present(old)) {
                if (not detail::is_aligned(at, found.level) or after > end) {
                    split_entry(host, reserve, found.entry(), found.level);
                    continue;
                }
                store(found.entry(), changed(old, found.level));
            }
            prune(host, found, at, after, end);
            at = after;
        }
        reserve.release(host);
        return status::ok;
    }

    /// Frees the tables on the path that a change up to `after` leaves behind empty.
    void prune(Host& host, path const& p, gpa at, gpa after, gpa end) {
        for (auto level = p.level; level < levels; ++level) {
            if (after < end and not detail::is_aligned(after, level + 1))
                return;
            auto* const table = p.at[level] - detail::table_index(at, level);
            for (unsigned i{}; i != entries; ++i)
                if (load(table + i) != 0)
                    return;
            store(p.at[level + 1], 0);
            host.free(table, page_size);
        }
    }

    /// Frees a table whose entries have this level, and all below it.
    static void free_tables(Host& host, std::uint64_t* top, unsigned top_level) {
        std::array<std::uint64_t*, levels + 1> table{};
        std::array<unsigned, levels + 1> position{};
        auto level = top_level;
        table[level] = top;
        while (level <= top_level) {
            if (level > 1 and position[level] != entries) {
                auto const e = load(table[level] + position[level]++);
                if (is_table(e, level)) {
                    --level;
                    table[level] = next(host, e);
                    position[level] = 0;
                }
            } else {
                host.free(table[level], page_size);
                ++level;
            }
        }
    }

    std::uint64_t* root_{};
    leaf_size largest_{leaf_size::four_kib};
};

} // namespace hv
