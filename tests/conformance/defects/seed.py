#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""seed.py: builds images with one defect each, and proves that the conformance suite notices.

  seed.py CONFIG check             every text of the table is in its file once, every payload exists
  seed.py CONFIG run NAME...       builds the images and runs their payloads
  seed.py CONFIG survey [NAME...]  which payloads that the table does not name notice some defect, and which none

CONFIG names what the build made, a line `key=value` each. The table, defects.txt, says how an entry looks.
"""
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
LONGEST = 60  # seconds of a run of an image without defect
SHORTEST = 6  # seconds that a seeded image gets at least
COMBINATIONS = {"qemu-svm": ("pc", ""), "bochs-svm": ("pc", "ryzen"), "bochs-vmx": ("pc_vmx", "corei7_skylake_x")}
QEMU_PROCESSORS = "2"  # of the host, that several vCPUs take turns on; in Bochs each has its own

Defect = namedtuple("Defect", "name sentence file old new combination image fails passes")
Payload = namedtuple("Payload", "name expected processors file")


class Refused(Exception):
    """What is wrong with the table, an image or a payload."""


def table(path):
    """The entries of the table by name."""
    found = {}
    for block in re.split(r"\n{2,}", path.read_text()):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if not lines:
            continue
        head = re.fullmatch(r"(\w+): (.+\.)", lines[0])
        old = [line[4:] for line in lines if line.startswith("  - ")]
        new = [line[4:] for line in lines if line.startswith("  + ")]
        tail = re.fullmatch(r"  (\S+?)(?: on (\w+))?: (\w+) fails, (\w+) passes", lines[-1])
        if not head or not old or not tail or tail[1] not in COMBINATIONS or len(lines) != 3 + len(old) + len(new):
            raise Refused(f"{path.name}: this is no entry:\n{block}")
        if head[1] in found:
            raise Refused(f"{path.name}: {head[1]} is there twice")
        found[head[1]] = Defect(head[1], head[2], lines[1].strip(), "\n".join(old), "\n".join(new), tail[1],
                                tail[2] or COMBINATIONS[tail[1]][0], tail[3], tail[4])
    return found


def seeded(defect):
    """The file with its defect. White space between words may differ from the table's."""
    text = (ROOT / defect.file).read_text()
    pattern = r"\s+".join(re.escape(word) for word in defect.old.split())
    places = list(re.finditer(pattern, text))
    if len(places) != 1:
        raise Refused(f"{defect.name}: {defect.file} has this {len(places)} times, not once; update defects.txt:\n"
                      f"{defect.old}")
    return text[: places[0].start()] + defect.new + text[places[0].end() :]


