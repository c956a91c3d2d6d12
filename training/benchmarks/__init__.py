"""What `benchmark.py` measures, one topic a file."""
