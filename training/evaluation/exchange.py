"""Clips that leave the evaluation for other systems, and these systems' results that come back.

A clip is a folder of lossless videos (FFV1 in Matroska: left, warped, mask, truth) and `clip.json`.
A result is a video, or a folder of frames, with the clip's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import torch
from torch import Tensor
from torch.nn import functional as F

from data.files import DataError
from dreamstereo_core import VideoError, read_frames
from evaluation.clips import Clip

RATE = Fraction(24)
"""Frames a second of the videos; nothing depends on it."""
PARTS = ("left", "warped", "mask", "truth")


def clip_id(clip: Clip) -> str:
    """Return a clip's name as a folder's: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^\w.-]+", "_", f"{clip.kind} {clip.name}").strip("_")


def export_clips(clips: Iterable[Clip], folder: Path) -> int:
    """Write each clip with holes into a folder of its own; return how many there were."""
    count = 0
    for clip in clips:
        if clip.measured.any():
            export_clip(clip, folder / clip_id(clip))
            count += 1
    return count


def export_clip(clip: Clip, folder: Path) -> None:
    """Write a clip's left, warped, mask and truth in 8 bits, and what they are as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        write_lossless(folder / f"{part}.mkv", getattr(clip, part))
    frames, _, height, width = clip.truth.shape
    record = {
        "kind": clip.kind,
        "name": clip.name,
        "frames": frames,
        "width": width,
        "height": height,
        "holes": round(float(clip.mask.mean()), 6),
        "left": "the other eye's view",
        "warped": "the right view's known pixels, black in the holes",
        "mask": "white in the holes that are to be filled, black elsewhere",
        "truth": "the right view; not for the system that fills",
    }
    (folder / "clip.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def write_lossless(path: Path, video: Tensor) -> None:
    """Write `[T, 3 or 1, H, W]` in [0, 1] as FFV1, rounded to 8 bits."""
    levels = (video.clamp(0, 1) * 255).round().to(torch.uint8)
    colour = levels.shape[1] == 3
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.height, stream.width = levels.shape[-2:]
        stream.pix_fmt = "bgr0" if colour else "gray"
        for frame in levels:
            array = frame.permute(1, 2, 0).contiguous().numpy()
            picture = (
                av.VideoFrame.from_ndarray(array, format="rgb24").reformat(format="bgr0")
                if colour
                else av.VideoFrame.from_ndarray(array[..., 0], format="gray")
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


@dataclass(frozen=True)
class OutsideFill:
    """Another system's results, by clip: `FOLDER/CLIP.mp4` or so, or frames in `FOLDER/CLIP/`."""

    folder: Path

    def read(self, clip: Clip) -> Tensor:
        """Return the result `[T, 3, H, W]` for a clip; another size is brought to the clip's.

        Raises:
            DataError: there is none, there are several, or it has another number of frames.
        """
        source = self._source(clip_id(clip))
        frames, _, height, width = clip.truth.shape
        try:
            pictures = [f.pixels for f in islice(read_frames(source), frames + 1)]
        except VideoError as error:
            raise DataError(str(error)) from error
        if len(pictures) != frames:
            more = "more" if len(pictures) > frames else str(len(pictures))
            raise DataError(f"{source}: expected {frames} frames as the clip's, got {more}")
        video = torch.stack(pictures)
        if video.shape[-2:] == (height, width):
            return video
        return F.interpolate(video, (height, width), mode="bilinear", antialias=True).clamp(0, 1)

    def _source(self, name: str) -> Path:
        found = [p for p in sorted(self.folder.glob(f"{name}*")) if name in (p.name, p.stem)]
        if len(found) != 1:
            got = ", ".join(p.name for p in found) or "none"
            raise DataError(
                f"{self.folder}: expected one video or folder of frames named {name}, got {got}"
            )
        return found[0]


def outside_fill(spec: str) -> tuple[str, OutsideFill] | None:
    """Return the row's name and the results of NAME=FOLDER; None for the name of another fill.

    Raises:
        DataError: there is no such folder.
    """
    name, equals, folder = spec.partition("=")
    if not equals or Path(spec).exists():
        return None
    if not name or not Path(folder).is_dir():
        raise DataError(f"--fill {spec}: expected NAME=FOLDER with a folder of results")
    return name, OutsideFill(Path(folder))
