// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstddef>
#include <cstdint>

/// What exit_trace uses of version 1 of QEMU's plugin interface (QEMU's manual, "QEMU TCG Plugins"). No package of
/// Debian 12 has the header.
extern "C" {

using qemu_plugin_id_t = std::uint64_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;

struct qemu_plugin_hwaddr;

/// What a callback does with the guest's registers.
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_CB_R_REGS, QEMU_PLUGIN_CB_RW_REGS };

/// Which accesses to memory a callback hears of.
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W, QEMU_PLUGIN_MEM_RW };

using qemu_plugin_udata_cb_t = void (*)(qemu_plugin_id_t, void* userdata);
using qemu_plugin_vcpu_udata_cb_t = void (*)(unsigned vcpu_index, void* userdata);
using qemu_plugin_meminfo_t = std::uint32_t;
using qemu_plugin_vcpu_mem_cb_t = void (*)(unsigned vcpu_index, qemu_plugin_meminfo_t, std::uint64_t address,
                                           void* userdata);
using qemu_plugin_vcpu_tb_trans_cb_t = void (*)(qemu_plugin_id_t, qemu_plugin_tb*);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, qemu_plugin_vcpu_tb_trans_cb_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, qemu_plugin_udata_cb_t, void* userdata);
void qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_insn*, qemu_plugin_vcpu_udata_cb_t, qemu_plugin_cb_flags,
                                            void* userdata);

void qemu_plugin_register_vcpu_mem_cb(qemu_plugin_insn*, qemu_plugin_vcpu_mem_cb_t, qemu_plugin_cb_flags,
                                      qemu_plugin_mem_rw, void* userdata);

auto qemu_plugin_mem_is_store(qemu_plugin_meminfo_t) -> bool;
auto qemu_plugin_get_hwaddr(qemu_plugin_meminfo_t, std::uint64_t address) -> qemu_plugin_hwaddr*;
/// Whether it is a device's register.
auto qemu_plugin_hwaddr_is_io(qemu_plugin_hwaddr const*) -> bool;

auto qemu_plugin_tb_n_insns(qemu_plugin_tb const*) -> std::size_t;
auto qemu_plugin_tb_get_insn(qemu_plugin_tb const*, std::size_t index) -> qemu_plugin_insn*;
auto qemu_plugin_insn_data(qemu_plugin_insn const*) -> void const*;
auto qemu_plugin_insn_size(qemu_plugin_insn const*) -> std::size_t;
auto qemu_plugin_insn_vaddr(qemu_plugin_insn const*) -> std::uint64_t;
/// Where the instruction lies in QEMU's own memory; null where it lies in none.
auto qemu_plugin_insn_haddr(qemu_plugin_insn const*) -> void*;
}
