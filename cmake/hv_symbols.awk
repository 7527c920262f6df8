# SPDX-License-Identifier: BSD-2-Clause
# From `nm -n -C` to the assembly of an image's symbol table: struct symbol_entry of kernel_glue/bare/symbols.hpp.
BEGIN { count = 0 }
$2 ~ /^[TtWw]$/ {
    address = $1
    name = $0
    sub(/^[^ ]+ [^ ]+ /, "", name)
    gsub(/\\/, "\\\\", name)
    gsub(/"/, "\\\"", name)
    addresses[count] = address
    names[count++] = name
}
END {
    print ".section .symbol_entries, \"a\"\n.balign 4"
    for (i = 0; i < count; i++)
        printf ".long 0x%s, name_%d - names\n", addresses[i], i
    print ".section .symbol_names, \"a\"\nnames:"
    for (i = 0; i < count; i++)
        printf "name_%d: .asciz \"%s\"\n", i, names[i]
    print ".section .note.GNU-stack, \"\", @progbits"
}
