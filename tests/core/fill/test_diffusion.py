"""The diffusion inpainter: windows, sizes, memory, colours."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dreamstereo_core import (
    ConvertOptions,
    DiffusionInpainter,
    MaskedFrame,
    StereoPipeline,
    load_depth,
)
from dreamstereo_core.fill.colour import lock_colours
from dreamstereo_core.models.conditioning import missing_channels, to_latent_mask
from dreamstereo_core.models.sparse import select_tokens
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import build_vae
from dreamstereo_core.models.vae.config import TAEW
from dreamstereo_core.models.vae.hole_tiles import HoleDecoder
from dreamstereo_core.sampling import denoise, position_noise, prepare_steps, sigmas

from ...models.fakes import SMALL_VAE, TINY, BlockVAE, Oracle, clip


def make(window=21, overlap=4, vae=SMALL_VAE, **fields):
    torch.manual_seed(0)
    transformer = Transformer(TINY).eval()
    with torch.no_grad():
        transformer.context.normal_()
    vae = vae if isinstance(vae, torch.nn.Module) else build_vae(vae).eval()
    return DiffusionInpainter(transformer, vae, window=window, overlap=overlap, **fields)


def oracle_fill(inpainted, window=5, overlap=2):
    return DiffusionInpainter(Oracle(inpainted), BlockVAE(), window=window, overlap=overlap)


@pytest.mark.parametrize(
    ("num_steps", "dilation", "sampler"), [(1, 5, "euler"), (3, 1, "euler"), (3, 5, "renoise")]
)
def test_a_clip_of_one_window_is_the_plain_chain_of_steps(num_steps, dilation, sampler):
    inpainter = make()
    video, mask = clip(13)
    batch, hole = video.transpose(0, 1)[None], mask.transpose(0, 1)[None]
    with torch.no_grad():
        latent = inpainter.vae.encode(torch.where(hole > 0, 0.5, batch))
        missing = missing_channels(hole)
        schedule = sigmas(num_steps, inpainter.shift)
        latent = denoise(
            inpainter.transformer,
            position_noise(0, 4, (16, 8, 12), seed=7),
            missing,
            latent,
            schedule=schedule,
            conditionings=prepare_steps(inpainter.transformer, schedule, None),
            tokens=select_tokens(to_latent_mask(missing), dilation=dilation),
            fresh=(lambda step: position_noise(0, 4, (16, 8, 12), seed=7, step=step))
            if sampler == "renoise"
            else None,
        )
        expected = inpainter.vae.decode(latent)[0].transpose(0, 1)
    expected = lock_colours(expected, video, mask)
    options = {"num_steps": num_steps, "dilation": dilation, "seed": 7}
    filled = inpainter.inpaint(video, mask, sampler=sampler, **options)
    assert torch.allclose(filled, expected, atol=1e-5)
    other = inpainter.inpaint(video, mask, **options)  # at one step both samplers are the same
    assert torch.equal(filled, other) == (sampler == "euler")


@pytest.mark.parametrize("vae", [SMALL_VAE, TAEW], ids=["wan", "taew"])
@pytest.mark.parametrize("frames", [1, 2, 5, 6, 12, 24])
def test_any_length_and_size(frames, vae):
    inpainter = make(window=3, overlap=1, vae=vae)
    video, mask = clip(frames, 61, 83)
    filled = inpainter.inpaint(video, mask)
    assert filled.shape == video.shape
    assert torch.isfinite(filled).all()


def test_frames_come_out_in_order_and_a_window_behind():
    inpainter = oracle_fill(lambda masked, known, call: masked, window=4, overlap=1)
    video, mask = clip(40)
    video = torch.arange(40.0).view(-1, 1, 1, 1).expand(-1, 3, 64, 96) / 40
    taken = 0

    def frames():
        nonlocal taken
        for t in range(40):
            taken += 1
            yield type("F", (), {"video": video[t : t + 1], "occlusion_mask": mask[t : t + 1]})

    for number, filled in enumerate(inpainter.stream(frames())):
        assert abs(float(filled[..., 0, 0].mean()) - number / 40) < 0.11  # of its own latent
        assert taken - number <= 4 * 4 + 5
    assert number == 39


def test_the_same_seed_gives_the_same_fill_and_another_one_another():
    inpainter = make(window=3, overlap=1)
    video, mask = clip(18)
    first = inpainter.inpaint(video, mask, seed=1)
    assert torch.equal(first, inpainter.inpaint(video, mask, seed=1))
    assert not torch.allclose(first, inpainter.inpaint(video, mask, seed=2), atol=1e-3)


def test_what_the_holes_contain_is_ignored():
    inpainter = make()
    video, mask = clip(6)
    fills = [inpainter.inpaint(torch.where(mask > 0, x, video), mask) for x in (0.0, 1.0)]
    assert torch.equal(*fills)


def test_frames_before_the_first_hole_pass_and_no_hole_runs_nothing():
    video, mask = clip(9)
    mask[:4] = 0
    inpainter = make()
    filled = inpainter.inpaint(video, mask)
    assert torch.equal(filled[:4], video[:4])
    assert not torch.equal(filled[4:], video[4:])
    idle = DiffusionInpainter(inpainter.transformer, nn.Identity())  # it would fail if it ran
    assert torch.equal(idle.inpaint(video, mask * 0), video)


def test_a_window_without_holes_skips_the_transformer():
    inpainter = oracle_fill(lambda masked, known, call: masked, window=2, overlap=0)
    video, mask = clip(17)
    mask[5:13] = 0  # the second of three windows
    inpainter.inpaint(video, mask)
    assert inpainter.transformer.calls == 2


def test_the_kept_tokens_follow_the_options():
    inpainter = oracle_fill(lambda masked, known, call: masked)
    video, mask = clip(17, 160, 160)
    kept = {}
    for dilation, stride in ((1, None), (3, None), (1, 2)):
        inpainter.temporal_stride = stride
        inpainter.inpaint(video, mask, dilation=dilation)
        kept[dilation, stride] = inpainter.transformer.tokens.shape[1] / 5  # latent frames
    # The hole covers two tokens in y and two in x; two of five frames keep all 100 tokens.
    assert kept == {(1, None): 4, (3, None): 16, (1, 2): (2 * 100 + 3 * 4) / 5}


@pytest.mark.parametrize("num_steps", [1, 3])
def test_buckets_give_the_same_fill_of_few_counts(num_steps):
    inpainter = make(window=3, overlap=1)
    video, mask = clip(24)
    mask[10:, :, :, 60:70] = 1  # windows of different counts
    counts = {}
    for bucket in (None, 16):
        inpainter.bucket = bucket
        seen = counts[bucket] = []
        inner = inpainter.transformer.blocks[0].register_forward_pre_hook(
            lambda _, given, seen=seen: seen.append(given[0].shape[1])
        )
        filled = inpainter.inpaint(video, mask, num_steps=num_steps, dilation=1)
        inner.remove()
        if bucket is None:
            expected = filled
    assert torch.allclose(filled, expected, atol=2e-4)  # a random network amplifies rounding
    assert any(n % 16 for n in counts[None])
    assert not any(n % 16 for n in counts[16])
    assert len(set(counts[None])) > 1


def test_narrow_holes_are_filled_from_beside_and_keep_no_tokens():
    inpainter = oracle_fill(lambda masked, known, call: masked)
    video = torch.linspace(0.2, 0.8, 96).expand(9, 3, 64, 96)
    mask = torch.zeros(9, 1, 64, 96)
    mask[:, :, ::2, 50:53] = 1
    broken = torch.where(mask > 0, 7.0, video)
    filled = inpainter.inpaint(broken, mask)
    assert inpainter.transformer.calls == 0
    assert torch.allclose(filled, video, atol=0.02)
    mask[:, :, 10:40, 20:30] = 1  # and with a wide one in the same frames
    broken = torch.where(mask > 0, 7.0, video)
    filled = inpainter.inpaint(broken, mask)
    assert inpainter.transformer.calls > 0
    assert torch.allclose(filled[..., 50:53], video[..., 50:53], atol=0.02)


def test_a_static_scene_stays_identical_across_the_window_borders():
    def local(masked, known, call):
        """The mean of the known latents: the same for each frame of a static scene."""
        mean = (masked * known[:, :1]).sum((3, 4), keepdim=True)
        mean = mean / known[:, :1].sum((3, 4), keepdim=True)
        return torch.where(known[:, :1] > 0, masked, mean)

    video, mask = clip(49, still=True)
    inpainter = oracle_fill(local)
    filled = inpainter.inpaint(video, mask)
    assert inpainter.transformer.calls > 3
    assert torch.allclose(filled, filled[:1].expand_as(filled), atol=1e-5)
    assert not torch.allclose(filled, video, atol=1e-2)


def test_windows_that_disagree_pass_over_step_by_step():
    def drifting(masked, known, call):
        drifting = masked.clone()
        drifting[..., 2:6, 3:6] = 0.8 if call % 2 else 0.5  # around the hole
        return drifting

    video, mask = clip(49, still=True)
    filled = oracle_fill(drifting, window=6, overlap=3).inpaint(video, mask)
    inside = filled[:, :, 24:40, 32:40].mean((1, 2, 3))
    jumps = (inside[1:] - inside[:-1]).abs()
    whole = inside.max() - inside.min()
    assert whole > 0.1
    assert jumps.max() < whole / 4 * 1.05  # three latents to fade over


def test_a_later_window_is_told_what_the_earlier_one_made():
    seen = []

    def note(masked, known, call):
        seen.append((masked.clone(), known.clone()))
        return torch.full_like(masked, 0.1 * call)

    video, mask = clip(33, still=True)
    oracle_fill(note, window=5, overlap=2).inpaint(video, mask)
    (_, first), (masked, known) = seen[:2]
    assert first[:, :, 3:].min() == 0  # a hole when the first window met it,
    assert known[:, :, :2].min() == 1  # known to the second,
    assert torch.allclose(masked[:, :3, :2, 3, 4], torch.tensor(0.1))  # with that result
    assert known[:, :, 2:].min() == 0


def test_a_real_networks_borders_are_no_worse_than_its_other_frames():
    inpainter = make(window=4, overlap=2)
    video, mask = clip(61, still=True)
    filled = inpainter.inpaint(video, mask)
    change = ((filled[1:] - filled[:-1]).abs() * mask[1:]).mean((1, 2, 3))[12:-8]
    assert change.max() < 2 * change.median()


def test_colours_are_locked_to_the_known_pixels():
    video, mask = clip(3)
    truth = torch.where(mask > 0, 0.4, video)
    tinted = truth + torch.tensor([0.1, -0.05, 0.02]).view(1, 3, 1, 1)
    assert torch.allclose(lock_colours(tinted, video, mask), truth, atol=1e-5)
    assert torch.allclose(lock_colours(truth, video, mask), truth, atol=1e-5)
    everything = torch.ones_like(mask)
    assert torch.equal(lock_colours(tinted, video, everything), tinted)  # nothing to go by


def test_a_fill_with_a_colour_cast_has_none_in_the_end():
    class Tinted(BlockVAE):
        def decode_chunk(self, latent, cache=None, **options):
            video, cache = super().decode_chunk(latent, cache, **options)
            return video + 0.2, cache

    video, mask = torch.full((9, 3, 64, 96), 0.3), clip(9)[1]
    inpainter = DiffusionInpainter(
        Oracle(lambda masked, known, call: torch.full_like(masked, 0.3)), Tinted()
    )
    assert (inpainter.inpaint(video, mask) - 0.3).abs().max() < 1e-4


class SmallMemory(BlockVAE):
    """Runs by tiles of at most `most` pixels."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def encode(self, video, *, tile=None):
        if tile is None or tile > self.most:
            raise torch.cuda.OutOfMemoryError("too much")
        return video

    def decode(self, latent, *, tile=None):
        return latent


