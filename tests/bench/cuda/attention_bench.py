#!/usr/bin/env python3
"""Attention on compressed blocks against the fastest bf16 attention on the same shapes of PyTorch and, where they are
installed, FlashAttention-3 and FlashInfer; scores of keys alone against PyTorch's fastest fp32 product of the keys with
the queries; all in one run.

usage: attention_bench.py [--bench PATH/cuda_attention_bench] [--rounds N] [--json FILE]

Needs a CUDA device; the rivals need PyTorch and are left out, with a note, where it is not found; so is each of the others.
Prints a Markdown table; --json writes the cases to a file, too. Shares are of what a kernel reads that does nothing else
("of read"), and of what a copy reads and writes ("of copy").
"""
import argparse
import importlib
import json
import math
import subprocess
import sys


def pytorch_microseconds(torch, case, rounds):
    """The fastest of PyTorch's attention backends; name and median."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    shape = (case["sequences"], case["kv_heads"], case["tokens"], 128)
    heads, rows = case["kv_heads"], case["group"] * case["queries"]
    k = torch.randn(shape, dtype=torch.bfloat16, device="cuda")
    v = torch.randn(shape, dtype=torch.bfloat16, device="cuda")
    # All rows of a KV head as queries of one head: without a causal mask the same sum, and the rival's best case.
    packed = torch.randn((case["sequences"], heads, rows, 128), dtype=torch.bfloat16, device="cuda")
    grouped = torch.randn((case["sequences"], heads * case["group"], case["queries"], 128), dtype=torch.bfloat16,
                          device="cuda")
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    best = ("none", float("inf"))
    attention = torch.nn.functional.scaled_dot_product_attention
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION,
                    SDPBackend.MATH):
        for name, q, options in (("packed", packed, {}), ("gqa", grouped, {"enable_gqa": True})):
            try:
                with sdpa_kernel(backend):
                    median = median_microseconds(torch, flush, rounds, lambda: attention(q, k, v, **options))
            except RuntimeError:
                continue  # this backend does not take the shape
            if median < best[1]:
                best = (f"{backend.name.lower()} {name}", median)
    return best


def median_microseconds(torch, flush, rounds, work):
    times = []
    for i in range(rounds + 3):
        flush.fill_(i % 256)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1000)
    return sorted(times[3:])[rounds // 2]


def flash_attention_ways(torch, library, case):
    """FlashAttention-3's kernel for a cache; it splits the sequence as it thinks best."""
    q, k, v = (torch.randn((case["sequences"], tokens, heads, 128), dtype=torch.bfloat16, device="cuda")
               for tokens, heads in ((case["queries"], case["kv_heads"] * case["group"]),
                                     (case["tokens"], case["kv_heads"]), (case["tokens"], case["kv_heads"])))
    lengths = torch.full((case["sequences"],), case["tokens"], dtype=torch.int32, device="cuda")
    return {f"flash_attention_3 pack_gqa={pack}":
            lambda pack=pack: library.flash_attn_with_kvcache(q, k, v, cache_seqlens=lengths, causal=False, pack_gqa=pack)
            for pack in (False, True)}


def flashinfer_ways(torch, library, case):
    """FlashInfer on pages of 16 tokens, planned before it is timed; several queries as a prefill without a mask."""
    sequences, heads, kv_heads = case["sequences"], case["kv_heads"] * case["group"], case["kv_heads"]
    if case["queries"] > 1 and sequences == 1:
        q, k, v = (torch.randn((tokens, count, 128), dtype=torch.bfloat16, device="cuda")
                   for tokens, count in ((case["queries"], heads), (case["tokens"], kv_heads), (case["tokens"], kv_heads)))
        return {"flashinfer prefill": lambda: library.single_prefill_with_kv_cache(q, k, v, causal=False)}
    if case["queries"] > 1:
        raise ValueError("several queries of several sequences are not timed here")
    pages = case["tokens"] // 16
    cache = torch.randn((sequences * pages, 2, 16, kv_heads, 128), dtype=torch.bfloat16, device="cuda")
    q = torch.randn((sequences, heads, 128), dtype=torch.bfloat16, device="cuda")
    ways = {}
    for tensor_cores in (False, True):
        wrapper = library.BatchDecodeWithPagedKVCacheWrapper(
            torch.zeros(256 << 20, dtype=torch.uint8, device="cuda"), "NHD", use_tensor_cores=tensor_cores)
        first = torch.arange(sequences + 1, dtype=torch.int32, device="cuda") * pages
        table = torch.randperm(sequences * pages, device="cuda").to(torch.int32)
        full = torch.full((sequences,), 16, dtype=torch.int32, device="cuda")
        wrapper.plan(first, table, full, heads, kv_heads, 128, 16, q_data_type=torch.bfloat16,
                     kv_data_type=torch.bfloat16)
        ways[f"flashinfer tensor_cores={tensor_cores}"] = lambda wrapper=wrapper: wrapper.run(q, cache)
    return ways


