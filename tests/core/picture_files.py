"""Files that PyAV does not write: HEIC in tiles, EXR with any channels."""

import io
import struct
from fractions import Fraction

import av
import numpy as np


def box(kind, *parts):
    content = b"".join(parts)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full(kind, *parts, version=0, flags=0):
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def hevc_tiles(tiles):
    """Encode RGB tiles ``[h, w, 3]``; return the decoder's configuration and each one's bytes."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as output:
        stream = output.add_stream("libx265", rate=25)
        stream.height, stream.width = tiles[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        parameters = "lossless=1:keyint=1:log-level=none"
        stream.codec_context.options = {"x265-params": parameters}
        for tile in tiles:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(tile, "rgb24")))
        output.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory) as source:
        samples = [bytes(packet) for packet in source.demux(video=0) if packet.size]
        return box(b"hvcC", source.streams.video[0].codec_context.extradata), samples


def write_heic(path, tiles, columns, size, *, turn=0, kind=b"grid", lost=0):
    """Write tiles ``[h, w, 3]`` as one picture of `size` (w, h); `lost` tiles are not in it."""
    config, samples = hevc_tiles(tiles)
    rows = len(tiles) // columns
    grid = struct.pack(">4B2H", 0, 0, rows - 1, columns - 1, *size)
    items = range(2, 2 + len(tiles))
    kinds = [(1, kind), *((n, b"hvc1") for n in items[: len(tiles) - lost])]
    infos = [full(b"infe", struct.pack(">HH4sB", n, 0, k, 0), version=2) for n, k in kinds]
    height, width = tiles[0].shape[:2]
    properties = box(
        b"iprp",
        box(
            b"ipco",
            *(full(b"ispe", struct.pack(">2I", *size)), box(b"irot", bytes([turn]))),
            *(full(b"ispe", struct.pack(">2I", width, height)), config),
        ),
        full(b"ipma", struct.pack(">I", 1 + len(tiles)), struct.pack(">H3B", 1, 2, 1, 2),
             *(struct.pack(">H3B", n, 2, 3, 0x84) for n in items)),
    )  # fmt: skip
    references = full(b"iref", box(b"dimg", struct.pack(">HH", 1, len(tiles)),
                                   *(struct.pack(">H", n) for n in items)))  # fmt: skip

    def meta(start):
        places, at = [], start
        for n, data in enumerate([grid, *samples], 1):
            if n <= 1 + len(tiles) - lost:
                places.append(struct.pack(">HHH2I", n, 0, 1, at, len(data)))
            at += len(data)
        return full(
            b"meta",
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(">H", 1)),
            full(b"iloc", struct.pack(">HH", 0x4400, len(places)), *places),
            full(b"iinf", struct.pack(">H", len(infos)), *infos),
            *(references, properties),
        )

    head = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    start = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(start) + box(b"mdat", grid, *samples))
    return path


def write_exr(path, channels, compression=0):
    """Write an uncompressed EXR; `channels` are float16 or float32 ``[h, w]`` by name."""
    names = sorted(channels)
    height, width = channels[names[0]].shape
    lists = b"".join(
        name.encode() + b"\0" + struct.pack("<I4xII", 1 + (channels[name].itemsize == 4), 1, 1)
        for name in names
    )
    area = struct.pack("<4i", 0, 0, width - 1, height - 1)
    one = struct.pack("<f", 1)
    attributes = [
        (b"channels", b"chlist", lists + b"\0"),
        (b"compression", b"compression", bytes([compression])),
        (b"dataWindow", b"box2i", area),
        (b"displayWindow", b"box2i", area),
        (b"lineOrder", b"lineOrder", b"\0"),
        (b"pixelAspectRatio", b"float", one),
        (b"screenWindowCenter", b"v2f", bytes(8)),
        (b"screenWindowWidth", b"float", one),
    ]
    header = b"\x76\x2f\x31\x01\x02\0\0\0" + b"".join(
        name + b"\0" + kind + b"\0" + struct.pack("<I", len(value)) + value
        for name, kind, value in attributes
    )
    header += b"\0"
    lines = [b"".join(channels[name][y].tobytes() for name in names) for y in range(height)]
    first, step = len(header) + 8 * height, 8 + len(lines[0])
    table = struct.pack(f"<{height}Q", *(first + step * y for y in range(height)))
    blocks = (struct.pack("<ii", y, len(line)) + line for y, line in enumerate(lines))
    path.write_bytes(header + table + b"".join(blocks))
    return path


def write_film(path, frames, *, codec="libx264", pixels="yuv420p", rate=25, options=None, at=None,
               base=None, metadata=None, layout="rgb24", silence=0, **context):  # fmt: skip
    """Encode arrays ``[h, w, 3]``; `at`: seconds of each; `silence`: samples of sound, 8000/s."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.options = options or {}
        stream.metadata.update(metadata or {})
        base = base or 1 / Fraction(rate)
        stream.codec_context.time_base = base
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        sound = output.add_stream("aac", rate=8000, layout="mono") if silence else None
        for i, pixels_ in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels_), layout)
            frame.time_base = base
            frame.pts = i if at is None else round(at[i] / base)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, silence), np.float32), "fltp", "mono")
            tone.sample_rate = 8000
            output.mux(sound.encode(tone))
            output.mux(sound.encode(None))
    return path


def mutants(data, first, last, count=60):
    """Yield copies of a file with three of the bytes between two places changed."""
    random = np.random.default_rng(0)
    for _ in range(count):
        mutant = bytearray(data)
        for place in random.integers(first, last, 3):
            mutant[place] = random.integers(256)
        yield mutant