def test_the_autoencoder_gets_the_largest_tile_that_fits():
    assert make(vae=SmallMemory(300)).fit_tile((512, 512)) == 256
    with pytest.raises(MemoryError, match="vae: too little memory for frames of 640x512"):
        make(vae=SmallMemory(64)).fit_tile((512, 640))


def test_too_little_memory_says_what_window_fits():
    class Small(Oracle):
        def __call__(self, x, conditioning, tokens=None):
            if x.shape[2] > 3:
                raise torch.cuda.OutOfMemoryError("too much")
            return super().__call__(x, conditioning, tokens)

    inpainter = DiffusionInpainter(Small(lambda masked, known, call: masked), BlockVAE())
    message = "too little memory for a window of 13 latent frames; one of 3 fits"
    with pytest.raises(MemoryError, match=message):
        inpainter.inpaint(*clip(49))


def largest(mask, size):
    """The largest value of the pixels that each cell of a coarser or finer grid touches."""
    rows, columns = (
        [slice(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]
        for n, count in zip(mask.shape[-2:], size, strict=True)
    )
    parts = [torch.stack([mask[..., r, c].amax((-2, -1)) for c in columns], -1) for r in rows]
    return torch.stack(parts, -2)


@pytest.mark.parametrize("film", [(128, 192), (90, 150), (48, 60)])
def test_a_fill_at_another_size_is_that_of_the_scaled_film(film):
    inpainter = make(fill_size=(64, 96))
    video, mask = clip(9, *film)
    size, known = inpainter.working_size(film), 1 - mask
    assert size == {(128, 192): (64, 96), (90, 150): (58, 96), (48, 60): (64, 80)}[film]

    def scaled(x, size, mode):
        return nn.functional.interpolate(x, size, mode=mode, antialias=True)

    small = scaled(video * known, size, "bilinear") / scaled(known, size, "bilinear").clamp(1e-6)
    frames = zip(small.split(1), largest(mask, size).split(1), strict=True)
    plain = make(narrow=1).stream_decoded([MaskedFrame(*frame) for frame in frames])
    expected = lock_colours(scaled(torch.cat(list(plain)), film, "bicubic"), video, mask)
    assert torch.allclose(inpainter.inpaint(video, mask), expected, atol=1e-5)
    fills = [inpainter.inpaint(torch.where(mask > 0, x, video), mask) for x in (0.0, 1.0)]
    assert torch.equal(*fills)  # what the holes contain is ignored


@pytest.mark.parametrize("fill_size", [(64, 96), (64, 200), (100, 96)])
def test_a_fill_at_the_films_own_size_is_the_same_to_the_bit(fill_size):
    video, mask = clip(6)
    fills = [make(fill_size=size).inpaint(video, mask) for size in (None, fill_size)]
    assert torch.equal(*fills)


def test_another_fill_size_changes_holes_alone():
    torch.manual_seed(0)
    frames = list(torch.rand(3, 3, 12, 16).repeat_interleave(8, 2).repeat_interleave(8, 3))
    whole, scaled = (
        next(StereoPipeline(load_depth("cues"), make(fill_size=size), options).convert(frames))
        for options in [ConvertOptions(max_disparity=12, bars=False)]
        for size in (None, (48, 64))
    )
    assert torch.equal(whole.occlusion_mask, scaled.occlusion_mask)
    assert torch.equal(whole.left, scaled.left)
    same = (whole.right == scaled.right).all(1, keepdim=True)
    assert same[whole.occlusion_mask == 0].all()
    assert not same.all()


def test_a_context_of_zeros_stands_in_where_the_model_has_none():
    torch.manual_seed(0)
    model = Transformer(replace(TINY, learned_context=False)).eval()
    video, mask = clip(5)
    vae = build_vae(SMALL_VAE).eval()
    without = DiffusionInpainter(model, vae).inpaint(video, mask)
    zeros = DiffusionInpainter(model, vae, torch.zeros(1, 8, 24)).inpaint(video, mask)
    other = DiffusionInpainter(model, vae, torch.ones(1, 8, 24)).inpaint(video, mask)
    assert torch.equal(without, zeros)
    assert not torch.allclose(without, other, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 6, 24])
