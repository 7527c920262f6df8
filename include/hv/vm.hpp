// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <hv/backends/backend.hpp>
#include <hv/cpuid.hpp>
#include <hv/device_context.hpp>
#include <hv/devices/board.hpp>
#include <hv/devices/lapic.hpp>
#include <hv/guest/memory_layout.hpp>
#include <hv/interrupt_routing.hpp>
#include <hv/lock_order.hpp>
#include <hv/machine_lock.hpp>
#include <hv/memory/physical_map.hpp>
#include <hv/memory/shown_map.hpp>
#include <hv/policy.hpp>
#include <hv/posted_requests.hpp>
#include <hv/stop.hpp>
#include <hv/time.hpp>
#include <hv/topology.hpp>
#include <hv/tsc_ratio.hpp>
#include <hv/vcpu.hpp>
#include <hv/vcpu_group.hpp>
#include <hv/vm_access.hpp>
#include <hv/x86/cpuid.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace hv {

/// What a machine wants of its processor, but for its nested tables and the ratio of its TSC, which only a living one
/// has.
template <typename Machine>
[[nodiscard]] constexpr auto controls_of() -> vm_controls {
    return {.intercepted_exceptions = Machine::intercepted_exceptions,
            .direct_msrs = Machine::direct_msrs,
            .trap_tsc = Machine::tsc == tsc_policy::trapped,
            .pause = Machine::pause,
            .pauses = Machine::pauses,
            .trap_descriptor_tables = Machine::descriptor_tables == descriptor_table_policy::exits,
            .hide_xsave = Machine::hide_xsave,
            .xcr0_allowed = Machine::xcr0_allowed,
            .run_apic = Machine::apic == apic_policy::virtualised and Machine::devices::template has<lapic>,
            .apic_readable = lapic_access::x2apic_stable};
}

/// One virtual machine: its memory, the devices all its processors share, its clock, its processors, and why it
/// stopped.
template <typename Machine, typename Host>
class vm : public vcpu_group<vm<Machine, Host>>, public interrupt_routing<Machine, Host> {
    using backend = typename Machine::backend;
    friend class interrupt_routing<Machine, Host>;

  public:
    using vcpu_type = vcpu<Machine, Host>;
    using memory_type = shown_map<guest_physical_map<typename backend::nested_format, Host, Machine::memory_fill>, vm>;
    using device_board = board<typename Machine::devices::of_machine>;
    using processor_type = typename backend::processor;
    /// Whether several threads may call at the same time: then the board has a lock, and vCPUs post to each other.
    static constexpr bool parallel{not Host::callers_are_serial};

    vm() = default;
    vm(vm const&) = delete;
    auto operator=(vm const&) -> vm& = delete;

    /// Makes an empty machine: no memory, processors in their power-on state. `processors` are the host's, by number;
    /// the present one is on. Fails with what the host or backend lacks, or already_exists; then nothing has changed.
    auto create(Host& host, processor_type* processors) -> status {
        if (host_ != nullptr)
            return status::already_exists;
        host_ = &host;
        processors_ = processors;
        auto const made = build();
        if (made != status::ok)
            destroy();
        return made;
    }

    /// Gives everything back to the host. The machine may be created again.
    void destroy() {
        if (host_ == nullptr)
            return;
        for (auto& processor : vcpus_)
            processor.destroy();
        apic_window_ = false;
        hardware_.destroy(*host_);
        memory_.changes().destroy(*host_);
        host_ = nullptr;
    }

    /// Gives the machine its memory, all of it from one segment. out_of_memory if the host has not as much; then the
    /// machine has none.
    auto give_memory(guest::memory_layout const& layout) -> status {
        constexpr auto all = access::read | access::write | access::execute;
        exclusive_access held{*this};
        auto& memory = held.memory();
        if (auto const made = memory.allocate_segment(*host_, 0, layout.size, true); made != status::ok)
            return made;
        auto made = memory.map(*host_, gpa{0}, 0, 0, layout.below_4g(), all);
        if (made == status::ok and layout.above_4g() != 0)
            made = memory.map(*host_, gpa{guest::four_gib}, 0, layout.below_4g(), layout.above_4g(), all);
        if (made == status::ok)
            return made;
        static_cast<void>(memory.unmap(*host_, gpa{0}, layout.below_4g())); // if it was the second that failed
        static_cast<void>(memory.free_segment(*host_, 0));
        return status::out_of_memory;
    }

