// SPDX-License-Identifier: BSD-2-Clause
#include "operation_marks.hpp"
#include "qemu_plugin.hpp"
#include "verified_image.hpp"

#include <array>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

/// A plugin of QEMU that finds the cache lines which an exit writes and which another processor uses too.
///
///   -plugin libhv-sharing.so,verified=JSON,out=FILE
///
/// JSON is what `hv-verify --json` says of the image. A guest puts marks around an instruction that exits
/// (operation_marks.hpp). What one processor writes from that exit to the next entry is shared if another processor
/// touches the same line anywhere between an exit and an entry. Marks with more exits than one between them do not
/// count: something else exited too. `out` gets a line an operation: its number, how many of it count, on how many
/// processors; and one for each instruction that wrote to a shared line: number, `writes`, instruction, line.
namespace {

using hv::plugin::address;
using hv::plugin::effect;
using hv::plugin::world;

constexpr unsigned line_bits{6}, most_processors{64};

struct write_access {
    address instruction{};
    address line{};
    auto operator<=>(write_access const&) const = default;
};

/// What one processor does.
struct processor {
    world now{};
    unsigned operation{}; ///< 0: none
    unsigned exits{};     ///< in it
    std::vector<write_access> writes{};
};

/// An operation of one processor.
struct operation {
    unsigned count{};
    std::set<write_access> writes{};
};

struct instruction {
    address at{};
    effect does{};
    bool of_image{};
    unsigned mark{};
};

class sharing {
  public:
    hv::plugin::verified_image image{};

    void translated(qemu_plugin_tb const* block) {
        std::scoped_lock const hold{lock_};
        for (std::size_t n{}; n < qemu_plugin_tb_n_insns(block); ++n) {
            auto* const i = qemu_plugin_tb_get_insn(block, n);
            auto const at = qemu_plugin_insn_vaddr(i);
            auto const of_image = image.contains(at, reinterpret_cast<address>(qemu_plugin_insn_haddr(i)));
            auto const mark = of_image ? 0 : mark_of(i);
            auto& known = *instructions_.emplace_back(std::make_unique<instruction>(
                instruction{at, of_image ? image.effect_of(at) : effect::none, of_image, mark}));
            qemu_plugin_register_vcpu_insn_exec_cb(
                i, [](unsigned who, void* what) { the().executed(who, *static_cast<instruction*>(what)); },
                QEMU_PLUGIN_CB_NO_REGS, &known);
            if (of_image)
                qemu_plugin_register_vcpu_mem_cb(
                    i,
                    [](unsigned who, qemu_plugin_meminfo_t how, address where, void* what) {
                        the().accessed(who, how, where, *static_cast<instruction*>(what));
                    },
                    QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, &known);
        }
    }

    void write(std::string const& path) {
        std::scoped_lock const hold{lock_};
        std::map<unsigned, std::pair<unsigned, unsigned>> counts;
        std::set<std::pair<unsigned, write_access>> shared;
        for (auto const& [key, o] : operations_) {
            auto const& [number, who] = key;
            counts[number].first += o.count;
            ++counts[number].second;
            for (auto const& w : o.writes)
                if ((touched_[w.line] & ~(std::uint64_t{1} << who)) != 0)
                    shared.insert({number, w});
        }
        std::ofstream stream{path};
        for (auto const& [number, count] : counts)
            stream << number << ' ' << count.first << ' ' << count.second << '\n';
        for (auto const& [number, w] : shared)
            stream << number << " writes " << std::hex << w.instruction << ' ' << (w.line << line_bits) << std::dec
                   << '\n';
        if (not stream.flush())
            std::cerr << "hv-sharing: " << path << " cannot be written\n";
    }

    /// QEMU calls the last callback behind all destructors.
    static auto the() -> sharing& {
        static auto& one = *new sharing;
        return one;
    }

