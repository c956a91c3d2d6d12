"""Training data on disk, and the samples drawn from it."""
