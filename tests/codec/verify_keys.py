"""Recomputes the test vectors of FORMAT.md, with nothing but that text's rules. Usage: verify_keys.py codec/FORMAT.md"""
import hashlib
import json
import re
import struct
import sys

document = open(sys.argv[1]).read()
CODECS = {name: int(number) for number, name in re.findall(r"^\| (\d+) \| `([^`]*)` \| K", document, re.M)}
text = lambda s: struct.pack("<Q", len(s.encode())) + s.encode()
sha256 = lambda data: hashlib.sha256(data).digest()


def canonical(d):
    texts = [d[f] for f in ("name", "tenant", "model", "weights_digest", "tokenizer_digest")]
    out = text("polarkv.namespace.1") + b"".join(map(text, texts))
    out += struct.pack("<IIIBfH", *(d[f] for f in ("layers", "kv_heads", "head_dim", "rope_pairing", "rope_base", "rope_dims")))
    out += text(d["rope_scaling"]) + struct.pack("<BII", d["source_dtype"], d["block_tokens"], d["shards"])
    out += bytes([CODECS[d["k_codec"]], CODECS[d["v_codec"]]]) + struct.pack("<Q", d["rotation_seed"])
    return out + bytes.fromhex(d["profile_digest"])


def check(what, computed, published):
    assert computed.hex() == published, f"{what}: computed {computed.hex()}, published {published}"


vectors = json.loads(re.search(r"```json\n(.*?)```", document, re.S).group(1))
for namespace in vectors["namespaces"]:
    check("canonical bytes", canonical(namespace["descriptor"]), namespace["canonical"])
    check("fingerprint", sha256(canonical(namespace["descriptor"])), namespace["fingerprint"])
for chain in vectors["chains"]:
    key = sha256(text("polarkv.chain.1") + bytes.fromhex(chain["fingerprint"]) + text(chain["salt"]))
    check("root key", key, chain["root"])
    for block in chain["blocks"]:
        ids = range(block["tokens"][0], block["tokens"][1] + 1)
        key = sha256(text("polarkv.block.1") + key + struct.pack(f"<Q{len(ids)}i", len(ids), *ids) + text(block["extra"]))
        check("block key", key, block["key"])
for shard in vectors["shards"]:
    key = text("polarkv.shard.1") + bytes.fromhex(shard["chain_key"]) + struct.pack("<II", shard["shard"], shard["shards"])
    check("shard key", sha256(key) if shard["shards"] > 1 else bytes.fromhex(shard["chain_key"]), shard["key"])
print(len(vectors["namespaces"]), "namespaces,", len(vectors["chains"]), "chains,", len(vectors["shards"]), "shard keys verified")
