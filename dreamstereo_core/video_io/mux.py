"""The encoder and container of a video target: options, tags, time stamps, interleaving."""

from __future__ import annotations

import logging
import math
import os
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av import Packet, VideoFrame
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError, PatchWelcomeError
from av.video.stream import VideoStream
from torch import Tensor

from .color import FULL, LIMITED, pixel_format, resolve_matrix, rgb_to_frame
from .containers import FORMATS
from .encode_options import CODECS, EncodeOptions, resolve_codec
from .hdr import encoder_options
from .info import VideoInfo
from .mark import TRACK
from .matroska import scale_display_size
from .source import Source, VideoError, image_paths, reason
from .tracks import SourceTracks

_log = logging.getLogger(__name__)

_LONG_DELAY = 3600  # s between decoding and showing, more than any encoder needs
_FINEST = 1_000_000  # ticks in a second, at most
_LARGE_PIXELS = 4096 * 2160
"""Pixels of a picture above which x265 gets `_LEAN`, unless a preset is chosen."""
_LEAN = ("rc-lookahead=5", "bframes=3", "b-pyramid=0", "ref=2", "frame-threads=1")
"""x265 takes some 3 bytes for each pixel it looks ahead and 12 for each that it encodes or refers
to; its own numbers (20, 4, 1, 3) make that 2.7 GiB at 7680x2160, these 1.4 GiB."""
_STEREO = {  # layout -> H.264 frame-packing, Matroska stereo_mode
    "full_sbs": (3, "left_right"),
    "half_sbs": (3, "left_right"),
    "full_tb": (4, "top_bottom"),
    "half_tb": (4, "top_bottom"),
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
        self._target = target
        self._container_name = FORMATS[target.suffix.lower()]
        self._left_out = encode.left_out
        self._encode_audio = encode.audio == "copy_or_aac"
        self._bits = encode.bit_depth or info.bit_depth
        self._whole_chroma = encode.chroma == "444"
        encode = replace(
            encode, codec=resolve_codec(encode, self._bits, size, self._container_name)
        )
        self._codec = CODECS[encode.codec]
        self._matrix = resolve_matrix(info.color.matrix, info.width, info.height)
        self._full = info.color.range == FULL
        self._time_base = _fine(info.time_base, info.frame_rate)
        self._tracks: SourceTracks | None = None
        self._side_packets = self._refused = 0
        self._range: tuple[Fraction | None, Fraction | None] = (None, None)
        self._origin: Fraction | None = None
        self._next_pts = 0
        self._path = path
        self._display_aspect = Fraction(1)
        """Factor of the aspect in Matroska's display size; 1 leaves what FFmpeg writes."""
        self._output = av.open(f"file:{path}", "w", format=self._container_name)
        self._copies = like is not None
        self._last_dts: int | None = None
        try:
            self._stream = (
                self._add_stream(info, size, encode, layout)
                if like is None
                else self._add_like(like)
            )
            self._tag(info, encode, layout)
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
        self._output.metadata.update(titles | metadata)
        if self._container_name in ("mp4", "mov"):
            # Tags beyond the standard ones need the second flag. It hides the standard ones from
            # some players, so it is set only if there are such tags.
            tags = "+use_metadata_tags" if metadata else ""
            self._output.container_options["movflags"] = f"faststart{tags}"
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

    def put(self, pixels: Tensor, time: Fraction) -> None:
        """Encode one picture [3, H, W] shown at `time` of the source's clock."""
        origin = self._begin(time)
        frame = rgb_to_frame(pixels, self._matrix, self._full, self._bits, self._whole_chroma)
        frame.time_base = self._time_base
        # Two different times may fall on one tick of a coarse clock.
        frame.pts = max(round((time - origin) / self._time_base), self._next_pts)
        self._next_pts = frame.pts + 1
        self._mux(self._encode(frame))

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
            self._mux(self._encode(None))
        self._mux_tracks(None)
        self._output.close()
        if self._display_aspect != 1:
            scale_display_size(self._path, self._display_aspect)

    def close(self) -> None:
        """Close the files, finished or not."""
        if self._tracks is not None:
            self._tracks.close()
        with suppress(FFmpegError, OSError):  # an unfinished file is about to be removed
            self._output.close()

    def _add_like(self, like: Path) -> VideoStream:
        with av.open(f"file:{like}") as container:
            stream = self._output.add_stream_from_template(container.streams.video[0], opaque=True)
        stream.time_base = self._time_base
        return stream

    def _tag(self, info: VideoInfo, encode: EncodeOptions, layout: str | None) -> None:
        """Set what the container says of the pictures."""
        _, stereo_mode = _STEREO.get(layout or "", (None, None))
        self._stream.metadata.update(TRACK)
        if encode.codec == "hevc" and self._container_name in ("mp4", "mov"):
            # Apple's players refuse FFmpeg's default, hev1.
            self._stream.codec_context.codec_tag = "hvc1"
        if stereo_mode is not None and self._container_name == "matroska":
            self._stream.metadata["stereo_mode"] = stereo_mode
            squeeze = {"half_sbs": Fraction(2), "half_tb": Fraction(1, 2)}
            self._display_aspect = info.pixel_aspect * squeeze.get(layout or "", 1)

    def _add_stream(
        self, info: VideoInfo, size: tuple[int, int], encode: EncodeOptions, layout: str | None
    ) -> VideoStream:
        packing, _ = _STEREO.get(layout or "", (None, None))
        options = {
            "crf": str(self._codec.crf if encode.crf is None else encode.crf),
            "preset": encode.preset or self._codec.preset,
        }
        parameters = encoder_options(info.hdr, encode.codec)
        if encode.codec == "h264" and packing is not None:
            parameters.append(f"frame-packing={packing}")
        if encode.codec == "hevc":
            parameters.append("log-level=error")
            if size[0] * size[1] > _LARGE_PIXELS and encode.preset is None:
                parameters += _LEAN
        if encode.codec == "av1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only; SVT-AV1 has no other setting
        if parameters:
            options[self._codec.parameters] = ":".join(parameters)
        try:
            Codec(self._codec.encoder, "w")
        except UnknownCodecError as error:
            raise VideoError(
                f"{self._target}: this build of PyAV has no {self._codec.encoder} encoder"
            ) from error
        try:
            added = self._output.add_stream(
                self._codec.encoder, rate=info.frame_rate, time_base=self._time_base
            )
        except ValueError as error:
            raise VideoError(
                f"{self._target}: this container cannot hold {encode.codec} video; "
                "choose a name ending in .mkv or .mp4"
            ) from error
        stream = cast(VideoStream, added)
        context = stream.codec_context
        context.width, context.height = (n + n % 2 for n in size)
        context.pix_fmt = pixel_format(self._bits, self._whole_chroma)
        context.sample_aspect_ratio = info.pixel_aspect
        context.color_primaries = info.color.primaries
        context.color_trc = info.color.transfer
        context.colorspace = self._matrix
        context.color_range = FULL if self._full else LIMITED
        context.options = options
        return stream

    def _open_encoder(self) -> None:
        context = self._stream.codec_context
        try:
            context.open()
        except FFmpegError as error:
            raise VideoError(
                f"{self._target}: {self._codec.encoder} refuses {context.width}x{context.height} "
                f"{context.pix_fmt} with {context.options} ({reason(error)})"
            ) from error

    def _encode(self, frame: VideoFrame | None) -> list[Packet]:
        """Encode a frame, or flush if it is None; return the packets that are ready."""
        packets = self._stream.encode(frame)
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


def _fine(time_base: Fraction, rate: Fraction) -> Fraction:
    """Return a unit of time that divides the source's, fine enough for repaired times.

    Frame durations are whole units of it, too, unless that would make it too fine.
    """
    both = math.lcm(time_base.denominator, rate.numerator)
    ticks = both if both <= _FINEST else time_base.denominator
    if ticks > _FINEST:
        return Fraction(1, 90_000)
    while ticks < 10_000:  # as FFmpeg's MP4 muxer does
        ticks *= 2
    return Fraction(1, ticks)
