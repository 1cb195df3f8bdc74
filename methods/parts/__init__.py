"""What several methods are made of, or one that is too long for a file."""
