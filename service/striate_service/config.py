"""One typed tree of settings, from flags, environment (STRIATE_*) and a TOML file, in that order of precedence."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

MEBIBYTE = 2**20

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
RecipeName = Literal["fourier", "soft", "maco"]
"""Those of techniques/recipe.py."""

_file: ContextVar[Path | None] = ContextVar("configuration file", default=None)
"""Where `load` tells pydantic-settings, which asks the class and not the caller, which file to read."""


class PreprocessingSettings(BaseModel):
    """How pixels become a model's input, where its weights do not tell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resize: Annotated[int, Field(gt=0)]
    crop: Annotated[int, Field(gt=0)]
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @model_validator(mode="after")
    def _check_sizes(self) -> PreprocessingSettings:
        if self.resize < self.crop:
            raise ValueError(f"resize ({self.resize}) must be at least crop ({self.crop})")
        return self


class ModelSettings(BaseModel):
    """A model to serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    architecture: str
    """torchvision's name of a classifier, "package.module:factory", or "parts", the embedded model."""
    weights: str
    """A .pth or .safetensors file; "torchvision": its own download; "embedded": what this package ships."""
    classes: Path | None = None
    """A text file of class names, one a line, in the order of the logits."""
    preprocessing: PreprocessingSettings | None = None
    recipe: Annotated[RecipeName | None, Field(validate_default=True)] = None
    """How its icons are made where a request does not say. None: "soft" for what this package ships, with its icons,
    else as the server's `recipe` says."""
    devices: tuple[str, ...] | None = None
    """Those of the server's devices that hold it, such as ["cuda:0"]. None: all."""
    compiled_layers: tuple[str, ...] = ()
    """Layers that steady traffic asks for: forwards for these run compiled (torch.compile, with CUDA graphs). That
    takes some minutes when the model is loaded, and a C++ compiler. What cannot be compiled, or would then differ from
    the network, runs as it is. Not where ONNX Runtime does, which is faster on CPUs (see `cpu_engine`)."""

    @field_validator("recipe")
    @classmethod
    def _as_shipped(cls, recipe: RecipeName | None, info: ValidationInfo) -> RecipeName | None:
        return recipe or ("soft" if info.data.get("weights") == "embedded" else None)

    @classmethod
    def parse(cls, text: str) -> ModelSettings:
        """Read `NAME=ARCHITECTURE:WEIGHTS`, or `parts` for the embedded model.

        Raises:
            ValueError: where the text is neither.
        """
        if text == "parts":
            return EMBEDDED
        name, equals, rest = text.partition("=")
        architecture, colon, weights = rest.rpartition(":")
        if not (name and equals and architecture and colon and weights):
            raise ValueError(
                f"{text!r} does not name a model: write NAME=ARCHITECTURE:WEIGHTS, such as "
                "googlenet=googlenet:torchvision or pets=resnet18:pets.pth"
            )
        return cls(name=name, architecture=architecture, weights=weights)


EMBEDDED = ModelSettings(name="parts", architecture="parts", weights="embedded")


