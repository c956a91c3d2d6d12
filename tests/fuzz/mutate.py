"""Damage to files, drawn from a seed: bytes, blocks, numbers, and the texts inside model files."""

import json
import struct
from random import Random

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
VALUES = (
    *(None, True, "", "x", [], {}, [[]], -1, 0, 1, 2, 7, 10**9, 10**30, 0.5, -0.0),
    *(float("nan"), float("inf"), "\0", [0] * 100, {"a": {}}),
)
MOST = 6
"""Mutations of one file."""


def mutate(data: bytes, random: Random, *, head: int = 512) -> bytes:
    """Return damaged bytes; half of the damage falls on the first `head` of them."""
    out = bytearray(data)
    for _ in range(random.randint(1, MOST)):
        random.choice(BYTE_MUTATIONS)(out, _place(out, random, head), random)
    return bytes(out)


def _place(data: bytearray, random: Random, head: int) -> int:
    end = min(head, len(data)) if random.random() < 0.5 else len(data)
    return random.randrange(max(1, end))


def flip(data: bytearray, at: int, random: Random) -> None:
    if data:
        data[at] ^= 1 << random.randrange(8)


def overwrite(data: bytearray, at: int, random: Random) -> None:
    data[at : at + 1] = bytes([random.choice(EXTREMES) & 0xFF])


def number(data: bytearray, at: int, random: Random) -> None:
    order, size = random.choice("<>"), random.choice("BHI")
    value = random.choice(EXTREMES) & (256 ** struct.calcsize(size) - 1)
    packed = struct.pack(order + size, value)
    data[at : at + len(packed)] = packed


def noise(data: bytearray, at: int, random: Random) -> None:
    length = random.randint(1, 64)
    data[at : at + length] = random.randbytes(length)


def zeros(data: bytearray, at: int, random: Random) -> None:
    length = random.choice((4, 64, 4096))
    data[at : at + length] = bytes(min(length, len(data) - at))


def cut(data: bytearray, at: int, random: Random) -> None:
    del data[at : at + random.choice((1, 4, 64, 1024))]


def truncate(data: bytearray, at: int, random: Random) -> None:
    del data[at:]


def repeat(data: bytearray, at: int, random: Random) -> None:
    data[at:at] = data[at : at + random.choice((4, 64, 1024))]


def move(data: bytearray, at: int, random: Random) -> None:
    other = random.randrange(max(1, len(data)))
    data[at : at + 64] = data[other : other + 64]


BYTE_MUTATIONS = (flip, flip, overwrite, number, number, noise, zeros, cut, truncate, repeat, move)


def mutate_json(text: str, random: Random) -> str:
    """Return JSON with other values, or hardly JSON any more."""
    if random.random() < 0.15:
        return random.choice(("[" * 50_000, '{"a":' * 50_000, "", "null", text[: len(text) // 2]))
    values = json.loads(text)
    for _ in range(random.randint(1, 3)):
        _change(values, random)
    return json.dumps(values)


def _change(values, random: Random) -> None:
    """Change one value somewhere inside; take one away or add one, at times."""
    while isinstance(values, dict | list) and values:
        keys = list(values) if isinstance(values, dict) else range(len(values))
        key = random.choice(list(keys))
        if isinstance(values[key], dict | list) and values[key] and random.random() < 0.7:
            values = values[key]
            continue
        action = random.random()
        if action < 0.1:
            del values[key]
        elif action < 0.2 and isinstance(values, dict):
            values[random.choice(("more", key + "_", ""))] = random.choice(VALUES)
        elif type(values[key]) is int and action < 0.6:
            values[key] = values[key] + random.choice((-1, 1)) * random.choice((1, 8, 10**6, 10**9))
        else:
            values[key] = random.choice(VALUES)
        return


def mutate_safetensors(data: bytes, random: Random) -> bytes:
    """Return a safetensors file whose config, header, or bytes are others."""
    (length,) = struct.unpack("<Q", data[:8])
    kind = random.random()
    if kind < 0.3:
        return mutate(data, random, head=length + 8)
    header = json.loads(data[8 : 8 + length])
    metadata = header.get("__metadata__", {})
    texts = [key for key, value in metadata.items() if value.startswith("{")]
    if texts and kind < 0.8:
        key = random.choice(texts)
        metadata[key] = mutate_json(metadata[key], random)
        text = json.dumps(header)
    elif kind < 0.9:
        text = _with_names(header, random)
    else:
        text = mutate_json(json.dumps(header), random)
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded + data[8 + length :]


def _with_names(header: dict, random: Random) -> str:
    """Rename, exchange or retype tensors, so that the file is sound and its model is not."""
    names = [name for name in header if name != "__metadata__"]
    one, other = random.choice(names), random.choice(names)
    action = random.randrange(4)
    if action == 0:
        header[random.choice(("x", "", one + ".0", "blocks.999999999.x"))] = header.pop(one)
    elif action == 1:
        header[one], header[other] = header[other], header[one]
    elif action == 2:
        types = {4: ("F32", "I32", "U32"), 2: ("F16", "BF16", "I16"), 1: ("F8_E4M3", "I8", "BOOL")}
        shape = header[one]["shape"]
        begin, end = header[one]["data_offsets"]
        count = 1
        for side in shape:
            count *= side
        size = (end - begin) // max(1, count)
        header[one]["dtype"] = random.choice(types.get(size, ("F64", "I64")))
    else:
        header[one]["shape"] = random.choice(
            ([], list(reversed(header[one]["shape"])), [*header[one]["shape"], 1])
        )
    return json.dumps(header)
