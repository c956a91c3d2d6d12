"""A film in pieces whose diffusion fill is another one when the run goes on."""

from dataclasses import replace

import pytest
import torch

from dreamstereo_core import DiffusionInpainter, VideoError
from dreamstereo_core.models.fp8 import FP8
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import build_vae

from ...models.fakes import SMALL_VAE, TINY
from . import test_resume as pieces
from .test_resume import FRAMES, Ended, convert, film, frames_of, work  # noqa: F401  # a fixture

CHANGES = {
    "fill_size": (48, 80),
    "memory": 2**30,
    "context": torch.ones(1, TINY.text_len, TINY.text_dim),
}


def fill(changed):
    """Return a tiny inpainter, with one thing of it changed."""
    torch.manual_seed(0)
    transformer = Transformer(TINY, operations=FP8).requires_grad_(False).eval()
    made = DiffusionInpainter(transformer, build_vae(SMALL_VAE).eval(), window=3, overlap=1)
    if changed == "fp8":
        transformer.blocks[0].ffn[0].compress()
    if changed in ("weights", "vae"):
        network = transformer if changed == "weights" else made.vae
        for weight in network.parameters():
            weight.data += 0.01
    return replace(made, **{k: v for k, v in CHANGES.items() if k == changed})


@pytest.mark.parametrize("what", [*CHANGES, "fp8", "weights", "vae"])
def test_a_changed_fill_is_named_and_nothing_is_mixed(film, tmp_path, monkeypatch, what):  # noqa: F811
    target = tmp_path / "a.mp4"
    monkeypatch.setattr(pieces, "inpainter", fill)
    with pytest.raises(Ended):
        convert(film, target, end_at=25, fill="as it is")
    done = {path: path.read_bytes() for path in work(target).glob("*.mp4")}
    assert done
    with pytest.raises(VideoError, match=rf"finished frames, but of another fill: {what} \("):
        convert(film, target, fill=what)
    assert {path: path.read_bytes() for path in work(target).glob("*.mp4")} == done
    convert(film, target, fill="as it is")
    assert len(frames_of(target)[0]) == FRAMES
