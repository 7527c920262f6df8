// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hv::backends::vmx {

/// Bits 14:13 of a field's encoding. SDM Vol. 3C, "VMREAD, VMWRITE, and Encodings of VMCS Fields".
enum class field_width : std::uint8_t { bits16 = 0, bits64 = 1, bits32 = 2, natural = 3 };
/// Bits 11:10.
enum class field_kind : std::uint8_t { control = 0, exit_information = 1, guest = 2, host = 3 };

/// Not constexpr on purpose: reaching it during constant evaluation is the error message.
void vmcs_encoding_width_does_not_match_the_declared_type();

/// One VMCS field: its encoding, and the type of its value. A width error does not compile.
template <typename T>
struct field {
    using value_type = T;
    std::uint32_t encoding;

    consteval explicit field(std::uint32_t of) : encoding{of} {
        constexpr std::array<std::size_t, 4> bytes{2, 8, 4, 8};
        if (bytes[of >> 13 & 3] != sizeof(T) or (of & 1) != 0)
            vmcs_encoding_width_does_not_match_the_declared_type();
    }
};

// clang-format off

// SDM Vol. 3D, Appendix B, "Field Encoding in VMCS". Of a group of segment registers only the first has a name here;
// the others follow in the order of x86::segment_name.

// 16-bit fields
inline constexpr field<std::uint16_t> virtual_processor_identifier{0x0000};
inline constexpr field<std::uint16_t> guest_es_selector{0x0800};
inline constexpr field<std::uint16_t> host_es_selector{0x0c00}; // then CS, SS, DS, FS, GS, TR
// 64-bit fields
inline constexpr field<std::uint64_t> address_of_msr_bitmaps{0x2004};
inline constexpr field<std::uint64_t> tsc_offset{0x2010};
inline constexpr field<std::uint64_t> virtual_apic_address{0x2012};
inline constexpr field<std::uint64_t> ept_pointer{0x201a};
inline constexpr field<std::uint64_t> xss_exiting_bitmap{0x202c};
inline constexpr field<std::uint64_t> tsc_multiplier{0x2032};
inline constexpr field<std::uint64_t> guest_physical_address{0x2400};
inline constexpr field<std::uint64_t> vmcs_link_pointer{0x2800};
inline constexpr field<std::uint64_t> guest_ia32_debugctl{0x2802};
inline constexpr field<std::uint64_t> guest_ia32_pat{0x2804};
inline constexpr field<std::uint64_t> guest_ia32_efer{0x2806};
inline constexpr field<std::uint64_t> guest_pdpte0{0x280a}; // to 3
inline constexpr field<std::uint64_t> host_ia32_pat{0x2c00};
inline constexpr field<std::uint64_t> host_ia32_efer{0x2c02};
// 32-bit fields
inline constexpr field<std::uint32_t> pin_based_controls{0x4000};
inline constexpr field<std::uint32_t> primary_controls{0x4002};
inline constexpr field<std::uint32_t> exception_bitmap{0x4004};
inline constexpr field<std::uint32_t> page_fault_error_code_mask{0x4006};
inline constexpr field<std::uint32_t> page_fault_error_code_match{0x4008};
inline constexpr field<std::uint32_t> cr3_target_count{0x400a};
inline constexpr field<std::uint32_t> vm_exit_controls{0x400c};
inline constexpr field<std::uint32_t> vm_exit_msr_store_count{0x400e};
inline constexpr field<std::uint32_t> vm_exit_msr_load_count{0x4010};
inline constexpr field<std::uint32_t> vm_entry_controls{0x4012};
inline constexpr field<std::uint32_t> vm_entry_msr_load_count{0x4014};
inline constexpr field<std::uint32_t> vm_entry_interruption_information{0x4016};
inline constexpr field<std::uint32_t> vm_entry_exception_error_code{0x4018};
inline constexpr field<std::uint32_t> vm_entry_instruction_length{0x401a};
inline constexpr field<std::uint32_t> tpr_threshold{0x401c};
inline constexpr field<std::uint32_t> secondary_controls{0x401e};
inline constexpr field<std::uint32_t> ple_gap{0x4020};
inline constexpr field<std::uint32_t> ple_window{0x4022};
inline constexpr field<std::uint32_t> vm_instruction_error{0x4400};
inline constexpr field<std::uint32_t> exit_reason{0x4402};
inline constexpr field<std::uint32_t> vm_exit_interruption_information{0x4404};
inline constexpr field<std::uint32_t> vm_exit_interruption_error_code{0x4406};
inline constexpr field<std::uint32_t> idt_vectoring_information{0x4408};
inline constexpr field<std::uint32_t> idt_vectoring_error_code{0x440a};
inline constexpr field<std::uint32_t> vm_exit_instruction_length{0x440c};
inline constexpr field<std::uint32_t> vm_exit_instruction_information{0x440e};
inline constexpr field<std::uint32_t> guest_es_limit{0x4800};
inline constexpr field<std::uint32_t> guest_gdtr_limit{0x4810};
inline constexpr field<std::uint32_t> guest_idtr_limit{0x4812};
inline constexpr field<std::uint32_t> guest_es_access_rights{0x4814};
inline constexpr field<std::uint32_t> guest_interruptibility_state{0x4824};
inline constexpr field<std::uint32_t> guest_activity_state{0x4826};
inline constexpr field<std::uint32_t> guest_ia32_sysenter_cs{0x482a};
inline constexpr field<std::uint32_t> vmx_preemption_timer_value{0x482e};
inline constexpr field<std::uint32_t> host_ia32_sysenter_cs{0x4c00};
// natural-width fields
inline constexpr field<std::uint64_t> cr0_guest_host_mask{0x6000};
inline constexpr field<std::uint64_t> cr4_guest_host_mask{0x6002};
inline constexpr field<std::uint64_t> cr0_read_shadow{0x6004};
inline constexpr field<std::uint64_t> cr4_read_shadow{0x6006};
inline constexpr field<std::uint64_t> exit_qualification{0x6400};
inline constexpr field<std::uint64_t> guest_linear_address{0x640a};
inline constexpr field<std::uint64_t> guest_cr0{0x6800};
inline constexpr field<std::uint64_t> guest_cr3{0x6802};
inline constexpr field<std::uint64_t> guest_cr4{0x6804};
inline constexpr field<std::uint64_t> guest_es_base{0x6806};
inline constexpr field<std::uint64_t> guest_gdtr_base{0x6816};
inline constexpr field<std::uint64_t> guest_idtr_base{0x6818};
inline constexpr field<std::uint64_t> guest_dr7{0x681a};
inline constexpr field<std::uint64_t> guest_rsp{0x681c};
inline constexpr field<std::uint64_t> guest_rip{0x681e};
inline constexpr field<std::uint64_t> guest_rflags{0x6820};
inline constexpr field<std::uint64_t> guest_pending_debug_exceptions{0x6822};
inline constexpr field<std::uint64_t> guest_ia32_sysenter_esp{0x6824};
inline constexpr field<std::uint64_t> guest_ia32_sysenter_eip{0x6826};
inline constexpr field<std::uint64_t> host_cr0{0x6c00};
inline constexpr field<std::uint64_t> host_cr3{0x6c02};
inline constexpr field<std::uint64_t> host_cr4{0x6c04};
inline constexpr field<std::uint64_t> host_fs_base{0x6c06};
inline constexpr field<std::uint64_t> host_gs_base{0x6c08};
inline constexpr field<std::uint64_t> host_tr_base{0x6c0a};
inline constexpr field<std::uint64_t> host_gdtr_base{0x6c0c};
inline constexpr field<std::uint64_t> host_idtr_base{0x6c0e};
inline constexpr field<std::uint64_t> host_ia32_sysenter_esp{0x6c10};
inline constexpr field<std::uint64_t> host_ia32_sysenter_eip{0x6c12};
// HOST_RSP and HOST_RIP are the world switch's own.
inline constexpr std::uint32_t host_rsp_encoding{0x6c14}, host_rip_encoding{0x6c16};
// Fields that come with the controls of APIC virtualisation (apic.hpp); without these VMWRITE refuses them.
inline constexpr field<std::uint16_t> guest_interrupt_status{0x0810};
inline constexpr field<std::uint64_t> apic_access_address{0x2014};
inline constexpr field<std::uint64_t> eoi_exit_bitmap_0{0x201c}; // to 3

