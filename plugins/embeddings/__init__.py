"""Embeddings: token ids become vectors."""
