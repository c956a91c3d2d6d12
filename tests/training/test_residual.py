"""First fills in pairs, and training on their corrections."""

import json
from types import SimpleNamespace

import build_pairs
import distill_step
import pretrain
import pytest
import torch
from accelerate import Accelerator
from dataset import DataSettings, PairDataset
from files import DataError
from flow import FlowSettings, encode_batch, fill_clip, preview
from latents import cache_latents
from loop import RunSettings
from residual import corrected, correction, first_fill
from safetensors import safe_open
from shards import BLOCK, LOSSLESS, Pair, ShardWriter, list_pairs
from torch.nn import functional as F

from dreamstereo_core import ClassicInpainter, gapw_warp
from dreamstereo_core.models.checkpoint import load_transformer
from dreamstereo_core.models.conditioning import to_latent_mask
from dreamstereo_core.models.sparse import select_tokens, token_mask
from dreamstereo_core.models.vae_checkpoint import load_vae

from .scene import scene


class PixelVAE:
    """Latents that are the pixels: the first of each 4 frames, by squares of 8."""

    device = torch.device("cpu")

    def encode(self, video):
        return F.pixel_unshuffle(video[:, :, ::4].transpose(1, 2), 8).transpose(1, 2)

    def decode(self, latent):
        frames = F.pixel_shuffle(latent.transpose(1, 2), 8).transpose(1, 2)
        return frames.repeat_interleave(4, 2)[:, :, 3:]


class PerfectModel(torch.nn.Module):
    """Knows the velocity to given latents, and predicts nonsense at tokens that are dropped."""

    def __init__(self, latent):
        super().__init__()
        self.latent = latent
        self.transformer = SimpleNamespace(refiner=None)
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, noisy, missing, masked_latent, timestep, tokens=None):
        velocity = noisy - self.latent
        return velocity if tokens is None else velocity * token_mask(tokens, velocity.shape)


def data_settings(pairs, **changes):
    values = {"pairs": str(pairs), "frames": 5, "height": 32, "width": 32, "held_out": 1}
    return DataSettings(**(values | changes))


def test_a_pair_has_the_classic_fill_of_its_masked_clip(filled_pairs):
    """With the disparity of the view in which the holes lie, as inference has it."""
    pair = list_pairs(filled_pairs)[0].read()
    assert pair.fill is not None
    video, disparity = scene()
    left = gapw_warp(video, disparity, toward="left")
    back = gapw_warp(left.video, left.disparity, toward="right")
    mask = back.occlusion_mask
    assert torch.equal(mask[:, 0] > 0, pair.mask)
    clip = pair.frames / 255
    expected = ClassicInpainter().inpaint(clip * (1 - mask), mask, disparity=back.disparity)
    expected = torch.where(mask > 0, expected, clip)
    assert (pair.fill / 255 - expected).abs().max() < 0.51 / 255
    hole = pair.mask.unsqueeze(1).expand_as(clip)
    assert (pair.fill[hole].float() - pair.frames[hole].float()).abs().max() > 8
    # The near box is not drawn out into the holes: the disparity is looked at.
    blind = ClassicInpainter().inpaint(clip * (1 - mask), mask)
    assert not torch.equal(blind[hole], expected[hole])


def test_fills_cost_little_and_are_exact_in_holes_only(tmp_path):
    generator = torch.Generator().manual_seed(0)
    frames, fill = torch.randint(0, 256, (2, 2, 3, 60, 84), generator=generator).to(torch.uint8)
    mask = torch.zeros(2, 60, 84, dtype=torch.bool)
    mask[:, 55:58, 70:83] = True
    fill = torch.where(mask.unsqueeze(1), fill, frames)
    writer = ShardWriter(tmp_path, {}, LOSSLESS)
    writer.add("a", [Pair(frames, mask, {}, fill)])
    writer.flush()
    (entry,) = list_pairs(tmp_path)
    assert sum(entry.info["fill_bytes"]) < 0.2 * sum(entry.info["frame_bytes"])
    assert torch.equal(entry.read().fill, fill)
    kept = entry.read_fill(1, 2)
    assert torch.equal(kept[..., 48 + BLOCK :, 72:80], fill[1:, :, 48 + BLOCK :, 72:80])
    assert not kept[..., :48, :].any()


