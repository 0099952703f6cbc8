"""What the calibration part says of a model: the side-car that abstention and adapted priors are worked out from."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ..data.codebook import describe_validation
from ..data.errors import UserError


class Calibration(BaseModel):
    """Contents of ``calibration.json``: the calibration sentences without their texts.

    Attributes:
        version: of this format.
        labels: names, in the order of the columns.
        temperature: by which the logits were divided; it is folded into the head's weights.
        units: of each sentence its document, or whatever else must stay whole.
        references: places of the annotated labels.
        probabilities: calibrated, one list per sentence.
        training_shares: of each label in the training part.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = 1
    labels: list[str]
    temperature: float
    units: list[int]
    references: list[int]
    probabilities: list[list[float]]
    training_shares: list[float]

    def write(self, path: Path) -> None:
        path.write_text(self.model_dump_json() + "\n", "utf-8")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The side-car of a model folder, None where there is none.

        Raises:
            UserError: it is damaged.
        """
        if not path.exists():
            return None
        try:
            return cls.model_validate_json(path.read_text("utf-8"))
        except ValidationError as error:
            raise UserError(f"{path}: damaged model folder:\n{describe_validation(error)}") from None
