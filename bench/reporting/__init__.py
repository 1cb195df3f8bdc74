"""Leaderboards from records; imports no torch."""
