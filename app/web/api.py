"""The addresses of the page and of the JSON API."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.staticfiles import StaticFiles

from conflict_framing import __version__
from conflict_framing.data import MissingExtraError, UserError
from conflict_framing.model import CheckpointClassifier
from conflict_framing.web import schemas
from conflict_framing.web.annotations import Annotations
from conflict_framing.web.charts import draw_shares
from conflict_framing.web.failures import Refused, in_words_of_the_page
from conflict_framing.web.guard import UPLOAD_PATH, Guard
from conflict_framing.web.intake import Order, check_name
from conflict_framing.web.jobs import Job, Jobs
from conflict_framing.web.limits import Limits
from conflict_framing.web.model import SharedModel, why_not_explained
from conflict_framing.web.results import Filter
from conflict_framing.web.shares import Period, grouping_columns, shares_of
from conflict_framing.web.speakers import names_sources

_DESCRIPTION = """\
Everything that the page does. Jobs belong to a session, which is a cookie: with curl, keep it with
-c jar -b jar. Requests that change something are refused when a page of another site sends them."""
_T = TypeVar("_T")
_CODES = {404: "not_found", 405: "wrong_method", 413: "too_large"}
_ERRORS: dict[int | str, dict[str, Any]] = {"4XX": {"model": schemas.ErrorAnswer, "description": "refused, and why"}}


def create_app(
    classifier: CheckpointClassifier,
    *,
    annotations: Path,
    limits: Limits | None = None,
    names: tuple[str, ...] = (),
) -> FastAPI:
    """The application, for any ASGI server.

    Args:
        classifier: what labels.
        annotations: the file that corrected labels are appended to.
        limits: on what is sent and kept.
        names: under which it may be asked besides localhost and addresses.
    """
    limits = limits or Limits()
    model = SharedModel(classifier)
    jobs = Jobs(model, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(jobs.close)

    app = FastAPI(
        title="conflict-framing",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,  # they fetch their scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        lifespan=lifespan,
        responses=_ERRORS,
    )
    app.add_middleware(Guard, limits=limits, names=names)
    _tell_errors(app)
    _add_pages(app)
    _add_model(app, model, limits, annotations)
    _add_jobs(app, jobs, limits)
    _add_results(app, jobs, model, limits)
    _add_annotations(app, jobs, model, Annotations(annotations))
    return app


def _session(request: Request) -> str:
    return str(request.state.session)


# --- errors --------------------------------------------------------------------------------------


def _tell_errors(app: FastAPI) -> None:
    def answer(status: int, code: str, message: str, **details: Any) -> JSONResponse:
        return JSONResponse({"error": {"code": code, "message": message, **details}}, status)

    @app.exception_handler(UserError)
    async def told(request: Request, error: UserError) -> JSONResponse:
        if isinstance(error, Refused):
            return JSONResponse({"error": error.to_json()}, error.status)
        if isinstance(error, MissingExtraError):
            return answer(501, "missing_extra", str(error))
        return answer(422, "refused", in_words_of_the_page(str(error)))

    @app.exception_handler(StarletteHTTPException)
    async def http(request: Request, error: StarletteHTTPException) -> JSONResponse:
        return answer(error.status_code, _CODES.get(error.status_code, "refused"), str(error.detail))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # Without what came: it may be long, and is nobody's business in a log.
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        return answer(422, "invalid", "; ".join(lines))

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> JSONResponse:
        return answer(500, "bug", "An error of the program; the server's log tells more.")


# --- pages ---------------------------------------------------------------------------------------


def _add_pages(app: FastAPI) -> None:
    static = Path(str(files("conflict_framing.web").joinpath("static")))
    page = (static / "index.html").read_text("utf-8")
    app.mount("/static", StaticFiles(directory=static))

    @app.get("/", include_in_schema=False, response_class=HTMLResponse)
    def index() -> str:
        return page

    @app.get("/api", include_in_schema=False, response_class=HTMLResponse)
    def documentation() -> str:
        """The OpenAPI document as a page; those that FastAPI offers need scripts from elsewhere."""
        environment = Environment(
            loader=PackageLoader("conflict_framing.web"), autoescape=True, undefined=StrictUndefined
        )
        return environment.get_template("api.html.j2").render(api=app.openapi(), operations=_operations(app.openapi()))


def _operations(api: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page lists: each operation with the fields of what it takes and gives."""
    found = []
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {})
            answer = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
            given = next(iter(answer.get("content", {"": {}}).items()))
            found.append(
                {
                    "method": method.upper(),
                    "path": path,
                    "id": operation["operationId"],
                    "summary": operation["summary"],
                    "description": operation.get("description", ""),
                    "parameters": [
                        {
                            "name": item["name"],
                            "type": f"{item['in']}, {_type(item['schema'])}",
                            "description": item.get("description", ""),
                        }
                        for item in operation.get("parameters", [])
                    ],
                    "takes": [(kind, _fields(api, taken["schema"])) for kind, taken in body.items()],
                    "gives": (given[0], _fields(api, given[1].get("schema", {}))),
                }
            )
    return found


