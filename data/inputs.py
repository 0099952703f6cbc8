"""Which files an input means: itself, all in a folder, or all that fit a pattern; on disks and on stores."""

import glob
from collections.abc import Sequence
from pathlib import Path

from .errors import UserError
from .tables import STDIN, SUFFIXES, is_known, require_file
from .urls import Place, UrlPath, is_url, list_objects, plain_name, same_object, shown


def find_inputs(
    inputs: Sequence[str | Path],
    *,
    any_format: bool = False,
    also: tuple[str, ...] = (),
    leave_out: Sequence[Place] = (),
) -> list[str]:
    """The files that inputs mean, in the order of the inputs; those of a folder or a pattern sorted by path.

    Args:
        inputs: files, folders (all files of known formats in them, at any depth), patterns as the shell knows
            them (``**`` is any depth), ``-`` for standard input; the first three also as URLs.
        any_format: take files of a folder whatever their names say.
        also: endings of names that are known besides those of texts and tables, e.g. ``.html``.
        leave_out: what is no input though it stands in a folder: what is being written.

    Raises:
        UserError: nothing there, a file twice, or a store that cannot be used.
    """
    ours = {path.absolute() for path in leave_out if isinstance(path, Path)}
    ours_on_stores = [path.url for path in leave_out if isinstance(path, UrlPath)]
    found: list[str] = []
    for given in map(plain_name, inputs):
        path = Path(given)
        if given == STDIN:
            found.append(given)
        elif is_url(given):
            found += _on_store(given, any_format, also, ours_on_stores)
        elif path.is_dir():
            found += _in_folder(path, any_format, also, ours)
        elif glob.has_magic(given) and not path.exists():
            found += _fitting(given, any_format, also, ours)
        else:
            found.append(str(require_file(path)))
    seen: set[str] = set()
    for name in found:
        real = shown(name) if name == STDIN or is_url(name) else str(Path(name).resolve())
        if real in seen:
            raise UserError(f"{shown(name)}: named twice among the inputs, and would be labelled twice. Name it once.")
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
        raise _nothing_in(str(folder), any_format, also)
    return list(map(str, files))


def _nothing_in(folder: str, any_format: bool, also: tuple[str, ...]) -> UserError:
    known = "" if any_format else f" of a known format ({', '.join(sorted({*SUFFIXES, *also}))}, each also .gz or .zst)"
    return UserError(f"{folder} is a folder without any file{known} in it.")


def _on_store(given: str, any_format: bool, also: tuple[str, ...], ours: Sequence[str]) -> list[str]:
    def is_input(inside: str | None) -> bool:
        if inside is None:  # named, or fits the pattern
            return True
        unfinished = any(part.startswith(".") or part.endswith(".partial") for part in inside.split("/"))
        return not unfinished and (any_format or is_known(inside) or inside.lower().endswith(also))

    listed = list_objects(given)
    found = [
        object
        for object in listed
        if is_input(object.inside) and (object.url == given or not any(same_object(object.url, path) for path in ours))
    ]
    if not found and any(object.inside is not None for object in listed):
        raise _nothing_in(shown(given), any_format, also)
    if not found:
        raise UserError(f"{shown(given)}: no object fits the pattern, or is in the folder.")
    return [object.url for object in found]


def _fitting(pattern: str, any_format: bool, also: tuple[str, ...], ours: set[Path]) -> list[str]:
    found: list[str] = []
    for name in sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - which takes no absolute patterns
        path = Path(name)
        if path.is_file() and path.absolute() not in ours:
            found.append(str(path))
        elif path.is_dir() and "**" not in pattern:
            found += _in_folder(path, any_format, also, ours)
    if not found:
        raise UserError(f"{pattern}: no file fits the pattern.")
    return found
