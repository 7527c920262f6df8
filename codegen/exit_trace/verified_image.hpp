// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hv::plugin {

using address = std::uint64_t;

/// Whose instructions a processor executes.
enum class world : std::uint8_t {
    outside, ///< the hypervisor's, before the first entry and after the way of exits was left
    guest,
    hot ///< the hypervisor's, between an exit and the next entry
};

/// What an instruction does to the world.
enum class effect : std::uint8_t { none, enters, leaves };

/// The image that runs, as `hv-verify --json` says.
class verified_image {
  public:
    void read(std::string const& path) {
        std::ifstream stream{path};
        auto const said = nlohmann::json::parse(stream);
        text_ = said.at("text").get<std::vector<std::pair<address, address>>>();
        entries_ = said.at("entries").get<std::set<address>>();
        leaves_ = said.at("leave_returns").get<std::set<address>>();
    }

    /// Whether an instruction belongs to the image: a guest may use the same addresses. Nothing else executes there
    /// before it, so its first block tells where it lies in memory.
    [[nodiscard]] auto contains(address at, address in_memory) -> bool {
        if (in_memory == 0)
            return false;
        if (base_ == 0 and is_text(at))
            base_ = in_memory - at;
        return base_ != 0 and is_text(in_memory - base_);
    }
    [[nodiscard]] auto effect_of(address at) const -> effect {
        return entries_.contains(at) ? effect::enters : leaves_.contains(at) ? effect::leaves : effect::none;
    }

  private:
    [[nodiscard]] auto is_text(address a) const -> bool {
        for (auto const& [first, end] : text_)
            if (a >= first and a < end)
                return true;
        return false;
    }

    std::vector<std::pair<address, address>> text_{};
    std::set<address> entries_{};
    std::set<address> leaves_{};
    address base_{};
};

} // namespace hv::plugin
