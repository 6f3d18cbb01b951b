#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds zt and runs its tests, suite by suite. The last line counts the checks that were run.

  arch      who includes whom, cores touch nothing, headers compile alone, rules of style
  format    clang-format 19
  unit, property, sim, fuzz
            built by GCC with warnings as errors; fuzz replays the saved inputs
  e2e       stories with the real program
  tidy      clang-tidy 19
  asan      unit, property, sim and fuzz again, under ASan and UBSan, built by clang 19

--nightly is another run: the scenarios of the simulator that take any seed, with as many seeds.

A check that fails names its log. Every log is kept in build-gcc/logs/ and build-asan/logs/.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
CATCH2_SUITES = ("unit", "property", "sim")  # The other programs end with COUNTS, or count as one.
COMPILED_SUITES = (*CATCH2_SUITES, "fuzz")
SUITES = ("arch", "format", *COMPILED_SUITES, "e2e", "tidy", "asan")
SLOW_SUITES = ("tidy", "asan")
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
ERROR = re.compile(r"\berror:|\bERROR:|undefined reference")
SKIPPED = 77  # The exit code of a script that cannot run here; its last line says why.
JOBS = os.cpu_count() or 1
LOG_TAIL = 40
PROGRESS_INTERVAL = 30  # Seconds without a line before one says that something is still running.
# Of what a debugger needs only that which a backtrace shows: a quarter less to compile and link.
LINE_NUMBERS_ONLY = ["-Ddebug=false", "-Dc_args=-g1", "-Dcpp_args=-g1"]
NIGHTLY_SEED = 1_000_000  # The first one; CI's own are far below.
TIDY_BUDGET = 300  # Seconds. What was found clean before costs nothing of it.


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@dataclasses.dataclass
class Check:
    """One program to run. `suite` and `name` are for people and for the log's place."""

    suite: str
    name: str
    command: list
    log: pathlib.Path
    timeout: float = 600
    environment: dict = dataclasses.field(default_factory=dict)
    is_catch2: bool = False
    is_compiler: bool = False  # Its output is long, and the lines that matter say "error".


def catch2_count(report):
    """Counts the cases in a report of Catch2's xml reporter, complete or broken off."""
    text = report.read_text(errors="replace") if report.exists() else ""
    if total := re.search(r"<OverallResultsCases successes=\"(\d+)\" failures=\"(\d+)\""
                          r" expectedFailures=\"(\d+)\" skips=\"(\d+)\"/>", text):
        successes, failures, expected, skips = map(int, total.groups())
        return Count(successes + expected, failures, skips)
    return Count(len(re.findall(r"<OverallResult success=\"true\"", text)), 1)


def plain_count(output, code):
    lines = output.strip().splitlines()
    if code == SKIPPED:
        return Count(skipped=1)
    if lines and (match := COUNTS.match(lines[-1])):
        count = Count(*map(int, match.groups()))
        if code != 0:
            count.failed = max(count.failed, 1)
        return count
    return Count(passed=1) if code == 0 else Count(failed=1)


def execute(check, command):
    """Returns the exit code of the command, or -1 if it had to be killed for its time."""
    with check.log.open("w") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=subprocess.STDOUT, cwd=ROOT,
                                   env=os.environ | check.environment)
        deadline = time.monotonic() + check.timeout
        while time.monotonic() < deadline:
            try:
                return process.wait(timeout=min(PROGRESS_INTERVAL, check.timeout))
            except subprocess.TimeoutExpired:
                progress = re.findall(r"^\[\d+/\d+\]", check.log.read_text(errors="replace"),
                                      re.MULTILINE)
                print(f"    {check.suite}/{check.name} {progress[-1] if progress else ''} …",
                      flush=True)
        process.terminate()  # A story then cleans up after itself.
        try:
            process.wait(timeout=PROGRESS_INTERVAL)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.write(f"\nkilled after {check.timeout:g} s\n")
        return -1


def run(check):
    """Runs one check, prints one line about it and returns its count."""
    check.log.parent.mkdir(parents=True, exist_ok=True)
    report = check.log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    command = list(check.command)
    if check.is_catch2:
        command += ["--reporter", "console::colour-mode=none", "--reporter", f"xml::out={report}"]
    started = time.monotonic()
    code = execute(check, command)
    output = check.log.read_text(errors="replace")
    count = catch2_count(report) if check.is_catch2 else plain_count(output, code)
    if code not in (0, SKIPPED) and count.failed == 0:
        count.failed = 1  # Say, a leak that the sanitizer finds after the last case.
    lines = [f"  {check.suite}/{check.name}: {count} ({time.monotonic() - started:.1f} s)"]
    if code == SKIPPED and output.strip():
        lines.append(f"    skipped: {output.strip().splitlines()[-1]}")
    if count.failed:
        errors = [line for line in output.splitlines() if check.is_compiler and ERROR.search(line)]
        lines += [f"    | {line}" for line in errors[:LOG_TAIL] or output.splitlines()[-LOG_TAIL:]]
        lines.append(f"    FAILED; the log is {check.log.relative_to(ROOT)}")
    print("\n".join(lines), flush=True)
    return count


def run_all(checks, jobs=JOBS):
    total = Count()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for count in pool.map(run, checks):
            total += count
    return total