class Settings(BaseSettings):
    """All that an operator can set. Durations are in seconds, sizes in bytes where the name says so."""

    model_config = SettingsConfigDict(env_prefix="STRIATE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """Where to listen. 0.0.0.0 for all interfaces: there is no authentication, so choose who can reach it."""
    port: Annotated[int, Field(ge=0, le=65535)] = 50051
    """0: a free one."""
    metrics_port: Annotated[int, Field(ge=-1, le=65535)] = 9464
    """HTTP, for /metrics. 0: a free one. -1: none."""
    home: Path = Path(platformdirs.user_cache_dir("striate"))
    """Icons, labels and bases live here."""
    icons: str = ""
    """Where icons are stored: a folder, or a URL that fsspec knows (s3://bucket/icons with the extra [s3]). Servers
    that share it render nothing twice. Empty: `icons` in `home`."""
    icons_max_bytes: Annotated[int, Field(ge=0)] = 2048 * MEBIBYTE
    """When more is stored, icons that were not used for longest are deleted. 0: no limit."""
    icon_lease: Annotated[float, Field(ge=1)] = 15
    """How long a server that was killed keeps others from rendering what it had begun. Clocks of servers that share a
    store should differ by less."""
    database: str = ""
    """The SQLAlchemy URL of the label database: postgresql://USER:PASSWORD@HOST/DATABASE (pip install
    'striate[postgres]'). Empty: SQLite in `home`."""

    models: tuple[ModelSettings, ...] = (EMBEDDED,)
    """The first is the default of requests that name none."""
    devices: Literal["auto"] | tuple[str, ...] = "auto"
    """One worker process each: ["cuda:0", "cuda:1"], ["cpu", "cpu"]. auto: all GPUs, else the CPU's cores."""
    cpu_engine: Literal["onnx", "torch"] = "onnx"
    """What computes activations on CPUs. onnx: ONNX Runtime, on graphs exported at a model's first start and kept in
    `home`; a network that cannot be exported runs in torch, and the log says so."""
    compile_ahead: bool = True
    """Whether CPU workers compile factorization before they are ready: at the first start of an installation, which
    takes up to a minute, and from then on loaded within a second or two. Kept in the package's folder where that can
    be written, else in `home`. False: the first `Factorize` takes that much longer."""
    precision: Precision = "float32"
    """Of networks' forwards. float32 is exact on GPUs too; tf32 lets them round the factors of products, which is
    faster and differs by about 0.1 % of a layer. bfloat16 and float16 (autocast) are faster still on GPUs that have
    them, run in torch and differ by about 1 %. Answers are given in float32 all the same."""

    copy_ahead: bool = False
    """Whether GPU workers copy the next batch's images to the device while the present one computes."""

    max_batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Images that one forward takes. auto: measured when a model first starts on a device, which takes a second or two,
    and kept in `home`."""
    allow_model_changes: bool = False
    """Whether callers may load and unload models (ModelService.LoadModel, UnloadModel). Whoever may load a model may
    run code of this machine's packages by naming it as an architecture."""
    max_images_per_request: Annotated[int, Field(ge=1, le=1024)] = 64
    max_pixels_per_image: Annotated[int, Field(ge=1)] = 100_000_000
    """Width times height of an encoded image: a small file can unpack to a very large picture."""
    max_message_bytes: Annotated[int, Field(ge=MEBIBYTE, le=2**31 - 1)] = 64 * MEBIBYTE
    """Of a request and of a reply."""
    image_folders: tuple[Path, ...] = ()
    """Folders whose images callers may name instead of sending them (`BuildBasis`). None by default."""
    max_basis_bytes: Annotated[int, Field(ge=MEBIBYTE)] = 16 * 1024 * MEBIBYTE
    """Of activations that are on disk, in `home`, while a basis is built: 200 KB an image in GoogLeNet's mixed4d."""
    max_task_bytes: Annotated[int, Field(ge=MEBIBYTE)] = 2048 * MEBIBYTE
    """Of a worker's memory, for the arrays that one request needs there beside the network. Larger ones are refused."""
    max_queue: Annotated[int, Field(ge=1)] = 256
    """Requests that may wait; further ones are refused at once."""
    max_queue_per_caller: Annotated[int, Field(ge=0)] = 0
    """Of one caller (metadata `striate-caller`, else the peer's address). 0: no limit."""
    decode_threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Threads of the server's process that decode images. auto: half of the cores, at least 2. On an H200 with 16
    cores, googlenet and 128 callers: 211 images/s with 2 threads, 227 and 243 with 8."""

    recipe: RecipeName = "fourier"
    """How icons are made where neither the request nor the model says. fourier: quick. soft: the same with half the
    contrast and quicker, for small networks and adversarially trained ones; the embedded model's are made so. maco:
    with the spectrum of natural images and transparent where nothing matters, for large networks; it takes longer."""
    objectives: tuple[str, ...] = ()
    """Modules that register objectives of icons by decorating functions (`@objective("center")`), which callers can
    then ask for by name (`RenderIcons`). Workers import them when they start: they must be installed or on PYTHONPATH,
    and their code runs as the service's own does."""
    render_batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Icons that are optimized together. auto: 16 on GPUs; 4 on CPUs, where more are no faster and lengthen slices."""
    render_slice: Annotated[float, Field(gt=0)] = 0.25
    """How long rendering may hold a worker before interactive requests get their turn; at least a step of a batch."""

    start_timeout: Annotated[float, Field(gt=0)] = 300
    """How long a worker may take to load its models."""
    batch_timeout: Annotated[float, Field(gt=0)] = 120
    """A worker that takes longer over one batch is replaced; and sooner, where the batch should have taken far less. A
    request that would take half as long by itself is refused."""
    batch_timeout_least: Annotated[float, Field(gt=0)] = 30
    """No worker is replaced sooner, however little its batch should take."""
    ping_interval: Annotated[float, Field(gt=0)] = 5
    """How often an idle worker is asked whether it still answers, and how long it may take to."""
    drain_timeout: Annotated[float, Field(ge=0)] = 30
    """On SIGTERM: how long accepted requests may take to be answered."""

    @field_validator("models", mode="before")
    @classmethod
    def _parse_models(cls, value: Any) -> Any:
        return [ModelSettings.parse(item) if isinstance(item, str) else item for item in value]

    @field_validator("models")
    @classmethod
    def _check_models(cls, models: tuple[ModelSettings, ...]) -> tuple[ModelSettings, ...]:
        names = [model.name for model in models]
        if not names:
            raise ValueError("name at least one model")
        if len(set(names)) < len(names):
            raise ValueError(f"two models have the same name: {', '.join(names)}")
        return models

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = TomlConfigSettingsSource(settings_cls, toml_file=_file.get())
        return (init_settings, env_settings, file)


def load(file: Path | None = None, **flags: object) -> Settings:
    """Return the settings of `flags` over the environment over `file`.

    Raises:
        FileNotFoundError: where there is no such file.
        pydantic.ValidationError: where a setting is unknown or out of its range.
    """
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"there is no configuration file {file}")
    token = _file.set(file)
    try:
        return Settings(**flags)  # type: ignore[arg-type]  # pydantic validates them
    finally:
        _file.reset(token)
