#!/usr/bin/env python3
"""Trains a small language model on text found on this machine, dumps its keys, values and queries, and measures what
codecs do to its predictions.

  train_model.py --steps 6000 --out model-quality --polarkv build/release/bin/polarkv --codecs 'turbo4;turbo3'

Writes into --out: model.pt (the weights), dump.safetensors (k, v, q of held-out text, for polarkv-quality --dump) and
predictions.json: for each codec the perplexity of what follows a prefix whose cache went through `polarkv encode` and
`polarkv decode`, the KL divergence of the next byte's distribution to that with the exact cache, and the file's bits
per coordinate. Every codec is tried on a few tokens before the training. A later run with --load model.pt --steps 0
measures again without training.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time

import torch
from torch.nn import functional

from attention_model import Model, Shape
from tensor_file import read_tensors, write_tensors

TEXT_SUFFIXES = (".py", ".md", ".rst", ".txt", ".h", ".cc", ".c", ".pyi")


def note(text):
    print(text, file=sys.stderr, flush=True)


# ---- text


def read_text(folders, limit):
    """All text files below the folders in a fixed order, up to `limit` bytes; one file in 20 is held out."""
    parts, size = ([], []), 0
    paths = []
    for folder in folders:
        for root, directories, names in os.walk(folder):
            directories.sort()
            paths += [os.path.join(root, name) for name in sorted(names) if name.endswith(TEXT_SUFFIXES)]
    for index, path in enumerate(paths):
        if size >= limit:
            break
        try:
            with open(path, "rb") as file:
                data = file.read(1 << 20)
        except OSError:
            continue
        if len(data) < 512 or b"\0" in data:
            continue
        parts[1 if index % 20 == 0 else 0].append(data + b"\n")
        size += len(data)
    train, held_out = (torch.frombuffer(bytearray(b"".join(part)), dtype=torch.uint8) for part in parts)
    note(f"text: {len(train) / 1e6:.1f} MB to train on, {len(held_out) / 1e6:.1f} MB held out")
    return train, held_out


def draw(text, batch, length, generator, device):
    starts = torch.randint(0, len(text) - length - 1, (batch,), generator=generator)
    rows = torch.stack([text[start : start + length + 1] for start in starts.tolist()])
    return rows.long().to(device)


# ---- training


def train(model, text, options, device):
    generator = torch.Generator().manual_seed(options.seed)
    decayed = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.95))
    half_precision = device.type == "cuda"
    start = time.time()
    for step in range(options.steps):
        warm = min(1.0, (step + 1) / max(1, options.steps // 50))
        rate = options.rate * warm * (0.55 + 0.45 * math.cos(math.pi * step / options.steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = draw(text, options.batch, options.context, generator, device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half_precision):
            logits, _ = model(rows[:, :-1])
        loss = functional.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % max(1, options.steps // 40) == 0 or step + 1 == options.steps:
            note(f"step {step}: loss {loss.item():.3f} nats a byte, {time.time() - start:.0f} s")


# ---- what the codecs do


def metadata(shape):
    return {"rope": "half", "rope_base": repr(shape.rope_base), "rope_dims": str(shape.head_dim), "first_position": "0",
            "model": f"bytes-{shape.layers}x{shape.width}"}


def cache_of(model, tokens):
    """k and v of a prefix, [layers, kv_heads, tokens, head_dim] in float16 as an engine keeps them."""
    _, layers = model(tokens[None])
    stack = lambda index: torch.stack([layer[index][0] for layer in layers]).to(torch.float16)
    return stack(1), stack(2)


def through_codec(options, codec, k, v, shape):
    """k and v as `polarkv decode` returns them, and the bits per coordinate of the encoded file."""
    with tempfile.TemporaryDirectory() as folder:
        source, block, result = (os.path.join(folder, name) for name in ("kv.safetensors", "kv.pkv", "back.safetensors"))
        write_tensors(source, {"k": k, "v": v}, metadata(shape))
        encode = ["encode", "--codec", codec, "--in", source, "--out", block, "--block-tokens", str(options.block_tokens)]
        for arguments in (encode, ["decode", "--in", block, "--out", result]):
            subprocess.run([options.polarkv] + arguments, check=True, stdout=subprocess.DEVNULL)
        tensors = read_tensors(result)
        return tensors["k"], tensors["v"], 8 * os.path.getsize(block) / (2 * k.numel())


def integers(x, bits, dim, group):
    """Asymmetric integers with fp16 minimum and step for groups along a dimension, as in KIVI; and bits a coordinate."""
    pieces, parameters = [], 0
    for piece in x.float().split(group, dim):
        low, high = piece.amin(dim, keepdim=True), piece.amax(dim, keepdim=True)
        low16, step = low.half().float(), ((high - low) / (2**bits - 1)).half().float()
        codes = ((piece - low16) / step.clamp_min(1e-12)).round().clamp(0, 2**bits - 1)
        pieces.append(codes * step + low16)
        parameters += low.numel()
    return torch.cat(pieces, dim), bits + 32 * parameters / x.numel()


def through(options, codec, k, v, shape):
    if codec == "exact":
        return k.float(), v.float(), 16.0
    if codec.startswith("kivi"):
        bits = int(codec[4:])
        (k_back, k_bits), (v_back, v_bits) = integers(k, bits, 2, 128), integers(v, bits, 3, 128)
        return k_back, v_back, (k_bits + v_bits) / 2
    return through_codec(options, codec, k, v, shape)


def codec_names(options):
    return ["exact"] + [name for name in options.codecs.split(";") if name]


def check_codecs(options, shape):
    """Ends the program if a codec does not exist or fails: better now than after the training."""
    generator = torch.Generator().manual_seed(options.seed)
    k, v = torch.randn((2, shape.layers, shape.kv_heads, 64, shape.head_dim), generator=generator).half()
    for codec in codec_names(options):
        try:
            through(options, codec, k, v, shape)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            sys.exit(f"--codecs: '{codec}' failed on 64 random tokens ({error}). Names are separated by semicolons, for a "
                     "comma may be part of one: 'turbo4;k=polar44,v=turbo3'")


@torch.no_grad()
def predictions(model, held_out, options, device):
    """Perplexity and KL of the bytes after a prefix, for each codec, over several prefixes."""
    generator = torch.Generator().manual_seed(options.seed + 1)
    shape, prefix = model.shape, options.prefix
    codecs = codec_names(options)
    sums = {codec: {"loss": 0.0, "kl": 0.0, "bits": 0.0, "top1": 0.0} for codec in codecs}
    for sample in range(options.samples):
        tokens = draw(held_out, 1, prefix + options.suffix, generator, device)[0]
        k, v = cache_of(model, tokens[:prefix])
        exact = None
        for codec in codecs:
            k_back, v_back, bits = through(options, codec, k.cpu(), v.cpu(), shape)
            cache = [(k_back[layer][None].to(device), v_back[layer][None].to(device)) for layer in range(shape.layers)]
            logits, _ = model(tokens[None, prefix:-1], prefix, cache)
            log_p = logits[0].float().log_softmax(-1)
            exact = log_p if exact is None else exact
            total = sums[codec]
            total["loss"] += functional.nll_loss(log_p, tokens[prefix + 1 :]).item()
            total["kl"] += (exact.exp() * (exact - log_p)).sum(-1).mean().item()
            total["top1"] += (exact.argmax(-1) == log_p.argmax(-1)).float().mean().item()
            total["bits"] += bits
        note(f"predictions: prefix {sample + 1} of {options.samples}")
    results = []
    for codec, total in sums.items():
        mean = {key: value / options.samples for key, value in total.items()}
        results.append({"codec": codec, "bits": mean["bits"], "perplexity_per_byte": math.exp(mean["loss"]),
                        "next_byte_kl": mean["kl"], "next_byte_top1": mean["top1"]})
    return results


@torch.no_grad()
def dump(model, held_out, options, device, path):
    """k, v of as many tokens as fit into the limit, and q of the 32 positions after them."""
    shape, queries = model.shape, 32
    per_token = 2 * 2 * shape.layers * shape.kv_heads * shape.head_dim
    fixed = 2 * shape.layers * shape.q_heads * queries * shape.head_dim + 4096
    tokens = min(options.context - queries, (options.dump_bytes - fixed) // per_token // 64 * 64)
    if tokens < 64:
        sys.exit(f"--dump-bytes {options.dump_bytes} has no room for 64 tokens of {per_token} bytes")
    generator = torch.Generator().manual_seed(options.seed + 2)
    _, layers = model(draw(held_out, 1, tokens + queries - 1, generator, device))
    stack = lambda index, part: torch.stack([layer[index][0][:, part] for layer in layers]).half()
    before, after = slice(0, tokens), slice(tokens, tokens + queries)
    write_tensors(path, {"k": stack(1, before), "v": stack(2, before), "q": stack(0, after)}, metadata(shape))
    note(f"{path}: {tokens} tokens, {os.path.getsize(path) / 2**20:.2f} MiB")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--out", default="model-quality", help="folder of the results")
    add("--steps", type=int, default=6000, help="training steps; 0 with --load")
    add("--batch", type=int, default=32, help="sequences of a step")
    add("--context", type=int, default=1024, help="bytes of a sequence")
    add("--rate", type=float, default=1e-3, help="largest learning rate")
    add("--seed", type=int, default=1)
    add("--key-bias", type=float, default=0, help="norm that every head's key bias starts with, on four RoPE pairs")
    for name in ("layers", "width", "q_heads", "kv_heads", "head_dim", "hidden"):
        add("--" + name.replace("_", "-"), type=int, default=getattr(Shape, name), help="of the model")
    add("--text", action="append", help="folder of text to train on, may be repeated (default: Python's libraries)")
    add("--text-bytes", type=int, default=150_000_000, help="read at most this much text")
    add("--load", help="weights of an earlier run")
    add("--polarkv", default="build/release/bin/polarkv", help="the program that encodes and decodes")
    add("--codecs", default="turbo4;turbo3;turbo2;polar44;kivi4;kivi2",
        help="codecs of --polarkv with semicolons between them; kivi4 and kivi2 are computed here")
    add("--block-tokens", type=int, default=512)
    add("--prefix", type=int, default=768, help="bytes whose cache goes through the codec")
    add("--suffix", type=int, default=256, help="bytes predicted after them")
    add("--samples", type=int, default=32, help="prefixes")
    add("--dump-bytes", type=int, default=8 << 20, help="largest size of dump.safetensors")
    return parser.parse_args()


def main():
    options = parse()
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = Shape(options.layers, options.width, options.q_heads, options.kv_heads, options.head_dim, options.hidden)
    check_codecs(options, shape)
    folders = options.text or sorted({os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(torch.__file__))})
    text, held_out = read_text(folders, options.text_bytes)
    if min(len(text), len(held_out)) <= max(options.context, options.prefix + options.suffix) + 1:
        sys.exit("too little text below " + ", ".join(folders) + "; name other folders (--text)")
    model = Model(shape).to(device)
    if options.key_bias:
        model.set_key_bias(options.key_bias)
    if options.load:
        model.load_state_dict(torch.load(options.load, map_location=device))
    note(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters on {device}")
    os.makedirs(options.out, exist_ok=True)
    if options.steps:
        train(model, text, options, device)
        torch.save(model.state_dict(), os.path.join(options.out, "model.pt"))
    model.eval()
    norms = [[round(head.norm().item(), 1) for head in layer.attention.k.bias.view(shape.kv_heads, -1)]
             for layer in model.layers]
    dump(model, held_out, options, device, os.path.join(options.out, "dump.safetensors"))
    report = {"steps": options.steps, "parameters": sum(p.numel() for p in model.parameters()),
              "key_bias_norms": norms, "prefix": options.prefix, "suffix": options.suffix, "samples": options.samples,
              "predictions": predictions(model, held_out, options, device)}
    with open(os.path.join(options.out, "predictions.json"), "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
    print("| codec | bits | perplexity a byte | KL of the next byte | top-1 % |\n|---|---:|---:|---:|---:|")
    for row in report["predictions"]:
        print(f"| {row['codec']} | {row['bits']:.3f} | {row['perplexity_per_byte']:.4f} | {row['next_byte_kl']:.2e} | "
              f"{100 * row['next_byte_top1']:.1f} |")


if __name__ == "__main__":
    main()
