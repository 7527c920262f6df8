// SPDX-License-Identifier: BSD-2-Clause
// How vCPUs leave each other messages, sleep, wake, move and let another thread take them: posted_requests.hpp,
// vcpu_phase.hpp, vcpu_callers.hpp, vcpu_turn.hpp, vcpu.hpp (run), vm_access.hpp (frozen_vcpu) and the bare host's
// scheduler.hpp.
//
// Every access to what threads share is a step of its own. A guest sends each of its neighbours a request, waits for the
// answer with HLT or without, and answers requests. It has to come to an end: a message, kick or wake-up that is lost
// leaves somebody waiting for ever, which is an invalid end state.
//
// VCPUS, PROCESSORS: vCPU n begins on processor n modulo PROCESSORS, or TOGETHER all on the first; a processor takes
// over what another has too many of. ROUNDS: requests of each guest, or if ONE_ASKS of the first. FREEZERS: threads that
// take vCPU FROZEN_ONE and give it back, once each. Seeded defects, each of which must be found, are listed in
// CMakeLists.txt.

#ifndef VCPUS
#define VCPUS 2
#endif
#ifndef PROCESSORS
#define PROCESSORS 2
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef FREEZERS
#define FREEZERS 0
#endif

#ifdef TOGETHER
#define BEGIN(v) 0
#else
#define BEGIN(v) ((v) % PROCESSORS)
#endif
#ifndef FROZEN_ONE
#define FROZEN_ONE 0
#endif

#define NOBODY 255
#define REQUEST(s) (1 << (s))
#define REPLY 128

// vcpu_phase
#define IDLE 0
#define FROZEN 1
#define RUNNING 2
#define SLEEPING 3

// Of a processor of the host.
bool kicked[PROCESSORS];    // its interrupt waits
bool must_look[PROCESSORS]; // somebody was woken
byte load[PROCESSORS];      // of the scheduler: how many would run
bool settled;

// Of a vCPU, shared.
bool flags[VCPUS];   // posted_requests::flags_
byte vectors[VCPUS]; // posted_requests::vectors_
byte phase[VCPUS];   // these three are one word
byte waiters[VCPUS];
byte home[VCPUS];    // the processor of the host

// Of a vCPU, its thread's own.
byte irr[VCPUS];
bool halted[VCPUS];

// Of a guest.
bool answered[VCPUS];
byte rounds_left[VCPUS] = ROUNDS;
byte at[VCPUS]; // where it stands
#define SENDS 0
#define SPINS 1
#define HALTS 2
#define POLLS 3 // done, and does not sleep
byte guests_done;
#define THE_END (guests_done == VCPUS && freezers_left == 0)

// Of the freezers.
bool waits[FREEZERS + 1]; // in the host's wait_while
byte freezers_left = FREEZERS;

// What must hold: one thread has it, nobody else while it is in the guest, and of those who post before it looks one finds
// that it has to be kicked.
byte owners[VCPUS];
bool in_guest[VCPUS];
byte finders[VCPUS];

inline wake(where, by) {
    must_look[where] = true;
#ifndef WAKE_WITHOUT_KICK
    if
    :: where != by -> kicked[where] = true
    :: else
    fi
#endif
}

// posted_requests::exchange
inline set_flags(which) {
#ifdef PLAIN_EXCHANGE
    nothing_waited = !flags[which];
    d_step {
        flags[which] = true;
        finders[which] = finders[which] + nothing_waited;
        assert(finders[which] <= 1)
    }
#else
    d_step {
        nothing_waited = !flags[which];
        flags[which] = true;
        finders[which] = finders[which] + nothing_waited;
        assert(finders[which] <= 1)
    }
#endif
}

