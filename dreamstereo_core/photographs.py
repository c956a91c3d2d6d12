"""From a photograph to the kinds of stereo photographs that viewers know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from .convert_options import ConvertOptions
from .depth import DepthEstimator
from .fill import Inpainter
from .pipeline import StereoPipeline
from .types import StereoVideo
from .video_io import DecodeOptions, EncodeOptions, Source, VideoError, probe, read_frames
from .video_io.exif import read_camera_data
from .video_io.photo_layouts import PHOTO_LAYOUTS
from .video_io.source import reason
from .video_io.spatial_photo import write_spatial_photo
from .video_io.stereo_photos import write_jps, write_mpo, write_wiggle_video, write_wigglegram
from .video_io.target import Claim

_VIEWS = 4  # of a wigglegram
_WRITERS = {"mpo": write_mpo, "jps": write_jps, "spatial_photo": write_spatial_photo}


def convert_photograph(
    source: Source,
    target: Path,
    layout: str,
    *,
    depth: DepthEstimator,
    inpainter: Inpainter,
    options: ConvertOptions,
    encode: EncodeOptions,
    decode: DecodeOptions | None = None,
    overwrite: bool = False,
) -> StereoVideo:
    """Write a photograph as one of `PHOTO_LAYOUTS`; return its two views.

    A wigglegram has views between the two eyes, too: each of them is a conversion with a part of
    the strength. EXIF (without the orientation) and colour profile are the source's.

    Raises:
        VideoError: the source is a film or cannot be read, or the target cannot be written or has
            another suffix than the layout.
    """
    info = probe(source, decode)
    if not info.is_image:
        raise VideoError(f"{source}: is no photograph; the layout {layout} is for photographs only")
    suffix = PHOTO_LAYOUTS[layout][1]
    if target.suffix.lower() != suffix:
        raise VideoError(f"{target}: expected a name ending in {suffix} for the layout {layout}")
    frame = next(iter(read_frames(source, 0, 1, decode)), None)
    if frame is None:
        raise VideoError(f"{source}: has no picture")
    estimator = depth.for_film(info).from_frame(0)

    def make(share: float) -> StereoVideo:
        part = _weaker(options, share)
        (stereo,) = StereoPipeline(estimator, inpainter, part).stream([frame])
        return stereo

    stereo = make(1.0)
    if layout in _WRITERS:
        write = partial(_WRITERS[layout], left=stereo.left[0], right=stereo.right[0],
                        camera=read_camera_data(source))  # fmt: skip
        _write(target, overwrite, write)
        return stereo
    between = [make(number / (_VIEWS - 1)) for number in range(1, _VIEWS - 1)]
    views = [frame.pixels, *(getattr(one, options.eye)[0] for one in (*between, stereo))]
    views = views if options.eye == "right" else views[::-1]
    if layout == "wiggle_mp4":
        write_wiggle_video(target, views, info, replace(encode, layout="left"), overwrite)
    else:
        _write(target, overwrite, partial(write_wigglegram, views=views, layout=layout))
    return stereo


def _write(target: Path, overwrite: bool, write: Callable[[Path], None]) -> None:
    """Write a file that appears under its name when it is complete."""
    claim = Claim(target, overwrite)
    try:
        write(claim.path)
        claim.commit()
    except OSError as error:
        raise VideoError(f"{target}: cannot be written ({reason(error)})") from error
    finally:
        claim.discard()
        claim.close()


def _weaker(options: ConvertOptions, share: float) -> ConvertOptions:
    """Return the options for an eye that is only `share` as far away."""
    limits = {
        name: None if (limit := getattr(options, name)) is None else limit * share
        for name in ("max_front", "max_behind")
    }
    return replace(options, max_disparity=options.max_disparity * share, **limits)
