"""Count the memory that tensors take while code runs, also on the meta device, where none is."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class MemoryCount(TorchDispatchMode):
    """Counts the bytes of tensors that are made under it, until they are let go.

    What a kernel takes and gives back within one operation is not seen.

    Example:
        >>> import torch
        >>> with MemoryCount() as count:
        ...     x = torch.zeros(1000, dtype=torch.uint8, device="meta")
        ...     y = x + x
        ...     del x
        >>> count.live, count.peak
        (1000, 2000)
    """

    def __init__(self, limit: int | None = None) -> None:
        super().__init__()
        self.limit = limit
        """Bytes from which on there is no memory left, as on a device that has so many."""
        self.live = 0
        self.peak = 0
        self._seen = weakref.WeakSet[torch.UntypedStorage]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and look at what it made."""
        result = func(*args, **(kwargs or {}))
        given = {id(x.untyped_storage()) for x in tree_iter((args, kwargs)) if _plain(x)}
        for x in tree_iter(result):
            if _plain(x) and id(x.untyped_storage()) not in given:
                self._add(x.untyped_storage())
        return result

    def restart(self) -> None:
        """Let the peak begin anew from what lives now."""
        self.peak = self.live

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._seen:
            return
        size = storage.nbytes()
        if self.limit is not None and self.live + size > self.limit:
            raise torch.cuda.OutOfMemoryError(f"{self.live + size} bytes of {self.limit}")
        self._seen.add(storage)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, size).atexit = False

    def _free(self, size: int) -> None:
        self.live -= size


def _plain(x: object) -> bool:
    return isinstance(x, Tensor) and x.layout == torch.strided


class FlashAttention(TorchFunctionMode):
    """Lets attention take its result's memory alone, as a fused kernel does; the values are not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Put an empty result in the place of torch's attention."""
        if func is F.scaled_dot_product_attention:
            query, _, value = args[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return func(*args, **(kwargs or {}))
