#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a file includes a module or a library that its module may not see, or when a core
touches the world.

ALLOWED is the architecture: ARCHITECTURE.md draws it, src/meson.build links by it, and this file
holds every include to it. It is part of the security argument: the relay has no code that could
open what it forwards, roles do not reach into each other, and what a core does depends on nothing
but its inputs.
"""
import argparse
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# For each module: the modules that its files may include, besides its own. "message" stands for
# include/zt/http: requests and answers as values, below the protocols that carry them.
ALLOWED = {
    "base": [],
    "message": ["base"],
    "wire": ["base"],
    "crypto": ["base"],
    "policy": ["base"],
    "grant": ["base", "wire", "crypto"],
    "path": ["base", "wire"],
    "quic": ["base", "wire", "crypto", "message"],
    "http": ["base", "wire", "crypto", "message", "quic"],
    "relay": ["base", "wire"],
    "connector": ["base", "wire", "policy", "grant"],
    "client": ["base", "wire", "policy", "grant", "path"],
    "controller": ["base", "wire", "crypto", "policy", "grant", "message"],
    "node": ["base", "wire", "crypto", "grant", "policy", "path", "relay", "connector", "client",
             "controller", "quic", "message", "http"],
    "io": ["base"],
    "store": ["base", "controller"],
    "app": ["base", "wire", "crypto", "grant", "policy", "path", "relay", "connector", "client",
            "controller", "quic", "message", "http", "node", "io", "store"],
}

# For each module: prefixes of the third-party headers that its sources may include. fmt turns
# values into text and touches nothing, so it is open to all.
LIBRARIES = {
    "wire": ["nlohmann/"],
    "crypto": ["openssl/"],
    "quic": ["ngtcp2/", "nghttp3/", "openssl/"],
    "http": ["llhttp.h", "openssl/"],
    "store": ["sqlite3.h"],
    "io": ["ares"],
    "app": ["CLI/", "toml++/", "igd_desc_parse.h", "minixml.h", "upnpreplyparse.h"],
}

# The modules that may touch the world: clocks, sockets, files, entropy, threads, the environment.
SHELL = {"io", "store", "app"}
SYSTEM_HEADERS = re.compile(r"^(arpa|linux|net|netinet|sys|unistd|fcntl|poll|sched|signal|pthread|"
                            r"dlfcn|termios|time|stdlib|pwd|grp|ifaddrs|spawn)(/.*)?\.h$")
WORLD_HEADERS = {"atomic", "barrier", "condition_variable", "coroutine", "csignal", "ctime",
                 "filesystem", "fstream", "future", "iostream", "latch", "mutex", "random",
                 "semaphore", "shared_mutex", "stop_token", "syncstream", "thread"}
WORLD_CALLS = re.compile(
    r"\bco_(await|return|yield)\b"
    r"|\b(steady|system|utc|tai|gps|file|high_resolution)_clock::now\b"
    r"|(?<![\w.>:])(?:::|std::)?(getenv|setenv|gettimeofday|clock_gettime|srand|getrandom"
    r"|arc4random|sleep|usleep|nanosleep|fopen|freopen|popen|fork|printf|fprintf|puts)\s*\("
    r"|(?<![\w.>])rand\s*\(\s*\)"
    r"|(?<!\w)(?:std)?::(time|clock|random|system|signal|exit)\s*\("
    r"|\b(RAND_bytes|RAND_enable_fork_unsafe_buffering|thread_local|random_device)\b"
    r"|\bfmt::print\b|\bstd::(cout|cerr|cin|clog|ofstream|ifstream|thread|mutex|atomic)\b")
# What the above finds and is right, by (file's module, text): with the reason.
EXCEPTIONS = {
    ("base", "std::fprintf("),  # A failed assertion says where, and ends the process.
    ("crypto", "RAND_bytes"),  # AWS-LC draws its own entropy for keys and nonces in any case.
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^">]+)[">]')


def without_comments(text):
    """Blanks out comments and the content of strings; the number of lines stays."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
    return pattern.sub(
        lambda match: '""' if match[0][0] == '"' else re.sub(r"[^\n]", " ", match[0]), text)


def module_of(name):
    """Returns the module of an include such as "zt/base/time.h", or None."""
    if name.startswith("zt/http/"):
        return "message"
    module, slash, _ = name.removeprefix("zt/").partition("/")
    return module if slash and module in ALLOWED and module != "message" else None


def check_include(module, is_public, quote, name):
    """Returns what is wrong with one include, or None."""
    if quote == '"':
        target = module_of(name)
        if target is None:
            return f'"{name}" is not of the form "zt/<module>/…" or "<module>/…"'
        if target != module and target not in ALLOWED[module]:
            return f"{module} may not include {target}"
        return None
    if name.startswith("fmt/"):
        return None
    if SYSTEM_HEADERS.match(name):
        return None if module in SHELL else f"{module} may not touch the system by <{name}>"
    if "/" not in name and not name.endswith((".h", ".hpp")):
        is_world = name in WORLD_HEADERS and module not in SHELL
        return f"a core may not include <{name}>" if is_world else None
    if is_public:
        return f"a public header may not include <{name}>"
    if not any(name.startswith(prefix) for prefix in LIBRARIES.get(module, [])):
        return f"{module} may not use <{name}>"
    return None


def check_file(path, module, is_public):
    """Yields (line, fault) for one file."""
    text = path.read_text()
    for number, line in enumerate(text.splitlines(), 1):
        if match := INCLUDE.match(line):
            if fault := check_include(module, is_public, match[1], match[2]):
                yield number, fault
    if module in SHELL:
        return
    for number, line in enumerate(without_comments(text).splitlines(), 1):
        match = WORLD_CALLS.search(line)
        if match and (module, match[0].strip()) not in EXCEPTIONS:
            yield number, f"a core may not do this: {match[0].strip()}"


def check(root):
    """Returns (number of files, list of faults) of the source tree at `root`."""
    faults, count = [], 0
    for base, is_public in ((root / "include" / "zt", True), (root / "src", False)):
        for path in sorted(base.rglob("*")):
            if path.suffix not in (".h", ".cc"):
                continue
            count += 1
            where = path.relative_to(root)
            module = module_of(("zt/" if is_public else "") + str(path.relative_to(base)))
            if module is None:
                faults.append((where, f"{where}: its module is not in the table"))
                continue
            faults += [(where, f"{where}:{number}: {fault}")
                       for number, fault in check_file(path, module, is_public)]
    return count, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", help="not used")
    parser.parse_args()
    count, faults = check(ROOT)
    for _, fault in faults:
        print(fault)
    failed = len({where for where, _ in faults})
    print(f"{count - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
