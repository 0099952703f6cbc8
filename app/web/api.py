"""The addresses of the page and of the JSON API."""

import json
import shutil
import tempfile
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
from conflict_framing.analysis.audit import write_audit
from conflict_framing.analysis.findings import CLAIMS_FILE, REPORT_FILE, SHARES_FILE, claim_rows, share_rows, to_html
from conflict_framing.data import MissingExtraError, UserError
from conflict_framing.data.tables import check_table_name, write_spreadsheet
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.metadata import metadata_file
from conflict_framing.web import schemas
from conflict_framing.web.annotations import Annotations
from conflict_framing.web.failures import Refused, in_words_of_the_page
from conflict_framing.web.findings import JobFindings, Theme, findings_json, grouping_columns, panel_svg
from conflict_framing.web.guard import UPLOAD_PATH, Guard
from conflict_framing.web.intake import Order, check_name
from conflict_framing.web.jobs import Job, Jobs
from conflict_framing.web.limits import Limits
from conflict_framing.web.model import SharedModel, why_not_explained
from conflict_framing.web.results import Filter
from conflict_framing.web.speakers import names_sources

_DESCRIPTION = """\
Everything that the page does. Jobs belong to a session, which is a cookie: with curl, keep it with
-c jar -b jar. Requests that change something are refused when a page of another site sends them."""
_T = TypeVar("_T")
_CODES = {404: "not_found", 405: "wrong_method", 413: "too_large"}
_EXAMPLES = {
    "/api/v1/predict": '{"texts": ["The valley is calm."]}',
    "/api/v1/explain": '{"text": "The valley is calm."}',
    "/api/v1/jobs/text": '{"text": "The valley is calm. Trucks came."}',
}
"""Bodies of what people try first with curl."""
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
    findings = JobFindings(classifier, limits)
    jobs = Jobs(model, limits, on_gone=findings.forget)

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
    _add_results(app, jobs, limits)
    _add_findings(app, jobs, findings)
    _add_audits(app, jobs, findings, limits)
    _add_annotations(app, jobs, model, Annotations(annotations))
    return app


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


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
        kind = request.headers.get("content-type", "")
        if not _is_json(kind) and any(tuple(item["loc"]) == ("body",) for item in error.errors()):
            came = f"Content-Type: {kind[:100]}" if kind else "no Content-Type"
            example = _EXAMPLES.get(request.url.path, "{…}")
            return answer(
                415,
                "not_json",
                f"Expected a JSON body and the header Content-Type: application/json, came {came}. For example: "
                f"curl -H 'Content-Type: application/json' -d '{example}' {request.url}",
            )
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
    def documentation(request: Request) -> str:
        """The OpenAPI document as a page; those that FastAPI offers need scripts from elsewhere."""
        environment = Environment(
            loader=PackageLoader("conflict_framing.web"), autoescape=True, undefined=StrictUndefined
        )
        return environment.get_template("api.html.j2").render(
            api=app.openapi(), operations=_operations(app.openapi()), address=str(request.base_url).rstrip("/")
        )


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
        summary="Label a file: an article (.txt, .md, .html) or a table",
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
        rows: Annotated[
            Literal["auto", "sentences"],
            Query(description="what a table's rows are; auto: articles, which are split, where most hold 3 sentences"),
        ] = "auto",
    ) -> schemas.JobInfo:
        """The body is the file itself (JSONL, CSV, TSV, Parquet, text or HTML, also gzipped)."""
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
        order = Order(str(folder / "sent"), plain, str(folder / "rows.jsonl"), text_column or None, encoding, rows=rows)
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


def _add_results(app: FastAPI, jobs: Jobs, limits: Limits) -> None:
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


# --- findings ------------------------------------------------------------------------------------

_By = Annotated[
    list[str], Query(max_length=4, description="a column to group by, or year, quarter, month, week; can be repeated")
]
_Date = Annotated[str, Query(description="the column of dates that periods are derived from")]


def _add_findings(app: FastAPI, jobs: Jobs, findings: JobFindings) -> None:
    @app.get("/api/v1/jobs/{id}/columns", tags=["findings"], summary="What rows can be grouped by")
    def tell_columns(id: str, request: Request) -> schemas.ColumnsInfo:
        job, result = jobs.result(_session(request), id)
        return schemas.ColumnsInfo(**grouping_columns(result, job.taken.text_column))

    @app.get("/api/v1/jobs/{id}/shares", tags=["findings"], summary="Shares with 95 % intervals, claims, pictures")
    def tell_shares(id: str, request: Request, by: _By = [], date: _Date = "date") -> schemas.SharesInfo:  # noqa: B006
        """As 'conflict-framing shares': model-based, or from the job's audit where it has one."""
        job, result = jobs.result(_session(request), id)
        return schemas.SharesInfo(**findings_json(findings.find(job, result, by, date)))

    @app.get(
        "/api/v1/jobs/{id}/pictures/{name}/{panel}.svg",
        tags=["findings"],
        summary="A panel of a picture of the shares",
        response_class=Response,
        responses={200: {"content": {"image/svg+xml": {}}}},
    )
    def draw(
        id: str,
        name: str,
        panel: int,
        request: Request,
        by: _By = [],  # noqa: B006
        date: _Date = "date",
        theme: Theme = "light",
    ) -> Response:
        job, result = jobs.result(_session(request), id)
        drawn = panel_svg(findings.find(job, result, by, date).pictures, name, panel, theme)
        return Response(drawn, media_type="image/svg+xml")

    @app.get(
        "/api/v1/jobs/{id}/findings/{file}",
        tags=["findings"],
        summary="The findings as a report or a table",
        response_class=Response,
        responses={200: {"content": {"text/html": {}, "text/csv": {}}}},
    )
    def download_findings(
        id: str,
        file: Literal["report.html", "shares.csv", "claims.csv"],
        request: Request,
        by: _By = [],  # noqa: B006
        date: _Date = "date",
    ) -> Response:
        job, result = jobs.result(_session(request), id)
        found = findings.find(job, result, by, date)
        rows = {SHARES_FILE: lambda: share_rows(found.shares), CLAIMS_FILE: lambda: claim_rows(found.claims)}
        if file == REPORT_FILE:
            body, kind = to_html(found).encode(), "text/html; charset=utf-8"
        else:
            body, kind = _spreadsheet(rows[file]()), "text/csv; charset=utf-8"
        return Response(body, media_type=kind, headers=_as_file(f"{_stem(job.title)}-{file}"))