def test_a_decoder_that_sees_the_picture_decodes_holes_as_in_the_whole(frames):
    vae = build_vae(replace(SMALL_VAE, conditioned=True)).eval()
    for glance in vae.decoder.glances:
        nn.init.normal_(glance.conv[2].weight, std=0.3)
    inpainter = make(vae=vae, window=3, overlap=1, tile=32)
    video, mask = clip(frames, 61, 163)
    shown = []

    def whole(latent, picture):
        """Decode a shot's latents so far, and all of the picture."""
        shown.append((latent, picture))
        latents, pictures = (torch.cat(parts, 2) for parts in zip(*shown, strict=True))
        return vae.decode(latents, picture=pictures)[:, :, -picture.shape[2] :]

    filled = inpainter.inpaint(video, mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HoleDecoder, "decode", lambda self, *given: whole(*given))
        expected = inpainter.inpaint(video, mask)
    hole = mask.expand_as(video) > 0
    # Tones are compared with known pixels, which are the picture's own where no tile is decoded.
    assert (filled - expected)[hole].abs().max() < 0.02
    latents, pictures = (torch.cat(parts, 2) for parts in zip(*shown, strict=True))
    raw = vae.decode(latents, picture=pictures)[0].transpose(0, 1)[:frames, :, :61, :163]
    tiles = torch.cat(list(inpainter.stream_decoded(frames_of(video, mask))))
    assert torch.allclose(tiles[hole], raw[hole], atol=1e-5)
    assert torch.allclose(tiles[..., 128:], video[..., 128:], atol=1e-6)  # no hole, no tile


def frames_of(video, mask):
    return [MaskedFrame(v[None], m[None]) for v, m in zip(video, mask, strict=True)]


def test_bad_arguments_are_named():
    base = Transformer(replace(TINY, in_dim=16))
    with pytest.raises(ValueError, match=r"transformer: expected an inpainting model .* with 16"):
        DiffusionInpainter(base, build_vae(SMALL_VAE))
    with pytest.raises(ValueError, match="overlap: expected 0 to 2 latent frames"):
        make(window=3, overlap=3)
    with pytest.raises(ValueError, match="fill_size: expected at least 16x16 pixels, got 96x8"):
        make(fill_size=(8, 96))
    video, mask = clip(5)
    for options, message in (
        ({"num_steps": 0}, "num_steps: expected at least 1"),
        ({"dilation": 4}, "dilation: expected an odd number"),
        ({"seed": -1}, "seed: expected at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            make().inpaint(video, mask, **options)
    with pytest.raises(ValueError, match="occlusion_mask: expected finite values"):
        make().inpaint(video, mask / 0)
    with pytest.raises(ValueError, match="occlusion_mask: expected shape"):
        make().inpaint(video, mask[..., 1:])
