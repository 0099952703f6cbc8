"""Make the graph for ONNX Runtime: exported, quantised, measured against PyTorch, and the faster faithful one kept.

The graph takes token ids without padding and the positions at which the last layer is wanted: the head reads the
first token alone, and the mean over all tokens is for telling drift. That is so for layers that are known here; any
other model goes through its own forward pass.

In 8 bits by dynamic quantisation, weights have a scale per output channel, and activations one per call, found anew
each time, which is why sentences must not share a call. Such weights use 7 of the 8 bits: processors without VNNI add
two products in 16 bits, which would overflow, and the graph has to give the same results there.
"""

from __future__ import annotations

import copy
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.corpus import Corpus, load_corpus
from ..data.errors import MissingExtraError, UserError
from ..model.backbone import file_sha256
from ..model.calibration import Calibration
from ..model.classifier import CheckpointClassifier
from ..model.folder import find_model
from ..model.layout import ModelLayout, RunLayout
from ..model.onnx_runtime import EMBEDDINGS, IDS, POSITIONS, PROBABILITIES, Candidate, GraphFacts, OnnxRuntime
from ..model.runtime import Array, Runtime
from .calibration import LEAST_SENTENCES, fit_temperature, with_temperature

try:
    import onnx
    import onnxruntime
    import torch
    from onnx import TensorProto, helper, numpy_helper
    from onnx.external_data_helper import set_external_data
    from torch import nn
    from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

    from .frozen import layers_of
    from .mean_layer import MODEL_TYPES, names_of
except ImportError as error:
    raise MissingExtraError(error.name or "onnx", "train", "Exporting a graph") from None

LEAST_AGREEMENT = 0.995
MOST_DIFFERENCE = 0.01
_MOST_SENTENCES = 2000  # that the candidates are measured on
_TIMED = 96  # sentences
_REPEATS = 3
_OPSET = 20  # the first with Gelu
_KEPT_APART = ["LayerNormFusion", "LayerNormFusionL2", "SkipLayerNormFusion"]  # see ``_norm``
_LOGITS, _TEMPERATURE = "logits", "temperature"
_BLOCK = 64  # values of a token that share a scale: more of them are faster and less exact
_ALONE = "int8"  # the candidate whose scales are those of a whole call
_LARGE = 2**20  # weights of a table of embeddings
_WORTH_A_CAST = 2**12  # weights


class ExportFailed(Exception):  # noqa: N818 - no mistake of the user, and a run goes on without a graph
    """No graph could be made; the message says why."""


@dataclass(frozen=True)
class Measured:
    """What candidates are measured on.

    Attributes:
        texts: sentences that the model was not trained on.
        expected: PyTorch's probabilities of them, shape (n, n labels).
    """

    texts: Sequence[str]
    expected: Array


