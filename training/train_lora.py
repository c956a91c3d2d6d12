"""Train a DreamStereo LoRA on Wan 2.1 1.3B: random masks first, then PBDP's (paper, Sec. 4).

python training/train_lora.py                                              # stage 1 on one GPU
accelerate launch training/train_lora.py training/configs/lora_stage1.yaml    # on several
accelerate launch training/train_lora.py training/configs/lora_stage2.yaml

What is missing (base, autoencoder, pairs, disk, packages) is told at once, in one list. FSDP is
`--config_file training/configs/fsdp.yaml`. The same command goes on where a run was interrupted.
`lora.safetensors` in the run's folder is what `load_lora` and ComfyUI read.
"""

# ruff: noqa: E402  # what is missing is told before anything heavy is imported

from __future__ import annotations

import engine.extras  # noqa: F401  # first: it says what is not installed

# isort: split

from engine.first_look import tell_what_is_missing

STAGE_1 = "lora_stage1.yaml"
if __name__ == "__main__":
    tell_what_is_missing(STAGE_1)

# isort: split

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.utils.data import Dataset

from data.captions import CaptionedClips, Captions
from data.files import DataError
from data.latents import LatentDataset, cache_latents, encode_batch
from data.pair_dataset import DataSettings, PairDataset
from data.random_streams import random_stream
from dreamstereo_core.fill import check_space, load_context
from dreamstereo_core.models.files.checkpoint_file import CheckpointError
from dreamstereo_core.models.files.load import load_network
from dreamstereo_core.models.files.transformer import TRANSFORMER
from dreamstereo_core.models.transformer import Transformer, widen_for_inpainting
from dreamstereo_core.models.vae.base import VideoVAE
from dreamstereo_core.models.vae.checkpoint import load_vae
from engine.loop import Batch, Losses, Player, RunSettings, adamw
from engine.lora_export import export_lora
from engine.recipe import Run, file_digest, main_of, start
from engine.state import checkpoints, load_weights, read_state
from objectives.flow import FlowModel, FlowSettings, flow_loss, preview

TARGETS = r"blocks\.\d+\.((self_attn|cross_attn)\.[qkvo]|ffn\.[02])"


@dataclass(frozen=True)
class LoraSettings:
    """What is trained, on what."""

    base: str
    """Wan 2.1 T2V 1.3B, or an inpainting transformer of its kind."""
    vae: str = "wan"
    """A file or a name."""
    rank: int = 64
    alpha: int = 64
    context: str | None = None
    """File with the text encoder's `context`; None = a learned one where the base is T2V."""
    captions: str | None = None
    """File of `encode_prompt.py --table`: a clip that has a caption there gets it in place of the
    context, the others do not; None = one context for all, as in the paper."""
    uncaptioned: float = 0.1
    """Share of samples that get the context all the same, so that the LoRA needs no caption."""
    start: str | None = None
    """Checkpoint (step-*.pt) of stage 1."""
    base_precision: str = "bfloat16"
    checkpointing: bool = True
    cache: str | None = None
    """Folder for latents; None = encode at every step. Where holes are drawn, they are drawn anew
    at each step, and only the whole clips' latents are kept."""
    cached_samples: int = 4096
    """Of each section of the data; a training sees no others."""
    flow: FlowSettings = field(default_factory=FlowSettings)

    def __post_init__(self) -> None:
        if self.base_precision not in ("bfloat16", "float32"):
            raise ValueError(
                f"base_precision: expected bfloat16 or float32, got {self.base_precision}"
            )
        if self.rank < 1:
            raise ValueError(f"rank: expected at least 1, got {self.rank}")
        if not 0 <= self.uncaptioned <= 1:
            raise ValueError(f"uncaptioned: expected 0 to 1, got {self.uncaptioned}")


@dataclass(frozen=True)
class TrainLoraSettings:
    """A stage."""

    data: tuple[DataSettings, ...]
    """One section for each size of clips."""
    run: RunSettings
    lora: LoraSettings

    def __post_init__(self) -> None:
        if not self.data:
            raise ValueError("data: expected at least one section")
        if self.run.ema:
            raise ValueError("run.ema: expected 0, a LoRA is trained without an average")


