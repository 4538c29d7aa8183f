"""Search in place of the scan of all tokens, for prediction."""