// vcpu_callers::post
inline post(to, from, bits) {
#ifdef LOOK_WHERE_BEFORE_POSTING
    d_step { then = phase[to]; at_home = home[to] }
#endif
#ifdef FLAG_BEFORE_VECTORS
    set_flags(to);
    vectors[to] = vectors[to] | (bits);
#else
    vectors[to] = vectors[to] | (bits);
    set_flags(to);
#endif
    if
    :: nothing_waited ->
#ifdef LOOK_WHERE_BEFORE_POSTING
        nothing_waited = false;
#else
        d_step { nothing_waited = false; then = phase[to]; at_home = home[to] }
#endif
#ifdef WAKE_WHERE_IT_BEGAN
        at_home = BEGIN(to);
#endif
        if
        :: then != RUNNING -> wake(at_home, from)
#ifndef POST_WITHOUT_KICK
        :: then == RUNNING && at_home != from -> kicked[at_home] = true
        :: else // it is the one that posts
#else
        :: else
#endif
        fi
    :: else
    fi;
    d_step { then = 0; at_home = 0 }
}

inline receive(vr) {
    if
    :: flags[vr] ->
        d_step { flags[vr] = false; finders[vr] = 0 }
        d_step { irr[vr] = irr[vr] | vectors[vr]; vectors[vr] = 0 }
    :: else
    fi
}

inline end_halt(ve) {
    if
    :: halted[ve] && irr[ve] != 0 -> halted[ve] = false
    :: else
    fi
}

inline announce() {
    d_step {
        f = 0;
        do
        :: f < FREEZERS -> waits[f] = false; f++
        :: else -> break
        od;
        f = 0
    }
}

// vcpu_hold::rest
inline rest(vs, next_phase) {
    d_step { owners[vs]--; assert(owners[vs] == 0) }
    d_step {
        if
        :: waiters[vs] == 0 -> phase[vs] = next_phase; rested = true
        :: else -> rested = false
        fi
    }
    if
    :: !rested ->
        phase[vs] = IDLE;
#ifndef REST_WITHOUT_ANNOUNCING
        announce()
#endif
    :: else -> rested = false
    fi
}

// vcpu_hold::take, to frozen or running
inline take(vb, to_phase) {
    d_step {
        has = (phase[vb] == IDLE || phase[vb] == SLEEPING) && waiters[vb] == 0;
        if
        :: has ->
            phase[vb] = to_phase;
#ifndef TAKE_WITHOUT_MOVING
            home[vb] = p;
#endif
            owners[vb]++;
            assert(owners[vb] == 1)
        :: else
        fi
    }
}

// vcpu_hold::end
inline end(ve) {
    d_step { owners[ve]--; assert(owners[ve] == 0) }
    d_step { phase[ve] = IDLE; rested = waiters[ve] == 0 }
    if
#ifndef REST_WITHOUT_ANNOUNCING
    :: !rested -> announce()
#endif
    :: else -> rested = false
    fi
}

// vcpu_callers::next_turn: look_for_work between begin and give_up
inline is_ready(vi) {
    ready = false;
    take(vi, FROZEN);
    if
    :: has ->
#ifndef SLEEP_WITHOUT_RECEIVING
        receive(vi);
#endif
        d_step {
            end_halt(vi);
            ready = !halted[vi];
            has = false
        }
        if
        :: ready -> rest(vi, IDLE)
        :: else -> rest(vi, SLEEPING)
        fi
    :: else
    fi
}

