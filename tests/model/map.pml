// SPDX-License-Identifier: BSD-2-Clause
// How a map of guest memory changes under vCPUs that use it: vm_access.hpp, machine_lock.hpp, vcpu_phase.hpp, vm.hpp
// (dirty) and vcpu.hpp (run, prepare_entry), on the bare host's scheduler.hpp, without the moves between processors.
//
// Guests change the map in exits, with exclusive access or as the clearing of dirty flags does; then each sleeps for
// ever, or goes on. Threads that run no vCPU do the same. While somebody has exclusive access nobody else uses a vCPU.
// No guest uses what it knew of the map before it changed, once the change is over. No guest goes on while somebody
// else has given way to exits. What waits for ever is an invalid end state. What vcpus.pml shows of kicks and wake-ups is taken for granted.
//
// VCPUS, PROCESSORS: vCPU n belongs to processor n modulo PROCESSORS. CHANGES, CLEARS: of each guest; LATE: it changes
// the map in the midst of prepare_entry. OUTSIDERS, CLEARERS, READERS, FREEZERS: threads that each change the map, clear
// flags, have shared access, or have vCPU 0, once. Seeded defects, each of which must be found, are listed in
// CMakeLists.txt.

#ifndef VCPUS
#define VCPUS 2
#endif
#ifndef PROCESSORS
#define PROCESSORS 2
#endif
#ifndef CHANGES
#define CHANGES 0
#endif
#ifndef CLEARS
#define CLEARS 0
#endif
#ifndef OUTSIDERS
#define OUTSIDERS 0
#endif
#ifndef CLEARERS
#define CLEARERS 0
#endif
#ifndef READERS
#define READERS 0
#endif
#ifndef FREEZERS
#define FREEZERS 0
#endif

#define THREADS (OUTSIDERS + CLEARERS + READERS + FREEZERS)
#define NOBODY 255
#define HOME(v) ((v) % PROCESSORS)

// vcpu_phase
#define IDLE 0
#define FROZEN 1
#define RUNNING 2
#define SLEEPING 3

// Of a processor of the host.
bool kicked[PROCESSORS];    // its interrupt waits
bool must_look[PROCESSORS]; // somebody was woken

// Of a vCPU, shared.
bool flags[VCPUS]; // posted_requests::flags_
byte phase[VCPUS]; // these four are one word
byte waiters[VCPUS];
bool asked[VCPUS];
bool aside[VCPUS];
#define IS_FREE(v) (phase[v] == IDLE || phase[v] == SLEEPING)

// machine_lock, one word
bool exclusive;
bool awaited;
byte sharers;

// The host's wait_while: the word that each thread sleeps on.
byte waits_on[PROCESSORS + THREADS];
#define AWAKE 0
#define HOLD(v) ((v) + 1)
#define LOCK (VCPUS + 1)

// guest_physical_map as a vCPU knows it.
bool is_new[VCPUS]; // the generation, by translations_seen_
byte known[VCPUS];  // the oldest translation that its processor may have cached
#define OF_NOW 0
#define OF_BEFORE 1 // a change that somebody is at
#define VOID 2

// Of a guest.
byte changes_left[VCPUS] = CHANGES;
byte clears_left[VCPUS] = CLEARS;
bool is_done[VCPUS];
bool halted[VCPUS];
byte left = VCPUS + THREADS; // of guests and threads
#define THE_END (left == 0)

// What must hold.
bool changing; // somebody has exclusive access
bool in_guest[VCPUS];
byte give_way;  // to exits that others are at; these may end, but none may begin

// What a word's new value makes those look that wait for one. Part of the step that changes it: who sleeps on for a
// while might as well be slow to look.
inline announce(word) {
    w = 0;
    do
    :: w < PROCESSORS + THREADS ->
        if
        :: waits_on[w] == word -> waits_on[w] = AWAKE
        :: else
        fi;
        w++
    :: else -> break
    od;
    w = 0
}

inline wake(where) {
    d_step {
        must_look[where] = true;
        if
        :: where != me -> kicked[where] = true
        :: else
        fi
    }
}

// vcpu_callers::post of a look
inline post(to) {
    d_step { nothing_waited = !flags[to]; flags[to] = true }
    if
    :: nothing_waited ->
        d_step {
            nothing_waited = false;
            if
            :: phase[to] != RUNNING -> must_look[HOME(to)] = true
            :: else
            fi;
            if
            :: HOME(to) != me -> kicked[HOME(to)] = true
            :: else // it is the one that posts
            fi
        }
    :: else
    fi
}

