"""Model files: opened safely, recognised, and loaded strictly."""
