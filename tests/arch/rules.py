#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a file of ours breaks a rule that no compiler and no other tool checks."""
import argparse
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from sources import ROOT, our_files  # noqa: E402

LINE_MAX = 100
LICENCE = "SPDX-License-Identifier: Apache-2.0"
CPP = (".h", ".cc")
LICENSED = (*CPP, ".cc.in", ".py", ".sh", ".wrap", ".ini", "meson.build", "meson.options")
# Tables, archives of inputs and saved outputs are as wide as they are.
FREE = (".md", "LICENSE", ".json", ".pem", ".lock")

# What no source may contain, and what to write in its place.
BANNED = [
    (re.compile(r"TODO\(now\)"), "do it before it merges"),
    (re.compile(r"\bFIXME\b|\bXXX\b|\bTODO(?!\((now|soon|perf|security|test)\))"),
     "TODO(soon|perf|security|test): and a sentence"),
    (re.compile(r"(?<![\w:])assert\("), "ZT_ASSERT, which is on in a release"),
    (re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|atof|alloca)\("),
     "a function that knows the size and reports errors"),
    (re.compile(r"\basync_resolve\b|\bgetaddrinfo\(|\bgethostbyname\b"),
     "c-ares: the C library's resolver does not work in a static program"),
    (re.compile(r"\bstd::endl\b"), r"'\n'"),
]
USING = re.compile(r"\busing namespace (?![\w:]*literals)")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def is_script(text):
    return text.startswith("#!")


def check_text(file, text):
    """Yields (line, fault) for one file; line 0 stands for the whole."""
    lines = text.split("\n")
    if file.endswith(LICENSED) or is_script(text):
        if not any(LICENCE in line for line in lines[:2]):
            yield 1, f"the first line is to say {LICENCE}"
    if file.endswith(".h") and (len(lines) < 2 or lines[1] != "#pragma once"):
        yield 2, "the second line of a header is #pragma once"
    if text and not text.endswith("\n"):
        yield len(lines), "the last line has no end"
    is_free = file.endswith(FREE)
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX and not is_free:
            yield number, f"{len(line)} columns, more than {LINE_MAX}"
        if line != line.rstrip():
            yield number, "blanks at the end"
        if "\t" in line and file.endswith((*CPP, ".py", "meson.build")):
            yield number, "a tab"
        if USING.search(line) and file.startswith(("include/", "src/")):
            yield number, "names in full, or one by one"
        if file.endswith(CPP):
            yield from ((number, f"`{match[0].strip()}`: rather {better}")
                        for pattern, better in BANNED
                        if (match := pattern.search(line)) and "// NOLINT" not in line)


def check_headers(texts):
    """Yields the headers that no other file includes, and the includes that lead nowhere."""
    headers = {file.removeprefix("include/").removeprefix("src/") for file in texts
               if file.endswith(".h") and file.startswith(("include/", "src/"))}
    included = set()
    for file, text in texts.items():
        for name in INCLUDE.findall(text):
            included.add(name)
            if file.startswith(("include/", "src/")) and name not in headers:
                yield file, f"{file}: there is no {name}"
    for name in sorted(headers - included):
        yield name, f"{name}: no file includes it"


def check_modes(files):
    """Yields the scripts that cannot be executed: a story among them would never be told."""
    for file in files:
        path = ROOT / file
        with path.open("rb") as content:
            is_ours_to_run = content.read(2) == b"#!"
        if is_ours_to_run and not os.access(path, os.X_OK):
            yield file, f"{file}: chmod +x"


def check(texts):
    """Returns (file, fault) pairs for a dictionary of names and texts."""
    faults = [(file, f"{file}:{number}: {fault}") for file, text in texts.items()
              for number, fault in check_text(file, text)]
    return faults + list(check_headers({file: text for file, text in texts.items()
                                        if file.endswith(CPP)}))


def read(files):
    texts = {}
    for file in files:
        try:
            texts[file] = (ROOT / file).read_text()
        except UnicodeDecodeError:
            continue  # An input of a test, in bytes.
    return texts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", help="not used")
    parser.parse_args()
    files = [file for file in our_files() if not re.match(r"tests/(fuzz/corpus|golden)/", file)]
    faults = check(read(files)) + list(check_modes(files))
    for _, fault in faults:
        print(fault)
    failed = len({file for file, _ in faults})
    print(f"{len(files) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
