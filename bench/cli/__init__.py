"""The `bench` command: one file per sub-command, parsing and printing only."""
