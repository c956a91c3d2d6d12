"""Write a file that appears under its name only when it is complete."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from av.error import FFmpegError

from ..checks import check_frames
from ..types import Video
from .containers import WRITABLE_IMAGES, check_layout, check_suffix
from .encode_options import EncodeOptions
from .exif import read_camera_data
from .image import ImageSink, SequenceSink
from .info import VideoInfo
from .mux import VideoSink
from .source import Source, VideoError, reason
from .target import Claim, is_sequence, refuse_sources


class VideoWriter:
    """Writes frames to a file that appears under its name only when all went well.

    Use it as a context manager: a clean exit finishes the file and renames it into place, an
    exception (an interrupt too) removes what was written and leaves an existing target alone.

    Sample aspect ratio, frame times, primaries, transfer, matrix and range are the source's. If the
    source names no matrix, the file names the one that was used. Odd sizes grow by one row or
    column, a copy of the last one. The output's clock begins at 0 with the first frame.
    """

    def __init__(
        self,
        target: str | Path,
        info: VideoInfo,
        width: int,
        height: int,
        encode: EncodeOptions | None = None,
        *,
        audio_from: Source | None = None,
        audio_start: Fraction | None = None,
        audio_stop: Fraction | None = None,
        layout: str | None = None,
        metadata: dict[str, str] | None = None,
        overwrite: bool = False,
        like: Path | None = None,
    ) -> None:
        """Open the encoder and the file, so that problems show before any work is done.

        Args:
            target: .mp4, .m4v, .mov, .mkv or .webm; .png, .jpg or .webp for a single frame, or
                numbered from 1 (frame_%05d.png); a link is followed.
            info: the source, for its rate, tags and depth.
            width: of the frames that will come, in pixels; of both eyes' frames side by side for
                the layouts of `packing.PAIRED`.
            height: of the frames that will come, in pixels.
            encode: codec, quality, depth, and what becomes of audio that does not fit the target;
                its layout is for those who make the frames.
            audio_from: where audio and titles are taken from; packets are copied, but see `encode`.
            audio_start: seconds of that source's clock that become 0; None: the first frame's time.
            audio_stop: seconds of that source's clock where the sound ends; None: at its end.
            layout: of the frames, for stereo tags: side by side and top-bottom have some; None: no
                stereo.
            metadata: container tags to add.
            overwrite: replace an existing target.
            like: a video that a writer with the same arguments has written: pictures are copied
                from such files (`copy`) instead of encoded.

        Raises:
            VideoError: the target is the source, or cannot be written, or not with this codec or
                audio.
        """
        self._target = Path(target)
        self._size = (width, height)
        self._last_time: Fraction | None = None
        check_suffix(self._target)
        refuse_sources(self._target, [info.source, *([] if audio_from is None else [audio_from])])
        check_layout(self._target, layout)
        self._claim = Claim(self._target, overwrite)
        encode = encode or EncodeOptions()
        bits = encode.bit_depth or info.bit_depth
        sink: ImageSink | SequenceSink | VideoSink | None = None
        try:
            with _errors_of(self._target):
                if is_sequence(self._target):
                    sink = SequenceSink(self._claim.path, self._target, bits)
                elif self._target.suffix.lower() in WRITABLE_IMAGES:
                    exif = read_camera_data(info.source).exif
                    sink = ImageSink(self._claim.path, self._target, bits, exif)
                else:
                    sink = VideoSink(
                        self._claim.path,
                        self._target,
                        info,
                        (width, height),
                        encode,
                        layout,
                        like,
                    )
                    if audio_from is not None:
                        sink.add_audio(audio_from, audio_start, audio_stop)
                    sink.open(metadata or {})
        except BaseException:
            self._discard(sink)
            raise
        self._sink = sink

    def __enter__(self) -> VideoWriter:
        """Return the writer."""
        return self

    def write(self, frames: Video, times: Sequence[Fraction], *, new_shot: bool = False) -> None:
        """Encode frames [T, 3, H, W] shown at `times`, seconds of the source's clock.

        `new_shot` says that the first one starts a shot.

        Raises:
            ValueError: the size is not the announced one, or the times do not grow.
            VideoError: the target cannot be written, for example because the disk is full.
        """
        check_frames("frames", frames, channels=3)
        height, width = frames.shape[2:]
        if (width, height) != self._size:
            expected = "{}x{}".format(*self._size)
            raise ValueError(f"frames: expected {expected} pixels, got {width}x{height}")
        if len(times) != len(frames):
            raise ValueError(f"times: expected {len(frames)}, one per frame, got {len(times)}")
        for index, (pixels, time) in enumerate(zip(frames, times, strict=True)):
            if self._last_time is not None and time <= self._last_time:
                raise ValueError(f"times: expected growing times, got {time} s after the same")
            self._last_time = time
            with _errors_of(self._target):
                self._sink.put(pixels, time, cut=new_shot and index == 0)

    def copy(self, path: Path, time: Fraction) -> None:
        """Copy the pictures of a finished video, its first one `time` seconds after the target's.

        Raises:
            VideoError: the video is of another kind, or the target cannot be written.
        """
        if not isinstance(self._sink, VideoSink):
            raise ValueError(f"path: expected a video for a video, got {path}")
        with _errors_of(self._target):
            self._sink.copy(path, time)
        self._last_time = time

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file and rename it into place, or remove it.

        Raises:
            VideoError: no frame was written, or the target cannot be written.
        """
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard(self._sink)

    def close(self) -> None:
        """Remove what was written so far."""
        self._discard(self._sink)

    def _finish(self) -> None:
        if self._last_time is None:
            raise VideoError(f"{self._target}: no frame was written")
        with _errors_of(self._target):
            self._sink.finish()
            self._claim.commit()

    def _discard(self, sink: ImageSink | SequenceSink | VideoSink | None) -> None:
        """Close everything and remove the temporary file, if it is still there."""
        # It is removed before it is closed, so that no time is spent on finishing it.
        self._claim.discard()
        if sink is not None:
            sink.close()
        self._claim.close()


@contextmanager
def _errors_of(target: Path) -> Iterator[None]:
    """Turn errors of FFmpeg and the system into one line about the target."""
    try:
        yield
    except (FFmpegError, OSError) as error:
        raise VideoError(f"{target}: cannot be written ({reason(error)})") from error
