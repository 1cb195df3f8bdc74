"""Typed configuration: YAML layers, `--set` overrides, validation with key paths."""
