"""Captions of clips: encoded once, each clip gets its own, and without them nothing changes."""

from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

import encode_prompt
import train_lora
from data.captions import CaptionedClips, Captions, read_table, write_captions
from data.files import DataError
from data.latents import cache_latents
from data.pair_dataset import DataSettings, PairDataset
from dreamstereo_core.models.files.load import load_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.vae.checkpoint import load_vae
from objectives.flow import FlowModel, FlowSettings, flow_loss

from ..models.fakes import TINY
from .test_train_lora import settings_for


@pytest.fixture(scope="module")
def captions(tmp_path_factory):
    """Of all clips but `clip 0`; each is full of its clip's number."""
    path = tmp_path_factory.mktemp("captions") / "captions.safetensors"
    write_captions(path, {f"clip {i}": torch.full((i, TINY.text_dim), float(i)) for i in (1, 2, 3)})
    return path


def settings(pairs, **changes):
    return DataSettings(str(pairs), frames=5, height=32, width=32, held_out=0, **changes)


def test_each_clip_gets_its_caption_and_the_others_none(pairs, captions):
    clips = PairDataset(settings(pairs))
    samples = CaptionedClips(clips, Captions(captions))
    for index in range(12):
        sample, number = samples[index], int(clips.source(index).split()[1])
        assert torch.equal(sample["video"], clips[index]["video"])
        expected = torch.zeros(3, TINY.text_dim)
        if number <= 3:
            expected[:number] = number
        assert torch.equal(sample["caption"], expected)
        assert bool(sample["captioned"]) == (1 <= number <= 3)
    few = CaptionedClips(clips, Captions(captions), dropped=0.5)
    kept = [(bool(few[i]["captioned"]), bool(samples[i]["captioned"])) for i in range(40)]
    assert all(whole or not part for part, whole in kept)
    assert 0 < sum(part for part, _ in kept) < sum(whole for _, whole in kept)


@pytest.mark.parametrize("masks", ["pairs", "random"])
def test_cached_latents_have_their_clips_captions(pairs, captions, models, masks, tmp_path):
    clips = PairDataset(settings(pairs, masks=masks), seed=1)
    vae = load_vae(models / "vae.safetensors", device="cpu")
    cached = cache_latents(clips, vae, tmp_path, 6, vae_digest="a", accelerator=Accelerator())
    latents = {}
    for number in range(6):
        with torch.no_grad():
            latents[clips.source(number)] = vae.encode(clips[number]["video"][None])[0]
    for index in range(6):
        nearest = min(latents, key=lambda s: (latents[s] - cached[index]["latent"]).abs().max())
        assert cached.source(index) == nearest


def batch_of(caption, captioned):
    generator = torch.Generator().manual_seed(0)
    latent, masked_latent = torch.randn(2, 2, 16, 2, 4, 4, generator=generator)
    missing = (torch.rand(2, 4, 2, 4, 4, generator=generator) > 0.5).float()
    parts = {"caption": caption, "captioned": torch.tensor(captioned)}
    return {
        "latent": latent, "masked_latent": masked_latent, "missing": missing,
        "index": torch.arange(2), **parts,
    }  # fmt: skip


@torch.no_grad()
def test_a_caption_is_a_context_of_its_own(models):
    transformer = load_network(models / "transformer.safetensors", TRANSFORMER)
    transformer.context.normal_(generator=torch.Generator().manual_seed(1))
    transformer.text_embedding[0].weight *= 50  # random ones hardly look at a context
    transformer.text_embedding[2].weight *= 50
    caption = torch.randn(2, 3, TINY.text_dim, generator=torch.Generator().manual_seed(2))

    def loss(model, batch, clip):
        one = {name: value[clip : clip + 1] for name, value in batch.items()}
        return float(flow_loss(model, one, FlowSettings(), 0)["loss"])

    own, given = FlowModel(transformer), FlowModel(transformer, caption[:1])
    batch = batch_of(caption, [True, False])
    plain = {name: value for name, value in batch.items() if not name.startswith("caption")}
    assert loss(own, batch, 0) == pytest.approx(loss(given, plain, 0), rel=1e-6)
    assert loss(own, batch, 1) == pytest.approx(loss(own, plain, 1), rel=1e-6)
    assert loss(own, batch, 0) != pytest.approx(loss(own, plain, 0), rel=1e-4)
    both = float(flow_loss(own, batch, FlowSettings(), 0)["loss"])
    assert both == pytest.approx((loss(own, batch, 0) + loss(own, batch, 1)) / 2, rel=1e-5)


