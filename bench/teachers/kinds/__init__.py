"""The teachers that the suite builds, a kind a file."""
