"""The side-car ``OUTPUT.meta.json`` of a predictions file."""

import json
from pathlib import Path
from typing import Any


def write_metadata(path: Path, sections: dict[str, Any]) -> None:
    """Write sections as JSON; the file is either whole or not there."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(sections, indent=2, ensure_ascii=False) + "\n", "utf-8")
    partial.replace(path)
