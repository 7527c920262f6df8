#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""check.py ROOT: what README.md, CHANGELOG.md and docs/ say about the tree is so.

Links and paths exist; commands and options are those of ./hv; patches apply one after the other; pages, decisions and
examples have their sizes; nothing unfinished is left.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

PAGE_LINES = 399
DECISION_LINES = range(20, 61)
EXAMPLE_README_LINES = 12
EXAMPLE_LINES = 60
SKIPPED_FOLDERS = {"build", ".git"}

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
# Words in backticks that are paths: a slash between names, or a file name with an ending that sources have.
PATH = re.compile(r"(?=.*/|.*\.(?:hpp|cpp|h|S|md|txt|py|sh|cmake|ld|tsv|json)$)[A-Za-z0-9_.][A-Za-z0-9_./-]*")
MADE_BY_BUILDS = re.compile(r"build/|my_machine\.hpp$")
PRIVATE = re.compile(r"(?<![\w.:/])/(?:work|home|root|tmp|mnt|srv)\b")


def files_of(root):
    for folder, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f not in SKIPPED_FOLDERS]
        for name in names:
            yield pathlib.Path(folder, name)


def pages_of(root):
    pages = [root / "README.md", root / "CHANGELOG.md", *sorted((root / "docs").rglob("*.md"))]
    return [p for p in pages if p.exists()]


def lines_of(path):
    return len(path.read_text().splitlines())


def check_links(root, page, text, say):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", FENCE.sub("", text)):
        if not re.match(r"\w+:", target) and not (page.parent / target).exists():
            say(f"link to {target}, which does not exist")


def check_paths(root, page, text, names, say):
    for word in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        if not PATH.fullmatch(word) or MADE_BY_BUILDS.match(word):
            continue
        where = [root / word, root / "include" / word, page.parent / word]
        if not any(p.exists() for p in where) and ("/" in word or word not in names):
            say(f"path {word}, which does not exist")


def check_commands(text, commands, options, say):
    for word in re.findall(r"\./hv ([a-z]\w*)", text):
        if word not in commands:
            say(f"command ./hv {word}, which ./hv help does not list")
    for line in re.findall(r"\./hv run((?:[^`\n\\]|\\\n)*)", text):
        for option in re.findall(r"(?<!\S)--\w+", line):
            if option not in options:
                say(f"option {option}, which ./hv run --help does not list")


def check_patches(root, page, text, say):
    """The ```diff blocks of a page, in their order, on a copy of the files that they name."""
    patches = [body for kind, body in FENCE.findall(text) if kind == "diff"]
    with tempfile.TemporaryDirectory() as copy:
        for patch in patches:
            for name in re.findall(r"^--- a/(\S+)$", patch, re.M):
                to = pathlib.Path(copy, name)
                if not to.exists() and (root / name).exists():
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(root / name, to)
        for patch in patches:
            run = subprocess.run(["git", "apply", "-"], cwd=copy, input=patch, text=True, capture_output=True,
                                 env={**os.environ, "GIT_CEILING_DIRECTORIES": str(pathlib.Path(copy).parent)})
            if run.returncode:
                say(f"a patch does not apply: {run.stderr.strip()}")


def check_examples(root, complain):
    for path in sorted((root / "examples").glob("*/*")):
        name = path.relative_to(root)
        if path.name == "README.md" and lines_of(path) > EXAMPLE_README_LINES:
            complain(name, f"{lines_of(path)} lines; an example's README has {EXAMPLE_README_LINES} at most")
        elif path.suffix in {".hpp", ".cpp", ".S"} and lines_of(path) > EXAMPLE_LINES:
            complain(name, f"{lines_of(path)} lines; a program of an example has {EXAMPLE_LINES} at most")


def check_tree(root):
    """All complaints about a tree, one a line."""
    found = []

    def complain(name, what):
        found.append(f"{name}: {what}")

    help_text = subprocess.run([root / "hv", "help"], text=True, capture_output=True).stdout
    run_text = subprocess.run([root / "hv", "run", "--help"], text=True, capture_output=True).stdout
    commands = set(re.findall(r"^  ([a-z]\w*)", help_text, re.M))
    options = {*re.findall(r"--\w+", run_text), "--help"}
    names = {p.name for p in files_of(root)}
    for page in [*pages_of(root), *sorted((root / "examples").glob("*/README.md"))]:
        name = page.relative_to(root)
        text = page.read_text()

        def say(what):
            complain(name, what)

        check_links(root, page, text, say)
        check_paths(root, page, text, names, say)
        check_commands(text, commands, options, say)
        check_patches(root, page, text, say)
        if lines_of(page) > PAGE_LINES:
            say(f"{lines_of(page)} lines; a page has fewer than {PAGE_LINES + 1}")
        if page.parent.name == "decisions":
            if lines_of(page) not in DECISION_LINES:
                say(f"{lines_of(page)} lines; a decision has 20 to 60")
            if not re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name) or not text.startswith(f"# {page.name[:4]} "):
                say("a decision is named NNNN-title.md and its heading begins with its number")
        if PRIVATE.search(text):
            say(f"a path of somebody's machine: {PRIVATE.search(text)[0]}")
    check_examples(root, complain)
    return found


if __name__ == "__main__":
    complaints = check_tree(pathlib.Path(sys.argv[1]))
    print("\n".join(complaints) or "every page is in step with the tree")
    sys.exit(bool(complaints))
