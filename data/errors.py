"""Errors that a user can mend: what was expected, what came, what to do."""


class UserError(Exception):
    """A mistake in the input, told in one message and without a traceback."""


class MissingLibraryError(UserError, ImportError):
    """A library that only some need is not installed; the message names the command that installs it."""

    def __init__(self, library: str, purpose: str, command: str) -> None:
        super().__init__(f"{purpose} needs the library '{library}', which is not installed. Install it with: {command}")


class MissingExtraError(MissingLibraryError):
    """A library of an optional extra is not installed; the message names the pip command."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(library, purpose, f'pip install "conflict-framing[{extra}]"')
