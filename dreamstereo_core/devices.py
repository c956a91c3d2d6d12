"""Choose the device to compute on."""

from __future__ import annotations

import logging
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

_log = logging.getLogger(__name__)


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device; "auto" takes CUDA, else MPS if it can do all we need, else the CPU.

    Raises:
        ValueError: there is no such device.
    """
    if device != "auto":
        return _there(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() and _mps_serves() else "cpu")


def reads_are_free(tensor: Tensor) -> bool:
    """Tell whether a value can be looked at without waiting for a device to finish its work.

    Shortcuts for pictures without holes ask first: on a GPU the long way costs less than the wait.
    """
    return tensor.device.type == "cpu"


def _there(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # as torch's build has it
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ValueError(
            f"device: expected auto, cpu, cuda, cuda:1 or another one that is there, got "
            f"{str(device)!r} ({reason})"
        ) from error


@cache
def _mps_serves() -> bool:
    """Try the operations that older versions of torch or macOS lack on MPS."""
    try:
        x = torch.ones(1, 3, 8, 8, device="mps")
        F.interpolate(x, (4, 4), mode="bilinear", antialias=True)
        numbers = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
        (numbers * torch.complex(x[..., :4], x[..., 4:])).cpu()
    except (NotImplementedError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        _log.warning("device: MPS cannot do all that is needed (%s); the CPU works instead", reason)
        return False
    return True
