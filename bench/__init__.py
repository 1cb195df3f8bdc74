"""A declarative benchmark of distillation methods for sequential recommendation."""

__version__ = "0.1.0"
