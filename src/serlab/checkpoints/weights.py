"""The location and identity of pretrained weights.

A checkpoint is a local folder, or a hub name. ``SERLAB_MODELS`` names a folder of checkpoints,
which is searched before the hub: ``openai/whisper-base`` is found as ``whisper-base/`` or
``whisper-base-encoder/``. The encoders in serlab's package have the owner ``serlab``.
"""

from __future__ import annotations

import functools
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

from serlab.checkpoints import hub
from serlab.core import MachineError, SerlabError, UserError, setting
from serlab.core.files import read_json, sha256_file, sha256_json

VARIABLE = "SERLAB_MODELS"
BOX = "box"
"""The reserved name of the model that serlab ships."""

BOX_FOLDER = Path(__file__).resolve().parent.parent / BOX
WEIGHTS = "model.safetensors"
FILES = (WEIGHTS, "model.safetensors.index.json", "pytorch_model.bin")
"""Names of weight files; the first one that exists is used."""
_SETTINGS = {"config.json", "preprocessor_config.json", "processor_config.json"}
PACKAGED = Path(__file__).resolve().parent.parent / "pretrained"
"""Folder of the encoders in serlab's package; ``serlab/NAME`` is the checkpoint in its folder NAME."""

_OWNER = "serlab/"
_FETCHED = re.compile(r"/models--([^/]+?)--([^/]+)/snapshots/[^/]+$")
"""A folder of the hub's cache; its path names the repository."""
_WANTED = ["*.json", "*.safetensors", "pytorch_model.bin"]
_POINTERS = (b"version https://git-lfs", b"/annex/objects", b"../../.git/annex")
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory")


def find(checkpoint: str, *, fetch: bool = True) -> Path:
    """Folder of a checkpoint: as given, in serlab's package, below ``SERLAB_MODELS``, or fetched from the hub.

    Args:
        checkpoint: hub name or local folder; ``box`` is the model that serlab ships.
        fetch: whether to download from the hub; earlier downloads are found anyway.

    Raises:
        UserError: the checkpoint does not exist, or its folder has no weights.
        MachineError: the hub cannot be reached.
    """
    folder = BOX_FOLDER if checkpoint == BOX else Path(checkpoint).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if checkpoint.startswith(_OWNER):
        return _packaged(checkpoint)
    shelf = os.environ.get(VARIABLE)
    name = checkpoint.rstrip("/").rsplit("/", 1)[-1]
    if shelf:
        for candidate in (Path(shelf, name).expanduser(), Path(shelf, f"{name}-encoder").expanduser()):
            if candidate.is_dir():
                return _checked(candidate)
    if checkpoint.startswith((".", "/", "~")):
        raise UserError(f"there is no model folder {checkpoint}.")
    return _fetch(checkpoint, name, offline=not fetch)


def _packaged(checkpoint: str) -> Path:
    names = sorted(folder.name for folder in PACKAGED.iterdir() if folder.is_dir()) if PACKAGED.is_dir() else []
    name = checkpoint.removeprefix(_OWNER)
    if name not in names:
        known = ", ".join(_OWNER + each for each in names) or "none"
        raise UserError(
            f"serlab's package holds no encoder {checkpoint} (it holds {known}); for a folder, write ./{checkpoint}."
        )
    return _checked(PACKAGED / name)


def public_name(checkpoint: str) -> str:
    """A checkpoint's name for shared results: its hub name or the name of its folder, never a path.

    >>> public_name("facebook/wav2vec2-base"), public_name("/home/me/models/my-own/")
    ('facebook/wav2vec2-base', 'my-own')
    """
    folder = Path(checkpoint).expanduser()
    # Links are not followed: the user knows the folder by this name.
    folder = folder.absolute() if folder.name not in ("", "..") else folder.resolve()
    if fetched := _FETCHED.search(folder.as_posix()):
        return f"{fetched[1]}/{fetched[2]}"
    local = checkpoint.startswith((".", "/", "~")) or folder.is_dir()
    return folder.name if local else checkpoint.rstrip("/")


