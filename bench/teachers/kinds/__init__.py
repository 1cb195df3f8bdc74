"""The teachers that the suite builds: a file per kind, and a file per idea that kinds share."""
