// SPDX-License-Identifier: BSD-2-Clause
#include "image.hpp"

#include <llvm/Demangle/Demangle.h>
#include <llvm/Object/ELFObjectFile.h>
#include <llvm/Support/FormatVariadic.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>

namespace verify {

namespace elf = llvm::ELF;
using object_file = llvm::object::ELF64LEObjectFile;

namespace {

template <typename T>
auto value_of(llvm::Expected<T> expected) -> T {
    if (not expected)
        throw unusable{"damaged ELF file: " + llvm::toString(expected.takeError())};
    return std::move(*expected);
}

auto load(std::string const& path) -> std::vector<std::uint8_t> {
    if (not std::filesystem::is_regular_file(path))
        throw unusable{path + ": no such file"};
    std::ifstream stream{path, std::ios::binary};
    if (not stream)
        throw unusable{path + ": cannot be read"};
    return {std::istreambuf_iterator<char>{stream}, {}};
}

} // namespace

/// Fills an image from an ELF file.
class image_reader {
  public:
    image_reader(image& out, object_file const& file) : out_{out}, file_{file} {}

    void read() {
        read_sections();
        read_symbols();
        read_functions();
        if (out_.relocatable_)
            read_relocations();
        else
            read_segments();
    }

  private:
    struct symbol {
        address at{};
        std::uint64_t size{};
    };

    void read_sections() {
        address next{0x10000};
        for (auto const& s : file_.sections()) {
            llvm::object::ELFSectionRef const ref{s};
            auto const flags = ref.getFlags();
            auto const name = value_of(s.getName()).str();
            out_.has_debug_information_ |= name == ".debug_info";
            auto const lists_functions = ref.getType() == elf::SHT_INIT_ARRAY or ref.getType() == elf::SHT_FINI_ARRAY or
                                         ref.getType() == elf::SHT_PREINIT_ARRAY or name.starts_with(".init_array") or
                                         name.starts_with(".fini_array") or name.starts_with(".ctors") or
                                         name.starts_with(".dtors");
            if (lists_functions and s.getSize() != 0)
                out_.faults_.push_back(name + " is not empty: constructors or destructors that nobody runs");
            if ((flags & elf::SHF_ALLOC) == 0 or s.getSize() == 0)
                continue;
            section made{.name = name, .first = s.getAddress()};
            made.data = (flags & elf::SHF_EXECINSTR) == 0;
            made.executable = not made.data or in_executable_segment(s.getAddress());
            made.writable = (flags & elf::SHF_WRITE) != 0;
            if (out_.relocatable_) {
                made.first = next;
                next += (s.getSize() + 0x1ffff) & ~address{0xffff};
            }
            out_.bases_[s.getIndex()] = made.first;
            if (made.executable and made.writable)
                out_.faults_.push_back("section " + made.name + " is writable and executable");
            if (ref.getType() == elf::SHT_NOBITS)
                continue;
            auto const contents = value_of(s.getContents());
            made.bytes = {reinterpret_cast<std::uint8_t const*>(contents.data()), contents.size()};
            if (made.executable)
                code_[s.getIndex()] = out_.sections_.size();
            out_.sections_.push_back(std::move(made));
        }
    }

    void read_symbols() {
        std::set<std::string> undefined;
        for (auto const& s : file_.symbols()) {
            auto const type = s.getELFType();
            auto const name = value_of(s.getName()).str();
            auto const where = value_of(s.getSection());
            if (where == file_.section_end()) {
                if ((value_of(s.getFlags()) & llvm::object::SymbolRef::SF_Undefined) != 0 and not name.empty())
                    undefined.insert(name);
                continue;
            }
            if (name.empty() or not code_.contains(where->getIndex()) or
                (type != elf::STT_FUNC and type != elf::STT_NOTYPE))
                continue;
            auto const at = position(*where, value_of(s.getValue()));
            auto& names = out_.symbols_[at];
            auto const more = all_names(name);
            names.insert(type == elf::STT_FUNC ? names.begin() : names.end(), more.begin(), more.end());
            auto const& in = out_.sections_[code_.at(where->getIndex())];
            if (in.contains(at)) // a label may stand behind the last instruction; a damaged file may say anything
                found_.push_back({at, std::min<std::uint64_t>(s.getSize(), in.end() - at)});
        }
        if (found_.empty())
            throw unusable{"no symbols in executable sections: verify the file before it is stripped"};
        out_.undefined_.assign(undefined.begin(), undefined.end());
        std::ranges::sort(found_, {}, &symbol::at);
    }

