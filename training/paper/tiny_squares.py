"""Clips whose holes nobody can guess: a square of one of three colours, hidden to its last pixel.

With a caption there is one right answer, without there are three and a mean that is none of them,
so that a caption that is heard shows in a number.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from data.captions import CaptionedClips, Captions, write_captions
from data.latents import encode_batch
from data.pair_dataset import DataSettings, PairDataset
from data.pair_shards import LOSSLESS, Pair, PairWriter
from dreamstereo_core.models.config import TransformerConfig
from dreamstereo_core.models.files.load import load_network, save_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.lora import load_lora, merge_loras
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.models.vae.base import VideoVAE
from dreamstereo_core.models.vae.checkpoint import VAE, load_vae
from objectives.codec import encode_moments
from objectives.flow import FlowModel, captions_of, noise_of
from paper.tiny_runs import (
    FRAMES,
    SETTINGS,
    SIDE,
    STUDENT,
    markdown,
    random_vae,
    read_rows,
    run_recipe,
    train_teacher,
    vae_settings,
)

COLOURS = {"red": (0.9, 0.15, 0.1), "green": (0.1, 0.75, 0.2), "blue": (0.15, 0.2, 0.9)}
CLIPS, TESTS = 256, 64
ONE_STEP = {"lora.flow.one_step": 1, "lora.flow.known_weight": 0.05}
"""What is learned where one step, and the holes, are all that is asked for."""
BASE = TransformerConfig(
    in_dim=16,
    dim=96,
    ffn_dim=192,
    num_heads=4,
    num_layers=3,
    freq_dim=64,
    text_dim=8,
    text_len=4,
    latent_space=str(STUDENT.latent_space),
)
"""A text-to-video model with random weights."""


def distill_vae(out: Path, steps: int) -> str:
    """Train a tiny teacher, distil a student from it, and return the student's curve, in dB.

    The teacher learns by the same recipe without what ties it to another one. Both start at random.

    Args:
        out: folder for clips, weights and runs; what is there is not made again.
        steps: of each of the two.

    Raises:
        DataError: a recipe fails; so do the others.
    """
    _prepare(out)
    settings = {
        **vae_settings(out / "pairs", steps),
        "teacher": train_teacher(out / "pairs", out / "run_teacher", steps),
        "student": random_vae(STUDENT, out / "student.safetensors", 1),
        "adversarial": 0,  # the clips are smaller than what the discriminator looks at
    }
    run_recipe("distill_vae.py", out / "run_student", settings)
    rows = read_rows(out / "run_student" / "held_out.csv")
    columns = ("step", "student", "student_as_teacher", "student_to_teacher", "teacher_to_student",
               "teacher")  # fmt: skip
    return markdown(columns, [[f"{row[c]:.4g}" for c in columns] for row in rows])


def compare_captions(out: Path, steps: int) -> str:
    """Train a LoRA with one context and one with captions; return both's errors in holes."""
    _prepare(out)
    _lora(out, "one_context", steps, ONE_STEP)
    captioned = {"lora.captions": out / "captions.safetensors"}
    _lora(out, "captions", steps, {**ONE_STEP, **captioned})
    vae, tests = _measured(out)
    captions = Captions(out / "captions.safetensors")
    rows = []
    for name, run, given in (
        ("one context", "one_context", None),
        ("captions in training, none given", "captions", None),
        ("captions", "captions", captions),
    ):
        model = _with_lora(out, out / f"run_{run}" / "lora.safetensors")
        rows.append([name, f"{_error(model, vae, tests, given):.3f}"])
    return markdown(("one step", "off the true colour"), rows)