def test_no_fill_goes_on_with_shards_of_before_there_were_fills(tmp_path, write_pairs):
    photo, old = tmp_path / "photo.png", tmp_path / "old"
    build_pairs.write_png(photo, scene()[0][0])
    command = [str(photo), "--size", "80x48", "--frames", "5", "--depth", "embedded"]
    assert build_pairs.main([*command, "--out", str(old), "--no-fill"]) == 0
    assert build_pairs.main([*command, "--out", str(tmp_path / "new")]) == 0
    bare, whole = list_pairs(old)[0], list_pairs(tmp_path / "new")[0]
    assert bare.read().fill is None
    assert whole.read().fill is not None
    assert torch.equal(bare.read().mask, whole.read().mask)
    with safe_open(bare.path, framework="pt") as file:
        assert "fill" not in json.loads(file.metadata()["settings"])
    assert build_pairs.main([*command, "--out", str(old), "--no-fill"]) == 0
    assert build_pairs.main([*command, "--out", str(old)]) == 1


@pytest.mark.parametrize("flip", [False, True])
def test_fills_are_cut_and_mirrored_like_the_clip(filled_pairs, flip):
    dataset = PairDataset(data_settings(filled_pairs, flip=flip, focus=0.5))
    mirrored = 0
    for index in range(8):
        sample = dataset[index]
        video, fill, mask = sample["video"], sample["fill"], sample["mask"]
        assert fill.shape == video.shape
        known = (mask == 0).expand_as(video)
        assert torch.equal(fill[known], video[known])
        # The crop's place in the whole clip, by its picture; the fill must be from there too.
        pair = dataset._entry(index).read()
        places = [(False, *place) for place in find(pair.frames, video)]
        places += [(True, *place) for place in find(pair.frames, video.flip(-1))]
        (turned, y, x), *_ = places
        mirrored += turned
        assert pair.fill is not None
        there = pair.fill[..., y : y + 32, x : x + 32].transpose(0, 1) / 255
        assert torch.equal(fill.flip(-1) if turned else fill, there)
    assert (mirrored > 0) == flip


def find(frames, video):
    crop = (video.transpose(0, 1) * 255).round().to(torch.uint8)
    height, width = frames.shape[-2] - 31, frames.shape[-1] - 31
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if torch.equal(frames[:, :, y, x], crop[:, :, 0, 0])
        and torch.equal(frames[..., y : y + 32, x : x + 32], crop)
    ]


def test_old_shards_have_no_fill_and_say_so(pairs, filled_pairs):
    dataset = PairDataset(data_settings(pairs))
    assert dataset[0].keys() == {"video", "mask", "index"}
    with pytest.raises(DataError, match=r"pairs-00000\.safetensors: .*without --no-fill"):
        dataset.require_fills()
    with pytest.raises(DataError, match="without --no-fill"):
        dataset.entries[0].read_fill(0, 1)
    drawn = PairDataset(data_settings(filled_pairs, masks="mixed"))
    assert "fill" not in drawn[0]
    with pytest.raises(ValueError, match="masks: expected pairs"):
        drawn.require_fills()
    PairDataset(data_settings(filled_pairs)).require_fills()


def test_what_is_added_to_a_fill_gives_the_truth():
    video = torch.rand(1, 3, 2, 4, 4)
    fill = (video + 0.4 * torch.rand_like(video) - 0.2).clamp(0, 1)
    assert torch.allclose(corrected(fill, correction(video, fill)), video, atol=1e-6)
    assert (correction(video, video) == 0.5).all()
    white, black = torch.ones(1), torch.zeros(1)
    assert correction(white, black) == 1
    assert correction(black, white) == 0


