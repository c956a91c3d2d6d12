"""Write both views into one HEIC file with a stereo pair group, as Apple's spatial photographs.

ISO/IEC 23008-12: two coded items of HEVC, and the entity group "ster", whose first one is the left
view. Each has the camera's intrinsic and extrinsic matrix, which tell a headset how wide the scene
is and how far the cameras were apart.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from math import radians, tan
from pathlib import Path
from typing import cast

import av
import torch
from av import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from torch import Tensor
from torch.nn import functional as F

from .boxes import Boxes
from .exif import CameraData
from .mark import NAME
from .source import VideoError

FIELD_OF_VIEW = 60.0
"""Degrees across; a photograph's own is seldom known."""
_BASELINE_UM = 63500  # between an adult's eyes
_CRF = "16"
_SHIFT = 16  # fractional bits of the intrinsic matrix
_LEFT, _RIGHT, _EXIF, _GROUP = 1, 2, 3, 100
_MOST = 16384


def write_spatial_photo(path: Path, left: Tensor, right: Tensor, camera: CameraData) -> None:
    """Write a HEIC of two views `[3, H, W]` in [0, 1]; an odd size grows by a row or a column.

    Raises:
        VideoError: the views are too large, or this PyAV has no encoder for HEVC.
    """
    height, width = left.shape[-2:]
    if max(height, width) > _MOST:
        raise VideoError(f"{path}: HEVC holds up to {_MOST} pixels, got {width}x{height}")
    coded = [_encode(view, path) for view in (left, right)]
    width, height = width + width % 2, height + height % 2
    exif = b"\0\0\0\6Exif\0\0" + camera.exif if camera.exif else b""
    data = [coded[0][1], coded[1][1], *([exif] if exif else [])]
    head = _box(b"ftyp", b"heic", bytes(4), b"mif1", b"heic", b"MiHE", b"miaf")
    # The places of the data depend on the size of the tables, which does not depend on them.
    size = len(_meta((width, height), [c for c, _ in coded], [(0, len(d)) for d in data]))
    places, at = [], len(head) + size + 8
    for part in data:
        places.append((at, len(part)))
        at += len(part)
    meta = _meta((width, height), [c for c, _ in coded], places)
    mark = _box(b"free", NAME.encode())
    path.write_bytes(head + meta + _box(b"mdat", *data) + mark)


def _encode(view: Tensor, path: Path) -> tuple[bytes, bytes]:
    """Return a view's decoder configuration (hvcC) and its coded picture."""
    height, width = view.shape[-2:]
    padded = F.pad(view[None], (0, width % 2, 0, height % 2), mode="replicate")[0]
    levels = padded.detach().to("cpu", torch.float32).clamp(0, 1).mul(255).round().byte()
    frame = VideoFrame.from_ndarray(levels.movedim(0, -1).contiguous().numpy(), "rgb24")
    frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601,
                           dst_color_range=ColorRange.JPEG)  # fmt: skip
    buffer = BytesIO()
    options = {"crf": _CRF, "x265-params": "log-level=none:info=0:range=full:colorprim=bt709:"
               "transfer=iec61966-2-1:colormatrix=smpte170m", "tag": "hvc1"}  # fmt: skip
    try:
        with av.open(buffer, "w", format="mp4") as output:
            stream = cast(VideoStream, output.add_stream("libx265", rate=1, options=options))
            stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            stream.codec_context.codec_tag = "hvc1"
            frame.time_base, frame.pts = Fraction(1), 0
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
    except ValueError as error:
        raise VideoError(f"{path}: this PyAV cannot encode HEVC ({error})") from error
    moov = Boxes(buffer.getvalue()).child(b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
    assert moov is not None
    entry = Boxes(moov.data[8:]).child(b"hvc1")
    assert entry is not None
    configuration = Boxes(entry.data[78:]).child(b"hvcC")
    assert configuration is not None
    buffer.seek(0)
    with av.open(buffer) as written:
        packets = [bytes(packet) for packet in written.demux(video=0) if packet.size]
    return configuration.data, b"".join(packets)


def _meta(
    size: tuple[int, int], configurations: Sequence[bytes], places: Sequence[tuple[int, int]]
) -> bytes:
    """Return the tables of a file: which items there are, what they are like, where they lie."""
    items = [_item(_LEFT, b"hvc1"), _item(_RIGHT, b"hvc1")]
    references = b""
    if len(places) > 2:
        items.append(_item(_EXIF, b"Exif", hidden=True))
        # "cdsc": this item describes those.
        of = struct.pack(">HHHH", _EXIF, 2, _LEFT, _RIGHT)
        references = _full(b"iref", 0, 0, _box(b"cdsc", of))
    ids = (_LEFT, _RIGHT, _EXIF)
    located = b"".join(
        struct.pack(">HHHII", item, 0, 1, *place)
        for item, place in zip(ids[: len(places)], places, strict=True)
    )
    return _full(
        b"meta", 0, 0,
        _full(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
        _full(b"pitm", 0, 0, struct.pack(">H", _LEFT)),
        _full(b"iinf", 0, 0, struct.pack(">H", len(items)), *items),
        references,
        _full(b"iloc", 0, 0, b"\x44\0", struct.pack(">H", len(places)), located),
        _properties(size, configurations),
        _box(b"grpl", _full(b"ster", 0, 0, struct.pack(">IIII", _GROUP, 2, _LEFT, _RIGHT))),
    )  # fmt: skip


def _properties(size: tuple[int, int], configurations: Sequence[bytes]) -> bytes:
    width, height = size
    properties = [
        *(_box(b"hvcC", configuration) for configuration in configurations),
        _full(b"ispe", 0, 0, struct.pack(">II", width, height)),
        _box(b"colr", b"nclx", struct.pack(">HHHB", 1, 13, 6, 0x80)),  # BT.709, sRGB, BT.601, full
        _full(b"pixi", 0, 0, b"\3\x08\x08\x08"),
        _intrinsics(),
        _extrinsics(0),
        _extrinsics(_BASELINE_UM),
    ]
    left, right = ((1, 3, 4, 5, 6, 7), (2, 3, 4, 5, 6, 8))
    essential = {1, 2}
    entries = b""
    for item, numbers in ((_LEFT, left), (_RIGHT, right)):
        marked = bytes(n | 0x80 if n in essential else n for n in numbers)
        entries += struct.pack(">HB", item, len(numbers)) + marked
    return _box(
        b"iprp",
        _box(b"ipco", *properties),
        _full(b"ipma", 0, 0, struct.pack(">I", 2), entries),
    )


def _intrinsics() -> bytes:
    """Return "cmin": focal length and principal point, as shares of the width and the height."""
    one = 1 << _SHIFT
    focal = round(one / 2 / tan(radians(FIELD_OF_VIEW / 2)))
    return _full(b"cmin", 0, _SHIFT << 8, struct.pack(">iii", focal, one // 2, one // 2))


def _extrinsics(x_um: int) -> bytes:
    """Return "cmex": where the camera is, to the right of the left one; it is not turned."""
    return _full(b"cmex", 0, 1, struct.pack(">i", x_um))


def _item(number: int, kind: bytes, *, hidden: bool = False) -> bytes:
    return _full(b"infe", 2, int(hidden), struct.pack(">HH", number, 0), kind, b"\0")


def _box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", 8 + len(data), kind) + data


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)
