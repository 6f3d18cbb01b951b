#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy 19 over the compiled sources of src/; the build must be up to date.

A clean result is remembered under the hash of all that it depends on: the compiler's arguments, the
settings, the source and each header that it includes. So a second run looks at what changed only.
The memory is in $ZT_TIDY_CACHE, by default ~/.cache/zt-tidy; deleting it is always safe.

tests/tools/tidy_pending lists sources, or folders of them, that were never found clean. They are
skipped and counted as such; the list only ever gets shorter.

With --budget, files that were not reached in that time are skipped and counted as such; those that
git saw change last come first.
"""
import argparse
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

from sources import ROOT, our_files

TIDY = "clang-tidy-19"
# The commands are GCC's; what only GCC knows is no fault.
PENDING = ROOT / "tests" / "tools" / "tidy_pending"
ARGUMENTS = ["--quiet", "--extra-arg=-Wno-unknown-warning-option",
             "--extra-arg=-Wno-ignored-optimization-argument"]


@dataclasses.dataclass(frozen=True)
class Unit:
    """A source file as it is compiled."""

    file: str  # Relative to ROOT.
    arguments: str
    output: str


def units(build):
    """Returns each compiled source of the program once."""
    ours = {file for file in our_files(".cc") if file.startswith("src/")}
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        file = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else ""
        if file in ours:
            found.setdefault(file, Unit(file, entry["command"], entry["output"]))
    return list(found.values())


def headers(build):
    """Returns for each object the files that its compilation read, as ninja recorded them."""
    listed = subprocess.run(["ninja", "-C", str(build), "-t", "deps"], capture_output=True,
                            text=True, check=True).stdout
    found, current = {}, None
    for line in listed.splitlines():
        if line.startswith("    "):
            current.append(line.strip())
        elif ": #deps" in line:
            current = found.setdefault(line.split(": #deps")[0], [])
    return found


@functools.cache
def content_hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "absent"


def key(unit, build, dependencies, version):
    settings = [ROOT / ".clang-tidy", *(folder / ".clang-tidy"
                                        for folder in (ROOT / unit.file).parents
                                        if folder.is_relative_to(ROOT))]
    parts = [version, *ARGUMENTS, unit.file, unit.arguments.replace(str(ROOT), "")]
    parts += [content_hash(path) for path in settings]
    parts += [content_hash((build / name).resolve()) for name in sorted(dependencies)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def last_changes():
    """Returns for each file the time of the last commit that touched it."""
    log = subprocess.run(["git", "log", "--format=@%ct", "--name-only"], cwd=ROOT,
                         capture_output=True, text=True, check=False).stdout
    found, when = {}, 0
    for line in log.splitlines():
        if line.startswith("@"):
            when = int(line[1:])
        elif line:
            found.setdefault(line, when)
    return found


def examine(unit, build):
    """Returns what clang-tidy finds in a source, or nothing."""
    done = subprocess.run([TIDY, *ARGUMENTS, "-p", str(build), str(ROOT / unit.file)],
                          capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode == 0:
        return ""
    return done.stdout.strip() or done.stderr.strip() or f"{TIDY} failed on {unit.file}"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="an up-to-date build")
    parser.add_argument("--budget", type=float, default=float("inf"), metavar="SECONDS")
    parser.add_argument("file", nargs="*", help="sources to look at (default: all)")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    cache = pathlib.Path(os.environ.get("ZT_TIDY_CACHE")
                         or pathlib.Path.home() / ".cache" / "zt-tidy")
    cache.mkdir(parents=True, exist_ok=True)

    version = subprocess.run([TIDY, "--version"], capture_output=True, text=True,
                             check=True).stdout
    dependencies = headers(build)
    changes = last_changes()
    pending = tuple(line for line in PENDING.read_text().splitlines()
                    if line and not line.startswith("#"))
    everything = units(build)
    if arguments.file:
        chosen = [unit for unit in everything if unit.file in arguments.file]
    else:
        chosen = [unit for unit in everything if not unit.file.startswith(pending)]
    keys = {unit: key(unit, build, dependencies.get(unit.output, []), version) for unit in chosen}
    todo = [unit for unit in chosen if not (cache / keys[unit]).exists()]
    todo.sort(key=lambda unit: -changes.get(unit.file, 2**62))  # What was never committed is new.
    print(f"{len(chosen) - len(todo)} of {len(chosen)} sources are known to be clean")

    deadline = time.monotonic() + arguments.budget
    failed = skipped = 0
    pending_count = 0 if arguments.file else len(everything) - len(chosen)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(
            lambda unit: examine(unit, build) if time.monotonic() < deadline else None, todo)
        for unit, finding in zip(todo, results):
            if finding is None:
                skipped += 1
            elif finding:
                failed += 1
                print(f"{unit.file}:\n{finding}", flush=True)
            else:
                (cache / keys[unit]).touch()
    if skipped:
        print(f"skipped: the budget of {arguments.budget:g} s was spent")
    if pending_count:
        print(f"skipped: {pending_count} sources of tests/tools/tidy_pending")
    print(f"{len(chosen) - failed - skipped} passed, {failed} failed, "
          f"{skipped + pending_count} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
