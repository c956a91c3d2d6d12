"""Films with sound that the tests of video_io make, and what is heard in them."""

from fractions import Fraction

import av
import numpy as np

from dreamstereo_core.video_io import EncodeOptions, VideoWriter, probe, read_frames

FAST = EncodeOptions(preset="ultrafast")
OR_AAC = EncodeOptions(preset="ultrafast", audio="copy_or_aac")
RATE = 48000


def film(path, audio=("aac",), *, seconds=2, start=Fraction(0), delay=Fraction(0), tags=()):
    """A film whose picture is bright and whose sound is loud in its second half."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, time_base=Fraction(1, 12800))
        video.width, video.height = 64, 48
        sounds = [output.add_stream(codec, rate=RATE, layout="mono") for codec in audio]
        for stream, language in zip(sounds, ("eng", "deu"), strict=False):
            stream.metadata["language"] = language
        output.metadata.update(dict(tags))
        for index in range(25 * seconds):
            level = 40 if index < 25 * seconds // 2 else 200
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8))
            frame.time_base = Fraction(1, 12800)
            frame.pts = round((start + Fraction(index, 25)) * 12800)
            output.mux(video.encode(frame))
        for stream in sounds:
            for packet in tone(stream, seconds, start + delay):
                output.mux(packet)
        output.mux(video.encode(None))
    return path


def tone(stream, seconds, start):
    """Encode a 440 Hz tone, silent in its first half, from `start` seconds on."""
    clock = np.arange(RATE * seconds) / RATE
    wave = (np.sin(2 * np.pi * 440 * clock) * (clock >= seconds / 2) * 20000).astype(np.int16)
    size = stream.codec_context.frame_size or 1000
    resampler = av.AudioResampler(stream.format, "mono", RATE)
    for at in range(0, len(wave), size):
        frame = av.AudioFrame.from_ndarray(wave[None, at : at + size], "s16", "mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = at + round(start * RATE)
        for ready in resampler.resample(frame):
            yield from stream.encode(ready)
    yield from stream.encode(None)


def packets(path, index=0):
    """Return (time in seconds, bytes) of each audio packet."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[index]
        found = [(p.pts * p.time_base, bytes(p)) for p in file.demux(stream) if p.pts is not None]
    return found


def copy(source, target, start=0, stop=None, encode=FAST, **options):
    info = probe(source)
    frames = list(read_frames(source, start, stop))
    ends = {} if stop is None else {"audio_stop": frames[-1].time + 1 / info.frame_rate}
    with VideoWriter(target, info, 64, 48, encode, audio_from=source, **ends, **options) as writer:
        for frame in frames:
            writer.write(frame.pixels[None], [frame.time])
    return target


def onset(path):
    """Return the time at which the sound begins, in seconds, as a player would hear it."""
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            loud = np.abs(frame.to_ndarray().astype(np.float64)).reshape(-1)
            peak = 0.2 * (32768 if loud.max() > 2 else 1)
            if (loud > peak).any():
                return frame.time + np.argmax(loud > peak) / RATE
    return None


def flash(path):
    """Return the time of the first bright picture."""
    return next(float(f.time) for f in read_frames(path) if f.pixels.mean() > 0.5)


def pcm(path, rate=RATE, layout="stereo", parts=100, missing=range(0)):
    """A film of a second with a tone of its own in each channel; some packets are left out."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        video.width, video.height = 64, 48
        sound = output.add_stream("pcm_s16le", rate=rate, layout=layout)
        for _ in range(25):
            output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))))
        output.mux(video.encode(None))
        channels = np.arange(sound.channels)[:, None] + 1
        wave = np.sin(2 * np.pi * 200 * channels * np.arange(rate) / rate) * 8000
        for index in sorted(set(range(parts)) - set(missing)):
            part = wave[:, index * rate // parts : (index + 1) * rate // parts]
            packed = np.ascontiguousarray(part.T.reshape(1, -1)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(packed, "s16", layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = index * rate // parts
            output.mux(sound.encode(frame))
    return path


def loudness(path):
    """Return the peak of each hundredth of a second."""
    with av.open(str(path)) as file:
        sound = np.concatenate([f.to_ndarray() for f in file.decode(audio=0)], 1)
    whole = sound.shape[1] // (RATE // 100)
    return np.abs(sound[:, : whole * RATE // 100]).reshape(len(sound), whole, -1).max((0, 2))
