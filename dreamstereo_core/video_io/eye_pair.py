"""The right eye's encoder beside the left one's, and the packets that hold both."""

from __future__ import annotations

from collections import deque

from av import CodecContext, Packet, VideoFrame
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext

from .encoder import PictureFormat
from .frame_packing import repacketed
from .multiview import Layers, join_pictures, make_layers
from .source import VideoError


class EyePair:
    """Two encoders in step: what comes from the left one leaves with the right eye's picture."""

    def __init__(self, left: VideoCodecContext, pictures: PictureFormat) -> None:
        """Open the right eye's encoder like the left one, which is open.

        Raises:
            VideoError: the encoder's headers are not those that two layers can share.
        """
        right = CodecContext.create(left.codec, "w")
        assert isinstance(right, VideoCodecContext)
        pictures.configure(right)
        right.time_base, right.framerate = left.time_base, left.framerate
        right.flags |= Flags.global_header
        right.open()
        if left.extradata is None or left.extradata != right.extradata:
            raise VideoError("mv_hevc: expected the same headers for both eyes")
        try:
            self.layers: Layers = make_layers(left.extradata)
        except ValueError as error:
            raise VideoError(f"mv_hevc: {error}") from error
        self._context = right
        self._left: deque[Packet] = deque()
        self._right: deque[Packet] = deque()

    def join(self, packets: list[Packet], right: VideoFrame | None) -> list[Packet]:
        """Encode a picture of the right eye (None: no more), and return what is complete.

        Raises:
            VideoError: the encoders have chosen different kinds of pictures.
        """
        self._left += packets
        self._right += self._context.encode(right)
        joined = []
        while self._left and self._right:
            left, other = self._left.popleft(), self._right.popleft()
            try:
                data = join_pictures(bytes(left), bytes(other), key=left.is_keyframe)
            except ValueError as error:
                raise VideoError(f"mv_hevc: {error}") from error
            joined.append(repacketed(data, left))
        return joined
