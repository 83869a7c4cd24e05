"""The application: its routes, and what they say about themselves in OpenAPI."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from serlab import __version__
from serlab.model.inputs import Code
from serlab.serve import stream
from serlab.serve.body import files_of
from serlab.serve.faults import FAILED, RefusedError
from serlab.serve.guard import Guard
from serlab.serve.limits import LEAST_HOP
from serlab.serve.service import Service
from serlab.serve.turns import Turns

STATIC = Path(__file__).parent / "static"
"""The page's files."""

_CODES = {
    400: "The request or the recording cannot be read.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another site, or asks for a host name that is not this machine's.",
    408: "The body did not arrive in time.",
    413: "The body is too large, or the recording too long.",
    422: "The recording has no usable sound: it is silent or too short.",
    429: "Too many requests at the same time; see Retry-After.",
    503: "The server's queue or memory is full; see Retry-After.",
    504: "The answer took too long.",
}
_ROUTES = ("/", "/v1/predict", "/v1/predict:batch", "/v1/models", "/v1/stream", "/healthz", "/readyz", "/metrics",
           "/docs", "/openapi.json")  # fmt: skip


class Error(BaseModel):
    """Why a request was not answered, in one sentence."""

    error: str


class SegmentAnswer(BaseModel):
    """A section of a recording; times in seconds."""

    start: float
    end: float
    label: str | None
    probabilities: dict[str, float]
    speech: bool


class Warned(BaseModel):
    """A way in which a recording is unlike the speech of the training."""

    code: Code
    message: str = Field(description="For people: the end of a sentence, e.g. it lasts 0.2 s.")


class Answer(BaseModel):
    """The prediction for a recording."""

    label: str | None = Field(description="The most probable label; null for no speech, or if the model abstains.")
    probabilities: dict[str, float] = Field(description="Of each label; empty without speech.")
    model: str
    seconds: float = Field(description="Length of the recording.")
    warnings: list[Warned] = Field(description="What makes the recording unlike the speech of the training.")
    temperature: float = Field(default=1.0, description="What the scores were divided by, with ?calibrated=true.")
    segments: list[SegmentAnswer] = Field(default=[], description="With ?segments=true.")


class Refused(BaseModel):
    """A recording of a batch that was not answered."""

    error: str
    status: int


class Batch(BaseModel):
    """Answers in the order of the files."""

    results: list[Answer | Refused]


class Quoted(BaseModel):
    """Unweighted average recall on clips that the tested model was not trained on.

    ``own`` is false if it was measured on other models with the same recipe, each trained on a part of the corpus.
    """

    value: float
    low: float | None
    high: float | None
    clips: int
    speakers: int | None
    protocol: str
    speaker_disjoint: bool | None
    own: bool


class About(BaseModel):
    """A model."""

    name: str
    labels: list[str]
    recipe: str | None
    corpus: str | None
    protocol: str | None
    precision: str
    uar: Quoted | None
    licence: str | None
    citation: str | None
    limits: str
    abstains: list[float] = Field(description="Values of abstain that were tried on this model's dev subset.")
    temperature: float | None = Field(description="For calibrated; null if the model has none.")


class Models(BaseModel):
    """The models; the first one answers if a request names none."""

    models: list[About]
    max_mb: float
    max_seconds: float
    batch_files: int


class Ready(BaseModel):
    """The server's state."""

    status: str


def _body(many: bool) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    schema = {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "array", "items": file, "minItems": 1} if many else file},
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _codes(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: {"model": Error, "description": _CODES[code]} for code in codes}


_REFUSALS = _codes(400, 401, 403, 408, 413, 422, 429, 503, 504)


_OPTIONS = ("model", "segments", "abstain", "calibrated", "window", "hop", "vad", "smoothing", "stay")
_MOST_SHOWN = 40


@dataclass(frozen=True)
class _Asked:
    """What a request asks for: a model's name, and options of prediction."""

    model: str | None
    options: dict[str, Any]


def _asked(
    request: Request,
    model: Annotated[str | None, Query(description="One of /v1/models; the first one if omitted.")] = None,
    segments: Annotated[bool, Query(description="Divide the recording, and tell its segments.")] = False,
    abstain: Annotated[
        float | None,
        Query(ge=0.01, le=0.5, description="No label if the model would be wrong more often, by its dev subset."),
    ] = None,
    calibrated: Annotated[
        bool, Query(description="Divide scores by the temperature that was fitted on the model's dev subset.")
    ] = False,
    window: Annotated[float | None, Query(ge=0.1, le=60, description="Length of a segment in seconds.")] = None,
    hop: Annotated[float | None, Query(ge=LEAST_HOP, le=60, description="From segment to segment in seconds.")] = None,
    vad: Annotated[str | None, Query(description="How to find speech: auto, silero, energy or none.")] = None,
    smoothing: Annotated[str | None, Query(description="Median over so many segments, odd; or hmm.")] = None,
    stay: Annotated[
        float | None, Query(gt=0, lt=1, description="For hmm: probability that the next segment has the same emotion.")
    ] = None,
) -> _Asked:
    for name in request.query_params:
        if name not in _OPTIONS:
            raise RefusedError(400, f"unknown parameter {name[:_MOST_SHOWN]!r}. Known: {', '.join(_OPTIONS)}.")
    size = int(smoothing) if smoothing and smoothing.isdecimal() and len(smoothing) < 5 else smoothing
    given = {"window": window, "hop": hop, "vad": vad, "smoothing": size, "stay": stay}
    for value in (abstain, *given.values()):
        if isinstance(value, float) and not math.isfinite(value):
            raise RefusedError(400, f"{value} is not a number.")
    how = {name: value for name, value in given.items() if value is not None}
    return _Asked(model, {"segments": segments, "abstain": abstain, "calibrated": calibrated, "how": how})