class Build:
    """A build directory. A failed build is a failed check, and what needed it does not run."""

    def __init__(self, name, options):
        self.name = name
        self.path = ROOT / f"build-{name}"
        self.logs = self.path / "logs"
        self.options = options
        self.is_configured = None
        self.is_built = None
        self.count = Count()

    def configure(self):
        if self.is_configured is None:
            is_new = not (self.path / "build.ninja").exists()
            self.is_configured = self.step(
                "configure", ["meson", "setup", *([] if is_new else ["--reconfigure"]),
                              *self.options, str(self.path)])
        return self.is_configured

    def build(self):
        if self.is_built is None:
            self.is_built = self.configure() and self.step(
                "build", ["ninja", "-C", str(self.path), f"-j{JOBS}", "-k0"])
        return self.is_built

    def step(self, name, command):
        print(f"  {self.name}: {name} …", flush=True)
        count = run(Check(self.name, name, command, self.logs / f"{name}.log", timeout=3600,
                          is_compiler=True))
        self.count += count
        return count.failed == 0

    def tests(self, suites):
        """Returns the checks of the suites that Meson knows of."""
        known = subprocess.run(["meson", "introspect", "--tests", str(self.path)],
                               capture_output=True, text=True, check=True)
        checks = []
        for test in json.loads(known.stdout):
            suite = test["suite"][0].split(":")[-1]
            if suite in suites and test["suite"][0].startswith("zt:"):
                checks.append(Check(f"{self.name}/{suite}", test["name"], test["cmd"],
                                    self.logs / suite / f"{test['name']}.log", test["timeout"],
                                    SANITIZER_SETTINGS, suite in CATCH2_SUITES))
        return checks


SANITIZER_SETTINGS = {
    "ASAN_OPTIONS": "allow_addr2line=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:allow_addr2line=1",
}


def python_check(suite, script, build, *arguments):
    return Check(suite, script.stem, [sys.executable, str(script), *arguments],
                 build.logs / suite / f"{script.stem}.log", timeout=1800,
                 is_compiler=script.stem in ("headers", "tidy"))


def run_suite(name, gcc, asan):
    """Returns the count of one suite. Builds count apart, where they happen."""
    if name == "arch":
        if not gcc.configure():
            return Count()
        return run_all([python_check(name, script, gcc, "--build", str(gcc.path))
                        for script in sorted((TESTS / "arch").glob("*.py"))])
    if name == "format":
        return run(python_check(name, TESTS / "tools" / "format.py", gcc, "--check"))
    if name == "tidy":
        return run(python_check(name, TESTS / "tools" / "tidy.py", gcc, "--build",
                                str(gcc.path), "--budget", str(TIDY_BUDGET))
                   ) if gcc.build() else Count()
    if name == "asan":
        return run_all(asan.tests(COMPILED_SUITES)) if asan.build() else Count()
    if name == "e2e":
        return run_stories(gcc) if gcc.build() else Count()
    return run_all(gcc.tests([name])) if gcc.build() else Count()


def run_nightly(build, seed_count):
    """Runs what is tagged [nightly] with `seed_count` seeds, a shard for each core."""
    if not build.build():
        return Count()
    share = -(-seed_count // JOBS)
    return run_all([Check("nightly", f"sim-{shard}",
                          [str(build.path / "tests" / "sim" / "sim"), "[nightly]"],
                          build.logs / "nightly" / f"sim-{shard}.log", timeout=8 * 3600,
                          environment={"ZT_SEED": str(NIGHTLY_SEED + shard * share),
                                       "ZT_SEEDS": str(share)},
                          is_catch2=True) for shard in range(JOBS)])


def run_stories(build):
    """Runs tests/e2e/*.sh and *.py, one at a time: they share the machine's network."""
    scripts = [path for path in sorted((TESTS / "e2e").glob("*"))
               if path.suffix in (".sh", ".py") and os.access(path, os.X_OK)]
    environment = {"ZT": str(build.path / "src" / "zt")}
    return run_all([Check("e2e", path.stem, [str(path)], build.logs / "e2e" / f"{path.stem}.log",
                          environment=environment) for path in scripts], jobs=1)


def main():
    parser = argparse.ArgumentParser(prog="tests/run", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", action="append", choices=SUITES, metavar="NAME",
                        help="run this suite only; may be repeated")
    parser.add_argument("--fast", action="store_true",
                        help=f"leave out {' and '.join(SLOW_SUITES)}")
    parser.add_argument("--nightly", nargs="?", const=2000, type=int, metavar="SEEDS",
                        help="run only the simulator's random scenarios, with SEEDS seeds "
                             "(default: 2000)")
    arguments = parser.parse_args()
    chosen = arguments.suite or SUITES
    if arguments.fast:
        chosen = [name for name in chosen if name not in SLOW_SUITES]

    gcc = Build("gcc", ["-Dwerror=true", *LINE_NUMBERS_ONLY])
    asan = Build("asan", ["--native-file", str(TESTS / "tools" / "native" / "asan.ini")])
    total = Count()
    started = time.monotonic()
    if arguments.nightly:
        chosen = []
        total += run_nightly(gcc, arguments.nightly)
    for name in SUITES:
        if name in chosen:
            print(f"{name} (at {time.monotonic() - started:.0f} s)", flush=True)
            total += run_suite(name, gcc, asan)
    for build in (gcc, asan):
        total += build.count
    if gcc.is_built is False or asan.is_built is False:
        print("Suites that need a failed build did not run.")
    print(f"all of it took {time.monotonic() - started:.0f} s")
    print(total)
    sys.exit(1 if total.failed else 0)


if __name__ == "__main__":
    main()
