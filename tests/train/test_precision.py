import pytest
import torch

from conflict_framing.train.precision import has_bf16


@pytest.mark.parametrize(
    ("found", "expected"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False), ({}, False)],
)
def test_a_processor_must_compute_it_itself(
    found: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert has_bf16("cpu") is expected


def test_an_older_pytorch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not has_bf16("cpu")


def test_other_devices() -> None:
    assert not has_bf16("mps")
    assert has_bf16("cuda") is (torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False))
