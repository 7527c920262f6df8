// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: an exit handler's on(exit, vcpu) must return hv::verdict
#include "machine_under_test.hpp"

struct forgetful {
    void on(hv::exits::cpuid const&, auto&) {}
};
struct machine : sound_machine {
    using handlers = hv::exit_chain<forgetful>;
};
void f() {
    hv::hosted::host host{};
    static hv::vm<machine, hv::hosted::host> guest;
    hv::vmm<machine, hv::hosted::host> monitor{host};
    (void)monitor.create(guest);
    guest.cpu(0).run();
}
