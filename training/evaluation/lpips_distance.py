"""LPIPS, the papers' perceptual distance, where the package `lpips` and its weights can be had.

R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR
2018). The package brings its own small part; AlexNet's weights are torchvision's, which fetches
them once. Without either, ST-LPIPS (`perceptual.py`) is what there is; its scale is another one.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from data.files import DataError

Lpips = Callable[[Tensor, Tensor], float]
"""Two pictures `[N, 3, H, W]` in [0, 1] to their mean distance; 0 is equal."""


def load_lpips() -> Lpips:
    """Return LPIPS with AlexNet.

    Raises:
        DataError: the package or its weights cannot be had; says how they can.
    """
    how = "pip install lpips torchvision; AlexNet's weights come from download.pytorch.org"
    try:
        import lpips  # pyright: ignore[reportMissingImports]

        network = lpips.LPIPS(net="alex", verbose=False).eval().requires_grad_(False)
    except (ImportError, OSError) as error:  # URLError is an OSError
        line = " ".join(str(error).split())
        raise DataError(f"LPIPS: cannot be measured ({line}); {how}") from error
    return lambda a, b: float(network(a, b, normalize=True).mean())
