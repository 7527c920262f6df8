// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <cstdint>

namespace hv {

/// How a guest reads time from its TSC.
enum class tsc_policy : std::uint8_t {
    offset, ///< the host's counter plus a constant
    scaled, ///< the host's counter, scaled by the processor: a guest keeps its frequency on another host
    trapped ///< RDTSC exits and is computed from the host's clock: the same without hardware for it
};

/// Who plays the local APIC while the guest runs.
enum class apic_policy : std::uint8_t {
    emulated,   ///< the device alone: each access exits
    virtualised ///< the processor: it answers, takes EOI and priorities, and delivers without an exit where it can
};

/// What a machine does against side channels of speculation: guests must learn nothing of the host or of each other.
enum class mitigation_policy : std::uint8_t {
    none,    ///< nothing, and no code is left: for measurements, and for guests that may know everything
    defaults ///< what the processor needs, as it says itself: see backends/svm/speculation.hpp and vmx/speculation.hpp
};

/// Where the vCPUs of a machine with several run.
enum class scheduling_policy : std::uint8_t {
    shared, ///< in turn, where they outnumber the host's processors
    pinned  ///< each on a processor of its own, which runs nothing else: no turns, no timer for them
};

/// What a guest's PAUSE does.
enum class pause_policy : std::uint8_t {
    runs,      ///< nothing
    exits,     ///< each of them exits
    loop_exits ///< a loop of them exits, where the processor tells loops; else nothing does
};

/// What LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT and STR do in a guest.
enum class descriptor_table_policy : std::uint8_t {
    runs, ///< the processor executes them
    exits ///< each of them exits, for a handler that watches or refuses; else the guest sees no difference
};

/// What a processor takes for a loop around PAUSE.
struct pause_loop {
    std::uint16_t gap{128};     ///< TSC ticks from one PAUSE to the next in the same loop, at most
    std::uint32_t window{4096}; ///< ticks that a loop lasts before it exits; VMX
    std::uint16_t count{64};    ///< PAUSEs of a loop before it exits; SVM
};

} // namespace hv
