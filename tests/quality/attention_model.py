"""A byte-level language model with the attention of Qwen2: RoPE on half-split pairs, grouped queries, biases in the
projections of q, k and v and nowhere else, RMS norms, SwiGLU. The cache of a prefix goes in and out as tensors."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass
class Shape:
    layers: int = 8
    width: int = 512
    q_heads: int = 8
    kv_heads: int = 2
    head_dim: int = 128
    hidden: int = 1536
    rope_base: float = 1e6
    vocabulary: int = 256


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        scale = torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
        return (x.float() * scale).to(x.dtype) * self.weight


def rope_angles(positions, shape):
    """cos and sin, [positions, head_dim / 2]."""
    frequency = shape.rope_base ** (-torch.arange(0, shape.head_dim, 2, device=positions.device) / shape.head_dim)
    angles = positions[:, None].float() * frequency[None].float()
    return angles.cos(), angles.sin()


def turn(x, angles):
    """Applies RoPE to [batch, heads, positions, head_dim]."""
    cos, sin = angles
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.width, shape.q_heads * shape.head_dim, bias=True)
        self.k = nn.Linear(shape.width, shape.kv_heads * shape.head_dim, bias=True)
        self.v = nn.Linear(shape.width, shape.kv_heads * shape.head_dim, bias=True)
        self.o = nn.Linear(shape.q_heads * shape.head_dim, shape.width, bias=False)

    def forward(self, x, angles, cache):
        """`cache`: (k, v) of earlier positions, [batch, kv_heads, positions, head_dim] each, or None.
        Returns the output, and q, k, v of these positions after RoPE."""
        batch, length, _ = x.shape
        heads = lambda y, count: y.view(batch, length, count, self.shape.head_dim).transpose(1, 2)
        q = turn(heads(self.q(x), self.shape.q_heads), angles)
        k = turn(heads(self.k(x), self.shape.kv_heads), angles)
        v = heads(self.v(x), self.shape.kv_heads)
        all_k, all_v = k, v
        if cache is not None:
            all_k = torch.cat((cache[0].to(k.dtype), k), dim=2)
            all_v = torch.cat((cache[1].to(v.dtype), v), dim=2)
        group = self.shape.q_heads // self.shape.kv_heads
        keys, values = all_k.repeat_interleave(group, 1), all_v.repeat_interleave(group, 1)
        earlier = all_k.shape[2] - length
        mask = torch.ones(length, all_k.shape[2], dtype=torch.bool, device=x.device).tril(earlier)
        logits = (q @ keys.transpose(-1, -2)).float() / math.sqrt(self.shape.head_dim)
        weights = logits.masked_fill(~mask, float("-inf")).softmax(-1).to(values.dtype)
        out = (weights @ values).transpose(1, 2).reshape(batch, length, -1)
        return self.o(out), (q, k, v)


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.before_attention, self.before_hidden = RmsNorm(shape.width), RmsNorm(shape.width)
        self.attention = Attention(shape)
        self.gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x, angles, cache):
        attended, qkv = self.attention(self.before_attention(x), angles, cache)
        x = x + attended
        y = self.before_hidden(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y)), qkv


class Model(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = RmsNorm(shape.width)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens, first_position=0, cache=None):
        """Logits [batch, length, vocabulary], and (q, k, v) of each layer. `cache`: a (k, v) for each layer, or None."""
        positions = torch.arange(first_position, first_position + tokens.shape[1], device=tokens.device)
        angles = rope_angles(positions, self.shape)
        x, layers = self.embedding(tokens), []
        for index, layer in enumerate(self.layers):
            x, qkv = layer(x, angles, None if cache is None else cache[index])
            layers.append(qkv)
        return functional.linear(self.norm(x), self.embedding.weight), layers

    def set_key_bias(self, norm):
        """Starts every head's key bias at a vector of that norm on four RoPE pairs, with random phases."""
        half = self.shape.head_dim // 2
        pairs = torch.tensor([3, 20, 40, 60]) * half // 64
        for layer in self.layers:
            bias = layer.attention.k.bias.data.view(self.shape.kv_heads, self.shape.head_dim)
            phase = 2 * math.pi * torch.rand(self.shape.kv_heads, 4, device=bias.device)
            bias[:, pairs] = norm / 2 * phase.cos()
            bias[:, pairs + half] = norm / 2 * phase.sin()