def _fields(api: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, str]]:
    if "$ref" not in schema:
        return []
    fields = api["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]].get("properties", {})
    return [
        {"name": name, "type": _type(field), "description": field.get("description", "")}
        for name, field in fields.items()
    ]


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    if "anyOf" in schema:
        return " or ".join(_type(kind) for kind in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


# --- the model -----------------------------------------------------------------------------------


def _add_model(app: FastAPI, model: SharedModel, limits: Limits, annotations: Path) -> None:
    classifier = model.classifier

    @app.get("/api/v1/model", tags=["model"], summary="The model and its labels")
    def tell_model() -> schemas.ModelInfo:
        codebook, facts = classifier.codebook, classifier.facts
        source = classifier.source
        return schemas.ModelInfo(
            name=_name_of(source) if source else "model",
            backbone=facts.backbone,
            max_length=facts.max_length,
            labels=[
                schemas.LabelInfo(
                    name=label.name,
                    title=codebook.title(label.name),
                    definition=label.definition,
                    colour=codebook.colour(label.name),
                )
                for label in codebook.labels
            ],
            metrics=facts.metrics,
            corpus_sentences=sum(facts.corpus_counts.values()),
            explains=not why_not_explained(),
            why_not_explained=why_not_explained(),
            names_sources=names_sources(),
            annotations=str(annotations),
            limits={
                name: float(getattr(limits, name))
                for name in ("upload_bytes", "rows", "columns", "sentence_characters", "article_characters", "texts")
            },
            version=__version__,
        )

    @app.post("/api/v1/predict", tags=["model"], summary="Label a few sentences at once")
    def predict(asked: schemas.PredictRequest) -> schemas.PredictAnswer:
        if len(asked.texts) > limits.texts:
            raise Refused(413, "too_many_texts", f"At most {limits.texts} texts at once; send more as a job.")
        for text in asked.texts:
            _check_sentence(text, limits)
        return schemas.PredictAnswer(
            predictions=[
                schemas.PredictionInfo(
                    label=found.label,
                    score=found.score,
                    probabilities=found.probabilities,
                    truncated=found.truncated,
                )
                for found in model.predict(asked.texts, asked.among)
            ]
        )

    @app.post("/api/v1/explain", tags=["model"], summary="Show which words of a sentence moved the model")
    def explain(asked: schemas.ExplainRequest) -> schemas.ExplainAnswer:
        _check_sentence(asked.text, limits)
        return schemas.ExplainAnswer(**model.explain(asked.text, asked.label))

    @app.get("/api/v1/sample", tags=["model"], summary="An article to try the page with")
    def sample() -> schemas.SampleAnswer:
        text = files("conflict_framing.data").joinpath("samples", "article.txt").read_text("utf-8")
        return schemas.SampleAnswer(title="A sample article, written for this project", text=text)


def _name_of(source: Path) -> str:
    return source.parent.name if source.name == "model" and source.parent.name else source.name


def _check_sentence(text: str, limits: Limits) -> None:
    if not text.strip():
        raise Refused(422, "no_text", "Expected a sentence, came nothing but blanks.")
    if len(text) > limits.sentence_characters:
        most = f"{limits.sentence_characters:,}"
        raise Refused(413, "too_long", f"A sentence has {len(text):,} characters; it may have {most}.")


# --- jobs ----------------------------------------------------------------------------------------


def _add_jobs(app: FastAPI, jobs: Jobs, limits: Limits) -> None:
    def told(job: Job) -> schemas.JobInfo:
        return schemas.JobInfo(**job.status(), ahead=jobs.ahead_of(job))

    @app.post("/api/v1/jobs/text", status_code=202, tags=["jobs"], summary="Label the sentences of an article")
    def send_text(asked: schemas.TextRequest, request: Request) -> schemas.JobInfo:
        if not asked.text.strip():
            raise Refused(422, "no_text", "There is no text to label. Paste an article, or choose a file.")
        if len(asked.text) > limits.article_characters:
            most = f"{limits.article_characters:,}"
            raise Refused(413, "too_long", f"The article has {len(asked.text):,} characters; it may have {most}.")
        title = " ".join(asked.title.split()) or "Pasted text"
        folder = jobs.receive(_session(request))
        (folder / "sent").write_text(asked.text, "utf-8", errors="replace")
        order = Order(str(folder / "sent"), f"{title}.txt", str(folder / "rows.jsonl"), title=title)
        return told(jobs.add(_session(request), folder, order, title))

    @app.post(
        UPLOAD_PATH,
        status_code=202,
        tags=["jobs"],
        summary="Label a file: an article (.txt, .md) or a table",
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def send_file(
        request: Request,
        name: Annotated[str, Query(description="the file's name; its end says the format, e.g. news.csv.gz")],
        text_column: Annotated[str | None, Query(description="the column that holds the sentences")] = None,
        encoding: Annotated[str, Query(description="of text formats", max_length=40)] = "utf-8",
    ) -> schemas.JobInfo:
        """The body is the file itself (JSONL, CSV, TSV, Parquet or text, also gzipped)."""
        plain, _ = check_name(name)
        folder = jobs.receive(_session(request))
        try:
            with open(folder / "sent", "wb") as stream:
                async for chunk in request.stream():
                    await run_in_threadpool(stream.write, chunk)
            if not (folder / "sent").stat().st_size:
                raise Refused(422, "empty", f"{plain} is empty.")
        except BaseException:  # a broken connection too
            shutil.rmtree(folder, ignore_errors=True)
            raise
        order = Order(str(folder / "sent"), plain, str(folder / "rows.jsonl"), text_column or None, encoding)
        return told(jobs.add(_session(request), folder, order, plain))

    @app.get("/api/v1/jobs", tags=["jobs"], summary="This session's jobs, the newest first")
    def list_jobs(request: Request) -> schemas.JobList:
        return schemas.JobList(jobs=[told(job) for job in jobs.of(_session(request))])

    @app.get("/api/v1/jobs/{id}", tags=["jobs"], summary="How far a job is")
    def tell_job(id: str, request: Request) -> schemas.JobInfo:
        return told(jobs.find(_session(request), id))

    @app.post("/api/v1/jobs/{id}/cancel", tags=["jobs"], summary="Stop a job")
    def cancel_job(id: str, request: Request) -> schemas.JobInfo:
        job = jobs.find(_session(request), id)
        jobs.cancel(job)
        return told(job)

    @app.delete("/api/v1/jobs/{id}", status_code=204, tags=["jobs"], summary="Delete a job and its result")
    def delete_job(id: str, request: Request) -> None:
        jobs.delete(jobs.find(_session(request), id))


# --- results -------------------------------------------------------------------------------------

_Label = Annotated[list[str] | None, Query(description="rows of this label only; can be repeated")]
_Low = Annotated[float, Query(ge=0, le=1, description="least probability")]
_High = Annotated[float, Query(ge=0, le=1, description="greatest probability")]
_Text = Annotated[str, Query(max_length=200, description="rows whose sentence has this in it")]
_Corrected = Annotated[bool, Query(description="only rows whose label somebody gave")]


def _add_results(app: FastAPI, jobs: Jobs, model: SharedModel, limits: Limits) -> None:
    @app.get("/api/v1/jobs/{id}/result", tags=["results"], summary="Rows with their labels, filtered, page by page")
    def tell_result(
        id: str,
        request: Request,
        label: _Label = None,
        low: _Low = 0.0,
        high: _High = 1.0,
        text: _Text = "",
        corrected: _Corrected = False,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=limits.page_rows)] = 100,
    ) -> schemas.ResultPage:
        job, result = jobs.result(_session(request), id)
        wanted = Filter(tuple(label) if label is not None else None, low, high, text, corrected)
        places = result.select(wanted, job.taken.text_column)
        rows = result.page(places[offset : offset + limit], job.taken.text_column)
        return schemas.ResultPage(
            counts=result.counts(),
            total=result.table.num_rows,
            matching=len(places),
            offset=offset,
            rows=[schemas.RowInfo(**row) for row in rows],
        )

    @app.get(
        "/api/v1/jobs/{id}/download",
        tags=["results"],
        summary="The rows as a file",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/csv": {}, "application/x-ndjson": {}}}},
    )
    def download(
        id: str,
        request: Request,
        format: Literal["csv", "jsonl"] = "csv",
        label: _Label = None,
        low: _Low = 0.0,
        high: _High = 1.0,
        text: _Text = "",
        corrected: _Corrected = False,
    ) -> StreamingResponse:
        """In CSV, a cell that a spreadsheet would run as a formula gets an apostrophe in front."""
        job, result = jobs.result(_session(request), id)
        wanted = Filter(tuple(label) if label is not None else None, low, high, text, corrected)
        places = result.select(wanted, job.taken.text_column)
        chunks: Iterator[bytes] = result.csv(places) if format == "csv" else result.jsonl(places)
        kind = "text/csv; charset=utf-8" if format == "csv" else "application/x-ndjson"
        return StreamingResponse(chunks, media_type=kind, headers=_as_file(f"{_stem(job.title)}-labelled.{format}"))

    @app.get("/api/v1/jobs/{id}/columns", tags=["results"], summary="What rows can be grouped by")
    def tell_columns(id: str, request: Request) -> schemas.ColumnsInfo:
        job, result = jobs.result(_session(request), id)
        return schemas.ColumnsInfo(**grouping_columns(result, job.taken.text_column))

    by = Annotated[str, Query(description="group by this column; with a period, by its dates")]

    @app.get("/api/v1/jobs/{id}/shares", tags=["results"], summary="The share of each label per group")
    def tell_shares(id: str, request: Request, by: by = "", period: Period | None = None) -> schemas.SharesInfo:
        _, result = jobs.result(_session(request), id)
        return schemas.SharesInfo(**shares_of(result, limits, by, period).to_json())

    @app.get(
        "/api/v1/jobs/{id}/chart.svg",
        tags=["results"],
        summary="The shares as a picture",
        response_class=Response,
        responses={200: {"content": {"image/svg+xml": {}}}},
    )
    def draw(
        id: str,
        request: Request,
        by: by = "",
        period: Period | None = None,
        theme: Literal["light", "dark"] = "light",
        narrow: Annotated[bool, Query(description="for a phone")] = False,
        download: bool = False,
    ) -> Response:
        job, result = jobs.result(_session(request), id)
        picture = draw_shares(shares_of(result, limits, by, period), model.classifier.codebook, theme, narrow=narrow)
        headers = _as_file(f"{_stem(job.title)}-shares.svg") if download else {}
        return Response(picture, media_type="image/svg+xml", headers=headers)


def _stem(title: str) -> str:
    stem = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in title.partition(".")[0])
    return "-".join(part for part in stem.split("-") if part)[:60] or "result"


