// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

/// The virtual machine control block. APM Vol. 2, Appendix B, "Layout of VMCB".
namespace hv::backends::svm {

/// A set bit allows the processor to use its own copy of that group. APM Vol. 2, "VMCB Clean Bits".
enum class clean : std::uint8_t {
    intercepts,
    permission_maps,
    asid,
    interrupt,
    nested_paging,
    control_registers,
    debug_registers,
    descriptor_tables,
    segments,
    cr2,
    last_branch,
    avic,
    shadow_stack,
};
inline constexpr std::uint32_t all_clean{(1u << 13) - 1};

/// A VMCB member that the processor may cache: everybody may read it, only vmcb::write changes it.
template <typename T, clean Group>
class cached {
  public:
    constexpr operator T() const { return value_; }

  private:
    friend struct vmcb;
    T value_;
};

/// A segment register as the VMCB holds it: attributes are descriptor bits 55:52 and 47:40.
struct vmcb_segment {
    std::uint16_t selector;
    std::uint16_t attributes;
    std::uint32_t limit;
    std::uint64_t base;
};
static_assert(sizeof(vmcb_segment) == 16 and offsetof(vmcb_segment, limit) == 4 and offsetof(vmcb_segment, base) == 8);

// clang-format off

/// APM Vol. 2, "VMCB Layout, Control Area".
struct vmcb_control_area {
    cached<std::uint32_t, clean::intercepts>      intercept_cr;         // 000h, reads 15:0, writes 31:16
    cached<std::uint32_t, clean::intercepts>      intercept_dr;         // 004h
    cached<std::uint32_t, clean::intercepts>      intercept_exceptions; // 008h
    cached<std::uint32_t, clean::intercepts>      intercept_misc1;      // 00Ch
    cached<std::uint32_t, clean::intercepts>      intercept_misc2;      // 010h
    cached<std::uint32_t, clean::intercepts>      intercept_misc3;      // 014h
    std::uint8_t                                  reserved_018h[0x03c - 0x018];
    cached<std::uint16_t, clean::intercepts>      pause_filter_threshold; // 03Ch
    cached<std::uint16_t, clean::intercepts>      pause_filter_count;   // 03Eh
    cached<std::uint64_t, clean::permission_maps> iopm_base_pa;         // 040h
    cached<std::uint64_t, clean::permission_maps> msrpm_base_pa;        // 048h
    cached<std::uint64_t, clean::intercepts>      tsc_offset;           // 050h
    cached<std::uint32_t, clean::asid>            guest_asid;           // 058h
    std::uint32_t                                 tlb_control;          // 05Ch, bits 7:0
    cached<std::uint64_t, clean::interrupt>       v_intr;               // 060h
    std::uint64_t                                 interrupt_shadow;     // 068h, bit 0
    std::uint64_t                                 exitcode;             // 070h
    std::uint64_t                                 exitinfo1;            // 078h
    std::uint64_t                                 exitinfo2;            // 080h
    std::uint64_t                                 exitintinfo;          // 088h
    cached<std::uint64_t, clean::nested_paging>   np_enable;            // 090h, bit 0
    cached<std::uint64_t, clean::avic>            avic_apic_bar;        // 098h
    std::uint64_t                                 ghcb_gpa;             // 0A0h
    std::uint64_t                                 eventinj;             // 0A8h
    cached<std::uint64_t, clean::nested_paging>   n_cr3;                // 0B0h
    cached<std::uint64_t, clean::last_branch>     lbr_virtualization_enable; // 0B8h, bit 0; bit 1: VMLOAD and VMSAVE
    std::uint32_t                                 clean_bits;           // 0C0h
    std::uint32_t                                 reserved_0c4h;
    std::uint64_t                                 nrip;                 // 0C8h
    std::uint8_t                                  bytes_fetched;        // 0D0h
    std::array<std::uint8_t, 15>                  guest_instruction_bytes; // 0D1h
    cached<std::uint64_t, clean::avic>            avic_backing_page;    // 0E0h
    std::uint64_t                                 reserved_0e8h;
    cached<std::uint64_t, clean::avic>            avic_logical_table;   // 0F0h
    cached<std::uint64_t, clean::avic>            avic_physical_table;  // 0F8h
    std::uint64_t                                 reserved_100h;
    std::uint64_t                                 vmsa_pointer;         // 108h
    std::uint64_t                                 vmgexit_rax;          // 110h
    std::uint8_t                                  vmgexit_cpl;          // 118h
    std::uint8_t                                  reserved_119h[7];
    std::uint16_t                                 bus_lock_threshold;   // 120h
    std::uint8_t                                  reserved_122h[0x134 - 0x122];
    std::uint32_t                                 update_irr;           // 134h, bit 0
    std::uint64_t                                 allowed_sev_features; // 138h
    std::uint64_t                                 guest_sev_features;   // 140h
    std::uint64_t                                 reserved_148h;
    std::uint8_t                                  requested_irr[32];    // 150h
    std::uint8_t                                  reserved_170h[0x3e0 - 0x170];
    std::uint8_t                                  for_software[0x20];   // 3E0h
};
static_assert(sizeof(vmcb_control_area) == 0x400 and std::is_standard_layout_v<vmcb_control_area>);
static_assert(offsetof(vmcb_control_area, intercept_cr) == 0x000 and offsetof(vmcb_control_area, intercept_dr) == 0x004);
static_assert(offsetof(vmcb_control_area, intercept_exceptions) == 0x008);
static_assert(offsetof(vmcb_control_area, intercept_misc1) == 0x00c and offsetof(vmcb_control_area, intercept_misc2) == 0x010);
static_assert(offsetof(vmcb_control_area, intercept_misc3) == 0x014);
static_assert(offsetof(vmcb_control_area, pause_filter_threshold) == 0x03c and offsetof(vmcb_control_area, pause_filter_count) == 0x03e);
static_assert(offsetof(vmcb_control_area, iopm_base_pa) == 0x040 and offsetof(vmcb_control_area, msrpm_base_pa) == 0x048);
static_assert(offsetof(vmcb_control_area, tsc_offset) == 0x050 and offsetof(vmcb_control_area, guest_asid) == 0x058);
static_assert(offsetof(vmcb_control_area, tlb_control) == 0x05c and offsetof(vmcb_control_area, v_intr) == 0x060);
static_assert(offsetof(vmcb_control_area, interrupt_shadow) == 0x068 and offsetof(vmcb_control_area, exitcode) == 0x070);
static_assert(offsetof(vmcb_control_area, exitinfo1) == 0x078 and offsetof(vmcb_control_area, exitinfo2) == 0x080);
static_assert(offsetof(vmcb_control_area, exitintinfo) == 0x088 and offsetof(vmcb_control_area, np_enable) == 0x090);
static_assert(offsetof(vmcb_control_area, avic_apic_bar) == 0x098 and offsetof(vmcb_control_area, ghcb_gpa) == 0x0a0);
static_assert(offsetof(vmcb_control_area, eventinj) == 0x0a8 and offsetof(vmcb_control_area, n_cr3) == 0x0b0);
static_assert(offsetof(vmcb_control_area, lbr_virtualization_enable) == 0x0b8 and offsetof(vmcb_control_area, clean_bits) == 0x0c0);
static_assert(offsetof(vmcb_control_area, nrip) == 0x0c8 and offsetof(vmcb_control_area, bytes_fetched) == 0x0d0);
static_assert(offsetof(vmcb_control_area, guest_instruction_bytes) == 0x0d1 and offsetof(vmcb_control_area, avic_backing_page) == 0x0e0);
static_assert(offsetof(vmcb_control_area, avic_logical_table) == 0x0f0 and offsetof(vmcb_control_area, avic_physical_table) == 0x0f8);
static_assert(offsetof(vmcb_control_area, vmsa_pointer) == 0x108 and offsetof(vmcb_control_area, vmgexit_rax) == 0x110);
static_assert(offsetof(vmcb_control_area, vmgexit_cpl) == 0x118 and offsetof(vmcb_control_area, bus_lock_threshold) == 0x120);
static_assert(offsetof(vmcb_control_area, update_irr) == 0x134 and offsetof(vmcb_control_area, allowed_sev_features) == 0x138);
static_assert(offsetof(vmcb_control_area, guest_sev_features) == 0x140 and offsetof(vmcb_control_area, requested_irr) == 0x150);
static_assert(offsetof(vmcb_control_area, for_software) == 0x3e0);

/// APM Vol. 2, "VMCB Layout, State Save Area". Offsets count from the start of this area, 400h in the VMCB.
/// FS, GS, LDTR, TR, KERNEL_GS_BASE and the SYSCALL and SYSENTER MSRs move with VMLOAD and VMSAVE only.
struct vmcb_state_save_area {
    cached<vmcb_segment, clean::segments>           es, cs, ss, ds;     // 000h
    vmcb_segment                                    fs, gs;             // 040h
    cached<vmcb_segment, clean::descriptor_tables>  gdtr;               // 060h
    vmcb_segment                                    ldtr;               // 070h
    cached<vmcb_segment, clean::descriptor_tables>  idtr;               // 080h
    vmcb_segment                                    tr;                 // 090h
    std::uint8_t                                    reserved_0a0h[0x0cb - 0x0a0];
    cached<std::uint8_t, clean::segments>           cpl;                // 0CBh
    std::uint32_t                                   reserved_0cch;
    cached<std::uint64_t, clean::control_registers> efer;               // 0D0h
    std::uint64_t                                   reserved_0d8h;
    std::uint64_t                                   performance_counters[12]; // 0E0h, control and counter of 0-5
    std::uint64_t                                   reserved_140h;
    cached<std::uint64_t, clean::control_registers> cr4;                // 148h
    cached<std::uint64_t, clean::control_registers> cr3;                // 150h
    cached<std::uint64_t, clean::control_registers> cr0;                // 158h
    cached<std::uint64_t, clean::debug_registers>   dr7;                // 160h
    cached<std::uint64_t, clean::debug_registers>   dr6;                // 168h
    std::uint64_t                                   rflags;             // 170h
    std::uint64_t                                   rip;                // 178h
    std::uint8_t                                    reserved_180h[0x1c0 - 0x180];
    std::uint64_t                                   instr_retired_ctr;  // 1C0h
    std::uint64_t                                   perf_ctr_global_sts; // 1C8h
    std::uint64_t                                   perf_ctr_global_ctl; // 1D0h
    std::uint64_t                                   rsp;                // 1D8h
    cached<std::uint64_t, clean::shadow_stack>      s_cet;              // 1E0h
    cached<std::uint64_t, clean::shadow_stack>      ssp;                // 1E8h
    cached<std::uint64_t, clean::shadow_stack>      isst_addr;          // 1F0h
    std::uint64_t                                   rax;                // 1F8h
    std::uint64_t                                   star;               // 200h
    std::uint64_t                                   lstar;              // 208h
    std::uint64_t                                   cstar;              // 210h
    std::uint64_t                                   sfmask;             // 218h
    std::uint64_t                                   kernel_gs_base;     // 220h
    std::uint64_t                                   sysenter_cs;        // 228h
    std::uint64_t                                   sysenter_esp;       // 230h
    std::uint64_t                                   sysenter_eip;       // 238h
    cached<std::uint64_t, clean::cr2>               cr2;                // 240h
    std::uint8_t                                    reserved_248h[0x268 - 0x248];
    cached<std::uint64_t, clean::nested_paging>     g_pat;              // 268h
    cached<std::uint64_t, clean::last_branch>       dbgctl;             // 270h
    cached<std::uint64_t, clean::last_branch>       br_from;            // 278h
    cached<std::uint64_t, clean::last_branch>       br_to;              // 280h
    cached<std::uint64_t, clean::last_branch>       lastexcpfrom;       // 288h
    cached<std::uint64_t, clean::last_branch>       lastexcpto;         // 290h
    std::uint64_t                                   dbgextncfg;         // 298h
    std::uint8_t                                    reserved_2a0h[0x2e0 - 0x2a0];
    std::uint64_t                                   spec_ctrl;          // 2E0h
    std::uint8_t                                    reserved_2e8h[0x670 - 0x2e8];
    std::uint64_t                                   lbr_stack[32];      // 670h, from and to of 16
    std::uint64_t                                   lbr_select;         // 770h
    std::uint64_t                                   ibs_fetch_ctl;      // 778h
    std::uint64_t                                   ibs_fetch_linaddr;  // 780h
    std::uint64_t                                   ibs_op_ctl;         // 788h
    std::uint64_t                                   ibs_op_rip;         // 790h
    std::uint64_t                                   ibs_op_data[3];     // 798h
    std::uint64_t                                   ibs_dc_linaddr;     // 7B0h
    std::uint64_t                                   bp_ibstgt_rip;      // 7B8h
    std::uint64_t                                   ic_ibs_extd_ctl;    // 7C0h
    std::uint8_t                                    reserved_7c8h[0xc00 - 0x7c8];
};
static_assert(sizeof(vmcb_state_save_area) == 0xc00 and std::is_standard_layout_v<vmcb_state_save_area>);
static_assert(offsetof(vmcb_state_save_area, es) == 0x000 and offsetof(vmcb_state_save_area, cs) == 0x010);
static_assert(offsetof(vmcb_state_save_area, ss) == 0x020 and offsetof(vmcb_state_save_area, ds) == 0x030);
static_assert(offsetof(vmcb_state_save_area, fs) == 0x040 and offsetof(vmcb_state_save_area, gs) == 0x050);
static_assert(offsetof(vmcb_state_save_area, gdtr) == 0x060 and offsetof(vmcb_state_save_area, ldtr) == 0x070);
static_assert(offsetof(vmcb_state_save_area, idtr) == 0x080 and offsetof(vmcb_state_save_area, tr) == 0x090);
static_assert(offsetof(vmcb_state_save_area, cpl) == 0x0cb and offsetof(vmcb_state_save_area, efer) == 0x0d0);
static_assert(offsetof(vmcb_state_save_area, performance_counters) == 0x0e0);
static_assert(offsetof(vmcb_state_save_area, cr4) == 0x148 and offsetof(vmcb_state_save_area, cr3) == 0x150);
static_assert(offsetof(vmcb_state_save_area, cr0) == 0x158 and offsetof(vmcb_state_save_area, dr7) == 0x160);
static_assert(offsetof(vmcb_state_save_area, dr6) == 0x168 and offsetof(vmcb_state_save_area, rflags) == 0x170);
static_assert(offsetof(vmcb_state_save_area, rip) == 0x178 and offsetof(vmcb_state_save_area, instr_retired_ctr) == 0x1c0);
static_assert(offsetof(vmcb_state_save_area, perf_ctr_global_sts) == 0x1c8 and offsetof(vmcb_state_save_area, perf_ctr_global_ctl) == 0x1d0);
static_assert(offsetof(vmcb_state_save_area, rsp) == 0x1d8 and offsetof(vmcb_state_save_area, s_cet) == 0x1e0);
static_assert(offsetof(vmcb_state_save_area, ssp) == 0x1e8 and offsetof(vmcb_state_save_area, isst_addr) == 0x1f0);
static_assert(offsetof(vmcb_state_save_area, rax) == 0x1f8 and offsetof(vmcb_state_save_area, star) == 0x200);
static_assert(offsetof(vmcb_state_save_area, lstar) == 0x208 and offsetof(vmcb_state_save_area, cstar) == 0x210);
static_assert(offsetof(vmcb_state_save_area, sfmask) == 0x218 and offsetof(vmcb_state_save_area, kernel_gs_base) == 0x220);
static_assert(offsetof(vmcb_state_save_area, sysenter_cs) == 0x228 and offsetof(vmcb_state_save_area, sysenter_esp) == 0x230);
static_assert(offsetof(vmcb_state_save_area, sysenter_eip) == 0x238 and offsetof(vmcb_state_save_area, cr2) == 0x240);
static_assert(offsetof(vmcb_state_save_area, g_pat) == 0x268 and offsetof(vmcb_state_save_area, dbgctl) == 0x270);
static_assert(offsetof(vmcb_state_save_area, br_from) == 0x278 and offsetof(vmcb_state_save_area, br_to) == 0x280);
static_assert(offsetof(vmcb_state_save_area, lastexcpfrom) == 0x288 and offsetof(vmcb_state_save_area, lastexcpto) == 0x290);
static_assert(offsetof(vmcb_state_save_area, dbgextncfg) == 0x298 and offsetof(vmcb_state_save_area, spec_ctrl) == 0x2e0);
static_assert(offsetof(vmcb_state_save_area, lbr_stack) == 0x670 and offsetof(vmcb_state_save_area, lbr_select) == 0x770);
static_assert(offsetof(vmcb_state_save_area, ibs_fetch_ctl) == 0x778 and offsetof(vmcb_state_save_area, ibs_fetch_linaddr) == 0x780);
static_assert(offsetof(vmcb_state_save_area, ibs_op_ctl) == 0x788 and offsetof(vmcb_state_save_area, ibs_op_rip) == 0x790);
static_assert(offsetof(vmcb_state_save_area, ibs_op_data) == 0x798 and offsetof(vmcb_state_save_area, ibs_dc_linaddr) == 0x7b0);
static_assert(offsetof(vmcb_state_save_area, bp_ibstgt_rip) == 0x7b8 and offsetof(vmcb_state_save_area, ic_ibs_extd_ctl) == 0x7c0);
// clang-format on

/// One guest's control block, a page of physical memory.
struct vmcb {
    vmcb_control_area control;
    vmcb_state_save_area save;

    /// The only way to change a cached member: the processor will load it again.
    template <typename T, clean Group>
    constexpr void write(cached<T, Group>& member, std::type_identity_t<T> value) {
        member.value_ = value;
        control.clean_bits &= ~(1u << static_cast<unsigned>(Group));
    }
};
static_assert(sizeof(vmcb) == 0x1000 and std::is_standard_layout_v<vmcb> and std::is_trivially_copyable_v<vmcb>);

/// Bits of v_intr. APM Vol. 2, "Virtual Interrupt Control".
namespace v_intr {
inline constexpr std::uint64_t v_tpr{0xff};
inline constexpr std::uint64_t v_irq{1u << 8};
inline constexpr std::uint64_t highest_priority{0xfu << 16};
inline constexpr std::uint64_t v_ign_tpr{1u << 20};
inline constexpr std::uint64_t v_intr_masking{1u << 24};
} // namespace v_intr

/// APM Vol. 2, "TLB Flush".
enum class tlb_control : std::uint32_t { nothing = 0, flush_all = 1, flush_this_guest = 3, flush_non_global = 7 };

} // namespace hv::backends::svm
