// SPDX-License-Identifier: BSD-2-Clause
#include "exits.hpp"

#include <llvm/DebugInfo/DWARF/DWARFContext.h>
#include <llvm/Object/ObjectFile.h>

#include <optional>

namespace verify {

namespace {

/// The kind in the parameters `(hv::exits::KIND const&, ...)`.
auto kind_in(std::string_view parameters) -> std::optional<std::string> {
    constexpr std::string_view prefix{"(hv::exits::"};
    if (not parameters.starts_with(prefix))
        return {};
    parameters.remove_prefix(prefix.size());
    return std::string{parameters.substr(0, parameters.find_first_of(" &,)"))};
}

class finder {
  public:
    finder(image const& file, rules const& named, closure& c) : file_{file}, named_{named}, closure_{c} {}

    auto found() -> std::map<std::string, std::set<exit_service>> {
        for (auto const& [at, names] : file_.symbols())
            if (auto const* f = file_.function_at(at))
                look_at(names.front(), f->first, f->end);
        in_debug_information();
        for (auto const& [kind, services] : services_)
            if (services.empty())
                closure_.violations.push_back({.what = "nothing that was verified serves the exit " + kind});
        for (auto const& [kind, dispatch] : dispatches_)
            if (auto& services = services_[kind]; services.empty())
                services.insert({"no instruction of its own", dispatch});
        return std::move(services_);
    }

  private:
    void look_at(std::string const& linker_name, address first, address end) {
        auto const parts = parts_of(linker_name);
        auto const kind = kind_in(parts.parameters);
        std::vector<std::string> const names{parts.name};
        if (not kind or not named_.are(rules::exit_handler, names) or file_.function_at(first) == nullptr)
            return; // debug information also speaks of functions that the linker left out
        auto const i = closure_.instructions.lower_bound(first);
        auto const verified = i != closure_.instructions.end() and * i < end;
        auto const routine = verified ? short_name(file_.routine_at(*i)) : std::string{};
        if (named_.are(rules::exit_dispatch, names)) {
            if (verified)
                dispatches_.insert({*kind, routine});
            return;
        }
        auto& services = services_[*kind];
        if (verified)
            services.insert({parts.name, routine});
    }

    [[nodiscard]] auto short_name(address a) const -> std::string {
        auto const names = file_.names_at(a);
        return names.empty() ? file_.describe(a) : parts_of(names.front()).name;
    }

    void in_debug_information() {
        auto const bytes = file_.bytes();
        auto object = llvm::object::ObjectFile::createELFObjectFile(
            {llvm::StringRef{reinterpret_cast<char const*>(bytes.data()), bytes.size()}, ""});
        if (not object) {
            llvm::consumeError(object.takeError());
            return;
        }
        auto const ignore = [](llvm::Error e) { llvm::consumeError(std::move(e)); };
        auto const context = llvm::DWARFContext::create(**object, llvm::DWARFContext::ProcessDebugRelocations::Process,
                                                        nullptr, "", ignore, ignore);
        for (auto const& unit : context->compile_units()) {
            (void)unit->getUnitDIE(false);
            for (auto const& entry : unit->dies())
                look_at(llvm::DWARFDie{unit.get(), &entry});
        }
    }

    void look_at(llvm::DWARFDie const& die) {
        if (not die.isSubroutineDIE())
            return;
        auto const* name = die.getSubroutineName(llvm::DINameKind::LinkageName);
        if (name == nullptr or std::string_view{name}.find("exits") == std::string_view::npos)
            return;
        auto ranges = die.getAddressRanges();
        if (not ranges) {
            llvm::consumeError(ranges.takeError());
            return;
        }
        for (auto const& r : *ranges)
            if (auto const base = file_.base_of(r.SectionIndex); base and r.LowPC < r.HighPC)
                look_at(name, *base + r.LowPC, *base + r.HighPC);
    }

    image const& file_;
    rules const& named_;
    closure& closure_;
    std::map<std::string, std::set<exit_service>> services_{};
    std::map<std::string, std::string> dispatches_{}; ///< a routine in which an exit is handed on
};

} // namespace

auto find_exit_services(image const& file, rules const& named, closure& c)
    -> std::map<std::string, std::set<exit_service>> {
    return finder{file, named, c}.found();
}

} // namespace verify
