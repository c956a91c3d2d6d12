"""Samples that depend on their number alone, cut where the holes are."""

import pytest
import torch
from accelerate import Accelerator

from data.files import DataError
from data.latents import PARTS, cache_latents
from data.pair_dataset import (
    GREY,
    DataSettings,
    PairDataset,
    batches,
    masked,
    random_holes,
)
from data.random_streams import random_stream
from dreamstereo_core.models.conditioning import missing_channels
from dreamstereo_core.models.vae.checkpoint import load_vae
from objectives.flow import encode_batch


def settings(pairs, **changes):
    values = {"pairs": str(pairs), "frames": 5, "height": 32, "width": 32, "held_out": 1}
    return DataSettings(**(values | changes))


def test_a_sample_is_the_same_whatever_came_before(pairs):
    first, again = PairDataset(settings(pairs)), PairDataset(settings(pairs))
    for index in (7, 0, 3):
        again[index]
    a, b = first[3], again[3]
    assert a.keys() == {"video", "mask", "index"}
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert a["video"].shape == (3, 5, 32, 32)
    assert a["mask"].shape == (1, 5, 32, 32)
    other = PairDataset(settings(pairs), seed=1)[3]
    assert not torch.equal(a["video"], other["video"])


def test_each_round_takes_every_clip_once_but_the_held_out(pairs):
    dataset = PairDataset(settings(pairs, held_out=1))
    rounds = [[dataset._entry(i).index for i in range(r, r + 5)] for r in (0, 5)]
    assert [len(set(r)) for r in rounds] == [5, 5]
    assert set(rounds[0]) == set(rounds[1])
    held = PairDataset(settings(pairs), held_out=True)
    assert {e.index for e in held.entries}.isdisjoint(rounds[0])


def test_crops_lie_on_holes(pairs):
    focused = PairDataset(settings(pairs, height=16, width=16, focus=1.0))
    assert all(focused[i]["mask"].any() for i in range(20))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_of_two_processes_are_those_of_one(pairs, workers):
    dataset = PairDataset(settings(pairs))
    one = batches(dataset, 4, start=3, workers=workers)
    two = [batches(dataset, 2, start=3, rank=r, world=2) for r in range(2)]
    for _ in range(2):
        whole = next(one)
        halves = [next(part) for part in two]
        assert torch.equal(whole["index"], torch.cat([h["index"] for h in halves]))
        assert torch.equal(whole["video"], torch.cat([h["video"] for h in halves]))
    resumed = batches(dataset, 4, start=4)
    assert next(resumed)["index"].tolist() == whole["index"].tolist()


def test_masks_of_stage_1_are_drawn(pairs):
    plain, random = (PairDataset(settings(pairs, masks=m, focus=0.0)) for m in ("pairs", "random"))
    assert not torch.equal(plain[0]["mask"], random[0]["mask"])
    shares = [
        float(random_holes(5, 32, 48, generator=random_stream(0, "sample", i)).float().mean())
        for i in range(40)
    ]
    assert 0.02 < sum(shares) / 40 < 0.5
    assert max(shares) < 0.9


def test_holes_are_grey():
    video, mask = torch.rand(1, 3, 2, 4, 4), torch.zeros(1, 1, 2, 4, 4)
    mask[..., 2:] = 1
    result = masked(video, mask)
    assert (result[..., 2:] == GREY).all()
    assert torch.equal(result[..., :2], video[..., :2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 6}, "frames: expected 4n \\+ 1"),
        ({"width": 40}, "width: expected a multiple of 16"),
        ({"focus": 2.0}, "focus: expected 0 to 1"),
    ],
)
def test_settings_out_of_range(changes, message, pairs):
    with pytest.raises(ValueError, match=message):
        settings(pairs, **changes)


def test_clips_smaller_than_the_crop_are_named(pairs, tmp_path):
    with pytest.raises(DataError, match="expected clips of at least 9 frames of 32x32"):
        PairDataset(settings(pairs, frames=9))
    with pytest.raises(DataError, match="at least one pair"):
        PairDataset(settings(tmp_path))


def test_cached_latents_are_those_of_the_samples(pairs, models, tmp_path):
    dataset = PairDataset(settings(pairs))
    vae = load_vae(models / "vae.safetensors", device="cpu")
    options = {"vae_digest": "a", "accelerator": Accelerator()}
    cached = cache_latents(dataset, vae, tmp_path, 18, **options)
    batch = {key: value[None] for key, value in dataset[17].items()}
    encode_batch(vae, batch)
    assert torch.equal(batch["missing"], missing_channels(batch["mask"]))
    found = min(
        (cached[i] for i in range(18)),
        key=lambda sample: float((sample["latent"] - batch["latent"][0]).abs().max()),
    )
    for name in PARTS:
        assert torch.allclose(found[name], batch[name][0], atol=0.02), name

    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    cache_latents(dataset, vae, tmp_path, 18, **options)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == stamps
    with pytest.raises(DataError, match="latents of other data"):
        cache_latents(dataset, vae, tmp_path, 18, **(options | {"vae_digest": "b"}))


def test_drawn_holes_are_other_ones_at_each_step(pairs, models, tmp_path):
    """Only the whole clips' latents are kept; what is masked is encoded at each step."""
    vae = load_vae(models / "vae.safetensors", device="cpu")
    dataset = PairDataset(settings(pairs, masks="random"), seed=3)
    cached = cache_latents(dataset, vae, tmp_path, 3, vae_digest="a", accelerator=Accelerator())
    seen = {}
    for index in range(9):
        sample = cached[index]
        batch = {name: part[None] for name, part in sample.items()}
        encode_batch(vae, batch)
        fresh = {name: sample[name][None] for name in ("video", "mask")}
        encode_batch(vae, fresh)
        for name in PARTS:
            assert torch.allclose(batch[name], fresh[name], atol=0.05), name
        seen.setdefault(float(sample["video"].sum()), []).append(sample["mask"])
    assert [len(masks) for masks in seen.values()] == [3, 3, 3]
    for masks in seen.values():
        assert not torch.equal(masks[0], masks[1]) and not torch.equal(masks[1], masks[2])
    assert torch.equal(cached[4]["mask"], cached[4]["mask"])
