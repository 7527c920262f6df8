// SPDX-License-Identifier: BSD-2-Clause
#include "operation_marks.hpp"
#include "qemu_plugin.hpp"
#include "verified_image.hpp"

#include <array>
#include <atomic>
#include <compare>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

/// A plugin of QEMU that records which instructions execute between a #VMEXIT and the next VMRUN.
///
///   -plugin libhv-exit-trace.so,verified=JSON,out=FILE[,operations=FILE]
///
/// JSON is what `hv-verify --json` says of the image. `out` gets a line an instruction: address, bytes, how often,
/// how often first behind an exit. `operations` gets the same for each operation that a guest marks
/// (operation_marks.hpp), its number before, from 1, and nothing behind `how often`; there also those that execute
/// outside the way of exits, while a processor of several waits. An instruction belongs to the image by where it lies
/// in physical memory: a guest may use the same addresses.
namespace {

using hv::plugin::address;
using hv::plugin::effect;
using hv::plugin::world;

struct record {
    effect does{};
    bool of_image{};
    std::atomic<std::uint64_t> count{};
    std::atomic<std::uint64_t> exits{}; ///< how often it came first behind one
    std::array<std::atomic<std::uint64_t>, 64> in_operation{};
};

class trace {
  public:
    void read(std::string const& path) { image_.read(path); }

    void translated(qemu_plugin_tb const* block) {
        std::scoped_lock const hold{lock_};
        for (std::size_t n{}; n < qemu_plugin_tb_n_insns(block); ++n) {
            auto* const i = qemu_plugin_tb_get_insn(block, n);
            auto const at = qemu_plugin_insn_vaddr(i);
            auto const of_image = image_.contains(at, reinterpret_cast<address>(qemu_plugin_insn_haddr(i)));
            note_mark(i);
            // The hypervisor never executes a block that was translated for a guest.
            if (not of_image and worlds_.at(here_) == world::guest)
                continue;
            auto const* bytes = static_cast<char const*>(qemu_plugin_insn_data(i));
            auto& r = records_[{at, {bytes, qemu_plugin_insn_size(i)}}];
            r.of_image = of_image;
            if (of_image)
                r.does = image_.effect_of(at);
            qemu_plugin_register_vcpu_insn_exec_cb(i, &trace::executed, QEMU_PLUGIN_CB_NO_REGS, &r);
        }
    }

    void write(std::string const& path) {
        std::ofstream stream{path};
        stream << std::hex;
        for (auto const& [key, r] : records_)
            if (r.count != 0)
                stream << key << ' ' << r.count << ' ' << r.exits << '\n';
        check(stream, path);
    }

    void write_operations(std::string const& path) {
        std::ofstream stream{path};
        stream << std::hex;
        for (auto const& [key, r] : records_)
            for (std::size_t n{1}; n < r.in_operation.size(); ++n)
                if (r.in_operation[n] != 0)
                    stream << n << ' ' << key << ' ' << r.in_operation[n] << '\n';
        check(stream, path);
    }

  private:
    /// Address and bytes.
    struct instruction {
        address at{};
        std::string bytes{};
        auto operator<=>(instruction const&) const = default;

        friend auto operator<<(std::ostream& stream, instruction const& i) -> std::ostream& {
            stream << i.at << ' ';
            for (auto const byte : i.bytes) {
                constexpr std::string_view digits{"0123456789abcdef"};
                stream << digits[static_cast<unsigned char>(byte) >> 4] << digits[byte & 0xf];
            }
            return stream;
        }
    };

    static void check(std::ofstream& stream, std::string const& path) {
        if (not stream.flush())
            std::cerr << "hv-exit-trace: " << path << " cannot be written\n";
    }

    /// NOP r/m32 with a displacement of 32 bits to RAX.
    static void note_mark(qemu_plugin_insn* i) {
        constexpr std::array<unsigned char, 3> nop{0x0f, 0x1f, 0x80};
        auto const* const bytes = static_cast<unsigned char const*>(qemu_plugin_insn_data(i));
        std::uint32_t mark{};
        if (qemu_plugin_insn_size(i) != nop.size() + sizeof mark or std::memcmp(bytes, nop.data(), nop.size()) != 0)
            return;
        std::memcpy(&mark, bytes + nop.size(), sizeof mark);
        if (mark == hv::operation_marks::begin)
            qemu_plugin_register_vcpu_insn_exec_cb(i, &trace::begins, QEMU_PLUGIN_CB_NO_REGS, nullptr);
        else if (mark == hv::operation_marks::again)
            qemu_plugin_register_vcpu_insn_exec_cb(i, &trace::goes_on, QEMU_PLUGIN_CB_NO_REGS, nullptr);
        else if (mark == hv::operation_marks::end)
            qemu_plugin_register_vcpu_insn_exec_cb(i, &trace::ends, QEMU_PLUGIN_CB_NO_REGS, nullptr);
    }
    static void begins(unsigned, void*) { operation_ = ++operations_; }
    static void goes_on(unsigned, void*) { operation_ = operations_.load(); }
    static void ends(unsigned, void*) { operation_ = 0; }

    static void executed(unsigned processor, void* data) {
        auto& r = *static_cast<record*>(data);
        auto& now = worlds_[processor % worlds_.size()];
        here_ = processor % worlds_.size();
        if (now == world::guest and r.of_image) {
            now = world::hot;
            r.exits.fetch_add(1, std::memory_order_relaxed);
        }
        if (now == world::hot)
            r.count.fetch_add(1, std::memory_order_relaxed);
        if (std::size_t const n{operation_}; now != world::guest and n != 0 and n < r.in_operation.size())
            r.in_operation[n].fetch_add(1, std::memory_order_relaxed);
        if (r.does == effect::enters)
            now = world::guest;
        else if (r.does == effect::leaves and now == world::hot)
            now = world::outside;
    }

    hv::plugin::verified_image image_{};
    std::mutex lock_{};
    std::map<instruction, record> records_{};

    static inline std::array<world, 64> worlds_{};
    static inline std::atomic<std::size_t> operation_{}; ///< 0: none
    static inline std::atomic<std::size_t> operations_{};
    /// The processor that executes on this thread.
    static inline thread_local std::size_t here_{};
};

struct options {
    trace made{};
    std::string out{};
    std::string operations{};
};
// QEMU hands nothing to the callback that it calls for a block, and calls the last one behind all destructors.
auto& the = *new options;

void on_translation(qemu_plugin_id_t, qemu_plugin_tb* block) {
    the.made.translated(block);
}
void at_exit(qemu_plugin_id_t, void*) {
    the.made.write(the.out);
    if (not the.operations.empty())
        the.made.write_operations(the.operations);
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
                the.made.read(std::string{argument.substr(9)});
            else if (argument.starts_with("out="))
                the.out = argument.substr(4);
            else if (argument.starts_with("operations="))
                the.operations = argument.substr(11);
        }
    } catch (std::exception const& e) {
        std::cerr << "hv-exit-trace: what hv-verify --json wrote cannot be read: " << e.what() << '\n';
        return 1;
    }
    if (the.out.empty()) {
        std::cerr << "hv-exit-trace: verified=FILE and out=FILE are needed\n";
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, at_exit, nullptr);
    return 0;
}
}
