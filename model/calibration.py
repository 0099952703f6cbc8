"""The side-car ``calibration.json``: what the model says of labelled sentences that it never saw."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ..data.codebook import describe_validation
from ..data.errors import UserError
from .layout import ModelLayout

_ROUNDED = 1e-8
_ROUNDING = 1e-3  # how far probabilities and shares may be from summing to 1


class Calibration(BaseModel):
    """Contents of ``calibration.json``: the calibration part of the split, a place per sentence.

    Attributes:
        version: of the file's format.
        labels: in the order of the columns of ``probabilities``.
        temperature: that the logits were divided by (it is in the model's weights already).
        units: the document, or whatever else must stay whole, that each sentence belongs to.
        references: the right label of each sentence, as a place in ``labels``.
        probabilities: calibrated, one row per sentence and one column per label.
        training_shares: the share of each label in the training part.
    """

    model_config = ConfigDict(extra="allow")

    version: Literal[1] = 1
    labels: list[str]
    temperature: float
    units: list[int]
    references: list[int]
    probabilities: list[list[float]]
    training_shares: list[float]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        n, k = len(self.references), len(self.labels)
        if not n or len(self.units) != n or len(self.probabilities) != n:
            raise ValueError(
                f"expected as many units and probabilities as references, came {len(self.units)}, "
                f"{len(self.probabilities)} and {n}"
            )
        if len(self.training_shares) != k or any(len(row) != k for row in self.probabilities):
            raise ValueError(f"expected {k} probabilities per sentence and {k} training shares, one per label")
        if not all(0 <= place < k for place in self.references):
            raise ValueError(f"references: expected places from 0 to {k - 1}")
        rows = np.array([*self.probabilities, self.training_shares])
        if not (rows >= 0).all() or not (np.abs(rows.sum(axis=1) - 1) < _ROUNDING).all():
            raise ValueError("expected probabilities and shares that sum to 1")
        return self

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """The probability of the most probable label, shape (n sentences,)."""
        scores: npt.NDArray[np.float64] = np.max(self.probabilities, axis=1)
        return scores

    @property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable label is not the right one, shape (n sentences,)."""
        wrong: npt.NDArray[np.bool_] = np.argmax(self.probabilities, axis=1) != np.array(self.references)
        return wrong

    @property
    def source_shares(self) -> npt.NDArray[np.float64]:
        """The label shares that the probabilities reflect, shape (n labels,): their mean."""
        means = np.maximum(np.mean(self.probabilities, axis=0), _ROUNDED)  # a label rounded away still has a share
        shares: npt.NDArray[np.float64] = means / means.sum()
        return shares

    def write(self, path: Path) -> None:
        path.write_text(self.model_dump_json() + "\n", "utf-8")


def read_calibration(
    folder: Path, labels: list[str], *, graph: bool = False, cascade: bool = False
) -> Calibration | None:
    """The calibration of a model folder, or of its graph or cascade, or None where it has none.

    Raises:
        UserError: a damaged file, or one of other labels than the model's.
    """
    layout = ModelLayout(folder)
    path = layout.cascade_calibration if cascade else layout.graph_calibration if graph else layout.calibration
    if not path.exists():
        return None
    try:
        calibration = Calibration.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        raise UserError(f"{path}: damaged model folder:\n{describe_validation(error)}") from None
    if calibration.labels != labels:
        raise UserError(
            f"{path}: expected the model's labels ({', '.join(labels)}), came {', '.join(calibration.labels)}. "
            f"The file is of another model; copy the model folder whole."
        )
    return calibration


def missing_calibration(option: str) -> UserError:
    instead = ", or abstain below a score of your own with --abstain 0.8" if option == "--max-error" else ""
    return UserError(
        f"{option} needs calibration.json in the model folder: labelled sentences that the model never saw. This "
        f"model has none (it has few labels, is older, or comes from elsewhere). Train it anew with more labelled "
        f"sentences{instead}."
    )
