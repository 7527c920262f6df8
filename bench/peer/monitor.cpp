// SPDX-License-Identifier: BSD-2-Clause
// The first process of a Linux that measures its own KVM: loads the modules, runs a Multiboot kernel in a virtual
// machine with KVM's own interrupt controllers and timer, and leaves through the exit port of the outer machine with
// the status that the guest leaves with. Linux's command line says which: guest=FILE, and how many processors it has,
// each of them on one of Linux's, of which it used one so far: processors=N.
#include <elf.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sched.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::uint64_t memory_size{64u << 20};
constexpr std::uint32_t descriptors_at{0x8000}, stack_end{0x80000};
constexpr std::uint16_t exit_port{0xf4}, debug_port{0xe9};
constexpr std::uint32_t multiboot_magic{0x2badb002};

/// Ends the outer machine, whose QEMU makes 2 * status + 1 of it.
[[noreturn]] void leave(std::uint32_t status) {
    std::fflush(stdout);
    ::tcdrain(STDOUT_FILENO);
    if (::ioperm(exit_port, 4, 1) == 0)
        ::outl(status, exit_port);
    std::exit(1);
}

[[noreturn]] void stop(std::string const& what) {
    std::printf("peer: %s: %s\n", what.c_str(), std::strerror(errno));
    leave(3);
}

auto checked(int result, std::string const& what) -> int {
    if (result < 0)
        stop(what);
    return result;
}

template <typename... Argument>
auto control(int file, unsigned long request, char const* what, Argument... argument) -> int {
    return checked(::ioctl(file, request, argument...), what);
}

auto contents_of(std::string const& name) -> std::vector<char> {
    std::ifstream file{name, std::ios::binary};
    if (not file)
        stop(name);
    return {std::istreambuf_iterator{file}, {}};
}

/// Modules carry their order in their names.
void load_modules() {
    std::set<std::string> names;
    for (auto const& entry : std::filesystem::directory_iterator{"/modules"})
        names.insert(entry.path());
    for (auto const& name : names) {
        int const file{checked(::open(name.c_str(), O_RDONLY | O_CLOEXEC), name)};
        checked(static_cast<int>(::syscall(SYS_finit_module, file, "", 0)), name);
        ::close(file);
    }
}

/// Makes Linux use a further processor. It waits for that one without PAUSE, where alone an emulator gives way that
/// runs processors in turn and counts their instructions: a thread that has nothing else to do executes it meanwhile.
void bring_up(unsigned number) {
    std::atomic<bool> there{false};
    std::thread gives_way{[&there] {
        while (not there)
            asm volatile("pause");
    }};
    std::string const name{"/sys/devices/system/cpu/cpu" + std::to_string(number) + "/online"};
    int const file{checked(::open(name.c_str(), O_WRONLY | O_CLOEXEC), name)};
    checked(static_cast<int>(::write(file, "1", 1)), name);
    ::close(file);
    there = true;
    gives_way.join();
}

/// One line for the kernel, and one for each weakness that it has an answer to.
void describe_kernel() {
    utsname name{};
    checked(::uname(&name), "uname");
    std::printf("peer: kernel %s\n", name.release);
    std::string const folder{"/sys/devices/system/cpu/vulnerabilities"};
    std::set<std::string> files;
    for (auto const& entry : std::filesystem::directory_iterator{folder})
        files.insert(entry.path().filename());
    for (auto const& file : files)
        if (auto const text = contents_of(folder + '/' + file);
            std::string{text.begin(), text.end()} != "Not affected\n")
            std::printf("peer: %s: %.*s", file.c_str(), static_cast<int>(text.size()), text.data());
}

/// Pages of 4 KiB, all of them there: KVM has to map them, not to find them.
auto guest_memory() -> std::span<std::uint8_t> {
    constexpr std::uint64_t alignment{2u << 20};
    auto* const all =
        ::mmap(nullptr, memory_size + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        stop("mmap");
    auto const skipped = -reinterpret_cast<std::uintptr_t>(all) % alignment;
    std::span const memory{static_cast<std::uint8_t*>(all) + skipped, memory_size};
    checked(::madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE), "madvise");
    for (std::size_t at{0}; at != memory.size(); at += 4096)
        static_cast<std::uint8_t volatile&>(memory[at]) = 0;
    return memory;
}