// vcpu_hold

inline rest(vs, next_phase) {
    d_step {
        assert(phase[vs] == FROZEN);
        if
        :: waiters[vs] == 0 -> phase[vs] = next_phase
        :: else -> phase[vs] = IDLE; announce(HOLD(vs))
        fi
    }
}

inline take(vt, to_phase) {
    has = IS_FREE(vt) && waiters[vt] == 0;
    if
    :: has -> phase[vt] = to_phase
    :: else
    fi
}

inline leave(vl, next_phase, stands_aside) {
    d_step {
        assert(phase[vl] == RUNNING);
        phase[vl] = next_phase;
        aside[vl] = stands_aside;
        if
#ifndef LEAVE_WITHOUT_ANNOUNCING
        :: asked[vl] || waiters[vl] != 0 -> asked[vl] = false; announce(HOLD(vl))
#endif
        :: else -> asked[vl] = false
        fi
    }
}

inline come_back(vc) {
    d_step {
        assert(phase[vc] == FROZEN && aside[vc]);
        phase[vc] = RUNNING;
        aside[vc] = false;
        announce(HOLD(vc))
    }
}

inline want(vw) {
    d_step { waiters[vw]++; runs = phase[vw] == RUNNING }
    if
    :: runs -> runs = false; post(vw)
    :: else
    fi
}

// `one_aside` is who was had although it stands aside.
inline wait(vx, content) {
    do
    :: atomic {
            if
            :: content && aside[vx] -> waiters[vx]--; one_aside = vx; break
#ifdef WAIT_FOR_SLEEPERS
            :: !(content && aside[vx]) && phase[vx] == IDLE -> waiters[vx]--; phase[vx] = FROZEN; break
#else
            :: !(content && aside[vx]) && IS_FREE(vx) -> waiters[vx]--; phase[vx] = FROZEN; break
#endif
            :: else -> waits_on[me] = HOLD(vx)
            fi
        }
        waits_on[me] == AWAKE
    od
}

inline wait_while_aside(vy) {
    do
    :: atomic {
            if
            :: !aside[vy] -> break
            :: else -> waits_on[me] = HOLD(vy)
            fi
        }
        waits_on[me] == AWAKE
    od
}

inline wait_for_look(vz) {
    do
    :: atomic {
            if
            :: !asked[vz] -> break
            :: else -> waits_on[me] = HOLD(vz)
            fi
        }
        waits_on[me] == AWAKE
    od
}

// machine_lock

inline acquire() {
    do
    :: atomic {
            if
            :: !exclusive && sharers == 0 -> exclusive = true; awaited = false; break
            :: else -> awaited = true; waits_on[me] = LOCK
            fi
        }
        waits_on[me] == AWAKE
    od
}

inline release() {
    d_step { exclusive = false; announce(LOCK) }
}

// machine_holder

inline begin_holding(from) {
    if
    :: from != NOBODY -> leave(from, FROZEN, true)
    :: else
    fi;
    acquire()
}

inline end_holding(from) {
#ifdef RELEASE_BEFORE_COMING_BACK
    release();
#endif
    if
    :: from != NOBODY -> come_back(from); looks = true
    :: else
    fi;
#ifndef RELEASE_BEFORE_COMING_BACK
    release()
#endif
}

// exclusive_access

inline want_all(from) {
    do
    :: n == VCPUS -> break
    :: n != VCPUS && n != from -> want(n); n++
    :: n != VCPUS && n == from -> n++
    od;
    n = 0
}
inline wait_for_all(from) {
    do
    :: n == VCPUS -> break
#ifdef NOT_CONTENT
    :: n != VCPUS && n != from -> wait(n, false); n++
#else
    :: n != VCPUS && n != from -> wait(n, true); n++
#endif
    :: n != VCPUS && n == from -> n++
    od;
    n = 0
}
inline rest_all() {
    do
    :: n == VCPUS -> break
    :: n != VCPUS && !aside[n] -> rest(n, IDLE); n++
    :: n != VCPUS && aside[n] -> n++
    od;
    n = 0
}

