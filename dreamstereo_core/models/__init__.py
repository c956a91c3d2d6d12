"""The learned part: Wan-class video transformers, their checkpoints, and what keeps them sparse."""
