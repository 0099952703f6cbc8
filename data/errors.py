"""Errors that a user can mend: what was expected, what came, what to do."""


class UserError(Exception):
    """A mistake in the input, told in one message and without a traceback."""


class UnreadableError(UserError):
    """A file that as a whole cannot be used; among several, the others still can.

    Attributes:
        path: the file.
        reason: why, without the path.
        line: where it ceases to be readable, from 1; 0 where that is no matter of a line.
    """

    def __init__(self, path: str, reason: str, line: int = 0) -> None:
        super().__init__(path, reason, line)
        self.path, self.reason, self.line = path, reason, line

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.reason}" if self.line else f"{self.path}: {self.reason}"


def renamed(error: UserError, path: str, name: str) -> UserError:
    """The same error of a file that the user knows by another name, such as standard input."""
    if isinstance(error, UnreadableError):
        return UnreadableError(error.path.replace(path, name), error.reason.replace(path, name), error.line)
    return UserError(str(error).replace(path, name))


class MissingLibraryError(UserError, ImportError):
    """A library that only some need is not installed; the message names the command that installs it."""

    def __init__(self, library: str, purpose: str, command: str) -> None:
        super().__init__(f"{purpose} needs the library '{library}', which is not installed. Install it with: {command}")


class MissingExtraError(MissingLibraryError):
    """A library of an optional extra is not installed; the message names the pip command."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(library, purpose, f'pip install "conflict-framing[{extra}]"')
