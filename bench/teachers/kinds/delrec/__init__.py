"""The kind `delrec`: an encoder-decoder that picks the next item from candidates."""
