// SPDX-License-Identifier: BSD-2-Clause
// EXPECT: the machine's backend lacks
#include "machine_under_test.hpp"

struct half_a_backend {
    static constexpr char const* name{"half"};
    using processor = hv::svm::processor;
    using vm = hv::svm::vm;
    using vcpu = hv::svm::vcpu;
    using nested_format = hv::svm::nested_format; // and no enter
};
struct machine : sound_machine {
    using backend = half_a_backend;
};
void f() {
    use<machine>();
}
