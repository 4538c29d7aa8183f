"""Built-in blocks, techniques, tasks, corpora and studies: `<family>/<name>.py`, one idea per file."""
