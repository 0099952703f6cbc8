"""Where half precision makes training faster."""

from typing import Any

import torch


def has_bf16(device: str) -> bool:
    """Whether a kind of device computes in bfloat16 itself, at about twice the speed of float32.

    On processors that only emulate it (those without AVX-512 BF16 or AMX) it would be slower.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
    """
    if device == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        # PyTorch before 2.8 cannot tell, and then it is not risked.
        found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return False


def uses_bf16(precision: str, device: str) -> bool:
    """Whether to compute in half precision.

    Args:
        precision: the recipe's: ``auto``, ``fp32`` or ``bf16``.
        device: ``cpu``, ``cuda`` or ``mps``.
    """
    return precision == "bf16" or (precision == "auto" and has_bf16(device))
