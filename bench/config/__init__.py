"""From a selection to a grid: settings of methods, `--set` overrides, what goes with what."""
