"""Which files an input means: itself, all in a folder, or all that fit a pattern."""

import glob
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError
from .tables import STDIN, SUFFIXES, is_known, require_file


def find_inputs(
    inputs: Sequence[str | Path],
    *,
    any_format: bool = False,
    also: tuple[str, ...] = (),
    leave_out: Sequence[Path] = (),
) -> list[str]:
    """The files that inputs mean, in the order of the inputs; those of a folder or a pattern sorted by path.

    Args:
        inputs: files, folders (all files of known formats in them, at any depth), patterns as the shell knows
            them (``**`` is any depth), ``-`` for standard input.
        any_format: take files of a folder whatever their names say.
        also: endings of names that are known besides those of texts and tables, e.g. ``.html``.
        leave_out: what is no input though it stands in a folder: what is being written.

    Raises:
        UserError: nothing there, or a file twice.
    """
    ours = {path.absolute() for path in leave_out}
    found: list[str] = []
    for given in map(str, inputs):
        path = Path(given)
        if given == STDIN:
            found.append(given)
        elif path.is_dir():
            found += _in_folder(path, any_format, also, ours)
        elif glob.has_magic(given) and not path.exists():
            found += _fitting(given, any_format, also, ours)
        else:
            found.append(str(require_file(path)))
    seen: set[str] = set()
    for name in found:
        real = name if name == STDIN else str(Path(name).resolve())
        if real in seen:
            raise UserError(f"{name}: named twice among the inputs, and would be labelled twice. Name it once.")
        seen.add(real)
    return found


def _in_folder(folder: Path, any_format: bool, also: tuple[str, ...], ours: set[Path]) -> list[str]:
    def is_input(path: Path) -> bool:
        inside = path.relative_to(folder)
        unfinished = any(part.startswith(".") or part.endswith(".partial") for part in inside.parts)
        known = any_format or is_known(path) or path.name.lower().endswith(also)
        return path.is_file() and not unfinished and known and path.absolute() not in ours

    files = sorted(path for path in folder.rglob("*") if is_input(path))
    if not files:
        known = (
            "" if any_format else f" of a known format ({', '.join(sorted({*SUFFIXES, *also}))}, each also .gz or .zst)"
        )
        raise UserError(f"{folder} is a folder without any file{known} in it.")
    return [str(require_file(path)) for path in files]


def _fitting(pattern: str, any_format: bool, also: tuple[str, ...], ours: set[Path]) -> list[str]:
    found: list[str] = []
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - which takes no absolute patterns
        path = Path(name)
        if path.is_file() and path.absolute() not in ours:
            found.append(str(require_file(path)))
        elif path.is_dir() and "**" not in pattern:
            found += _in_folder(path, any_format, also, ours)
    if not found:
        raise UserError(f"{pattern}: no file fits the pattern.")
    return found