    /// Reads, sets or clears dirty flags while the guest runs: see guest_physical_map::dirty. What guests write after
    /// it returned is dirty again. `from` is the vCPU whose exit the caller serves, if it does.
    auto dirty(gpa first, std::uint64_t bytes, dirty_operation operation, std::span<std::uint8_t const> only,
               std::span<std::uint8_t> was, vcpu_type* from = nullptr) -> status {
        machine_holder const held{*this, from};
        auto const done = memory_.changes().dirty(*host_, first, bytes, operation, only, was);
        if (done == status::ok and operation != dirty_operation::get)
            make_all_look(*this);
        return done;
    }

    [[nodiscard]] auto host() -> Host& { return *host_; }
    /// The host's processor that executes this.
    [[nodiscard]] auto processor() -> processor_type& {
        if constexpr (parallel)
            return processors_[host_->processor()];
        else
            return *processors_;
    }
    [[nodiscard]] auto hardware() -> typename backend::vm& { return hardware_; }
    /// For who loads a guest that does not run yet, runs one of its vCPUs, or has access. Changes are
    /// exclusive_access's.
    [[nodiscard]] auto memory() -> memory_type& { return memory_; }
    [[nodiscard]] auto lock() -> machine_lock&
        requires parallel
    {
        return shared_.lock;
    }
    [[nodiscard]] auto devices() -> device_board& { return devices_; }
    [[nodiscard]] auto cpuid() const -> cpuid_table const& { return cpuid_; }
    [[nodiscard]] auto cpu(std::uint32_t id) -> vcpu_type& { return vcpus_[id]; }
    /// All that the machine may have.
    [[nodiscard]] auto places() -> std::span<vcpu_type, Machine::max_vcpus> { return vcpus_; }
    [[nodiscard]] auto sets() -> vcpu_sets<Machine::max_vcpus, parallel>& { return sets_; }

    [[nodiscard]] auto topology() const -> hv::topology const& { return topology_; }
    /// Arranges the vCPUs; unsaid, all the machine may have are cores of one socket. busy once one was activated;
    /// invalid_argument or out_of_range if there cannot be so many, see topology::fits, or for any `most` but 0.
    [[gnu::cold]] auto set_topology(hv::topology const& shape, std::uint32_t most = 0) -> status {
        auto const fits = most == 0 ? shape.fits(Machine::max_vcpus) : status::invalid_argument;
        if (fits != status::ok)
            return fits;
        if (sets_.claimed.end() != 0)
            return status::busy;
        topology_ = shape;
        return status::ok;
    }

    // Life and end.

    /// Ends the machine for a reason, as vCPU `source` found. already_done if it has ended: the first reason stays.
    /// invalid_argument if that is none.
    [[gnu::cold, gnu::noinline]] auto suspend(stop_cause const& cause, std::uint32_t source = no_vcpu) -> status {
        if (cause.kind == stop_kind::none)
            return status::invalid_argument;
        if constexpr (parallel) {
            if (shared_.stopping.exchange(true))
                return status::already_done;
        } else if (stopped()) {
            return status::already_done;
        }
        static_cast<stop_cause&>(reason_) = cause;
        reason_.source = source;
        reason_.when = now();
        if constexpr (parallel)
            shared_.stopped.store(true);
        this->for_each_active([](vcpu_type& processor) { processor.ask(run_end::stopped); });
        return status::ok;
    }
    /// The same, where it does not matter who was the first.
    void stop(stop_cause const& cause, std::uint32_t source = no_vcpu) { static_cast<void>(suspend(cause, source)); }
    [[nodiscard]] auto stopped() const -> bool {
        if constexpr (parallel)
            return shared_.stopped.load(std::memory_order_acquire);
        else
            return reason_.kind != stop_kind::none;
    }
    /// Of a machine that has stopped.
    [[nodiscard]] auto reason() const -> stop_reason const& { return reason_; }

    // The devices that all processors share: one thread at a time, which makes a machine_context.

    void enter_board() {
        if constexpr (parallel)
            shared_.board.acquire(*host_);
    }
    void leave_board() {
        if constexpr (parallel) {
            auto const before = deadline_;
            bool const moved{known_deadline() != before};
            shared_.board.release(*host_);
            if (moved)
                vcpus_[this->first_cpu()].post(posted_requests::request::look);
        }
    }
    /// Not zero if vCPU `id` must look at the machine before it enters.
    [[nodiscard]] auto attention([[maybe_unused]] std::uint32_t id) const -> std::uint8_t {
        if constexpr (parallel) // the rest is posted
            return static_cast<std::uint8_t>((id == 0 and this->external_interrupt()) or keeps_input());
        else
            return static_cast<std::uint8_t>(external_interrupt_ | keeps_input_ | devices_.timers_touched());
    }
    /// A vCPU halted and nothing but another processor can wake it. If all are so, the machine is at its end.
    void note_halt() {
        if constexpr (Machine::halt_detection)
            if (all_sleep())
                stop({.kind = stop_kind::halted});
    }
    /// One of them has something to do again.
    void note_wake_up() {
        if constexpr (parallel)
            shared_.wake_ups.fetch_add(1);
    }