Asked = Annotated[_Asked, Depends(_asked)]


def create(service: Service) -> ASGIApp:
    """The application of a service, which it starts and stops."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="serlab", version=__version__, lifespan=life, docs_url=None, redoc_url=None,
        description="Emotion in acted speech. A label says how a voice resembles actors, not what a person feels.",
    )  # fmt: skip
    _add_predictions(app, service)
    _add_state(app, service)
    _add_page(app)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)
    guard = Guard(app, settings=service.settings, metrics=service.metrics, route_of=_route_of)
    service.metrics.watch(lambda: (guard.in_flight, *service.now()))
    return guard


def _add_predictions(app: FastAPI, service: Service) -> None:
    limits = service.limits

    async def answers(request: Request, asked: _Asked, most: int, *, many: bool) -> list[dict[str, Any]]:
        served = service.pick(asked.model)
        served.check(asked.options["abstain"], asked.options["how"], calibrated=asked.options["calibrated"])

        async def one(content: bytes) -> dict[str, Any]:
            try:
                return await service.answer(content, turns, served, **asked.options)
            except RefusedError as refused:
                if not many or refused.retry_after:
                    raise
                return {"error": refused.sentence, "status": refused.code}

        with service.memory.share() as share:
            files, turns = await files_of(request, limits, share, most=most), Turns(limits, share)
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(one(file.content)) for file in files]
            except ExceptionGroup as errors:
                refusals = [error for error in errors.exceptions if isinstance(error, RefusedError)]
                raise (refusals or errors.exceptions)[0] from None
        return [task.result() for task in tasks]

    @app.post("/v1/predict", response_model=Answer, responses=_REFUSALS, openapi_extra=_body(False))
    async def predict(request: Request, asked: Asked) -> Response:
        """Predict the emotion in one recording, the multipart field file."""
        (answer,) = await answers(request, asked, 1, many=False)
        return await _as_json(answer, asked)

    @app.post("/v1/predict:batch", response_model=Batch, responses=_REFUSALS, openapi_extra=_body(True))
    async def predict_batch(request: Request, asked: Asked) -> Response:
        """Predict several recordings, each a field file; one that cannot be answered has an error in its place."""
        results = await answers(request, asked, limits.batch_files, many=True)
        return await _as_json({"results": results}, asked)

    @app.websocket("/v1/stream")
    async def live(socket: WebSocket) -> None:
        await stream.answer(socket, service)


async def _as_json(answer: dict[str, Any], asked: _Asked) -> Response:
    """The answer as it is sent; segments may be many, so they are written in a thread."""

    def plain(one: object) -> dict[str, Any]:
        # Called for each segment; between the lines of a Python function, unlike within dumps, other threads may run.
        return vars(one)

    def written() -> str:
        return json.dumps(answer, default=plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    text = await asyncio.to_thread(written) if asked.options["segments"] else written()
    return Response(text, media_type="application/json")


def _add_state(app: FastAPI, service: Service) -> None:
    limits = service.limits

    @app.get("/v1/models", response_model=Models, responses=_codes(401, 403))
    async def models() -> Models:
        """List the models, with what they were trained on, their tested recall, and their limits."""
        found = [About(**served.about) for served in service.models.values()]
        return Models(
            models=found, max_mb=limits.max_mb, max_seconds=limits.max_seconds, batch_files=limits.batch_files
        )

    @app.get("/healthz", response_model=Ready, responses=_codes(403))
    async def alive() -> Ready:
        """Whether the process answers."""
        return Ready(status="ok")

    @app.get("/readyz", response_model=Ready, responses=_codes(403, 503))
    async def ready() -> Ready:
        """Whether the server takes requests now."""
        if not service.decoders.pids:
            raise RefusedError(503, "no decoder is running.", 1)
        return Ready(status="ready")

    @app.get("/metrics", response_class=Response, responses=_codes(401, 403))
    async def metrics() -> Response:
        """Numbers for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(STATIC / "docs.html")

    app.mount("/static", StaticFiles(directory=STATIC))


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RefusedError)
    headers = {"retry-after": str(error.retry_after)} if error.retry_after else None
    return JSONResponse({"error": error.sentence}, error.code, headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return JSONResponse({"error": f"{name} cannot be used: {str(first['msg']).lower()}."}, 400)


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    sentences = {404: "there is no such address.", 405: "the address does not take this method."}
    sentence = sentences.get(error.status_code, "the request cannot be answered.")
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


async def _failed(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"error": FAILED}, 500)


def _route_of(path: str) -> str:
    return path if path in _ROUTES else "/static" if path.startswith("/static/") else "other"
