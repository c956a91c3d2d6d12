"""`python -m dreamstereo_core.cli` is the command too."""

import sys

from .commands import main

sys.exit(main())
