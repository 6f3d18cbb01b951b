#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Formats our C++ files with clang-format 19, or with --check says which ones differ."""
import argparse
import subprocess
import sys

from sources import ROOT, our_files


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail on a difference")
    is_check = parser.parse_args().check
    files = our_files(".h", ".cc")
    if not is_check:
        sys.exit(subprocess.run(["clang-format-19", "-i", *files], cwd=ROOT,
                                check=False).returncode)
    failed = 0
    for file in files:
        done = subprocess.run(["clang-format-19", "--dry-run", "--Werror", file], cwd=ROOT,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            failed += 1
            print("\n".join(line for line in done.stderr.splitlines() if ": error:" in line)
                  or f"{file} differs")
    if failed:
        print("`tests/tools/format.py` formats all files")
    print(f"{len(files) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
