"""The options of a conversion."""

from __future__ import annotations

from dataclasses import dataclass

from .blend import DEFAULT_FEATHER
from .checks import check_choice, check_range
from .convergence import Convergence, check_convergence
from .disparity import MAX_BEHIND, MAX_FRONT
from .fill import FillOptions
from .shots import DETECTORS
from .types import EYES, Eye


@dataclass(frozen=True)
class ConvertOptions:
    """How deep, and how the other eye is made.

    Raises:
        ValueError: an option is out of its range.
    """

    max_disparity: float = 3.0
    """Shift between the farthest and the nearest point, in percent of the width."""
    convergence: Convergence = "auto"
    """The inverse depth on the screen, from 0 = far to 1 = near, or how to find it in each shot:
    "subject", "median", or "auto" for the better one, which is "subject"."""
    max_front: float | None = MAX_FRONT
    """The most that anything comes in front of the screen, in percent of the width; None sets no
    limit. Only a shot that would go beyond it is changed, and its order in depth is kept."""
    max_behind: float | None = MAX_BEHIND
    """The most that anything goes behind the screen, as `max_front`."""
    floating_window: bool = False
    """Hide the parts of near things at the frame's sides that only one eye sees, see
    `FloatingWindow`. The source's eye is then the source except for a strip."""
    eye: Eye = "right"
    """The eye that is made; the source is the other one."""
    foreground_dilation: int | None = None
    """Pixels by which near things grow in the depth, so that their blended borders move with them.
    None: 1 for every 640 pixels of width where the depth has the picture's size, else 0 (a small
    depth's near things grow as it is enlarged, and those of a depth that a conversion has written
    have grown)."""
    feather: int = DEFAULT_FEATHER
    """Width of the seam's ramp inside a hole, in pixels."""
    stretch_threshold: float = 3.0
    """Stretch above which the warp is a hole (delta in Eq. 7); the paper's masks need 1.5."""
    num_steps: int = FillOptions.num_steps
    """Denoising steps of a diffusion inpainter."""
    dilation: int = FillOptions.dilation
    """Size k, odd, of the kernel that dilates a diffusion inpainter's kept tokens."""
    seed: int = FillOptions.seed
    """Seed of a diffusion inpainter's noise."""
    sampler: str = FillOptions.sampler
    """"renoise" for a diffusion inpainter that is distilled to few steps; "euler" for others."""
    shots: str = "auto"
    """The detector of cuts, one of `shots.DETECTORS`."""
    bars: bool = True
    """Whether to look for letterbox and pillarbox bars. Bars get no depth, and percentages are of
    the width of the picture within them."""
    chunk_frames: int | None = None
    """How many frames to work on at once; None chooses by the frame's size. It changes memory and
    speed, not the picture."""

    def __post_init__(self) -> None:
        check_range("max_disparity", self.max_disparity, 0, 100)
        check_convergence(self.convergence)
        for name in ("max_front", "max_behind"):
            if (value := getattr(self, name)) is not None:
                check_range(name, value, 0, 100)
        check_choice("eye", self.eye, EYES)
        check_choice("shots", self.shots, DETECTORS)
        for name in ("foreground_dilation", "feather"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if self.chunk_frames is not None and self.chunk_frames < 1:
            raise ValueError(f"chunk_frames: expected at least 1, got {self.chunk_frames}")
        _ = self.fill  # it checks its own

    @property
    def fill(self) -> FillOptions:
        """The options that are meant for the inpainter."""
        return FillOptions(self.num_steps, self.dilation, self.seed, self.sampler)
