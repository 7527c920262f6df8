// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>
#include <hv/host.hpp>
#include <hv/memory/nested_leaf.hpp>
#include <hv/status.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>

namespace hv {

/// Host memory behind one segment of a guest: one contiguous piece where the host has it, else equal pieces, as large
/// as it has. Zeroed before the guest sees it and, by the host, before anybody else does.
template <host Host>
class guest_backing {
  public:
    guest_backing() = default;
    guest_backing(guest_backing const&) = delete;
    auto operator=(guest_backing const&) -> guest_backing& = delete;

    /// `bytes` is a multiple of the page size. out_of_memory leaves nothing behind.
    auto create(Host& host, std::uint64_t bytes) -> status {
        constexpr std::uint64_t most{1ull << 52}; // more than any processor addresses
        if (bytes > most)
            return status::out_of_memory;
        bytes_ = bytes;
        piece_ = static_cast<std::byte*>(host.allocate(bytes, alignment(bytes)));
        if (piece_ != nullptr)
            return status::ok;
        constexpr auto large = static_cast<unsigned>(std::bit_width(bytes_of(leaf_size::two_mib)) - 1);
        for (auto shift = static_cast<unsigned>(std::bit_width(bytes - 1)) - 1; shift >= page_shift;
             shift = shift == large ? page_shift : shift - 1) // between 2 MiB and 4 KiB there is nothing to gain
            if (create_pieces(host, shift))
                return status::ok;
        bytes_ = 0;
        return status::out_of_memory;
    }
    void destroy(Host& host) {
        if (pieces_ != nullptr) {
            free_pieces(host, piece_count());
        } else if (piece_ != nullptr) {
            host.free(piece_, bytes_);
            piece_ = nullptr;
        }
        bytes_ = 0;
    }

    [[nodiscard]] auto bytes() const -> std::uint64_t { return bytes_; }
    /// All of it, if it is one piece; else null.
    [[nodiscard]] auto whole() const -> std::byte* { return piece_; }
    /// The byte at `offset`, which is below `bytes`; good to the end of its piece.
    [[nodiscard]] auto at(std::uint64_t offset) const -> std::byte* {
        return piece_ != nullptr ? piece_ + offset : pieces_[offset >> shift_] + (offset & ((1ull << shift_) - 1));
    }
    /// How many bytes from `offset` on are contiguous.
    [[nodiscard]] auto contiguous(std::uint64_t offset) const -> std::uint64_t {
        if (piece_ != nullptr)
            return bytes_ - offset;
        auto const end = ((offset >> shift_) + 1) << shift_;
        return (end < bytes_ ? end : bytes_) - offset;
    }

  private:
    [[nodiscard]] static constexpr auto alignment(std::uint64_t bytes) -> std::size_t {
        return bytes >= bytes_of(leaf_size::two_mib) ? bytes_of(leaf_size::two_mib) : page_size;
    }
    [[nodiscard]] auto piece_count() const -> std::uint64_t { return (bytes_ + (1ull << shift_) - 1) >> shift_; }
    /// The last piece may be smaller.
    [[nodiscard]] auto piece_bytes(std::uint64_t index) const -> std::uint64_t { return contiguous(index << shift_); }
    [[nodiscard]] auto directory_bytes() const -> std::uint64_t {
        return (piece_count() * sizeof(*pieces_) + page_size - 1) & ~(page_size - 1);
    }

    [[nodiscard]] auto create_pieces(Host& host, unsigned shift) -> bool {
        shift_ = shift;
        pieces_ = static_cast<std::byte**>(host.allocate(directory_bytes(), page_size));
        if (pieces_ == nullptr)
            return false;
        for (std::uint64_t i{}; i != piece_count(); ++i) {
            pieces_[i] = static_cast<std::byte*>(host.allocate(piece_bytes(i), alignment(piece_bytes(i))));
            if (pieces_[i] == nullptr) {
                free_pieces(host, i);
                return false;
            }
        }
        return true;
    }
    void free_pieces(Host& host, std::uint64_t count) {
        for (std::uint64_t i{}; i != count; ++i)
            host.free(pieces_[i], piece_bytes(i));
        host.free(pieces_, directory_bytes());
        pieces_ = nullptr;
    }

    std::byte* piece_{};
    std::byte** pieces_{};
    std::uint64_t bytes_{};
    unsigned shift_{};
};

} // namespace hv
