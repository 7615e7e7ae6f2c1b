#!/usr/bin/env python3
"""Attention on compressed blocks against PyTorch's fastest bf16 attention on the same shapes, in one run.

usage: attention_bench.py [--bench PATH/cuda_attention_bench] [--rounds N] [--json FILE]

Needs a CUDA device; the rivals need PyTorch and are left out, with a note, where it is not found. Prints a Markdown table;
--json writes the cases to a file, too.
"""
import argparse
import json
import math
import subprocess
import sys


def rival_microseconds(torch, case, rounds):
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
                    times = []
                    for i in range(rounds + 3):
                        flush.fill_(i % 256)
                        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                        begin.record()
                        attention(q, k, v, **options)
                        end.record()
                        end.synchronize()
                        times.append(begin.elapsed_time(end) * 1000)
            except RuntimeError:
                continue  # this backend does not take the shape
            median = sorted(times[3:])[rounds // 2]
            if median < best[1]:
                best = (f"{backend.name.lower()} {name}", median)
    return best


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
        print("PyTorch is not installed: no rivals\n")
    rivals, cases = {}, []
    print("| sequences x tokens x KV heads | queries x group | codec, K and V bits read | us | GB/s | of copy | rival | us | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for line in run.stdout.splitlines():
        case = json.loads(line)
        shape = tuple(case[name] for name in ("sequences", "tokens", "kv_heads", "group", "queries"))
        if torch and shape not in rivals:
            rivals[shape] = rival_microseconds(torch, case, options.rounds)
        name, rival = rivals.get(shape, ("", float("nan")))
        print(f"| {case['sequences']} x {case['tokens']} x {case['kv_heads']} | {case['queries']} x {case['group']} | "
              f"{case['codec']} {case['key_bits']}, {case['value_bits']} | {case['us']:.1f} | {case['gb_per_s']:.0f} | "
              f"{case['of_copy']:.2f} | {name} | {rival:.1f} | {rival / case['us']:.2f} |")
        cases.append({**case, "rival": name, "rival_us": rival if math.isfinite(rival) else None})
    if options.json:
        with open(options.json, "w") as file:
            json.dump(cases, file, indent=1)


if __name__ == "__main__":
    main()
