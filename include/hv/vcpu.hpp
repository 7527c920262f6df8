// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/cpuid.hpp>
#include <hv/device_context.hpp>
#include <hv/devices/board.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/emulate/execute.hpp>
#include <hv/emulate/plain_move.hpp>
#include <hv/emulated_cpu.hpp>
#include <hv/event_queue.hpp>
#include <hv/exit_list.hpp>
#include <hv/exit_services.hpp>
#include <hv/guest/start_state.hpp>
#include <hv/memory/code_page.hpp>
#include <hv/meta/tuple.hpp>
#include <hv/msr.hpp>
#include <hv/policy.hpp>
#include <hv/register_access.hpp>
#include <hv/run_requests.hpp>
#include <hv/speculation_msrs.hpp>
#include <hv/stats.hpp>
#include <hv/stay.hpp>
#include <hv/stop.hpp>
#include <hv/trace.hpp>
#include <hv/user_state.hpp>
#include <hv/vcpu_apic.hpp>
#include <hv/vcpu_callers.hpp>
#include <hv/vcpu_delivery.hpp>
#include <hv/vcpu_phase.hpp>
#include <hv/vcpu_reset.hpp>
#include <hv/vcpu_shared.hpp>
#include <hv/vcpu_step.hpp>
#include <hv/vcpu_turn.hpp>
#include <hv/x86/control_registers.hpp>
#include <hv/x86/msr.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace hv {

template <typename Machine, typename Host>
class vm;

/// One virtual processor. It is the handle of everything per-processor, and it is the handler that the backend calls
/// with each exit: `run` → backend `enter` → `on(exit)` → the user's handlers → exit_services → verdict → next entry.
template <typename Machine, typename Host>
class vcpu : public vcpu_callers<vcpu<Machine, Host>> {
    using backend = typename Machine::backend;
    friend class vcpu_callers<vcpu>;

  public:
    using hardware_type = typename backend::vcpu;
    using machine_type = vm<Machine, Host>;
    using local_board = board<typename Machine::devices::of_processor>;
    static constexpr bool has_lapic{Machine::devices::template has<lapic>};
    /// Whether the processor runs the local APIC while the guest is in, as far as the APIC's state allows.
    static constexpr bool runs_apic = [] {
        if constexpr (has_lapic and runs_apics<backend>)
            return Machine::apic == apic_policy::virtualised;
        else
            return false;
    }();
    /// Whether the local APIC's vectors are delivered when everything else is prepared, by themselves if they are all.
    static constexpr bool delivers_vectors_apart{has_lapic and not runs_apic};
    /// Whether other threads run other vCPUs of the machine.
    static constexpr bool is_parallel{not Host::callers_are_serial};
    static constexpr bool answers_hypercalls{Machine::hypercalls};
    static constexpr bool mitigates{Machine::mitigations == mitigation_policy::defaults};
    static constexpr bool shows_speculation_msrs{hv::shows_speculation_msrs<typename Machine::cpuid>()};
    static constexpr bool traps_descriptor_tables{Machine::descriptor_tables == descriptor_table_policy::exits};

    vcpu() = default;
    vcpu(vcpu const&) = delete;
    auto operator=(vcpu const&) -> vcpu& = delete;

    /// Its place in a machine: number `id`. There is nothing else of it until it is created.
    void seat(machine_type& machine, std::uint32_t id) {
        vm_ = &machine;
        id_ = id;
        requests_ = {};
        if constexpr (is_parallel)
            shared_.posted.clear();
    }

    /// Makes the processor, in the state after power-on. Fails with what the host lacks; then there is none.
    auto create() -> status {
        if (auto const made = hardware_.create(host(), vm_->hardware()); made != status::ok) {
            hardware_.destroy(host());
            return made;
        }
        cpuid_ = vm_->cpuid();
        show_topology(cpuid_, vm_->topology(), id_);
        stats_ = {};
        if constexpr (Machine::trace::enabled)
            trace_.clear();
        if constexpr (Machine::user_states)
            times_.start(host().now());
        tsc_adjustment_ = 0;
        offset_tsc();
        reset();
        return status::ok;
    }

    void destroy() {
        if (vm_ == nullptr)
            return;
        hardware_.destroy(host());
        fpu_ = {};
        vm_ = nullptr;
    }