def test_a_lora_learns_with_captions_and_keeps_a_context(pairs, captions, models, tmp_path):
    plain = settings_for(pairs, models)
    own = replace(plain.lora, captions=str(captions), uncaptioned=0.5)
    exported = {}
    for name, lora in (
        ("none", plain.lora),
        ("ignored", replace(plain.lora, uncaptioned=0.5)),
        ("captions", own),
        ("cached", replace(own, cache=str(tmp_path / "latents"), cached_samples=6)),
    ):
        train_lora.train(replace(plain, lora=lora), tmp_path / name)
        exported[name] = load_file(tmp_path / name / "lora.safetensors")
    for name, value in exported["none"].items():
        assert torch.equal(exported["ignored"][name], value), name
    assert all(file.keys() == exported["none"].keys() for file in exported.values())
    key = "diffusion_model.blocks.0.cross_attn.k.lora_B.weight"
    assert not torch.equal(exported["captions"][key], exported["none"][key])
    assert exported["captions"]["context"].abs().max() > 0


def test_captions_of_other_clips_or_another_width_are_refused(pairs, models, tmp_path):
    def run(captions):
        write_captions(tmp_path / "captions.safetensors", captions)
        plain = settings_for(pairs, models)
        own = replace(plain.lora, captions=str(tmp_path / "captions.safetensors"))
        train_lora.train(replace(plain, lora=own), tmp_path / "run")

    with pytest.raises(DataError, match="expected file names of the clips, as 'clip 0', got 'b'"):
        run({"b": torch.zeros(2, TINY.text_dim)})
    with pytest.raises(DataError, match=r"at most 8 tokens of width 24, got 2 of 5"):
        run({"clip 1": torch.zeros(2, 5)})
    with pytest.raises(DataError, match=r"expected captions \[L, text_dim\] by file name"):
        run({"context": torch.zeros(1, 2, 24)})
    with pytest.raises(ValueError, match="uncaptioned: expected 0 to 1"):
        replace(settings_for(pairs, models).lora, uncaptioned=2.0)


def test_a_table_is_read_line_by_line(tmp_path):
    path = tmp_path / "captions.tsv"
    path.write_text("a.mp4\ta man\twalks\n\nb.mp4\t rain \n", "utf-8")
    assert read_table(path) == {"a.mp4": "a man\twalks", "b.mp4": " rain "}
    path.write_text("a.mp4\ta man\nb.mp4 rain\n", "utf-8")
    with pytest.raises(DataError, match=r"captions.tsv:2: expected FILE NAME, a tab, CAPTION"):
        read_table(path)
    path.write_text("\n", "utf-8")
    with pytest.raises(DataError, match="got none"):
        read_table(path)


def test_a_table_is_encoded_caption_by_caption(tmp_path, monkeypatch, capsys):
    def encode(prompts, encoder, *, device):
        assert encoder == "umt5" and device == "cpu"
        return (torch.full((1, len(prompt), 4), float(i)) for i, prompt in enumerate(prompts))

    monkeypatch.setattr(encode_prompt, "encode_prompts", encode)
    table, output = tmp_path / "captions.tsv", tmp_path / "captions.safetensors"
    table.write_text("a.mp4\tman\nb.mp4\train\n", "utf-8")
    words = ["", "--table", table, "--encoder", "umt5", "--output", output]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    assert encode_prompt.main() == 0
    assert "2 captions" in capsys.readouterr().out
    captions = Captions(output)
    assert captions.names == {"a.mp4", "b.mp4"} and captions.length == 4
    assert torch.equal(captions.of("/films/b.mp4"), torch.ones(4, 4))
    table.write_text("a.mp4", "utf-8")
    assert encode_prompt.main() == 1
    assert "captions.tsv:1: expected" in capsys.readouterr().err