/// Copies the segments of an ELF32 file; the address of its first instruction.
auto load(std::string const& name, std::span<std::uint8_t> memory) -> std::uint32_t {
    auto const file = contents_of(name);
    Elf32_Ehdr header{};
    if (file.size() < sizeof header)
        stop(name);
    std::memcpy(&header, file.data(), sizeof header);
    for (std::uint64_t i{0}; i != header.e_phnum; ++i) {
        Elf32_Phdr segment{};
        auto const at = header.e_phoff + i * sizeof segment;
        if (at + sizeof segment > file.size())
            stop(name);
        std::memcpy(&segment, file.data() + at, sizeof segment);
        if (segment.p_type != PT_LOAD)
            continue;
        if (std::uint64_t{segment.p_paddr} + segment.p_memsz > memory.size() or
            std::uint64_t{segment.p_offset} + segment.p_filesz > file.size())
            stop(name);
        std::memcpy(memory.data() + segment.p_paddr, file.data() + segment.p_offset, segment.p_filesz);
    }
    return header.e_entry;
}

auto make_machine(int kvm, std::span<std::uint8_t> memory) -> int {
    int const machine{control(kvm, KVM_CREATE_VM, "KVM_CREATE_VM", 0)};
    control(machine, KVM_CREATE_IRQCHIP, "KVM_CREATE_IRQCHIP");
    kvm_pit_config timer{};
    timer.flags = KVM_PIT_SPEAKER_DUMMY; // port 61h is KVM's too
    control(machine, KVM_CREATE_PIT2, "KVM_CREATE_PIT2", &timer);
    kvm_userspace_memory_region const region{.slot = 0,
                                             .flags = 0,
                                             .guest_phys_addr = 0,
                                             .memory_size = memory.size(),
                                             .userspace_addr = reinterpret_cast<std::uintptr_t>(memory.data())};
    control(machine, KVM_SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION", &region);
    return machine;
}

/// kvm_cpuid2, whose array without a length begins 4 bytes late in C++; so its size, a part of the requests, is wrong
/// too.
struct cpuid_leaves {
    std::uint32_t count{256}, padding{};
    std::array<kvm_cpuid_entry2, 256> leaves{};
};
using cpuid_head = std::array<std::uint32_t, 2>;
constexpr unsigned long get_supported_cpuid{_IOWR(KVMIO, 0x05, cpuid_head)}, set_cpuid2{_IOW(KVMIO, 0x90, cpuid_head)};

/// Everything that KVM supports, with the x2APIC and the TSC deadline, which are KVM's own, and the processor's number.
void set_cpuid(int kvm, int vcpu, unsigned number) {
    constexpr std::uint32_t x2apic{1u << 21}, tsc_deadline{1u << 24};
    cpuid_leaves all{};
    control(kvm, get_supported_cpuid, "KVM_GET_SUPPORTED_CPUID", &all);
    for (auto& leaf : all.leaves)
        if (leaf.function == 1) {
            leaf.ebx = (leaf.ebx & 0xff'ffff) | number << 24;
            leaf.ecx |= x2apic | tsc_deadline;
        } else if (leaf.function == 0xb) {
            leaf.edx = number;
        }
    control(vcpu, set_cpuid2, "KVM_SET_CPUID2", &all);
}

/// The state that a Multiboot loader leaves: 32-bit protected mode, flat segments, no paging.
void set_registers(int vcpu, std::span<std::uint8_t> memory, std::uint32_t entry) {
    constexpr std::array<std::uint64_t, 3> descriptors{0, 0x00cf'9b00'0000'ffff, 0x00cf'9300'0000'ffff};
    std::memcpy(memory.data() + descriptors_at, descriptors.data(), sizeof descriptors);
    kvm_sregs system{};
    control(vcpu, KVM_GET_SREGS, "KVM_GET_SREGS", &system);
    kvm_segment flat{};
    flat.limit = ~0u;
    flat.selector = 0x10;
    flat.type = 3;
    flat.present = flat.s = flat.db = flat.g = 1;
    system.ds = system.es = system.fs = system.gs = system.ss = flat;
    flat.selector = 0x08;
    flat.type = 11;
    system.cs = flat;
    system.gdt.base = descriptors_at;
    system.gdt.limit = sizeof descriptors - 1;
    system.cr0 = 0x11; // ET, PE
    control(vcpu, KVM_SET_SREGS, "KVM_SET_SREGS", &system);
    kvm_regs registers{};
    registers.rax = multiboot_magic;
    registers.rsp = stack_end;
    registers.rip = entry;
    registers.rflags = 2;
    control(vcpu, KVM_SET_REGS, "KVM_SET_REGS", &registers);
}

/// Serves the two ports that are the monitor's: characters, and the guest's end, with its status.
[[noreturn]] void serve(int vcpu, kvm_run& shared) {
    for (;;) {
        if (::ioctl(vcpu, KVM_RUN, 0) < 0) {
            if (errno != EINTR and errno != EAGAIN) // a processor was started: now it can run
                stop("KVM_RUN");
            continue;
        }
        if (shared.exit_reason != KVM_EXIT_IO) {
            std::printf("peer: KVM gives up: exit reason %u\n", shared.exit_reason);
            leave(3);
        }
        auto* const data = reinterpret_cast<std::uint8_t*>(&shared) + shared.io.data_offset;
        if (shared.io.direction == KVM_EXIT_IO_IN) {
            std::memset(data, shared.io.port == debug_port ? debug_port : 0xff, shared.io.size);
        } else if (shared.io.port == debug_port) {
            std::putchar(*data);
        } else if (shared.io.port == exit_port) {
            leave(*data);
        }
    }
}

/// The virtual processor with that number; all but the first wait to be started.
auto make_vcpu(int kvm, int machine, unsigned number) -> int {
    int const vcpu{control(machine, KVM_CREATE_VCPU, "KVM_CREATE_VCPU", static_cast<unsigned long>(number))};
    set_cpuid(kvm, vcpu, number);
    return vcpu;
}

/// Runs a virtual processor on the processor of Linux that has its number.
[[noreturn]] void run(int kvm, int vcpu, unsigned number) {
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(number, &here);
    checked(::sched_setaffinity(0, sizeof here, &here), "sched_setaffinity");
    auto const size = static_cast<std::size_t>(control(kvm, KVM_GET_VCPU_MMAP_SIZE, "KVM_GET_VCPU_MMAP_SIZE", 0));
    auto* const shared = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    if (shared == MAP_FAILED)
        stop("mmap of a vCPU");
    serve(vcpu, *static_cast<kvm_run*>(shared));
}

/// A word of Linux's command line that is not its own.
auto word(char const* name, char const* otherwise) -> std::string {
    auto const* const found = std::getenv(name);
    return found != nullptr ? found : otherwise;
}

} // namespace

auto main() -> int {
    checked(::mount("dev", "/dev", "devtmpfs", 0, nullptr), "devtmpfs");
    checked(::mount("sys", "/sys", "sysfs", 0, nullptr), "sysfs");
    auto const processors = static_cast<unsigned>(std::stoul(word("processors", "1")));
    for (unsigned n{1}; n != processors; ++n)
        bring_up(n);
    load_modules();
    describe_kernel();
    int const kvm{checked(::open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm")};
    auto const memory = guest_memory();
    int const machine{make_machine(kvm, memory)};
    std::vector<int> vcpus;
    for (unsigned n{0}; n != processors; ++n)
        vcpus.push_back(make_vcpu(kvm, machine, n));
    set_registers(vcpus[0], memory, load(word("guest", "/guest"), memory));
    for (unsigned n{1}; n != processors; ++n)
        std::thread{run, kvm, vcpus[n], n}.detach();
    run(kvm, vcpus[0], 0);
}
