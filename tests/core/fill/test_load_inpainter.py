"""`load_inpainter` from files, as a user has them."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamstereo_core import ConvertOptions, StereoPipeline, load_depth, load_inpainter
from dreamstereo_core.cli import main
from dreamstereo_core.fill import MiniInpainter, load_context
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.inpainter import INPAINTING
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.checkpoint import VAE, build_vae
from dreamstereo_core.video_io import read_frames

from ...models.fakes import SMALL_VAE, TINY
from ...models.test_inpainter import drawn


@pytest.fixture
def models(tmp_path):
    """A model folder as ComfyUI lays it out."""
    torch.manual_seed(0)
    for folder in ("diffusion_models", "vae", "loras"):
        (tmp_path / folder).mkdir()
    transformer = Transformer(TINY)
    with torch.no_grad():
        transformer.context.normal_()
    save_network(transformer, tmp_path / "diffusion_models" / "tiny.safetensors", TRANSFORMER)
    save_network(build_vae(SMALL_VAE), tmp_path / "vae" / "wan_2.1_vae.safetensors", VAE)
    save_file({"context": torch.randn(1, 5, 24)}, tmp_path / "context.safetensors")
    return tmp_path


def clip():
    video = torch.rand(6, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(6, 1, 32, 48)
    mask[:, :, 10:20, 20:30] = 1
    return video, mask


def load(models, **options):
    return load_inpainter(models / "diffusion_models" / "tiny.safetensors", **options)


def test_only_a_transformer_takes_a_fill_size(models):
    assert load(models, fill_size=(32, 64)).working_size((64, 96)) == (32, 48)
    for fill in ("mini", "classic"):
        with pytest.raises(ValueError, match=f"fill_size: expected a diffusion .*, got {fill}"):
            load_inpainter(fill, fill_size=(32, 64))


def test_what_a_fill_is_about_tells_its_files_apart(models):
    first, same = load(models).about, load(models).about
    assert json.loads(json.dumps(first)) == same
    other = load(models, context=models / "context.safetensors").about
    assert {key for key in first if first[key] != other[key]} == {"context"}
    mini, classic = (load_inpainter(fill).about for fill in ("mini", "classic"))
    assert mini["first"] == classic == {"name": "classic"}


def test_a_checkpoint_fills_and_finds_its_autoencoder(models):
    inpainter = load(models)
    video, mask = clip()
    filled = inpainter.inpaint(video, mask)
    assert inpainter.name == "tiny"
    assert filled.shape == video.shape
    vae = models / "vae" / "wan_2.1_vae.safetensors"
    assert torch.equal(filled, load(models, vae=vae).inpaint(video, mask))
    assert torch.equal(filled, load(models, vae=inpainter.vae).inpaint(video, mask))


def test_the_dtype_is_taken(models):
    inpainter = load(models, dtype=torch.bfloat16)
    assert inpainter.transformer.dtype == torch.bfloat16
    video, mask = clip()
    exact = load(models).inpaint(video, mask)
    assert 1e-5 < (inpainter.inpaint(video, mask) - exact).abs().max() < 0.1


def test_a_context_file_changes_the_fill(models):
    video, mask = clip()
    own = load(models).inpaint(video, mask)
    other = load(models, context=models / "context.safetensors").inpaint(video, mask)
    tensor = load_context(models / "context.safetensors")
    assert tensor.shape == (1, 5, 24)
    assert not torch.allclose(own, other, atol=1e-4)
    assert torch.equal(other, load(models, context=tensor).inpaint(video, mask))


def test_loras_are_merged_with_their_strength(models):
    lora = models / "loras" / "some.safetensors"
    name = "diffusion_model.blocks.0.ffn.0"
    save_file(
        {f"{name}.lora_A.weight": torch.randn(4, 48), f"{name}.lora_B.weight": torch.randn(96, 4)},
        lora,
    )
    video, mask = clip()
    without, none, full = (
        load(models, loras=loras).inpaint(video, mask)
        for loras in ((), [(lora, 0.0)], [(lora, 1.0)])
    )
    assert torch.equal(without, none)
    assert not torch.allclose(without, full, atol=1e-4)


def test_a_base_becomes_an_inpainter_by_the_lora_that_widens_it(models, caplog):
    base = Transformer(replace(TINY, in_dim=16, learned_context=False))
    path = models / "diffusion_models" / "base.safetensors"
    save_network(base, path, TRANSFORMER)
    with pytest.raises(ValueError, match=r"base.safetensors: expected an inpainting transformer"):
        load_inpainter(path)
    lora = models / "loras" / "wide.safetensors"
    name = "diffusion_model.patch_embedding"
    save_file({f"{name}.diff": torch.randn(48, 36, 1, 2, 2)}, lora)
    video, mask = clip()
    filled = load_inpainter(path, loras=[(lora, 1.0)]).inpaint(video, mask)
    assert filled.shape == video.shape
    assert "wide.safetensors: a context was learned with it, which is neither" in caplog.text
    caplog.clear()

    context = models / "context.safetensors"
    given = load_inpainter(path, loras=[(lora, 1.0)], context=context).inpaint(video, mask)
    save_file(load_file(lora) | load_file(context), lora)
    inside = load_inpainter(path, loras=[(lora, 1.0)]).inpaint(video, mask)
    assert not caplog.text
    assert torch.allclose(inside, given, atol=1e-6)
    assert not torch.allclose(inside, filled, atol=1e-4)


def test_wrong_files_are_named(models):
    with pytest.raises(FileNotFoundError, match=r"fill: expected mini, .* got 'nowhere.sft'"):
        load_inpainter("nowhere.sft")
    with pytest.raises(ValueError, match=r"wan_2.1_vae.safetensors: expected a Wan transformer"):
        load_inpainter(models / "vae" / "wan_2.1_vae.safetensors")
    with pytest.raises(ValueError, match=r"tiny.safetensors: expected a tensor 'context'"):
        save_file({"other": torch.ones(1)}, models / "tiny.safetensors")
        load(models, context=models / "tiny.safetensors")
    (models / "vae" / "wan_2.1_vae.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="vae: no weights for 'wan': put"):
        load(models)


def test_a_trained_mini_is_told_by_its_file(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_network(drawn(), path, INPAINTING)
    video, mask = clip()
    inpainter = load_inpainter(path, device="cpu")
    assert isinstance(inpainter, MiniInpainter)
    filled = inpainter.inpaint(video, mask)
    assert torch.equal(filled, MiniInpainter(load_network(path, INPAINTING)).inpaint(video, mask))
    assert not torch.allclose(filled, load_inpainter("classic").inpaint(video, mask), atol=1e-3)


def test_the_left_eye_is_filled_as_the_mirrored_right_one(models):
    frames = list(clip()[0].cumsum(3) / 48)
    eyes = {}
    for eye, mirrored in (("right", False), ("left", True)):
        options = ConvertOptions(
            max_disparity=20, convergence=0.5, max_front=None, max_behind=None, eye=eye
        )
        pipeline = StereoPipeline(load_depth("cues"), load(models), options)
        chunks = pipeline.convert([frame.flip(-1) if mirrored else frame for frame in frames])
        eyes[eye] = torch.cat([getattr(chunk, eye) for chunk in chunks])
    assert (eyes["right"] - eyes["left"].flip(-1)).abs().mean() < 2e-3
    assert (eyes["right"] - torch.stack(frames)).abs().mean() > 1e-3


def test_the_command_takes_a_checkpoint(models, tmp_path, capsys):
    photo, target = tmp_path / "photo.png", tmp_path / "out.png"
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    cv2.imwrite(str(photo), cv2.resize(noise, (96, 64), interpolation=cv2.INTER_CUBIC))
    checkpoint = models / "diffusion_models" / "tiny.safetensors"
    arguments = ["convert", str(photo), str(target), "--quiet", "--fill", str(checkpoint)]
    extra = [
        "--max-disparity",
        "20",
        "--max-front",
        "none",
        "--max-behind",
        "none",
        "--steps",
        "2",
        "--dilation",
        "3",
        "--dtype",
        "bfloat16",
        "--seed",
        "4",
    ]
    assert main([*arguments, *extra]) == 0, capsys.readouterr().err
    filled = next(read_frames(target)).pixels
    assert main([*arguments, "--overwrite", *extra[:-1], "5"]) == 0
    assert not torch.equal(filled, next(read_frames(target)).pixels)
    for wrong, message in (
        (["--steps", "0"], "num_steps: expected at least 1, got 0"),
        (["--dilation", "4"], "dilation: expected an odd number"),
    ):
        assert main([*arguments, "--overwrite", *wrong]) == 2
        assert message in capsys.readouterr().err
    assert main([*arguments, "--overwrite", "--lora", "none.safetensors:0.5"]) == 1
    assert "none.safetensors: no such file" in capsys.readouterr().err