class Buckets(Dataset):
    """Several datasets of different sizes; `group` samples in a row come from one of them."""

    def __init__(self, datasets: Sequence[Dataset], group: int, seed: int):
        self.datasets, self.group, self.seed = datasets, group, seed

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return sample `index` of the dataset whose turn it is."""
        generator = random_stream(self.seed, "turn", index // self.group)
        turn = int(torch.randint(len(self.datasets), (), generator=generator))
        return self.datasets[turn][index]


def prepare_model(own: LoraSettings) -> tuple[FlowModel, dict[str, Tensor]]:
    """Return the model to train and the base's own patch embedding.

    Raises:
        CheckpointError: the base is no Wan 2.1 1.3B transformer that can inpaint.
    """
    base = load_network(own.base, TRANSFORMER, dtype=getattr(torch, own.base_precision))
    config = base.config
    if not config.is_inpainting and config.in_dim != config.out_dim:
        raise CheckpointError(
            f"{own.base}: expected a T2V or an inpainting model, got {config.in_dim} input channels"
        )
    parts = {f"patch_embedding.{n}": p.clone() for n, p in base.patch_embedding.named_parameters()}
    transformer = base if config.is_inpainting else widen_for_inpainting(base)
    context = None if own.context is None else load_context(own.context)
    inject_adapter_in_model(
        LoraConfig(r=own.rank, lora_alpha=own.alpha, target_modules=TARGETS), transformer
    )
    _choose_trained(transformer, learn_context=context is None)
    return FlowModel(transformer.train(), context, own.checkpointing), parts


def _choose_trained(transformer: Transformer, *, learn_context: bool) -> None:
    for name, parameter in transformer.named_parameters():
        learned = learn_context and name == "context"
        trained = ".lora_" in name or name.startswith("patch_embedding.") or learned
        parameter.requires_grad_(trained)
        if trained:
            # Small steps vanish in bfloat16.
            parameter.data = parameter.data.float()


def train(settings: TrainLoraSettings, folder: Path) -> Path:
    """Run one stage to its end (or to the signal that stops it); return the exported LoRA.

    Raises:
        CheckpointError, DataError, StateError, DivergedError: see there; each names what is wrong.
    """
    own, run = settings.lora, start(settings, folder)
    model, base = prepare_model(own)
    if own.start:
        go_on_from(Path(own.start), model)
    vae = load_vae(own.vae, device=run.device)
    check_space(own.base, model.transformer, vae)
    captions = None if own.captions is None else read_captions(own.captions, model)
    dataset = build_dataset(settings, vae, run, captions)
    held_out = PairDataset(replace(settings.data[0], masks="pairs"), seed=run.seed, held_out=True)

    def loss(module: nn.Module, batch: Batch) -> Losses:
        encode_batch(vae, batch)
        return flow_loss(module, batch, own.flow, run.seed)

    return run.fit(
        [Player("lora", model, loss, adamw(model, settings.run))],
        dataset,
        sample=lambda module: preview(module, vae, held_out, count=4),
        export=lambda path: export(path, base, own),
        name="lora.safetensors",
    )


def go_on_from(path: Path, model: FlowModel) -> None:
    """Give the model what stage 1 has trained.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        StateError: it is of another model.
    """
    weights = read_state(path)["modules"].get("lora", {})
    load_weights(model, weights, path)
    model.load_state_dict(weights, strict=False)


def read_captions(file: str, model: FlowModel) -> Captions:
    """Return the captions of a file.

    Raises:
        DataError: they are not of the width that the model's text encoder has.
    """
    captions, config = Captions(file), model.transformer.config
    wanted = (config.text_len, config.text_dim)
    if captions.width != config.text_dim or captions.length > config.text_len:
        raise DataError(
            f"captions: expected at most {wanted[0]} tokens of width {wanted[1]}, got "
            f"{captions.length} of {captions.width}"
        )
    return captions


def build_dataset(
    settings: TrainLoraSettings, vae: VideoVAE, run: Run, captions: Captions | None = None
) -> Buckets:
    """Return the clips of all sections, or their latents where a folder for these is given.

    Raises:
        DataError: there are captions, and none of them is of a clip.
    """
    own = settings.lora
    datasets: list[Dataset] = []
    for number, data in enumerate(settings.data):
        dataset: PairDataset | LatentDataset | CaptionedClips = PairDataset(data, seed=run.seed)
        sources = {Path(entry.info["source"]).name for entry in dataset.entries}
        if own.cache:
            dataset = cache_latents(
                dataset,
                vae,
                Path(own.cache) / f"{number}-{data.width}x{data.height}",
                own.cached_samples,
                vae_digest=file_digest(own.vae),
                accelerator=run.accelerator,
            )
        if captions is not None:
            if not sources & captions.names:
                raise DataError(
                    f"captions: expected file names of the clips, as {min(sources)!r}, got "
                    f"{min(captions.names)!r}"
                )
            dataset = CaptionedClips(dataset, captions, dropped=own.uncaptioned, seed=run.seed)
        datasets.append(dataset)
    # A step's clips have one size, whatever the number of processes.
    group = settings.run.global_batch or settings.run.batch * run.accelerator.num_processes
    return Buckets(datasets, group, run.seed)


def export(path: Path, base: dict[str, Tensor], own: LoraSettings) -> None:
    """Write the LoRA of the run's last checkpoint, in which FSDP's weights are whole."""
    state = read_state(checkpoints(path.parent / "checkpoints")[-1])
    trained = {n.removeprefix("transformer."): w for n, w in state["modules"]["lora"].items()}
    if own.context is not None:  # it is not learned, and no less part of what was trained
        trained["context"] = load_context(own.context)
    metadata = {"base": Path(own.base).name, "steps": str(state["step"])}
    export_lora(path, trained, base, own.alpha, metadata)


if __name__ == "__main__":
    sys.exit(main_of(TrainLoraSettings, train, __doc__, default=STAGE_1))
