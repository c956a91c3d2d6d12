"""What every table is measured with: the clips, the models, the measures."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from data.files import DataError
from dreamstereo_core import DiffusionInpainter, blend, load_depth, load_inpainter, load_vae
from dreamstereo_core.blend import DEFAULT_FEATHER
from dreamstereo_core.models.files.checkpoint_file import open_checkpoint
from dreamstereo_core.models.files.describe import LORA, describe_file
from evaluation.clips import Clip, Selection, pbdp_clips
from evaluation.comparison import AnyFill, run_fill, time_fill
from evaluation.exchange import OutsideFill, outside_fill
from evaluation.fills import ModelFill, has_tokens, row_names
from evaluation.lpips_distance import Lpips
from evaluation.metrics import psnr, ssim, ssim_map
from evaluation.perceptual import Perceptual
from evaluation.scores import Scores, mean_scores
from evaluation.stereo_videos import stereo_video_clips

Rows = dict[str, Scores]
HD, SMALLER = (1280, 768), (1024, 576)
"""The paper's 768x1280 and 576x1024."""
STEREO_SIZES = {"SVD-AVP": (768, 768)}
STEREO_SIZE = (1280, 720)
PERCENT = 7.0
DILATION = 5


@dataclass
class Session:
    """What a run measures with, and what it has to say beside the figures."""

    options: Namespace
    perceptual: Perceptual
    lpips: Lpips | None
    notes: list[str] = field(default_factory=list)

    def selection(self, size: tuple[int, int]) -> Selection:
        """Return what of each film is taken, at a size or at the smoke's."""
        options = self.options
        return Selection(
            options.size or size,
            options.frames,
            options.start,
            options.limit,
            exact=options.paper,
        )

    def films(self, size: tuple[int, int], percent: float = PERCENT) -> Iterator[Clip]:
        """Yield the films' clips with PBDP's holes."""
        need(self.options, "videos")
        depth = load_depth(self.options.depth)
        return pbdp_clips(self.options.videos, depth, [percent], self.selection(size))

    def model(self, file: str | None = None) -> DiffusionInpainter:
        """Return the model that is measured, or another one: a checkpoint, or a LoRA on the base.

        Raises:
            ValueError: it is no diffusion inpainter.
        """
        need(self.options, "base")
        options, loras, base = self.options, list(self.options.lora), self.options.base
        if file is not None and describe_file(open_checkpoint(file)).startswith(LORA):
            loras = [(file, 1.0)]
        elif file is not None:
            base, loras = file, []
        made = load_inpainter(base, options.vae, loras=loras, context=options.context)
        if not isinstance(made, DiffusionInpainter):
            raise ValueError(f"--base {base}: expected a video transformer, got {made.name}")
        return made

    def fill(
        self, model: DiffusionInpainter, steps: int, dilation: int | str = DILATION
    ) -> AnyFill:
        """Return a model as a fill, by the protocol asked for."""
        return ModelFill(model, steps, dilation, self.options.seed, self.options.paper)

    def score(self, made: Tensor, truth: Tensor) -> Scores:
        """Return PSNR, SSIM, ST-LPIPS and perhaps LPIPS of whole frames `[T, 3, H, W]`."""
        scores = {"psnr_full": psnr(made, truth), "ssim_full": ssim(ssim_map(made, truth))}
        chosen = torch.linspace(0, len(truth) - 1, min(len(truth), self.options.perceptual_frames))
        frames = chosen.round().long().unique()
        pairs = list(zip(made[frames].split(1), truth[frames].split(1), strict=True))
        with torch.inference_mode():
            st_lpips = [float(self.perceptual(a, b)) for a, b in pairs]
            scores["st_lpips_full"] = sum(st_lpips) / len(st_lpips)
            if self.lpips is not None:
                scores["lpips_full"] = sum(self.lpips(a, b) for a, b in pairs) / len(pairs)
        return scores

    def outside(self) -> dict[str, AnyFill]:
        """Return the rows of `--fill`: other systems' results, and fills by name or file."""
        found = {spec: outside_fill(spec) for spec in self.options.fill}
        fills: dict[str, AnyFill] = dict(filter(None, found.values()))
        for spec, name in row_names([s for s, f in found.items() if f is None]).items():
            inpainter = load_inpainter(spec)
            if has_tokens(inpainter):
                fills[name] = ModelFill(inpainter, plain=self.options.paper)
            else:
                fills[name] = lambda video, mask, disparity, inpainter=inpainter: inpainter.inpaint(
                    video, mask, disparity=disparity
                )
        return fills

    def with_ours(self, steps: int) -> dict[str, AnyFill]:
        """Return the rows of `--fill`, and ours where there is a base."""
        ours = {"Ours": self.fill(self.model(), steps)} if self.options.base else {}
        fills = {**self.outside(), **ours}
        if not fills:
            need(self.options, "base")
        return fills


