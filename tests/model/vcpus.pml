// SPDX-License-Identifier: BSD-2-Clause
// How vCPUs leave each other messages, sleep, wake and let another thread take them: posted_requests.hpp,
// vcpu_phase.hpp, vcpu.hpp (post, run, is_ready, freeze, thaw), vcpu_turn.hpp and the bare host's scheduler.hpp.
//
// Every access to what threads share is a step of its own. A guest sends each of its neighbours a request, waits for the
// answer with HLT or without, and answers requests. It has to come to an end: a message, kick or wake-up that is lost
// leaves somebody waiting for ever, which is an invalid end state.
//
// VCPUS, PROCESSORS: vCPU n belongs to processor n modulo PROCESSORS. ROUNDS: requests of each guest. FREEZERS: threads
// that take vCPU 0 and give it back, once each. Seeded defects, each of which must be found, are listed in
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

#define NOBODY 255
#define HOME(v) ((v) % PROCESSORS)
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

// Of a vCPU, shared.
bool flags[VCPUS];   // posted_requests::flags_
byte vectors[VCPUS]; // posted_requests::vectors_
byte phase[VCPUS];   // these two are one word
byte waiters[VCPUS];

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

// vcpu::post
inline post(to, from, bits) {
#ifdef FLAG_BEFORE_VECTORS
    set_flags(to);
    vectors[to] = vectors[to] | (bits);
#else
    vectors[to] = vectors[to] | (bits);
    set_flags(to);
#endif
    if
    :: nothing_waited ->
        d_step { nothing_waited = false; then = phase[to] }
        if
        :: then != RUNNING -> wake(HOME(to), from)
#ifndef POST_WITHOUT_KICK
        :: then == RUNNING && HOME(to) != from -> kicked[HOME(to)] = true
        :: else // it is the one that posts
#else
        :: else
#endif
        fi;
        then = 0
    :: else
    fi
}

inline receive(vr) {
    if
    :: flags[vr] ->
        d_step { flags[vr] = false; finders[vr] = 0 }
        d_step { irr[vr] = irr[vr] | vectors[vr]; vectors[vr] = 0 }
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

// vcpu_hold::begin
inline begin(vb) {
    d_step {
        has = (phase[vb] == IDLE || phase[vb] == SLEEPING) && waiters[vb] == 0;
        if
        :: has -> phase[vb] = FROZEN; owners[vb]++; assert(owners[vb] == 1)
        :: else
        fi
    }
}

// vcpu_hold::start
inline start(vt) {
    d_step {
        has = phase[vt] == IDLE && waiters[vt] == 0;
        if
        :: has -> phase[vt] = RUNNING; owners[vt]++; assert(owners[vt] == 1)
        :: else
        fi
    }
    if
    :: !has ->
        begin(vt);
        if
        :: has -> phase[vt] = RUNNING
        :: else
        fi
    :: else
    fi
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

// look_for_work between begin and rest
inline is_ready(vi) {
    ready = false;
    begin(vi);
    if
    :: has ->
#ifndef SLEEP_WITHOUT_RECEIVING
        receive(vi);
#endif
        d_step {
            if
            :: halted[vi] && irr[vi] != 0 -> halted[vi] = false
            :: else
            fi;
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
#if VCPUS > PROCESSORS
        :: irr[vg] == 0 && more -> slice_over = true
#endif
        fi;
        in_guest[vg] = false
    }
    if
    :: sends != 0 -> post(s, p, sends); d_step { s = 0; sends = 0 }
    :: halts -> // vcpu::halt
        halts = false;
        receive(vg);
        d_step { halted[vg] = irr[vg] == 0; looks = true }
    :: else
    fi
}

// vcpu::run
inline run_vcpu(vu) {
    start(vu);
    if
    :: has ->
        d_step { looks = true; has = false }
        do
        :: slice_over -> break
        :: !slice_over && (looks || flags[vu] || must_look[p]) -> // needs_attention
            looks = false;
            receive(vu);
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

// The bare host's scheduler::run.
active [PROCESSORS] proctype processor() {
    byte p = _pid;
    byte v, n, s, f, then;
    byte chosen = NOBODY, last = p;
    bool has, rested, ready, nothing_waited;
    byte sends;
    bool looks, halts, more, slice_over;

    do
    :: true ->
#ifndef LOOK_BEFORE_CLEARING
        must_look[p] = false;
#endif
        d_step { n = 0; v = last }
        do
        :: n * PROCESSORS + p >= VCPUS -> break
        :: else ->
            d_step {
                n++;
                v = v + PROCESSORS;
                if
                :: v >= VCPUS -> v = p
                :: else
                fi
            }
            is_ready(v);
            if
            :: ready && chosen == NOBODY -> d_step { chosen = v; ready = false }
            :: ready && chosen != NOBODY -> d_step { more = true; ready = false }
            :: else
            fi
        od;
#ifdef LOOK_BEFORE_CLEARING
        must_look[p] = false;
#endif
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
            d_step { v = chosen; chosen = NOBODY; n = 0 }
            run_vcpu(v);
            d_step { last = v; more = false; looks = false; slice_over = false; has = false }
        fi
    od
}

#if FREEZERS > 0
// vcpu::freeze and thaw, by a thread that runs no vCPU.
active [FREEZERS] proctype freezer() {
    byte me = _pid - PROCESSORS;
    byte f, then;
    bool nothing_waited, rested;
    byte snapshot_phase, snapshot_waiters;

    d_step { waiters[0]++; then = phase[0] }
    if
    :: then == RUNNING ->
#ifndef FREEZE_WITHOUT_ASKING
        post(0, NOBODY, 0)
#else
        skip
#endif
    :: else
    fi;
    d_step { snapshot_phase = phase[0]; snapshot_waiters = waiters[0] }
    do
    :: snapshot_phase != IDLE && snapshot_phase != SLEEPING ->
        d_step { // the host's wait_while: futexes compare and sleep in one step
            waits[me] = phase[0] == snapshot_phase && waiters[0] == snapshot_waiters
        }
        !waits[me];
        d_step { snapshot_phase = phase[0]; snapshot_waiters = waiters[0] }
    :: else ->
        d_step {
            if
            :: phase[0] == IDLE || phase[0] == SLEEPING ->
                waiters[0]--;
                phase[0] = FROZEN;
                owners[0]++;
                snapshot_phase = NOBODY
            :: else -> snapshot_phase = phase[0]; snapshot_waiters = waiters[0]
            fi
        }
        if
        :: snapshot_phase == NOBODY -> break
        :: else
        fi
    od;
    assert(!in_guest[0] && owners[0] == 1);
    rest(0, IDLE);
#ifndef THAW_WITHOUT_WAKING
    wake(HOME(0), NOBODY);
#endif
    freezers_left--
}
#endif
