"""Tasks: what is learned and how quality is judged."""
