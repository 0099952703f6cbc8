"""Errors that a user can mend: what was expected, what came, what to do."""


class UserError(Exception):
    """A mistake in the input, told in one message and without a traceback."""


class MissingExtraError(UserError, ImportError):
    """A library of an optional extra is not installed; the message names the pip command."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the library '{library}', which is not installed. "
            f'Install it with: pip install "conflict-framing[{extra}]"'
        )
