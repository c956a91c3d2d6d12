"""What the core has to say, said on the node: warnings as they come, errors in one plain line."""

import logging
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from comfy_execution.utils import get_executing_context
from server import PromptServer

from .. import dreamstereo_core
from ..dreamstereo_core.errors import DreamStereoError
from .places import media_folders

_BUILTINS = "builtins"
_warnings: dict[str, list[str]] = {}  # what the last run of a node warned of


def explained(execute: Callable) -> Callable:
    """Wrap a node's `execute`: the core's warnings appear on the node as well as in the log.

    An error of the core becomes the Python error that it is one of: the page shows its type, and
    the core's own name would be the path of this pack.
    """

    @wraps(execute)
    def run(cls: type, *args: Any, **kwargs: Any) -> Any:
        node_id = executing_node()
        if node_id is not None and _warnings.pop(node_id, None):
            say("", node_id)
        handler = _NodeHandler(node_id)
        loggers = [logging.getLogger(name) for name in (dreamstereo_core.__name__, __package__)]
        for logger in loggers:
            logger.addHandler(handler)
        try:
            return execute(cls, *args, **kwargs)
        except DreamStereoError as error:
            raise plain_type(error)(short_names(str(error))) from error
        finally:
            for logger in loggers:
                logger.removeHandler(handler)

    return run


class _NodeHandler(logging.Handler):
    """Shows each warning on a node, below those before it."""

    def __init__(self, node_id: str | None):
        super().__init__(logging.WARNING)
        self.node_id = node_id

    def emit(self, record: logging.LogRecord) -> None:
        """Show one that has not been shown yet; it may come from another thread."""
        if self.node_id is None:
            return
        text = f"Warning: {short_names(record.getMessage())}"
        shown = _warnings.setdefault(self.node_id, [])
        if text not in shown:
            shown.append(text)
            say("", self.node_id)


def executing_node() -> str | None:
    """Return the id of the node that runs, if any does."""
    context = get_executing_context()
    return None if context is None else context.node_id


def say(text: str, node_id: str) -> None:
    """Show `text` on the node, and below it what this run has warned of."""
    server = getattr(PromptServer, "instance", None)
    if server is not None:
        lines = filter(None, [text, *_warnings.get(node_id, ())])
        server.send_progress_text("\n".join(lines), node_id, server.client_id)


def plain_type(error: Exception) -> type[Exception]:
    """Return the error's nearest ancestor that is Python's own."""
    ancestors = type(error).__mro__
    return next(kind for kind in ancestors if kind.__module__ == _BUILTINS)


def short_names(text: str) -> str:
    """Name files as the page does: without the path of ComfyUI's folders."""
    for folder in media_folders():
        text = text.replace(os.path.abspath(folder) + os.sep, "")
    return text
