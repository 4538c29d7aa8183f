"""Setting weights to zero."""