def export_graph(
    classifier: CheckpointClassifier, folder: Path, measured: Measured, calibration: tuple[Corpus, Calibration] | None
) -> GraphFacts:
    """Add a graph to a model folder: the fastest candidate that is faithful.

    Faithful means at least 99.5 % equal labels and a mean absolute difference of probabilities of at most 0.01.
    The temperature is fitted anew for the graph and put into it, and what thresholds are found from is written
    for it.

    Args:
        classifier: in PyTorch, as it stands in ``folder``.
        folder: the model folder.
        measured: what to choose by.
        calibration: the calibration part and what the checkpoint says of it; None leaves the probabilities as
            they are.

    Raises:
        ExportFailed: the model cannot be exported, or no candidate is faithful.
    """
    layout = ModelLayout(folder)
    if not layout.tokenizer.exists():
        raise ExportFailed(f"there is no {layout.tokenizer.name}, which is read without transformers")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            graphs = make_candidates(classifier, Path(scratch))
        except Exception as error:  # of many kinds, from two libraries
            raise ExportFailed(_reason(error)) from error
        facts = {"max_length": classifier.facts.max_length, "hidden_size": int(classifier.model.config.hidden_size)}
        runtimes = {
            name: OnnxRuntime(path, layout.tokenizer, alone=name == _ALONE, **facts) for name, path in graphs.items()
        }
        speeds = measure_speeds(dict[str, Runtime](runtimes) | {"torch": classifier.runtime}, measured.texts[:_TIMED])
        found = [
            compare(name, runtime.score(measured.texts).probabilities, measured.expected, speeds[name], graphs[name])
            for name, runtime in runtimes.items()
        ]
        faithful = [candidate for candidate in found if candidate.faithful]
        if not faithful:
            raise ExportFailed(f"no graph agrees with PyTorch ({'; '.join(map(describe, found))})")
        best = max(faithful, key=lambda candidate: candidate.sentences_per_second)
        temperature, kept = _calibrated(runtimes[best.name], calibration)
        graph = onnx.load(graphs[best.name])
        _set_temperature(graph, temperature or 1.0)
        shares = share_tables(graph, layout.weights)
        partial = Path(scratch) / layout.graph.name
        onnx.save(graph, partial)
        partial.chmod(layout.config.stat().st_mode)
        partial.replace(layout.graph)
    written = GraphFacts(
        precision=best.name,
        sha256=file_sha256(layout.graph),
        weights_sha256=file_sha256(layout.weights) if shares else None,
        labels=classifier.classes_,
        alone=best.name == _ALONE,
        temperature=temperature,
        sentences=len(measured.texts),
        torch_sentences_per_second=speeds["torch"],
        candidates=found,
        onnxruntime=onnxruntime.__version__,
        **facts,
    )
    for stale in (layout.graph_calibration, *layout.of_cascade):  # a first stage was taught by another graph
        stale.unlink(missing_ok=True)
    if kept:
        kept.write(layout.graph_calibration)
    written.write(layout.graph_facts)
    return written


def _reason(error: BaseException) -> str:
    """The first line of what went wrong at first: the exporter wraps it in a page of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def measure_on(
    classifier: CheckpointClassifier, texts: Sequence[str], known: Mapping[str, Sequence[float]], seed: int = 0
) -> Measured:
    """At most 2,000 of the sentences, drawn by the seed, and PyTorch's probabilities of them.

    Args:
        classifier: in PyTorch.
        texts: sentences that it was not trained on.
        known: its probabilities of some of them, which need not be computed again.
        seed: of the draw.
    """
    if len(texts) > _MOST_SENTENCES:
        places = np.random.default_rng(seed).choice(len(texts), _MOST_SENTENCES, replace=False)
        texts = [texts[place] for place in places]
    new = [text for text in texts if text not in known]
    fresh = dict(zip(new, classifier.predict_proba(new), strict=True))
    return Measured(texts, np.asarray([known[t] if t in known else fresh[t] for t in texts], np.float32))


def describe(candidate: Candidate) -> str:
    return (
        f"{candidate.name}: {candidate.agreement:.1%} equal labels, mean difference {candidate.mean_difference:.4f}, "
        f"{candidate.sentences_per_second:.0f} sentences/s, {candidate.bytes / 1e6:.0f} MB"
    )


def export_folder(
    name: str | Path, *, texts: Sequence[str] = (), overwrite: bool = False, say: Callable[[str], None] = print
) -> GraphFacts:
    """Add a graph to the folder of an existing model.

    Args:
        name: a run, or a folder with a checkpoint.
        texts: sentences to measure on, where the folder is of no run with its parts; none takes those of the
            bundled corpus.
        overwrite: replace a graph that is there.
        say: takes one line at a time for the user to read.

    Raises:
        UserError: no such model, a graph is there already, or none can be made.
    """
    source = find_model(name)
    layout = ModelLayout(source)
    if layout.graph.exists() and not overwrite:
        raise UserError(f"{layout.graph} exists. Make it anew with --overwrite.")
    if layout.notice.exists():
        raise UserError(
            f"{source} was packed from a run: its README and NOTICE tell of the graph that is there. Pack it anew "
            f"instead: conflict-framing export --model RUN --output {source} --overwrite"
        )
    classifier = CheckpointClassifier.from_pretrained(source, device="cpu", runtime="torch")
    if not layout.tokenizer.exists():
        classifier.tokenizer.save_pretrained(str(source))
    parts = parts_of(source, classifier, ("validation", "calibration"))
    of_checkpoint = classifier.calibration if "calibration" in parts else None
    calibration = (parts["calibration"], of_checkpoint) if of_checkpoint else None
    texts = texts or [text for part in parts.values() for text in part.texts] or load_corpus().texts
    known = dict(zip(parts["calibration"].texts, of_checkpoint.probabilities, strict=True)) if of_checkpoint else {}
    say(f"Exporting {source} …")
    try:
        facts = export_graph(classifier, source, measure_on(classifier, texts, known), calibration)
    except ExportFailed as failed:
        raise UserError(f"--model {name}: {failed}.") from None
    if layout.facts.exists():
        classifier.facts.training.pop("cascade", None)
        classifier.facts.training["graph"] = headline(facts)
        classifier.facts.write(layout.facts)
    return facts


def parts_of(source: Path, classifier: CheckpointClassifier, names: Sequence[str]) -> dict[str, Corpus]:
    """Parts of the run that the model folder is of, as far as they are there."""
    run = RunLayout(source.parent)
    found = {name: run.split(name) for name in names}
    if run.model != source:
        return {}
    return {name: load_corpus(path, codebook=classifier.codebook) for name, path in found.items() if path.exists()}


def headline(facts: GraphFacts) -> dict[str, Any]:
    """What the model facts tell of a graph."""
    return {"temperature": facts.temperature, "sentences": facts.sentences, **facts.chosen.model_dump()}


# --- measuring -----------------------------------------------------------------------------------


def measure_speeds(runtimes: dict[str, Runtime], texts: Sequence[str]) -> dict[str, float]:
    """Sentences a second, medians of turns that alternate, so that a busy machine is slow for all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    for turn in range(1 + _REPEATS):
        for name, runtime in runtimes.items():
            started = time.perf_counter()
            runtime.score(texts)
            if turn:  # the first warms up
                seconds[name].append(time.perf_counter() - started)
    return {name: round(len(texts) / float(np.median(values)), 1) for name, values in seconds.items()}


