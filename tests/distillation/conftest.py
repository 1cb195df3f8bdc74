"""The rows and the teacher of the methods' tests."""

from ..methods.conftest import knowledge

__all__ = ["knowledge"]
