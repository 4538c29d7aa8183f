"""How training text is cut into batches."""
