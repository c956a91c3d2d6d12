"""Training `mini`, and putting networks into the package."""

import csv

import pytest
import torch

import embed_weights
import train_mini
from data.pair_dataset import DataSettings, PairDataset
from dreamstereo_core.models.depth.mini import MINI_DEPTH, MiniDepthConfig, MiniDepthNetwork
from dreamstereo_core.models.files.checkpoint_file import open_checkpoint
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.inpainter import INPAINTING, InpaintingConfig, InpaintingNetwork
from engine.loop import RunSettings

SMALL = InpaintingConfig(dim=24, ffn_dim=24, num_heads=2, num_layers=1, memory=2)


def settings(pairs, steps=30, network=SMALL, **changes):
    data = DataSettings(str(pairs), frames=5, height=32, width=32, focus=1.0, held_out=0)
    run = RunSettings(
        steps=steps, batch=4, lr=2e-3, warmup=1, ema=0.5, log_every=1, sample_every=1000
    )
    return train_mini.MiniSettings(data, run, network, **changes)


def test_it_learns_what_the_first_fill_gets_wrong(filled_pairs, tmp_path):
    plain = {"recolour": 0.0, "darken": 0.0}
    path = train_mini.train(settings(filled_pairs, 80, **plain), tmp_path / "run")
    network = load_network(path, INPAINTING)
    dataset = PairDataset(settings(filled_pairs).data, seed=5)
    batch = torch.utils.data.default_collate([dataset[i] for i in range(6)])
    truth, fill, mask = train_mini.clips_of(batch)
    assert train_mini.relative_error(network(fill, mask), fill, truth, mask) < 0.85
    with open(tmp_path / "run" / "losses.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80
    assert all(float(row["steady"]) > 0 for row in rows)


def test_it_goes_on_from_a_file_with_fewer_layers_and_takes_a_perceptual_loss(
    filled_pairs, tmp_path
):
    fewer = InpaintingConfig(24, 24, 2, 1, 2)
    first = train_mini.train(settings(filled_pairs, 1, fewer), tmp_path / "first")
    weights = load_network(first, INPAINTING).state_dict()
    layers = InpaintingConfig(24, 24, 2, 2, 2)
    more = settings(filled_pairs, 1, layers, start=str(first), perceptual=0.1)
    again = load_network(train_mini.train(more, tmp_path / "again"), INPAINTING).state_dict()
    change = max(float((again[name] - weights[name]).abs().max()) for name in weights)
    assert 0 < change < 0.02
    assert len(again) > len(weights)


def test_an_error_is_relative_to_the_first_fills():
    truth = torch.full((2, 3, 3, 4, 4), 0.5)
    fill, result = truth + 0.2, truth - 0.1
    mask = torch.zeros(2, 3, 1, 4, 4)
    mask[..., :2] = 1
    result = torch.where(mask > 0, result, 0.0)  # known pixels do not count
    error = train_mini.relative_error(result, fill, truth, mask)
    assert torch.isclose(error, torch.tensor(0.1 / 0.21))


def test_variations_keep_what_belongs_together():
    video = torch.rand(16, 3, 1, 6, 5)
    mask = (torch.rand(16, 1, 1, 6, 5) > 0.5).float()
    batch = {"video": video, "fill": video * (1 - mask / 2), "mask": mask}
    batch["index"] = torch.arange(16)
    drawn = settings("pairs", recolour=0.5, darken=0.5)
    varied = train_mini.varied(batch, drawn)
    assert torch.allclose(varied["fill"], varied["video"] * (1 - varied["mask"] / 2))
    turned = [torch.equal(a, b.flip(-2)) for a, b in zip(varied["mask"], mask, strict=True)]
    assert 2 < sum(turned) < 14
    gain = varied["video"].sum((1, 2, 3, 4)) / video.sum((1, 2, 3, 4))
    assert 2 < int((gain < 0.999).sum()) < 14 and gain.min() > 0.1
    same = train_mini.varied(batch, drawn)
    assert all(torch.equal(same[name], varied[name]) for name in varied)
    assert torch.equal(batch["video"], video)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recolour": 2.0}, "recolour: expected 0 to 1, got 2"),
        ({"darken": -0.5}, "darken: expected 0 to 1, got -0.5"),
        ({"perceptual": -1.0}, "perceptual: expected at least 0"),
        ({"steady": -1.0}, "steady: expected at least 0"),
    ],
)
def test_settings_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        settings("pairs", **change)


def test_networks_are_embedded_in_half_precision(models, tmp_path, capsys):
    network = InpaintingNetwork(SMALL)
    network.initialize_weights()
    save_network(network, tmp_path / "model.safetensors", INPAINTING)
    depth = MiniDepthNetwork(MiniDepthConfig((8, 8, 8, 8, 8), 64))
    save_network(depth, tmp_path / "depth.safetensors", MINI_DEPTH)
    for source, name in (
        (tmp_path / "model.safetensors", "mini_inpainter"),
        (tmp_path / "depth.safetensors", "mini_depth"),
    ):
        target = embed_weights.embed(source, tmp_path / "weights")
        assert target.name == f"{name}.safetensors"
        file, before = open_checkpoint(target), open_checkpoint(source)
        assert (file.kind, file.config) == (before.kind, before.config)
        assert file.metadata["license"] == "Apache-2.0"
        weights = [file.read(key) for key in file.shapes]
        assert {x.dtype for x in weights if x.ndim > 1} == {torch.float16}
    network.blocks[0].attn.o.weight.data[0] = 1e6
    save_network(network, tmp_path / "model.safetensors", INPAINTING)
    with pytest.raises(
        ValueError, match=r"attn.o.weight: expected weights that half precision holds"
    ):
        embed_weights.embed(tmp_path / "model.safetensors", tmp_path / "weights")
    assert embed_weights.main([str(models / "transformer.safetensors")]) == 1
    assert (
        "expected a DreamStereo file (depth, inpainter), got transformer" in capsys.readouterr().err
    )
