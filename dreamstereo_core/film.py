"""A film on its way: how it is read, the stages for it, and what it is written to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

from .comfort import ComfortLog, Viewing
from .convert_options import ConvertOptions
from .depth import DepthEstimator
from .equirectangular import Vr180
from .fill import Inpainter
from .packing import DATA, show, shown_size
from .pieces.writer import OpenWriter
from .pipeline import StereoPipeline
from .stream import Frame
from .subtitles import SubtitleOptions
from .subtitles.settings import LoadedSubtitles
from .targets import views_of
from .types import StereoVideo, Video
from .video_io import (
    DecodeOptions,
    EncodeOptions,
    Source,
    VideoError,
    VideoInfo,
    VideoWriter,
    read_frames,
)
from .video_io.containers import FORMATS
from .video_io.encode_options import NVENC, SOFTWARE, settled
from .video_io.encoder import picture_format
from .video_io.info import as_data

PREVIEW_WIDTH = 512


@dataclass(frozen=True)
class Progress:
    """How far a conversion has come."""

    done: int
    """Frames written."""
    total: int | None
    """Frames to write, if known; an estimate if the container does not say."""
    seconds: float
    """Seconds since the start."""
    picture: Tensor
    """`[3, h, w]`: the newest frame as it was written."""
    before: int = 0
    """Frames among `done` that an earlier run has made."""

    @property
    def seconds_left(self) -> float | None:
        """The seconds that the rest will take at the speed so far, or None if unknown."""
        if self.total is None or self.done == self.before:
            return None
        return max(0, self.total - self.done) * self.seconds / (self.done - self.before)

    def preview(self, width: int = PREVIEW_WIDTH) -> Tensor:
        """Return `picture` at most `width` pixels wide."""
        scale = min(1.0, width / self.picture.shape[-1])
        size = [max(1, round(n * scale)) for n in self.picture.shape[-2:]]
        return F.interpolate(self.picture[None], size, mode="area")[0]


@dataclass(frozen=True)
class Film:
    """What a conversion of one film is about; arguments as of `convert_file`."""

    source: Source
    targets: tuple[Path, ...]
    info: VideoInfo
    depth: DepthEstimator
    inpainter: Inpainter
    options: ConvertOptions
    encode: EncodeOptions
    decode: DecodeOptions | None
    overwrite: bool
    metadata: Mapping[str, str] | None
    frames: tuple[int, int | None]
    report: Viewing | None
    subtitles: SubtitleOptions
    burned: LoadedSubtitles | None
    on_progress: Callable[[Progress], None] | None
    log: ComfortLog = field(default_factory=ComfortLog)
    """Of the frames' comfort, if there is to be a report."""

    def read(self, index: int) -> tuple[Frame, Iterator[Frame]]:
        """Return the film's frame `index`, counted from the range's first, and all from it on."""
        start, stop = self.frames
        film = read_frames(self.source, start + index, stop, self.decode)
        first = next(film, None)
        if first is None:
            raise VideoError(f"{self.source}: has no frame in the range {start}:{stop or ''}")
        return first, chain([first], film)

    def begin(self) -> Fraction:
        """Return the first frame's time in seconds of the source's clock."""
        return self.read(0)[0].time

    def tell(self, before: int, count: int, began: float, picture: Tensor) -> None:
        """Tell how far it is; arguments as of `progress`."""
        if self.on_progress:
            self.on_progress(self.progress(before, count, began, picture))

    def pipeline(self, begin: int = 0) -> StereoPipeline:
        """Return the stages for the film from its frame `begin` on."""
        depth = self.depth.for_film(self.info, self.frames[1])
        return StereoPipeline(
            depth.from_frame(begin),
            self.inpainter,
            self.options,
            measures=self.report is not None,
            subtitles=self.burned,
        )

    @property
    def vr(self) -> Vr180:
        """How the layout "vr180" shows the film: the farthest that may be is infinitely far."""
        farthest = self.options.max_behind
        farthest = self.options.max_disparity if farthest is None else farthest
        return Vr180(
            self.encode.field_of_view or Vr180.field_of_view,
            min(farthest, self.options.max_disparity),
            float(self.info.pixel_aspect),
        )

    def show(self, chunk: StereoVideo) -> dict[str, Video]:
        """Return each view's pictures."""
        made = self.options.eye
        return {view: show(chunk, view, made=made, vr=self.vr)
                for view in views_of(self.encode.layout)}  # fmt: skip

    def views(self, begin: Fraction) -> dict[str, tuple[Path, OpenWriter]]:
        """Return each view's target and what opens it; `begin` is the first frame's time."""
        start, stop = self.frames
        # A constant rate is assumed for the sound's end only, and only where the film is cut short.
        audio_stop = None if stop is None else begin + (stop - start) / self.info.frame_rate
        common = {"info": self.info, "overwrite": self.overwrite, "audio_from": self.source,
                  "audio_start": begin, "audio_stop": audio_stop,
                  "metadata": dict(self.metadata or {})}  # fmt: skip
        views = {}
        for view, path in zip(views_of(self.encode.layout), self.targets, strict=True):
            width, height = shown_size(self.info.width, self.info.height, view, self.vr)
            encode = settled(self.encode, self.info, path, (width, height))
            if self.burned is not None and self.burned.stream is not None:
                encode = replace(encode, left_out=(self.burned.stream,))
            common["info"] = self.info if view not in DATA else as_data(self.info)
            views[view] = path, partial(VideoWriter, width=width, height=height, layout=view,
                                        encode=encode, **common)  # fmt: skip
        return views

    def with_encoder(self) -> Film:
        """Return the film with its encoder chosen: one for all its pieces and whoever renders them.

        Raises:
            VideoError: NVENC was asked for, and does not work.
        """
        if self.encode.encoder == SOFTWARE:
            return self
        found = set()
        for view, path in zip(views_of(self.encode.layout), self.targets, strict=True):
            if path.suffix.lower() in FORMATS:
                size = shown_size(self.info.width, self.info.height, view, self.vr)
                encode = settled(self.encode, self.info, path, size)
                info = self.info if view not in DATA else as_data(self.info)
                found.add(picture_format(info, size, encode, view, path).encode.encoder)
        encoder = NVENC if found == {NVENC} else SOFTWARE
        return replace(self, encode=replace(self.encode, encoder=encoder))

    def progress(self, before: int, count: int, began: float, picture: Tensor) -> Progress:
        """Return how far it is: `before` frames by another run, `count` by this one."""
        start, stop = self.frames
        done, known = before + count, self.info.frame_count
        total = None if known is None else max(done, known - start)
        if stop is not None:
            total = stop - start if total is None else min(total, stop - start)
        return Progress(done, total, time.monotonic() - began, picture, before)
