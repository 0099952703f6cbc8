"""How much the page takes, in one place."""

from dataclasses import dataclass

_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """Bounds on what is sent and kept.

    Attributes:
        upload_bytes: of a file as it is sent.
        expanded_bytes: of a file once it is decompressed, and of the checked table made of it.
        json_bytes: of any other request.
        rows, columns: of a table.
        sentence_characters: a longer text is set aside with the reason; the model would cut it anyway.
        row_characters: of all columns of a row together.
        article_characters: of one article.
        intake_memory_bytes, intake_seconds: of the process that reads what was sent.
        texts: in one call of ``predict``.
        waiting_jobs: that have not begun, of all sessions; ``waiting_jobs_each`` of one.
        kept_jobs: finished ones, of all sessions, and ``kept_bytes`` of their files; the oldest go first.
        page_rows: in one answer.
        groups: of shares, and of claims against reports.
        audit_bytes: of an audit's file and its metadata together.
        sourced_sentences: above so many, nobody is told who says each sentence; it takes minutes.
    """

    upload_bytes: int = 64 * _MIB
    expanded_bytes: int = 256 * _MIB
    json_bytes: int = 8 * _MIB
    rows: int = 200_000
    columns: int = 200
    sentence_characters: int = 20_000
    row_characters: int = 200_000
    article_characters: int = 1_000_000
    intake_memory_bytes: int = 2048 * _MIB
    intake_seconds: float = 180.0
    texts: int = 256
    waiting_jobs: int = 16
    waiting_jobs_each: int = 4
    kept_jobs: int = 32
    kept_bytes: int = 1024 * _MIB
    page_rows: int = 2000
    groups: int = 400
    audit_bytes: int = 4 * _MIB
    sourced_sentences: int = 20_000