def test_a_perfect_model_recovers_the_truth_and_leaves_the_rest_of_the_fill(filled_pairs):
    dataset = PairDataset(data_settings(filled_pairs, frames=1, height=48, width=96))
    sample = {key: value[None] for key, value in dataset[0].items()}
    vae = PixelVAE()
    encode_batch(vae, sample, residual=True)
    assert torch.equal(sample["masked_latent"], vae.encode(sample["fill"]))
    model = PerfectModel(sample["latent"].clone())
    # Errors far from holes must not come out: these tokens are dropped.
    tokens = select_tokens(to_latent_mask(sample["missing"]))
    far = ~token_mask(tokens, sample["latent"].shape)
    assert far.any()
    model.latent += far * torch.rand_like(model.latent)
    truth, fill, mask = sample["video"], sample["fill"], sample["mask"]
    result = fill_clip(model, vae, sample, 0, residual=True)
    assert (fill - truth).abs().max() > 0.1
    within = ((truth - fill).abs() <= 0.5) & (mask > 0)
    assert within.any()
    assert torch.allclose(result[within], truth[within], atol=1e-5)
    known = (mask == 0).expand_as(truth)
    assert torch.allclose(result[known], truth[known], atol=1e-5)


def test_a_narrow_hole_is_left_to_the_first_fill():
    mask = torch.zeros(2, 1, 5, 32, 32)
    mask[0, :, 0, 4:28, 3:6] = 1
    mask[1, :, 2, 4:12, 18:22] = 1
    video = torch.rand(2, 3, 5, 32, 32)
    batches = [{"video": video, "mask": mask, "fill": video} for _ in range(2)]
    encode_batch(PixelVAE(), batches[0], residual=True)
    encode_batch(PixelVAE(), batches[1])
    assert not batches[0]["missing"][0].any()
    assert batches[1]["missing"][0].any()
    assert torch.equal(batches[0]["missing"][1], batches[1]["missing"][1])
    assert batches[0]["missing"][1, :, 1].amax(0).nonzero().tolist() == [[0, 2], [1, 2]]


def test_latents_of_corrections_are_not_taken_for_others(filled_pairs, models, tmp_path):
    dataset = PairDataset(data_settings(filled_pairs))
    vae = load_vae(models / "vae.safetensors", device="cpu")
    options = {"identity": {"a": 1}, "accelerator": Accelerator()}
    cached = cache_latents(dataset, vae, tmp_path, 1, residual=True, **options)
    batch = {key: value[None] for key, value in dataset[0].items()}
    encode_batch(vae, batch, residual=True)
    for name, picture in (
        ("latent", correction(batch["video"], batch["fill"])),
        ("masked_latent", batch["fill"]),
    ):
        assert torch.allclose(batch[name], vae.encode(picture), atol=1e-5)
        assert torch.allclose(cached[0][name], batch[name][0], atol=0.02)
    with pytest.raises(DataError, match="or of corrections"):
        cache_latents(dataset, vae, tmp_path, 1, **options)


def run_settings(steps):
    return RunSettings(
        steps=steps,
        batch=2,
        lr=4e-3,
        warmup=1,
        schedule="constant",
        log_every=1,
        sample_every=steps,
        checkpoint_every=steps,
    )


def own_settings(models, **changes):
    values = {"vae": str(models / "vae.safetensors"), "model": "tiny", "residual": True}
    flow = FlowSettings(one_step=1.0, known_weight=0.2, sparse=0.5)
    return pretrain.TransformerSettings(**({"flow": flow} | values | changes))


def columns(path):
    header, *rows = [line.split(",") for line in path.read_text().split()]
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}


