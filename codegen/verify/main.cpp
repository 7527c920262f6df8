// SPDX-License-Identifier: BSD-2-Clause
#include "executed.hpp"
#include "exits.hpp"
#include "image.hpp"
#include "recursion.hpp"
#include "report.hpp"
#include "rules.hpp"
#include "serial.hpp"
#include "stack.hpp"
#include "survey.hpp"
#include "walk.hpp"

#include <CLI/CLI.hpp>
#include <llvm/Support/ErrorHandling.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>

/// hv-verify: proves of a linked image, an object or a kernel module that no indirect branch, and nothing else that
/// the design forbids, lies between a VM exit and the next entry.
namespace {

/// The folder of the rules and cuts that belong to this program: beside it where it is installed, else in the sources.
auto own_folder() -> std::filesystem::path {
    std::error_code ignored;
    auto const program = std::filesystem::read_symlink("/proc/self/exe", ignored);
    auto const installed = program.parent_path().parent_path() / "share/hv";
    return std::filesystem::exists(installed / "rules.txt", ignored) ? installed : HV_VERIFY_FOLDER;
}

struct options {
    std::string file{};
    std::string rules{own_folder() / "rules.txt"};
    std::string cuts{own_folder() / "cuts.txt"};
    std::string executed{};
    std::uint64_t stack{4096};
    verify::wishes wanted{};
    bool json{};
};

auto run(options o) -> int {
    verify::image const file{o.file};
    auto const named = verify::rules::read(o.rules);
    auto const cuts = verify::read_cuts(o.cuts, std::filesystem::path{o.file}.filename().string());
    o.wanted.serial |= verify::is_serial(file, named);
    verify::decoder decode{file};
    auto const seen = verify::look_over(file, decode);
    auto hot = verify::walk(file, decode, seen, named, cuts, o.wanted);
    verify::find_recursion(file, decode, hot);
    if (o.wanted.serial)
        verify::find_parallel_code(file, decode, named, hot);
    auto const stack = verify::follow_stack(file, decode, named, o.stack, hot);
    auto const served = verify::find_exit_services(file, named, hot);
    verify::executed ran;
    if (not o.executed.empty())
        ran = verify::compare_with_executed(o.executed, file, decode, hot);
    verify::findings const found{o.file, file, decode, hot, stack, served, ran, o.wanted.serial};
    if (o.json)
        verify::print_json(std::cout, found);
    else
        verify::print_text(std::cout, found);
    return hot.violations.empty() ? 0 : 1;
}

/// LLVM ends the process where a table of the file makes no sense.
void refuse_damaged_file(void*, char const* reason, bool) {
    std::cerr << "hv-verify: damaged ELF file: " << reason << '\n';
    std::_Exit(2);
}

} // namespace

auto main(int argc, char** argv) -> int {
    llvm::install_fatal_error_handler(refuse_damaged_file);
    options o;
    CLI::App app{"Proves that the path from a VM exit to the next entry holds no indirect branch.\n"
                 "Exit status: 0 proven, 1 violations, 2 unusable file or command line.",
                 "hv-verify"};
    app.add_option("file", o.file, "linked image, object or kernel module")->required();
    app.add_option("--rules", o.rules, "what names mean: lines of kind TAB pattern TAB reason")->capture_default_str();
    app.add_option("--cuts", o.cuts, "calls that are not followed: lines of pattern TAB reason")->capture_default_str();
    app.add_option("--root", o.wanted.extra_roots, "verify from this symbol too; `*` stands for any text");
    app.add_flag("--idt", o.wanted.needs_interrupt_entries, "the file must have an interrupt entry for each vector");
    app.add_flag("--serial", o.wanted.serial, "the file has one vCPU on one processor, though no name says so");
    app.add_option("--stack", o.stack, "bytes that the stack may take, 0 for any number: code without optimisation")
        ->capture_default_str();
    app.add_option("--executed", o.executed, "compare with a record of hv-exit-trace: all of it must be verified");
    app.add_flag("--json", o.json, "print JSON, with the address ranges that were verified");
    try {
        app.parse(argc, argv);
        return run(o);
    } catch (CLI::Success const& e) {
        return app.exit(e);
    } catch (std::exception const& e) {
        std::cerr << "hv-verify: " << e.what() << '\n';
        return 2;
    }
}
