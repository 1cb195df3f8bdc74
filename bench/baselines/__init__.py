"""Rankings that need no gradient step: by counts and by linear algebra, one in each file."""