// Everything between two exits of the guest that runs on this processor, and what the exit asks for.
inline stay_in_guest(vg) {
    atomic {
        in_guest[vg] = true;
        assert(owners[vg] == 1 && phase[vg] == RUNNING);
        if
        :: irr[vg] == REPLY -> irr[vg] = 0 // its HLT is over
        :: irr[vg] > REPLY || (irr[vg] != 0 && irr[vg] < REPLY) -> // a request: tells who sent it, and wakes them
            irr[vg] = irr[vg] & ~REPLY;
            s = 0;
            do
            :: (irr[vg] & REQUEST(s)) != 0 -> break
            :: else -> s++
            od;
            irr[vg] = irr[vg] & ~REQUEST(s);
            answered[s] = true;
            sends = REPLY
        :: irr[vg] == 0 && at[vg] == SENDS && rounds_left[vg] != 0 ->
            answered[vg] = false;
            s = (vg + 1) % VCPUS;
            sends = REQUEST(vg);
            if
            :: at[vg] = SPINS
            :: at[vg] = HALTS
            fi
        :: irr[vg] == 0 && at[vg] == SENDS && rounds_left[vg] == 0 -> halts = true
        :: irr[vg] == 0 && (at[vg] == SPINS || at[vg] == HALTS) && answered[vg] ->
            at[vg] = SENDS;
            rounds_left[vg]--;
            if
            :: rounds_left[vg] == 0 -> guests_done++; at[vg] = POLLS
            :: rounds_left[vg] == 0 -> guests_done++
            :: else
            fi
        :: irr[vg] == 0 && at[vg] == POLLS && THE_END -> at[vg] = SENDS
        :: irr[vg] == 0 && at[vg] == HALTS && !answered[vg] -> halts = true
        :: irr[vg] == 0 && kicked[p] -> kicked[p] = false; looks = true
        :: irr[vg] == 0 && more -> slice_over = true
        fi;
        in_guest[vg] = false
    }
    if
    :: sends != 0 -> post(s, p, sends); d_step { s = 0; sends = 0 }
    :: halts -> d_step { halts = false; halted[vg] = true; looks = true }
    :: else
    fi
}

// vcpu::run
inline run_vcpu(vu) {
    take(vu, RUNNING);
    if
    :: has ->
        d_step { looks = true; has = false }
        do
        :: slice_over -> break
        :: !slice_over && (looks || flags[vu] || must_look[p]) -> // needs_attention
            looks = false;
            receive(vu);
            d_step { end_halt(vu) }
            if
#ifdef STAY_ALTHOUGH_WANTED
            :: halted[vu] || must_look[p] -> break
#else
            :: halted[vu] || must_look[p] || waiters[vu] != 0 -> break
#endif
            :: else
            fi;
            stay_in_guest(vu)
        :: !slice_over && !(looks || flags[vu] || must_look[p]) ->
            stay_in_guest(vu)
        od;
        end(vu)
    :: else
    fi
}

// one_of_another
inline take_over() {
    n = 0;
    do
    :: n == PROCESSORS -> break
    :: n != PROCESSORS && n == p -> n++
    :: n != PROCESSORS && n != p ->
        there = load[n];
        v = 1;
        do
        :: there < ready_ones + 2 || v >= VCPUS -> break
        :: else ->
            if
            :: home[v] == n -> // another look: waits_to_run
                if
                :: phase[v] == IDLE && waiters[v] == 0 ->
                    d_step {
                        if
                        :: load[n] == there -> load[n]--; taken = v
                        :: else
                        fi;
                        v = VCPUS + 1
                    }
                :: else -> v++
                fi
            :: else -> v++
            fi
        od;
        if
        :: v > VCPUS -> n = PROCESSORS // that one or none
        :: else -> n++
        fi;
        there = 0
    od;
    n = 0
}

inline offer() {
    do
    :: n == PROCESSORS -> break
    :: n != PROCESSORS && n == p -> n++
    :: n != PROCESSORS && n != p ->
        there = load[n];
        if
        :: there + 2 <= ready_ones -> wake(n, p)
        :: else
        fi;
        there = 0;
        n++
    od;
    n = 0
}

