"""Networks at their real size, their configurations and their checkpoints."""
