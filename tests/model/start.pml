// SPDX-License-Identifier: BSD-2-Clause
// How one vCPU is started, initialised and suspended by others: posted_requests.hpp (post, take), vcpu_shared.hpp
// (receive, initialize, start_up), vcpu_group.hpp (suspend_cpu, resume_cpu) and vcpu.hpp (run, post).
//
// Each sender sends MESSAGES messages, any of INIT, start-up and NMI, while debuggers suspend and resume the vCPU. When
// nobody has anything to do any more, the vCPU runs unless it is suspended or waits for a start-up. It began at the page
// of a start-up that may have been the first behind the last INIT, and at none if there was none; each NMI behind the
// last INIT came. A message that is lost leaves it elsewhere.
//
// SENDERS, MESSAGES; DEBUGGERS: threads that change DEBUGS times whether it is suspended. STARTED: it runs at the
// beginning. Seeded defects, each of which must be found, are listed in CMakeLists.txt.

#ifndef SENDERS
#define SENDERS 2
#endif
#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef DEBUGGERS
#define DEBUGGERS 0
#endif
#ifndef DEBUGS
#define DEBUGS 2
#endif

// vcpu_phase; it lies in frozen for the vCPU's own thread alone here
#define IDLE 0
#define FROZEN 1
#define RUNNING 2
#define SLEEPING 3

// posted_requests::flags_
bool nmi, to_init, start_up, debugger;
byte page;
#define ANY (nmi || to_init || start_up || debugger)

byte phase;
bool kicked, must_look; // the processor of the host
bool suspended;         // vcpu_sets::debugged

// Of the vCPU, its thread's own.
#ifdef STARTED
bool waits_for_start_up = false;
#else
bool waits_for_start_up = true;
#endif
byte runs_at; // a page; 0 if it runs since the beginning
bool has_nmi;
bool debugs; // run_end::debug is asked for

byte left = SENDERS + DEBUGGERS;
#define THE_END (left == 0)

// What must hold. Start-ups are told apart by their pages.
#define PAGES (SENDERS * MESSAGES + 1)
#define PAGE(sender, message) (1 + (sender) * MESSAGES + (message))
bool under_way[PAGES];    // its sender is at it
bool may_be_first[PAGES]; // no other came and was over before it, behind the last INIT
bool began_behind[PAGES]; // the last INIT
bool one_is_over;         // of those that began behind the last INIT
bool nmi_counts;          // one came behind the last INIT

// vcpu_callers::post, behind the exchange: kick or wake
inline make_look() {
    if
    :: nothing_waited -> d_step { nothing_waited = false; must_look = must_look || phase != RUNNING; kicked = true }
    :: else
    fi
}

inline post_init() {
    d_step {
        nothing_waited = !ANY;
#ifndef INIT_KEEPS_NMI
        nmi = false;
#endif
#ifndef INIT_KEEPS_START_UP
        start_up = false;
        page = 0;
#endif
#ifdef INIT_DROPS_ALL
        debugger = false;
#endif
        to_init = true;
        n = 1;
        do
        :: n == PAGES -> break
        :: else -> may_be_first[n] = under_way[n]; began_behind[n] = false; n++
        od;
        n = 0;
        one_is_over = false;
        nmi_counts = false
    }
    make_look()
}

inline is_over(which) {
    under_way[which] = false;
    one_is_over = one_is_over || began_behind[which];
    began_behind[which] = false
}
inline post_start_up(which) {
    d_step {
        began_behind[which] = true;
        may_be_first[which] = !one_is_over;
#ifdef LAST_START_UP_WINS
        waits = false;
#else
        waits = start_up;
#endif
        under_way[which] = true;
        if
        :: waits -> is_over(which); may_be_first[which] = false
        :: else
        fi
    }
    if
    :: waits -> waits = false
    :: else ->
        d_step { nothing_waited = !ANY; start_up = true; page = which }
        make_look();
        d_step { is_over(which) }
    fi
}