    /// Power-on state. SDM Vol. 3A, "Processor State After Reset".
    void reset() {
        reset_state();
        set_activity(id_ == 0 ? vcpu_activity::running : vcpu_activity::waits_for_start_up);
        was_initialised_ = id_ != 0;
        if constexpr (is_parallel) {
            shared_.posted.drop_messages();
            shared_.sleeps_for_ever = id_ != 0;
        }
    }
    /// All of it but whether it runs.
    void reset_state() {
        reset_registers(hardware_);
        fpu_ = {};
        if constexpr (shows_speculation_msrs)
            hardware_.speculation().set_control(0);
        events_.clear();
        msrs_.reset();
        if constexpr (has_lapic) {
            apic().power_on(vm_->topology().apic_id(id_), id_ == 0);
            register_context<vcpu> context{*this};
            local_.reset(context);
        }
    }

    /// Sets what a guest loader decided, and what firmware would have done to the local APIC.
    void start(guest::start_state const& state) {
        apply(hardware_, state);
        if constexpr (has_lapic) {
            apic().set_virtual_wire();
            this->show_route();
        }
    }

    // The guest's TSC: the machine's, and what the guest added on this processor.

    [[nodiscard]] auto guest_tsc() -> std::uint64_t { return vm_->guest_tsc() + tsc_adjustment_; }
    /// IA32_TSC_ADJUST: all that the guest added.
    [[nodiscard]] auto tsc_adjustment() const -> std::uint64_t { return tsc_adjustment_; }
    [[gnu::noinline]] void set_tsc_adjustment(std::uint64_t value) {
        tsc_adjustment_ = value;
        offset_tsc();
        if constexpr (has_lapic) {
            processor_context<vcpu> context{*this};
            apic().tsc_changed(context);
            local_deadline_ = local_.deadline();
            requests_.look();
        }
    }
    [[nodiscard]] auto instant_of_tsc(std::uint64_t value) -> instant {
        return vm_->instant_of_tsc(value - tsc_adjustment_);
    }

    /// Runs the guest until its machine stops, a handler leaves, or somebody asks for it; of a machine with several
    /// vCPUs also until it halts, waits to be started, or another should have it or the host's processor: see is_ready.
    /// Tells which; at once, while another has it. The caller's thread is the processor. Not inlined, because the way
    /// of exits ends where it returns: hv-verify knows it by name.
    [[gnu::noinline]] auto run() -> run_end {
        auto& machine = *vm_;
        auto& processor = machine.processor();
        auto& host = machine.host();
        if (not machine.is_active(id_)) [[unlikely]]
            return run_end::inactive;
        if constexpr (is_parallel)
            if (not this->begin_run()) [[unlikely]]
                return run_end::idle;
        change_to(user_state::emu_kern);
        stay_.forget();
        hardware_.attach(host, processor);
        if constexpr (is_parallel)
            if (host.tsc_lead() != shared_.tsc_lead) {
                shared_.tsc_lead = host.tsc_lead();
                offset_tsc();
            }
        host.load_guest_fpu(fpu_);
        requests_.look();
        auto end = run_end::left;
        while (true) {
            if (needs_attention() and not prepare_entry()) [[unlikely]] {
                end = requests_.take();
                break;
            }
            if constexpr (delivers_vectors_apart)
                if (apic().moved()) {
                    renew_apic();
                    event_delivery<vcpu>{*this}.deliver_vectors();
                }
            auto decision = verdict::again;
            do {
                trace_entry();
                change_to(user_state::run);
                decision = backend::enter(host, processor, hardware_, *this);
                if (decision == verdict::resume) [[likely]]
                    break;
            } while (decision == verdict::again);
            if (decision == verdict::advance) [[likely]]
                step_over(*this);
            else if (decision == verdict::leave) [[unlikely]]
                break;
        }
        renew_apic();
        host.save_guest_fpu(fpu_);
        hardware_.detach(host, processor);
        if (end == run_end::left and machine.stopped())
            end = run_end::stopped;
        change_to(end == run_end::stopped     ? user_state::init
                  : end == run_end::run_state ? user_state::idle
                  : end == run_end::yield     ? user_state::sched
                                              : user_state::emu_user);
        if constexpr (is_parallel)
            this->end_run();
        return end;
    }

