"""Tables of patients: columns by name, from CSV files to a matrix of numbers."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, ParameterError, say

__all__ = ["Columns", "Table", "read_csv"]

MISSING = frozenset({"", "na", "n/a", "nan", "null", "?"})
NO_NUMBER = MISSING | {"none"}  # among texts "none" is an answer: none, mild, severe
MOST_CATEGORIES = 20  # more different texts than this are names or notes, not a category


class Table:
    """Columns of equal length by name: numbers (NaN where missing) or text (None where missing).

    Parameters
    ----------
    columns : dict of str to array
        float64 for numbers, object for text.
    source : str
        Where it came from, for messages.
    lines : array of int, optional
        The line of each row in its file; the default counts rows from 1.
    """

    def __init__(self, columns: dict[str, np.ndarray], source: str = "table",
                 lines: Sequence[int] | None = None):
        self.columns = columns
        self.source = source
        self.place = "row" if lines is None else "line"
        self.lines = np.arange(1, len(self) + 1) if lines is None else np.asarray(lines)

    @property
    def names(self) -> list[str]:
        """The columns' names in order."""
        return list(self.columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        self.require([name])
        return self.columns[name]

    def __repr__(self) -> str:
        return f"<Table {self.source}: {len(self)} rows, {len(self.columns)} columns>"

    def require(self, names: Iterable[str]) -> None:
        """Raise DataError unless all these columns are there."""
        absent = [name for name in names if name not in self.columns]
        if absent:
            raise DataError(say(
                self.source, f"column{'s' * (len(absent) > 1)} {_listed(absent)}",
                f"columns {_listed(self.names)}",
                "Add them to the file, or correct their names in its first line"))

    def take(self, rows: np.ndarray) -> Table:
        """Return some of the rows."""
        part = Table({name: column[rows] for name, column in self.columns.items()}, self.source)
        part.place, part.lines = self.place, self.lines[rows]
        return part

    def cell(self, row: int, name: str) -> str:
        """Say where a cell is, for messages."""
        return f"{self.source}, {self.place} {self.lines[row]}, column {name!r}"

    def known(self, name: str) -> np.ndarray:
        """Return the numbers of the rows that have an entry in a column."""
        return np.flatnonzero(~_missing(self[name]))

    def text(self, name: str) -> np.ndarray:
        """Return a column as text, refusing missing entries."""
        column = self[name]
        missing = _missing(column)
        if missing.any():
            raise DataError(say(self.cell(int(missing.argmax()), name), "an entry", "nothing",
                                "Fill it in or remove the row"))
        return np.array([_text(v) for v in column.tolist()])

    def labels(self, target: str, positive: str | None = None) -> tuple[np.ndarray, list[str]]:
        """Return the outcome as 0 and 1, and the names of the two.

        Parameters
        ----------
        target : str
            The column.
        positive : str, optional
            The value that is 1; all others are 0. Without it there must be two values, 0 and 1
            or words of which one says yes (yes, true, positive, malignant, case, dead, sick).
        """
        text = self.text(target).tolist()
        values = sorted(set(text))
        if len(values) < 2:
            raise DataError(say(f"{self.source}, column {target!r}", "two outcomes",
                                f"only {values[0]!r} in all {len(self)} rows",
                                "Add patients with the other outcome, or choose another target"))
        if positive is None:
            if len(values) > 2:
                raise DataError(say(
                    f"{self.source}, column {target!r}", "two outcomes",
                    f"{len(values)}: {_listed(values)}",
                    "Choose the one to predict against the rest: positive=..., or "
                    "--positive VALUE"))
            known = [v for v in values if v.lower() in YES]
            if len(known) != 1:
                raise DataError(say(
                    f"{self.source}, column {target!r}", "to know which outcome is the positive "
                    "one", _listed(values),
                    f"Say it: positive={values[-1]!r}, or --positive {values[-1]}"))
            positive = known[0]
        elif positive not in values:
            raise DataError(say(f"{self.source}, column {target!r}",
                                f"the positive outcome {positive!r}", _listed(values),
                                f"Use {values[-1]!r}"))
        rest = [v for v in values if v != positive]
        y = np.array([v == positive for v in text], np.int64)
        return y, [rest[0] if len(rest) == 1 else f"not {positive}", positive]


YES = frozenset({"1", "yes", "y", "true", "positive", "pos", "malignant", "case", "dead", "died",
                 "sick", "disease"})


def read_csv(path: str | Path) -> Table:
    """Read a CSV file with a header; ``,``, ``;`` or tab between the fields.

    A column is of numbers when every entry is one; entries that are empty or NA, N/A, NaN, null or
    ? are missing, as None is among numbers. Any other column is text.

    Raises
    ------
    DataError
        When the file is missing, empty, not UTF-8, without rows, or ragged, or when two columns
        have the same name: with the line.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(say(str(path), "an existing CSV file",
                            "a folder" if path.is_dir() else "no such file",
                            f"Check the path (the current folder is {Path.cwd()})"))
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(say(f"{path}, line {line}", "UTF-8 text",
                            f"byte 0x{raw[error.start]:02x}",
                            "Save the file as CSV UTF-8")) from error
    if not text.strip():
        raise DataError(say(str(path), "a header and rows", "an empty file",
                            "Check how the file was exported"))
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)  # the first of equals: a comma
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                rows.append([field.strip() for field in fields])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(say(f"{path}, line {reader.line_num}", "CSV", str(error),
                            "Check the quotes on this line")) from error
    header, rows = rows[0], rows[1:]
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice or "" in header:
        got = f"{_listed(twice)} twice" if twice and twice != [""] else "an empty name"
        raise DataError(say(f"{path}, line {lines[0]}", "a different name for every column", got,
                            "Rename the columns in the first line"))
    if not rows:
        raise DataError(say(str(path), "rows below the header", "none",
                            "Check how the file was exported"))
    for fields, line in zip(rows, lines[1:], strict=True):
        if len(fields) != len(header):
            raise DataError(say(f"{path}, line {line}", f"{len(header)} fields as in the header",
                                len(fields), "Check for a missing or an unquoted separator"))
    columns = {name: _column([fields[i] for fields in rows]) for i, name in enumerate(header)}
    return Table(columns, path.name, lines[1:])


class Columns:
    """How the columns of a table become the columns of a matrix: learned once, kept with a model.

    Numbers go in as they are, text as one 0/1 column per value seen in training (one-hot).

    Attributes
    ----------
    plan : list of dict
        Per column ``{"name", "values"}``: the texts in order, or None for numbers, and ``"fill"``:
        what stands for a missing number, or None where missing is refused. JSON as it is.
    """

    def __init__(self, plan: list[dict[str, Any]]):
        self.plan = plan

    @classmethod
    def fit(cls, table: Table, names: Sequence[str] | None = None,
            impute: str | None = None) -> Columns:
        """Learn from training patients.

        Parameters
        ----------
        table : Table
            The training rows only.
        names : list of str, optional
            Which columns; the default takes all.
        impute : {None, "median"}
            Whether missing numbers are refused, or replaced by the training rows' median.
        """
        if impute not in (None, "median"):
            raise ParameterError(say("Columns.fit", "impute None or 'median'", repr(impute),
                                     "Use impute='median'"))
        names = table.names if names is None else list(names)
        table.require(names)
        plan: list[dict[str, Any]] = []
        for name in names:
            column = table[name]
            known = column[~_missing(column)]
            if not len(known):
                raise DataError(say(f"{table.source}, column {name!r}", "values", "none at all",
                                    "Remove the column"))
            if column.dtype.kind == "f":
                fill = float(np.median(known)) if impute else None
                plan.append({"name": name, "values": None, "fill": fill})
                continue
            values = sorted(set(known.tolist()))
            if len(values) > MOST_CATEGORIES:
                row = next(i for i, v in enumerate(column) if v is not None and not _number(v))
                raise DataError(say(
                    table.cell(row, name), "a number, or one of a few categories",
                    f"{column[row]!r}, one of {len(values)} different texts",
                    "Write decimals with a point: 1.5, not 1,5" if _number(
                        str(column[row]).replace(",", ".")) else
                    "Correct the entry, or remove the column if it is a name or a note; if it "
                    f"names the patient, pass --patients {name!r}"))
            plan.append({"name": name, "values": values, "fill": None})
        return cls(plan)

    @property
    def names(self) -> list[str]:
        """The names of the table's columns that are used."""
        return [column["name"] for column in self.plan]

    @property
    def features(self) -> list[str]:
        """The names of the matrix's columns."""
        return [name for column in self.plan for name in (
            [column["name"]] if column["values"] is None
            else [f"{column['name']}={value}" for value in column["values"]])]

    def matrix(self, table: Table) -> np.ndarray:
        """Return the rows as float32 numbers, shape (N, features).

        Raises
        ------
        DataError
            For a missing column, a missing or infinite number, text where numbers were, or a
            category that training did not have: with line and column.
        """
        table.require(self.names)
        parts = [self._numbers(table, **column) if column["values"] is None
                 else self._categories(table, column["name"], column["values"])
                 for column in self.plan]
        return np.concatenate(parts, axis=1, dtype=np.float32)

    def _numbers(self, table: Table, name: str, values: None, fill: float | None) -> np.ndarray:
        column = table[name]
        if column.dtype.kind != "f":
            known = [v is None or v.lower() in NO_NUMBER or _number(v) for v in column]
            if all(known):  # nothing but missing entries
                column = np.full(len(table), np.nan)
            else:
                row = known.index(False)
                raise DataError(say(table.cell(row, name), "a number", repr(column[row]),
                                    "Correct the entry"))
        missing = np.isnan(column)
        if missing.any():
            if fill is None:
                raise DataError(say(
                    table.cell(int(missing.argmax()), name), "a number",
                    f"nothing ({int(missing.sum())} of {len(table)} missing in this column)",
                    "Fill it in, remove the row, or train with --impute median"))
            column = np.where(missing, fill, column)
        endless = ~np.isfinite(column.astype(np.float32))
        if endless.any():
            row = int(endless.argmax())
            raise DataError(say(table.cell(row, name), "a finite number", f"{column[row]:g}",
                                "Correct the entry or remove the row"))
        return column[:, None]

    def _categories(self, table: Table, name: str, values: list[str]) -> np.ndarray:
        # a column of text in training may hold only numbers (or nothing) in another file
        column = [v if v is None else _text(v) for v in table[name].tolist()]
        for row, value in enumerate(column):
            if value not in values:
                missing = value is None or value == "nan"
                raise DataError(say(table.cell(row, name), f"one of {_listed(values)}",
                                    "nothing" if missing else repr(value),
                                    "Correct the entry or remove the row"))
        return np.array([[v == value for value in values] for v in column], np.float64)


def _column(entries: list[str]) -> np.ndarray:
    """Return float64 numbers if every entry is one or missing, else text."""
    numbers = [None if e.lower() in NO_NUMBER else e for e in entries]
    known = [e for e in numbers if e is not None]
    if all(map(_number, known)) and (known or "none" not in map(str.lower, entries)):
        return np.array([np.nan if e is None else float(e) for e in numbers])
    texts = np.empty(len(entries), object)
    texts[:] = [None if e.lower() in MISSING else e for e in entries]
    return texts


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python's own digit separator


def _text(value: Any) -> str:
    """Return an entry as it stood in the file; whole numbers without a point."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _missing(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind == "f":
        return np.isnan(column)
    return np.array([value is None for value in column], bool)


def _listed(names: Sequence[str], most: int = 8) -> str:
    """Return the first names, quoted, for a message."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f", ... ({len(names)} in all)" if len(names) > most else "")