# What else is timed where it is installed: title, module, ways to attend.
LIBRARIES = (("FlashAttention-3", "flash_attn_interface", flash_attention_ways), ("FlashInfer", "flashinfer", flashinfer_ways))


def find_libraries():
    """Those that can be imported, and a note of each that cannot."""
    found, notes = [], []
    for title, module, ways in LIBRARIES:
        try:
            found.append((title, importlib.import_module(module), ways))
        except Exception as error:  # pylint: disable=broad-except: a library that is broken must not end the run
            notes.append(f"{title} is not timed: {type(error).__name__}: {error}")
    return found, notes


def library_microseconds(torch, case, rounds, libraries, notes):
    """The fastest way of all libraries; name and median. What a library does not take is noted."""
    best = ("none", float("inf"))
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    for title, library, ways in libraries:
        try:
            for name, work in ways(torch, library, case).items():
                median = median_microseconds(torch, flush, rounds, work)
                best = min(best, (name, median), key=lambda timed: timed[1])
        except Exception as error:  # pylint: disable=broad-except: other versions take other arguments
            notes.append(f"{title} did not take {case['sequences']} x {case['tokens']} tokens, {case['queries']} x "
                         f"{case['group']} queries: {type(error).__name__}: {error}")
    return best


def rival_microseconds(torch, case, rounds, libraries, notes):
    if case["scores_alone"]:
        return score_rival_microseconds(torch, case, rounds)
    return min(pytorch_microseconds(torch, case, rounds), library_microseconds(torch, case, rounds, libraries, notes),
               key=lambda timed: timed[1])


def score_rival_microseconds(torch, case, rounds):
    """The fastest fp32 product of all keys with a KV head's queries, without TF32; name and median."""
    torch.backends.cuda.matmul.allow_tf32 = False
    heads, rows = case["sequences"] * case["kv_heads"], case["group"] * case["queries"]
    k = torch.randn((heads, case["tokens"], 128), device="cuda")
    q = torch.randn((heads, 128, rows), device="cuda")
    flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
    out = torch.empty((heads, case["tokens"], rows), device="cuda")
    out_t = torch.empty((heads, rows, case["tokens"]), device="cuda")
    q_t, k_t = q.transpose(1, 2).contiguous(), k.transpose(1, 2)
    ways = {"fp32 bmm(k, q)": lambda: torch.bmm(k, q, out=out), "fp32 bmm(q, k')": lambda: torch.bmm(q_t, k_t, out=out_t)}
    if rows == 1:
        ways["fp32 mv"] = lambda: [torch.mv(k[h], q[h, :, 0], out=out[h, :, 0]) for h in range(heads)]
    return min(((name, median_microseconds(torch, flush, rounds, work)) for name, work in ways.items()),
               key=lambda timed: timed[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default="build/release/bin/cuda_attention_bench")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json")
    options = parser.parse_args()
    run = subprocess.run([options.bench, "--rounds", str(options.rounds)], stdout=subprocess.PIPE, text=True)
    if run.returncode != 0:
        sys.exit(run.returncode)
    try:
        import torch
        print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}\n")
    except ImportError:
        torch = None
        print("PyTorch is not installed: no rivals, FlashAttention-3 and FlashInfer neither\n")
    libraries, notes = find_libraries() if torch else ([], [])
    rivals, cases = {}, []
    print("| sequences x tokens x KV heads | queries x group | codec, K and V bits read | us | GB/s | of read | of copy | rival | us | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for line in run.stdout.splitlines():
        case = json.loads(line)
        shape = tuple(case[name] for name in ("scores_alone", "sequences", "tokens", "kv_heads", "group", "queries"))
        if torch and shape not in rivals:
            rivals[shape] = rival_microseconds(torch, case, options.rounds, libraries, notes)
        name, rival = rivals.get(shape, ("", float("nan")))
        read = f"{case['key_bits']}, scores alone" if case["scores_alone"] else f"{case['key_bits']}, {case['value_bits']}"
        read += ", key means" if case["key_means"] else ""
        print(f"| {case['sequences']} x {case['tokens']} x {case['kv_heads']} | {case['queries']} x {case['group']} | "
              f"{case['codec']} {read} | {case['us']:.1f} | {case['gb_per_s']:.0f} | "
              f"{case['of_read']:.2f} | {case['of_copy']:.2f} | {name} | {rival:.1f} | {rival / case['us']:.2f} |")
        cases.append({**case, "rival": name, "rival_us": rival if math.isfinite(rival) else None})
    print("".join(f"\n{note}" for note in notes))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(cases, file, indent=1)


if __name__ == "__main__":
    main()
