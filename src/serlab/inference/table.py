"""A file of predictions that grows while they are made, and continues where a killed process stopped.

``predictions.csv`` (or ``.jsonl``) has two companions:

    predictions.csv            one row per predicted file, or per segment
    predictions.excluded.csv   one row per file that was left out, with the reason; absent if there is no such file
    predictions.csv.json       the model and the precision that the rows come from, and how recordings are divided

Rows are appended as they come. Only the last line can be incomplete after a kill. The next process cuts it off and
predicts its clip again. A table of segments also has recordings whose rows are only partly there; so its companion says
how many bytes are complete.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path
from typing import Any

from serlab import __version__
from serlab.audio.speech import detector
from serlab.core import Exclusion, UserError, argument
from serlab.core.files import sha256_file, sha256_json, unwritable, write_json
from serlab.core.locks import locked
from serlab.model.model import Model
from serlab.model.prediction import Prediction, column_names
from serlab.model.segments import SegmentOptions

ENDINGS = (".csv", ".jsonl")

_FORMAT = 1
# What loading a model reads, apart from its card.
_READ = ("serlab.json", "config.json", "preprocessor_config.json", "processor_config.json",
         "model.safetensors.index.json", "*.safetensors", "pytorch_model.bin")  # fmt: skip
# What older versions hashed, tables' companions among them.
_OLDER = ("*.json", "*.safetensors", "*.bin")
_EXCLUDED_HEADER = ("path", "reason")


def as_csv(rows: Iterable[Sequence[object]]) -> str:
    """Lines of CSV, quoted where a value needs it."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def lines(results: Iterable[Prediction | Exclusion], form: str, columns: Sequence[str]) -> str:
    r"""Predictions or exclusions as lines of ``csv``, without the header, or ``jsonl``.

    Args:
        results: the predictions or the exclusions.
        form: ``csv`` or ``jsonl``.
        columns: of :func:`serlab.model.prediction.column_names`; those of segments give one line per segment.

    >>> lines([Prediction("sad", {"calm": 0.25, "sad": 0.75}, "a,b.wav")], "csv", column_names(["calm", "sad"]))
    '"a,b.wav",sad,0.25,0.75\r\n'
    >>> lines([Exclusion("a.wav", "a.wav", "silent")], "jsonl", ["path", "reason"])
    '{"path": "a.wav", "reason": "silent"}\n'
    """
    rows = [row for found in results for row in _rows(found, "start" in columns)]
    if form == "csv":
        return as_csv([_cells(row).get(column) for column in columns] for row in rows)
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _rows(found: Prediction | Exclusion, segments: bool) -> list[dict[str, Any]]:
    if isinstance(found, Exclusion):
        return [{"path": found.path, "reason": found.reason}]
    return found.rows() if segments else [found.data()]


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    shares = {f"prob_{label}": share for label, share in row.get("probabilities", {}).items()}
    return row | {"predicted": row.get("label")} | shares


