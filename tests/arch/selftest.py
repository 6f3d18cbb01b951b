#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants violations and sees that the checks find them, and that they find nothing else."""
import argparse
import pathlib
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tools")]
import headers  # noqa: E402
import layering  # noqa: E402
import rules  # noqa: E402
import suites  # noqa: E402

BUILD = None


class Layering(unittest.TestCase):
    def faults(self, file, text):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / file
            path.parent.mkdir(parents=True)
            path.write_text(text)
            return [fault for _, fault in layering.check(pathlib.Path(folder))[1]]

    def assert_fault(self, file, text, fault):
        found = self.faults(file, text)
        self.assertEqual(len(found), 1, found)
        self.assertIn(fault, found[0])

    def test_roles_do_not_include_each_other(self):
        self.assert_fault("src/relay/bad.cc", '#include "zt/policy/decision.h"\n',
                          "src/relay/bad.cc:1: relay may not include policy")

    def test_the_relay_sees_no_cryptography(self):
        for line, fault in (('#include "crypto/hash.h"\n', "relay may not include crypto"),
                            ("#include <openssl/aead.h>\n", "relay may not use <openssl/")):
            self.assert_fault("src/relay/bad.cc", line, fault)

    def test_public_headers_include_no_library(self):
        self.assert_fault("include/zt/grant/bad.h", "#include <nlohmann/json.hpp>\n",
                          "a public header may not include")

    def test_libraries_belong_to_their_modules(self):
        self.assert_fault("src/node/bad.cc", "#include <ares.h>\n", "node may not use")
        self.assert_fault("src/io/bad.cc", "#include <sqlite3.h>\n", "io may not use")
        self.assertEqual(self.faults("src/io/good.cc", "#include <ares.h>\n"), [])

    def test_http_below_quic_is_the_message_only(self):
        self.assertEqual(self.faults("src/quic/good.cc", '#include "zt/http/message.h"\n'), [])
        self.assert_fault("src/quic/bad.cc", '#include "http/call.h"\n', "may not include http")

    def test_unknown_modules_and_bare_names(self):
        self.assert_fault("src/misc/bad.cc", "", "not in the table")
        self.assert_fault("src/wire/bad.cc", '#include "cursor.h"\n', "not of the form")

    def test_cores_do_not_touch_the_world(self):
        for line in ("auto now = std::chrono::steady_clock::now();", "std::thread t(f);",
                     'const char* home = getenv("HOME");', "auto t = std::time(nullptr);",
                     "co_await timer.async_wait();", "static thread_local int depth = 0;",
                     'fmt::print("{}", x);', "std::random_device device;", "::usleep(5);",
                     "return std::rand() % 6;"):
            self.assert_fault("src/policy/bad.cc", line + "\n", "a core may not do this")
            self.assertEqual(self.faults("src/io/good.cc", line + "\n"), [])
        for line in ("#include <sys/socket.h>", "#include <mutex>", "#include <unistd.h>"):
            self.assertEqual(len(self.faults("src/policy/bad.cc", line + "\n")), 1, line)

    def test_words_that_only_look_like_it(self):
        for line in ("// co_await is for io", 'text = "time(";', "/* getenv( */",
                     "Instant time(Now now);", "const Clock clock(now);", "lease.exit(now);",
                     "using steady = std::chrono::steady_clock;", "unrandom(x);",
                     "static void rand(std::uint8_t* data, std::size_t size);"):
            self.assertEqual(self.faults("src/policy/good.cc", line + "\n"), [], line)