    /// The backend's handler: every exit comes through here once.
    template <typename Exit>
    [[gnu::always_inline]] auto on(Exit const& exit) -> verdict {
        change_to(user_state::emu_kern);
        stats_.template count<Exit>();
        trace_exit(exit);
        if constexpr (exits::is_rare<Exit>)
            begin_rare_service();
        else
            begin_service<Exit>();
        auto const decision = serve(exit);
        if constexpr (exits::is_intercept<Exit>)
            if (decision == verdict::advance)
                if (auto const next = end_of_instruction(*this, exit); not is_unknown_or_wrapped(next)) [[likely]] {
                    bool const plain{retire_instruction(hardware_, next, events_)};
                    return moves_registers_only<Exit> and plain and not is_waiting_ ? verdict::again : verdict::resume;
                }
        return decision;
    }

    [[nodiscard]] auto id() const -> std::uint32_t { return id_; }
    [[nodiscard]] auto machine() -> machine_type& { return *vm_; }
    [[nodiscard]] auto host() -> Host& { return vm_->host(); }
    [[nodiscard]] auto hardware() -> hardware_type& { return hardware_; }
    [[nodiscard]] auto hardware() const -> hardware_type const& { return hardware_; }
    [[nodiscard]] auto events() -> event_queue& { return events_; }
    [[nodiscard]] auto stays() -> stay& { return stay_; }
    [[nodiscard]] auto requests() -> run_requests& { return requests_; }
    [[nodiscard]] auto stats() -> vcpu_stats& { return stats_; }
    /// What it spent its time with. By the thread that runs it or has it frozen.
    [[nodiscard]] auto times() const -> user_times<true> const&
        requires(Machine::user_states)
    {
        return times_;
    }
    [[gnu::always_inline]] void change_to([[maybe_unused]] user_state now) {
        if constexpr (Machine::user_states)
            times_.change(now, host().now());
    }
    [[nodiscard]] auto cpuid() -> cpuid_table& { return cpuid_; }
    [[nodiscard]] auto msrs() -> msr_store<typename Machine::msrs>& { return msrs_; }
    [[nodiscard]] auto recent_code() -> code_pages& { return recent_code_; }
    [[nodiscard]] auto recent_moves() -> plain_moves& { return recent_moves_; }
    [[nodiscard]] auto local() -> local_board& { return local_; }
    [[nodiscard]] auto handlers() -> typename Machine::handlers& { return handlers_; }
    [[nodiscard]] auto trace() -> typename Machine::trace& { return trace_; }
    /// Bits of CR4 and EFER that this guest's CPUID leaves allow.
    [[nodiscard]] auto supported_cr4() const -> std::uint64_t {
        return hv::supported_cr4(cpuid_) & ~(Machine::hide_xsave ? x86::cr4::osxsave : 0);
    }
    [[nodiscard]] auto supported_efer() const -> std::uint64_t { return hv::supported_efer(cpuid_); }
    [[nodiscard]] auto tsc_aux() const -> std::uint32_t {
        return static_cast<std::uint32_t>(hardware_.msr(x86::msr::ia32_tsc_aux).value);
    }
    void set_tsc_aux(std::uint32_t value) { (void)hardware_.set_msr(x86::msr::ia32_tsc_aux, value); }
    [[nodiscard]] auto apic() -> lapic&
        requires has_lapic
    {
        return local_.template get<lapic>();
    }

    // The registers a handler needs most.
    [[nodiscard]] auto gpr(x86::gpr name) const -> std::uint64_t { return hardware_.gpr(name); }
    void set_gpr(x86::gpr name, std::uint64_t value) { hardware_.set_gpr(name, value); }
    [[nodiscard]] auto rip() const -> std::uint64_t { return hardware_.rip(); }
    void set_rip(std::uint64_t value) { hardware_.set_rip(value); }

    /// The guest gets this exception at its present instruction.
    void raise(event exception) { events_.raise(exception); }
    void raise(x86::exception vector) { events_.raise(event::make(vector)); }
    void raise_gp() { events_.raise(event::make(x86::exception::general_protection, 0)); }

    /// Takes a message that is for this processor. Its own thread only; others `post`.
    void accept(interrupt_message const& message) {
        if constexpr (has_lapic) {
            processor_context context{*this};
            request(apic().accept(context, message));
        }
    }

