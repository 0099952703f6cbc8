"""The model card: what the model is, what it was trained on, how good it is, what it must not be used for."""

from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from ..data.split import Split
from ..model.classifier import CheckpointClassifier
from .evaluation import Evaluation
from .report import render


def write_card(classifier: CheckpointClassifier, evaluation: Evaluation | None, split: Split, path: Path) -> None:
    """Write the model card with everything that is known; hub metadata stand in its head."""
    facts = classifier.facts
    results = (
        [
            EvalResult(
                task_type="text-classification",
                dataset_type="text",
                dataset_name=f"held-out test split ({evaluation.n} sentences)",
                metric_type=metric,
                metric_value=round(value, 4),
            )
            for metric, value in evaluation.headline().items()
        ]
        if evaluation
        else []
    )
    data = ModelCardData(
        model_name="conflict-framing" if results else None,
        eval_results=results or None,
        pipeline_tag="text-classification",
        library_name="transformers",
        base_model=facts.backbone if "/" in facts.backbone else None,
        tags=["conflict-framing", "framing", "conflict-research"],
    )
    path.write_text(
        render(
            "model_card.md.j2",
            metadata=data.to_yaml(),
            facts=facts,
            codebook=classifier.codebook,
            evaluation=evaluation,
            counts={name: part.counts() for name, part in split.parts().items() if len(part)},
        ),
        "utf-8",
    )
