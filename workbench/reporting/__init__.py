"""The report designer: sections in an order, text between them, a preview, and its files."""
