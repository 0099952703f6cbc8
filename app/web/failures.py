"""What the API refuses, as a status, a short code for programs and a sentence for people."""

from typing import Any

from conflict_framing.data import UserError

# Messages of the packages below name the command's options; the page has fields instead.
_FIELDS = {
    "Name the right one with --text-column.": (
        "Which column holds the sentences? Choose its name, or type it into the field Text column."
    ),
    "--text-column": "the text column",
    "If the file has another encoding, name it: --encoding cp1252 (Windows), --encoding utf-16, "
    "--encoding iso-8859-1 …": "If the file has another encoding, name it, e.g. cp1252 (Windows), utf-16, iso-8859-1.",
    "--encoding": "the encoding",
    "a random sample: conflict-framing shares PREDICTIONS --plan-audit audit.csv --half-width 0.05": (
        "a random sample (see below)."
    ),
    " Draw one with: conflict-framing shares PREDICTIONS --plan-audit audit.csv --half-width 0.05": " Draw one below.",
    "with 'predict'": "anew",
    "--by-document": "drawing whole documents",
    "--plan-audit": "the plan",
    "--half-width": "the half-width",
    "--date-column": "the column of dates",
    "Name others with --by.": "Choose others.",
    "with --by": "to group by",
    "--label": "the label",
    "--among": "the labels",
}


class Refused(UserError):  # noqa: N818 - it is told, not raised to the top
    """A request that is not done.

    Attributes:
        status: of HTTP.
        code: for programs; stays the same where the message is reworded.
        details: further facts, such as the columns that were found.
    """

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.details = status, code, details

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "message": str(self), **self.details}


def in_words_of_the_page(message: str, path: str = "", name: str = "") -> str:
    """A message without the server's paths and the command's options."""
    if path:
        message = message.replace(path, name)
    for option, field in _FIELDS.items():
        message = message.replace(option, field)
    return message