  private:
    /// Behind `numbered`, plus 1; 0 if it is none. A NOP r/m32 with a displacement of 32 bits to RAX.
    static auto mark_of(qemu_plugin_insn* i) -> unsigned {
        constexpr std::array<unsigned char, 3> nop{0x0f, 0x1f, 0x80};
        auto const* const bytes = static_cast<unsigned char const*>(qemu_plugin_insn_data(i));
        std::uint32_t mark{};
        if (qemu_plugin_insn_size(i) != nop.size() + sizeof mark or std::memcmp(bytes, nop.data(), nop.size()) != 0)
            return 0;
        std::memcpy(&mark, bytes + nop.size(), sizeof mark);
        auto const number = mark - hv::operation_marks::numbered;
        return number < 0x1'0000 ? number + 1 : 0;
    }

    void executed(unsigned who, instruction const& i) {
        std::scoped_lock const hold{lock_};
        auto& p = processors_.at(who);
        if (i.mark != 0 and p.now == world::guest)
            marked(who, p, i.mark - 1);
        if (p.now == world::guest and i.of_image) {
            p.now = world::hot;
            ++p.exits;
        }
        if (i.does == effect::enters)
            p.now = world::guest;
        else if (i.does == effect::leaves and p.now == world::hot)
            p.now = world::outside;
    }

    void marked(unsigned who, processor& p, unsigned number) {
        if (number == 0 and p.operation != 0 and p.exits == 1) {
            auto& o = operations_[{p.operation, who}];
            ++o.count;
            o.writes.insert(p.writes.begin(), p.writes.end());
        }
        p.operation = number;
        p.exits = 0;
        p.writes.clear();
    }

    void accessed(unsigned who, qemu_plugin_meminfo_t how, address where, instruction const& i) {
        std::scoped_lock const hold{lock_};
        auto& p = processors_.at(who);
        // The entry itself is the guest's turn already; its own accesses are not seen here.
        if (p.now != world::hot)
            return;
        if (auto const* const physical = qemu_plugin_get_hwaddr(how, where);
            physical != nullptr and qemu_plugin_hwaddr_is_io(physical))
            return; // a register of the processor's own local APIC, or of a device
        auto const line = where >> line_bits;
        touched_[line] |= std::uint64_t{1} << who;
        if (p.operation != 0 and qemu_plugin_mem_is_store(how))
            p.writes.push_back({i.at, line});
    }

    std::mutex lock_{};
    std::vector<std::unique_ptr<instruction>> instructions_{};
    std::array<processor, most_processors> processors_{};
    std::map<address, std::uint64_t> touched_{}; ///< by line: processors, a bit each
    std::map<std::pair<unsigned, unsigned>, operation> operations_{};
};

auto out() -> std::string& {
    static auto& path = *new std::string;
    return path;
}

} // namespace

extern "C" {

[[gnu::visibility("default")]] int qemu_plugin_version{1};

[[gnu::visibility("default")]] auto qemu_plugin_install(qemu_plugin_id_t id, qemu_info_t const*, int count,
                                                        char** arguments) -> int {
    try {
        for (int n{}; n < count; ++n) {
            std::string_view const argument{arguments[n]};
            if (argument.starts_with("verified="))
                sharing::the().image.read(std::string{argument.substr(9)});
            else if (argument.starts_with("out="))
                out() = argument.substr(4);
        }
    } catch (std::exception const& e) {
        std::cerr << "hv-sharing: what hv-verify --json wrote cannot be read: " << e.what() << '\n';
        return 1;
    }
    if (out().empty()) {
        std::cerr << "hv-sharing: verified=FILE and out=FILE are needed\n";
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(
        id, [](qemu_plugin_id_t, qemu_plugin_tb* block) { sharing::the().translated(block); });
    qemu_plugin_register_atexit_cb(id, [](qemu_plugin_id_t, void*) { sharing::the().write(out()); }, nullptr);
    return 0;
}
}
