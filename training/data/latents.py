"""Latents on disk: each clip is encoded once, however long the training."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from data.files import DataError, write_safetensors
from data.pair_dataset import PairDataset, masked
from data.random_streams import shuffled
from data.shards import read_tensors
from dreamstereo_core.models.conditioning import missing_channels
from dreamstereo_core.models.vae.base import VideoVAE

PER_FILE = 16
"""Samples."""
PARTS = ("latent", "masked_latent", "missing")


@torch.no_grad()
def encode_batch(vae: VideoVAE, batch: dict[str, Tensor], *, truth: bool = True) -> None:
    """Add those of `latent`, `masked_latent` and `missing` that a batch lacks, from its pixels.

    Without `truth` there is no `latent`: what lies in the holes is not looked at.
    """
    if "masked_latent" in batch:
        return
    video, mask = batch["video"], batch["mask"]
    if "latent" in batch or not truth:
        batch["masked_latent"] = vae.encode(masked(video, mask))
    else:
        both = vae.encode(torch.cat([masked(video, mask), video]))
        batch["masked_latent"], batch["latent"] = both.chunk(2)
    batch["missing"] = missing_channels(mask)


class LatentDataset(Dataset):
    """Endless samples of encoded clips, in a new order each time around.

    Args:
        folder: with the latents.
        count: how many samples there are.
        clips: what was encoded. Where its holes are drawn, they are drawn anew in each sample.
    """

    def __init__(self, folder: Path, count: int, clips: PairDataset):
        self.folder, self.count, self.clips = folder, count, clips
        self.drawn = clips.settings.masks != "pairs"

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return `latent`, `masked_latent` [16, T', H', W'], `missing` [4, T', H', W'].

        Where holes are drawn: `latent`, and `video` and `mask` as `PairDataset`.
        """
        number = self._number(index)
        path = _path(self.folder, number // PER_FILE)
        names = PARTS[:1] if self.drawn else PARTS
        tensors = read_tensors(path, [f"{number % PER_FILE}.{name}" for name in names])
        parts = {name: part.float() for name, part in zip(names, tensors, strict=True)}
        if self.drawn:
            parts |= self.clips.sample(number, holes=index)
        return {**parts, "index": torch.tensor(index)}

    def source(self, index: int) -> str:
        """Return what sample `index` was made of."""
        return self.clips.source(self._number(index))

    def _number(self, index: int) -> int:
        return shuffled(index, self.count, self.clips.seed, "latents' order")


def cache_latents(
    dataset: PairDataset,
    vae: VideoVAE,
    folder: Path,
    count: int,
    *,
    vae_digest: str,
    accelerator: Accelerator,
) -> LatentDataset:
    """Encode the samples 0 to `count` - 1 of a dataset, those that are not there yet.

    Args:
        dataset: what to encode.
        vae: with what.
        folder: where to; files of 16 samples, each whole or not there.
        count: how many.
        vae_digest: tells it from others; a folder of another one, or of other samples, is refused.
        accelerator: its processes share the work.

    Raises:
        DataError: the folder holds other latents, or the disk takes no more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    identity = {**vars(dataset.settings), "vae": vae_digest, "seed": dataset.seed}
    identity.pop("workers")
    text = json.dumps(identity, sort_keys=True)
    names = PARTS if dataset.settings.masks == "pairs" else PARTS[:1]
    files = range(-(-count // PER_FILE))
    mine = [f for f in files if f % accelerator.num_processes == accelerator.process_index]
    for number in tqdm(mine, desc="latents", disable=None):
        path = _path(folder, number)
        if path.exists():
            _check(path, text)
            continue
        tensors = {}
        for i in range(min(PER_FILE, count - number * PER_FILE)):
            sample = dataset[number * PER_FILE + i]
            batch = {k: v[None].to(vae.device) for k, v in sample.items()}
            with accelerator.autocast():
                encode_batch(vae, batch)
            for name in names:
                dtype = torch.uint8 if name == "missing" else torch.bfloat16
                tensors[f"{i}.{name}"] = batch[name][0].to("cpu", dtype).contiguous()
        write_safetensors(path, tensors, {"identity": text})
    accelerator.wait_for_everyone()
    return LatentDataset(folder, count, dataset)


def _path(folder: Path, number: int) -> Path:
    return folder / f"latents-{number:05d}.safetensors"


def _check(path: Path, identity: str) -> None:
    try:
        with safe_open(path, framework="pt") as file:
            found = (file.metadata() or {}).get("identity")
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: cannot be read ({error}); delete it to make it again") from error
    if found != identity:
        raise DataError(
            f"{path}: holds latents of other data, sizes or another VAE; expected another folder"
        )
