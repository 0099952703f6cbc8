"""What a reader of a predictions file must know about how it came to be, in a JSON file beside it."""

import json
from pathlib import Path
from typing import Any, overload

from ..data.files import SyncedFile, partial_of, put_in_place
from ..data.urls import Place


@overload
def metadata_file(output: Path) -> Path: ...
@overload
def metadata_file(output: Place) -> Place: ...
def metadata_file(output: Place) -> Place:
    """``OUTPUT.meta.json``."""
    return output.with_name(output.name + ".meta.json")


def write_metadata(path: Path, sections: dict[str, Any]) -> None:
    """Write the sections as JSON; the file appears whole or not at all, in place of an earlier one."""
    text = json.dumps(sections, indent=2, ensure_ascii=False, default=str) + "\n"
    with SyncedFile(partial_of(path)) as stream:
        stream.write(text.encode())
    put_in_place(partial_of(path), path)


def metadata_notes(sections: dict[str, Any]) -> dict[str, str]:
    """The same facts for the footer of a Parquet file: one key a section, its value as JSON."""
    return {
        f"conflict_framing.{name}": json.dumps(section, ensure_ascii=False, default=str)
        for name, section in sections.items()
    }
