"""Teach a small model from a large one: its soft labels on unlabelled text (Hinton, Vinyals & Dean 2015)."""

import hashlib
import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.corpus import Corpus
from ..data.errors import UserError
from ..model.backbone import cache_folder, file_sha256
from ..model.classifier import WINDOW, CheckpointClassifier
from ..model.folder import find_model
from ..model.rows import ReadOptions, read_texts
from ..model.torch_runtime import weights_of
from .precision import has_bf16
from .progress import bar
from .recipe import Recipe

# What an unlabelled sentence has in the place of its gold label; PyTorch's own mark for it.
NO_LABEL = -100


@dataclass(frozen=True)
class Teacher:
    """A large model that teaches, and the unlabelled sentences that it teaches on.

    Attributes:
        name: as the user gave it.
        classifier: the model; it has the labels of the corpus.
        fingerprint: SHA-256 over those of its weights, and its window.
        texts: the unlabelled sentences, each once.
        cache: folder that keeps soft labels between calls.
    """

    name: str
    classifier: CheckpointClassifier
    fingerprint: str
    texts: list[str]
    cache: Path

    @property
    def state(self) -> dict[str, str]:
        """What a resumed run must find unchanged."""
        texts = hashlib.sha256(json.dumps(self.texts).encode()).hexdigest()
        return {"teacher": self.fingerprint, "unlabelled": texts}

    def facts(self) -> dict[str, Any]:
        """What a model card tells of the teaching."""
        return {
            "teacher": self.name,
            "teacher_fingerprint": self.fingerprint,
            "unlabelled_sentences": len(self.texts),
            "unlabelled_sha256": self.state["unlabelled"],
        }

    def label(self, texts: Sequence[str], title: str) -> npt.NDArray[np.float32]:
        """The teacher's probabilities, shape (n texts, n labels).

        Labelled in parts of 1,024 that are kept by teacher and texts, so that a broken-off run goes on and
        a second student of the same texts costs nothing.
        """
        parts = []
        with bar(title, len(texts), "sentences") as advance:
            for first in range(0, len(texts), WINDOW):
                part = list(texts[first : first + WINDOW])
                parts.append(self._label_part(part))
                advance(len(part))
        empty = np.empty((0, len(self.classifier.classes_)), np.float32)
        return np.concatenate([empty, *parts])

    def _label_part(self, texts: list[str]) -> npt.NDArray[np.float32]:
        # Half precision moves a soft label by a hundredth or two at most and halves the time.
        kind = self.classifier.model.device.type
        bf16 = has_bf16(kind)
        key = hashlib.sha256(json.dumps([self.classifier.classes_, bf16, texts]).encode()).hexdigest()
        path = self.cache / self.fingerprint[:16] / f"{key[:32]}.npy"
        if path.exists():
            kept = np.load(path, allow_pickle=False)
            if kept.shape == (len(texts), len(self.classifier.classes_)):
                return np.asarray(kept, np.float32)
        import torch

        with torch.autocast(kind, torch.bfloat16, enabled=bf16):
            found = self.classifier.predict_proba(texts)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        with partial.open("wb") as stream:
            np.save(stream, found, allow_pickle=False)
        partial.replace(path)
        return found


def load_teacher(
    name: str | Path,
    unlabelled: Sequence[str | Path],
    corpus: Corpus,
    recipe: Recipe,
    *,
    text_column: str = "text",
    encoding: str = "utf-8",
    device: str = "auto",
    say: Callable[[str], None] = print,
) -> Teacher:
    """Load a teacher and read the unlabelled sentences.

    Args:
        name: of the teacher: a run, a model folder or a hub name.
        unlabelled: text files (split into sentences) or tables; may be none: then it teaches on the
            training sentences alone.
        corpus: of the student; its sentences are left out of the unlabelled ones.
        recipe: of the student; ``distillation.max_sentences`` are drawn by its seed.
        text_column: of the tables.
        encoding: of text formats.
        device: of the teacher.
        say: takes one line at a time for the user to read.

    Raises:
        UserError: the teacher has other labels than the corpus, or a file cannot be read.
    """
    try:
        classifier = CheckpointClassifier.from_pretrained(name, device=device, runtime="torch")
    except UserError as error:
        raise UserError(f"--teacher: {error}") from None
    if classifier.classes_ != corpus.label_names:
        raise UserError(
            f"--teacher {name}: it has the labels {', '.join(classifier.classes_)}, the corpus has "
            f"{', '.join(corpus.label_names)}. A teacher must have the same labels in the same order."
        )
    own, other = recipe.model_dump(mode="json"), classifier.facts.recipe
    same_split = all(other.get(name) == own[name] for name in ("seed", "max_corpus", "split"))
    if classifier.facts.corpus_fingerprint != corpus.fingerprint or not same_split:
        say(
            "note: the teacher was trained on another corpus or with another split, so it may have seen the test "
            "sentences of this run. Measure on data that neither has seen."
        )
    reading = ReadOptions(text_column=text_column, encoding=encoding)
    known = {text.strip() for text in corpus.texts}
    texts = sorted({text.strip() for text in read_texts(unlabelled, reading)} - known)
    limit = recipe.distillation.max_sentences
    if limit is not None and len(texts) > limit:
        texts = random.Random(recipe.seed).sample(texts, limit)  # noqa: S311 - no secret
    weights = [file_sha256(path) for path in weights_of(find_model(name))]
    fingerprint = hashlib.sha256(json.dumps([*weights, classifier.facts.max_length]).encode()).hexdigest()
    return Teacher(str(name), classifier, fingerprint, texts, cache_folder() / "soft_labels")


def taught_labels(gold: Sequence[int], probabilities: npt.NDArray[Any]) -> list[list[float]]:
    """Rows for ``teaching_loss``: the gold label (or ``NO_LABEL``), then the teacher's probabilities."""
    rows = np.column_stack([np.asarray(gold, np.float32), probabilities])
    return [[float(value) for value in row] for row in rows]


def teaching_loss(recipe: Recipe, hard: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The loss of sentences with a teacher's probabilities, and of plain ones in validation.

    Of an unlabelled sentence it is T² · H(p_T, q_T), the cross entropy between teacher and student, both
    softened by the temperature T (Hinton et al. 2015, section 2); of an annotated one it is mixed with
    the loss of its gold label by ``distillation.gold_weight``.

    Args:
        recipe: for temperature and weight.
        hard: maps logits (n, labels) and gold labels (n) to one loss each.
    """
    import torch

    temperature, share = recipe.distillation.temperature, recipe.distillation.gold_weight

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        logits = outputs.logits.float()
        if labels.dim() == 1:
            return hard(logits, labels).mean()
        gold = labels[:, 0].long()
        softened = torch.softmax(labels[:, 1:].clamp_min(1e-8).log() / temperature, dim=-1)
        student = torch.log_softmax(logits / temperature, dim=-1)
        soft = -(softened * student).sum(dim=-1) * temperature**2
        annotated = gold != NO_LABEL
        told = hard(logits, gold.clamp_min(0))
        return torch.where(annotated, share * told + (1 - share) * soft, soft).mean()

    return loss
