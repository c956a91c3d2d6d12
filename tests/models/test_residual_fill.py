"""A transformer that predicts what is to be added to a first fill."""

from dataclasses import replace

import torch

from dreamstereo_core import ClassicInpainter, DiffusionInpainter
from dreamstereo_core.fill.diffusion import SETTLED
from dreamstereo_core.models.config import MINI
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae_checkpoint import build_vae

from .fakes import BlockVAE, Oracle, clip


def residual_fill(inpainted, **fields):
    transformer = Oracle(inpainted)
    transformer.config = replace(MINI, residual=True)
    return DiffusionInpainter(transformer, BlockVAE(), window=5, overlap=2, **fields)


def nothing(masked, known, call):
    grey = torch.zeros_like(masked)
    grey[:, :3] = 0.5
    return grey


def test_a_residual_of_nothing_is_the_first_fill():
    video, mask = clip(33)
    mask[:, :, 50:54, 60:62] = 1  # narrow ones too
    disparity = torch.zeros_like(mask)
    inpainter = residual_fill(nothing)
    filled = inpainter.inpaint(video, mask, disparity=disparity)
    first = ClassicInpainter().inpaint(video, mask, disparity=disparity)
    assert inpainter.transformer.calls > 2
    assert torch.allclose(filled, first, atol=1e-5)


def test_an_untrained_residual_transformer_leaves_the_first_fill_whatever_the_seed():
    torch.manual_seed(0)
    transformer = Transformer(replace(MINI, dim=48, ffn_dim=96, num_heads=2, num_layers=1))
    transformer.initialize_weights()
    transformer.config = replace(transformer.config, residual=True)
    inpainter = DiffusionInpainter(transformer.eval(), BlockVAE(), window=3, overlap=1)
    video, mask = clip(9)
    first = ClassicInpainter().inpaint(video, mask)
    assert torch.allclose(inpainter.inpaint(video, mask, seed=0), first, atol=1e-5)
    transformer.head.head.weight.data.normal_()
    changed = inpainter.inpaint(video, mask, seed=0)
    assert not torch.allclose(changed, first, atol=1e-2)
    assert torch.equal(inpainter.inpaint(video, mask, seed=1), changed)


def test_a_residual_is_added_to_the_first_fill_and_told_its_latents():
    seen = []

    def brighter(masked, known, call):
        seen.append(masked.clone())
        answer = nothing(masked, known, call)
        answer[:, :3, :, 3:5, 4:5] += 0.1  # inside the hole
        return answer

    video, mask = clip(17)
    first = ClassicInpainter(reach=()).inpaint(video, mask)
    filled = residual_fill(brighter, first_fill=ClassicInpainter(reach=())).inpaint(video, mask)
    added = torch.zeros_like(video)
    added[:, :, 24:40, 32:40] = 0.1
    assert torch.allclose(filled, first + added, atol=1e-5)
    expected = BlockVAE().encode_chunk(first[:1].transpose(0, 1)[None])[0]
    assert torch.allclose(seen[0][:, :, :1], expected, atol=1e-6)


def test_residuals_of_windows_that_disagree_pass_over_step_by_step():
    def drifting(masked, known, call):
        answer = nothing(masked, known, call)
        answer[:, :3, :, 2:6, 3:6] += 0.2 if call % 2 else 0.0
        return answer

    video, mask = clip(49, still=True)
    filled = residual_fill(drifting).inpaint(video, mask)
    inside = filled[:, :, 24:40, 32:40].mean((1, 2, 3))
    whole = inside.max() - inside.min()
    assert whole > 0.05
    assert (inside[1:] - inside[:-1]).abs().max() < whole / 3 * 1.05  # two latents to fade over


def test_a_still_clip_settles_before_its_latents_are_reused():
    torch.manual_seed(0)
    latents = build_vae("mini").eval().encode(torch.full((1, 3, 41, 32, 32), 0.5))
    assert torch.allclose(latents[:, :, SETTLED - 1 :], latents[:, :, -1:], atol=1e-5)
    assert not torch.allclose(latents[:, :, 0], latents[:, :, -1], atol=1e-5)
