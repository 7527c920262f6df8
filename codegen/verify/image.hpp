// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace verify {

using address = std::uint64_t;

/// The file or the command line cannot be worked with. Its text is one line for the user.
struct unusable : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Code between two addresses that symbols give one name: a sized symbol, or the stretch from an unsized one to the
/// next sized symbol.
struct function {
    address first{};
    address end{};
    std::string name{}; ///< demangled
    bool sized{true};   ///< one symbol's code; otherwise a stretch with one routine or more

    [[nodiscard]] auto contains(address a) const -> bool { return a >= first and a < end; }
};

/// What a relocation writes: the address of something in the file, or the name of something outside.
struct reference {
    std::optional<address> target{}; ///< symbol and addend
    std::string symbol{};
    unsigned size{4}; ///< in bytes
};

/// A section that takes up memory. In a relocatable file sections get made-up addresses that do not overlap.
struct section {
    std::string name{};
    address first{};
    std::span<std::uint8_t const> bytes{};
    bool executable{}; ///< by itself or by its segment
    bool data{};       ///< not made to be executed
    bool writable{};

    [[nodiscard]] auto end() const -> address { return first + bytes.size(); }
    [[nodiscard]] auto contains(address a) const -> bool { return a >= first and a < end(); }
};

/// An ELF64 x86-64 file: a linked image, an object or a kernel module, in one address space.
class image {
  public:
    /// Throws `unusable` where the file is none of these or has no symbols.
    explicit image(std::string const& path);

    [[nodiscard]] auto bytes() const -> std::span<std::uint8_t const> { return file_; }
    [[nodiscard]] auto relocatable() const -> bool { return relocatable_; }
    [[nodiscard]] auto sections() const -> std::vector<section> const& { return sections_; }
    [[nodiscard]] auto functions() const -> std::vector<function> const& { return functions_; }
    [[nodiscard]] auto references() const -> std::map<address, reference> const& { return references_; }
    /// What the symbols in executable sections are called, by address: see `all_names`.
    [[nodiscard]] auto symbols() const -> std::map<address, std::vector<std::string>> const& { return symbols_; }
    /// Names that the file uses and does not define.
    [[nodiscard]] auto undefined() const -> std::vector<std::string> const& { return undefined_; }
    /// Whether the file tells what was inlined where.
    [[nodiscard]] auto has_debug_information() const -> bool { return has_debug_information_; }
    /// What is wrong with the file as a whole, in sentences.
    [[nodiscard]] auto faults() const -> std::vector<std::string> const& { return faults_; }

    /// What has to be added to places in a section of the file; none where the section takes up no memory.
    [[nodiscard]] auto base_of(std::uint64_t section_index) const -> std::optional<address>;
    [[nodiscard]] auto function_at(address) const -> function const*;
    /// Where the routine of this address begins: the function, or within an unsized one the nearest symbol.
    [[nodiscard]] auto routine_at(address) const -> address;
    [[nodiscard]] auto names_at(address) const -> std::span<std::string const>;
    /// The code from an address to the end of its section; empty where there is none.
    [[nodiscard]] auto code_at(address) const -> std::span<std::uint8_t const>;
    /// The nearest symbol and the distance from it: `name+0x12`.
    [[nodiscard]] auto describe(address) const -> std::string;

  private:
    friend class image_reader;

    std::vector<std::uint8_t> file_{};
    bool relocatable_{};
    bool has_debug_information_{};
    std::vector<section> sections_{};
    std::map<std::uint64_t, address> bases_{}; ///< made-up addresses of sections, by index in the file
    std::vector<function> functions_{};        ///< by address; one that lies in another follows it
    std::map<address, reference> references_{};
    std::map<address, std::vector<std::string>> symbols_{};
    std::vector<std::string> undefined_{};
    std::vector<std::string> faults_{};
};

[[nodiscard]] auto hexadecimal(std::uint64_t) -> std::string;

/// A symbol's name as the source has it.
[[nodiscard]] auto readable(std::string const& linker_name) -> std::string;

/// The name of a C++ function without return type and parameters, `hv::vcpu<pc>::run`, and the parameters.
struct name_parts {
    std::string name{};
    std::string parameters{};
};
[[nodiscard]] auto parts_of(std::string const& linker_name) -> name_parts;

/// By what a rule may call a symbol: the linker's name, the whole demangled name, and the name without parameters.
[[nodiscard]] auto all_names(std::string const& linker_name) -> std::vector<std::string>;

} // namespace verify
