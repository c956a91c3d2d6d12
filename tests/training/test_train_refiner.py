"""Training the network behind `mini`, and putting networks into the package."""

import csv

import embed_weights
import pytest
import torch
import train_refiner
from dataset import DataSettings, PairDataset
from loop import RunSettings
from losses import mean_error

from dreamstereo_core.models.checkpoint_file import open_checkpoint
from dreamstereo_core.models.refiner import load_refiner, save_refiner


def settings(pairs, steps=30, **changes):
    data = DataSettings(str(pairs), frames=1, height=32, width=32, focus=1.0, held_out=0)
    run = RunSettings(
        steps=steps, batch=4, lr=2e-3, warmup=1, ema=0.5, log_every=1, sample_every=1000
    )
    return train_refiner.RefinerSettings(data, run, **changes)


def test_it_learns_what_the_first_fill_gets_wrong(filled_pairs, tmp_path):
    path = train_refiner.train(settings(filled_pairs, 100, recolour=0.0), tmp_path / "run")
    refiner = load_refiner(path)
    dataset = PairDataset(settings(filled_pairs).data, seed=5)
    batch = torch.utils.data.default_collate([dataset[i] for i in range(12)])
    truth, fill, mask = train_refiner.frames_of(batch)
    before, after = (mean_error(x, truth, mask).mean() for x in (fill, refiner(fill, fill, mask)))
    assert after < 0.9 * before
    with open(tmp_path / "run" / "losses.csv") as file:
        assert len(list(csv.DictReader(file))) == 100


def test_it_goes_on_from_a_file_and_takes_a_perceptual_loss(filled_pairs, tmp_path):
    first = train_refiner.train(settings(filled_pairs, 1), tmp_path / "first")
    weights = load_refiner(first).state_dict()
    more = settings(filled_pairs, 1, start=str(first), perceptual=0.1)
    again = load_refiner(train_refiner.train(more, tmp_path / "again")).state_dict()
    change = max(float((again[name] - weights[name]).abs().max()) for name in weights)
    assert 0 < change < 0.02


def test_variations_keep_what_belongs_together():
    video = torch.rand(16, 3, 1, 6, 5)
    mask = (torch.rand(16, 1, 1, 6, 5) > 0.5).float()
    batch = {"video": video, "fill": video + mask, "mask": mask, "index": torch.arange(16)}
    varied = train_refiner.varied(batch, 0, 0.5)
    assert torch.allclose(varied["fill"], varied["video"] + varied["mask"])
    turned = [torch.equal(a, b.flip(-2)) for a, b in zip(varied["mask"], mask, strict=True)]
    assert 2 < sum(turned) < 14
    assert torch.allclose(
        varied["video"].sum((1, 3)).sort().values, video.sum((1, 3)).sort().values
    )
    same = train_refiner.varied(batch, 0, 0.5)
    assert all(torch.equal(same[name], varied[name]) for name in varied)
    assert torch.equal(batch["video"], video)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"recolour": 2.0}, "recolour: expected 0 to 1, got 2"), ({"perceptual": -1.0}, "perceptual")],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        settings("pairs", **change)


def test_whole_clips_are_refused():
    with pytest.raises(ValueError, match=r"data\.frames: expected 1, got 5"):
        train_refiner.RefinerSettings(DataSettings(frames=5), RunSettings())


def test_networks_are_embedded_in_half_precision(models, tmp_path, capsys):
    refiner = train_refiner.Refiner()
    refiner.initialize_weights()
    save_refiner(refiner, tmp_path / "model.safetensors")
    for source, name in (
        (tmp_path / "model.safetensors", "mini_refiner"),
        (models / "vae.safetensors", "mini_vae"),
    ):
        target = embed_weights.embed(source, tmp_path / "weights")
        assert target.name == f"{name}.safetensors"
        file, before = open_checkpoint(target), open_checkpoint(source)
        assert (file.kind, file.config) == (before.kind, before.config)
        assert file.metadata["license"] == "Apache-2.0"
        weights = [file.read(key) for key in file.shapes]
        assert {x.dtype for x in weights if x.ndim > 1} == {torch.float16}
    refiner.leave.weight.data[0] = 1e6
    save_refiner(refiner, tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"leave.weight: expected weights that half precision holds"
    ):
        embed_weights.embed(tmp_path / "model.safetensors", tmp_path / "weights")
    assert embed_weights.main([str(models / "transformer.safetensors")]) == 1
    assert (
        "expected a DreamStereo file (depth, refiner, vae), got transformer"
        in capsys.readouterr().err
    )
