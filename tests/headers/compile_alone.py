# SPDX-License-Identifier: BSD-2-Clause
"""compile_alone.py --include FOLDER --memory FILE [--skip PATTERN] -- COMPILER OPTION...

Compiles each header below FOLDER/hv by itself, two at a time, and names those that do not compile. FILE remembers which
ones did, with everything they include, so that a second run compiles what changed.
"""

import argparse
import concurrent.futures
import fnmatch
import hashlib
import json
import pathlib
import re
import subprocess
import sys

INCLUDE = re.compile(r"^\s*#\s*include\s*<(hv/[^>]+)>", re.MULTILINE)


def fingerprint(include, header, command):
    """A digest of the command, the header and all headers of the library that it reaches."""
    seen, work = {}, [header]
    while work:
        name = work.pop()
        if name not in seen:
            path = include / name
            seen[name] = path.read_bytes() if path.is_file() else b""
            work += INCLUDE.findall(seen[name].decode())
    digest = hashlib.sha256(repr(command).encode())
    for name in sorted(seen):
        digest.update(name.encode() + b"\0" + seen[name] + b"\0")
    return digest.hexdigest()


def compile_alone(include, header, command):
    """What the compiler says against a header; empty where it compiles."""
    result = subprocess.run(
        [*command, "-I", include, "-fsyntax-only", "-x", "c++", "-"],
        input=f"#include <{header}>\n#include <{header}>\n", text=True, capture_output=True, check=False)
    return "" if result.returncode == 0 else result.stderr or f"status {result.returncode}\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--include", type=pathlib.Path, required=True)
    parser.add_argument("--memory", type=pathlib.Path, required=True)
    parser.add_argument("--skip", default="")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()

    found = sorted(str(path.relative_to(asked.include)) for path in (asked.include / "hv").rglob("*.hpp"))
    headers = [header for header in found if not fnmatch.fnmatchcase(header, asked.skip)]
    if not headers:
        sys.exit(f"no headers below {asked.include}/hv")
    known = json.loads(asked.memory.read_text()) if asked.memory.is_file() else {}
    wanted = {header: fingerprint(asked.include, header, asked.command) for header in headers}
    changed = [header for header in headers if known.get(header) != wanted[header]]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda header: compile_alone(asked.include, header, asked.command), changed))
    failed = {header: said for header, said in zip(changed, answers) if said}
    for header, said in failed.items():
        print(f"{header} does not compile alone:", *said.splitlines()[:12], sep="\n")
    asked.memory.write_text(json.dumps({header: wanted[header] for header in headers if header not in failed}))
    print(f"{len(headers)} headers, {len(changed)} compiled, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