    /// An edge at LINT0, unless the 8259's interrupts come through there.
    void signal_lint0() {
        if constexpr (has_lapic)
            if (not apic().accepts_external()) {
                processor_context context{*this};
                request(apic().local_interrupt(context, local_source::lint0));
            }
    }

    /// Something that an interrupt controller asks of this processor.
    void request(lapic_request what) {
        switch (what) {
        case lapic_request::nmi:
            events_.raise_nmi();
            break;
        case lapic_request::external:
            events_.raise_external();
            break;
        default:
            break; // a pending vector is found in the APIC; INIT and start-up matter to other processors only
        }
    }

    /// Lets due timers fire and takes console input. Called when the host was interrupted and while the guest halts.
    void service() {
        if (not is_parallel or id_ == vm_->first_cpu())
            vm_->service();
        if constexpr (has_lapic) {
            processor_context<vcpu> context{*this};
            if (local_.deadline() <= context.now())
                local_.expire(context);
        }
    }

    /// The guest has run as long as it was allowed to.
    void end_stay() {
        stay_.end();
        service();
    }

    /// Asks the host for an interrupt at the next deadline, if that moved.
    void arm_timer() { stay_.arm(*vm_, next_deadline()); }

    [[nodiscard]] auto shared() -> vcpu_shared&
        requires is_parallel
    {
        return shared_;
    }
    [[nodiscard]] auto shared() const -> vcpu_shared const&
        requires is_parallel
    {
        return shared_;
    }
    [[nodiscard]] auto activity() const -> vcpu_activity { return activity_; }
    /// The entry that is prepared leaves an interrupt to the next.
    void note_waiting() { is_waiting_ = true; }
    /// Whether INIT put it where it is, or where it started from.
    [[nodiscard]] auto was_initialised() const -> bool { return was_initialised_; }
    void set_initialised(bool whether) { was_initialised_ = whether; }
    void set_activity(vcpu_activity now) {
        activity_ = now;
        requests_.look();
        if (now == vcpu_activity::running)
            requests_.withdraw(run_end::run_state);
        else
            requests_.ask(run_end::run_state);
    }

    /// Before the next entry it looks at everything.
    void look_again() { requests_.look(); }

  private:
    /// What the processor adds to its own counter.
    void offset_tsc() {
        auto offset = vm_->tsc_offset() + tsc_adjustment_;
        if constexpr (is_parallel)
            offset -= vm_->guest_lead(shared_.tsc_lead);
        hardware_.set_tsc_offset(offset);
    }

    template <typename Exit>
    static constexpr bool has_handler{Machine::handlers::template serves<Exit, vcpu>};
    /// Exits whose service needs nothing of the local APIC: its task priority stays with the processor until an entry
    /// or a later exit asks.
    template <typename Exit>
    static constexpr bool leaves_apic_alone{
        has_lapic and not runs_apic and not has_handler<Exit> and
        meta::contains<Exit, meta::types<exits::io_port, exits::cpuid, exits::hypercall>>};

    /// Exits whose service gives an entry nothing to look at but what the last one left.
    template <typename Exit>
    static constexpr bool moves_registers_only{not is_parallel and not runs_apic and not has_handler<Exit> and
                                               meta::contains<Exit, meta::types<exits::cpuid, exits::hypercall>>};

    template <typename Exit>
    [[gnu::always_inline]] auto serve(Exit const& exit) -> verdict {
        if constexpr (has_handler<Exit>)
            if (auto const answer = handlers_.on(exit, *this); answer != verdict::not_mine)
                return answer == verdict::again ? verdict::resume : answer;
        return exit_services<vcpu>{*this}.on(exit);
    }

    /// What comes before the service of an exit: an event that it interrupted, the local APIC's state, and whether the
    /// next entry has to look.
    template <typename Exit>
    [[gnu::always_inline]] void begin_service() {
        if constexpr (not exits::is_intercept<Exit>)
            if (auto const interrupted = hardware_.take_interrupted_event(); interrupted.valid()) [[unlikely]] {
                ++stats_.interrupted_deliveries;
                (void)events_.set_interrupted(interrupted);
            }
        apic_is_stale_ = leaves_apic_alone<Exit>;
        if constexpr (not leaves_apic_alone<Exit>)
            fetch_apic(*this);
        if constexpr (not exits::is_of_instruction<Exit> and not std::is_same_v<Exit, exits::interrupt_window>)
            requests_.look();
    }
    [[gnu::noinline]] void begin_rare_service() { begin_service<exits::unknown>(); }

