"""The command `dreamstereo`; the only part of the core that prints."""

from .commands import main as main
