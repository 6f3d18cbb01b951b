# SPDX-License-Identifier: Apache-2.0
"""Which files are ours."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def our_files(*suffixes):
    """Returns the files that git tracks or would, relative to ROOT, with one of the suffixes."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(file for file in set(listed) - {""}
                  if (not suffixes or file.endswith(suffixes)) and (ROOT / file).is_file())
