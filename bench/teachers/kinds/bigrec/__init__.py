"""The kind `bigrec`: a causal language model that writes the title of the next item."""
