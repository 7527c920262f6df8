// SPDX-License-Identifier: BSD-2-Clause
// Prints what it is sent on the serial port, up to the first carriage return.
#include "payload.hpp"

extern "C" {
extern char const payload_name[];
char const payload_name[]{"listen"};
}

using namespace payload;

void payload::run() {
    constexpr u16 data_register{0x3f8}, line_status{0x3fd};
    sti(); // no interrupt comes, but Bochs takes the host's only from a guest that could take one
    print("ready [");
    u64 count{};
    for (;;) {
        while ((in8(line_status) & 1) == 0)
            pause();
        auto const c = in8(data_register);
        if (c == '\r')
            break;
        print_char(static_cast<char>(c));
        ++count;
    }
    print("] ");
    print_decimal(count);
    print(" characters\n");
}