def need(options: Namespace, *names: str) -> None:
    """Require options.

    Raises:
        DataError: one was not given.
    """
    for name in names:
        if not getattr(options, name):
            raise DataError(f"expected --{name.replace('_', '-')} {NEEDS[name]}")


NEEDS = {
    "videos": "FOLDER of films (the paper's HD-100 is not public)",
    "base": "FILE: a DreamStereo checkpoint, or Wan 2.1 T2V 1.3B with --lora",
    "distilled_vae": "FILE of training/distill_vae.py",
    "stereo_videos": 'NAME=FOLDER of stereo videos, as "Dynamic Replica=FOLDER"',
}
"""What an option wants."""


def compare(
    session: Session, clips: Iterable[Clip], fills: Mapping[str, AnyFill], *, blended: bool = False
) -> Rows:
    """Return row -> means over the clips; with `blended`, a row NAME (blended) for each too.

    Raises:
        DataError: no clip has holes.
    """
    found: dict[str, list[Scores]] = {}
    feather = 0 if session.options.paper else DEFAULT_FEATHER
    for number, clip in enumerate(clip for clip in clips if clip.measured.any()):
        for name, fill in fills.items():
            if number == 0 and not session.options.smoke:
                run_fill(fill, clip)  # the first call is slower than the others
            finished, raw, latency = time_fill(fill, clip)
            if isinstance(fill, ModelFill):
                latency["tokens_kept"] = fill.tokens_kept(clip.mask)
            scores = session.score(raw.clamp(0, 1), clip.truth) | latency
            found.setdefault(name, []).append(scores)
            if blended and has_own_picture(fill):
                whole = blend(finished, clip.warped, clip.mask, feather=feather)
                scores = session.score(whole, clip.truth) | latency
                found.setdefault(f"{name} (blended)", []).append(scores)
    if not found:
        raise DataError("expected clips with holes, got none")
    return {name: mean_scores(scores) for name, scores in found.items()}


def has_own_picture(fill: AnyFill) -> bool:
    """Return whether a fill makes whole frames, and not only what is in the holes."""
    if isinstance(fill, ModelFill):
        return isinstance(fill.inpainter, DiffusionInpainter)
    return isinstance(fill, OutsideFill)


def stereo_sets(session: Session) -> dict[str, Iterator[Clip]]:
    """Return name -> clips of each set of stereo videos."""
    need(session.options, "stereo_videos")
    sets = {}
    for spec in session.options.stereo_videos:
        name, equals, folder = spec.partition("=")
        if not equals:
            name, folder = Path(spec).name, spec
        selection = session.selection(STEREO_SIZES.get(name, STEREO_SIZE))
        sets[name] = stereo_video_clips(
            Path(folder),
            selection,
            matched=session.options.match,
            layout=session.options.source_layout,
        )
    return sets


def both_autoencoders(session: Session) -> tuple[DiffusionInpainter, DiffusionInpainter]:
    """Return the model with the autoencoder of `--vae`, and with the distilled one."""
    model = session.model()
    need(session.options, "distilled_vae")
    device = next(model.transformer.parameters()).device
    return model, replace(model, vae=load_vae(session.options.distilled_vae, device=device))