inline thaw(from) {
    do
    :: n == VCPUS -> break
    :: n != VCPUS && n != from && !aside[n] ->
        rest(n, IDLE);
#ifndef THAW_WITHOUT_WAKING
        wake(HOME(n));
#endif
        n++
    :: n != VCPUS && (n == from || aside[n]) -> n++
    od;
    n = 0
}

inline for_all_known(what_was, what_is) {
    do
    :: n == VCPUS -> break
    :: else ->
        if
        :: known[n] == what_was -> known[n] = what_is
        :: else
        fi;
        n++
    od;
    n = 0
}
inline raise_generation() {
    d_step {
        do
        :: n == VCPUS -> break
        :: else -> is_new[n] = true; n++
        od;
        n = 0
    }
}

inline check_frozen(from) {
    do
    :: n == VCPUS -> break
    :: else -> assert(!in_guest[n] && phase[n] == FROZEN && (!aside[n] || from != NOBODY)); n++
    od;
    n = 0
}

inline change_map(from) {
    begin_holding(from);
    want_all(from);
    wait_for_all(from);
    do
#ifdef CONTENT_FROM_OUTSIDE
    :: true -> break
#else
    :: one_aside == NOBODY || from != NOBODY -> break
#endif
    :: else ->
#ifdef GIVE_WAY_TO_ALL
        thaw(from);
#else
        want_all(from);
        rest_all();
#endif
        d_step {
            if
            :: !gave_way -> gave_way = true; give_way++
            :: else
            fi
        }
#ifndef GIVE_NO_WAY
        release();
#endif
        wait_while_aside(one_aside);
        one_aside = NOBODY;
#ifndef GIVE_NO_WAY
        acquire();
#endif
#ifdef GIVE_WAY_TO_ALL
        want_all(from);
#endif
        wait_for_all(from)
    od;
    one_aside = NOBODY;
    d_step {
        if
        :: gave_way -> gave_way = false; give_way--
        :: else
        fi
    }
    d_step { check_frozen(from); changing = true; for_all_known(OF_NOW, OF_BEFORE) }
    raise_generation();
    d_step { check_frozen(from); for_all_known(OF_BEFORE, VOID); assert(sharers == 0); changing = false }
    thaw(from);
    end_holding(from)
}

// vm::dirty
inline clear_flags(from) {
    begin_holding(from);
    n = 0;
#ifdef GENERATION_BEFORE_CHANGE
    raise_generation();
    d_step { for_all_known(OF_NOW, OF_BEFORE) }
#else
    d_step { for_all_known(OF_NOW, OF_BEFORE) }
    raise_generation();
#endif
    // make_all_look
    do
    :: n == VCPUS -> break
    :: else ->
        d_step {
            runs = phase[n] == RUNNING;
            if
            :: runs -> asked[n] = true
            :: else
            fi
        }
        if
        :: runs ->
            runs = false;
#ifndef ASK_WITHOUT_KICK
            post(n)
#endif
        :: else
        fi;
        n++
    od;
    n = 0;
#ifndef ASK_WITHOUT_WAITING
    do
    :: n == VCPUS -> break
    :: else -> wait_for_look(n); n++
    od;
    n = 0;
#endif
    d_step {
        for_all_known(OF_BEFORE, VOID);
        do
        :: n == VCPUS -> break
        :: else -> assert(!in_guest[n] || known[n] != VOID); n++
        od;
        n = 0
    }
    end_holding(from)
}

#define HAS_WORK(v) (changes_left[v] != 0 || clears_left[v] != 0)

// Everything between two exits of the guest that runs on this processor, and what the exit asks for.
inline stay_in_guest(vg) {
    atomic {
        in_guest[vg] = true;
        assert(phase[vg] == RUNNING && !changing && give_way == 0 && known[vg] != VOID);
        if
#ifdef LATE
        :: changes_left[vg] != 0 -> changes_left[vg]--; late = true; looks = true
#else
        :: changes_left[vg] != 0 -> changes_left[vg]--; changes = true
#endif
        :: clears_left[vg] != 0 -> clears_left[vg]--; clears = true
        :: !HAS_WORK(vg) && !is_done[vg] -> is_done[vg] = true; left--
        :: !HAS_WORK(vg) && !is_done[vg] -> is_done[vg] = true; left--; halted[vg] = true; looks = true
        :: THE_END && !halted[vg] -> halted[vg] = true; looks = true
        :: kicked[me] -> kicked[me] = false; looks = true
#if VCPUS > PROCESSORS
        :: more -> slice_over = true
#endif
        fi;
        in_guest[vg] = false
    }
    if
    :: changes -> changes = false; change_map(vg)
    :: clears -> clears = false; clear_flags(vg)
    :: else
    fi
}

