// SPDX-License-Identifier: BSD-2-Clause
#pragma once

/// The contract of the backend seam, as tests that run on every backend. Whoever includes this file has defined
/// `hv::test::seats`: a type list of seats (svm_seat.hpp, fake_seat.hpp), each one vCPU that can be told what its guest
/// does next.
#include "contract_events.hpp"
#include "contract_exits.hpp"
#include "contract_memory.hpp"
#include "contract_registers.hpp"
