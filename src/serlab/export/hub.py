"""Publication of a model on the Hugging Face hub: its files, and a card with its metrics, licence and limits."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from serlab.checkpoints.hub import LOGIN, REFUSED, of_the_hub, parsed, quietly, status_of
from serlab.checkpoints.weights import shards_of
from serlab.core import MachineError, SerlabError, UserError, argument
from serlab.core.files import read_json
from serlab.core.progress import say
from serlab.model.card import PLAIN
from serlab.model.model import Model
from serlab.model.schema import FILE

_PUBLISHED = re.compile(
    r"(encoder/)?(config|preprocessor_config|processor_config|heard|model\.safetensors\.index)\.json"
    r"|(encoder/)?model(-\d+-of-\d+)?\.safetensors|inputs\.safetensors|serlab\.json|NOTICE|LICENSE"
)
_LOCAL = re.compile(r"^(?:/|~|[A-Za-z]:[\\/])")
_CARD = "README.md"


@dataclass(frozen=True)
class Publication:
    """What is published.

    Attributes:
        repository: ``owner/name``.
        files: content of each file; the path of the file if it is unchanged.
        card: the model card.
        left_out: files of the folder that are not published.
    """

    repository: str
    files: dict[str, Path | bytes]
    card: str
    left_out: tuple[str, ...]


def publication(model: Model, repository: str, *, licence: str | None = None) -> Publication:
    """Gather what :func:`push` publishes, without the network.

    Args:
        model: the model; the files are those of its folder.
        repository: ``owner/name`` on the hub.
        licence: the model's licence, an identifier of the hub such as ``cc-by-4.0``; if None, the card says ``other``
            and gives the corpus's licence.

    Raises:
        UserError: the name is not possible, or the folder is damaged.
    """
    found = parsed(repository)
    if found is None or found[1] is not None:
        raise UserError(f"{repository} is not a name on the hub; expected owner/name.")
    if licence is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
        raise UserError(f"{argument('licence', licence)} is not an identifier of the hub, such as mit or cc-by-4.0.")
    folder = model.folder
    there = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files: dict[str, Path | bytes] = {name: folder / name for name in there if _PUBLISHED.fullmatch(name)}
    if "pytorch_model.bin" in there and not any(name.endswith(".safetensors") for name in files):
        raise UserError(f"{folder} has its weights in pytorch_model.bin; save them as safetensors before publishing.")
    for index in [name for name in files if name.endswith(".index.json")]:
        beside = PurePosixPath(index).parent
        if lost := [name for name in shards_of(folder / index) if str(beside / name) not in files]:
            raise UserError(
                f"{folder / index} names the weights {lost[0]}, which are not there or not named as transformers does; "
                "save the model again."
            )
    if FILE in files:
        content = _without_paths(read_json(folder / FILE))
        files[FILE] = (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()
    card = _card(model, repository, licence)
    left_out = tuple(name for name in there if name not in files and name != _CARD)
    return Publication(repository, {**files, _CARD: card.encode()}, card, left_out)


def push(chosen: Publication, *, private: bool = False) -> str:
    """Publish on the hub, in one commit; the repository is made if it does not exist.

    Args:
        chosen: from :func:`publication`.
        private: make a new repository private.

    Returns:
        The address of the model's page.

    Raises:
        UserError: there is no token, or it may not write to the repository.
        MachineError: the hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    operations = [CommitOperationAdd(name, content) for name, content in sorted(chosen.files.items())]
    try:
        with quietly():
            # The hub would answer a missing token like a missing repository.
            api.whoami()
            page = api.create_repo(chosen.repository, private=private, exist_ok=True)
            say(f"uploading {len(operations)} files to {chosen.repository}")
            api.create_commit(chosen.repository, operations, commit_message="Model published by serlab")
    except Exception as error:
        if not of_the_hub(error):
            raise
        raise _refused(error, chosen.repository) from error
    return str(page)


def _refused(error: Exception, repository: str) -> SerlabError:
    from huggingface_hub.errors import LocalTokenNotFoundError

    status = status_of(error)
    if isinstance(error, LocalTokenNotFoundError):
        return UserError(f"publishing needs a token of the hub with write access; {LOGIN}.")
    if status == 401:
        return UserError(REFUSED)
    if status in (403, 404):
        return UserError(f"your token may not write to {repository}; check the owner, and the token's permissions.")
    if status is not None and 400 <= status < 500:
        why = " ".join(str(error).split())[:160].rstrip(".")
        return UserError(f"the hub does not accept {repository}: {why}.")
    return MachineError(f"{repository} was not published, because the hub cannot be reached: go online and try again.")


def _without_paths(value: Any) -> Any:
    """Replace absolute paths by the last part of their names."""
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    if isinstance(value, str) and _LOCAL.match(value) and len(value) > 1:
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return value


def _card(model: Model, repository: str, licence: str | None) -> str:
    """The folder's card with the hub's metadata, which list the tested UAR."""
    from huggingface_hub import EvalResult, ModelCardData

    name, folder, info = repository.partition("/")[2], model.folder, model.info
    own = read_json(folder / FILE) if (folder / FILE).is_file() else {}
    results = []
    if info.uar is not None and info.corpus is not None:
        seen = "unseen speakers" if info.uar.speaker_disjoint else "other clips"
        whose = "" if info.uar.own else " of models with this recipe,"
        results.append(
            EvalResult(
                task_type="audio-classification",
                task_name="Speech emotion recognition",
                dataset_type=info.corpus,
                dataset_name=f"{info.corpus}, protocol {info.uar.protocol}",
                metric_type="recall",
                metric_name=f"UAR{whose} on {seen}",
                metric_value=round(info.uar.value, 4),
            )
        )
    data = ModelCardData(
        library_name="serlab" if own.get("needs_serlab") else "transformers",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "serlab"],
        model_name=name if results else None,
        eval_results=results or None,
        license=licence or "other",
        license_name=None if licence else "see-model-card",
    )
    text = (folder / _CARD).read_text("utf-8") if (folder / _CARD).is_file() else ""
    body = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
    if not own and not body.strip():
        body = PLAIN.format(name=name, labels=", ".join(model.labels), repository=repository, limits=info.limits)
    body = body.replace("THIS_FOLDER", repository)
    return f"---\n{data.to_yaml()}\n---\n{body}"
