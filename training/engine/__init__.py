"""What every recipe runs on: settings, the loop, its state, its journal."""
