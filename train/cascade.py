"""Teach the first stage of a cascade, and find the threshold above which its answers stand (see ``model/cascade.py``).

It is taught by the probabilities that the graph gives to the training sentences and to unlabelled text. For the
threshold, whole documents are held out from teaching: those of the validation part and half of the unlabelled ones.
One sentence is drawn from each; the draws are independent and each document counts once, however long it is.

Let R(t) be the probability that the first stage answers above score t and thereby changes the label. R does not
rise with t, so no sequence of tests is needed: with the k + 1 surest changes of n draws at scores s_1 >= … >= s_k+1,
answering above s_k+1 has R <= most_changed with the stated confidence for the largest k with
P(Binomial(n, most_changed) <= k) <= 1 - confidence. That is Wilks' one-sided tolerance limit (1941, Annals of
Mathematical Statistics), and what Bates, Angelopoulos, Lei, Malik & Jordan (2021, "Distribution-free,
risk-controlling prediction sets", Journal of the ACM) come to for a loss of 0 or 1. No label of the calibration part is
looked at, so thresholds of abstention that are found on it hold for the cascade as for the graph.

A second, plain condition makes no promise: on the validation part as a whole at most the same share changes. Unlabelled
text may be easier than the corpus, and the draws of the corpus few.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.corpus import Corpus
from ..data.errors import MissingExtraError, UserError
from ..data.split import split_units
from ..model.abstain import binomial_tail, fewest_answered, one_per_unit
from ..model.backbone import file_sha256
from ..model.calibration import Calibration, read_calibration
from ..model.cascade import Cascade, CascadeFacts, FirstStage, Share, is_sure
from ..model.classifier import WINDOW, CheckpointClassifier
from ..model.folder import find_model, read_facts
from ..model.layout import ModelLayout
from ..model.onnx_runtime import OnnxRuntime, read_graph_facts
from ..model.runtime import Array, Runtime
from .calibration import LEAST_SENTENCES, fit_temperature
from .recipe import CascadeSettings

try:
    import torch
    from torch import nn
    from torch.nn.functional import relu

    from .export import ExportFailed, measure_speeds, parts_of, write_small_graph
    from .progress import bar
except ImportError as error:
    raise MissingExtraError(error.name or "torch", "train", "Teaching a first stage") from None

CONFIDENCE = 0.95
_TIMED = 400  # sentences; fewer would leave the graph with calls of one sentence each
_MOST_HELD_OUT = 1000  # documents: more of them move the threshold little
_SIZE, _MIDDLE, _WIDTH, _LAYERS = 128, 64, 3, 3
_PASSES, _BATCH, _RATE, _DROPOUT = 9, 64, 2e-3, 0.2
_MADE_UNKNOWN = 0.1  # of the tokens
_WARM_UP = 0.03  # of the steps


class NoCascade(ExportFailed):
    """No first stage keeps the promise; the message says why."""


@dataclass(frozen=True)
class Unlabelled:
    """Sentences without labels.

    Attributes:
        texts: the sentences.
        documents: the document of each; None where nobody knows which sentences belong together, and such a
            sentence is never held out for the threshold.
        attribution: whose they are, with licences.
    """

    texts: Sequence[str] = ()
    documents: Sequence[str | None] = ()
    attribution: str | None = None

    @property
    def units(self) -> list[int]:
        """Of each sentence the unit that stays whole: its document, or without one all sentences of its text."""
        places: dict[Any, int] = {}
        return [
            places.setdefault(("text", text) if document is None else document, len(places))
            for text, document in zip(self.texts, self.documents, strict=True)
        ]


def add_cascade(
    classifier: CheckpointClassifier,
    folder: Path,
    parts: Mapping[str, Corpus],
    unlabelled: Unlabelled,
    settings: CascadeSettings,
    *,
    of_graph: Calibration | None = None,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> CascadeFacts:
    """Add a first stage to a model folder that has a graph.

    Args:
        classifier: the checkpoint in PyTorch; the first stage starts from its table of embeddings.
        folder: the model folder.
        parts: ``train``, ``validation`` and ``calibration`` of the run, as far as they are there.
        unlabelled: more text to teach on, and documents to find the threshold on.
        settings: the promise, and how many sentences to teach on.
        of_graph: what the graph says of the calibration part.
        seed: of everything random.
        say: takes one line at a time for the user to read.

    Raises:
        NoCascade: too few documents for the promise, or no answer of the first stage keeps it.
    """
    layout = ModelLayout(folder)
    graph_facts = read_graph_facts(folder)
    graph = OnnxRuntime.load(folder, graph_facts)
    most = settings.most_changed
    if most is None:
        raise ValueError("settings without most_changed ask for no cascade")
    taught, draws = _divide(parts, unlabelled, settings, seed)
    validation = list(parts["validation"].texts) if "validation" in parts else []
    needed = fewest_answered(0, most, CONFIDENCE)
    if len(draws) < needed:
        raise NoCascade(
            f"a share of changed labels of at most {100 * most:g}% with {100 * CONFIDENCE:g}% confidence takes at "
            f"least {needed} documents that the first stage was not taught on, and there are {len(draws)}. Give more "
            f"unlabelled text with a column 'document' (half of its documents are held out), or allow a larger share"
        )
    say(f"Labelling {len(taught):,} sentences with the graph, to teach the first stage …")
    embeddings: Any = classifier.model.get_input_embeddings()
    table = embeddings.weight.detach().float().cpu()
    unknown = classifier.tokenizer.unk_token_id
    model = _fit(graph.encode(taught)[0], _labels(graph, taught, "Labels"), table, unknown, seed)

    ids = graph.encode(validation)[0]
    raw = _probabilities(model, ids, len(graph_facts.labels))
    enough = len(validation) >= LEAST_SENTENCES
    temperature = fit_temperature(raw, parts["validation"].label_ids) if enough else 1.0
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        small = write_small_graph(model, temperature, Path(scratch))
        first_stage = FirstStage(small)
        found = [_Compared.of(first_stage, graph, texts) for texts in (draws, validation)]
        allowed = _allowed(len(draws), most)
        threshold = max(
            _above(found[0], allowed),
            _above(found[1], int(most * len(validation))) if validation else 0.0,
        )
        if not is_sure(found[0].first, threshold).any():
            raise NoCascade(f"no answer of the first stage is sure enough to change at most {100 * most:g}% of labels")
        for path in layout.of_cascade:  # not before: what fails leaves an earlier first stage as it is
            path.unlink(missing_ok=True)
        small.chmod(layout.config.stat().st_mode)
        small.replace(layout.first_stage)
    measured = {"drawn documents": found[0].share(threshold)}
    measured |= {"validation": found[1].share(threshold)} if validation else {}
    if "calibration" in parts:
        measured["calibration"] = _Compared.of(first_stage, graph, parts["calibration"].texts).share(threshold)
    facts = CascadeFacts(
        sha256=file_sha256(layout.first_stage),
        graph_sha256=graph_facts.sha256,
        labels=graph_facts.labels,
        threshold=threshold,
        temperature=temperature,
        most_changed=most,
        confidence=CONFIDENCE,
        documents=len(draws),
        allowed=allowed,
        taught_on=len(taught),
        **_provenance(unlabelled),
        sentences_per_second={},
        measured=measured,
    )
    cascade = Cascade(graph, first_stage, facts)
    runtimes: dict[str, Runtime] = {"cascade": cascade, "graph": graph}
    facts.sentences_per_second.update(measure_speeds(runtimes, draws[-_TIMED:]))
    if of_graph is not None and "calibration" in parts:
        rows = cascade.score(parts["calibration"].texts).probabilities
        probabilities = [[round(float(p), 8) for p in row] for row in rows]
        of_graph.model_copy(update={"probabilities": probabilities}).write(layout.cascade_calibration)
    facts.write(layout.cascade)
    return facts


def cascade_folder(
    name: str | Path,
    unlabelled: Unlabelled,
    settings: CascadeSettings,
    *,
    run: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> CascadeFacts:
    """Add a first stage to the folder of an existing model with a graph; one that is there is replaced.

    Args:
        name: a run, or a model folder; of a run its parts are used too.
        unlabelled, settings, say: as in ``add_cascade``.
        run: whose parts to use where the folder was packed from it; None takes those of ``name``.

    Raises:
        UserError: no such model, a run of another corpus or split, or no first stage that keeps the promise.
    """
    source = find_model(name)
    classifier = CheckpointClassifier.from_pretrained(source, device="cpu", runtime="torch")
    whole = source if run is None else find_model(run)
    of_run = read_facts(whole)
    if of_run and of_run.corpus_fingerprint != classifier.facts.corpus_fingerprint:
        raise UserError(f"--parts {run}: its corpus is another than that of --model {name}. Name the run it came from.")
    parts = parts_of(whole, classifier, ("train", "validation", "calibration"))
    of_graph = read_calibration(source, classifier.classes_, graph=True)
    if of_graph is not None:
        part = parts.get("calibration")
        if part is None:
            raise UserError(
                f"--model {name}: its calibration part is not beside it, so the first stage could not be calibrated. "
                f"Name the run that it was packed from: --parts RUN"
            )
        if part.label_ids != of_graph.references or split_units(part) != of_graph.units:
            raise UserError(
                f"{whole.parent}: its calibration part is not the one that {name} was calibrated on (another seed?). "
                f"Name the run that it was packed from: --parts RUN"
            )
    try:
        facts = add_cascade(classifier, source, parts, unlabelled, settings, of_graph=of_graph, say=say)
    except NoCascade as none:
        raise UserError(f"--cascade: {none}.") from None
    layout = ModelLayout(source)
    if layout.facts.exists():
        classifier.facts.training["cascade"] = facts.model_dump()
        classifier.facts.write(layout.facts)
    return facts


def _provenance(unlabelled: Unlabelled) -> dict[str, Any]:
    texts = sorted(set(unlabelled.texts))
    if not texts:
        return {}
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    return {"unlabelled": len(texts), "unlabelled_sha256": digest, "attribution": unlabelled.attribution}


def describe_cascade(facts: CascadeFacts) -> list[str]:
    """Lines for the terminal."""
    speeds = facts.sentences_per_second
    lines = [
        f"First stage: {facts.promise}. {speeds['cascade']:.0f} sentences/s, the graph alone {speeds['graph']:.0f}"
    ]
    for name, share in facts.measured.items():
        lines.append(
            f"  {name}: {share.sentences:,} sentences, {share.answered:.1%} answered by the first stage, "
            f"{share.changed:.2%} of all with another label"
        )
    return lines


def _divide(
    parts: Mapping[str, Corpus], unlabelled: Unlabelled, settings: CascadeSettings, seed: int
) -> tuple[list[str], list[str]]:
    """The sentences to teach on, and one sentence of each document that is held out."""
    chance = np.random.default_rng(seed)
    draws = []
    if "validation" in parts:
        part = parts["validation"]
        draws += [part.texts[place] for place in one_per_unit(split_units(part))]
    units = np.array(unlabelled.units, int)
    known = np.array([document is not None for document in unlabelled.documents], bool)
    order = chance.permutation(np.unique(units[known]))
    held_out = order[: min(len(order) // 2, _MOST_HELD_OUT)]
    is_held_out = np.isin(units, held_out)
    places = np.flatnonzero(is_held_out)
    chosen: list[int] = places[one_per_unit(units[places].tolist())].tolist()
    draws += [unlabelled.texts[place] for place in chosen]
    rest = np.flatnonzero(~is_held_out)
    most = settings.max_sentences
    if most is not None and len(rest) > most:
        rest = np.sort(chance.choice(rest, most, replace=False))
    not_taught = {*(parts["validation"].texts if "validation" in parts else ()), *draws}
    own = parts["train"].texts if "train" in parts else []
    texts = dict.fromkeys([*own, *(unlabelled.texts[place] for place in rest.tolist())])
    return [text for text in texts if text not in not_taught], draws


def _labels(graph: OnnxRuntime, texts: Sequence[str], title: str) -> Array:
    parts = []
    with bar(title, len(texts), "sentences") as advance:
        for first in range(0, len(texts), WINDOW):
            parts.append(graph.score(texts[first : first + WINDOW]).probabilities)
            advance(len(parts[-1]))
    return np.concatenate(parts)


@dataclass(frozen=True)
class _Compared:
    """What the first stage and the graph say of the same sentences.

    Attributes:
        first: probabilities of the first stage, shape (n, n labels).
        changed: whether its label is not the graph's, shape (n,).
    """

    first: Array
    changed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, first_stage: FirstStage, graph: OnnxRuntime, texts: Sequence[str]) -> _Compared:
        if not texts:
            return cls(np.empty((0, 1), np.float32), np.empty(0, bool))
        first = first_stage.score(graph.encode(texts)[0])
        return cls(first, first.argmax(axis=1) != graph.score(texts).probabilities.argmax(axis=1))

    def share(self, threshold: float) -> Share:
        sure = is_sure(self.first, threshold)
        return Share(sentences=len(sure), answered=float(sure.mean()), changed=float((sure & self.changed).mean()))


def _allowed(draws: int, most_changed: float) -> int:
    """The largest number of changed labels among the draws that keeps the promise; 0 does, there are enough draws."""
    allowed = 0
    while binomial_tail(allowed + 1, draws, most_changed) <= 1 - CONFIDENCE:
        allowed += 1
    return allowed


def _above(found: _Compared, allowed: int) -> float:
    """The lowest score above which at most so many answers change a label; ties are left to the graph together."""
    scores = np.sort(found.first.max(axis=1)[found.changed])[::-1]
    return float(scores[allowed]) if len(scores) > allowed else 0.0


# --- teaching ------------------------------------------------------------------------------------


class _Network(nn.Module):
    """Embeddings, convolutions over neighbouring tokens, the largest and the mean value of each, and two layers.

    Takes token ids of one length, shape (batch, length): nothing is padded. As in Kim (2014), "Convolutional neural
    networks for sentence classification", EMNLP, but several convolutions deep. The table of embeddings starts as the
    principal components of the large model's.
    """

    def __init__(self, table: torch.Tensor, n_labels: int) -> None:
        super().__init__()
        centred = table - table.mean(dim=0)
        size = min(_SIZE, table.shape[1])
        _, axes = torch.linalg.eigh(centred.T @ centred)  # in order of growing variance
        reduced = centred @ axes[:, -size:]
        self.embeddings = nn.Embedding(len(table), size, sparse=True)
        self.embeddings.weight.data.copy_(0.3 * reduced / reduced.std())
        self.convolutions = nn.ModuleList(
            nn.Conv1d(_SIZE if place else size, _SIZE, _WIDTH, padding=_WIDTH // 2) for place in range(_LAYERS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(_SIZE) for _ in range(_LAYERS))
        self.middle = nn.Linear(2 * _LAYERS * _SIZE, _MIDDLE)
        self.head = nn.Linear(_MIDDLE, n_labels)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        rows = self.embeddings(ids)
        pooled = []
        for place, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            values = relu(convolution(self.dropout(rows).transpose(1, 2)).transpose(1, 2))
            rows = norm(values + rows if place else values)
            pooled += [rows.amax(dim=1), rows.mean(dim=1)]
        found = self.dropout(torch.cat(pooled, dim=1))
        logits: torch.Tensor = self.head(self.dropout(relu(self.middle(found))))
        return logits


def _fit(ids: Sequence[Sequence[int]], labels: Array, table: torch.Tensor, unknown: int | None, seed: int) -> _Network:
    """Teach by cross entropy with soft labels (Hinton, Vinyals & Dean 2015), in batches of one length.

    A tenth of the tokens is made unknown, anew in every pass, so that no label hangs on a single one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _Network(table, labels.shape[1])
        targets = torch.from_numpy(np.ascontiguousarray(labels, np.float32))
        dense = [values for name, values in model.named_parameters() if not name.startswith("embeddings.")]
        optimisers = [
            torch.optim.SparseAdam(list(model.embeddings.parameters()), lr=_RATE),
            torch.optim.Adam(dense, lr=_RATE),
        ]
        chance = np.random.default_rng(seed)
        total, seen = _PASSES * len(ids), 0
        with bar("First stage", total, "sentences") as advance:
            for _ in range(_PASSES):
                for places in _batches(ids, chance):
                    rate = _RATE * min(1.0, seen / (_WARM_UP * total) + 0.05) * (1 - seen / total)
                    for optimiser in optimisers:
                        optimiser.param_groups[0]["lr"] = rate
                        optimiser.zero_grad()
                    batch = torch.tensor([ids[place] for place in places])
                    if unknown is not None:
                        batch[torch.rand(batch.shape) < _MADE_UNKNOWN] = unknown
                    logits = model(batch)
                    loss = -(targets[places] * torch.log_softmax(logits, dim=1)).sum(dim=1).mean()
                    loss.backward()  # type: ignore[no-untyped-call]
                    for optimiser in optimisers:
                        optimiser.step()
                    seen += len(places)
                    advance(len(places))
    return model.eval()


def _batches(ids: Sequence[Sequence[int]], chance: np.random.Generator) -> list[list[int]]:
    """Places of sentences of one length each, drawn anew for every pass."""
    lengths = np.array([len(row) for row in ids])
    found: list[list[int]] = []
    for length in np.unique(lengths):
        places = chance.permutation(np.flatnonzero(lengths == length)).tolist()
        found += [places[first : first + _BATCH] for first in range(0, len(places), _BATCH)]
    return [found[place] for place in chance.permutation(len(found))]


def _probabilities(model: _Network, ids: Sequence[Sequence[int]], n_labels: int) -> Array:
    with torch.inference_mode():
        rows = [torch.softmax(model(torch.tensor([row])), dim=1).numpy() for row in ids]
    return np.concatenate([np.empty((0, n_labels), np.float32), *rows])
