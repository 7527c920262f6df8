// SPDX-License-Identifier: BSD-2-Clause
// Nobody calls the function with the entry, and no rule says that its return ends the path.
extern "C" void lonely() {
    asm volatile("vmrun %%rax" : : "a"(0x1000));
}
