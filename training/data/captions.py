"""Captions of the clips, encoded once: what the cross-attention sees instead of one context."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from data.files import DataError, write_safetensors
from data.random_streams import random_stream


class Clips(Protocol):
    """A dataset whose samples have sources."""

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return a sample."""
        ...

    def source(self, index: int) -> str:
        """Return what sample `index` was made of."""
        ...


class Captions:
    """The embeddings of a file that `encode_prompt.py --table` wrote, by the sources' file names.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be read, or holds other tensors.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            with safe_open(self.path, framework="pt") as file:
                shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise DataError(f"{path}: cannot be read ({error})") from error
        widths = {shape[-1] for shape in shapes.values() if len(shape) == 2}
        if len(widths) != 1 or any(len(shape) != 2 for shape in shapes.values()):
            raise DataError(
                f"{path}: expected captions [L, text_dim] by file name, as of encode_prompt.py "
                f"--table, got {dict(list(shapes.items())[:2])}"
            )
        self.names, (self.width,) = frozenset(shapes), widths
        self.length = max(shape[0] for shape in shapes.values())

    def of(self, source: str) -> Tensor | None:
        """Return the caption of a source, `[length, width]`, filled up with zeros; None = none."""
        name = Path(source).name
        if name not in self.names:
            return None
        with safe_open(self.path, framework="pt") as file:
            caption = file.get_tensor(name).float()
        return F.pad(caption, (0, 0, 0, self.length - len(caption)))


class CaptionedClips(Dataset):
    """Samples with `caption` `[L, text_dim]`, and `captioned`: whether the clip has it.

    Args:
        clips: the samples.
        captions: of their sources.
        dropped: share of samples that are left without.
        seed: of these.
    """

    def __init__(self, clips: Clips, captions: Captions, *, dropped: float = 0.0, seed: int = 0):
        self.clips, self.captions, self.dropped, self.seed = clips, captions, dropped, seed

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return sample `index`."""
        caption = None
        generator = random_stream(self.seed, "caption", index)
        if float(torch.rand((), generator=generator)) >= self.dropped:
            caption = self.captions.of(self.clips.source(index))
        found = caption is not None
        if caption is None:
            caption = torch.zeros(self.captions.length, self.captions.width)
        return {**self.clips[index], "caption": caption, "captioned": torch.tensor(found)}


def write_captions(path: Path, captions: Mapping[str, Tensor]) -> None:
    """Write captions `[L, text_dim]` by file name, in bfloat16, which is the encoder's own.

    Raises:
        DataError: the file cannot be written.
    """
    tensors = {name: x.to(torch.bfloat16).contiguous() for name, x in captions.items()}
    write_safetensors(path, tensors, {"format": "pt"})


def read_table(path: Path) -> dict[str, str]:
    """Read lines of a clip's file name, a tab, and its caption.

    Raises:
        DataError: a line is another one, or there is none.
    """
    table = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, tab, caption = line.partition("\t")
        if not line.strip():
            continue
        if not (name and tab and caption.strip()):
            raise DataError(f"{path}:{number}: expected FILE NAME, a tab, CAPTION, got {line!r}")
        table[name] = caption
    if not table:
        raise DataError(f"{path}: expected lines of FILE NAME, a tab, CAPTION, got none")
    return table
