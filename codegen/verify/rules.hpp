// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace verify {

/// A line of a rules file: which names, and why.
struct rule {
    std::string pattern{};
    std::string reason{};
};

/// Whether a name matches a pattern, in which `*` stands for any text and everything else for itself.
[[nodiscard]] auto matches(std::string_view pattern, std::string_view name) -> bool;

/// What the verifier is told about names; everything else it finds in the image.
class rules {
  public:
    /// What a name can be.
    static constexpr std::string_view leave{"leave"};                     ///< its return ends the hot path
    static constexpr std::string_view vm_exit_entry{"vm_exit_entry"};     ///< where HOST_RIP points
    static constexpr std::string_view interrupt_entry{"interrupt_entry"}; ///< a handler in the IDT
    static constexpr std::string_view fpu_switch{"fpu_switch"};           ///< may touch FPU state
    static constexpr std::string_view nmi_forward{"nmi_forward"};         ///< may execute INT 2
    static constexpr std::string_view return_thunk{"return_thunk"};       ///< a jump to it is a return
    static constexpr std::string_view exit_handler{"exit_handler"};       ///< may not be cut
    static constexpr std::string_view exit_dispatch{"exit_dispatch"};     ///< an exit_handler that asks others
    static constexpr std::string_view serial{"serial"};                   ///< its image has one vCPU on one processor
    static constexpr std::string_view parallel{"parallel"};               ///< may not be in such an image

    /// Reads lines of kind TAB pattern TAB reason.
    static auto read(std::string const& path) -> rules;

    [[nodiscard]] auto of(std::string_view kind) const -> std::span<rule const>;
    /// Whether one of these names is of this kind.
    [[nodiscard]] auto are(std::string_view kind, std::span<std::string const> names) const -> bool;

  private:
    std::map<std::string, std::vector<rule>, std::less<>> lines_{};
};

/// Reads the cuts that apply to a file of this name: lines of pattern TAB reason, under headings [FILE NAME PATTERN].
[[nodiscard]] auto read_cuts(std::string const& path, std::string_view file_name) -> std::vector<rule>;

} // namespace verify
