"""The order of queued runs, and the pause of the queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("run") as batch:
        batch.add_column(sa.Column("place", sa.BigInteger(), server_default="0", nullable=False))
    # As they would have been claimed before: by the moment they were queued, then by number.
    earlier = "SELECT count(*) FROM run AS other WHERE other.queued < run.queued OR (other.queued = run.queued AND other.id <= run.id)"
    op.execute(f"UPDATE run SET place = ({earlier})")
    op.create_table(
        "queue",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("paused", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue")),
    )


def downgrade() -> None:
    op.drop_table("queue")
    op.drop_column("run", "place")
