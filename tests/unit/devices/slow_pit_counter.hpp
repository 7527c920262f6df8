// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv::test {

/// An 8254 counter as the datasheet tells it, one clock pulse after the other: what pit_counter is compared with.
struct slow_pit_counter {
    unsigned mode{3};
    long modulus{65536};
    long count_register{};
    long element{};
    bool out{true};
    bool gate{true};
    bool null_count{true};
    bool has_count{}; ///< a count was written since the control word
    bool loaded{};    ///< and went into the counting element
    bool load_next{}; ///< with the next pulse
    bool odd{};
    bool strobe_armed{};

    void program(unsigned m, bool bcd) {
        mode = m;
        modulus = bcd ? 10000 : 65536;
        out = m != 0;
        null_count = true;
        has_count = loaded = load_next = strobe_armed = false;
    }

    /// `n` is 1 to the modulus.
    void write_count(long n) {
        count_register = n;
        has_count = true;
        null_count = true;
        if (mode == 0)
            out = false;
        if (mode == 0 or mode == 4 or ((mode == 2 or mode == 3) and not loaded))
            load_next = true;
    }

    void set_gate(bool level) {
        auto const rising = level and not gate;
        gate = level;
        if (rising and has_count and mode != 0 and mode != 4)
            load_next = true;
        if (not level and (mode == 2 or mode == 3))
            out = true;
    }

    void reload() {
        element = mode == 3 ? count_register & ~1l : count_register;
        odd = (count_register & 1) != 0;
        null_count = false;
        loaded = true;
        load_next = false;
    }

    void pulse() {
        if (load_next) {
            reload();
            out = mode >= 2;
            strobe_armed = true;
            return;
        }
        auto const counts = mode == 1 or mode == 5 or gate;
        if (not loaded or not counts)
            return;
        switch (mode) {
        case 2:
            if (element == 1) {
                reload();
                out = true;
            } else if (--element == 1) {
                out = false;
            }
            return;
        case 3:
            if (out and odd) {
                if (element != 0) {
                    element -= 2;
                    return;
                }
            } else {
                element -= 2;
                if (element != 0)
                    return;
            }
            out = not out;
            reload();
            return;
        default:
            break;
        }
        element = (element - 1 + modulus) % modulus;
        if (mode <= 1) {
            if (element == 0)
                out = true;
        } else {
            out = not(element == 0 and strobe_armed);
            if (element == 0)
                strobe_armed = false;
        }
    }
};

} // namespace hv::test
