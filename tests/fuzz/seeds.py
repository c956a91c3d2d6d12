"""The sound files that are damaged: films, depths and models, all of them small."""

import json
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from safetensors.torch import save_file

from dreamstereo_core.models.config import TransformerConfig
from dreamstereo_core.models.depth.mini import MINI_DEPTH, MiniDepthConfig, MiniDepthNetwork
from dreamstereo_core.models.files.load import save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.inpainter import INPAINTING, InpaintingConfig, InpaintingNetwork
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae
from dreamstereo_core.models.vae.config import Stage, TinyVAEConfig, WanVAEConfig

TINY = TransformerConfig(
    in_dim=36, dim=48, ffn_dim=96, num_heads=2, num_layers=2, text_dim=24, learned_context=True
)
WIDTH, HEIGHT, FRAMES, RATE = 64, 48, 6, 48000


@dataclass(frozen=True)
class Seed:
    """A sound file, and what opens it."""

    path: Path
    target: str
    """A function of `targets.py`."""


# Container, video codec, pixel format, sound codec; a codec that this build lacks is left out.
FILMS = (
    ("mp4", "libx264", "yuv420p", "aac"),
    ("mkv", "ffv1", "yuv420p10le", "flac"),
    ("webm", "libvpx-vp9", "yuv420p", "libopus"),
    ("avi", "mpeg4", "yuv420p", "libmp3lame"),
    ("ts", "mpeg2video", "yuv420p", "ac3"),
    ("mov", "prores_ks", "yuv422p10le", "pcm_s16le"),
    ("gif", "gif", "rgb8", None),
)
STILLS = (("png", "png", "rgb24"), ("jpg", "mjpeg", "yuvj420p"), ("tiff", "tiff", "rgba"))
DEPTHS = (
    ("png", "png", "gray16be"),
    ("exr", "exr", "grayf32le"),
    ("mkv", "ffv1", "gray16le"),
    ("mp4", "libx264", "gray"),
)


def write_seeds(folder: Path) -> list[Seed]:
    """Write them all; the same ones at every call."""
    torch.manual_seed(0)
    seeds = [Seed(film(folder / f"film.{kind[0]}", *kind[1:]), "film") for kind in FILMS]
    for suffix, codec, pixel_format in STILLS:
        path = film(folder / f"still.{suffix}", codec, pixel_format, None, frames=1)
        seeds.append(Seed(path, "film"))
    for suffix, codec, pixel_format in DEPTHS:
        count = 1 if suffix in ("png", "exr") else FRAMES
        path = film(folder / f"depth.{suffix}", codec, pixel_format, None, frames=count)
        seeds.append(Seed(path, "depth"))
    return [*seeds, *models(folder)]


def film(
    path: Path, codec: str, pixel_format: str, sound: str | None, frames: int = FRAMES
) -> Path:
    """Write a film of a moving ramp, with sound where there is a codec for it."""
    options = {"format": "image2", "options": {"update": "1"}} if frames == 1 else {}
    with av.open(str(path), "w", **options) as output:
        stream = output.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixel_format
        tone = output.add_stream(sound, rate=RATE, layout="mono") if sound else None
        for index in range(frames):
            output.mux(stream.encode(picture(index, pixel_format)))
        output.mux(stream.encode(None))
        if tone is not None:
            output.mux(tone.encode(sine(tone)))
            output.mux(tone.encode(None))
    return path


def picture(index: int, pixel_format: str) -> av.VideoFrame:
    """Return a ramp that moves, in any format."""
    ramp = (np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * 5 + 9 * index) % 256
    if pixel_format == "grayf32le":
        frame = av.VideoFrame(WIDTH, HEIGHT, pixel_format)
        plane = frame.planes[0]
        lines = np.zeros((HEIGHT, plane.line_size // 4), np.float32)
        lines[:, :WIDTH] = ramp / 255
        plane.update(lines.tobytes())
    else:
        rgb = np.stack([ramp, ramp.T.reshape(HEIGHT, WIDTH), 255 - ramp], 2).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pixel_format)
    frame.pts, frame.time_base = index, Fraction(1, 24)
    return frame


def sine(stream) -> av.AudioFrame:
    """Return as much sound as there is picture."""
    count = RATE * FRAMES // 24
    wave = (np.sin(np.arange(count) / 20) * 20000).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    return frame


def models(folder: Path) -> list[Seed]:
    """Write one file for each loader of models."""
    transformer = Transformer(TINY)
    transformer.initialize_weights()
    save_network(transformer, folder / "transformer.safetensors", TRANSFORMER)
    save_file(_wan(), folder / "wan.safetensors")
    torch.save(_wan(), folder / "wan.pth")
    torch.save(_wan(), folder / "old.pt", _use_new_zipfile_serialization=False)
    save_network(
        InpaintingNetwork(InpaintingConfig(24, 24, 2, 1, 2)),
        folder / "mini.safetensors",
        INPAINTING,
    )
    tiny = TinyVAEConfig(
        encoder=(Stage(8, 1, 2, 2), Stage(8, 1, 2, 2), Stage(8, 1, 2, 1)),
        decoder=(Stage(8, 1, 2, 1), Stage(8, 1, 2, 2), Stage(8, 1, 2, 2)),
        stem=8,
    )
    save_network(build_vae(tiny), folder / "tiny_vae.safetensors", VAE)
    save_network(
        build_vae(WanVAEConfig((4, 4, 4, 4), (1,) * 4, (1,) * 4)), folder / "vae.safetensors", VAE
    )
    depth = MiniDepthNetwork(MiniDepthConfig((8, 8, 8, 8, 8), 64))
    save_network(depth, folder / "depth.safetensors", MINI_DEPTH)
    name = "diffusion_model.blocks.0.ffn.0."
    lora = {f"{name}lora_A.weight": torch.ones(2, 48), f"{name}lora_B.weight": torch.ones(96, 2)}
    adapter = json.dumps({"transformer.lora_alpha": 2, "transformer.r": 2})
    save_file(lora, folder / "lora.safetensors", {"lora_adapter_metadata": adapter})
    save_file({"context": torch.ones(1, 4, 24)}, folder / "context.safetensors")
    (folder / "shard.safetensors").write_bytes((folder / "wan.safetensors").read_bytes())
    places = dict.fromkeys(_wan(), "shard.safetensors")
    index = folder / "wan.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    targets = {
        "transformer.safetensors": "transformer",
        "wan.safetensors": "transformer",
        "wan.pth": "transformer",
        "old.pt": "transformer",
        "wan.safetensors.index.json": "transformer",
        "mini.safetensors": "inpainter",
        "tiny_vae.safetensors": "vae",
        "vae.safetensors": "vae",
        "depth.safetensors": "depth_model",
        "lora.safetensors": "lora",
        "context.safetensors": "context",
    }
    return [Seed(folder / name, target) for name, target in targets.items()]


def _wan() -> dict[str, torch.Tensor]:
    """Return a transformer without a config of its own, as the public files are."""
    torch.manual_seed(1)
    config = replace(TINY, dim=128, num_heads=1, learned_context=False)
    return dict(Transformer(config).state_dict())
