"""Running trials: one trial in, one record out."""