def compare(name: str, found: Array, expected: Array, speed: float, graph: Path) -> Candidate:
    differences = np.abs(found - expected)
    agreement = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
    mean = float(differences.mean())
    return Candidate(
        name=name,
        agreement=agreement,
        mean_difference=mean,
        largest_difference=float(differences.max()),
        sentences_per_second=speed,
        bytes=graph.stat().st_size,
        faithful=agreement >= LEAST_AGREEMENT and mean <= MOST_DIFFERENCE,
    )


def _calibrated(
    runtime: OnnxRuntime, calibration: tuple[Corpus, Calibration] | None
) -> tuple[float | None, Calibration | None]:
    """The graph's own temperature, and its calibration with it; both None without a part to fit it on."""
    if calibration is None or len(calibration[0]) < LEAST_SENTENCES:
        return None, None
    part, of_checkpoint = calibration
    raw = runtime.score(part.texts).probabilities
    temperature = fit_temperature(raw, part.label_ids)
    kept = of_checkpoint.model_copy(
        update={
            "temperature": of_checkpoint.temperature * temperature,
            "probabilities": [[round(float(p), 8) for p in row] for row in with_temperature(raw, temperature)],
        }
    )
    return temperature, kept


# --- exporting -----------------------------------------------------------------------------------


def make_candidates(classifier: CheckpointClassifier, folder: Path) -> dict[str, Path]:
    """The graphs by name, each optimised and with probabilities and embeddings as outputs.

    ``fp32``; ``int8``, dynamic quantisation with one scale for all activations of a layer; ``int8-blocks``, with one
    for every 64 values of each token: slower than the former and more exact.
    """
    raw = folder / "raw.onnx"
    export_model(classifier.model, raw)
    sources = {"fp32": raw, "int8": _quantised(raw, folder), "int8-blocks": _quantised_by_blocks(raw, folder)}
    found = {}
    for name, path in sources.items():
        graph = _optimised(path, folder)
        shrink_tables(graph, exactly=name == "fp32")
        halve_exactly(graph)
        _end_with_probabilities(graph)
        found[name] = folder / f"{name}.onnx"
        onnx.save(graph, found[name])
    return found