def _spreadsheet(rows: list[dict[str, Any]]) -> bytes:
    if not rows:
        raise Refused(404, "nothing_there", "There are no rows for this table.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write_spreadsheet(path, rows)
        return path.read_bytes()


# --- audits --------------------------------------------------------------------------------------


def _add_audits(app: FastAPI, jobs: Jobs, findings: JobFindings, limits: Limits) -> None:
    half_width = Annotated[float, Query(gt=0, lt=0.5, description="wanted of every group's intervals")]
    whole = Annotated[bool, Query(description="draw documents with all their sentences")]

    @app.get("/api/v1/jobs/{id}/audit/plan", tags=["audits"], summary="How many sentences to label for an interval")
    def tell_plan(
        id: str,
        request: Request,
        by: _By = [],  # noqa: B006
        date: _Date = "date",
        half_width: half_width = 0.05,
        by_document: whole = False,
    ) -> schemas.AuditPlanInfo:
        job, result = jobs.result(_session(request), id)
        plan, _ = findings.plan(job, result, by, date, half_width, by_document=by_document)
        groups = [
            schemas.GroupPlanInfo(
                **{name: getattr(group, name) for name in schemas.GroupPlanInfo.model_fields} | {"name": group.name}
            )
            for group in plan.groups
        ]
        return schemas.AuditPlanInfo(sentences=plan.sentences, rules=plan.rules, groups=groups)

    @app.get(
        "/api/v1/jobs/{id}/audit/plan/{file}",
        tags=["audits"],
        summary="The sentences to label, and what must stay beside them",
        response_class=Response,
        responses={200: {"content": {"text/csv": {}, "application/json": {}}}},
    )
    def draw_audit(
        id: str,
        file: Literal["audit.csv", "audit.csv.meta.json"],
        request: Request,
        by: _By = [],  # noqa: B006
        date: _Date = "date",
        half_width: half_width = 0.05,
        by_document: whole = False,
    ) -> Response:
        """The same request draws the same sentences. Fill the column label of audit.csv from the top."""
        job, result = jobs.result(_session(request), id)
        plan, table = findings.plan(job, result, by, date, half_width, by_document=by_document)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "audit.csv"
            write_audit(plan, table, path, text_column=job.taken.text_column)
            told = json.loads(metadata_file(path).read_text("utf-8"))
            told["audit"]["predictions"] = [job.title]  # the server's own path is nobody's business
            body = path.read_bytes() if file == "audit.csv" else json.dumps(told, ensure_ascii=False).encode()
        kind = "text/csv; charset=utf-8" if file == "audit.csv" else "application/json"
        return Response(body, media_type=kind, headers=_as_file(f"{_stem(job.title)}-{file}"))

    @app.put("/api/v1/jobs/{id}/audit", tags=["audits"], summary="Estimate from a labelled random sample")
    def give_audit(id: str, asked: schemas.AuditRequest, request: Request) -> schemas.AuditAnswer:
        """The rows must be those that the sample was drawn from, labelled anew or not."""
        job, result = jobs.result(_session(request), id)
        if len(asked.table.encode()) + len(asked.metadata.encode()) > limits.audit_bytes:
            most = limits.audit_bytes // 2**20
            raise Refused(413, "too_large", f"An audit and its metadata may have {most} MiB together.")
        name, kind = check_name(asked.name)
        if kind not in ("csv", "tsv", "jsonl") or name.endswith(".gz"):
            raise Refused(415, "unknown_format", f"{name}: expected the audit as .csv, .tsv or .jsonl.")
        check_table_name(Path(name))
        folder = Path(tempfile.mkdtemp(dir=job.folder))
        path = folder / name
        try:
            path.write_text(asked.table, "utf-8", errors="replace", newline="")
            metadata_file(path).write_text(asked.metadata, "utf-8", errors="replace")
            labels = findings.check_audit(job, result, path)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        findings.use_audit(job, path)
        return schemas.AuditAnswer(labels=labels)

    @app.delete("/api/v1/jobs/{id}/audit", status_code=204, tags=["audits"], summary="Leave the audit out again")
    def take_audit_back(id: str, request: Request) -> None:
        job, _ = jobs.result(_session(request), id)
        findings.use_audit(job, None)


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
