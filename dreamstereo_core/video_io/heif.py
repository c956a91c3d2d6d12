"""Still pictures of HEIF and AVIF: find the coded items of the picture, and join them.

FFmpeg returns each coded item as a stream of one frame, whose id is the item's. Only the file's
boxes say which items belong together, as tiles of a photograph or as its alpha channel.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, cast

import numpy as np
from av import VideoFrame
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from .boxes import Boxes
from .color import raw_view
from .orientation import Orientation
from .source import VideoError, reason

_MOST_PIXELS = 1 << 29
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0")
_PLAIN = (b"hvc1", b"av01", b"avc1", b"jpeg")


class Grid(NamedTuple):
    """Coded items that form a picture, row by row; a single item is a grid of one."""

    items: tuple[int, ...]
    columns: int
    width: int
    """Of the whole picture; the last tiles are cut off there. 0 for a single item."""
    height: int


@dataclass(frozen=True)
class HeifPicture:
    """The parts of the picture that a file shows."""

    color: Grid
    alpha: Grid | None
    orientation: Orientation

    @property
    def items(self) -> tuple[int, ...]:
        """The ids of all coded items that are needed."""
        return self.color.items + (self.alpha.items if self.alpha else ())


@dataclass
class _Items:
    """The tables of a meta box."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    references: dict[tuple[bytes, int], list[int]] = field(default_factory=dict)
    properties: dict[int, list[tuple[bytes, Boxes]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    places: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Item -> construction method, offset and length."""
    data: bytes = b""
    """The content of the box that holds small items (idat)."""


def read_picture(meta: Boxes, file: BinaryIO) -> HeifPicture:
    """Return the parts of the primary item of a meta box.

    Raises:
        ValueError: the boxes are damaged, or the picture is of an unknown kind.
    """
    items = _read_tables(meta)
    primary = items.primary
    auxiliary = [item for (kind, item), of in items.references.items()
                 if kind == b"auxl" and primary in of]  # fmt: skip
    alpha = next((item for item in auxiliary if _is_alpha(items, item)), None)
    turned = Orientation()
    for kind, box in items.properties[primary]:
        if kind == b"irot":
            turned = turned.then_turned(box.number(1) & 3)
        elif kind == b"imir":
            turned = turned.then_mirrored(top_to_bottom=not box.number(1) & 1)
    return HeifPicture(
        _grid(items, primary, file), None if alpha is None else _grid(items, alpha, file), turned
    )


def decode_picture(
    container: InputContainer, picture: HeifPicture, name: str
) -> tuple[VideoFrame, VideoFrame | None]:
    """Decode the picture's items; return the whole picture and its alpha channel, if any.

    Raises:
        VideoError: an item is missing or cannot be decoded.
    """
    streams = [s for s in container.streams.video if s.id in picture.items and _is_item(s)]
    decoded: dict[int, VideoFrame] = {}
    for stream in streams:
        stream.codec_context.thread_count = 1  # there may be a hundred streams
    try:
        for packet in container.demux(streams):
            stream = cast(VideoStream, packet.stream)
            for frame in stream.codec_context.decode(packet):
                decoded.setdefault(stream.id, cast(VideoFrame, frame))
    except FFmpegError as error:
        raise VideoError(f"{name}: its picture cannot be decoded ({reason(error)})") from error
    if missing := [item for item in picture.items if item not in decoded]:
        raise VideoError(
            f"{name}: {len(missing)} of the {len(picture.items)} tiles of its picture are missing"
        )
    try:
        color = _assemble(picture.color, decoded)
        return color, _assemble(picture.alpha, decoded) if picture.alpha else None
    except ValueError as error:
        raise VideoError(f"{name}: {error}") from error


def _is_item(stream: VideoStream) -> bool:
    """Tell whether a stream is a still item, not an animation's track with the same id."""
    return stream.codec_context is not None and stream.frames <= 1


def _assemble(grid: Grid, decoded: dict[int, VideoFrame]) -> VideoFrame:
    """Copy the tiles into one frame of their pixel format."""
    first = decoded[grid.items[0]]
    if len(grid.items) == 1:
        return first
    whole = VideoFrame(grid.width, grid.height, first.format.name)
    whole.colorspace, whole.color_range = first.colorspace, first.color_range
    unit = 2 if first.format.components[0].bits > 8 else 1
    for index, item in enumerate(grid.items):
        row, column = divmod(index, grid.columns)
        tile = decoded[item]
        if (tile.width, tile.height, tile.format.name) != (
            *(first.width, first.height),
            first.format.name,
        ):
            raise ValueError("the tiles of its picture differ in size or pixel format")
        for target, source in zip(whole.planes, tile.planes, strict=True):
            top, left = row * source.height, column * source.width * unit
            into = raw_view(target, np.uint8).reshape(target.height, -1)
            into = into[top : top + source.height, left : min(left + source.width * unit,
                                                              target.width * unit)]  # fmt: skip
            pixels = raw_view(source, np.uint8).reshape(source.height, -1)
            into[:] = pixels[: into.shape[0], : into.shape[1]]
    return whole


def _grid(items: _Items, item: int, file: BinaryIO) -> Grid:
    kind = items.kinds.get(item, b"")
    if kind in _PLAIN:
        return Grid((item,), 1, 0, 0)
    if kind != b"grid":
        raise ValueError(f"its picture is of the kind {kind.decode('ascii', 'replace')!r}, "
                         "which is not supported; save it as JPEG or PNG")  # fmt: skip
    data = _content(items, item, file)
    data.take(1)
    size = 4 if data.number(1) & 1 else 2
    rows, columns = data.number(1) + 1, data.number(1) + 1
    width, height = data.number(size), data.number(size)
    tiles = items.references.get((b"dimg", item), [])
    if len(tiles) != rows * columns or not 0 < width * height <= _MOST_PIXELS:
        raise ValueError(
            f"its picture is damaged: {len(tiles)} tiles for {columns}x{rows} of {width}x{height}"
        )
    return Grid(tuple(tiles), columns, width, height)


def _content(items: _Items, item: int, file: BinaryIO) -> Boxes:
    """Return the few bytes of a derived item."""
    method, offset, length = items.places.get(item, (-1, 0, 0))
    if method == 1:
        return Boxes(items.data[offset : offset + length])
    if method != 0 or length > 64:
        raise ValueError("its picture is damaged: the layout of the tiles is missing")
    file.seek(offset)
    return Boxes(file.read(length))


def _is_alpha(items: _Items, item: int) -> bool:
    return any(kind == b"auxC" and box.data[4:].startswith(_ALPHA)
               for kind, box in items.properties[item])  # fmt: skip


def _read_tables(meta: Boxes) -> _Items:
    items = _Items()
    properties: list[tuple[bytes, Boxes]] = []
    for kind, box in meta.children():
        if kind == b"pitm":
            items.primary = box.number(4 if box.full()[0] else 2)
        elif kind == b"iinf":
            box.take(4 if box.full()[0] else 2)  # the number of entries
            _read_kinds(items, box)
        elif kind == b"iref":
            _read_references(items, box)
        elif kind == b"iloc":
            _read_places(items, box)
        elif kind == b"idat":
            items.data = box.data
        elif kind == b"iprp":
            for name, part in box.children():
                if name == b"ipco":
                    properties = list(part.children())
                elif name == b"ipma":
                    _read_associations(items, part, properties)
    return items


def _read_kinds(items: _Items, box: Boxes) -> None:
    for kind, entry in box.children():
        if kind == b"infe":
            version, _ = entry.full()
            if version >= 2:
                item = entry.number(4 if version == 3 else 2)
                entry.take(2)
                items.kinds[item] = entry.take(4)


def _read_references(items: _Items, box: Boxes) -> None:
    size = 4 if box.full()[0] else 2
    for kind, entry in box.children():
        origin, count = entry.number(size), entry.number(2)
        items.references[kind, origin] = [entry.number(size) for _ in range(count)]


def _read_places(items: _Items, box: Boxes) -> None:
    version, _ = box.full()
    sizes = box.number(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version else 0
    for _ in range(box.number(4 if version == 2 else 2)):
        item = box.number(4 if version == 2 else 2)
        method = box.number(2) & 15 if version else 0
        box.take(2)
        base = box.number(base_size)
        extents = []
        for _ in range(box.number(2)):
            box.take(index_size)
            extents.append((box.number(offset_size), box.number(length_size)))
        if len(extents) == 1:
            items.places[item] = method, base + extents[0][0], extents[0][1]


def _read_associations(items: _Items, box: Boxes, properties: list[tuple[bytes, Boxes]]) -> None:
    version, flags = box.full()
    wide = flags & 1
    for _ in range(box.number(4)):
        item = box.number(4 if version else 2)
        for _ in range(box.number(1)):
            index = box.number(2) & 0x7FFF if wide else box.number(1) & 0x7F
            if 0 < index <= len(properties):
                kind, content = properties[index - 1]
                items.properties[item].append((kind, Boxes(content.data)))
