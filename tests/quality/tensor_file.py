"""Safetensors files of F16 and F32 tensors, without the library: what `polarkv encode` reads and `polarkv decode` writes."""

import json
import struct

import torch

_DTYPES = {"F16": torch.float16, "F32": torch.float32}


def write_tensors(path, tensors, metadata):
    """Writes a dict of float16 and float32 tensors and a dict of strings."""
    header, offset = {"__metadata__": metadata}, 0
    for name, tensor in tensors.items():
        dtype = next(key for key, value in _DTYPES.items() if value == tensor.dtype)
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for tensor in tensors.values():
            file.write(tensor.detach().cpu().contiguous().numpy().tobytes())


def read_tensors(path):
    """Returns the tensors of a file as a dict of float32 tensors."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(data[begin:end], dtype=_DTYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"]).float()
    return tensors