class Bench:
    """Builds and runs images beside the ones of the build."""

    def __init__(self, config):
        self.config = dict(line.split("=", 1) for line in Path(config).read_text().splitlines())
        self.build = Path(self.config["build"])
        self.out = Path(self.config.get("out", self.build / "tests/conformance/defects"))
        rows = (line.split("\t") for line in Path(self.config["manifest"]).read_text().splitlines())
        self.payloads = {row[0]: Payload(row[0], int(row[1]), row[2], row[4]) for row in rows}
        self.defects = table(Path(self.config.get("table", HERE / "defects.txt")))

    def check(self):
        problems = []
        for defect in self.defects.values():
            try:
                seeded(defect)
                for name in (defect.fails, defect.passes):
                    if name not in self.payloads:
                        raise Refused(f"{defect.name}: there is no payload {name}")
                    if not self.fits(defect, self.payloads[name]):
                        raise Refused(f"{defect.name}: {defect.image} has not the processors of {name}")
                if self.payloads[defect.fails].expected == 124:
                    raise Refused(f"{defect.name}: {defect.fails} always ends by a time limit, so it cannot fail by one")
            except Refused as problem:
                problems.append(str(problem))
        if problems:
            raise Refused("\n".join(problems))

    @staticmethod
    def fits(defect, payload):
        return payload.processors == "1" or defect.image.endswith("_smp")

    def image(self, defect):
        """Compiles the image's own source against the changed header, and links what the build linked."""
        folder = self.out / defect.name
        header = folder / defect.file.removeprefix("include/")
        shutil.rmtree(folder, ignore_errors=True)  # a header that the defect was in once
        header.parent.mkdir(parents=True)
        header.write_text(seeded(defect))
        whole = Path(self.config[defect.image])
        target = f"{whole.relative_to(self.build)}_unnamed"
        commands = subprocess.run([self.config["ninja"], "-t", "commands", target], cwd=self.build, check=True,
                                  capture_output=True, text=True).stdout.splitlines()
        link = commands[-1]
        objects = f"{whole.relative_to(self.build).name}_objects.dir/"
        compiles = [line for line in commands[:-1] if objects in line]
        if len(compiles) != 1:
            raise Refused(f"{defect.name}: the image {defect.image} is not made of one source")
        there = re.search(r" -o (\S+\.o)", compiles[0])[1]
        here = folder / "main.o"
        made = folder / defect.image
        made.unlink(missing_ok=True)
        compiled = compiles[0].replace(there, str(here)).replace(" -I", f" -I{shlex.quote(str(folder))} -I", 1)
        linked = link.replace(there, str(here)).replace(f"-o {target}", f"-o {shlex.quote(str(made))}")
        for command in (compiled + " -g0", linked):
            done = subprocess.run(command, shell=True, cwd=self.build, capture_output=True, text=True)
            if done.returncode:
                raise Refused(f"{defect.name}: the image with this defect does not build:\n{done.stdout}{done.stderr}")
        return made

    def run(self, combination, image, payload, limit):
        """Whether the payload passes, how it ended, and in how many seconds."""
        text = "" if payload.file.endswith(".bin") else payload.name
        command = [ROOT / "tests/guests/expect_run.sh", str(payload.expected), text, image, payload.file]
        environment = os.environ | {"SECONDS_LIMIT": str(limit), "MODEL": COMBINATIONS[combination][1]}
        if payload.processors != "1":
            own = combination != "qemu-svm"
            environment |= {"CPUS": payload.processors, "PROCESSORS": payload.processors if own else QEMU_PROCESSORS}
        begin = time.monotonic()
        ended = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               errors="replace")
        seconds = time.monotonic() - begin
        said = (ended.stdout + ended.stderr).strip().splitlines() or ["silence"]
        failed = [line for line in said if line.startswith("FAILED")]
        slow = [f"no end within {limit} s"] if seconds >= limit else []
        return ended.returncode == 0, (failed or slow or said[-1:])[0], seconds

    def judge(self, defect):
        """Raises Refused unless the suite notices this defect."""
        whole = Path(self.config[defect.image])
        image = self.image(defect)
        fails, passes = self.payloads[defect.fails], self.payloads[defect.passes]
        limit = 0
        # A time limit proves something only if the image without defect ends long before it, also right behind.
        for _ in range(4):
            well, how, seconds = self.run(defect.combination, whole, fails, LONGEST)
            if not well:
                raise Refused(f"{defect.name}: {fails.name} fails without the defect: {how}")
            if limit and 3 * seconds <= limit:
                break
            limit = max(SHORTEST, int(5 * seconds) + 1)
            well, why, seconds = self.run(defect.combination, image, fails, limit)
            if well:
                raise Refused(f"{defect.name} survives: {fails.name} passes on {defect.combination} although it is "
                              f"wrong: {defect.sentence}")
            if seconds < limit:
                break
        else:
            raise Refused(f"{defect.name}: this computer is too busy to tell a hang from a slow run")
        well, how, _ = self.run(defect.combination, image, passes, max(limit, LONGEST))
        if not well:
            raise Refused(f"{defect.name}: not even {passes.name} passes with it: {how}")
        return f"{defect.name}: caught by {fails.name} on {defect.combination}: {why}"

    def survey(self, names):
        """Tries every payload that the table does not name on one image after the other until it notices something."""
        idle = {name: payload for name, payload in self.payloads.items() if payload.expected != 124}
        for defect in self.defects.values():
            idle.pop(defect.fails, None)
        limits = {}

        def notices(defect, image, payload):
            key = (defect.combination, defect.image, payload.name)
            if key not in limits:
                well, _, seconds = self.run(defect.combination, Path(self.config[defect.image]), payload, LONGEST)
                limits[key] = max(SHORTEST, int(3 * seconds) + 1) if well else 0
            return limits[key] and not self.run(defect.combination, image, payload, limits[key])[0]

        with ThreadPoolExecutor(2) as pool:
            for name in names:
                defect = self.defects[name]
                image = self.image(defect)
                tried = [payload for payload in idle.values() if self.fits(defect, payload)]
                found = [p.name for p, hit in zip(tried, pool.map(lambda p: notices(defect, image, p), tried)) if hit]
                for payload in found:
                    del idle[payload]
                print(f"{name}: also {' '.join(found) or 'nobody'}; {len(idle)} left", flush=True)
        print("notice none:", " ".join(idle))


def main(config, verb, *names):
    try:
        bench = Bench(config)
        unknown = [name for name in names if name not in bench.defects]
        if unknown or verb not in ("check", "run", "survey"):
            sys.exit(__doc__)
        if verb == "check":
            bench.check()
            print(f"{len(bench.defects)} defects")
        elif verb == "survey":
            bench.survey(names or bench.defects)
        else:
            for name in names:
                print(bench.judge(bench.defects[name]), flush=True)
    except Refused as problem:
        sys.exit(f"seed: {problem}")


main(*sys.argv[1:])
