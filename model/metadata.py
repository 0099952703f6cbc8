"""What a reader of a predictions file must know about how it came to be, in a JSON file beside it."""

import json
from pathlib import Path
from typing import Any


def metadata_file(output: Path) -> Path:
    """``OUTPUT.meta.json``."""
    return output.with_name(output.name + ".meta.json")


def write_metadata(path: Path, sections: dict[str, Any]) -> None:
    """Write the sections as JSON; the file appears whole or not at all, in place of an earlier one."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(sections, indent=2, ensure_ascii=False, default=str) + "\n", "utf-8")
    partial.replace(path)
