// SPDX-License-Identifier: BSD-2-Clause
#include "address_space.hpp"

#include "free_memory.hpp"
#include "image.hpp"
#include "instructions.hpp"
#include "page_tables.hpp"
#include "stacks.hpp"

#include <hv/x86/control_registers.hpp>
#include <hv/x86/msr.hpp>

extern "C" char const rodata_start[];
extern "C" char const data_start[];

namespace hv::bare {

namespace {

auto at(void const* place) -> std::uint64_t {
    return reinterpret_cast<std::uint64_t>(place);
}

/// Memory, as opposed to registers: it is mapped write-back.
auto is_memory(memory_kind kind) -> bool {
    return kind == memory_kind::usable or kind == memory_kind::acpi_reclaimable or kind == memory_kind::acpi_storage;
}

void unmap(page_tables& tables, guard_page const& guard) {
    tables.set(at(&guard), at(&guard) + page_size, mapping::none);
}

void unmap_guards(page_tables& tables, stacks const& of) {
    unmap(tables, of.guard);
    for (auto const& stack : of.trap)
        unmap(tables, stack.guard);
}

auto has_gigabyte_pages() -> bool {
    return (cpuid(0x80000001).edx & 1u << 26) != 0;
}

constexpr std::uint64_t memory_types{0x0007040600070406}; // as after reset: mapping::device relies on it

/// Extended control bits that the processor has and that cost nothing.
void protect() {
    constexpr std::uint32_t smep{1u << 7}, smap{1u << 20}, umip{1u << 2};
    auto const features = cpuid(0).eax >= 7 ? cpuid(7) : x86::cpuid_result{};
    auto cr4 = read_cr4() | x86::cr4::de;
    if ((features.ebx & smep) != 0)
        cr4 |= x86::cr4::smep;
    if ((features.ebx & smap) != 0)
        cr4 |= x86::cr4::smap;
    if ((features.ecx & umip) != 0)
        cr4 |= x86::cr4::umip;
    write_cr4(cr4);
}

} // namespace

[[gnu::cold]] void add_free_memory(page_allocator& memory, boot_information const& boot, std::uint64_t first,
                                   std::uint64_t end) {
    constexpr std::uint64_t low_memory{0x100000}; // firmware data, start-up code of other processors
    for_each_free_extent(boot, {at(image_start), at(image_end)}, {first < low_memory ? low_memory : first, end},
                         [&](std::uint64_t start, std::uint64_t stop) { memory.add(start, stop); });
}

[[gnu::cold]] auto enter_address_space(page_allocator& memory, boot_information const& boot) -> std::uint64_t {
    page_tables tables{memory, has_gigabyte_pages()};
    auto mapped = boot_mapping_end;
    tables.set(0, boot_mapping_end, mapping::device);
    for (auto const& e : boot.memory())
        if (is_memory(e.kind)) {
            tables.set(page_down(e.start.value), page_up(e.end().value), mapping::data);
            mapped = page_up(e.end().value) > mapped ? page_up(e.end().value) : mapped;
        }
    tables.set(0, page_size, mapping::none);
    tables.set(at(image_start), at(rodata_start), mapping::code);
    tables.set(at(rodata_start), at(data_start), mapping::constant);
    tables.set(at(data_start), at(image_end), mapping::data);
    unmap_guards(tables, hv_bare_stacks);
    if (not tables.is_complete())
        return 0;
    join_address_space(tables.root().value);
    return mapped;
}

auto guard_stacks(page_allocator& memory, std::span<stacks> further) -> bool {
    auto const root = read_cr3();
    page_tables tables{memory, has_gigabyte_pages(), hpa{root}};
    for (auto const& one : further)
        unmap_guards(tables, one);
    write_cr3(root);
    return tables.is_complete();
}

void join_address_space(std::uint64_t root) {
    write_known_msr(x86::msr::ia32_pat, memory_types);
    write_cr3(root);
    protect();
}

} // namespace hv::bare
