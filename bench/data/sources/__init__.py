"""Where interactions come from: downloads, imports, published formats, synthetic worlds."""