def _fetch(checkpoint: str, name: str, *, offline: bool) -> Path:
    try:
        folder = hub.download(checkpoint, _WANTED, offline=offline)
    except hub.UnreachableError as error:
        ways = _nearby(name) or (
            f"go online, or put the checkpoint's folder at ${VARIABLE}/{name}, or give its path with "
            f"{setting('model.checkpoint', 'FOLDER')}"
        )
        raise MachineError(
            f"the weights {checkpoint} are not in {VARIABLE}, and the hub cannot be reached: {ways}."
        ) from error
    except UserError as error:
        if (near := _nearby(name)) is None:
            raise
        raise UserError(f"{str(error).rstrip('.')}; {near}.") from error
    return _checked(folder)


def _nearby(name: str) -> str | None:
    """How to use a folder in the current folder that has the checkpoint's name."""
    if not Path(name, "config.json").is_file():
        return None
    return f"the current folder has a folder {name}; to use it, give {setting('model.checkpoint', f'./{name}')}"


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} is not a model folder: it has no config.json.")
    if not any((folder / name).is_file() for name in FILES):
        raise UserError(f"{folder} has no weights: expected {' or '.join(FILES)}.")
    return folder


def identity(folder: Path) -> str:
    """SHA-256 of a checkpoint's weight file; if it is sharded, of the hashes of its index and its shards."""
    path = next(folder / name for name in FILES if (folder / name).is_file())
    if path.suffix != ".json":
        return _hash_of(path)
    # The index only names the tensors: it is the same for all values. Reading them refuses a wrong one.
    names = shards_of(path)
    shards = [folder / name for name in names if Path(name).name == name and (folder / name).is_file()]
    return sha256_json([[each.name, _hash_of(each)] for each in (path, *shards)])


def shards_of(index: Path) -> list[str]:
    """Names of the files of weights that the index of a sharded checkpoint names, sorted; they may be missing."""
    places = read_json(index).get("weight_map")
    return sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []


def settings_identity(folder: Path) -> str:
    """SHA-256 of the configurations of a checkpoint and of its input, also in subfolders; ``identity`` ignores them."""
    files = sorted(path for path in folder.rglob("*.json") if path.name in _SETTINGS)
    return sha256_json([[path.relative_to(folder).as_posix(), _hash_of(path)] for path in files])


def _hash_of(path: Path) -> str:
    status = path.stat()
    return _hash(path.resolve(), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _hash(path: Path, _size: int, _modified: int) -> str:
    return sha256_file(path)


Tensors = TypeVar("Tensors")


def read_safetensors(path: Path, load: Callable[[Path], Tensors]) -> Tensors:
    """Read a file of safetensors.

    Args:
        path: the file.
        load: the ``load_file`` of safetensors for numpy or torch.

    Raises:
        UserError: the file is damaged, or was not fetched.
    """
    try:
        return load(path)
    except SafetensorError as error:
        refuse_pointer(path)
        raise UserError(
            f"{path} is not a whole safetensors file ({' '.join(str(error).split())[:120]}); copy or download it again."
        ) from error


def refuse_pointer(path: Path) -> None:
    """Refuse a placeholder that git-lfs or git-annex left instead of the weights."""
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(_POINTERS):
        raise UserError(
            f"{path} is a pointer to weights that were not fetched; run git lfs pull (or git annex get) in its "
            "folder, or download the file."
        )


@contextmanager
def loading(folder: Path) -> Iterator[None]:
    """Turn any error while a folder is read and built into one sentence.

    Raises:
        UserError: the folder is damaged or of another kind.
        MachineError: there is not enough memory.
    """
    try:
        yield
    except SerlabError:
        raise
    except Exception as error:
        # A damaged configuration can raise anything in transformers, torch and safetensors.
        short = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        if isinstance(error, MemoryError) or any(words in short for words in _NO_MEMORY):
            raise MachineError(
                f"there is not enough memory to load {folder}; free some, or use another model."
            ) from error
        if isinstance(error, OSError) and error.strerror:
            name = error.filename or folder
            raise UserError(
                f"{name} cannot be read: {error.strerror}; check that it exists, and its permissions."
            ) from error
        raise UserError(f"{folder} cannot be loaded; it is damaged or of another kind: {short}.") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' load reports, bars and warnings; serlab checks the relevant conditions itself."""
    from transformers.utils import logging as untyped

    logging: Any = untyped

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
