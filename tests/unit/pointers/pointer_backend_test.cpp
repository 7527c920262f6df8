// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include <backends/svm_seat.hpp>
#include <bench/pointers/backend.hpp>
#include <bench/pointers/coarse_backend.hpp>

#include <hv/backends/backend.hpp>
#include <kernel_glue/hosted/host.hpp>

#include <tuple>

namespace hv::test {

/// The backends of the bench that go through pointers do what the one behind them does.
using pointed_svm = pointers::pointer_backend<modelled_svm, hosted::host>;
static_assert(hardware_backend<pointed_svm, hosted::host>);
static_assert(remembers_code<pointed_svm::vcpu>);
using coarse_svm = pointers::coarse_backend<modelled_svm, hosted::host>;
static_assert(hardware_backend<coarse_svm, hosted::host>);
using seats = std::tuple<basic_svm_seat<pointed_svm>, basic_svm_seat<coarse_svm>>;

} // namespace hv::test

#include <backends/contract.hpp>

TEST_CASE("a processor that no backend suits gets no table of functions") {
    hv::hosted::host host{hv::hosted::host_config{.memory = std::size_t{1} << 20, .processors = 1}};
    hv::test::pointed_svm::vm machine;
    CHECK(machine.create(host, {}) == hv::status::no_device);
    machine.destroy(host);
}
