"""Distillation methods, one file each; see `bench.distillation` for the interface."""
