"""Full-catalogue ranking, metrics from ranks, segments and significance."""