active [SENDERS] proctype sender() {
    byte message, n;
    bool nothing_waited, waits;

    do
    :: message == MESSAGES -> break
    :: message != MESSAGES -> post_init(); message++
    :: message != MESSAGES -> post_start_up(PAGE(_pid, message)); message++
#ifndef WITHOUT_NMI
    :: message != MESSAGES ->
        d_step { nothing_waited = !ANY; nmi = true; nmi_counts = true }
        make_look();
        message++
#endif
    od;
    message = 0;
    left--
}

#if DEBUGGERS > 0
inline call_to_debugger() {
    d_step { nothing_waited = !ANY; debugger = true }
    make_look()
}
active [DEBUGGERS] proctype debugs_it() {
    byte times;
    bool nothing_waited, done;

    do
    :: times == DEBUGS -> break
    :: times != DEBUGS -> // suspend_cpu
#ifdef CALL_BEFORE_CHANGING
        call_to_debugger();
        suspended = true;
#else
        suspended = true;
        call_to_debugger();
#endif
        times++
    :: times != DEBUGS -> // resume_cpu
#ifdef CALL_BEFORE_CHANGING
        call_to_debugger();
        suspended = false;
#else
        d_step { done = suspended; suspended = false }
        if
        :: done -> done = false; call_to_debugger()
        :: else
        fi;
#endif
        times++
    od;
    times = 0;
    left--
}
#endif

inline follow() {
    if
    :: t_debugger -> d_step { t_debugger = false; debugs = suspended }
    :: else
    fi
}

inline receive(with_phase) {
#ifdef FOLLOW_BEFORE_TAKING
    t_debugger = debugger;
    follow();
#endif
    d_step {
        phase = with_phase;
        t_nmi = nmi;
        t_init = to_init;
        t_start_up = start_up;
        t_page = page;
#ifndef FOLLOW_BEFORE_TAKING
        t_debugger = debugger;
#endif
        nmi = false;
        to_init = false;
        start_up = false;
        debugger = false;
        page = 0
    }
    follow();
    d_step {
#ifdef START_UP_BEFORE_INIT
        take_start_up();
        take_init();
#else
        take_init();
        take_start_up();
#endif
        has_nmi = has_nmi || t_nmi;
        t_nmi = false
    }
}
inline take_init() {
    if
    :: t_init -> waits_for_start_up = true; runs_at = 0; has_nmi = false; t_init = false
    :: else
    fi
}
inline take_start_up() {
    if
#ifdef START_WITHOUT_WAITING
    :: t_start_up ->
#else
    :: t_start_up && waits_for_start_up ->
#endif
        waits_for_start_up = false;
        runs_at = t_page
    :: else
    fi;
    t_start_up = false;
    t_page = 0
}

// Nobody has anything to do any more.
inline check() {
    d_step {
        assert(!ANY);
        assert(debugs == suspended);
        assert(has_nmi == nmi_counts);
        assert(runs_at == 0 || may_be_first[runs_at]);
        assert(!waits_for_start_up || !one_is_over)
    }
}

// The bare host's scheduler::run, with one vCPU, and vcpu::run.
active proctype processor() {
    bool t_nmi, t_init, t_start_up, t_debugger;
    byte t_page;
    bool looks, ready;

    do
    :: true ->
        must_look = false;
        receive(FROZEN);
        ready = !waits_for_start_up && !debugs;
        if
        :: ready -> phase = IDLE
        :: else -> phase = SLEEPING
        fi;
        if
        :: !ready && must_look
        :: !ready && !must_look ->
            if
            :: kicked -> kicked = false
            :: THE_END && !kicked && !must_look -> check(); break
            fi
        :: ready ->
            phase = RUNNING;
            looks = true;
            do
            :: looks || ANY || must_look ->
                looks = false;
                receive(RUNNING);
                if
                :: waits_for_start_up || debugs || must_look -> break
                :: else
                fi
            :: else -> // in the guest
                if
                :: kicked -> kicked = false; looks = true
                :: THE_END && !kicked && !must_look -> check(); goto done
                fi
            od;
            phase = IDLE
        fi
    od;
done:
    skip
}
