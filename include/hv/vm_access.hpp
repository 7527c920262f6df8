// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/lock_order.hpp>
#include <hv/memory/shown_map.hpp>
#include <hv/posted_requests.hpp>
#include <hv/vcpu_phase.hpp>
#include <hv/vcpu_shared.hpp>

/// Access to a machine as a whole, and to one of its vCPUs, from any thread. One that serves an exit says of which
/// vCPU: that one stands aside while its thread waits, so that two that want the same do not wait for each other. Where
/// callers are serial nothing is left of all this.
namespace hv {

/// Makes whoever has a vCPU give it up, for hold.wait to get.
template <typename Vcpu>
void want(Vcpu& cpu) {
    if (cpu.shared().hold.want())
        cpu.post(posted_requests::request::look);
}
/// Its own thread may run it again.
template <typename Vcpu, typename Host>
void give_back(Vcpu& cpu, Host& host) {
    auto& hold = cpu.shared().hold;
    hold.rest(host, vcpu_phase::idle);
    if (cpu.machine().is_active(cpu.id()))
        host.wake(hold.now().processor());
}

/// Has the machine's lock: nobody else has access to the machine as a whole. Its vCPUs run.
template <typename Vm>
class machine_holder {
  public:
    explicit machine_holder(Vm& machine, typename Vm::vcpu_type* from = nullptr) : machine_{machine}, from_{from} {
        if constexpr (Vm::parallel) {
            auto& host = machine.host();
            if (from != nullptr) {
                from->shared().hold.stand_aside(host);
                note_given(host, lock_rank::machine);
            }
            note_taking(host, lock_rank::machine);
            machine.lock().acquire(host);
        }
    }
    ~machine_holder() {
        if constexpr (Vm::parallel) {
            auto& host = machine_.host();
            if (from_ != nullptr) { // while nobody else can take it for one that waits
                from_->shared().hold.come_back(host);
                from_->look_again(); // who wanted it meanwhile did not interrupt it
            }
            machine_.lock().release(host);
            if (from_ == nullptr)
                note_given(host, lock_rank::machine);
        }
    }
    machine_holder(machine_holder const&) = delete;
    auto operator=(machine_holder const&) -> machine_holder& = delete;

    [[nodiscard]] auto machine() -> Vm& { return machine_; }
    [[nodiscard]] auto from() -> typename Vm::vcpu_type* { return from_; }

    /// Lets the others have the lock until that vCPU no longer stands aside.
    void give_way(typename Vm::vcpu_type& to)
        requires Vm::parallel
    {
        auto& host = machine_.host();
        machine_.lock().release(host);
        to.shared().hold.wait_while_aside(host);
        machine_.lock().acquire(host);
    }

  private:
    Vm& machine_;
    typename Vm::vcpu_type* from_;
};

/// While one lives, every vCPU of the machine is out of its guest and stays out, and nobody else has access: the way to
/// change the memory map. Pointers into guest memory from before are void.
///
/// In an exit handler give the vCPU whose exit it is; its services of the machine's devices are over then. Others that
/// wait for access in handlers of theirs stand aside meanwhile. Elsewhere give the machine: then no vCPU is in the
/// middle of an exit either, and what belongs to the vCPUs may be read and changed; their local APICs and event queues
/// hold what was posted.
template <typename Vm>
class exclusive_access {
  public:
    using vcpu_type = typename Vm::vcpu_type;

    explicit exclusive_access(Vm& machine) : lock_{machine} {
        freeze();
        for (auto& cpu : machine.places())
            receive_interrupts(cpu);
    }
    explicit exclusive_access(vcpu_type& from) : lock_{from.machine(), &from} { freeze(); }
    ~exclusive_access() {
        for (auto& cpu : lock_.machine().places()) // those in the middle of an exit, too
            cpu.recent_code().forget();
        if constexpr (Vm::parallel)
            thaw();
    }
    exclusive_access(exclusive_access const&) = delete;
    auto operator=(exclusive_access const&) -> exclusive_access& = delete;

    [[nodiscard]] auto memory() & -> typename Vm::memory_type::changeable& {
        return lock_.machine().memory().changes();
    }

