"""From interactions to examples: canonical order, filters, splits, history windows."""
