#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Formats our C++ files with clang-format 19, or with --check says which ones differ."""
import argparse
import concurrent.futures
import os
import subprocess
import sys

from sources import ROOT, our_files


BATCH = 16  # Files for one run of clang-format.


def differences(files):
    """Returns a line `file:line:column: error: …` for each place that is to change."""
    done = subprocess.run(["clang-format-19", "--dry-run", "--Werror", *files], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if ": error:" in line]
    return lines or ([f"clang-format: {done.stderr.strip()}"] if done.returncode else [])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail on a difference")
    is_check = parser.parse_args().check
    files = our_files(".h", ".cc")
    if not is_check:
        sys.exit(subprocess.run(["clang-format-19", "-i", *files], cwd=ROOT,
                                check=False).returncode)
    batches = [files[i:i + BATCH] for i in range(0, len(files), BATCH)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        lines = [line for output in pool.map(differences, batches) for line in output]
    print("\n".join(lines))
    failed = len({line.split(":")[0] for line in lines})
    if failed:
        print("`tests/tools/format.py` formats all files")
    print(f"{len(files) - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