def _quantised(path: Path, folder: Path) -> Path:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    out = folder / "quantised.onnx"
    with _quiet():
        quantize_dynamic(
            path,
            out,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
            extra_options={"MatMulConstBOnly": True},
        )
    return out


def _quantised_by_blocks(path: Path, folder: Path) -> Path:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    out = folder / "blocks.onnx"
    settings = {"block_size": _BLOCK, "is_symmetric": True, "accuracy_level": 4}  # 4: products in 8 bits too
    with _quiet():
        quantiser = MatMulNBitsQuantizer(
            onnx.load(path), algo_config=DefaultWeightOnlyQuantConfig(bits=8, **settings), **settings
        )
        quantiser.process()
    quantiser.model.save_model_to_file(str(out), False)
    return out


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what exporter and quantisers tell of every step."""
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)


def export_model(model: Any, path: Path) -> None:
    """Write the model as a graph from token ids to logits and embeddings."""
    model = copy.deepcopy(model).cpu().float().eval()
    wrapped, chooses = _wrap(model)
    batch = torch.export.Dim("batch", min=1, max=2**16)
    length = torch.export.Dim("length", min=2, max=2**16)
    ids = torch.arange(14).reshape(2, 7) % model.config.vocab_size
    arguments: tuple[Any, ...] = (ids,)
    shapes: tuple[Any, ...] = ({0: batch, 1: length},)
    if chooses:
        arguments += (torch.arange(3),)
        shapes += ({0: torch.export.Dim("wanted", min=1, max=2**16)},)
    with _quiet():
        program = torch.onnx.export(
            wrapped.eval(),
            arguments,
            dynamo=True,
            input_names=[IDS, POSITIONS][: len(arguments)],
            output_names=[_LOGITS, EMBEDDINGS],
            dynamic_shapes=shapes,
            opset_version=_OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("no program came of it")
    program.save(str(path))


def _wrap(model: Any) -> tuple[nn.Module, bool]:
    """The model as a function of token ids, and whether it takes positions too."""
    layers = layers_of(model)
    known = layers is not None and all(names_of(layer) for layer in layers.modules)
    encoder = _encoder_of(model, layers) if known and model.config.model_type in MODEL_TYPES else None
    return (_Plain(model), False) if encoder is None else (_Choosing(model, encoder), True)


def _encoder_of(model: Any, layers: Any) -> str | None:
    """The name of the part of the base model that holds the layers."""
    for name, part in model.base_model.named_children():
        if any(child is layers.modules for child in part.children()):
            return str(name)
    return None


class _Plain(nn.Module):
    """Any model, through its own forward pass."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        model.set_attn_implementation("eager")
        self.model = model

    def forward(self, input_ids: Any) -> tuple[Any, Any]:
        outputs = self.model(input_ids=input_ids, output_hidden_states=True)
        return outputs.logits, outputs.hidden_states[-1].mean(dim=1)


class _Choosing(nn.Module):
    """A known model whose layers are written anew; embeddings and head stay its own."""

    def __init__(self, model: Any, encoder: str) -> None:
        super().__init__()
        self._state = SimpleNamespace(positions=None, hidden=None)  # what passes by the model's own forward pass
        setattr(model.base_model, encoder, _Layers(model, getattr(model.base_model, encoder), self._state))
        self.model = model

    def forward(self, input_ids: Any, positions: Any) -> tuple[Any, Any]:
        self._state.positions = positions
        logits = self.model(input_ids=input_ids).logits
        return logits, self._state.hidden.mean(dim=1)


