"""Where the files of a run and of a model folder stand, stated once."""

from dataclasses import dataclass
from pathlib import Path

READY = Path(__file__).parent / "ready"
"""The model that comes with the package: a model folder, taken where no other is named."""

FORMAT_VERSION = 1
"""Of the model folder. A folder with a higher number was written by a later version of this package."""


@dataclass(frozen=True)
class ModelLayout:
    """A Hugging Face checkpoint folder with our side-cars."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def weights(self) -> Path:
        return self.folder / "model.safetensors"

    @property
    def facts(self) -> Path:
        return self.folder / "framing.json"

    @property
    def codebook(self) -> Path:
        return self.folder / "codebook.yaml"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.json"

    @property
    def reference(self) -> Path:
        """Training text as embeddings, to tell other text by; not in older folders."""
        return self.folder / "reference.safetensors"

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer.json"

    @property
    def graph(self) -> Path:
        """The model for ONNX Runtime; not in older folders, nor where it could not be exported."""
        return self.folder / "model.onnx"

    @property
    def graph_facts(self) -> Path:
        return self.folder / "runtime.json"

    @property
    def graph_calibration(self) -> Path:
        """What the graph says of the calibration part."""
        return self.folder / "calibration.onnx.json"

    @property
    def notice(self) -> Path:
        """What a model that is passed on was made from, with licences; in packed folders alone."""
        return self.folder / "NOTICE"

    @property
    def first_stage(self) -> Path:
        """Of a cascade: the small graph that is asked before the large one; only where it was chosen."""
        return self.folder / "first_stage.onnx"

    @property
    def cascade(self) -> Path:
        return self.folder / "cascade.json"

    @property
    def cascade_calibration(self) -> Path:
        """What the cascade says of the calibration part."""
        return self.folder / "calibration.cascade.json"

    @property
    def of_cascade(self) -> tuple[Path, ...]:
        return self.first_stage, self.cascade, self.cascade_calibration

    @property
    def of_graph(self) -> tuple[Path, ...]:
        return self.graph, self.graph_facts, self.graph_calibration, *self.of_cascade

    @property
    def card(self) -> Path:
        return self.folder / "README.md"


@dataclass(frozen=True)
class RunLayout:
    """What ``train`` writes: every file can be opened by a person."""

    folder: Path

    @property
    def recipe(self) -> Path:
        return self.folder / "recipe.yaml"

    @property
    def state(self) -> Path:
        return self.folder / "state.json"

    @property
    def splits(self) -> Path:
        return self.folder / "splits"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def evaluation(self) -> Path:
        return self.folder / "evaluation"

    @property
    def search(self) -> Path:
        """Beside the run: the trials that its settings were chosen from."""
        return self.folder.with_name(self.folder.name + ".search")

    def split(self, part: str) -> Path:
        return self.splits / f"{part}.jsonl"
