"""The command `dreamstereo`; the only part of the core that prints."""

from .command import main as main