namespace detail {

/// Ranges of consecutive encodings: first and last.
struct field_range { std::uint16_t first, last; };
/// What an exit may change and only some exits ask for; then what is read behind every exit; then what no exit changes.
inline constexpr field_range lazy_fields[]{
    {0x0800, 0x080e}, {0x2400, 0x2400}, {0x2802, 0x2802}, {0x280a, 0x2810}, {0x4400, 0x4400}, {0x4404, 0x440e},
    {0x4800, 0x4822}, {0x4826, 0x4826}, {0x482a, 0x482a}, {0x6400, 0x6400}, {0x640a, 0x640a}, {0x6800, 0x681c}, {0x6822, 0x6826}};
inline constexpr field_range eager_fields[]{
    {0x4402, 0x4402}, {0x4824, 0x4824}, {0x681e, 0x6820}};
inline constexpr field_range kept_fields[]{
    {0x0000, 0x0000}, {0x0c00, 0x0c0c}, {0x2004, 0x2004}, {0x2010, 0x2012}, {0x201a, 0x201a}, {0x202c, 0x202c}, {0x2032, 0x2032},
    {0x2800, 0x2800}, {0x2804, 0x2806}, {0x2c00, 0x2c02}, {0x4000, 0x4022}, {0x482e, 0x482e}, {0x4c00, 0x4c00}, {0x6000, 0x6006},
    {0x6c00, 0x6c12}};
// clang-format on

[[nodiscard]] constexpr auto count(std::span<field_range const> ranges) -> unsigned {
    unsigned n{0};
    for (auto const& r : ranges)
        n += (r.last - r.first) / 2u + 1u;
    return n;
}
inline constexpr unsigned lazy_count{count(lazy_fields)}, eager_end{lazy_count + count(eager_fields)},
    field_count{eager_end + count(kept_fields)};
inline constexpr std::array<std::uint16_t, field_count> encodings = [] {
    std::array<std::uint16_t, field_count> list{};
    std::size_t n{0};
    for (auto const ranges : {std::span<field_range const>{lazy_fields}, std::span<field_range const>{eager_fields},
                              std::span<field_range const>{kept_fields}})
        for (auto const& r : ranges)
            for (unsigned e{r.first}; e <= r.last; e += 2)
                list[n++] = static_cast<std::uint16_t>(e);
    return list;
}();

/// Fields of which some processors have none. They belong to a control that brings them, and no exit changes them.
[[nodiscard]] constexpr auto is_optional(std::uint16_t encoding) -> bool {
    return encoding == xss_exiting_bitmap.encoding or encoding == tsc_multiplier.encoding or
           encoding == vmx_preemption_timer_value.encoding or encoding == ple_gap.encoding or
           encoding == ple_window.encoding;
}

} // namespace detail

