"""CREMA-D: 7,442 clips of 91 actors saying 12 sentences in six emotions (Cao et al. 2014).

A clip's id is its file's stem in the official spelling, ``1001_DFA_ANG_XX``: actor, sentence, intended emotion, level.
The table always holds the full official list, which ships with serlab (``crema_d_manifest.txt`` tells its source and
licence); a clip that the copy at hand lacks has an empty path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import pandas as pd

from serlab.audio import AUDIO_SUFFIXES, MEDIA_SUFFIXES, looks_like_audio
from serlab.core import EMOTIONS, UserError
from serlab.corpora.base import Corpus, fingerprint
from serlab.corpora.locate import locate
from serlab.corpora.scan import describe_files, scan

NAME = "crema-d"
LICENCE = (
    "Open Database License 1.0, contents under the Database Contents License 1.0: name the source, share adaptations "
    "of the database alike"
)
CITATION = (
    "Cao, H., Cooper, D. G., Keutmann, M. K., Gur, R. C., Nenkova, A., Verma, R.: CREMA-D: Crowd-Sourced Emotional "
    "Multimodal Actors Dataset. IEEE Transactions on Affective Computing 5(4), 377-390, 2014. "
    "doi:10.1109/TAFFC.2014.2336244"
)
HOW_TO_GET = (
    "the public Git LFS repository CheyneyComputerScience/CREMA-D (git clone, then git lfs pull; licence: Open "
    "Database License 1.0)"
)

_LABELS = {emotion[:3].upper(): emotion for emotion in EMOTIONS}
_MODALITIES = {"1": "voice", "2": "face", "3": "both"}
_MISNAMED = {"1040_ITH_SAD_X": "1040_ITH_SAD_XX"}
_AUDIO_FOLDERS = ("AudioWAV", ".", "AudioMP3")
_PREFERRED = {suffix: place for place, suffix in enumerate((*AUDIO_SUFFIXES, *MEDIA_SUFFIXES))}
_SAME_RECORDING = (
    ("1006_TIE_HAP_XX", "1006_TIE_NEU_XX"),
    ("1013_WSI_DIS_XX", "1013_WSI_SAD_XX"),
    ("1017_IWW_ANG_XX", "1017_IWW_FEA_XX"),
)
_SILENT = "1076_MTI_SAD_XX"
_BROKEN_MP3 = ("1064_IEO_DIS_MD", "1064_TIE_SAD_XX", "1076_MTI_NEU_XX")


@dataclass(frozen=True)
class Files:
    """The audio files of one copy.

    Attributes:
        folder: where they lie.
        clips: official clip id -> name of its file.
        extra: names of audio files in that folder which are no official clip.
    """

    folder: Path
    clips: dict[str, str]
    extra: list[str]


def load(data: Path | None = None) -> Corpus:
    """Load CREMA-D.

    Args:
        data: its folder, in any of the layouts found in the wild: ``AudioWAV/``, ``AudioMP3/`` or all files in the
            folder itself; WAV, FLAC, MP3 or OGG at any sample rate. If not given, see :mod:`serlab.corpora.locate`.

    Returns:
        The corpus. Beyond the usual columns: ``sentence`` and ``level`` (codes of the file name); ``age``, ``sex``,
        ``race``, ``ethnicity`` where ``VideoDemographics.csv`` is there; ``votes_voice_<label>``,
        ``votes_face_<label>`` and ``votes_both_<label>``, counts of raters who heard, saw, or heard and saw the clip,
        where ``processedResults/tabulatedVotes.csv`` is there.

    Raises:
        UserError: the corpus is not found, its folder holds no clip of it, or a table of it is damaged.
    """
    root = find_folder(data)
    files = find_files(root)
    official = manifest()
    clips = official[["clip"]].copy()
    home = str(files.folder.absolute())
    clips["path"] = [home + os.sep + files.clips[clip] if clip in files.clips else "" for clip in clips["clip"]]
    clips[["speaker", "sentence", "code", "level"]] = clips["clip"].str.split("_", expand=True)
    clips["label"] = clips.pop("code").map(_LABELS)
    clips = pd.concat([clips, scan(clips["path"].tolist(), f"looking at {NAME}")], axis=1)
    clips = _with_demographics(clips, _table(root, "VideoDemographics.csv"))
    clips = _with_votes(clips, _table(root, "processedResults/tabulatedVotes.csv"))
    return Corpus(
        name=NAME,
        clips=clips,
        labels=EMOTIONS,
        licence=LICENCE,
        citation=CITATION,
        fingerprint=fingerprint(clips),
        copy=_describe_copy(clips, official),
        faults=_faults(clips),
    )


def find_folder(data: Path | None = None) -> Path:
    """Find the folder of the corpus, as :func:`serlab.corpora.locate.locate` does."""
    return locate(NAME, data, HOW_TO_GET)


@cache
def _manifest() -> pd.DataFrame:
    with resources.as_file(resources.files("serlab.corpora") / "crema_d_manifest.csv.xz") as path:
        table = pd.read_csv(path)
    table.insert(0, "clip", table["file"].str.removesuffix(".wav"))
    return table.sort_values("clip", ignore_index=True)


def manifest() -> pd.DataFrame:
    """List the official clips: columns ``clip``, ``file``, ``sha256``, ``bytes``, sorted by ``clip``."""
    return _manifest().copy()


def find_files(root: Path) -> Files:
    """Find the audio files of a copy of CREMA-D.

    Args:
        root: the copy's folder; the first of ``AudioWAV/``, the folder itself and ``AudioMP3/`` that holds an official
            clip counts, whatever the others hold.

    Raises:
        UserError: none of them holds an official clip.
    """
    official = set(manifest()["clip"])
    for name in _AUDIO_FOLDERS:
        files = _files_in(root / name, official)
        if files.clips:
            return files
    raise UserError(
        f"the folder {root} holds no CREMA-D clip (such as 1001_DFA_ANG_XX.wav, in AudioWAV/, in AudioMP3/ or in the "
        f"folder itself); get the corpus from {HOW_TO_GET}."
    )


def _files_in(folder: Path, official: set[str]) -> Files:
    files = Files(folder, {}, [])
    if not folder.is_dir():
        return files
    found = []
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be opened ({error.strerror}); see to its permissions.") from error
    for name in names:
        if looks_like_audio(name) and not name.startswith("."):
            stem, _, suffix = name.rpartition(".")
            # The official spelling and the better format win where a clip is there twice.
            found.append((stem in _MISNAMED, _PREFERRED.get(f".{suffix.lower()}", len(_PREFERRED)), name, stem))
    for _, _, name, stem in sorted(found):
        clip = _MISNAMED.get(stem, stem)
        if clip in official and clip not in files.clips:
            files.clips[clip] = name
        else:
            files.extra.append(name)
    return files


def _table(root: Path, name: str) -> Path | None:
    # The folder given may be AudioWAV/ itself; then the tables lie beside it.
    places = [root, root.absolute().parent] if root.absolute().name.startswith("Audio") else [root]
    return next((place / name for place in places if (place / name).is_file()), None)


def _with_demographics(clips: pd.DataFrame, path: Path | None) -> pd.DataFrame:
    if path is None:
        return clips
    names = {"Age": "age", "Sex": "sex", "Race": "race", "Ethnicity": "ethnicity"}
    try:
        table = pd.read_csv(path, dtype={"ActorID": str}, usecols=["ActorID", *names])
        actors = table.rename(columns={"ActorID": "speaker", **names})
        joined = clips.merge(actors, how="left", on="speaker", validate="m:1")
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    _check_complete(path, joined, list(names.values()))
    return joined


def _with_votes(clips: pd.DataFrame, path: Path | None) -> pd.DataFrame:
    if path is None:
        return clips
    codes = {emotion[0].upper(): emotion for emotion in EMOTIONS}
    try:
        table = pd.read_csv(path, index_col=0)
        votes = table.assign(modality=table.index.astype(str).str[0].map(_MODALITIES)).rename(columns=codes)
        wide = votes.set_index(["fileName", "modality"])[list(EMOTIONS)].unstack()
    except (OSError, KeyError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    wide.columns = [f"votes_{modality}_{label}" for label, modality in wide.columns]
    names = [f"votes_{modality}_{label}" for modality in _MODALITIES.values() for label in EMOTIONS]
    joined = clips.join(wide.reindex(columns=names), on="clip")
    _check_complete(path, joined, names)
    return joined.astype(dict.fromkeys(names, "int64"))


def _check_complete(path: Path, clips: pd.DataFrame, names: list[str]) -> None:
    lacking = clips.loc[clips[names].isna().any(axis=1), "clip"]
    if len(lacking):
        raise _damaged(path, f"it says nothing of {len(lacking):,} clips, first {lacking.iloc[0]}")


def _damaged(path: Path, why: str) -> UserError:
    first_line = why.partition("\n")[0]
    return UserError(f"{path} is not CREMA-D's own table ({first_line}); get it anew from the corpus, or take it away.")


def _describe_copy(clips: pd.DataFrame, official: pd.DataFrame) -> str:
    present = clips["path"] != ""
    same = present & (clips["sha256"] == official["sha256"])
    lacking = f", {(~present).sum():,} of {len(clips):,} missing" if not present.all() else ""
    if same.sum() == present.sum():
        return f"the official 16 kHz files{lacking}"
    if same.any():
        return f"{(present & ~same).sum():,} of {present.sum():,} files differ from the official 16 kHz ones{lacking}"
    return f"a copy in {describe_files(clips[present])}, not the official 16 kHz files{lacking}"


def _faults(clips: pd.DataFrame) -> dict[str, str]:
    faults = {_SILENT: "silent"}
    for first, second in _SAME_RECORDING:
        faults[first] = f"the same recording as {second}"
        faults[second] = f"the same recording as {first}"
    paths = dict(zip(clips["clip"], clips["path"], strict=True))
    for wrong, right in _MISNAMED.items():
        if Path(paths[right]).stem == wrong:
            faults[right] = f"named {wrong} in this copy"
    for clip in _BROKEN_MP3:
        if paths[clip].lower().endswith(".mp3"):
            faults[clip] = "its MP3 is broken upstream"
    return faults
