"""Two towers over item texts: what teachers that are made of them have in common."""
