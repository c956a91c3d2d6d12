"""The transformer over all tokens and over those around real holes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from dreamstereo_core.models.config import PATCH, TransformerConfig
from dreamstereo_core.models.sparse import gather_tokens, patchify
from dreamstereo_core.models.transformer import Transformer
from dreamstereo_core.types import TokenIndex

from .machine import Stopwatch, peak_mib, print_table, relative_rms, reset_peak
from .masks import KeptTokens

STAGES = ("patch, rope", "blocks", "head")


@dataclass(frozen=True)
class Case:
    """One way to run the transformer."""

    name: str
    kept: KeptTokens | None = None
    """None = all tokens."""

    @property
    def tokens(self) -> TokenIndex | None:
        """The kept tokens."""
        return None if self.kept is None else self.kept.tokens


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    config: TransformerConfig
    size: tuple[int, int]
    """Height and width in pixels."""
    frames: int
    dtype: torch.dtype
    device: torch.device
    repeats: int
    compile: bool
    bucket: int | None = None
    """Kept tokens are filled up to a multiple of this."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """`[1, in_dim, T', H', W']`, filled up to whole tokens."""
        t = 1 + -(-(self.frames - 1) // 4)
        h, w = (-(-n // 16) * 2 for n in self.size)
        return 1, self.config.in_dim, t, h, w


def flops(config: TransformerConfig, tokens: int) -> int:
    """Count the operations of one forward pass, 2 for a multiply and add.

    Linear layers and attention; what depends on timestep and context alone is computed once and not
    counted.

    Args:
        config: the model's sizes.
        tokens: K.
    """
    dim = config.dim
    linear = 4 * dim**2 + 2 * dim * config.ffn_dim
    keys = tokens
    if config.cross_attention:
        linear += 2 * dim**2
        keys += config.text_len + (config.image_dim is not None)
    block = 2 * tokens * linear + 4 * tokens * keys * dim
    patch = PATCH[0] * PATCH[1] * PATCH[2]
    ends = 2 * patch * dim * tokens * (config.in_dim + config.out_dim)
    return config.num_layers * block + ends


def random_transformer(plan: Plan) -> Transformer:
    """Return the model with random weights, in the precisions of a loaded one."""
    torch.manual_seed(0)
    with plan.device:
        model = Transformer(plan.config).to(plan.dtype)
    for part in (model.time_embedding, model.time_projection):
        part.float()
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def measure(plan: Plan, cases: Sequence[Case], layers: int) -> list[dict[str, Any]]:
    """Run the cases in turns; return one record each, the first being the reference.

    Args:
        plan: what to measure; `plan.config` has the blocks that are run.
        cases: dense first.
        layers: blocks of the whole model, for the time of which the blocks' time is scaled.
    """
    run = _runner(plan)
    # For each shape a GPU picks kernels and a compiler compiles; a CPU only has to fetch memory.
    warm_up = cases if plan.compile or plan.device.type == "cuda" else cases[1:2]
    for case in warm_up:
        run(case)
    times: list[list[list[float]]] = [[] for _ in cases]
    records: list[dict[str, Any]] = []
    reference = None
    for left in reversed(range(plan.repeats)):
        for case, series in zip(cases, times, strict=True):
            reset_peak(plan.device)
            velocity, spans = run(case)
            series.append(spans)
            if left:
                continue
            stages = [median(stage) for stage in zip(*series, strict=True)]
            record = _record(plan, case, stages, layers)
            record["peak_mib"] = round(peak_mib(plan.device))
            if case.kept is None:
                reference = velocity
            elif reference is not None:
                record["error"] = _error(velocity, reference, case.kept)
            records.append(record)
            whole = "ms_per_frame_all_blocks"
            record["speed_up"] = round(records[0][whole] / record[whole], 2)
    return records


def _runner(plan: Plan) -> Callable[[Case], tuple[Tensor, list[float]]]:
    """Make the function that runs a case and returns the velocity and the ms of each stage."""
    model = random_transformer(plan)
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(plan.latent_shape, generator=generator).to(plan.device, plan.dtype)
    conditioning = model.prepare(torch.ones(1, device=plan.device), _context(plan, generator))
    watch = Stopwatch(plan.device)
    model.blocks[0].register_forward_pre_hook(lambda *_: watch.mark())
    model.blocks[-1].register_forward_hook(lambda *_: watch.mark())
    if plan.compile:
        for block in model.blocks:
            # The forward alone: the hooks stay outside.
            block.forward = torch.compile(block.forward, dynamic=False)

    def run(case: Case) -> tuple[Tensor, list[float]]:
        tokens = None if case.tokens is None else case.tokens.to(plan.device)
        watch.mark()
        velocity = model(latent, conditioning, tokens, bucket=plan.bucket)
        watch.mark()
        return velocity, watch.spans()

    return run


def _context(plan: Plan, generator: torch.Generator) -> Tensor | None:
    config = plan.config
    if not config.cross_attention:
        return None
    return torch.randn((1, config.text_len, config.text_dim), generator=generator).to(plan.device)


def _record(plan: Plan, case: Case, stages: Sequence[float], layers: int) -> dict[str, Any]:
    count = case.kept.count if case.kept else _tokens(plan)
    kept = case.kept.tokens.shape[1] if case.kept else count
    work = flops(plan.config, kept)
    ms = sum(stages)
    record: dict[str, Any] = {
        "case": case.name,
        "tokens": kept,
        "retention": round(kept / count, 4),
    }
    if case.kept:
        record |= {
            "max_disparity": case.kept.max_disparity,
            "dilation": case.kept.dilation,
            "retention_of_holes": round(case.kept.real_retention, 4),
        }
    ends = stages[0] + stages[2]
    whole = ends + stages[1] / plan.config.num_layers * layers
    return record | {
        "ms": round(ms, 3),
        "ms_by_stage": {name: round(s, 3) for name, s in zip(STAGES, stages, strict=True)},
        "blocks": plan.config.num_layers,
        "ms_per_frame_all_blocks": round(whole / plan.frames, 3),
        "tflop": round(work / 1e12, 4),
        "gflop_per_s": round(work / ms / 1e6, 1),
    }


def _tokens(plan: Plan) -> int:
    _, _, t, h, w = plan.latent_shape
    return t * h * w // (PATCH[1] * PATCH[2])


def _error(velocity: Tensor, reference: Tensor, kept: KeptTokens) -> float:
    tokens = kept.touched.to(velocity.device)
    x, y = (gather_tokens(patchify(latent), tokens) for latent in (velocity, reference))
    return round(relative_rms(x, y), 4)


def transformer_report(
    plan: Plan, cases: Sequence[Case], ceiling: float, blocks: int | None = None
) -> list[dict[str, Any]]:
    """Measure and print the table; return the records."""
    layers = plan.config.num_layers
    if blocks is not None:
        plan = replace(plan, config=replace(plan.config, num_layers=blocks))
    records = measure(plan, cases, layers)
    head = ("case", "tokens", "kept", *(f"{s}, ms" for s in STAGES), "speed-up", "GFLOP/s",
            "of matmul", "peak MiB", "ms a frame, all blocks", "from dense")  # fmt: skip
    rows = []
    for record in records:
        record["of_ceiling"] = round(record["gflop_per_s"] * 1e9 / ceiling, 3)
        rows.append(
            (
                record["case"],
                record["tokens"],
                f"{record['retention']:.1%}",
                *(f"{ms:.1f}" for ms in record["ms_by_stage"].values()),
                f"{record['speed_up']:.2f}x",
                f"{record['gflop_per_s']:,.0f}",
                f"{record['of_ceiling']:.0%}",
                record["peak_mib"],
                f"{record['ms_per_frame_all_blocks']:.2f}",
                record.get("error", ""),
            )
        )
    print_table(head, rows)
    return records
