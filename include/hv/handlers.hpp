// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/exit.hpp>
#include <hv/meta/tuple.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace hv {

namespace detail {

template <typename Handler, typename Exit, typename Vcpu>
concept wants = requires(Handler& handler, Exit const& exit, Vcpu& vcpu) { handler.on(exit, vcpu); };

/// An `on` that exists but answers something else than a verdict is a mistake, not an exit the handler does not want.
template <typename Handler, typename Exit, typename Vcpu>
struct handler_check {
    static_assert(
        std::same_as<decltype(std::declval<Handler&>().on(std::declval<Exit const&>(), std::declval<Vcpu&>())),
                     verdict>,
        "an exit handler's on(exit, vcpu) must return hv::verdict");
    static constexpr bool ok{true};
};

} // namespace detail

/// A user's own exit handlers, asked in order before the built-in service. A handler is any default-constructible type
/// with `on(exits::X const&, auto& vcpu) -> verdict` for the exits it wants; `not_mine` passes the exit on.
template <typename... Handlers>
class exit_chain {
    static_assert((std::default_initializable<Handlers> and ...), "an exit handler must be default-constructible");

  public:
    template <typename Handler>
    [[nodiscard]] constexpr auto get() -> Handler& {
        return meta::get<meta::index_of<Handler, Handlers...>>(handlers_);
    }

    /// Whether any handler wants this kind of exit.
    template <typename Exit, typename Vcpu>
    static constexpr bool serves{(detail::wants<Handlers, Exit, Vcpu> or ...)};

    template <typename Exit, typename Vcpu>
    [[gnu::always_inline]] auto on(Exit const& exit, Vcpu& vcpu) -> verdict {
        return ask<0>(exit, vcpu);
    }

  private:
    template <std::size_t Index, typename Exit, typename Vcpu>
    [[gnu::always_inline]] auto ask(Exit const& exit, Vcpu& vcpu) -> verdict {
        if constexpr (Index == sizeof...(Handlers)) {
            return verdict::not_mine;
        } else {
            auto& handler = meta::get<Index>(handlers_);
            using handler_type = std::remove_reference_t<decltype(handler)>;
            if constexpr (detail::wants<handler_type, Exit, Vcpu>) {
                static_assert(detail::handler_check<handler_type, Exit, Vcpu>::ok);
                if (auto const answer = handler.on(exit, vcpu); answer != verdict::not_mine)
                    return answer;
            }
            return ask<Index + 1>(exit, vcpu);
        }
    }

    meta::tuple<Handlers...> handlers_{};
};

} // namespace hv