// The bare host's scheduler::run.
active [PROCESSORS] proctype processor() {
    byte p = _pid;
    byte v, n, s, f, then, at_home, there, ready_ones;
    byte chosen = NOBODY, taken = NOBODY, last = p;
    bool has, rested, ready, nothing_waited;
    byte sends;
    bool looks, halts, more, slice_over;

#if PROCESSORS > 1
    // settle
    if
    :: p == 0 ->
        d_step {
            do
            :: v == VCPUS -> break
            :: else -> home[v] = BEGIN(v); v++
            od;
#ifdef ONE_ASKS
            do
            :: v == 1 -> break
            :: else -> v--; rounds_left[v] = 0; guests_done++
            od;
#endif
            v = 0;
            settled = true
        }
    :: else -> settled
    fi;
#endif
    do
    :: true ->
#ifndef LOOK_BEFORE_CLEARING
        must_look[p] = false;
#endif
        do
        :: n == VCPUS -> break
        :: else ->
            d_step { n++; v = (last + n) % VCPUS }
            if
            :: home[v] == p ->
                is_ready(v);
                if
                :: ready && chosen == NOBODY -> d_step { chosen = v; ready = false; ready_ones++ }
                :: ready && chosen != NOBODY -> d_step { ready = false; ready_ones++ }
                :: else
                fi
            :: else
            fi
        od;
        n = 0;
#ifdef LOOK_BEFORE_CLEARING
        must_look[p] = false;
#endif
#if PROCESSORS > 1 && VCPUS > 1
        load[p] = ready_ones;
        take_over();
        if
        :: taken != NOBODY ->
            d_step { chosen = taken; taken = NOBODY; ready_ones++ }
            load[p] = ready_ones
        :: else ->
            if
            :: ready_ones > 1 -> offer()
            :: else
            fi
        fi;
#endif
        d_step { v = 0; more = ready_ones > 1; ready_ones = 0 }
        if
        :: chosen == NOBODY && must_look[p] // by one of those that were just asked
        :: chosen == NOBODY && !must_look[p] ->
#ifdef IDLE_FORGETS
            kicked[p] = false;
#endif
            if
            :: kicked[p] -> kicked[p] = false
            :: THE_END -> break
            fi
        :: else ->
            d_step { v = chosen; chosen = NOBODY }
            run_vcpu(v);
            d_step { last = v; more = false; looks = false; slice_over = false; has = false }
        fi
    od
}

#if FREEZERS > 0
// frozen_vcpu, by a thread that runs no vCPU.
active [FREEZERS] proctype freezer() {
    byte me = _pid - PROCESSORS;
    byte f, then, at_home;
    bool nothing_waited, rested;
    byte snapshot_phase, snapshot_waiters;

    d_step { waiters[FROZEN_ONE]++; then = phase[FROZEN_ONE] }
    if
    :: then == RUNNING ->
#ifndef FREEZE_WITHOUT_ASKING
        post(FROZEN_ONE, NOBODY, 0)
#else
        skip
#endif
    :: else
    fi;
    d_step { snapshot_phase = phase[FROZEN_ONE]; snapshot_waiters = waiters[FROZEN_ONE] }
    do
    :: snapshot_phase != IDLE && snapshot_phase != SLEEPING ->
        d_step { // the host's wait_while: futexes compare and sleep in one step
            waits[me] = phase[FROZEN_ONE] == snapshot_phase && waiters[FROZEN_ONE] == snapshot_waiters
        }
        !waits[me];
        d_step { snapshot_phase = phase[FROZEN_ONE]; snapshot_waiters = waiters[FROZEN_ONE] }
    :: else ->
        d_step {
            if
            :: phase[FROZEN_ONE] == IDLE || phase[FROZEN_ONE] == SLEEPING ->
                waiters[FROZEN_ONE]--;
                phase[FROZEN_ONE] = FROZEN;
                owners[FROZEN_ONE]++;
                snapshot_phase = NOBODY
            :: else -> snapshot_phase = phase[FROZEN_ONE]; snapshot_waiters = waiters[FROZEN_ONE]
            fi
        }
        if
        :: snapshot_phase == NOBODY -> break
        :: else
        fi
    od;
    assert(!in_guest[FROZEN_ONE] && owners[FROZEN_ONE] == 1);
    rest(FROZEN_ONE, IDLE);
#ifndef THAW_WITHOUT_WAKING
    at_home = home[FROZEN_ONE];
    wake(at_home, NOBODY);
#endif
    freezers_left--
}
#endif
