// SPDX-License-Identifier: BSD-2-Clause
#include <examples/pc/pc.hpp>
#include <kernel_glue/bare/host.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <cstddef>
#include <iostream>

/// memory: what a pc takes of the bare host's memory, one JSON object a line. The types are measured as the image has
/// them; what they allocate is counted on the hosted host. Nested tables and the guest's own memory come on top.
namespace {

using image_vm = hv::vm<pc, hv::bare::host>;
using image_vcpu = image_vm::vcpu_type;

constexpr std::size_t fpu_area{sizeof(hv::bare::host::fpu_area)};
constexpr std::size_t vcpu_itself{sizeof(image_vcpu) - fpu_area};
constexpr std::size_t vm_itself{sizeof(image_vm) - pc::max_vcpus * sizeof(image_vcpu)};

void say(char const* name, std::size_t bytes) {
    std::cout << R"({"name":")" << name << R"(","bytes":)" << bytes << "}\n";
}

} // namespace

auto main() -> int {
    hv::hosted::serial_host host{{.memory = std::size_t{1} << 26, .real_cpuid = true}};
    pc::backend::vm shared{};
    if (shared.create(host, hv::controls_of<pc>()) != hv::status::ok)
        return 1;
    auto const of_vm = host.bytes_in_use();
    pc::backend::vcpu processor{};
    if (processor.create(host, shared) != hv::status::ok)
        return 1;
    auto const of_vcpu = host.bytes_in_use() - of_vm;
    processor.destroy(host);
    shared.destroy(host);
    say("vm", vm_itself + of_vm);
    say("vcpu", vcpu_itself + of_vcpu);
    say("fpu_area", fpu_area);
    constexpr std::size_t kib{1024};
    return host.bytes_in_use() == 0 and vm_itself + of_vm <= 64 * kib and vcpu_itself + of_vcpu <= 16 * kib ? 0 : 1;
}
