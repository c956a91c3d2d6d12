"""File names by which players recognise a stereo layout."""

from __future__ import annotations

import re
from pathlib import Path

from .info import probe
from .source import Source
