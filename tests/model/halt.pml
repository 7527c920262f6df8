// SPDX-License-Identifier: BSD-2-Clause
// When a machine is at its end because nothing can wake any of its vCPUs: vcpu_turn.hpp, vcpu.hpp (sleeps_for_ever) and
// vm.hpp (note_halt, note_wake_up).
//
// A token is handed on, HOPS times, among vCPUs that sleep with interrupts off unless they have it. A machine that ends
// while the token is on its way was taken for dead; one that does not end afterwards waits for ever, which is an
// invalid end state. Seeded defects, each of which must be found, are listed in CMakeLists.txt.

#ifndef VCPUS
#define VCPUS 3
#endif
#ifndef HOPS
#define HOPS 3
#endif

bool flags[VCPUS];           // posted_requests::flags_, with the token in it
bool sleeps_for_ever[VCPUS]; // what others know of it
byte wake_ups;
bool stopped;
byte hops_left = HOPS;
bool token_lives = true; // known to nobody

// vm::all_sleep, one look
inline look() {
    n = 0;
    do
    :: n == VCPUS || !all -> break
    :: else ->
        if
        :: flags[n] -> all = false
        :: !flags[n] -> all = sleeps_for_ever[n]
        fi;
        n++
    od;
    n = 0
}

active [VCPUS] proctype vcpu() {
    byte me = _pid, next, n, before;
    bool has_token = _pid == 0, all, slept;

    do
    :: has_token ->
        if
        :: hops_left == 0 -> d_step { token_lives = false; has_token = false }
        :: else ->
            d_step { hops_left--; has_token = false }
            if
            :: next = (me + 1) % VCPUS
            :: VCPUS > 2 -> next = (me + 2) % VCPUS
            fi;
            flags[next] = true; // post; that it wakes the other's processor is another model
            next = 0
        fi
    :: !has_token -> // look_for_work
        if
        :: stopped -> break
        :: !stopped && flags[me] ->
#ifndef WAKE_BEHIND_THE_MESSAGE
            d_step { slept = sleeps_for_ever[me]; sleeps_for_ever[me] = false }
            if
#ifndef UNCOUNTED
            :: slept -> d_step { wake_ups++; slept = false }
#endif
            :: else -> slept = false
            fi;
#endif
            d_step { flags[me] = false; has_token = true }
        :: else
        fi;
        if
#ifdef WAKE_BEHIND_THE_MESSAGE
        :: has_token -> sleeps_for_ever[me] = false
#else
        :: has_token
#endif
        :: !has_token && sleeps_for_ever[me] -> (flags[me] || stopped) // the host's idle
        :: !has_token && !sleeps_for_ever[me] ->
            sleeps_for_ever[me] = true;
            before = wake_ups;
            all = true;
            look();
#ifndef LOOK_ONCE
            look();
#endif
            if
            :: all && wake_ups == before -> assert(!token_lives); stopped = true
            :: else
            fi;
            d_step { before = 0; all = false }
        fi
    od
}
