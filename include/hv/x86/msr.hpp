// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

/// Model-specific registers by the names of the manuals. SDM Vol. 4, "Architectural MSRs"; APM Vol. 2, "MSR
/// Cross-Reference".
namespace hv::x86::msr {

inline constexpr std::uint32_t ia32_tsc{0x10};
inline constexpr std::uint32_t ia32_apic_base{0x1b};
inline constexpr std::uint32_t ia32_feature_control{0x3a};
inline constexpr std::uint32_t ia32_tsc_adjust{0x3b};
inline constexpr std::uint32_t ia32_spec_ctrl{0x48};
inline constexpr std::uint32_t ia32_pred_cmd{0x49};
inline constexpr std::uint32_t ia32_bios_sign_id{0x8b};
inline constexpr std::uint32_t ia32_mtrrcap{0xfe};
inline constexpr std::uint32_t ia32_arch_capabilities{0x10a};
inline constexpr std::uint32_t ia32_flush_cmd{0x10b};
inline constexpr std::uint32_t ia32_sysenter_cs{0x174};
inline constexpr std::uint32_t ia32_sysenter_esp{0x175};
inline constexpr std::uint32_t ia32_sysenter_eip{0x176};
inline constexpr std::uint32_t ia32_mcg_cap{0x179};
inline constexpr std::uint32_t ia32_mcg_status{0x17a};
inline constexpr std::uint32_t ia32_mcg_ctl{0x17b};
inline constexpr std::uint32_t ia32_misc_enable{0x1a0};
inline constexpr std::uint32_t ia32_debugctl{0x1d9};
inline constexpr std::uint32_t ia32_mtrr_physbase0{0x200};
inline constexpr std::uint32_t ia32_mtrr_physmask7{0x20f};
inline constexpr std::uint32_t ia32_mtrr_fix64k_00000{0x250};
inline constexpr std::uint32_t ia32_mtrr_fix16k_80000{0x258};
inline constexpr std::uint32_t ia32_mtrr_fix16k_a0000{0x259};
inline constexpr std::uint32_t ia32_mtrr_fix4k_c0000{0x268};
inline constexpr std::uint32_t ia32_mtrr_fix4k_f8000{0x26f};
inline constexpr std::uint32_t ia32_pat{0x277};
inline constexpr std::uint32_t ia32_mtrr_def_type{0x2ff};
inline constexpr std::uint32_t ia32_vmx_basic{0x480};
inline constexpr std::uint32_t ia32_vmx_pinbased_ctls{0x481};
inline constexpr std::uint32_t ia32_vmx_procbased_ctls{0x482};
inline constexpr std::uint32_t ia32_vmx_exit_ctls{0x483};
inline constexpr std::uint32_t ia32_vmx_entry_ctls{0x484};
inline constexpr std::uint32_t ia32_vmx_misc{0x485};
inline constexpr std::uint32_t ia32_vmx_cr0_fixed0{0x486};
inline constexpr std::uint32_t ia32_vmx_cr0_fixed1{0x487};
inline constexpr std::uint32_t ia32_vmx_cr4_fixed0{0x488};
inline constexpr std::uint32_t ia32_vmx_cr4_fixed1{0x489};
inline constexpr std::uint32_t ia32_vmx_procbased_ctls2{0x48b};
inline constexpr std::uint32_t ia32_vmx_ept_vpid_cap{0x48c};
inline constexpr std::uint32_t ia32_vmx_true_pinbased_ctls{0x48d};
inline constexpr std::uint32_t ia32_vmx_true_procbased_ctls{0x48e};
inline constexpr std::uint32_t ia32_vmx_true_exit_ctls{0x48f};
inline constexpr std::uint32_t ia32_vmx_true_entry_ctls{0x490};
inline constexpr std::uint32_t ia32_tsc_deadline{0x6e0};
inline constexpr std::uint32_t x2apic_first{0x800};
inline constexpr std::uint32_t x2apic_last{0x8ff};
inline constexpr std::uint32_t ia32_xss{0xda0};
inline constexpr std::uint32_t ia32_efer{0xc0000080};
inline constexpr std::uint32_t ia32_star{0xc0000081};
inline constexpr std::uint32_t ia32_lstar{0xc0000082};
inline constexpr std::uint32_t ia32_cstar{0xc0000083};
inline constexpr std::uint32_t ia32_fmask{0xc0000084};
inline constexpr std::uint32_t ia32_fs_base{0xc0000100};
inline constexpr std::uint32_t ia32_gs_base{0xc0000101};
inline constexpr std::uint32_t ia32_kernel_gs_base{0xc0000102};
inline constexpr std::uint32_t ia32_tsc_aux{0xc0000103};
inline constexpr std::uint32_t amd_tsc_ratio{0xc0000104};
inline constexpr std::uint32_t amd_syscfg{0xc0010010};
inline constexpr std::uint32_t amd_hwcr{0xc0010015};
inline constexpr std::uint32_t amd_vm_cr{0xc0010114};
inline constexpr std::uint32_t amd_vm_hsave_pa{0xc0010117};
inline constexpr std::uint32_t amd_de_cfg{0xc0011029};

} // namespace hv::x86::msr

/// Bits of IA32_SPEC_CTRL.
namespace hv::x86::spec_ctrl {
inline constexpr std::uint64_t ibrs{1u << 0};
inline constexpr std::uint64_t stibp{1u << 1};
inline constexpr std::uint64_t ssbd{1u << 2};
inline constexpr std::uint64_t psfd{1u << 7};
} // namespace hv::x86::spec_ctrl

namespace hv::x86::pred_cmd {
inline constexpr std::uint64_t ibpb{1u << 0};
} // namespace hv::x86::pred_cmd

namespace hv::x86::flush_cmd {
inline constexpr std::uint64_t l1d_flush{1u << 0};
} // namespace hv::x86::flush_cmd

/// Bits of IA32_ARCH_CAPABILITIES. Most say what the processor does not suffer from.
namespace hv::x86::arch_capabilities {
inline constexpr std::uint64_t rdcl_no{1u << 0};
inline constexpr std::uint64_t ibrs_all{1u << 1};
inline constexpr std::uint64_t rsba{1u << 2};
inline constexpr std::uint64_t skip_l1dfl_vmentry{1u << 3};
inline constexpr std::uint64_t ssb_no{1u << 4};
inline constexpr std::uint64_t mds_no{1u << 5};
inline constexpr std::uint64_t if_pschange_mc_no{1u << 6};
inline constexpr std::uint64_t taa_no{1u << 8};
inline constexpr std::uint64_t sbdr_ssdp_no{1u << 13};
inline constexpr std::uint64_t fbsdp_no{1u << 14};
inline constexpr std::uint64_t psdp_no{1u << 15};
inline constexpr std::uint64_t fb_clear{1u << 17};
inline constexpr std::uint64_t rrsba{1u << 19};
inline constexpr std::uint64_t bhi_no{1u << 20};
inline constexpr std::uint64_t pbrsb_no{1u << 24};
inline constexpr std::uint64_t gds_no{1u << 26};
inline constexpr std::uint64_t rfds_no{1u << 27};
inline constexpr std::uint64_t rfds_clear{1u << 28};
} // namespace hv::x86::arch_capabilities
