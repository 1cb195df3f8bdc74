"""Distillation methods, one file each; see `methods.base` for the interface."""