class PredictionFile:
    """The open file; returned by :func:`opened`.

    Attributes:
        path: where the predictions are.
        excluded_path: where the exclusions are.
        excluded: the files that were left out, by this process or an earlier one.
    """

    def __init__(self, path: Path, labels: Sequence[str], source: dict[str, Any]) -> None:
        self.path = path
        self.form = path.suffix.lower()[1:]
        calibrated = source.get("temperature") is not None
        self.header = column_names(labels, segments=source["segments"] is not None, calibrated=calibrated)
        self._source = source
        self.excluded_path = path.with_suffix(f".excluded{path.suffix}")
        self.excluded: set[str] = set()

    def left(self, files: Iterable[str]) -> list[str]:
        """Those of ``files`` that have no row in either file."""
        done = set(self._paths(self.path, self.header)) | self.excluded
        return [file for file in files if file not in done]

    def add(self, results: Sequence[Prediction | Exclusion]) -> None:
        """Append what became of some files, and wait until it is on the disk.

        Raises:
            MachineError: the file cannot be written.
        """
        predicted = [found for found in results if isinstance(found, Prediction)]
        excluded = [found for found in results if isinstance(found, Exclusion)]
        if predicted:
            _append(self.path, lines(predicted, self.form, self.header))
            self._complete()
        if excluded:
            header = "" if self.excluded_path.exists() else self._head(_EXCLUDED_HEADER)
            _append(self.excluded_path, header + lines(excluded, self.form, _EXCLUDED_HEADER))
            self.excluded.update(found.path for found in excluded)

    def start(self) -> None:
        """Write the companion and the header."""
        write_json(side_of(self.path), self._source | {"bytes": 0})
        _append(self.path, self._head(self.header))
        self._complete()

    def repair(self, complete: int) -> None:
        """Cut off what is incomplete at the end, and read which files were left out.

        Args:
            complete: bytes of the rows that are complete, in a table of segments.
        """
        if self._source["segments"] is not None:
            os.truncate(self.path, min(complete, self.path.stat().st_size))
        _cut_torn_line(self.path, self.form)
        if self.excluded_path.exists():
            if not _cut_torn_line(self.excluded_path, self.form):
                self.excluded_path.unlink()
                return
            self.excluded.update(self._paths(self.excluded_path, _EXCLUDED_HEADER))

    def _complete(self) -> None:
        """Note that all rows are there."""
        if self._source["segments"] is not None:
            write_json(side_of(self.path), self._source | {"bytes": self.path.stat().st_size})

    def _head(self, header: Sequence[str]) -> str:
        return as_csv([header]) if self.form == "csv" else ""

    def _paths(self, path: Path, header: Sequence[str]) -> Iterator[str]:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            if self.form == "csv":
                rows = csv.reader(stream)
                if next(rows, None) != list(header):
                    raise UserError(f"the columns of {path} are not {', '.join(header)}; write to another file.")
                for row in rows:
                    if len(row) != len(header):
                        raise _damaged(path, rows.line_num)
                    yield row[0]
            else:
                for number, line in enumerate(stream, 1):
                    try:
                        yield json.loads(line)["path"]
                    except (ValueError, TypeError, KeyError):
                        raise _damaged(path, number) from None


def side_of(path: Path) -> Path:
    """The companion that says what the rows come from."""
    return path.with_name(f"{path.name}.json")


@contextmanager
def opened(
    path: Path,
    model: Model,
    abstain: float | None = None,
    *,
    segments: SegmentOptions | None = None,
    calibrated: bool = False,
    all_long: bool = False,
) -> Iterator[PredictionFile]:
    """Start a file of predictions, or continue one.

    Args:
        path: the file; its name ends in ``.csv`` or ``.jsonl``.
        model: the model.
        abstain: as for :meth:`serlab.Model.predict`.
        segments: how recordings are divided, for one row per segment; without options, only those over 30 seconds. None
            for one row per file.
        calibrated: as for :meth:`serlab.Model.predict`.
        all_long: whether all recordings are over 30 seconds, so that it makes no difference whether shorter ones are
            divided.

    Yields:
        The file; no other process can open it until the block ends.

    Raises:
        UserError: the file holds something else, or predictions of another model, precision, abstention or division; or
            another process is writing it.
        MachineError: the file cannot be written.
    """
    with locked(path):
        try:
            path.open("ab").close()
        except OSError as error:
            raise unwritable(path, error) from error
        source = _source(model) | {"abstain": abstain}
        source["segments"] = None if segments is None else _division(model, segments)
        if calibrated:
            source["temperature"] = model.info.temperature
        known = _known(path, source, model.folder, all_long=all_long) if path.stat().st_size else None
        if known is not None:
            source["segments"] = known.get("segments")
        file = PredictionFile(path, model.labels, source)
        if known is not None:
            file.repair(known.get("bytes", 0))
        if not path.stat().st_size:
            # In this order: a kill in between leaves an empty file, so the next process starts from scratch.
            file.excluded_path.unlink(missing_ok=True)
            file.start()
        yield file


def divides_clips(path: Path) -> bool | None:
    """Whether recordings below 30 seconds are divided in the table at ``path``; None without such a table."""
    try:
        division = json.loads(side_of(path).read_text(encoding="utf-8"))["segments"]
        return bool(division and division["clips"]) if path.stat().st_size else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _division(model: Model, options: SegmentOptions) -> dict[str, Any]:
    """How recordings are divided, with all that decides it."""
    how = model.segmenting(options)
    return {
        "window": how.seconds,
        "hop": how.hop_seconds,
        "vad": detector(how.vad).name,
        "smoothing": how.smoothing,
        # Absent if it is not used, as in files of older versions.
        **({} if how.stay is None else {"stay": how.stay}),
        "clips": bool(options),
    }


