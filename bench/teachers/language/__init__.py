"""What kinds of teachers that are language models have in common."""
