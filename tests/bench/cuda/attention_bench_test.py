#!/usr/bin/env python3
"""attention_bench.py's dealings with libraries that need not be there, over ones that only pretend."""
import sys
import types
import unittest
from unittest import mock

import attention_bench

CASE = {"scores_alone": False, "sequences": 1, "tokens": 64, "kv_heads": 8, "group": 4, "queries": 1}


class AttentionBenchTest(unittest.TestCase):
    def setUp(self):
        self.torch = mock.MagicMock()
        # Work says itself how long it takes.
        patch = mock.patch.object(attention_bench, "median_microseconds", lambda torch, flush, rounds, work: work())
        patch.start()
        self.addCleanup(patch.stop)

    def test_what_is_not_installed_is_noted(self):
        with mock.patch.dict(sys.modules, {"flash_attn_interface": None, "flashinfer": None}):
            found, notes = attention_bench.find_libraries()
        self.assertEqual(found, [])
        self.assertRegex(notes[0], "^FlashAttention-3 is not timed: ModuleNotFoundError")
        self.assertRegex(notes[1], "^FlashInfer is not timed: ModuleNotFoundError")

    def test_the_fastest_way_of_all_libraries_counts(self):
        flash = types.SimpleNamespace(
            flash_attn_with_kvcache=lambda q, k, v, cache_seqlens, causal, pack_gqa: 7.0 if pack_gqa else 9.0)

        class Wrapper:
            def __init__(self, workspace, layout, use_tensor_cores):
                self.us = 5.0 if use_tensor_cores else 8.0

            def plan(self, *arguments, **options):
                pass

            def run(self, q, cache):
                return self.us

        infer = types.SimpleNamespace(BatchDecodeWithPagedKVCacheWrapper=Wrapper)
        with mock.patch.dict(sys.modules, {"flash_attn_interface": flash, "flashinfer": infer}):
            found, notes = attention_bench.find_libraries()
        best = attention_bench.library_microseconds(self.torch, CASE, 3, found, notes)
        self.assertEqual(best, ("flashinfer tensor_cores=True", 5.0))
        self.assertEqual(attention_bench.library_microseconds(self.torch, CASE, 3, found[:1], notes),
                         ("flash_attention_3 pack_gqa=True", 7.0))
        self.assertEqual(notes, [])

    def test_a_library_that_refuses_is_noted_and_the_rest_counts(self):
        def refuse(*arguments, **options):
            raise TypeError("unexpected keyword")

        def prefill(q, k, v, causal):
            return 6.0

        flash = types.SimpleNamespace(flash_attn_with_kvcache=refuse)
        infer = types.SimpleNamespace(single_prefill_with_kv_cache=prefill)
        notes = []
        libraries = [("FlashAttention-3", flash, attention_bench.flash_attention_ways),
                     ("FlashInfer", infer, attention_bench.flashinfer_ways)]
        best = attention_bench.library_microseconds(self.torch, {**CASE, "queries": 2}, 3, libraries, notes)
        self.assertEqual(best, ("flashinfer prefill", 6.0))
        self.assertEqual(len(notes), 1)
        self.assertRegex(notes[0], "FlashAttention-3 did not take 1 x 64 tokens, 2 x 4 queries: TypeError")


if __name__ == "__main__":
    unittest.main()