def _source(model: Model) -> dict[str, Any]:
    """What rows come from: the precision, and a hash of all files of the model folder that can change them."""
    return {
        "format": _FORMAT,
        "model": str(model.folder),
        "sha256": _sha256(model.folder, _READ),
        "precision": model.precision,
        "serlab": __version__,
    }


def _sha256(folder: Path, names: Sequence[str], without: Sequence[str] = ()) -> str:
    """Hash of the files of a model folder with these names."""
    found = (path for part in (folder, folder / "encoder") for name in names for path in part.glob(name))
    hashes = {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for path in found
        if not any(fnmatchcase(path.name, name) for name in without)
    }
    return sha256_json(hashes)


def _older(folder: Path, path: Path) -> Iterator[str]:
    """Hashes that older versions may have written for the same model, before the table's companion was there."""
    for without in ((f"*{ending}.json" for ending in ENDINGS), (escape(side_of(path).name),)):
        yield _sha256(folder, _OLDER, [*without])


def _known(path: Path, source: dict[str, Any], folder: Path, *, all_long: bool) -> dict[str, Any]:
    """What the rows that are there come from; an error if new ones would not fit them."""
    side = side_of(path)
    try:
        known: dict[str, Any] = json.loads(side.read_text(encoding="utf-8"))
        model, sha256, precision = known["model"], known["sha256"], known["precision"]
    except FileNotFoundError:
        raise UserError(f"{path} is not from serlab: {side} is missing; write to another file.") from None
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{side} is damaged and does not name the model of {path}; write to another file.") from None
    if sha256 != source["sha256"] and sha256 not in _older(folder, path):
        there = f"from {model}" if model != source["model"] else f"from {model} as it was then"
        raise UserError(f"{path} holds rows of another model ({there}); write to another file or delete {path}.")
    if precision != source["precision"]:
        raise UserError(
            f"{path} holds rows in {precision}, not {source['precision']}; use {argument('precision', precision)}, "
            f"write to another file or delete {path}."
        )
    if (abstain := known.get("abstain")) != source["abstain"]:
        way = "without abstention" if abstain is None else f"with {argument('abstain', abstain)}"
        raise UserError(f"{path} was written {way}; do the same, or write to another file.")
    if (temperature := known.get("temperature")) != source.get("temperature"):
        way = "without" if temperature is None else "with"
        raise UserError(f"{path} was written {way} {argument('calibrated')}; do the same, or write to another file.")
    _check_division(path, known.get("segments"), source["segments"], all_long=all_long)
    return known


def _check_division(path: Path, known: dict[str, Any] | None, wanted: dict[str, Any] | None, *, all_long: bool) -> None:
    """Refuse a table whose rows are divided in another way than new ones would be."""
    if known == wanted or (wanted is None and known and not known["clips"]):
        return
    if known is None:
        raise UserError(f"{path} has one row per file, not one per segment; write to another file.")
    if all_long and wanted is not None and known | {"clips": None} == wanted | {"clips": None}:
        return
    way = " ".join(argument(name, value) for name, value in known.items() if name != "clips")
    if known["clips"]:
        raise UserError(f"{path} has segments made with {way}; do the same, or write to another file.")
    if wanted is not None and wanted["clips"]:
        raise UserError(
            f"{path} was written without options for segments, which then were made with {way}; omit them too, or "
            "write to another file."
        )
    raise UserError(f"{path} has segments made with {way}, which is not the default now; write to another file.")


def _append(path: Path, text: str) -> None:
    """Append text; file names that are not UTF-8 are written as the bytes that they have on disk."""
    try:
        with path.open("ab") as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise unwritable(path, error) from error


def _cut_torn_line(path: Path, form: str) -> int:
    """Cut a file after its last complete line and return its size; line breaks in quotes do not end a row of CSV."""
    whole = position = quotes = 0
    with path.open("rb") as stream:
        for line in stream:
            position += len(line)
            quotes += line.count(b'"') if form == "csv" else 0
            if line.endswith(b"\n") and quotes % 2 == 0:
                whole = position
    if whole < position:
        os.truncate(path, whole)
    return whole


def _damaged(path: Path, number: int) -> UserError:
    return UserError(f"line {number} of {path} is not a row of predictions; repair it, or write to another file.")
