"""The encoder and container of a video target: options, tags, time stamps, interleaving."""

from __future__ import annotations

import logging
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av import Packet, VideoFrame
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError, PatchWelcomeError
from av.video.frame import PictureType
from av.video.stream import VideoStream
from torch import Tensor

from ..packing import MV_HEVC, PAIRED
from .box_tree import Box
from .color import repacked, rgb_to_frame
from .containers import FORMATS
from .encode_options import EncodeOptions
from .encoder import picture_format
from .eye_pair import EyePair
from .frame_packing import begun_by
from .info import VideoInfo
from .layered_boxes import layers_of, tag_layers
from .mark import TRACK
from .matroska import scale_display_size
from .movie import finish_movie, read_movie
from .multiview import Layers
from .source import Source, VideoError, image_paths, reason
from .stereo_boxes import BASELINE_UM, FIELD_OF_VIEW, tag_layout
from .tracks import SourceTracks

_log = logging.getLogger(__name__)

_LONG_DELAY = 3600  # s between decoding and showing, more than any encoder needs
_DEPTH = "Inverse depth: white is near, black is far, one scale for each shot."
_MOVIES = ("mp4", "mov")
_MATROSKA = {  # layout -> StereoMode
    "full_sbs": "left_right",
    "half_sbs": "left_right",
    "vr180": "left_right",
    "cross_eyed": "right_left",
    "full_tb": "top_bottom",
    "half_tb": "top_bottom",
    "row_interleaved": "row_interleaved_lr",
    "column_interleaved": "col_interleaved_lr",
}


