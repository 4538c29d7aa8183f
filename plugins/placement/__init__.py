"""Which device holds which part of the model."""
