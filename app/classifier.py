"""The public classifier: prediction from ``model``, with training from ``train`` behind ``fit``."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from conflict_framing.data import Codebook, Corpus, Sentence, UserError, load_corpus
from conflict_framing.model import CheckpointClassifier
from conflict_framing.model.runtime import RuntimeName


class FramingClassifier(CheckpointClassifier):
    """Labels sentences; loaded with ``from_pretrained`` or trained with ``fit``.

    >>> classifier = FramingClassifier.from_pretrained("runs/default")          # doctest: +SKIP
    >>> classifier.predict("The situation is stable and under control.").label  # doctest: +SKIP
    'stabilisation_claim'
    """

    def __init__(self, recipe: str = "default", *, settings: Sequence[str] = (), device: str = "auto") -> None:
        """A classifier that is yet to be trained.

        Args:
            recipe: a bundled recipe's name or a YAML file.
            settings: overrides such as ``"training.epochs=3"``.
            device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        """
        self._recipe = recipe
        self._settings = tuple(settings)
        self._device = device

    def __getattr__(self, name: str) -> Any:
        # Only called for what is not there: the parts that training or loading brings.
        if name in ("runtime", "codebook", "facts", "calibration", "_torch"):
            raise UserError("This classifier has no model yet: call fit(sentences, labels), or use from_pretrained().")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path | None = None,
        *,
        device: str = "auto",
        runtime: RuntimeName = "auto",
        cascade: bool | None = None,
    ) -> Self:
        """Load the ready model, or a run, a model folder or a model of the hub.

        See ``CheckpointClassifier.from_pretrained``.
        """
        loaded = CheckpointClassifier.from_pretrained(name, device=device, runtime=runtime, cascade=cascade)
        return cls(device=device)._adopt(loaded)

    def _adopt(self, trained: CheckpointClassifier) -> Self:
        super().__init__(
            trained.runtime, codebook=trained.codebook, facts=trained.facts, calibration=trained.calibration
        )
        self.reference, self.source = trained.reference, trained.source
        return self

    def fit(self, sentences: Sequence[str], labels: Sequence[str], documents: Sequence[str] | None = None) -> Self:
        """Train on sentences and their labels; keep the result with ``save_pretrained``.

        A part of the sentences (the recipe's ``split.validation``) is held out for early stopping, except with
        few labels (``few_labels`` in the recipe).

        Args:
            sentences: one string each.
            labels: one label per sentence; at least two different ones.
            documents: which document each sentence stands in, so that none is torn between
                training and validation; None takes every sentence as independent.

        Raises:
            UserError: lengths differ, too few examples, an unknown setting.
        """
        lengths = {len(sentences), len(labels)} | ({len(documents)} if documents is not None else set())
        if len(lengths) > 1:
            raise UserError(f"expected as many labels (and documents) as sentences, came {sorted(lengths)}.")
        settings = ("split.test=0", "baselines=false", "export=false", *self._settings)
        corpus = _corpus_of(sentences, labels, documents)
        with tempfile.TemporaryDirectory() as folder:
            return self._adopt(_train(corpus, self._recipe, settings, Path(folder) / "run", self._device))


def _corpus_of(sentences: Sequence[str], labels: Sequence[str], documents: Sequence[str] | None) -> Corpus:
    labels = [str(label) for label in labels]
    names = sorted(set(labels))
    bundled = Codebook.bundled()
    known = len(names) > 1 and set(names) <= set(bundled.label_names)
    return Corpus(
        tuple(
            Sentence(text, label, documents[place] if documents else None, None, None, {}, "sentences", place + 1)
            for place, (text, label) in enumerate(zip(sentences, labels, strict=True))
        ),
        bundled.only(names) if known else Codebook.from_labels(names),
    )


def _train(
    corpus: Corpus, recipe: str, settings: Sequence[str], output: Path, device: str, overwrite: bool = False
) -> CheckpointClassifier:
    from conflict_framing.train import load_recipe, train_run

    resolved = load_recipe(recipe, settings)
    return train_run(corpus, resolved, output, device=device, overwrite=overwrite, say=lambda line: None).classifier


def train_classifier(
    corpus: Corpus | str | Path | Sequence[str | Path] | None = None,
    *,
    recipe: str = "default",
    settings: Sequence[str] = (),
    output: str | Path | None = None,
    codebook: Codebook | str | Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> FramingClassifier:
    """Train, evaluate and return a classifier; with ``output``, keep the run as ``train`` does.

    Args:
        corpus: a loaded corpus, or its file or files; None is the bundled corpus.
        recipe: a bundled recipe's name or a YAML file.
        settings: overrides such as ``"training.epochs=3"``.
        output: the run's folder (report, splits, model); None keeps nothing on disk.
        codebook: of the corpus's labels, where it has its own.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        overwrite: replace an existing run.

    Raises:
        UserError: the corpus, the recipe or the output cannot be used as they are.
    """
    if not isinstance(corpus, Corpus):
        files = [] if corpus is None else [corpus] if isinstance(corpus, (str, Path)) else list(corpus)
        corpus = load_corpus(*files, codebook=codebook)
    classifier = FramingClassifier(recipe, settings=settings, device=device)
    if output is not None:
        return classifier._adopt(_train(corpus, recipe, settings, Path(output), device, overwrite))
    with tempfile.TemporaryDirectory() as folder:
        return classifier._adopt(_train(corpus, recipe, settings, Path(folder) / "run", device))
