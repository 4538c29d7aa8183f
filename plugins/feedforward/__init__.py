"""Feed-forward blocks: each token alone."""