class _Layers(nn.Module):
    """Layers as ``mean_layer`` names their parts, the last one at the wanted positions alone."""

    def __init__(self, model: Any, encoder: Any, state: SimpleNamespace) -> None:
        super().__init__()
        from transformers.activations import ACT2FN

        config = model.config
        self.encoder = encoder
        self._layers = [_parts(layer) for layer in layers_of(model).modules]  # type: ignore[union-attr]
        self._act = ACT2FN[getattr(config, "hidden_act", None) or config.activation]
        self._heads = int(config.num_attention_heads)
        self._state = state

    def forward(self, hidden_states: Any, *_: Any, **__: Any) -> Any:
        hidden, bias = hidden_states, None
        if hasattr(self.encoder, "compute_position_bias"):  # MPNet
            bias = self.encoder.compute_position_bias(hidden[:1])
        for layer in self._layers:
            asking = hidden
            if layer is self._layers[-1]:
                asking = hidden.index_select(1, self._state.positions)
                bias = None if bias is None else bias.index_select(2, self._state.positions)
            attended = _attention(layer.query(asking), layer.key(hidden), layer.value(hidden), bias, self._heads)
            middle = _norm(layer.norm, layer.out(attended) + asking)
            hidden = _norm(layer.last_norm, layer.down(self._act(layer.up(middle))) + middle)
        self._state.hidden = hidden
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden)


def _parts(layer: Any) -> SimpleNamespace:
    parts = dict(layer.named_modules())
    return SimpleNamespace(**{role: parts[name] for role, name in vars(names_of(layer)).items()})


