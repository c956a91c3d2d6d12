"""A LoRA from the difference of two transformers: a distilled one minus the base it was made of.

    python training/extract_lora.py BASE DISTILLED --out lora.safetensors [--rank 64]

Files of any layout that `--fill` takes, and rCM's (`net.` before the names, a linear patch
embedding). Weights of linear layers become low-rank pairs, by the singular values that matter most;
the rest (biases, norms, modulation, patch embedding) is kept whole. The pairs' share of the change
is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from data.files import DataError, write_safetensors
from dreamstereo_core.models.config import PATCH
from dreamstereo_core.models.files.checkpoint_file import (
    CheckpointError,
    CheckpointFile,
    open_checkpoint,
)
from dreamstereo_core.models.files.describe import describe_file
from dreamstereo_core.models.files.load import list_some
from dreamstereo_core.models.files.names import original_names
from dreamstereo_core.models.files.transformer import QUANTIZATION

PREFIX = "diffusion_model."
TRAINER = "net."
"""What stands before the names in rCM's checkpoints."""
COUNTERS = "accum_"
"""Beginnings of names that are a trainer's, not the network's."""
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


@dataclass(frozen=True)
class Source:
    """A transformer's file, by original names."""

    file: CheckpointFile
    names: Mapping[str, str]

    def read(self, name: str) -> Tensor:
        """Read a weight in float32, the patch embedding as a convolution's."""
        weight = self.file.read_weight(self.names[name], torch.float32)
        if name == "patch_embedding.weight" and weight.ndim == 2:
            weight = weight.unflatten(1, (-1, *PATCH))  # a linear layer's input: channel, patch
        return weight


def open_transformer(path: str | Path) -> Source:
    """Open a transformer's file.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it holds something else, or 8-bit weights, whose differences are noise.
    """
    file = open_checkpoint(path)
    plain = {name.removeprefix(TRAINER): name for name in file.shapes}
    plain = {name: stored for name, stored in plain.items() if not name.startswith(COUNTERS)}
    names = {ours: plain[name] for ours, name in original_names(plain).items()}
    if not names:
        raise CheckpointError(
            f"{file.path}: expected a Wan transformer; this is {describe_file(file)}"
        )
    if any(name.endswith(QUANTIZATION) for name in names):
        raise CheckpointError(f"{file.path}: expected weights of 16 bits or more, got 8")
    return Source(file, names)


def low_rank(difference: Tensor, rank: int) -> tuple[Tensor, Tensor, float]:
    """Return the best A `[r, in]` and B `[out, r]` for `[out, in]`, and their share of its square.

    r is `rank`, or less where the matrix has no more; A and B are of the same size.
    """
    u, s, vh = torch.linalg.svd(difference, full_matrices=False)
    root = s[:rank].sqrt()
    share = float(s[:rank].square().sum() / s.square().sum().clamp(min=1e-30))
    return root[:, None] * vh[:rank], u[:, :rank] * root, share


def changes(base: Source, distilled: Source) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters that differ and their differences.

    Raises:
        CheckpointError: the two are not of one architecture.
    """
    for one, other in ((base, distilled), (distilled, base)):
        if missing := [name for name in one.names if name not in other.names]:
            raise CheckpointError(
                f"{other.file.path}: expected the parameters of {one.file.path}, lacks "
                f"{list_some(missing)}"
            )
    for name in tqdm(base.names, unit="weight", disable=None):
        before, after = base.read(name), distilled.read(name)
        if before.shape != after.shape:
            raise CheckpointError(
                f"{distilled.file.path}: {name}: expected {list(before.shape)} as in "
                f"{base.file.path}, got {list(after.shape)}"
            )
        if not torch.equal(before, after):
            yield name, after - before


def extract(base: Source, distilled: Source, rank: int) -> tuple[dict[str, Tensor], list[float]]:
    """Return a LoRA's tensors in float32, and each pair's share of its weight's change.

    Raises:
        CheckpointError: the two are not of one architecture, or are the same.
    """
    tensors: dict[str, Tensor] = {}
    shares = []
    for name, difference in changes(base, distilled):
        module = PREFIX + name.removesuffix(".weight")
        if name.endswith(".weight") and difference.ndim == 2:
            down, up, share = low_rank(difference, rank)
            tensors |= {f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}
            tensors[f"{module}.alpha"] = torch.tensor(float(len(down)))
            shares.append(share)
        elif name.endswith(".bias"):
            tensors[f"{PREFIX}{name.removesuffix('.bias')}.diff_b"] = difference
        elif name.endswith(".modulation"):
            tensors[f"{PREFIX}{name.removesuffix('.modulation')}.diff_m"] = difference
        elif name == "context":
            tensors[name] = distilled.read(name)
        else:
            tensors[f"{module}.diff"] = difference
    if not tensors:
        raise CheckpointError(f"{distilled.file.path}: expected other weights than the base's")
    return tensors, shares


def main(arguments: list[str] | None = None) -> int:
    """Extract as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="A LoRA from the difference of two transformers.")
    parser.add_argument("base", type=Path, help="the transformer that was distilled")
    parser.add_argument("distilled", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="*.safetensors")
    parser.add_argument("--rank", type=int, default=64, help="of the pairs, at most")
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="of the file")
    args = parser.parse_args(arguments)
    if args.rank < 1:
        parser.error(f"--rank: expected at least 1, got {args.rank}")
    try:
        sources = open_transformer(args.base), open_transformer(args.distilled)
        tensors, shares = extract(*sources, args.rank)
        stored = {name: x.to(DTYPES[args.dtype]).contiguous() for name, x in tensors.items()}
        if wrong := [name for name, x in stored.items() if not x.isfinite().all()]:
            raise DataError(f"{wrong[0]}: too large for {args.dtype}; take another --dtype")
        metadata = {"format": "pt", "distilled": args.distilled.name, "minus": args.base.name}
        write_safetensors(args.out, stored, metadata)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    kept = f"{min(shares):.1%} to {max(shares):.1%}" if shares else "none"
    print(f"{args.out}: {len(shares)} pairs of rank {args.rank} hold {kept} of the change")
    return 0


if __name__ == "__main__":
    sys.exit(main())
