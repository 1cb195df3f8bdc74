"""Teacher knowledge: its contract on disk, its validation, its builders and controls."""