    void read_functions() {
        auto& functions = out_.functions_;
        auto const name = [&](address a) { return readable(out_.symbols_.at(a).front()); };
        for (auto const& s : found_)
            if (s.size != 0 and (functions.empty() or functions.back().first != s.at))
                functions.push_back({s.at, s.at + s.size, name(s.at)});
            else if (s.size != 0)
                functions.back().end = std::min(functions.back().end, s.at + s.size);
        // Unsized symbols: code from the first one up to the next sized symbol.
        std::vector<function> unsized;
        for (auto const& s : found_) {
            if (s.size != 0 or std::ranges::any_of(functions, [&](auto const& f) { return f.contains(s.at); }) or
                (not unsized.empty() and unsized.back().contains(s.at)))
                continue;
            auto const where = std::ranges::find_if(out_.sections_, [&](auto const& x) { return x.contains(s.at); });
            auto const next = std::ranges::upper_bound(functions, s.at, {}, &function::first);
            auto const end = next == functions.end() ? where->end() : std::min(next->first, where->end());
            unsized.push_back({s.at, end, name(s.at), false});
        }
        functions.insert(functions.end(), unsized.begin(), unsized.end());
        std::ranges::sort(functions, {}, &function::first);
    }

    void read_relocations() {
        for (auto const& s : file_.sections()) {
            auto const patched = value_of(s.getRelocatedSection());
            if (patched == file_.section_end() or not out_.bases_.contains(patched->getIndex()))
                continue;
            for (auto const& r : s.relocations()) {
                auto const to = r.getSymbol();
                if (to == file_.symbol_end()) {
                    out_.references_[position(*patched, r.getOffset())] = {.symbol = "an absolute address",
                                                                           .size = size_of(r)};
                    continue;
                }
                auto const addend = static_cast<address>(value_of(llvm::object::ELFRelocationRef{r}.getAddend()));
                reference made{.symbol = value_of(to->getName()).str(), .size = size_of(r)};
                if (auto const where = value_of(to->getSection());
                    where != file_.section_end() and out_.bases_.contains(where->getIndex()) and
                    llvm::object::ELFSymbolRef{*to}.getELFType() != elf::STT_GNU_IFUNC) // its resolver chooses
                    made.target = position(*where, value_of(to->getValue())) + addend;
                out_.references_[position(*patched, r.getOffset())] = std::move(made);
            }
        }
    }

    /// System V ABI, x86-64 supplement, "Relocation Types".
    static auto size_of(llvm::object::RelocationRef const& r) -> unsigned {
        switch (r.getType()) {
        case elf::R_X86_64_64:
        case elf::R_X86_64_PC64:
        case elf::R_X86_64_GOTOFF64:
        case elf::R_X86_64_SIZE64:
            return 8;
        case elf::R_X86_64_16:
        case elf::R_X86_64_PC16:
            return 2;
        case elf::R_X86_64_8:
        case elf::R_X86_64_PC8:
            return 1;
        default:
            return 4;
        }
    }

    void read_segments() {
        for (auto const& p : value_of(file_.getELFFile().program_headers()))
            if (p.p_type == elf::PT_LOAD and (p.p_flags & elf::PF_W) != 0 and (p.p_flags & elf::PF_X) != 0)
                out_.faults_.push_back("segment at " + hexadecimal(p.p_vaddr) + " is writable and executable");
    }

    auto in_executable_segment(address a) const -> bool {
        if (out_.relocatable_)
            return false;
        auto const segments = value_of(file_.getELFFile().program_headers());
        return std::ranges::any_of(segments, [a](auto const& p) {
            return p.p_type == elf::PT_LOAD and (p.p_flags & elf::PF_X) != 0 and a >= p.p_vaddr and
                   a - p.p_vaddr < p.p_memsz;
        });
    }

    auto position(llvm::object::SectionRef const& s, std::uint64_t value) const -> address {
        return out_.relocatable_ ? out_.bases_.at(s.getIndex()) + value : value;
    }

