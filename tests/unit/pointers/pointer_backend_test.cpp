// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <backends/svm_seat.hpp>
#include <bench/pointers/backend.hpp>

#include <hv/backends/backend.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <tuple>

namespace hv::test {

/// The backend of the bench that goes through pointers does what the one behind it does.
using pointed_svm = pointers::pointer_backend<modelled_svm, hosted::host>;
static_assert(hardware_backend<pointed_svm, hosted::host>);
static_assert(remembers_code<pointed_svm::vcpu>);
using seats = std::tuple<basic_svm_seat<pointed_svm>>;

} // namespace hv::test

#include <backends/contract.hpp>

TEST_CASE("a processor that no backend suits gets no table of functions") {
    hv::hosted::host host{hv::hosted::host_config{.memory = std::size_t{1} << 20, .processors = 1}};
    hv::test::pointed_svm::vm machine;
    CHECK(machine.create(host, {}) == hv::status::no_device);
    machine.destroy(host);
}
