"""The tables of the store. Times are unix seconds (UTC); JSON columns hold plain dictionaries and lists.

A change here needs a migration in `migrations/versions` and a new VERSION; a test holds both against each other.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, MetaData, String, Table, Text

VERSION = "0003"
"""The migration that makes the tables below. Versions are numbered, so that a newer store is recognised without its migrations."""

BRANCHING = 16
"""Points per bucket of level 1, and buckets of level k per bucket of level k + 1."""

LEVELS = 4
"""Levels of buckets: one of the top level covers 65,536 points."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[Any]:
    return Column("id", Integer, primary_key=True, autoincrement=True)


def _of(table: str, name: str | None = None, *, key: bool = False, optional: bool = False) -> Column[Any]:
    """A reference to the row of another table."""
    return Column(name or f"{table}_id", Integer, ForeignKey(f"{table}.id"), primary_key=key, nullable=optional, autoincrement=False)


def _text(name: str, *, key: bool = False) -> Column[Any]:
    return Column(name, Text, primary_key=key, nullable=False, default="", server_default="")


def _moment(name: str, *, optional: bool = False) -> Column[Any]:
    return Column(name, Double, nullable=optional)


def _json(name: str) -> Column[Any]:
    return Column(name, JSON, nullable=False)


# Ids of deleted rows are never given again (autoincrement): the folder of a run carries its id.
experiment = Table(
    "experiment", metadata, _id(), _text("name"), _text("digest"), _text("text"), _json("document"), _text("folder"),
    _moment("created"), _moment("deleted", optional=True), sqlite_autoincrement=True,
)  # fmt: skip

variant = Table(
    "variant", metadata, _id(), _of("experiment"), Column("position", Integer, nullable=False), _text("name"), _json("plan"),
    Column("baseline", Boolean, nullable=False), Index(None, "experiment_id"), sqlite_autoincrement=True,
)  # fmt: skip

machine = Table(
    "machine", metadata, _id(), Column("fingerprint", String(200), nullable=False, unique=True), _json("facts"), sqlite_autoincrement=True
)

supervisor = Table(
    "supervisor", metadata, _id(), _text("host"), Column("pid", BigInteger, nullable=False), _moment("pid_started"), _moment("started"),
    _moment("heartbeat"), _moment("ended", optional=True), _of("machine", optional=True), sqlite_autoincrement=True,
)  # fmt: skip

# place: queued runs start in this order; who is queued comes after all others.
run = Table(
    "run", metadata, _id(), _of("experiment"), _of("variant"), Column("seed", BigInteger, nullable=False),
    Column("status", String(20), nullable=False), Column("smoke", Boolean, nullable=False), Column("attempt", Integer, nullable=False),
    _json("needs"), _text("request"), _text("claim"), _of("supervisor", optional=True),
    Column("pid", BigInteger), _moment("pid_started", optional=True), _text("phase"),
    _moment("queued"), _moment("started", optional=True), _moment("ended", optional=True), _text("reason"), _text("advice"),
    _of("machine", optional=True), _json("progress"), _text("folder"),
    Column("place", BigInteger, nullable=False, default=0, server_default="0"),
    Index(None, "experiment_id"), Index(None, "status"), sqlite_autoincrement=True,
)  # fmt: skip

# One row at most. paused: since when no queued run is started (NULL: it is).
queue = Table("queue", metadata, Column("id", Integer, primary_key=True, autoincrement=False), _moment("paused", optional=True))

# cuts counts how often its tail was cut off: a reader that follows by cursor reads anew when it moves.
series = Table(
    "series", metadata, _id(), _of("run"), Column("key", String(200), nullable=False), _text("unit"), _text("better"),
    Column("count", BigInteger, nullable=False), Column("last_step", BigInteger), Column("last_time", Double), Column("last_value", Double),
    Column("cuts", Integer, nullable=False, default=0, server_default="0"), Index(None, "run_id", "key", unique=True), sqlite_autoincrement=True,
)  # fmt: skip

# n is the ordinal of a point in its series, without holes; value is NULL for NaN.
point = Table(
    "point", metadata, _of("series", key=True), Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("step", BigInteger, nullable=False), Column("time", Double, nullable=False), Column("value", Double), sqlite_with_rowid=False,
)  # fmt: skip

# Bucket i of a level covers n in [i * BRANCHING**level, (i + 1) * BRANCHING**level); low and high are NULL where all values are.
bucket = Table(
    "bucket", metadata, _of("series", key=True), Column("level", Integer, primary_key=True, autoincrement=False),
    Column("i", BigInteger, primary_key=True, autoincrement=False), Column("step_first", BigInteger, nullable=False),
    Column("step_last", BigInteger, nullable=False), Column("low", Double), Column("high", Double),
    Column("gaps", BigInteger, nullable=False), sqlite_with_rowid=False,
)  # fmt: skip

result = Table(
    "result", metadata, _of("run", key=True), Column("key", String(200), primary_key=True), Column("target", String(200), primary_key=True),
    Column("value", Double), _text("unit"), _text("better"), Column("n", Integer, nullable=False), Column("low", Double),
    Column("high", Double), _json("detail"),
)  # fmt: skip

effect = Table(
    "effect", metadata, _id(), _of("run"), _text("technique"), _text("hook"), _text("sentence"), _json("facts"), Index(None, "run_id"),
)  # fmt: skip

event = Table(
    "event", metadata, _id(), _of("run"), _moment("time"), _text("level"), _text("kind"), _text("text"), Index(None, "run_id"),
    sqlite_autoincrement=True,
)  # fmt: skip

artifact = Table(
    "artifact", metadata, _id(), _of("run"), _text("kind"), _text("name"), _text("path"), Column("bytes", BigInteger, nullable=False),
    _text("sha256"), _moment("created"), Index(None, "run_id"),
)  # fmt: skip

timing = Table(
    "timing", metadata, _id(), _of("experiment"), _text("target"), _text("quantity"), Column("status", String(20), nullable=False),
    _json("facts"), Index(None, "experiment_id"),
)  # fmt: skip

# control marks the second measurement of the baseline in a round (A/A).
round = Table(
    "round", metadata, _of("timing", key=True), _of("variant", key=True), Column("n", Integer, primary_key=True, autoincrement=False),
    Column("control", Boolean, primary_key=True), Column("position", Integer, nullable=False), Column("value", Double),
)  # fmt: skip

note = Table(
    "note", metadata, _id(), _of("experiment"), _of("run", optional=True), _moment("time"), _text("text"), Index(None, "experiment_id"),
)  # fmt: skip

tag = Table("tag", metadata, _of("experiment", key=True), Column("name", String(200), primary_key=True))

# result is empty until it is done. host, pid, pid_started: the process that measures, so that a row it left behind can be told.
study = Table(
    "study", metadata, _id(), Column("study", String(200), nullable=False), _json("parameters"), Column("status", String(20), nullable=False),
    _of("machine", optional=True), _moment("created"), _moment("ended", optional=True), _json("result"), _text("reason"),
    _text("host"), Column("pid", BigInteger), _moment("pid_started", optional=True), Index(None, "study"), sqlite_autoincrement=True,
)  # fmt: skip
