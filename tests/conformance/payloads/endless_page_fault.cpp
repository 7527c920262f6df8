// SPDX-License-Identifier: BSD-2-Clause
// expect: 124
// judges: a guest that raises page faults for ever keeps nobody from stopping it.
#include "payload.hpp"

void payload::run() {
    set_handler(vector::page_fault, [](frame&) {});
    entry_of(0x30000000) = 0;
    invlpg(0x30000000);
    *reinterpret_cast<u8 volatile*>(u64{0x30000000}) = 1;
}
