// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// Read-modify-writes of words that other processors may change at the same time. `Owner` is what the words belong to,
/// a host or a memory: where its callers are serial nobody else runs, and a plain write does.
namespace hv {

/// Whether whoever calls an object of this type is the only one that runs. Without word of it: no.
template <typename Owner>
inline constexpr bool is_alone = [] {
    if constexpr (requires { Owner::callers_are_serial; })
        return Owner::callers_are_serial;
    else
        return false;
}();

/// Answers what the word was.
template <typename Owner, typename Word>
auto set_bits_of(Word* at, Word bits) -> Word {
    if constexpr (not is_alone<Owner>)
        return __atomic_fetch_or(at, bits, __ATOMIC_SEQ_CST);
    auto const was = *at;
    *at = static_cast<Word>(was | bits);
    return was;
}

/// Answers what the word was.
template <typename Owner, typename Word>
auto clear_bits_of(Word* at, Word bits) -> Word {
    if constexpr (not is_alone<Owner>)
        return __atomic_fetch_and(at, static_cast<Word>(~bits), __ATOMIC_SEQ_CST);
    auto const was = *at;
    *at = static_cast<Word>(was & ~bits);
    return was;
}

/// False, and nothing changed, if the word is no longer what the caller saw.
template <typename Owner, typename Word>
[[nodiscard]] auto replace_word(Word* at, Word seen, Word wanted) -> bool {
    if constexpr (not is_alone<Owner>)
        return __atomic_compare_exchange_n(at, &seen, wanted, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    *at = wanted;
    return true;
}

/// Counts one more. What was written before is seen by whoever sees the count.
template <typename Owner, typename Word>
void count_up(Word* at) {
    if constexpr (not is_alone<Owner>)
        __atomic_fetch_add(at, 1, __ATOMIC_RELEASE);
    else
        ++*at;
}

} // namespace hv
