// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <boost/hana/at.hpp>
#include <boost/hana/filter.hpp>
#include <boost/hana/integral_constant.hpp>
#include <boost/hana/tuple.hpp>
#include <boost/hana/type.hpp>
#include <boost/hana/unpack.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

/// Composition of types. The only place that knows Boost.Hana.
namespace hv::meta {

/// One value of each type.
template <typename... Types>
using tuple = boost::hana::tuple<Types...>;

template <std::size_t Index, typename Tuple>
[[nodiscard, gnu::always_inline]] constexpr auto get(Tuple& values) -> auto& {
    return boost::hana::at_c<Index>(values);
}

/// A list of types, as a type.
template <typename... Types>
struct types {
    static constexpr std::size_t size{sizeof...(Types)};
    using as_tuple = tuple<Types...>;
};

namespace detail {

template <typename Predicate>
struct satisfies {
    template <typename Type>
    constexpr auto operator()(Type const&) const {
        return boost::hana::bool_c<Predicate::template value<typename Type::type>>;
    }
};

struct to_types {
    template <typename... Types>
    constexpr auto operator()(Types const&...) const -> types<typename Types::type...> {
        return {};
    }
};

} // namespace detail

/// Those of Types for which `Predicate::value<T>` holds, in their order.
template <typename Predicate, typename... Types>
using filter = decltype(boost::hana::unpack(
    boost::hana::filter(boost::hana::tuple_t<Types...>, detail::satisfies<Predicate>{}), detail::to_types{}));

/// The place of Type among Types; their number if it is not there.
template <typename Type, typename... Types>
inline constexpr std::size_t index_of = [] {
    std::size_t index{0};
    (void)((std::is_same_v<Type, Types> or (++index, false)) or ...);
    return index;
}();

template <typename Type, typename List>
inline constexpr std::size_t index_in = 0;
template <typename Type, typename... Types>
inline constexpr std::size_t index_in<Type, types<Types...>> = index_of<Type, Types...>;

template <typename Type, typename List>
inline constexpr bool contains = index_in<Type, List> != List::size;

} // namespace hv::meta
