"""Records of trials and the store that keeps them."""
