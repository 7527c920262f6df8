// SPDX-License-Identifier: BSD-2-Clause
#include "executed.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace verify {

namespace {

auto hexadecimal_bytes(std::span<std::uint8_t const> bytes) -> std::string {
    constexpr std::string_view digits{"0123456789abcdef"};
    std::string made;
    for (auto const b : bytes) {
        made += digits[b >> 4];
        made += digits[b & 0xf];
    }
    return made;
}

/// LLVM takes LOCK before some instructions for an instruction of its own; a processor does not.
auto size_with_prefix(decoder& decode, instruction const& i) -> std::size_t {
    return i.opcode == "LOCK_PREFIX" ? i.size + decode.at(i.at + i.size).size : i.size;
}

} // namespace

auto compare_with_executed(std::string const& path, image const& file, decoder& decode, closure& c) -> executed {
    std::ifstream stream{path};
    if (not stream)
        throw unusable{path + ": cannot be read"};
    executed made;
    std::string line;
    for (unsigned number{1}; std::getline(stream, line); ++number) {
        std::istringstream words{line};
        address at{};
        std::uint64_t count{}, exits{};
        std::string bytes, more;
        if (not(words >> std::hex >> at >> bytes >> count >> exits) or words >> more)
            throw unusable{path + ":" + std::to_string(number) + ": a record is address, bytes, count, exits"};
        auto const& i = decode.at(at);
        auto const code = file.code_at(at);
        if (not c.instructions.contains(at))
            c.violations.push_back({.what = "executed between exit and entry, but not verified",
                                    .at = at,
                                    .text = code.empty() ? "bytes " + bytes : decode.text(i)});
        else if (bytes !=
                 hexadecimal_bytes(code.first(std::min<std::size_t>(size_with_prefix(decode, i), code.size()))))
            c.violations.push_back(
                {.what = "executed as " + bytes + ", which is not in the file", .at = at, .text = decode.text(i)});
        if (made.instructions.insert(at).second)
            made.bytes += bytes.size() / 2;
        made.routines.insert(file.routine_at(at));
        made.count += count;
        made.exits += exits;
        if (exits != 0 and not c.continuations.contains(at))
            c.violations.push_back({.what = "an exit continued where no root is", .at = at, .text = decode.text(i)});
    }
    if (made.exits == 0)
        c.violations.push_back({.what = path + " holds no exit"});
    return made;
}

} // namespace verify
