"""Who is quoted in each sentence, where the analysis package and spaCy are there to tell."""

import importlib
import importlib.util


def names_sources() -> bool:
    return importlib.util.find_spec("conflict_framing.analysis.sources") is not None and bool(
        importlib.util.find_spec("spacy")
    )