    image& out_;
    object_file const& file_;
    std::map<std::uint64_t, std::size_t> code_{}; ///< places of executable sections in the image, by index in the file
    std::vector<symbol> found_{};
};

image::image(std::string const& path) : file_{load(path)} {
    llvm::StringRef const bytes{reinterpret_cast<char const*>(file_.data()), file_.size()};
    auto made = llvm::object::ObjectFile::createELFObjectFile({bytes, path});
    if (not made) {
        llvm::consumeError(made.takeError());
        throw unusable{path + ": not an ELF file"};
    }
    auto const* file = llvm::dyn_cast<object_file>(made->get());
    if (file == nullptr or file->getELFFile().getHeader().e_machine != elf::EM_X86_64)
        throw unusable{path + ": not an ELF64 x86-64 file"};
    auto const type = file->getELFFile().getHeader().e_type;
    if (type != elf::ET_EXEC and type != elf::ET_REL)
        throw unusable{path + ": neither an executable image nor a relocatable file"};
    relocatable_ = type == elf::ET_REL;
    try {
        image_reader{*this, *file}.read();
    } catch (unusable const& e) {
        throw unusable{path + ": " + e.what()};
    }
}

auto image::base_of(std::uint64_t section_index) const -> std::optional<address> {
    if (not relocatable_)
        return 0;
    auto const i = bases_.find(section_index);
    return i == bases_.end() ? std::nullopt : std::optional{i->second};
}

auto image::function_at(address a) const -> function const* {
    auto i = std::ranges::upper_bound(functions_, a, {}, &function::first);
    while (i != functions_.begin())
        if ((--i)->contains(a))
            return &*i;
    return nullptr;
}

auto image::routine_at(address a) const -> address {
    auto const* f = function_at(a);
    if (f == nullptr)
        return a;
    return f->sized ? f->first : std::prev(symbols_.upper_bound(a))->first;
}

auto image::names_at(address a) const -> std::span<std::string const> {
    auto const i = symbols_.find(a);
    return i == symbols_.end() ? std::span<std::string const>{} : i->second;
}

auto image::code_at(address a) const -> std::span<std::uint8_t const> {
    for (auto const& s : sections_)
        if (s.executable and s.contains(a))
            return s.bytes.subspan(a - s.first);
    return {};
}

auto image::describe(address a) const -> std::string {
    auto i = symbols_.upper_bound(a);
    if (i == symbols_.begin())
        return hexadecimal(a);
    --i;
    auto const name = readable(i->second.front());
    return a == i->first ? name : name + "+" + hexadecimal(a - i->first);
}

auto hexadecimal(std::uint64_t value) -> std::string {
    return llvm::formatv("{0:x}", value).str();
}

auto readable(std::string const& linker_name) -> std::string {
    return llvm::demangle(linker_name);
}

auto parts_of(std::string const& linker_name) -> name_parts {
    // What a compiler made of a function has its name and a suffix. Only a part of one is something else: it returns to
    // the function.
    auto const suffix = linker_name.find('.');
    auto const plain = linker_name.substr(0, suffix); // the parser keeps pointers into it
    llvm::ItaniumPartialDemangler parsed;
    if (parsed.partialDemangle(plain.c_str()) or not parsed.isFunction())
        return {};
    auto const part = suffix == std::string::npos ? suffix : linker_name.find(".part.", suffix);
    auto const text = [](char* made) {
        std::unique_ptr<char, decltype([](char* p) { std::free(p); })> const owned{made};
        return std::string{made == nullptr ? "" : made};
    };
    auto const context = text(parsed.getFunctionDeclContextName(nullptr, nullptr));
    auto const name = text(parsed.getFunctionBaseName(nullptr, nullptr));
    return {(context.empty() ? name : context + "::" + name) +
                (part == std::string::npos ? "" : linker_name.substr(part)),
            text(parsed.getFunctionParameters(nullptr, nullptr))};
}

auto all_names(std::string const& linker_name) -> std::vector<std::string> {
    std::vector<std::string> made{linker_name};
    for (auto const& name : {readable(linker_name), parts_of(linker_name).name})
        if (not name.empty() and name != linker_name)
            made.push_back(name);
    return made;
}

} // namespace verify
