"""The training loop, its objectives and its negatives."""