    // Time. The machine's clock starts at its creation; the guest's TSC starts at 0 with it.

    [[nodiscard]] auto now() -> instant { return {host_->now() - created_at_}; }
    [[nodiscard]] auto host_time(instant when) const -> nanoseconds {
        return when == never ? when.since_creation : when.since_creation + created_at_;
    }
    [[nodiscard]] auto wall_clock_at(instant when) -> std::int64_t { return host_->wall_clock() - (now() - when); }
    /// Hz of the guest's TSC.
    [[nodiscard]] auto tsc_frequency() const -> std::uint64_t { return tsc_frequency_; }
    [[nodiscard]] auto tsc_offset() const -> std::uint64_t { return tsc_offset_; }
    [[nodiscard]] auto guest_tsc() -> std::uint64_t { return tsc_without_offset() + tsc_offset_; }
    /// What the processor adds to a guest's TSC where the host's counter leads by `ticks`.
    [[nodiscard]] auto guest_lead(std::int64_t ticks) const -> std::uint64_t {
        if constexpr (Machine::tsc == tsc_policy::scaled)
            return scaled_difference(ticks, tsc_ratio_, backend::tsc_scaling);
        else
            return static_cast<std::uint64_t>(ticks);
    }
    /// When the guest's TSC reads `value`: now, if it has already; never, if that lies beyond a hundred years.
    [[nodiscard]] auto instant_of_tsc(std::uint64_t value) -> instant {
        constexpr std::uint64_t too_late{100ull * 366 * 24 * 60 * 60};
        auto const ahead = static_cast<std::int64_t>(value - guest_tsc());
        auto const ticks = static_cast<std::uint64_t>(ahead);
        auto const frequency = tsc_frequency_;
        if (ahead > 0 and ticks / frequency >= too_late)
            return never;
        return ahead <= 0 ? now() : now() + time_for(ticks, frequency);
    }

    /// The earliest deadline of the shared devices.
    [[nodiscard]] auto deadline() -> instant {
        if constexpr (parallel) // as whoever had the board last left it
            return {__atomic_load_n(&deadline_.since_creation, __ATOMIC_RELAXED)};
        else
            return known_deadline();
    }

    /// Lets due timers fire and takes console input.
    void service() {
        machine_context context{*this};
        if (known_deadline() <= context.now())
            devices_.expire(context);
        take_input(context);
    }

    /// Whether a byte of console input waits until the guest has room.
    [[nodiscard]] auto keeps_input() const -> bool { return __atomic_load_n(&keeps_input_, __ATOMIC_RELAXED); }

    /// Hands console input to the first device that takes it.
    void take_input() {
        machine_context context{*this};
        take_input(context);
    }
    void take_input(machine_context<vm>& context) {
        while (true) {
            if (input_ < 0)
                input_ = host_->get();
            if (not parallel or keeps_input() != (input_ >= 0)) // every exit reads it
                __atomic_store_n(&keeps_input_, input_ >= 0, __ATOMIC_RELAXED);
            if (input_ < 0)
                return;
            bool taken{false};
            devices_.for_each([&](auto& device) {
                if constexpr (requires { device.receive(context, std::uint8_t{}); })
                    taken = taken or device.receive(context, static_cast<std::uint8_t>(input_));
            });
            if (not taken)
                return; // kept until the guest has room
            input_ = -1;
        }
    }

  private:
    /// The alignment that gives a member cache lines of its own, where that matters.
    template <typename T>
    static constexpr std::size_t apart{parallel ? 64 : alignof(T)};

    /// A sleeper that was seen may have been woken by one that was not seen yet, and slept when it was. But if two
    /// looks found all asleep and nobody woke from the first to the second, all slept at the moment between them.
    [[nodiscard]] auto all_sleep() -> bool {
        auto const look = [this] {
            bool all{true};
            this->for_each_active([&all](vcpu_type& each) { all = all and each.sleeps_for_ever(); });
            return all;
        };
        if constexpr (parallel) {
            auto const before = shared_.wake_ups.load();
            return look() and look() and shared_.wake_ups.load() == before;
        } else {
            return look();
        }
    }

