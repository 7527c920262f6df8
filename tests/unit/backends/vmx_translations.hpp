// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/address.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

namespace hv::test {

/// What one processor remembers of extended page tables until INVEPT or INVVPID: guest-physical mappings, tagged with
/// the pointer, and combined mappings, tagged with the VPID too. It looks into the tables only for what it does not
/// remember. SDM Vol. 3C, "Information That May Be Cached" and "Invalidating Cached Translation Information".
class vmx_translations {
  public:
    struct fault {
        std::uint64_t permissions{}; ///< bits 2:0 of what all entries on the way allow together
    };

    template <typename Host>
    [[nodiscard]] auto translate(Host& host, std::uint16_t vpid, std::uint64_t pointer, gpa address,
                                 std::uint64_t wanted, fault& why) -> std::optional<hpa> {
        auto const page = address.value >> page_shift;
        auto const tag = pointer & ~std::uint64_t{0xfff};
        if (auto const found = combined_.find({vpid, tag, page}); found != combined_.end())
            if ((found->second.rights & wanted) == wanted)
                return found->second.at + address.page_offset();
        auto found = physical_.find({tag, page});
        if (found == physical_.end() or (found->second.rights & wanted) != wanted) {
            auto const walked = walk(host, pointer, address, wanted, why);
            if (not walked) {
                physical_.erase({tag, page});
                combined_.erase({vpid, tag, page});
                return std::nullopt;
            }
            found = physical_.insert_or_assign({tag, page}, *walked).first;
        }
        combined_.insert_or_assign({vpid, tag, page}, found->second);
        return found->second.at + address.page_offset();
    }

    void invvpid(std::uint16_t vpid) {
        std::erase_if(combined_, [vpid](auto const& e) { return std::get<0>(e.first) == vpid; });
    }
    void invvpid_all() { combined_.clear(); }
    void invept(std::uint64_t pointer) {
        auto const tag = pointer & ~std::uint64_t{0xfff};
        std::erase_if(combined_, [tag](auto const& e) { return std::get<1>(e.first) == tag; });
        std::erase_if(physical_, [tag](auto const& e) { return e.first.first == tag; });
    }
    void invept_all() {
        combined_.clear();
        physical_.clear();
    }

  private:
    struct entry {
        hpa at{};
        std::uint64_t rights{}; ///< write only where the dirty flag is set
    };

    template <typename Host>
    [[nodiscard]] static auto walk(Host& host, std::uint64_t pointer, gpa address, std::uint64_t wanted, fault& why)
        -> std::optional<entry> {
        constexpr std::uint64_t large{1u << 7}, accessed{1u << 8}, dirty{1u << 9}, frame{0x000f'ffff'ffff'f000};
        bool const flags{(pointer & 1u << 6) != 0};
        std::uint64_t table{pointer & frame}, rights{7};
        for (unsigned level{4}; level > 0; --level) {
            auto const shift = page_shift + 9 * (level - 1);
            auto& item = static_cast<std::uint64_t*>(host.pointer(hpa{table}))[address.value >> shift & 511];
            rights &= item;
            if ((item & 7) == 0 or (rights & 1) == 0)
                return std::nullopt;
            if (level == 1 or (item & large) != 0) {
                why.permissions = rights & 7;
                if ((rights & wanted) != wanted)
                    return std::nullopt;
                if (flags)
                    item |= accessed | ((wanted & 2) != 0 ? dirty : 0);
                auto const inside = address.value & ((std::uint64_t{1} << shift) - 1) & ~(page_size - 1);
                auto const base = item & frame & ~((std::uint64_t{1} << shift) - 1);
                bool const remembers_write{not flags or (item & dirty) != 0};
                return entry{hpa{base + inside}, rights & (remembers_write ? 7u : 5u)};
            }
            if (flags)
                item |= accessed;
            table = item & frame;
        }
        return std::nullopt;
    }

    std::map<std::tuple<std::uint16_t, std::uint64_t, std::uint64_t>, entry> combined_{};
    std::map<std::pair<std::uint64_t, std::uint64_t>, entry> physical_{};
};

} // namespace hv::test
