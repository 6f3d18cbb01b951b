#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a header does not compile alone, or not when it is included twice.

A header that its own source includes before anything else is proved by the build. Each other one
is compiled here, with the arguments of its own module's sources, so it sees what they see.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DROPPED = ("-o", "-c", "-MF", "-MQ", "-MT")  # Each is followed by a file's name.


def module_arguments(build):
    """Returns for each module the compiler and its arguments, without the files."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        if not path.is_relative_to(ROOT / "src"):
            continue
        words = iter(shlex.split(entry["command"]))
        kept = []
        for word in words:
            if word in DROPPED:
                next(words)
            elif word not in ("-MD", "-MMD", "-g") and not word.startswith("-O"):
                kept.append(word)
        found.setdefault(path.relative_to(ROOT / "src").parts[0], kept)
    return found


def headers(root):
    """Yields (module, name as it is included) for each of our headers."""
    for base, prefix in ((root / "include" / "zt", "zt/"), (root / "src", "")):
        for path in sorted(base.rglob("*.h")):
            name = path.relative_to(base)
            yield name.parts[0], prefix + str(name)


def is_proved_by_source(root, name):
    """Returns whether src/<module>/<name>.cc exists and includes the header first."""
    source = (root / "src" / name.removeprefix("zt/")).with_suffix(".cc")
    if not source.exists():
        return False
    first = re.search(r'^\s*#\s*include\s+[<"]([^">]+)', source.read_text(), re.MULTILINE)
    return first is not None and first[1] == name


def compile_alone(name, arguments, build):
    """Returns the compiler's complaints about a source of nothing but one header, twice."""
    source = build / "headers" / (name.replace("/", "_") + ".cc")
    source.parent.mkdir(exist_ok=True)
    text = f'#include "{name}"\n#include "{name}"\n'
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    done = subprocess.run([*arguments, "-O0", "-c", str(source), "-o", str(source) + ".o"],
                          cwd=build, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode != 0 else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="a configured build")
    build = parser.parse_args().build.resolve()
    arguments = module_arguments(build)
    everything = arguments["app"]  # For a module of headers only.

    listed = list(headers(ROOT))
    compiled = [(module, name) for module, name in listed if not is_proved_by_source(ROOT, name)]
    print(f"{len(compiled)} of {len(listed)} headers have no source that includes them first")
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = pool.map(
            lambda item: compile_alone(item[1], arguments.get(item[0], everything), build),
            compiled)
        for (_, name), complaint in zip(compiled, complaints):
            if complaint:
                failed += 1
                print(f"{name} does not compile alone:\n{complaint}")
    print(f"{len(listed) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
