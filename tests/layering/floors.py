# SPDX-License-Identifier: BSD-2-Clause
"""The house of include/hv: which header belongs to which room, and which floor the room is on.

The first pattern that matches decides; `*` matches any text, also across folders.
"""

# (pattern below include/hv, room, floor). An include goes to a lower floor or stays in its room. On floors 0 and 1,
# plain structs and concepts, rooms may use each other.
ROOMS = [
    ("x86/*", "x86", 0),
    ("abi/*", "abi", 0),
    ("meta/*", "meta", 0),
    ("address.hpp", "address", 0),
    ("status.hpp", "status", 0),
    ("text.hpp", "text", 0),
    ("event.hpp", "event", 1),
    ("exit.hpp", "exit", 1),
    ("exit_list.hpp", "exit", 1),
    ("host.hpp", "host", 1),
    ("lock_order.hpp", "host", 1),
    ("interrupt.hpp", "interrupt", 1),
    ("stop.hpp", "exit", 1),
    ("time.hpp", "time", 1),
    ("tsc_ratio.hpp", "time", 1),
    ("topology.hpp", "topology", 1),
    ("backends/backend.hpp", "backend", 1),
    ("backends/address_space.hpp", "backend", 1),
    ("backends/processor_registers.hpp", "backend", 1),
    ("backends/speculation.hpp", "backend", 1),
    ("devices/device.hpp", "device", 1),
    ("memory/*", "memory", 2),
    ("state/*", "state", 2),
    ("emulate/*", "emulate", 3),
    ("devices/*", "devices", 3),
    ("guest/*", "guest", 3),
    ("cpuid.hpp", "cpuid", 3),
    ("handlers.hpp", "handlers", 3),
    ("machine_lock.hpp", "machine_lock", 3),
    ("hooks.hpp", "hooks", 3),
    ("msr.hpp", "msr", 3),
    ("speculation_msrs.hpp", "cpuid", 3),
    ("stats.hpp", "stats", 3),
    ("posted_requests.hpp", "posted_requests", 3),
    ("run_requests.hpp", "run_requests", 1),
    ("stay.hpp", "stay", 3),
    ("user_state.hpp", "user_state", 3),
    ("trace.hpp", "trace", 3),
    ("backends/*", "backends", 4),
    ("device_context.hpp", "vcpu", 4),
    ("emulated_cpu.hpp", "vcpu", 4),
    ("port_access.hpp", "vcpu", 4),
    ("event_queue.hpp", "vcpu", 4),
    ("exit_services.hpp", "vcpu", 4),
    ("register_access.hpp", "vcpu", 4),
    ("vcpu*.hpp", "vcpu", 4),
    ("interrupt_routing.hpp", "vcpu", 4),
    ("vm.hpp", "vcpu", 4),
    ("vm_access.hpp", "vcpu", 4),
    ("policy.hpp", "policy", 1),
    ("machine.hpp", "machine", 5),
    ("vmm.hpp", "vmm", 5),
]

# Floors that a room may not reach although they lie below it.
HIGHEST_FLOOR_FOR = {"backends": 2}
FORBIDDEN_FOR = {
    "devices": {"host", "exit", "backend", "memory"},
    "emulate": {"host", "backend", "state"},
    "machine": {"backends"},
    "vmm": {"backends"},
}
# vmm composes machine with the rest: the one include that stays on its floor.
ALLOWED_ON_FLOOR = {("vmm", "machine")}

# Devices never include each other; parts that several share are named here. Headers whose names begin with the same
# word (lapic.hpp, lapic_timer.hpp) are one device.
SHARED_DEVICE_PARTS = {"calendar.hpp", "device.hpp", "device_set.hpp", "msi.hpp", "output_pin.hpp", "vector_set.hpp"}
DEVICE_COLLECTIONS = {"pc.hpp", "board.hpp", "device_set.hpp"}

# The vendors' words for their structures, and where they may stand.
VENDOR_WORDS = {"vmcb", "vmcs", "ept", "npt"}
VENDOR_ROOMS = ["backends/svm*", "backends/vmx*", "backends/fake*", "memory/*ept*", "memory/*npt*", "memory/*format*", "abi/*", "x86/msr.hpp"]

# Standard headers that work without a host; fake runs on one.
FREESTANDING = {
    "algorithm", "array", "atomic", "bit", "compare", "concepts", "cstddef", "cstdint", "initializer_list", "limits",
    "new", "optional", "span", "string_view", "tuple", "type_traits", "utility", "version",
}
C_FREESTANDING = {"stddef.h", "stdint.h"}  # abi/ is shared with C
