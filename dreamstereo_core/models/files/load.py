"""The one loader: open a file safely, recognise it, and compare it before reading weights."""

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
"""How many names an error lists before it counts the rest."""

Shapes = Mapping[str, tuple[int, ...]]
Names = Mapping[str, str]
"""The network's name of a tensor -> the file's name."""
Network = TypeVar("Network", bound=nn.Module)


def same_names(names: Iterable[str]) -> dict[str, str]:
    """Map each name to itself, for files that have the network's own names."""
    return {name: name for name in names}


def read_plain(file: CheckpointFile, names: Names, name: str, dtype: torch.dtype | None) -> Tensor:
    """Read a tensor by the network's name for it, in `dtype`, or in the file's if that is None."""
    return file.read_weight(names[name], dtype)


@dataclass(frozen=True)
class NetworkKind(Generic[Network]):
    """The description of a kind of network, which `load_network` and `save_network` use."""

    title: str
    """Its name in errors, such as "a Wan transformer"."""
    mark: str | None
    """The kind that a DreamStereo file states; None if there are no such files."""
    build: Callable[..., Network]
    """Builds the network, given a config and the caller's options."""
    parse: Callable[[str], Any] | None = None
    """Reads the config of a DreamStereo file; raises ValueError if it is wrong."""
    config_text: Callable[[Any], str] = lambda config: json.dumps(asdict(config))
    """Writes a config as text."""
    public: tuple[str, ...] = ()
    """What `describe_file` says of public files that hold such a network."""
    detect: Callable[[Shapes, Path], Any] | None = None
    """Derives a config from a public file's shapes, by the network's names. It raises KeyError if
    a tensor that tells a size is missing, ValueError or IndexError if the sizes are impossible."""
    names: Callable[[Iterable[str]], dict[str, str]] = same_names
    """Finds the network's tensors in a file; the tensors of other models are left out."""
    unread: tuple[str, ...] = ()
    """Endings of names that a file may have or lack; such tensors of the network become zeros."""
    blocks: Callable[[Any], int] | None = None
    """Counts the blocks of a config; each of them has at least one tensor."""
    dtype_of: Callable[[Names], str] | None = None
    """Names the tensor whose dtype in the file the network gets by default; None is float32."""
    read: Callable[[CheckpointFile, Names, str, torch.dtype], Tensor] = read_plain
    """Reads one tensor."""
    finish: Callable[[nn.Module], None] | None = None
    """Is called when the weights are loaded."""
    kernels: torch.dtype | None = None
    """The default dtype for storing weights of more than one axis; None keeps theirs."""


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
        kind: the expected kind of network.
        config: its sizes; None takes the file's own config, or derives it from the shapes.
        device: where to put it; "auto" takes CUDA, then MPS, then the CPU.
        dtype: of the weights and the computation; None takes the kind's default.
        options: for the kind's builder, such as `operations`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is corrupt, or holds another model, which the message names; or
            names, shapes or values are wrong.
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
        network: it has a `config`.
        path: `*.safetensors`; an existing file is replaced at once.
        kind: the kind of the network.
        dtype: the dtype to store; None takes the kind's default.
        metadata: more texts to store in the file.

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
    """Join the first names and count the rest."""
    items = list(items)
    rest = len(items) - LISTED
    return ", ".join(items[:LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _config(file: CheckpointFile, names: Names, kind: NetworkKind[Any]) -> Any:
    """Return a DreamStereo file's config, or derive it from the shapes of a public file."""
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