def _attention(query: Any, key: Any, value: Any, bias: Any, heads: int) -> Any:
    def split(rows: Any) -> Any:
        return rows.unflatten(-1, (heads, -1)).transpose(1, 2)

    scores = split(query) @ split(key).transpose(-1, -2) * (query.shape[-1] // heads) ** -0.5
    weights = torch.softmax(scores if bias is None else scores + bias, dim=-1)
    return (weights @ split(value)).transpose(1, 2).flatten(2)


def _norm(norm: nn.LayerNorm, rows: Any) -> Any:
    """A layer norm in single steps, which ONNX Runtime vectorises; its own operator does not."""
    centred = rows - rows.mean(dim=-1, keepdim=True)
    scale = torch.rsqrt((centred * centred).mean(dim=-1, keepdim=True) + norm.eps)
    return centred * scale * norm.weight + norm.bias


def write_small_graph(model: nn.Module, temperature: float, folder: Path) -> Path:
    """A module from token ids to logits, shape (1, length) to (1, n labels), as a graph that ends in probabilities."""
    raw, path = folder / "small.raw.onnx", folder / "small.onnx"
    with _quiet():
        program = torch.onnx.export(
            model.eval(),
            (torch.arange(7).reshape(1, 7),),
            dynamo=True,
            input_names=[IDS],
            output_names=[_LOGITS],
            dynamic_shapes=({1: torch.export.Dim("length", min=1, max=2**16)},),
            opset_version=_OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("no program came of it")
    program.save(str(raw))
    graph = _optimised(raw, folder)
    _quantise_tables(graph)
    _end_with_probabilities(graph)
    _set_temperature(graph, temperature)
    onnx.save(graph, path)
    return path


def _quantise_tables(graph: Any) -> None:
    """Keep large tables of embeddings in 8 bits, with a step for each dimension: a quarter of the size."""

    def reread(table: Any, node: Any) -> list[Any]:
        weights = numpy_helper.to_array(table)
        steps = np.maximum(np.abs(weights).max(axis=0), np.float32(1e-8)) / 127
        table.CopyFrom(numpy_helper.from_array(np.round(weights / steps).astype(np.int8), table.name))
        graph.graph.initializer.append(numpy_helper.from_array(steps.astype(np.float32), f"{table.name}_steps"))
        output = node.output[0]
        node.output[0] = f"{output}_int8"
        return [
            helper.make_node("Cast", [f"{output}_int8"], [f"{output}_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{output}_float", f"{table.name}_steps"], [output]),
        ]

    _change_tables(graph, reread)


def _change_tables(graph: Any, reread: Callable[[Any, Any], list[Any]]) -> None:
    """Call with each large table of embeddings and the node that reads it, and put what comes back behind the node."""
    tables = {table.name: table for table in graph.graph.initializer}
    nodes = []
    for node in graph.graph.node:
        nodes.append(node)
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        if table is not None and table.data_type == TensorProto.FLOAT and np.prod(table.dims) >= _LARGE:
            nodes += reread(table, node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _optimised(path: Path, folder: Path) -> Any:
    """The graph after ONNX Runtime's own fusions, so that loading it need not do them again."""
    out = folder / "optimised.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_KEPT_APART
    )
    return onnx.load(out)


def shrink_tables(graph: Any, *, exactly: bool = False) -> None:
    """Keep large tables of embeddings in half precision: half the size, and next to nothing is lost.

    Args:
        graph: to be changed.
        exactly: leave those of which something would be lost.
    """

    def reread(table: Any, node: Any) -> list[Any]:
        weights = numpy_helper.to_array(table)
        half = _halved(weights)
        if not np.isfinite(half).all() or (exactly and not np.array_equal(half.astype(np.float32), weights)):
            return []
        table.CopyFrom(numpy_helper.from_array(half, table.name))
        output = node.output[0]
        node.output[0] = f"{output}_half"
        return [helper.make_node("Cast", [f"{output}_half"], [output], to=TensorProto.FLOAT)]

    _change_tables(graph, reread)


def _halved(values: Array) -> npt.NDArray[np.float16]:
    with np.errstate(over="ignore"):  # what does not fit becomes infinite
        return values.astype(np.float16)


def halve_exactly(graph: Any) -> None:
    """Store in half precision what that holds to the last bit, as it does the weights of a packed checkpoint.

    ONNX Runtime takes them back to single precision once, when it loads the graph.
    """
    casts = []
    for weights in graph.graph.initializer:
        if weights.data_type != TensorProto.FLOAT or np.prod(weights.dims) < _WORTH_A_CAST:
            continue
        values = numpy_helper.to_array(weights)
        half = _halved(values)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = f"{weights.name}_half"
        weights.CopyFrom(numpy_helper.from_array(half, name))
        casts.append(helper.make_node("Cast", [name], [name.removesuffix("_half")], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def share_tables(graph: Any, weights: Path) -> bool:
    """Let the graph read its tables in half precision from the checkpoint, where that holds the very same ones.

    They then are an ONNX tensor's external data: place and length in ``model.safetensors``, whose format puts
    plain values behind a header of known length.

    Returns:
        Whether there is such a table.
    """
    if not weights.exists():  # in parts
        return False
    with weights.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        begin = 8 + length
        places = [entry["data_offsets"] for entry in header.values() if entry.get("dtype") == "F16"]
        shares = False
        for table in graph.graph.initializer:
            if table.data_type != TensorProto.FLOAT16 or np.prod(table.dims) < _LARGE:
                continue
            values = numpy_helper.to_array(table).tobytes()
            for first, last in places:
                if last - first != len(values) or stream.seek(begin + first) < 0 or stream.read(len(values)) != values:
                    continue
                table.raw_data = values
                set_external_data(table, weights.name, offset=begin + first, length=len(values))
                table.ClearField("raw_data")
                shares = True
                break
    return shares


def _end_with_probabilities(graph: Any) -> None:
    """Put softmax(logits / temperature) in place of the logits."""
    graph.graph.initializer.append(numpy_helper.from_array(np.array(1.0, np.float32), _TEMPERATURE))
    graph.graph.node.extend(
        [
            helper.make_node("Div", [_LOGITS, _TEMPERATURE], ["calibrated"]),
            helper.make_node("Softmax", ["calibrated"], [PROBABILITIES], axis=-1),
        ]
    )
    logits = next(output for output in graph.graph.output if output.name == _LOGITS)
    shape = [dim.dim_param or dim.dim_value for dim in logits.type.tensor_type.shape.dim]
    graph.graph.output.remove(logits)
    graph.graph.output.append(helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, shape))


def _set_temperature(graph: Any, temperature: float) -> None:
    stored = next(value for value in graph.graph.initializer if value.name == _TEMPERATURE)
    stored.CopyFrom(numpy_helper.from_array(np.array(temperature, np.float32), _TEMPERATURE))
