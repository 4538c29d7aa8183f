"""The only torch in engines: worker, inspector and what they do."""
