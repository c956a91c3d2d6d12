"""The one loader: a file is opened safely, recognised and compared before a weight is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ...devices import choose_device
from .checkpoint_file import CheckpointError, CheckpointFile, open_checkpoint, save_checkpoint
from .describe import describe_file

LISTED = 6
"""Names that an error lists before it counts the rest."""

Shapes = Mapping[str, tuple[int, ...]]
Names = Mapping[str, str]
"""Of tensors: the network's -> the file's."""
Network = TypeVar("Network", bound=nn.Module)


def same_names(names: Iterable[str]) -> dict[str, str]:
    """Map each name to itself: the file has the network's own names."""
    return {name: name for name in names}


def read_plain(file: CheckpointFile, names: Names, name: str, dtype: torch.dtype | None) -> Tensor:
    """Read a tensor by the network's name for it, in `dtype`; None = the file's."""
    return file.read_weight(names[name], dtype)


@dataclass(frozen=True)
class NetworkKind(Generic[Network]):
    """What a kind of network states of itself; `load_network` and `save_network` do the rest."""

    title: str
    """As errors name it: "a Wan transformer"."""
    mark: str | None
    """What a DreamStereo file says that it holds; None: there are none of this kind."""
    build: Callable[..., Network]
    """Makes the network of a config and of the caller's options."""
    parse: Callable[[str], Any] | None = None
    """Reads the config of a DreamStereo file. ValueError: it cannot be."""
    config_text: Callable[[Any], str] = lambda config: json.dumps(asdict(config))
    """Writes it."""
    public: tuple[str, ...] = ()
    """What `describe_file` says of the files of others that hold it."""
    detect: Callable[[Shapes, Path], Any] | None = None
    """Reads a config off a public file's shapes, by the network's names. KeyError: a tensor that
    tells a size is missing; ValueError, IndexError: the sizes cannot be."""
    names: Callable[[Iterable[str]], dict[str, str]] = same_names
    """Finds the network's tensors in a file. Others are other models', and left out."""
    unread: tuple[str, ...] = ()
    """Endings of names that a file may have or lack; of the network's own they become zeros."""
    blocks: Callable[[Any], int] | None = None
    """Counts the blocks of a config, each of which has a tensor or more."""
    dtype_of: Callable[[Names], str] | None = None
    """Names the tensor of the file whose dtype the network gets unless told; None = float32."""
    read: Callable[[CheckpointFile, Names, str, torch.dtype], Tensor] = read_plain
    """Reads one tensor."""
    finish: Callable[[nn.Module], None] | None = None
    """Is called with the weights in place."""
    kernels: torch.dtype | None = None
    """In which weights of more than one axis are stored unless told; None = as they are."""


def load_network(
    path: str | Path,
    kind: NetworkKind[Network],
    *,
    config: Any = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    **options: Any,
) -> Network:
    """Load a network of a known kind, frozen and in evaluation mode.

    Args:
        path: safetensors (one file, an index of shards, or their folder) or a PyTorch file.
        kind: what it is to be.
        config: its sizes; None = the file's own, or what its shapes tell.
        device: where to put it; "auto" takes CUDA, then MPS, then the CPU.
        dtype: of the weights and the computation; None = what the kind says.
        options: for the kind's builder, as `operations`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is corrupt, or of another model (then it is said which); names,
            shapes or values are not what they should be.
    """
    device = choose_device(device)
    file = open_checkpoint(path)
    require_kind(file, kind)
    names = kind.names(file.shapes)
    config = config or _config(file, names, kind)
    if kind.blocks is not None:
        file.require_blocks(kind.blocks(config))
    with torch.device("meta"):
        network = kind.build(config, **options)
    expected = network.state_dict()
    _compare(file, {name: tuple(x.shape) for name, x in expected.items()}, names, kind.unread)
    dtype = dtype or _own_dtype(file, names, kind)
    state = {
        name: torch.zeros_like(tensor, device=device)
        if name.endswith(kind.unread)
        else kind.read(file, names, name, dtype).to(device)
        for name, tensor in expected.items()
    }
    network.load_state_dict(state, strict=True, assign=True)
    if kind.finish is not None:
        kind.finish(network)
    return network.to(device).eval().requires_grad_(False)


def save_network(
    network: nn.Module,
    path: str | Path,
    kind: NetworkKind[Any],
    *,
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a network with its config as one safetensors file that `load_network` reads.

    Args:
        network: with a `config`.
        path: `*.safetensors`; an existing file is replaced at once.
        kind: what it is.
        dtype: to store in; None = what the kind says.
        metadata: more texts to keep in the file.

    Raises:
        OSError: the file cannot be written.
        ValueError: a weight is too large for `dtype`, or not finite.
    """
    weights = {}
    for name, weight in network.state_dict().items():
        if name.endswith(kind.unread):
            continue
        wanted = dtype or (kind.kernels if weight.ndim > 1 else None)
        stored = weight.detach().to("cpu", wanted, memory_format=torch.contiguous_format)
        if wanted is not None and not stored.isfinite().all():
            raise ValueError(f"{path}: {name}: expected weights that {wanted} holds")
        weights[name] = stored
    text = kind.config_text(network.config)
    save_checkpoint(path, weights, kind=str(kind.mark), config=text, metadata=metadata)


def require_kind(file: CheckpointFile, kind: NetworkKind[Any]) -> None:
    """Require that a file holds a network of a kind.

    Raises:
        CheckpointError: it holds something else; the message says what.
    """
    own = file.kind is not None and file.kind == kind.mark
    if not own and (what := describe_file(file)) not in kind.public:
        raise CheckpointError(f"{file.path}: expected {kind.title}; this is {what}")


def list_some(items: Iterable[str]) -> str:
    """Join the first names, and count the rest."""
    items = list(items)
    rest = len(items) - LISTED
    return ", ".join(items[:LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _config(file: CheckpointFile, names: Names, kind: NetworkKind[Any]) -> Any:
    """Return the config that a DreamStereo file has, or what a public one's shapes tell."""
    if file.kind is not None and kind.parse is not None:
        try:
            return kind.parse(file.config or "")
        except ValueError as error:
            raise CheckpointError(
                f"{file.path}: expected the config of {kind.title} ({error})"
            ) from error
    assert kind.detect is not None, kind.title
    try:
        return kind.detect({ours: file.shapes[name] for ours, name in names.items()}, file.path)
    except KeyError as error:
        raise CheckpointError(f"{file.path}: expected {kind.title} with {error}") from error
    except (ValueError, IndexError) as error:
        raise CheckpointError(
            f"{file.path}: expected the sizes of {kind.title} ({error})"
        ) from error


def _compare(file: CheckpointFile, expected: Shapes, names: Names, unread: tuple[str, ...]) -> None:
    wrong = [
        f"{name} {list(file.shapes[names[name]])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in names and file.shapes[names[name]] != shape
    ]
    problems = {
        "missing": [n for n in expected if n not in names and not n.endswith(unread)],
        "unexpected": [n for n in names if n not in expected and not n.endswith(unread)],
        "of another shape": wrong,
    }
    listed = [f"{what}: {list_some(found)}" for what, found in problems.items() if found]
    if listed:
        raise CheckpointError(f"{file.path}: tensors do not fit the model; {'; '.join(listed)}")


def _own_dtype(file: CheckpointFile, names: Names, kind: NetworkKind[Any]) -> torch.dtype:
    if kind.dtype_of is None:
        return torch.float32
    dtype = file.read(kind.dtype_of(names)).dtype
    return dtype if dtype.itemsize > 1 else torch.bfloat16  # 8 bits are for storage alone
