"""Training in less memory."""
