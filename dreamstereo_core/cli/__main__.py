"""`python -m dreamstereo_core.cli` is the command too."""

import sys

from .command import main

sys.exit(main())