  private:
    void freeze() {
        if constexpr (Vm::parallel) {
            want_all();
            for (auto* aside = wait_for_all(); aside != nullptr and lock_.from() == nullptr; aside = wait_for_all()) {
                // All stay wanted, so that none begins another exit: how often this happens is bounded.
                want_all();
                for_each_had([](vcpu_type& cpu, auto& host) { cpu.shared().hold.rest(host, vcpu_phase::idle); });
                lock_.give_way(*aside);
            }
        }
    }
    void want_all() {
        for (auto& cpu : lock_.machine().places())
            if (&cpu != lock_.from())
                want(cpu);
    }
    /// Answers one that stands aside, or null.
    [[nodiscard]] auto wait_for_all() -> vcpu_type* {
        vcpu_type* aside{nullptr};
        for (auto& cpu : lock_.machine().places())
            if (&cpu != lock_.from() and not cpu.shared().hold.wait(lock_.machine().host(), true))
                aside = &cpu;
        return aside;
    }
    void thaw() {
        for_each_had([](vcpu_type& cpu, auto& host) { give_back(cpu, host); });
    }
    void for_each_had(auto&& what) {
        for (auto& cpu : lock_.machine().places())
            if (&cpu != lock_.from() and not cpu.shared().hold.now().stands_aside())
                what(cpu, lock_.machine().host());
    }

    machine_holder<Vm> lock_;
};
template <template <typename, typename> typename Vcpu, typename Machine, typename Host>
exclusive_access(Vcpu<Machine, Host>&) -> exclusive_access<typename Vcpu<Machine, Host>::machine_type>;

/// While one lives, nobody changes the memory map: for who looks into guest memory and neither runs a vCPU nor has
/// frozen one.
template <typename Vm>
class shared_access {
  public:
    explicit shared_access(Vm& machine) : machine_{machine} {
        if constexpr (Vm::parallel) {
            note_taking(machine.host(), lock_rank::machine);
            machine.lock().acquire_shared(machine.host());
        }
    }
    ~shared_access() {
        if constexpr (Vm::parallel) {
            machine_.lock().release_shared(machine_.host());
            note_given(machine_.host(), lock_rank::machine);
        }
    }
    shared_access(shared_access const&) = delete;
    auto operator=(shared_access const&) -> shared_access& = delete;

    [[nodiscard]] auto memory() & -> typename Vm::memory_type& { return machine_.memory(); }

  private:
    Vm& machine_;
};

/// While one lives, one vCPU is out of its guest and its thread has left `run`: its registers may be read and changed,
/// and nobody changes the memory map. Its local APIC and event queue hold what was posted until then. The vCPU it was
/// made with is the one that it is about, whatever becomes of the number that named it.
template <typename Vcpu>
class frozen_vcpu {
  public:
    explicit frozen_vcpu(Vcpu& cpu) : cpu_{cpu} {
        if constexpr (Vcpu::is_parallel) {
            note_taking(cpu.host(), lock_rank::machine);
            want(cpu);
            static_cast<void>(cpu.shared().hold.wait(cpu.host(), false));
            receive_interrupts(cpu);
        }
    }
    ~frozen_vcpu() {
        if constexpr (Vcpu::is_parallel) {
            give_back(cpu_, cpu_.host());
            note_given(cpu_.host(), lock_rank::machine);
        }
    }
    frozen_vcpu(frozen_vcpu const&) = delete;
    auto operator=(frozen_vcpu const&) -> frozen_vcpu& = delete;

    [[nodiscard]] auto cpu() -> Vcpu& { return cpu_; }

  private:
    Vcpu& cpu_;
};

/// Returns when no vCPU is in its guest any more with what it knew of the machine before. By who has the machine's
/// lock.
template <typename Vm>
void make_all_look([[maybe_unused]] Vm& machine) {
    if constexpr (Vm::parallel) {
        for (auto& cpu : machine.places())
            if (cpu.shared().hold.ask())
                cpu.post(posted_requests::request::look);
        for (auto& cpu : machine.places())
            cpu.shared().hold.wait_for_look(machine.host());
    }
}

} // namespace hv