/// A VMCS together with what software knows of it. A field is read from the processor at most once an exit and written
/// only where it changes; and everything can be read and written while the VMCS is on no processor, or on another.
template <typename WorldSwitch>
class cached_vmcs {
  public:
    /// The field, or the one `behind` places after it.
    template <auto Field>
    [[nodiscard]] auto read(unsigned behind = 0) const -> typename decltype(Field)::value_type {
        auto const n = slot<Field>() + behind;
        if constexpr (is_lazy<Field>())
            if ((known_ >> n & 1) == 0)
                fetch(n);
        return static_cast<typename decltype(Field)::value_type>(values_[n]);
    }
    /// The field as the VMCS has it, which must be current: for what is asked for once an exit.
    template <auto Field>
    [[nodiscard]] auto read_once() const -> typename decltype(Field)::value_type {
        static_assert(is_lazy<Field>());
        return static_cast<typename decltype(Field)::value_type>(WorldSwitch::vmread_certain(Field.encoding));
    }
    template <auto Field>
    void write(typename decltype(Field)::value_type value, unsigned behind = 0) {
        auto const n = slot<Field>() + behind;
        if constexpr (is_lazy<Field>()) {
            auto const bit = std::uint64_t{1} << n;
            if ((known_ & bit) != 0 and values_[n] == value)
                return;
            known_ |= bit;
        } else if (values_[n] == value) {
            return;
        }
        values_[n] = value;
        if (not current_)
            dirty_[n / 64] |= std::uint64_t{1} << n % 64;
        else if constexpr (is_eager<Field>())
            WorldSwitch::vmwrite_certain(detail::encodings[n], value);
        else if (not WorldSwitch::vmwrite(detail::encodings[n], value)) [[unlikely]]
            refused_ = true;
    }
    /// The same of a field read behind every exit, where it is known that it changes and that the VMCS is current.
    template <auto Field>
    [[gnu::always_inline]] void overwrite(typename decltype(Field)::value_type value) {
        static_assert(is_eager<Field>());
        values_[slot<Field>()] = value;
        WorldSwitch::vmwrite_certain(Field.encoding, value);
    }
    /// Takes effect with the next `load`, whatever the VMCS holds: the first value of an optional field.
    template <auto Field>
    void begin(typename decltype(Field)::value_type value) {
        static_assert(detail::is_optional(Field.encoding));
        values_[slot<Field>()] = value;
        dirty_[slot<Field>() / 64] |= std::uint64_t{1} << slot<Field>() % 64;
    }
    /// The processor changed the field itself, to this value.
    template <auto Field>
    void note(typename decltype(Field)::value_type value) {
        static_assert(not is_lazy<Field>());
        values_[slot<Field>()] = value;
    }