    /// Makes up for exits that left the local APIC alone.
    void renew_apic() {
        if (std::exchange(apic_is_stale_, false))
            fetch_apic(*this);
    }

    /// Whether something moved that an entry has to know of: asked at each, so it takes two branches.
    [[nodiscard, gnu::always_inline]] auto needs_attention() -> bool {
        if constexpr (runs_apic)
            return true;
        auto moved = static_cast<std::uint8_t>(vm_->attention(id_) | events_.waiting() | requests_.waiting());
        if constexpr (is_parallel)
            moved |= static_cast<std::uint8_t>(shared_.posted.any() or host().is_woken());
        if constexpr (has_lapic)
            moved |= static_cast<std::uint8_t>(local_.timers_touched());
        return moved != 0 or vm_->memory().generation() != translations_seen_;
    }

    /// What an entry needs besides entering. False: there will be none.
    [[nodiscard, gnu::noinline]] auto prepare_entry() -> bool {
        auto& machine = *vm_;
        requests_.looked();
        renew_apic();
        if (machine.keeps_input()) [[unlikely]] // a guest that polls may have made room, and nothing else tells
            machine.take_input();
        if constexpr (is_parallel) {
            receive(*this);
            end_halt(*this);
            if (host().is_woken())
                requests_.ask(run_end::yield);
        }
        choose_apic(*this); // may stand aside
        if constexpr (is_parallel)
            if (not shared_.hold.look(host())) [[unlikely]] // whoever wants it may have posted without a kick
                requests_.ask(run_end::idle);
        if (requests_.must_leave()) [[unlikely]]
            return false;
        if (translations_seen_ != machine.memory().generation()) [[unlikely]] {
            translations_seen_ = machine.memory().generation();
            hardware_.flush_translations();
        }
        stay_.bound(hardware_, machine, next_deadline());
        event_delivery<vcpu> delivery{*this};
        if (not delivery.deliver()) [[unlikely]]
            return false;
        requests_.look(delivery.waits());
        is_waiting_ = (requests_.waiting() | events_.waiting()) != 0;
        lend_apic(*this);
        return true;
    }

    [[nodiscard, gnu::always_inline]] auto next_deadline() -> instant {
        if constexpr (has_lapic)
            if (local_.take_timers_touched())
                local_deadline_ = local_.deadline();
        if (is_parallel and id_ != vm_->first_cpu())
            return local_deadline_;
        auto const machine_deadline = vm_->deadline();
        return machine_deadline < local_deadline_ ? machine_deadline : local_deadline_;
    }

    void trace_entry() {
        if constexpr (Machine::trace::enabled)
            trace_.end(host().tsc());
    }

    template <typename Exit>
    void trace_exit([[maybe_unused]] Exit const& exit) {
        if constexpr (Machine::trace::enabled)
            trace_.begin(static_cast<std::uint16_t>(exits::number_of<Exit>), hardware_.rip(), detail_of(exit),
                         host().tsc());
    }

    hardware_type hardware_{}; // first: one register leads to it and to what follows
    machine_type* vm_{};
    std::uint32_t id_{};
    // What it writes at its exits, apart from what others ask it for.
    alignas(is_parallel ? 64 : alignof(std::uint64_t)) std::uint64_t translations_seen_{~std::uint64_t{0}};
    instant local_deadline_{never};
    stay stay_{};
    std::uint64_t tsc_adjustment_{};
    run_requests requests_{};
    bool is_waiting_{true}; ///< an entry since the last look at everything left something to the next
    bool apic_is_stale_{};
    vcpu_activity activity_{vcpu_activity::running};
    bool was_initialised_{};
    event_queue events_{};
    code_pages recent_code_{};
    plain_moves recent_moves_{};
    local_board local_{};
    vcpu_stats stats_{};
    msr_store<typename Machine::msrs> msrs_{};
    cpuid_table cpuid_{};
    [[no_unique_address]] typename Machine::handlers handlers_{};
    [[no_unique_address]] typename Machine::trace trace_{};
    [[no_unique_address]] user_times<Machine::user_states> times_{};
    typename Host::fpu_area fpu_{};
    [[no_unique_address]] std::conditional_t<is_parallel, vcpu_shared, vcpu_alone> shared_{};
};

} // namespace hv