class Rules(unittest.TestCase):
    GOOD = "// SPDX-License-Identifier: Apache-2.0\n"

    def faults(self, file, text):
        return [fault for _, fault in rules.check({file: text})]

    def test_a_good_file(self):
        self.assertEqual(self.faults("src/io/a.cc", self.GOOD + "int x = 1;\n"), [])
        self.assertEqual(self.faults("a.py", "#!/usr/bin/env python3\n# SPDX-License-Identifier: "
                                             "Apache-2.0\n"), [])

    def test_each_rule(self):
        for text in ("int x;\n", self.GOOD + "int x; \n", self.GOOD + "\tint x;\n",
                     self.GOOD + "int x;", self.GOOD + "x" * 101 + "\n",
                     self.GOOD + "// TODO" + "(now): this.\n", self.GOOD + "// TODO: that.\n",
                     self.GOOD + "assert(x);\n", self.GOOD + "using namespace std;\n",
                     self.GOOD + "int n = atoi(s);\n"):
            self.assertEqual(len(self.faults("src/io/a.cc", text)), 1, text)

    def test_the_border_of_a_line(self):
        self.assertEqual(self.faults("src/io/a.cc", self.GOOD + "x" * 100 + "\n"), [])
        self.assertEqual(self.faults("src/io/a.cc", self.GOOD + "static_assert(true);\n"), [])

    def test_a_script_can_be_executed(self):
        self.assertEqual(list(rules.check_modes(["tests/arch/selftest.py"])), [])
        with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
            script.write("#!/usr/bin/env python3\n")
            script.flush()
            self.assertEqual(len(list(rules.check_modes([script.name]))), 1)

    def test_headers(self):
        guard = self.GOOD + "#pragma once\n"
        self.assertEqual(rules.check({"src/io/a.h": guard,
                                      "src/io/a.cc": self.GOOD + '#include "io/a.h"\n'}), [])
        self.assertEqual(len(self.faults("src/io/a.h", guard)), 1)  # No file includes it.
        self.assertEqual(len(self.faults("src/io/a.cc", self.GOOD + '#include "io/b.h"\n')), 1)
        self.assertEqual(len(rules.check({"src/io/a.h": self.GOOD,
                                          "src/io/a.cc": self.GOOD + '#include "io/a.h"\n'})), 1)


class Headers(unittest.TestCase):
    def complaint(self, text):
        """Compiles a header of this text as `app` would."""
        build = BUILD.resolve()
        (build / "planted.h").write_text(text)
        try:
            arguments = [*headers.module_arguments(build)["app"], f"-I{build}"]
            return headers.compile_alone("planted.h", arguments, build)
        finally:
            (build / "planted.h").unlink()

    def test_a_header_that_leans_on_others(self):
        self.assertIn("string", self.complaint("#pragma once\nstd::string name();\n"))

    def test_a_header_without_a_guard(self):
        self.assertIn("redefinition", self.complaint("struct Pair {};\n"))

    def test_a_header_that_its_source_includes_first_is_left_to_the_build(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "src/relay/table.cc"
            source.parent.mkdir(parents=True)
            for text, is_proved in (('#include "zt/relay/table.h"\n#include <map>\n', True),
                                    ('#include <map>\n#include "zt/relay/table.h"\n', False)):
                source.write_text(text)
                self.assertEqual(
                    headers.is_proved_by_source(pathlib.Path(folder), "zt/relay/table.h"),
                    is_proved)
            self.assertFalse(headers.is_proved_by_source(pathlib.Path(folder), "zt/relay/x.h"))

    def test_a_good_header(self):
        self.assertEqual(self.complaint("#pragma once\n#include <string>\nstd::string name();\n"),
                         "")


class Counting(unittest.TestCase):
    def catch2(self, text):
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder) / "report.xml"
            report.write_text(text)
            return str(suites.catch2_count(report))

    def test_a_whole_report(self):
        self.assertEqual(self.catch2('<OverallResultsCases successes="5" failures="2" '
                                     'expectedFailures="1" skips="3"/>'),
                         "6 passed, 2 failed, 3 skipped")

    def test_a_report_broken_off_by_a_crash(self):
        self.assertEqual(self.catch2('<OverallResult success="true"/><TestCase name="x">'),
                         "1 passed, 1 failed, 0 skipped")
        self.assertEqual(self.catch2(""), "0 passed, 1 failed, 0 skipped")

    def test_plain_programs(self):
        for output, code, count in (
                ("fine", 0, "1 passed, 0 failed, 0 skipped"),
                ("bad", 1, "0 passed, 1 failed, 0 skipped"),
                ("no tun device", 77, "0 passed, 0 failed, 1 skipped"),
                ("x\n7 passed, 0 failed, 1 skipped\n", 0, "7 passed, 0 failed, 1 skipped"),
                ("7 passed, 2 failed, 0 skipped", 1, "7 passed, 2 failed, 0 skipped"),
                # The exit code and the count contradict each other: the worse one holds.
                ("7 passed, 0 failed, 0 skipped", 1, "7 passed, 1 failed, 0 skipped"),
                ("7 passed, 2 failed, 0 skipped", 0, "7 passed, 2 failed, 0 skipped")):
            self.assertEqual(str(suites.plain_count(output, code)), count)


def main():
    global BUILD
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True, help="a configured build")
    BUILD = parser.parse_args().build
    result = unittest.main(argv=sys.argv[:1], exit=False, verbosity=2).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed, 0 skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
