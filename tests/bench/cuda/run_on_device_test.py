#!/usr/bin/env python3
"""run_on_device check over programs that only pretend: what the report says of those that pass, fail, skip or hang about."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
TESTS = ["cuda_device_attention_test", "cuda_device_encode_test", "cuda_device_pool_test"]
SANITIZERS = ["memcheck", "racecheck", "synccheck"]
CASE = {"sequences": 1, "tokens": 64, "kv_heads": 8, "group": 4, "queries": 1, "codec": "turbo4", "key_bits": 4,
        "scores_alone": False, "key_means": False, "value_bits": 4, "us": 10.0, "gb_per_s": 2.0, "of_read": 0.4, "of_copy": 0.5}


class RunOnDeviceTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.tools = self.folder / "tools"
        self.tools.mkdir()
        for name in ("run_on_device", "attention_bench.py"):
            shutil.copy2(HERE / name, self.folder / name)
        self.write(self.tools / "nvidia-smi", "echo 'Pretended GPU, 580.1, 1 MiB, 2 MHz, 3 MHz, 4 W'")
        self.write(self.tools / "compute-sanitizer", 'echo "$2" sanitizes; shift 4; exec "$@"')
        for name in TESTS:
            self.write(self.folder / name, "echo '[  PASSED  ] 7 tests.'")
        self.write(self.folder / "cuda_attention_bench", f"echo '{json.dumps(CASE)}'")
        self.write(self.folder / "cuda_encode_bench", "echo 'a title'; echo '{\"work\": \"encode\", \"us\": 3}'")
        (self.folder / "revision.txt").write_text("abc1234\n")

    def write(self, path, script):
        path.write_text("#!/bin/sh\n" + script + "\n")
        path.chmod(0o755)

    def check(self, tools=True):
        path = f"{self.tools}:{os.environ['PATH']}" if tools else str(self.folder / "nowhere")
        run = subprocess.run([sys.executable, str(self.folder / "run_on_device"), "check", str(self.folder)],
                             env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120)
        report = self.folder / "report.json"
        return run.returncode, json.loads(report.read_text()) if report.exists() else None, run.stderr

    def test_everything_passes(self):
        code, report, _ = self.check()
        self.assertEqual(code, 0)
        self.assertTrue(report["ok"])
        self.assertEqual(report["card"]["name"], "Pretended GPU")
        self.assertEqual(report["revision"], "abc1234")
        self.assertEqual([step["name"] for step in report["steps"]],
                         TESTS + [f"{tool} {name}" for name in TESTS for tool in SANITIZERS] +
                         ["attention benchmark", "encode and decode benchmark"])
        self.assertEqual(report["steps"][0]["passed"], 7)
        for step, tool in zip(report["steps"][3:], SANITIZERS):
            self.assertIn("--gtest_filter=*", step["command"])
            self.assertEqual((self.folder / step["log"]).read_text().split("\n")[0], f"{tool} sanitizes")
        self.assertEqual(report["attention"][0]["us"], 10.0)
        self.assertEqual(report["codecs"], [{"work": "encode", "us": 3}])
        page = (self.folder / "report.md").read_text()
        for part in ("# Pretended GPU, revision abc1234", "| cuda_device_pool_test | True | 7 |", "turbo4", "encode"):
            self.assertIn(part, page)

    def test_a_failure_is_in_the_report_and_the_rest_still_runs(self):
        self.write(self.folder / TESTS[1], "echo something is wrong; echo '[  FAILED  ] 2 tests'; exit 1")
        code, report, _ = self.check()
        self.assertEqual(code, 1)
        self.assertFalse(report["ok"])
        wrong = [step for step in report["steps"] if not step["ok"]]
        self.assertEqual([step["name"] for step in wrong], [TESTS[1]] + [f"{tool} {TESTS[1]}" for tool in SANITIZERS])
        self.assertEqual(wrong[0]["failed"], 2)
        self.assertIn("something is wrong", wrong[0]["tail"])
        self.assertEqual(len(report["steps"]), len(TESTS) * (1 + len(SANITIZERS)) + 2)

    def test_tests_that_skip_what_wants_a_device_have_shown_nothing(self):
        self.write(self.folder / TESTS[0], "echo '[  PASSED  ] 2 tests.'; echo '[  SKIPPED ] 5 tests, listed below:'")
        code, report, _ = self.check()
        self.assertEqual(code, 1)
        self.assertFalse(report["steps"][0]["ok"])

    def test_a_filter_that_matches_no_test_has_shown_nothing(self):
        self.write(self.folder / TESTS[2], """case "$1" in
--gtest_filter=*) echo '[==========] 0 tests from 0 test suites ran.'; echo '[  PASSED  ] 0 tests.' ;;
*) echo '[  PASSED  ] 7 tests.' ;; esac""")
        code, report, _ = self.check()
        self.assertEqual(code, 1)
        self.assertEqual([step["name"] for step in report["steps"] if not step["ok"]],
                         [f"{tool} {TESTS[2]}" for tool in SANITIZERS])

    def test_a_program_that_is_not_there_is_a_failure(self):
        (self.folder / "cuda_encode_bench").unlink()
        code, report, _ = self.check()
        self.assertEqual(code, 1)
        self.assertEqual(report["steps"][-1]["exit_code"], 127)

    def test_without_a_gpu_nothing_runs(self):
        code, report, errors = self.check(tools=False)
        self.assertEqual(code, 2)
        self.assertIsNone(report)
        self.assertIn("nvidia-smi shows no GPU", errors)


if __name__ == "__main__":
    unittest.main()