    [[nodiscard]] auto tsc_without_offset() -> std::uint64_t {
        if constexpr (Machine::tsc == tsc_policy::trapped)
            return ticks_in(now().since_creation, tsc_frequency_);
        else if constexpr (Machine::tsc == tsc_policy::scaled)
            return scaled_tsc(host_->tsc(), tsc_ratio_, backend::tsc_scaling);
        else
            return host_->tsc();
    }

    /// The guest's TSC starts at 0. out_of_range if the processor cannot scale the host's to the machine's frequency.
    [[nodiscard]] auto start_tsc() -> status {
        tsc_frequency_ = Machine::tsc_frequency != 0 ? Machine::tsc_frequency : host_->tsc_frequency();
        if constexpr (Machine::tsc == tsc_policy::scaled) {
            auto const ratio = frequency_ratio(tsc_frequency_, host_->tsc_frequency(), backend::tsc_scaling);
            if (not ratio)
                return ratio.error;
            tsc_ratio_ = ratio.value;
        }
        tsc_offset_ = 0 - tsc_without_offset();
        return status::ok;
    }

    [[nodiscard]] auto build() -> status {
        created_at_ = host_->now();
        topology_ = {.cores = Machine::max_vcpus};
        if (auto const started = start_tsc(); started != status::ok)
            return started;
        reason_ = {};
        if constexpr (parallel)
            shared_.stopping = shared_.stopped = false;
        input_ = -1;
        keeps_input_ = false;
        if (auto const made =
                memory_.changes().create(*host_, memory_type::changeable::default_limit, Machine::largest_leaf);
            made != status::ok)
            return made;
        cpuid_ = make_cpuid_table<typename Machine::cpuid>(*host_);
        if constexpr (not Machine::hide_xsave)
            if ((host_->cpuid(1, 0).ecx & x86::cpuid_bits::leaf1_ecx::osxsave) != 0) // else the host keeps no states
                cpuid_ = make_cpuid_table<xsave_cpuid_profile<typename Machine::cpuid, Machine::xcr0_allowed>>(*host_);
        if (auto* const leaf = cpuid_.find(0xd, 1); leaf != nullptr and not processors_->examine(*host_).xsaves)
            leaf->values.eax &= ~x86::cpuid_bits::xsaves;
        auto controls = controls_of<Machine>();
        controls.nested_root = memory_.root(*host_);
        controls.tsc_ratio = tsc_ratio_;
        controls.shows_rdtscp = has_tsc_aux(cpuid_);
        controls.shows_invpcid = has_invpcid(cpuid_);
        controls.shows_xsaves = has_xsaves(cpuid_);
        if (auto const made = hardware_.create(*host_, controls); made != status::ok)
            return made;
        sets_.clear();
        for (std::uint32_t id{0}; id != Machine::max_vcpus; ++id)
            vcpus_[id].seat(*this, id);
        machine_context context{*this};
        devices_.reset(context);
        return status::ok;
    }

    [[nodiscard]] auto known_deadline() -> instant {
        if (devices_.take_timers_touched())
            __atomic_store_n(&deadline_.since_creation, devices_.deadline().since_creation, __ATOMIC_RELAXED);
        return deadline_;
    }

    Host* host_{};
    processor_type* processors_{};
    nanoseconds created_at_{};
    std::uint64_t tsc_frequency_{};
    std::uint64_t tsc_ratio_{}; ///< 0 unless the processor scales
    std::uint64_t tsc_offset_{};
    bool keeps_input_{};
    bool external_interrupt_{};
    bool apic_window_{}; ///< at the APIC's address, in the nested tables
    // What whoever has the board writes, apart from what every exit reads.
    alignas(apart<instant>) instant deadline_{never};
    int input_{-1};
    stop_reason reason_{};
    struct alignas(64) shared {
        std::atomic<bool> stopping{false}; ///< somebody writes the reason, or has
        std::atomic<bool> stopped{false};
        std::atomic<std::uint64_t> wake_ups{}; ///< of vCPUs that could not wake by themselves
        machine_lock lock{};
        ordered_lock<Host, lock_rank::board> board{};
    };
    [[no_unique_address]] std::conditional_t<parallel, shared, vcpu_alone> shared_{};
    typename backend::vm hardware_{};
    memory_type memory_{};
    alignas(apart<device_board>) device_board devices_{};
    alignas(apart<cpuid_table>) cpuid_table cpuid_{};
    hv::topology topology_{.cores = Machine::max_vcpus};
    vcpu_sets<Machine::max_vcpus, parallel> sets_{};
    std::array<vcpu_type, Machine::max_vcpus> vcpus_{};
};

} // namespace hv
