"""The store: tables, connections, every write (commands) and every read (queries). SQL has its home here and nowhere else."""
