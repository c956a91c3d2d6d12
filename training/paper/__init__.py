"""The paper's tables and figures: its numbers, how ours are measured, and a trial of tiny size."""