    /// The VMCS became current on this processor and takes what was written meanwhile.
    void load() {
        current_ = true;
        refused_ = false;
        for (unsigned word{0}; word < words; ++word)
            for (; dirty_[word] != 0; dirty_[word] &= dirty_[word] - 1) {
                auto const n = 64 * word + static_cast<unsigned>(std::countr_zero(dirty_[word]));
                refused_ = not WorldSwitch::vmwrite(detail::encodings[n], values_[n]) or refused_;
            }
    }
    /// Reads all that is not known. The VMCS must be current; it is not any more.
    void unload() {
        for (unsigned n{0}; n < detail::lazy_count; ++n)
            if ((known_ >> n & 1) == 0)
                fetch(n);
        current_ = false;
    }
    /// Whether the processor refused a field since `load`.
    [[nodiscard]] auto refused() const -> bool { return refused_; }
    /// A guest ran: what the processor may have changed is unknown, but for what every exit asks for.
    [[gnu::always_inline]] void renew() {
        known_ = 0;
        for (unsigned n{detail::lazy_count}; n < detail::eager_end; ++n)
            WorldSwitch::vmread_into(values_[n], detail::encodings[n]);
    }

  private:
    static constexpr unsigned words{(detail::field_count + 63) / 64};
    static_assert(detail::lazy_count <= 64);

    template <auto Field>
    [[nodiscard]] static consteval auto slot() -> unsigned {
        unsigned n{0};
        while (detail::encodings[n] != Field.encoding) // a field that is not in the list does not compile
            ++n;
        return n;
    }
    template <auto Field>
    [[nodiscard]] static consteval auto is_lazy() -> bool {
        return slot<Field>() < detail::lazy_count;
    }

    template <auto Field>
    [[nodiscard]] static consteval auto is_eager() -> bool {
        return not is_lazy<Field>() and slot<Field>() < detail::eager_end;
    }

    void fetch(unsigned n) const {
        values_[n] = current_ ? WorldSwitch::vmread(detail::encodings[n]) : 0;
        known_ |= std::uint64_t{1} << n;
    }

    mutable std::array<std::uint64_t, detail::field_count> values_{};
    mutable std::uint64_t known_{~std::uint64_t{0}}; ///< of the lazy fields
    /// A new VMCS holds nothing that can be relied on. Of the optional fields nobody knows yet which there are.
    std::array<std::uint64_t, words> dirty_ = [] {
        std::array<std::uint64_t, words> writable{};
        for (unsigned n{0}; n < detail::field_count; ++n)
            if (static_cast<field_kind>(detail::encodings[n] >> 10 & 3) != field_kind::exit_information and
                not detail::is_optional(detail::encodings[n]))
                writable[n / 64] |= std::uint64_t{1} << n % 64;
        return writable;
    }();
    bool current_{};
    bool refused_{};
};

} // namespace hv::backends::vmx