def _prepare(out: Path) -> None:
    """Make the clips, their captions, a base, and an autoencoder whose latents are normalised.

    This one is random: latents of random features tell colours apart, and nothing is decoded.
    """
    pairs = out / "pairs"
    if not any(pairs.glob("pairs-*.safetensors")):
        write_squares(pairs, CLIPS, first=0)
        write_squares(out / "tests", TESTS, first=CLIPS)
    names = [f"{i} {name}" for i in range(CLIPS + TESTS) for name in [_colour(i)]]
    words = torch.eye(BASE.text_dim)[: len(COLOURS)]
    captions = {n: words[list(COLOURS).index(n.split()[1])][None] for n in names}
    write_captions(out / "captions.safetensors", captions)
    vae = load_vae(random_vae(STUDENT, out / "vae.safetensors", 2), device="cpu")
    clips = PairDataset(_data(pairs))
    with torch.no_grad():
        raw = torch.cat([encode_moments(vae, clips[i]["video"][None])[0] for i in range(64)])
    std, mean = torch.std_mean(raw, (0, 2, 3, 4))
    vae.config = replace(vae.config, mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    save_network(vae, out / "vae.safetensors", VAE)
    torch.manual_seed(0)
    model = Transformer(BASE)
    model.initialize_weights()
    for embedding in (model.time_embedding, model.text_embedding):
        for layer in (embedding[0], embedding[2]):
            torch.nn.init.xavier_uniform_(layer.weight)  # pyright: ignore[reportArgumentType]
    torch.nn.init.normal_(model.head.head.weight, std=0.15)
    save_network(model, out / "base.safetensors", TRANSFORMER)


def write_squares(folder: Path, count: int, *, first: int) -> None:
    """Write pairs number `first` and on: a soft texture, a square on it, and the square's hole."""
    writer = PairWriter(folder, {"made": "squares"}, LOSSLESS)
    for number in range(first, first + count):
        generator = torch.Generator().manual_seed(number)
        coarse = 0.3 + 0.4 * torch.rand(1, 3, 4, 4, generator=generator)
        picture = F.interpolate(coarse, (SIDE, SIDE), mode="bicubic")[0].clamp(0, 1)
        side = int(torch.randint(12, 19, (), generator=generator))
        y, x = torch.randint(2, SIDE - side - 1, (2,), generator=generator).tolist()
        here = (..., slice(y, y + side), slice(x, x + side))
        name = _colour(number)
        picture[here] = torch.tensor(COLOURS[name]).view(3, 1, 1)
        mask = torch.zeros(FRAMES, SIDE, SIDE, dtype=torch.bool)
        mask[here] = True
        frames = (picture * 255).round().to(torch.uint8).expand(FRAMES, -1, -1, -1)
        writer.add(f"{number} {name}", [Pair(frames, mask, {"kind": "square"})])
    writer.flush()


def _colour(number: int) -> str:
    generator = torch.Generator().manual_seed(10**6 + number)
    return list(COLOURS)[int(torch.randint(len(COLOURS), (), generator=generator))]


def _data(pairs: Path) -> DataSettings:
    return DataSettings(str(pairs), FRAMES, SIDE, SIDE, held_out=0)


def _lora(out: Path, name: str, steps: int, more: dict[str, object] | None = None) -> Path:
    """Train stage 2's LoRA on the squares; return its file."""
    folder = out / f"run_{name}"
    data = {"pairs": str(out / "pairs"), "frames": FRAMES, "height": SIDE, "width": SIDE}
    settings = {
        **{key: value for key, value in SETTINGS.items() if key.startswith("run.")},
        "data": json.dumps([data]),
        "run.ema": 0,
        "run.steps": 3 * steps,
        "run.batch": 16,
        "run.global_batch": 16,
        "run.lr": 2e-3,
        "run.schedule": "cosine",
        "run.sample_every": 3 * steps,
        "lora.base": out / "base.safetensors",
        "lora.vae": out / "vae.safetensors",
        "lora.base_precision": "float32",
        "lora.start": "null",
        "lora.checkpointing": "false",
        "lora.cache": out / "latents",
        "lora.cached_samples": CLIPS,
        **(more or {}),
    }
    run_recipe("train_lora.py", folder, settings, "lora_stage2.yaml")
    return folder / "lora.safetensors"


def _measured(out: Path) -> tuple[VideoVAE, PairDataset]:
    return load_vae(out / "vae.safetensors", device="cpu"), PairDataset(_data(out / "tests"))


def _with_lora(out: Path, lora: Path) -> Transformer:
    model = load_network(out / "base.safetensors", TRANSFORMER)
    merge_loras(model, [(load_lora(lora, model), 1.0)])
    return model


@torch.no_grad()
def _error(
    transformer: Transformer, vae: VideoVAE, tests: PairDataset, captions: Captions | None = None
) -> float:
    """Fill each test clip in one step; return how far its hole is from the true one.

    It is the mean square of the hole's latents in units of that between two of the three colours,
    so that the mean of all three has a third.
    """
    clips = tests if captions is None else CaptionedClips(tests, captions)
    model, errors = FlowModel(transformer), []
    for index in range(TESTS):
        batch = {name: part[None] for name, part in clips[index].items()}
        encode_batch(vae, batch)
        answers = torch.cat([vae.encode(_painted(batch, c)) for c in COLOURS.values()])
        noise, missing = noise_of(batch, 1), batch["missing"]
        given = missing, batch["masked_latent"], torch.ones(1), None
        filled = noise - model(noise, *given, captions_of(batch))
        hole = missing.amax(1, keepdim=True)
        between = ((answers - answers.roll(1, 0)).square() * hole).sum() / len(COLOURS)
        errors.append(((filled - batch["latent"]).square() * hole).sum() / between)
    return float(torch.stack(errors).mean())


def _painted(batch: dict[str, Tensor], colour: tuple[float, float, float]) -> Tensor:
    return torch.where(batch["mask"] > 0, torch.tensor(colour).view(3, 1, 1, 1), batch["video"])