inline renew(vn) {
    if
    :: is_new[vn] ->
        is_new[vn] = false;
#ifndef LOOK_WITHOUT_FLUSH
        known[vn] = OF_NOW
#endif
    :: else
    fi
}

// vcpu::run
inline run_vcpu(vu) {
    d_step { take(vu, RUNNING) }
    if
    :: has ->
        d_step { looks = true; has = false }
        do
        :: slice_over -> break
        :: else ->
            // needs_attention
            if
            :: looks
            :: !looks && (flags[vu] || must_look[me]) -> looks = true
            :: else ->
                if
                :: is_new[vu] -> looks = true
                :: else
                fi
            fi;
            if
            :: looks -> // prepare_entry
                d_step { looks = false; flags[vu] = false; yields = must_look[me] }
                if
                :: late -> late = false; change_map(vu)
                :: else
                fi;
#ifdef RENEW_BEFORE_LOOKING
                renew(vu);
#endif
                d_step {
                    if
                    :: asked[vu] -> asked[vu] = false; announce(HOLD(vu))
                    :: else
                    fi
                }
                if
#ifdef STAY_ALTHOUGH_WANTED
                :: halted[vu] || yields -> break
#else
                :: halted[vu] || yields || waiters[vu] != 0 -> break
#endif
                :: else
                fi;
#ifndef RENEW_BEFORE_LOOKING
                renew(vu)
#endif
            :: else
            fi;
            stay_in_guest(vu)
        od;
        leave(vu, IDLE, false)
    :: else
    fi
}

// The bare host's scheduler::run.
active [PROCESSORS] proctype processor() {
    byte me = _pid;
    byte v, n, w;
    byte chosen = NOBODY, last = me, one_aside = NOBODY;
    bool has, runs, nothing_waited;
    bool changes, late, clears, looks, yields, more, slice_over, gave_way;

    do
    :: true ->
        must_look[me] = false;
        v = last;
        do
        :: n * PROCESSORS + me >= VCPUS -> break
        :: else ->
            d_step { // next_turn
                n++;
                v = v + PROCESSORS;
                if
                :: v >= VCPUS -> v = me
                :: else
                fi;
                take(v, FROZEN);
                if
                :: has -> flags[v] = false
                :: else
                fi
            }
            if
            :: has && halted[v] -> has = false; rest(v, SLEEPING)
            :: has && !halted[v] ->
                d_step {
                    has = false;
                    if
                    :: chosen == NOBODY -> chosen = v
                    :: else -> more = true
                    fi
                }
                rest(v, IDLE)
            :: else
            fi
        od;
        n = 0;
        if
        :: chosen == NOBODY && must_look[me] // by one of those that were just asked
        :: chosen == NOBODY && !must_look[me] ->
            if
            :: kicked[me] -> kicked[me] = false
            :: THE_END -> break
            fi
        :: else ->
            d_step { v = chosen; chosen = NOBODY }
            run_vcpu(v);
            d_step { last = v; more = false; looks = false; yields = false; slice_over = false; has = false }
        fi
    od
}

// Threads that run no vCPU.
#define THREAD byte me = _pid, n, w, one_aside = NOBODY; bool runs, looks, nothing_waited, gave_way
#if OUTSIDERS > 0
active [OUTSIDERS] proctype outsider() {
    THREAD;
    change_map(NOBODY);
    left--
}
#endif
#if CLEARERS > 0
active [CLEARERS] proctype clearer() {
    THREAD;
    clear_flags(NOBODY);
    left--
}
#endif
#if READERS > 0
// shared_access
active [READERS] proctype reader() {
    THREAD;
    do
    :: atomic {
            if
            :: !exclusive && !awaited -> sharers++; break
            :: else -> waits_on[me] = LOCK
            fi
        }
        waits_on[me] == AWAKE
    od;
    assert(!changing);
    d_step { sharers--; announce(LOCK) }
    left--
}
#endif
#if FREEZERS > 0
// frozen_vcpu
active [FREEZERS] proctype freezer() {
    THREAD;
    want(0);
    wait(0, false);
    assert(!in_guest[0] && !changing);
    rest(0, IDLE);
    wake(HOME(0));
    left--
}
#endif
