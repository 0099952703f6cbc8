"""What the API takes and gives; the OpenAPI document is made of these."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LabelInfo(BaseModel):
    name: str
    title: str = Field(description="the label as people read it")
    definition: str
    colour: str = Field(description="#rrggbb")


class ModelInfo(BaseModel):
    """The model, what else is there, and how much is taken."""

    name: str = Field(description="the folder that it was loaded from")
    backbone: str
    max_length: int = Field(description="tokens; longer sentences are cut and marked")
    labels: list[LabelInfo]
    metrics: dict[str, float] = Field(description="on the test part of the model's own corpus")
    corpus_sentences: int = Field(description="sentences that it was trained on")
    explains: bool
    why_not_explained: str = Field(description="empty where explain works")
    names_sources: bool = Field(description="whether results say who is quoted")
    annotations: str = Field(description="the file that corrected labels go to")
    limits: dict[str, float]
    version: str


class PredictRequest(_Asked):
    texts: list[str] = Field(min_length=1, description="one sentence each", examples=[["The valley is calm."]])
    among: list[str] | None = Field(None, description="choose among these labels only; probabilities are renormalised")


class PredictionInfo(BaseModel):
    label: str
    score: float = Field(description="the label's probability")
    probabilities: dict[str, float]
    truncated: bool = Field(description="whether the sentence was longer than the model's window")


class PredictAnswer(BaseModel):
    predictions: list[PredictionInfo]


class TextRequest(_Asked):
    text: str = Field(description="an article; it is split into sentences")
    title: str = Field("", max_length=200, description="becomes the column document")


class JobInfo(BaseModel):
    """How far a job is."""

    id: str
    title: str
    state: Literal["waiting", "reading", "attributing", "labelling", "done", "failed", "cancelled"]
    ahead: int = Field(0, description="jobs that are to end before this one begins")
    article: bool = Field(description="whether the rows are the sentences of one article, in paragraphs")
    articles: int = Field(description="that were split into sentences; 0 where a table's rows are the sentences")
    dateline: str = Field(description="of the one article; it is cut off its first sentence")
    text_column: str
    rows: int
    done: int
    rejected: int = Field(description="rows without usable text")
    problems: list[str] = Field(description="the first rejected rows and why")
    truncated: int
    audited: bool = Field(description="whether shares are estimated from an audit")
    notes: list[str]
    rows_per_second: float | None
    seconds: float
    seconds_left: float | None
    drift_warning: str | None = Field(
        description="how the text differs from what the model was trained on; empty where it does not, null until then"
    )
    error: dict[str, Any] | None


class JobList(BaseModel):
    jobs: list[JobInfo]


class RowInfo(BaseModel):
    row: int = Field(description="counts from 0")
    text: str
    label: str = Field(description="the model's")
    score: float
    probabilities: dict[str, float]
    truncated: bool
    corrected: str | None = Field(description="the label that somebody gave")
    columns: dict[str, Any] = Field(description="the other columns that came in")


class ResultPage(BaseModel):
    """Rows that pass the filter, from ``offset`` on."""

    counts: dict[str, int] = Field(description="of all rows, corrected labels counted")
    total: int
    matching: int
    offset: int
    rows: list[RowInfo]


class ColumnsInfo(BaseModel):
    """What rows can be grouped by."""

    dates: list[str]
    groups: list[str]


class FigureInfo(BaseModel):
    """A share from 0 to 1 with its 95 % interval; null where ``told`` says why."""

    share: float | None
    low: float | None
    high: float | None
    told: str = Field(description="for people, e.g. 38 % (31–45), or why there is none")


class GroupInfo(BaseModel):
    key: list[str] = Field(description="the value of each column of by")
    name: str
    sentences: int
    documents: int
    audited_sentences: int
    audited_documents: int
    note: str = Field(description="what there is too little of, or why there is no interval; else empty")
    counted: dict[str, float] = Field(description="shares of the predicted labels as they are, errors included")
    shares: dict[str, FigureInfo]


class SideInfo(FigureInfo):
    sentences: int
    documents: int
    note: str


class MomentInfo(BaseModel):
    place: str
    period: str
    claims: SideInfo
    reports: SideInfo


class ClaimsInfo(BaseModel):
    """Stabilisation claims beside escalation reports, by place and period."""

    by_whom: bool = Field(description="claims by officials, reports by others; else both of all sentences")
    period: str
    why_none: str
    moments: list[MomentInfo]


class KeyInfo(BaseModel):
    title: str
    colour: str
    marker: str


class PanelInfo(BaseModel):
    title: str
    label: str


class PictureInfo(BaseModel):
    """Its panels are at pictures/{name}/{number of the panel}.svg."""

    name: str
    title: str
    caption: str
    keys: list[KeyInfo]
    panels: list[PanelInfo]
    width: int = Field(description="of a panel, in points")
    height: int = Field(description="of a panel, in points")


class SharesInfo(BaseModel):
    by: list[str]
    labels: list[str]
    method: Literal["model-based", "audited"]
    told: str = Field(description="how far the figures can be trusted")
    headline: str
    notes: list[str]
    groups: list[GroupInfo]
    rules: dict[str, str] = Field(description="what the words in told mean where there is no interval")
    claims: ClaimsInfo
    pictures: list[PictureInfo]


class GroupPlanInfo(BaseModel):
    name: str
    limit: str = Field(description="what set the number of sentences; empty where none are drawn for the group")
    sentences: int = Field(description="to label")
    of_sentences: int
    documents: int = Field(description="that they are of, in expectation")
    of_documents: int
    half_width: float | None = Field(description="that is to be expected")
    design_effect: float | None
    note: str


class AuditPlanInfo(BaseModel):
    sentences: int
    rules: list[str] = Field(description="what the limits mean")
    groups: list[GroupPlanInfo]


class AuditRequest(_Asked):
    name: str = Field(description="of the table; its end says the format: .csv, .tsv or .jsonl")
    table: str = Field(description="what audit/plan/audit.csv gave, its column label filled")
    metadata: str = Field(description="what audit/plan/audit.csv.meta.json gave")


class AuditAnswer(BaseModel):
    labels: int


class ExplainRequest(_Asked):
    text: str = Field(description="one sentence")
    label: str | None = Field(None, description="explain this label; without one, the predicted")


class Piece(BaseModel):
    text: str
    strength: float = Field(description="-1 (against the label) to 1 (for it); 0 between words")


class WordInfo(BaseModel):
    text: str
    attribution: float = Field(description="log-odds")


class ExplainAnswer(BaseModel):
    """What moved the model, by integrated gradients; not why the label is right."""

    label: str
    score: float
    pieces: list[Piece] = Field(description="the whole sentence, in order")
    strongest: list[WordInfo]
    complete: bool = Field(description="whether the attributions add up")
    completeness: str
    caveat: str
    truncated: bool


class AnnotateRequest(_Asked):
    job: str
    row: int = Field(ge=0)
    label: str | None = Field(description="one of the model's labels; null takes the annotation back")


class AnnotateAnswer(BaseModel):
    row: int
    corrected: str | None
    file: str


class SampleAnswer(BaseModel):
    title: str
    text: str


class ErrorInfo(BaseModel):
    code: str = Field(description="for programs; does not change when the message is reworded")
    message: str


class ErrorAnswer(BaseModel):
    error: ErrorInfo
