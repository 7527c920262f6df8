# SPDX-License-Identifier: BSD-2-Clause
"""Shows that each rule of layering.py finds what it forbids, and that a good tree has no fault."""

import pathlib
import sys
import tempfile

import layering

HEAD = "// SPDX-License-Identifier: BSD-2-Clause\n#pragma once\n"
GOOD = {
    "CMakeLists.txt": "# SPDX-License-Identifier: BSD-2-Clause\n",
    "include/hv/status.hpp": HEAD + "#include <cstdint>\n// a virtual function, (*f)() and std::function in a comment\n",
    "include/hv/x86/msr.hpp": HEAD + "inline constexpr unsigned ia32_vmx_ept_vpid_cap{0x48c};\n",
    "include/hv/abi/data.hpp": HEAD + "#include <stdint.h>\n",
    "include/hv/meta/tuple.hpp": HEAD + "#include <boost/hana/tuple.hpp>\n",
    "include/hv/time.hpp": HEAD + "#include <hv/status.hpp>\n",
    "include/hv/host.hpp": HEAD + "#include <hv/time.hpp>\n",
    "include/hv/exit.hpp": HEAD + "// an intercept is an exception\n",
    "include/hv/hooks.hpp": HEAD + "using hook = auto (*)(int) -> int;\n",
    "include/hv/memory/ept.hpp": HEAD + "struct ept_entry;\n",
    "include/hv/state/table.hpp": HEAD + "#include <hv/meta/tuple.hpp>\n",
    "include/hv/emulate/decode.hpp": HEAD + "#include <hv/memory/ept.hpp>\n",
    "include/hv/devices/device.hpp": HEAD + "#include <hv/time.hpp>\n",
    "include/hv/devices/lapic.hpp": HEAD + "#include <hv/devices/device.hpp>\n#include <hv/devices/lapic_timer.hpp>\n",
    "include/hv/devices/lapic_timer.hpp": HEAD + "#include <hv/devices/lapic.hpp>\nauto f() { return (*this)(1); }\n",
    "include/hv/devices/hpet.hpp": HEAD,
    "include/hv/devices/pc.hpp": HEAD + "#include <hv/devices/lapic.hpp>\n#include <hv/devices/hpet.hpp>\n",
    "include/hv/backends/backend.hpp": HEAD + "#include <hv/exit.hpp>\n",
    "include/hv/backends/svm/vmcb.hpp": HEAD + "struct vmcb;\n",
    "include/hv/backends/svm.hpp": HEAD + "#include <hv/backends/svm/vmcb.hpp>\n#include <hv/backends/backend.hpp>\n",
    "include/hv/backends/vmx.hpp": HEAD + "#include <hv/memory/ept.hpp>\n",
    "include/hv/backends/fake.hpp": HEAD + "#include <vector>\n",
    "include/hv/vcpu.hpp": HEAD + "#include <hv/devices/lapic.hpp>\n#include <hv/backends/backend.hpp>\n",
    "include/hv/vm.hpp": HEAD + "#include <hv/vcpu.hpp>\n",
    "include/hv/machine.hpp": HEAD + "#include <hv/devices/pc.hpp>\n",
    "include/hv/vmm.hpp": HEAD + "#include <hv/machine.hpp>\n#include <hv/vm.hpp>\n",
    "kernel_glue/hosted/host.hpp": HEAD + "#include <sys/mman.h>\nusing entry = void (*)(void*);\n",
}


def including(header):
    return HEAD + f"#include <{header}>\n"


