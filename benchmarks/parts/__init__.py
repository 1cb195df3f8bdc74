"""The parts of `benchmarks/speed.py`, one a file."""
