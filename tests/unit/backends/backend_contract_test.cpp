// SPDX-License-Identifier: BSD-2-Clause
#include <catch2/catch.hpp>

#include "fake_seat.hpp"
#include "svm_seat.hpp"
#include "vmx_seat.hpp"

#include <tuple>

namespace hv::test {
using seats = std::tuple<svm_seat, vmx_seat, fake_seat>;
}

#include "contract.hpp"
