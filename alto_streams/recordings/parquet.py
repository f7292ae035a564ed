"""Recordings as Parquet, for tools that read tables; needs the extra `parquet` (pyarrow).

One row a request, with the columns of `Recorded`: `input` as its JSON text, what became of it in columns of its own.
The header is metadata of the file.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from alto_streams.errors import ConfigError
from alto_streams.recordings.format import Became, Header, Recorded, Recording, checked, header_of
from alto_streams.wire.records import Mode, Raw, encode

HEADER = b"alto_streams.recording"
COLUMNS = {
    "id": "string",
    "at_ms": "int64",
    "pipeline": "string",
    "input": "string",
    "mode": "string",
    "within_s": "float64",
    "status": "string",
    "result_hash": "string",
    "done_s": "float64",
    "result": "string",
}
LATER = ("result",)  # files of before it was kept have none


def write_parquet(path: Path, recording: Recording) -> None:
    """Compressed with zstd. Raises `ConfigError` if it cannot be written, or pyarrow is not installed."""
    arrow, parquet = _modules(path)
    rows = [_row(each) for each in recording.requests]
    schema = arrow.schema(
        [(name, arrow.type_for_alias(kind)) for name, kind in COLUMNS.items()],
        metadata={HEADER: encode(recording.header)},
    )
    beside = path.with_name(path.name + ".part")
    try:
        parquet.write_table(arrow.Table.from_pylist(rows, schema=schema), beside, compression="zstd")
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error}") from None


def read_parquet(path: Path) -> tuple[Header, list[Recorded]]:
    """The header and the requests. Raises `ConfigError` if it is no recording; names the row and the field."""
    arrow, parquet = _modules(path)
    try:
        table = parquet.read_table(path)
    except (OSError, arrow.ArrowException) as error:
        why = getattr(error, "strerror", None) or "it is no Parquet file, or a damaged one"
        raise ConfigError(f"{path}: cannot be read: {why}") from None
    header = header_of((table.schema.metadata or {}).get(HEADER, b""), str(path))
    lacking = [name for name in COLUMNS if name not in (*table.column_names, *LATER)]
    if lacking:
        raise ConfigError(f"{path}: it has no column {lacking[0]}")
    there = [name for name in COLUMNS if name in table.column_names]
    rows = enumerate(table.select(there).to_pylist(), 1)
    return header, list(checked(path, ((number, _request(path, number, row)) for number, row in rows)))


def _row(each: Recorded) -> dict[str, Any]:
    became: dict[str, Any] = {}
    if each.became is not None:
        became = msgspec.structs.asdict(each.became)
        kept = bytes(became.pop("kept")).decode()
        became["result"] = kept or None
    return msgspec.structs.asdict(each) | {"input": bytes(each.input).decode(), "mode": str(each.mode)} | became


def _request(path: Path, number: int, row: dict[str, Any]) -> Recorded:
    became, kept = {name: row.pop(name) for name in ("status", "result_hash", "done_s")}, row.pop("result", None)
    try:
        read = msgspec.convert(row | {"input": None}, _Row)
        told = None if became["status"] is None else msgspec.convert(became, Became)
        if told is not None and kept is not None:
            msgspec.json.decode(kept)
            told = msgspec.structs.replace(told, kept=Raw(kept.encode()))
        raw = Raw(row["input"].encode())
        msgspec.json.decode(raw)
    except (msgspec.MsgspecError, AttributeError) as error:
        field = str(error).rpartition("$.")[2] if "$." in str(error) else "input"
        raise ConfigError(f"{path}, row {number}: a wrong value: field {field.strip('`')}") from None
    return Recorded(read.id, read.at_ms, read.pipeline, raw, read.mode, read.within_s, told)


class _Row(msgspec.Struct):
    id: str
    at_ms: int
    pipeline: str
    mode: Mode
    within_s: float | None
    input: None


def _modules(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError(
            f"{path}: Parquet needs pyarrow; install it with `pip install pyarrow`, or take .jsonl.gz"
        ) from None
    return pyarrow, pyarrow.parquet
