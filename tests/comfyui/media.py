"""Small films made on the spot."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_film(
    path: Path,
    *,
    frames: int = 12,
    width: int = 96,
    height: int = 64,
    rate: int = 12,
    sound: str | None = "aac",
) -> Path:
    """Write a near disc that moves over a far pattern, with a tone in the codec `sound`."""
    y, x = np.mgrid[:height, :width]
    pattern = np.stack([x * 255 // width, y * 255 // height, (x // 8 + y // 8) % 2 * 200], -1)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        if sound:
            audio = container.add_stream(sound, rate=48000, layout="mono")
            samples = np.arange(round(Fraction(frames, rate) * 48000))
            tone = (0.2 * np.sin(samples * 0.05)).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, 0
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
        for i in range(frames):
            picture = pattern.astype(np.uint8)
            center = width * (0.2 + 0.6 * i / frames)
            near = (x - center) ** 2 + (y - height * 0.6) ** 2 < (height * 0.2) ** 2
            picture[near] = (230, 60, 40)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
    return path


def describe(path: Path) -> dict:
    """Read a film to its end: size, number of frames, sound, tags."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        seen = {
            "size": (video.width, video.height),
            "codec": video.codec.canonical_name,
            "rate": video.average_rate,
            "audio": [stream.codec.name for stream in container.streams.audio],
            "metadata": dict(container.metadata),
        }
        seen["frames"] = sum(1 for _ in container.decode(video))
    return seen
