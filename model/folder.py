"""The model folder's side-cars: what was trained, on what, and how to read the labels."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ..data.codebook import Codebook, describe_validation
from ..data.errors import MissingExtraError, UserError
from .backbone import hub_failure
from .layout import FORMAT_VERSION, READY, ModelLayout, RunLayout


class ModelFacts(BaseModel):
    """Contents of ``framing.json``.

    Attributes:
        format_version: of the model folder; see ``FORMAT_VERSION``.
        max_length: longest input in tokens, special tokens counted; longer texts are cut and marked.
        backbone: hub name or folder name of the pretrained model.
        corpus_fingerprint: ``Corpus.fingerprint`` of all that the run was given.
        corpus_counts: sentences per part of the split.
        recipe: the resolved recipe.
        training: epochs, best epoch, seconds, seed, library versions.
        metrics: headline metrics on the test part (empty where there was none).
    """

    model_config = ConfigDict(extra="allow")

    format_version: int = FORMAT_VERSION
    max_length: int
    backbone: str = ""
    corpus_fingerprint: str = ""
    corpus_counts: dict[str, int] = {}
    recipe: dict[str, Any] = {}
    training: dict[str, Any] = {}
    metrics: dict[str, float] = {}

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n", "utf-8")


_TRAIN = "Train one: conflict-framing train --output RUN (in Python: train_classifier(…, output=RUN))"


def has_ready_model() -> bool:
    """Whether the package came with a model."""
    return ModelLayout(READY).config.exists()


def _or_the_ready_one() -> str:
    if not has_ready_model():
        return ""
    return " Or name none: where no model is named, the ready one that comes with the package is taken."


def find_model(name: str | Path | None) -> Path:
    """The model folder that ``--model`` means: of a run, itself, or fetched from the hub; None is the ready model.

    Raises:
        UserError: a path that does not exist or holds no model, a name that the hub does not give, or None where
            the package came without a ready model.
    """
    if name is None:
        if not has_ready_model():
            raise UserError(
                "No model is named, and this installation has no ready one. Name one with --model RUN "
                "(from_pretrained(RUN) in Python); train one with: conflict-framing train --output RUN"
            )
        return READY
    path = Path(name).expanduser()
    if path.is_dir():
        for folder in (RunLayout(path).model, path):
            if ModelLayout(folder).config.exists():
                return folder
        unfinished = " It holds checkpoints of unfinished training." if (path / "checkpoints").exists() else ""
        raise UserError(
            f"{name}: not a model: neither {path}/config.json nor {path}/model/config.json is "
            f"there.{unfinished} Give the folder that training wrote (train --output)."
        )
    if path.is_file():
        raise UserError(f"{name}: expected a folder (a run or a model folder), came a file.")
    text = str(name)
    if text.startswith((".", "/", "~")) or text.count("/") != 1:
        unfinished_run = path.with_name(path.name + ".partial")
        hint = (
            f" There is an unfinished run in {unfinished_run}; finish it with "
            f"'conflict-framing train --resume --output {name}'."
            if unfinished_run.is_dir()
            else f" {_TRAIN}, or give a hub name (organisation/model)."
        )
        raise UserError(f"{name}: no such folder.{hint}{_or_the_ready_one()}")
    # runs/default is a run that was never trained far more often than a model of somebody called "runs".
    if path.parent.is_dir():
        raise UserError(f"{name}: no such folder in {path.parent}/. {_TRAIN}.{_or_the_ready_one()}")
    return _from_hub(text)


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise MissingExtraError("huggingface_hub", "train", "Loading a model of the hub") from None
    # Weights as safetensors only; nothing that could hold code is fetched.
    patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.yaml", "*.onnx", "NOTICE"]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise hub_failure(name, error, "model") from None


def read_facts(folder: Path) -> ModelFacts | None:
    """The facts of a model folder, or None for a checkpoint that is not of this package.

    Raises:
        UserError: damaged facts, or a format of a later version.
    """
    path = ModelLayout(folder).facts
    if not path.exists():
        return None
    try:
        facts = ModelFacts.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        raise UserError(f"{path}: damaged model folder:\n{describe_validation(error)}") from None
    if facts.format_version > FORMAT_VERSION:
        raise UserError(
            f"{folder}: the model folder has format {facts.format_version}, this version of conflict-framing reads "
            f"up to {FORMAT_VERSION}. Update with: pip install --upgrade conflict-framing"
        )
    return facts


def read_codebook(folder: Path, label_names: list[str]) -> Codebook:
    """The codebook of a model folder, else a bare one of the model's labels."""
    path = ModelLayout(folder).codebook
    if path.exists():
        return Codebook.load(path)
    bundled = Codebook.bundled()
    return bundled if bundled.label_names == label_names else Codebook.from_labels(label_names)