# (the rule that must speak, the file that breaks it, what is in it)
BAD = [
    ("floor", "include/hv/time.hpp", including("hv/memory/ept.hpp")),
    ("floor", "include/hv/status.hpp", including("hv/exit.hpp")),
    ("floor", "include/hv/memory/copy.hpp", including("hv/emulate/decode.hpp")),
    ("floor", "include/hv/vm.hpp", including("hv/machine.hpp")),
    ("floor", "include/hv/devices/hpet.hpp", including("hv/host.hpp")),
    ("floor", "include/hv/devices/hpet.hpp", including("hv/vcpu.hpp")),
    ("floor", "include/hv/backends/vmx.hpp", including("hv/devices/lapic.hpp")),
    ("floor", "include/hv/vmm.hpp", including("hv/backends/svm.hpp")),
    ("floor", "include/hv/novelty.hpp", HEAD),
    ("sibling", "include/hv/devices/hpet.hpp", including("hv/devices/lapic.hpp")),
    ("sibling", "include/hv/devices/hpet.hpp", including("hv/devices/lapic_timer.hpp")),
    ("sibling", "include/hv/backends/vmx.hpp", including("hv/backends/svm/vmcb.hpp")),
    ("sibling", "include/hv/backends/vmx.hpp", including("hv/vcpu.hpp")),
    ("sibling", "include/hv/vcpu.hpp", including("hv/backends/svm.hpp")),
    ("sibling", "include/hv/state/table.hpp", including("hv/memory/ept.hpp")),
    ("sibling", "include/hv/emulate/decode.hpp", including("hv/devices/hpet.hpp")),
    ("cycle", "include/hv/vcpu.hpp", including("hv/vm.hpp")),
    ("include", "include/hv/vm.hpp", HEAD + '#include "vcpu.hpp"\n'),
    ("meta", "include/hv/devices/hpet.hpp", including("boost/hana/tuple.hpp")),
    ("meta", "include/hv/exit.hpp", including("range/v3/algorithm/sort.hpp")),
    ("host", "include/hv/exit.hpp", including("cstdio")),
    ("host", "include/hv/exit.hpp", including("linux/kvm.h")),
    ("host", "include/hv/exit.hpp", including("iostream")),
    ("host", "include/hv/vmm.hpp", including("stdlib.h")),
    ("vendor", "include/hv/vcpu.hpp", HEAD + "struct ept_root;\n"),
    ("vendor", "include/hv/exit.hpp", HEAD + "// what the VMCS says\n"),
    ("vendor", "include/hv/backends/backend.hpp", HEAD + "void load_vmcb();\n"),
    ("vendor", "include/hv/memory/copy.hpp", HEAD + "struct npt;\n"),
    ("virtual", "include/hv/exit.hpp", HEAD + "struct s { virtual void f(); };\n"),
    ("pointer", "include/hv/exit.hpp", HEAD + "void (*handler)(int);\n"),
    ("pointer", "include/hv/exit.hpp", HEAD + "using handler = auto (*)(int) -> int;\n"),
    ("pointer", "include/hv/exit.hpp", HEAD + "using member = void (vcpu::*)(int);\n"),
    ("pointer", "include/hv/exit.hpp", HEAD + "std::function<void()> handler;\n"),
    ("licence", "kernel_glue/bare/start.cpp", "int main() {}\n"),
    ("licence", "hv", "#!/bin/bash\n"),
    ("once", "include/hv/exit.hpp", "// SPDX-License-Identifier: BSD-2-Clause\n"),
    ("unfinished", "kernel_glue/bare/start.S", "// SPDX-License-Identifier: BSD-2-Clause\n// TO" + "DO: finish\n"),
    ("unfinished", "cmake/x.cmake", "# SPDX-License-Identifier: BSD-2-Clause\n# FIX" + "ME\n"),
]


def faults_of(tree):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for path, text in tree.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        return [(path, rule) for path, _, rule, _ in layering.check(root)]


def main():
    wrong = [f"the good tree has faults: {fault}" for fault in faults_of(GOOD)]
    for rule, path, text in BAD:
        if (found := faults_of(GOOD | {path: text})) != [(path, rule)]:
            wrong.append(f"{path} breaks {rule}, found: {found}: {text.removeprefix(HEAD)!r}")
    for line in wrong:
        print(line)
    print(f"{len(BAD)} seeded faults, {len(wrong)} judged wrongly")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
