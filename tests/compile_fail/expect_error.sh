#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# expect_error.sh PROGRAM COMPILER ARGUMENT...: succeeds if PROGRAM does not compile and the sentence of its EXPECT line is
# among the first 15 lines that the compiler prints. `// EXPECT: nothing` wants it to compile.
set -u
program=$1
shift
expected=$(sed -n 's|^// EXPECT: ||p;T;q' "$program")
[[ -n $expected ]] || { echo "$program has no EXPECT line"; exit 1; }
if output=$("$@" -fsyntax-only "$program" 2>&1); then
  [[ $expected == nothing ]] || { echo "it compiles, but must not"; exit 1; }
  exit 0
fi
lines=$(wc -l <<<"$output")
if [[ $expected == nothing ]]; then
  printf 'it must compile, but:\n%s\n' "$output"
  exit 1
fi
if ! head -n 15 <<<"$output" | grep -qF -- "$expected"; then
  printf 'the first 15 of %s lines lack: %s\n%s\n' "$lines" "$expected" "$output"
  exit 1
fi
echo "line $(grep -nF -m1 -- "$expected" <<<"$output" | cut -d: -f1) of $lines"