def _as_file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


# --- annotations ---------------------------------------------------------------------------------


def _add_annotations(app: FastAPI, jobs: Jobs, model: SharedModel, annotations: Annotations) -> None:
    @app.post("/api/v1/annotations", tags=["annotations"], summary="Save the right label of a row")
    def annotate(asked: schemas.AnnotateRequest, request: Request) -> schemas.AnnotateAnswer:
        """It goes to the annotations file, which conflict-framing train --corpus reads."""
        job, result = jobs.result(_session(request), asked.job)
        names = model.classifier.classes_
        if asked.label is not None and asked.label not in names:
            raise Refused(422, "unknown_label", f"No label '{asked.label}'. The labels are: {', '.join(names)}.")
        if asked.row >= result.table.num_rows:
            raise Refused(404, "no_such_row", f"No row {asked.row}; there are {result.table.num_rows:,}.")
        before = job.annotation_ids.get(asked.row)
        if asked.label is None:
            if before:
                _saved(annotations, lambda: annotations.withdraw(before))
            job.corrections.pop(asked.row, None)
            job.annotation_ids.pop(asked.row, None)
        else:
            row, label = result.table.slice(asked.row, 1).to_pylist()[0], asked.label
            document = row.get("document")
            job.annotation_ids[asked.row] = _saved(
                annotations,
                lambda: annotations.save(
                    row[job.taken.text_column],
                    label,
                    document=None if document is None else str(document),
                    predicted=row["label"],
                    score=row["score"],
                    replaces=before,
                ),
            )
            job.corrections[asked.row] = label
        return schemas.AnnotateAnswer(
            row=asked.row, corrected=job.corrections.get(asked.row), file=str(annotations.path)
        )


def _saved(annotations: Annotations, write: Callable[[], _T]) -> _T:
    try:
        return write()
    except OSError as error:
        raise HTTPException(507, f"{annotations.path} cannot be written: {error.strerror}.") from None
