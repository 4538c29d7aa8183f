"""What Alembic runs to migrate: on the connection, and inside the transaction, that the caller has opened."""

from __future__ import annotations

from alembic import context

from engines.store import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