class VideoSink:
    """Writes a video stream, and the source's other tracks beside it, into one file."""

    def __init__(
        self,
        path: Path,
        target: Path,
        info: VideoInfo,
        size: tuple[int, int],
        encode: EncodeOptions,
        layout: str | None,
        like: Path | None = None,
    ) -> None:
        """Prepare to write to `path`; errors name `target`.

        With `like`, a file that this class has written, pictures come as its packets (`copy`).
        """
        self._target, self._path, self._layout = target, path, layout
        self._container_name = FORMATS[target.suffix.lower()]
        self._left_out = encode.left_out
        self._encode_audio = encode.audio == "copy_or_aac"
        self._pictures = picture_format(info, size, encode, layout, target)
        self._time_base = self._pictures.time_base
        self._half_frame = 1 / (2 * info.frame_rate)
        self._tracks: SourceTracks | None = None
        self._side_packets = self._refused = 0
        self._range: tuple[Fraction | None, Fraction | None] = (None, None)
        self._origin: Fraction | None = None
        self._next_pts = 0
        self._display_aspect = Fraction(1)
        """Factor of the aspect in Matroska's display size; 1 leaves what FFmpeg writes."""
        self._output = av.open(f"file:{path}", "w", format=self._container_name)
        self._copies = like is not None
        self._last_dts: int | None = None
        self._pair: EyePair | None = None
        self._layers: Layers | None = None
        try:
            self._stream = self._add_stream() if like is None else self._add_like(like)
            self._tag()
        except BaseException:
            self.close()
            raise

    def add_audio(self, source: Source, start: Fraction | None, stop: Fraction | None) -> None:
        """Add a source's other tracks, between two times in seconds of its own clock.

        A start of None is the first frame's time.
        """
        if image_paths(source) is not None:
            return
        self._tracks = SourceTracks(
            source,
            self._output,
            str(self._target),
            encode=self._encode_audio,
            start=start,
            stop=stop,
            without=self._left_out,
        )
        self._range = (start, stop)

    def open(self, metadata: dict[str, str]) -> None:
        """Open the encoder and write the header.

        Raises:
            VideoError: the encoder refuses the preset or the size.
        """
        titles = self._tracks.metadata if self._tracks else {}
        comment = {"comment": _DEPTH} if self._layout == "depth" else {}
        self._output.metadata.update(titles | comment | metadata)
        if self._container_name in _MOVIES and metadata:
            # Tags beyond the standard ones need this flag. It hides the standard ones from some
            # players, so it is set only if there are such tags.
            self._output.container_options["movflags"] = "use_metadata_tags"
        if self._display_aspect != 1:
            self._output.container_options["write_crc32"] = "0"  # the header is corrected later
        if not self._copies:
            self._open_encoder()
        self._output.start_encoding()

    def copy(self, path: Path, time: Fraction) -> None:
        """Copy the pictures of a file like `like`, its first one shown `time` seconds after 0.

        Raises:
            VideoError: its codec's parameters are not those of `like`.
        """
        with av.open(f"file:{path}") as container:
            stream = container.streams.video[0]
            if stream.codec_context.extradata != self._stream.codec_context.extradata:
                raise VideoError(f"{path}: expected the same coding as the piece before it")
            self._begin(Fraction(0))
            for packet in container.demux(stream):
                if packet.dts is None or packet.pts is None or packet.time_base is None:
                    continue  # the end
                shift = round(time / packet.time_base)
                least = packet.dts + shift if self._last_dts is None else self._last_dts + 1
                packet.dts = self._last_dts = max(packet.dts + shift, least)
                packet.pts = max(packet.pts + shift, packet.dts)
                packet.stream = self._stream
                self._mux([packet])

    def put(self, pixels: Tensor, time: Fraction, *, cut: bool = False) -> None:
        """Encode one picture [3, H, W] shown at `time` of the source's clock.

        Layouts of `PAIRED` come side by side. A cut becomes a key frame where both eyes' encoders
        have to agree; others find cuts by themselves.
        """
        if self._layout not in PAIRED:
            self._mux(self._encode(self._frame(pixels, time)))
            return
        left, right = pixels.chunk(2, dim=-1)
        first = self._frame(left, time)
        if self._pair is None:
            self._mux(self._encode(first))
            self._mux(self._encode(self._frame(right, time + self._half_frame)))
            return
        second = self._colors(right)
        second.pts, second.time_base = first.pts, first.time_base
        if cut:
            first.pict_type = second.pict_type = PictureType.I
        self._mux(self._pair.join(self._encode(first), second))

    def _frame(self, pixels: Tensor, time: Fraction) -> VideoFrame:
        """Convert a picture, and give it its time."""
        origin = self._begin(time)
        frame = self._colors(pixels)
        frame.time_base = self._time_base
        # Two different times may fall on one tick of a coarse clock.
        frame.pts = max(round((time - origin) / self._time_base), self._next_pts)
        self._next_pts = frame.pts + 1
        return frame

    def _colors(self, pixels: Tensor) -> VideoFrame:
        how = self._pictures
        frame = rgb_to_frame(pixels, how.matrix, how.full, how.bits, how.whole_chroma)
        return frame if frame.format.name == how.coded_format else repacked(frame, how.coded_format)

    def _begin(self, time: Fraction) -> Fraction:
        """Return the time of the first picture; this is it if there was none."""
        if self._origin is None:
            self._origin = time
            if self._tracks is not None:
                start, stop = self._range
                self._tracks.start(time if start is None else start, stop)
        return self._origin

    def finish(self) -> None:
        """Encode the frames that wait, and write the rest of the tracks and the trailer."""
        if not self._copies:
            rest = self._encode(None)
            self._mux(rest if self._pair is None else self._pair.join(rest, None))
        self._mux_tracks(None)
        self._output.close()
        if self._container_name in _MOVIES:
            finish_movie(self._path, self._describe)
        if self._display_aspect != 1:
            scale_display_size(self._path, self._display_aspect)

    def close(self) -> None:
        """Close the files, finished or not."""
        if self._tracks is not None:
            self._tracks.close()
        with suppress(FFmpegError, OSError):  # an unfinished file is about to be removed
            self._output.close()

    def _describe(self, movie: Box) -> None:
        """Say in the movie box how the eyes lie in the pictures."""
        if self._layers is None:
            tag_layout(movie, self._layout)
            return
        encode = self._pictures.encode
        view = encode.field_of_view or FIELD_OF_VIEW
        tag_layers(movie, self._layers, (view, BASELINE_UM) if encode.spatial else None)

    def _add_like(self, like: Path) -> VideoStream:
        if self._layout == MV_HEVC:
            self._layers = layers_of(read_movie(like))
        with av.open(f"file:{like}") as container:
            stream = self._output.add_stream_from_template(container.streams.video[0], opaque=True)
        stream.time_base = self._time_base
        return stream

    def _tag(self) -> None:
        """Set what the container says of the pictures, as far as FFmpeg's muxers can."""
        self._stream.metadata.update(TRACK)
        if self._pictures.encode.codec == "hevc" and self._container_name in _MOVIES:
            # Apple's players refuse FFmpeg's default, hev1.
            self._stream.codec_context.codec_tag = "hvc1"
        stereo_mode = _MATROSKA.get(self._layout or "")
        if stereo_mode is not None and self._container_name in ("matroska", "webm"):
            self._stream.metadata["stereo_mode"] = stereo_mode
            squeeze = {"half_sbs": Fraction(2), "half_tb": Fraction(1, 2)}
            aspect = self._pictures.pixel_aspect
            self._display_aspect = aspect * squeeze.get(self._layout or "", 1)

    def _add_stream(self) -> VideoStream:
        encode = self._pictures.encode
        try:
            Codec(self._pictures.encoder, "w")
        except UnknownCodecError as error:
            raise VideoError(
                f"{self._target}: this build of PyAV has no {self._pictures.encoder} encoder"
            ) from error
        try:
            added = self._output.add_stream(
                self._pictures.encoder, rate=self._pictures.rate, time_base=self._time_base
            )
        except ValueError as error:
            raise VideoError(
                f"{self._target}: this container cannot hold {encode.codec} video; "
                "choose a name ending in .mkv or .mp4"
            ) from error
        stream = cast(VideoStream, added)
        self._pictures.configure(stream.codec_context)
        return stream

    def _open_encoder(self) -> None:
        context = self._stream.codec_context
        try:
            context.open()
        except FFmpegError as error:
            raise VideoError(
                f"{self._target}: {self._pictures.encoder} refuses "
                f"{context.width}x{context.height} {context.pix_fmt} with {context.options} "
                f"({reason(error)})"
            ) from error
        if self._layout == MV_HEVC:
            self._pair = EyePair(context, self._pictures)
            self._layers = self._pair.layers

    def _encode(self, frame: VideoFrame | None) -> list[Packet]:
        """Encode a frame, or flush if it is None; return the packets that are ready."""
        packets = self._stream.encode(frame)
        if self._pictures.unit:
            packets = [begun_by(self._pictures.unit, packet) for packet in packets]
        for packet in packets:
            # In films of one or two pictures x265 gives random decoding times.
            if packet.pts is None or packet.dts is None:
                continue
            if not packet.pts - _LONG_DELAY / self._time_base <= packet.dts <= packet.pts:
                packet.dts = packet.pts
        return packets

    def _mux(self, packets: list[Packet]) -> None:
        """Write video packets, each after the other tracks' packets that come before it."""
        for packet in packets:
            if packet.dts is not None:
                self._mux_tracks(packet.dts * self._time_base)
            self._write(packet)

    def _mux_tracks(self, time: Fraction | None) -> None:
        """Write the other tracks' packets that begin at or before `time`; None for all."""
        if self._tracks is None:
            return
        for packet in self._tracks.packets_until(time):
            self._side_packets += 1
            self._write(packet)

    def _write(self, packet: Packet) -> None:
        """Mux a packet; packets of sound or subtitles that the muxer refuses are left out.

        The muxer sorts packets before it checks them, so a refusal may come late, with another
        packet. Packets of pictures are never refused.
        """
        try:
            self._output.mux(packet)
        except FFmpegError as error:
            self._refused += 1
            about_data = isinstance(error, ValueError | PatchWelcomeError)  # not the disk
            if not about_data or self._refused > self._side_packets:
                raise
            if self._refused == 1:
                _log.warning(
                    "%s: packets of sound or subtitles that it cannot hold are left out (%s)",
                    *(self._target, reason(error)),
                )