@pytest.mark.parametrize("cached", [False, True])
def test_a_residual_transformer_learns(filled_pairs, models, tmp_path, cached):
    own = own_settings(models, cache=str(tmp_path / "cache") if cached else None, cached_samples=4)
    settings = pretrain.PretrainSettings(
        data_settings(filled_pairs, held_out=0), run_settings(24), transformer=own
    )
    exported = pretrain.train(settings, tmp_path / "run")
    assert load_transformer(exported).config.residual
    losses = columns(tmp_path / "run" / "losses.csv")["loss"]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    figures = columns(tmp_path / "run" / "held_out.csv")
    assert len(figures["first_fill_psnr"]) == len(figures["hole_psnr"]) == 2
    assert len(set(figures["first_fill_psnr"])) == 1  # the fill is what it is
    if not cached:
        sharpened = distill_step.train(
            distill_step.DistillStepSettings(
                data_settings(filled_pairs, held_out=0),
                run_settings(2),
                str(exported),
                own.vae,
                perceptual=0.0,
                adversarial=0.0,
            ),
            tmp_path / "sharp",
        )
        assert load_transformer(sharpened).config.residual


def test_a_refiner_learns_with_its_transformer_through_the_decoder(filled_pairs, models, tmp_path):
    settings = distill_step.DistillStepSettings(
        data_settings(filled_pairs, held_out=0),
        run_settings(30),
        "tiny",
        str(models / "vae.safetensors"),
        x0=0.0,
        perceptual=0.0,
        adversarial=0.0,
        refiner=True,
    )
    trained = load_transformer(distill_step.train(settings, tmp_path / "run"))
    assert trained.config.refiner
    assert trained.refiner.leave.weight.abs().max() > 0
    assert trained.head.head.weight.abs().max() > 0
    losses = columns(tmp_path / "run" / "losses.csv")["pixels"]
    assert sum(losses[-6:]) < 0.95 * sum(losses[:6])


def test_an_error_is_weighted_and_counted_for_each_clip():
    truth, video = torch.zeros(2, 3, 1, 2, 2), torch.zeros(2, 3, 1, 2, 2)
    video[0, :, :, 0, 0], video[1] = 0.4, 0.1
    weight = torch.ones(2, 1, 1, 2, 2)
    weight[0, :, :, 1] = 0
    error = distill_step.mean_error(video, truth, weight)
    assert torch.allclose(error, torch.tensor([0.2, 0.1]))


def test_a_preview_without_correction_is_the_first_fill(filled_pairs):
    dataset = PairDataset(data_settings(filled_pairs, frames=1, height=48, width=96))
    vae = PixelVAE()
    grey = vae.encode(torch.full((1, 3, 1, 48, 96), 0.5))
    picture, figures = preview(PerfectModel(grey), vae, dataset, 2, residual=True)
    assert picture.shape[0] == 3
    assert figures["hole_psnr"] == pytest.approx(figures["first_fill_psnr"], abs=1e-3)


def test_residual_training_asks_for_fills_and_whole_windows(pairs, filled_pairs, models, tmp_path):
    def train(folder, **changes):
        settings = pretrain.PretrainSettings(
            data_settings(folder), run_settings(1), transformer=own_settings(models, **changes)
        )
        pretrain.train(settings, tmp_path)

    with pytest.raises(DataError, match="without --no-fill"):
        train(pairs)
    with pytest.raises(ValueError, match="continued: expected 0 for a residual"):
        train(filled_pairs, flow=FlowSettings(continued=0.2))


def test_the_first_fill_keeps_what_is_known():
    video, _ = scene(frames=2)
    frames, mask = (video * 255).round().to(torch.uint8), torch.zeros(2, 1, 48, 96)
    mask[..., 10:30, 50:60] = 1
    fill = first_fill(frames, mask, torch.zeros(2, 1, 48, 96))
    assert fill.dtype == torch.uint8
    known = (mask == 0).expand_as(frames)
    assert torch.equal(fill[known], frames[known])
    ignored = torch.where(mask > 0, 0, frames)
    assert torch.equal(first_fill(ignored, mask, torch.zeros(2, 1, 48, 96)), fill)
