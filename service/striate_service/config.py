"""All settings, typed, from flags, environment (STRIATE_*) and a TOML file, in that order of precedence."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

logger = logging.getLogger(__name__)

MEBIBYTE = 2**20
MAX_SIDE = 4096
_PORTS = ("striate_port", "striate_metrics_port")

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
OpenService = Literal["health", "reflection"]
Precision = Literal["float32", "tf32", "bfloat16", "float16"]
Side = Annotated[int, Field(gt=0, le=MAX_SIDE)]
"""In pixels."""
Sides = tuple[Side, Side]
"""Height and width, in pixels."""
Channels = Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], Field(min_length=1, max_length=64)]
Activation = Literal["softmax", "sigmoid", "none"]
RecipeName = Literal["fourier", "soft", "maco"]
"""The names of techniques/recipe.py."""

_file: ContextVar[Path | None] = ContextVar("configuration file", default=None)
"""The file that `load` was given: pydantic-settings asks the class for its sources and takes no argument for them."""


class PreprocessingSettings(BaseModel):
    """Preprocessing of a model's images, where its weights do not define it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    resize: Side | Sides
    """The shorter side after resizing; [height, width]: both, whatever the picture's shape."""
    crop: Side | Sides
    """The side of the square in the middle that the network sees, or [height, width]."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: Channels = (0.485, 0.456, 0.406)
    std: Channels = (0.229, 0.224, 0.225)
    """One number a channel: 3 are RGB, 1 is grey, 4 are RGBA; other networks take pixels and preprocessed tensors."""

    @model_validator(mode="after")
    def _check(self) -> PreprocessingSettings:
        least = max(self.crop) if isinstance(self.crop, tuple) else self.crop
        if isinstance(self.resize, tuple):
            height, width = self.crop if isinstance(self.crop, tuple) else (self.crop, self.crop)
            if self.resize[0] < height or self.resize[1] < width:
                raise ValueError(f"resize {list(self.resize)} must be at least crop ({self.crop})")
        elif self.resize < least:
            raise ValueError(f"resize ({self.resize}) must be at least crop ({least})")
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} channels, and std {len(self.std)}")
        if any(value <= 0 for value in self.std):
            raise ValueError("std must be greater than 0")
        return self


class ModelSettings(BaseModel):
    """A model to serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    architecture: str
    """A torchvision network's name, "timm:NAME", "transformers", "export", "googlenet_bvlc", "efficientnet_lite0",
    "package.module:factory", or "parts" or "parts_vit", the embedded models. docs/models.md says how each is served."""
    weights: str
    """A .pth or .safetensors file; FILE#KEY: under that key of a checkpoint. "torchvision", "timm": downloaded from
    there. "embedded": shipped with this package. "installed": of efficientnet_lite0, by pip. "built": the factory's
    network as it is. Of transformers a folder, of export a .pt2 file."""
    classes: Path | None = None
    """A text file of class names, one per line, in the order of the logits."""
    arguments: dict[str, Any] = {}
    """Passed to what builds the network: a factory, torchvision's or timm's builder ({img_size = 256})."""
    activation: Activation | None = None
    """What makes probabilities of logits. None: softmax; sigmoid of a single logit."""
    preprocessing: PreprocessingSettings | None = None
    recipe: Annotated[RecipeName | None, Field(validate_default=True)] = None
    """The recipe of icons where a request names none. None: "soft" for the embedded weights, whose icons are shipped,
    else the server's `recipe`."""
    devices: tuple[str, ...] | None = None
    """The devices of the server that hold the model, such as ["cuda:0"]. None: all."""
    compiled_layers: tuple[str, ...] = ()
    """Frequently requested layers: forward passes for these are compiled (torch.compile, with CUDA graphs). Compiling
    takes some minutes when the model is loaded, and needs a C++ compiler. A network that cannot be compiled, or whose
    outputs would differ, runs uncompiled. No effect with ONNX Runtime, which is faster on CPUs (see `cpu_engine`)."""
    prerender: tuple[str, ...] = ()
    """Layers whose channels' icons are rendered while nothing else is to be done, such as ["mixed4d"]."""

    @field_validator("recipe")
    @classmethod
    def _as_shipped(cls, recipe: RecipeName | None, info: ValidationInfo) -> RecipeName | None:
        return recipe or ("soft" if info.data.get("weights") == "embedded" else None)

    @model_validator(mode="before")
    @classmethod
    def _of_timm(cls, given: Any) -> Any:
        """Take timm:NAME for a model with the weights that timm publishes."""
        if isinstance(given, dict) and given.get("architecture") == "timm":
            return given | {"architecture": f"timm:{given.get('weights', '')}", "weights": "timm"}
        return given

    @classmethod
    def parse(cls, text: str) -> ModelSettings:
        """Read `NAME=ARCHITECTURE:WEIGHTS`, or the name of an embedded model, `parts` or `parts_vit`; after it options,
        as `resize=256 crop=224`.

        Raises:
            ValueError: the text is neither, or an option is unknown.
        """
        text, *options = _OPTION.split(text.strip())
        if text in _EMBEDDED and not options:
            return _EMBEDDED[text]
        name, equals, rest = text.partition("=")
        architecture, colon, weights = rest.rpartition(":")
        if not (name and equals and architecture and colon and weights):
            raise ValueError(
                f"{text!r} does not name a model: write NAME=ARCHITECTURE:WEIGHTS, such as "
                "googlenet=googlenet:torchvision or pets=resnet18:pets.pth"
            )
        return cls.model_validate({"name": name, "architecture": architecture, "weights": weights, **_options(options)})


_OPTION = re.compile(r"\s+(?=[a-z_]+(?:\.\w+)?=)")
_OF_PREPROCESSING = frozenset(PreprocessingSettings.model_fields)


def _options(texts: Sequence[str]) -> dict[str, Any]:
    """Return settings of a model from `KEY=VALUE`: lists as 224,112, and arguments as arguments.KEY=VALUE."""
    settings: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key.startswith("arguments."):
            settings.setdefault("arguments", {})[key.removeprefix("arguments.")] = _value(value)
        elif key in _OF_PREPROCESSING:
            settings.setdefault("preprocessing", {})[key] = _listed(value, key)
        else:
            settings[key] = tuple(value.split(",")) if key in ("devices", "compiled_layers") else value
    return settings


def _listed(text: str, key: str) -> Any:
    if key == "interpolation":
        return text
    values = [_value(each) for each in text.split(",")]
    return values if len(values) > 1 or key in ("mean", "std") else values[0]


def _value(text: str) -> Any:
    """Return a number, true, false or null as JSON writes it; everything else is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


EMBEDDED = ModelSettings(name="parts", architecture="parts", weights="embedded")
_EMBEDDED = {
    "parts": EMBEDDED,
    "parts_vit": ModelSettings(name="parts_vit", architecture="parts_vit", weights="embedded"),
}


class Settings(BaseSettings):
    """The operator's settings. Durations are in seconds; sizes are in bytes where the name says so."""

    model_config = SettingsConfigDict(env_prefix="STRIATE_", env_nested_delimiter="__", extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0: all interfaces. Who can reach it may call, unless `tokens` or `tls_client_ca`
    say otherwise: docs/security.md."""
    port: Annotated[int, Field(ge=0, le=65535)] = 50051
    """0: a free port."""
    metrics_port: Annotated[int, Field(ge=-1, le=65535)] = 9464
    """The HTTP port of /metrics and /health. 0: a free port. -1: neither."""
    log_format: LogFormat = "text"
    """Of the lines on stderr. json: an object a line, for what collects logs (docs/telemetry.md)."""
    log_level: LogLevel = "info"
    """info: a line for each request, too. warning: only what somebody should look at."""
    tracing: bool = False
    """Whether spans of requests are sent to an OpenTelemetry collector (docs/telemetry.md), which the variables OTEL_*
    name; needs the extra [otel]."""
    metrics_host: str = ""
    """The address of the metrics, which need no token and are not encrypted. Empty: `host`."""
    tls_certificate: Path | None = None
    """The server's certificate, a PEM file with those between it and the root after it. None: no TLS. Renewed files are
    taken up with the next connection."""
    tls_key: Path | None = None
    """The certificate's private key, a PEM file without a password."""
    tls_client_ca: Path | None = None
    """Callers must show a certificate that this one, or one of these, has signed (mutual TLS). A PEM file."""
    tokens: Path | None = None
    """A TOML file of the tokens that may call, as `striate token new` prints them; read again when it changes. None:
    callers need no token."""
    open_services: frozenset[OpenService] = frozenset({"health", "reflection"})
    """What answers without a token, where there are tokens. [] has health need the right `monitor`, and reflection
    `read`."""
    insecure: bool = False
    """Allow `allow_model_changes` and `image_folders` also where others than this machine can call without TLS, or
    without tokens and client certificates."""
    home: Path = Path(platformdirs.user_cache_dir("striate"))
    """The folder of icons, labels and bases."""
    icons: str = ""
    """The store of icons: a folder, or a URL that fsspec knows (s3://bucket/icons with the extra [s3]). Servers that
    share a store render no icon twice. Empty: `icons` in `home`."""
    icons_max_bytes: Annotated[int, Field(ge=0)] = 2048 * MEBIBYTE
    """Above this size, the least recently used icons are deleted. 0: no limit."""
    icon_lease: Annotated[float, Field(ge=1)] = 15
    """How long other servers wait before they render an icon that a killed server had begun. The clocks of servers that
    share a store should differ by less."""
    database: str = ""
    """The SQLAlchemy URL of the label database: postgresql://USER:PASSWORD@HOST/DATABASE (pip install
    'striate[postgres]'). Empty: SQLite in `home`."""

    models: tuple[ModelSettings, ...] = (EMBEDDED,)
    """The first is the default of requests that name no model."""
    devices: Literal["auto"] | tuple[str, ...] = "auto"
    """One worker process for each entry: ["cuda:0", "cuda:1"], ["cpu", "cpu"]. auto: all GPUs, else the CPU's cores, up
    to 8, as far as the CPUs and the memory of the container reach; the log says what decided."""
    cpu_engine: Literal["onnx", "torch"] = "onnx"
    """The engine of forward passes on CPUs. onnx: ONNX Runtime, with graphs that are exported at a model's first start
    and cached in `home`; a network that cannot be exported runs in torch, and the log says so."""
    compile_ahead: bool = True
    """Whether CPU workers compile the factorization's kernels before they are ready. An installation's first
    start takes up to a minute longer; later starts load cached code within a second or two. The cache is in the
    package's folder if that is writable, else in `home`. False: the first `Factorize` takes that much longer."""
    precision: Precision = "float32"
    """Of forward passes. float32: full precision, also on GPUs. tf32: GPUs round the factors of products, which is
    faster; outputs differ by about 0.1 %. bfloat16, float16: autocast in torch, faster still on GPUs that support it;
    outputs differ by about 1 %. Replies hold float32 in any case."""

    copy_ahead: bool = False
    """Whether GPU workers copy the next batch's images to the device while the present batch computes."""

    max_batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Images in one forward pass. auto: measured when a model first starts on a device, which takes a second or two,
    and saved in `home`."""
    allow_model_changes: bool = False
    """Whether callers may load and unload models (ModelService.LoadModel, UnloadModel). Such callers can run any code
    in the packages of this machine, by naming it as an architecture."""
    max_images_per_request: Annotated[int, Field(ge=1, le=1024)] = 64
    max_pixels_per_image: Annotated[int, Field(ge=1)] = 100_000_000
    """Width times height of an encoded image: a small file can decode to a very large image."""
    exact_decoding: bool = False
    """Whether JPEGs of over 2 megapixels become the very pixels that torchvision makes of them. Otherwise they are
    scaled while they are decoded, which takes half of the time or less, and changes photographs by 0.2 of 255 on
    average (docs/images.md)."""
    max_decoding_bytes: Annotated[int, Field(ge=MEBIBYTE)] = 1024 * MEBIBYTE
    """Memory for large images (over 8 megapixels or so) that are decoded at once, of all requests together; one alone
    may take more. An image takes 4 to 16 bytes a pixel."""
    max_message_bytes: Annotated[int, Field(ge=MEBIBYTE, le=2**31 - 1)] = 64 * MEBIBYTE
    """The largest request and the largest reply."""
    max_request_bytes_in_progress: Annotated[int, Field(ge=MEBIBYTE)] = 1024 * MEBIBYTE
    """All requests that are being answered, together, as they were sent; more are refused at once. Streams wait from
    half of it on."""
    max_reply_bytes_in_progress: Annotated[int, Field(ge=MEBIBYTE)] = 1024 * MEBIBYTE
    """All replies together that callers have not read yet. Beyond it, the connection whose reply has waited longest is
    closed."""
    max_calls: Annotated[int, Field(ge=1)] = 2048
    """Calls under way, those included that are still being sent; more are refused at once. Health checks and reflection
    have as many places of their own."""
    message_timeout: Annotated[float, Field(gt=0)] = 600
    """How long a caller may take to send a request, or a stream's next message, before the call ends."""
    image_folders: tuple[Path, ...] = ()
    """Folders on the server whose images callers may name instead of sending images (`BuildBasis`)."""
    max_basis_bytes: Annotated[int, Field(ge=MEBIBYTE)] = 16 * 1024 * MEBIBYTE
    """Activations on disk, in `home`, of all bases that are being built: 200 KB per image for GoogLeNet's mixed4d."""
    max_task_bytes: Annotated[int, Field(ge=MEBIBYTE)] = 2048 * MEBIBYTE
    """A worker's memory for the arrays of one request, besides the network. Requests that need more are refused."""
    max_queue: Annotated[int, Field(ge=1)] = 256
    """Requests that may wait; more are refused at once."""
    max_queue_per_caller: Annotated[int, Field(ge=0)] = 0
    """Waiting requests of one caller (the token's name, else metadata `striate-caller`, else the peer's address). 0: no
    limit."""
    decode_threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Threads of the server's process that decode images. auto: half of the cores, at least 2. Two threads are too few
    for a GPU: on an H200 with 16 cores, googlenet and 128 callers, 228 images/s with 2 threads, 513 with 8."""

    recipe: RecipeName = "fourier"
    """The recipe of icons where neither the request nor the model names one. fourier: fast. soft: faster and smoother,
    for small networks (such as the embedded model) and adversarially trained ones. maco: with the
    spectrum of natural images, and transparent where pixels do not matter, for large networks; slower."""
    objectives: tuple[str, ...] = ()
    """Modules that register icon objectives by decorating functions (`@objective("center")`); callers request these by
    name (`RenderIcons`). Workers import the modules when they start: they must be installed or on PYTHONPATH, and their
    code runs with the service's rights."""
    render_batch_size: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Icons that are optimized together. auto: 16 on GPUs; 1 on CPUs, where more take as long one after the other, and
    who calls waits for a step of all of them."""
    render_slice: Annotated[float, Field(gt=0)] = 0.25
    """How long rendering may occupy a worker before other icons get their turn; at least one step of a batch. Whoever
    calls waits for the end of a step only."""

    max_icons: Annotated[int, Field(ge=1)] = 16384
    """Icons that may wait to be rendered, of all callers together. Calls that ask for more are refused; replies come
    without them."""
    max_icons_per_caller: Annotated[int, Field(ge=1)] = 8192
    """Icons that the calls of one caller may wait for."""
    max_detached_icons: Annotated[int, Field(ge=0)] = 8192
    """Icons that may wait to be rendered though whoever asked for them is not waiting (`RenderIcons` with `detach`)."""
    max_detached_icons_per_caller: Annotated[int, Field(ge=0)] = 4096
    """Icons that one caller may have left in this way, until they are rendered, or `CancelIcons` takes them back."""

    start_timeout: Annotated[float, Field(gt=0)] = 300
    """How long a worker may take to load its models."""
    batch_timeout: Annotated[float, Field(gt=0)] = 120
    """A worker that takes longer over one batch is replaced; earlier, if the batch's estimate is far lower. A request
    whose own estimate exceeds half of this is refused."""
    batch_timeout_least: Annotated[float, Field(gt=0)] = 30
    """No worker is replaced earlier, however low its batch's estimate."""
    ping_interval: Annotated[float, Field(gt=0)] = 5
    """How often an idle worker is pinged, and how long it may take to answer."""
    drain_timeout: Annotated[float, Field(ge=0)] = 30
    """On SIGTERM, how long accepted requests may still take."""
    drain_delay: Annotated[float, Field(ge=0)] = 0
    """On SIGTERM, how long requests are still accepted after health has said NOT_SERVING, so that balancers look away
    first: 5 to 10 where there are several servers (docs/deployment.md)."""
    max_connection_age: Annotated[float, Field(ge=0)] = 1800
    """After about as long, a client is asked to connect anew, so that clients spread over servers that have been added.
    No call is lost. 0: never."""
    max_connection_age_grace: Annotated[float, Field(ge=0)] = 0
    """How long calls on such an old connection may still take. 0: as long as they do; streams may take hours."""

    @field_validator("host")
    @classmethod
    def _without_brackets(cls, host: str) -> str:
        return host.removeprefix("[").removesuffix("]")  # of an IPv6 address

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

    @model_validator(mode="after")
    def _check_tls(self) -> Settings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key are set together, or not at all")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        return self

    def database_of(self, name: str) -> str:
        """Return the SQLAlchemy URL of a store's tables: `database`, else a file of this name in `home`."""
        return self.database or f"sqlite:///{self.home / name}.db"

    @property
    def exposure(self) -> str:
        """What those who reach the address could do for want of settings, as a sentence's end; empty: nothing."""
        if _is_loopback(self.host):
            return ""
        open_to_all = "" if self.tokens or self.tls_client_ca else "anybody may call (no tokens)"
        readable = "" if self.tls_certificate else "traffic is not encrypted (no tls_certificate)"
        return " and ".join(filter(None, (open_to_all, readable)))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(env_settings, EnvSettingsSource)
        env_settings.env_vars = _without_kubernetes(env_settings.env_vars)
        file = TomlConfigSettingsSource(settings_cls, toml_file=_file.get())
        return (init_settings, env_settings, file)


def _without_kubernetes(variables: Mapping[str, str | None]) -> Mapping[str, str | None]:
    """Leave out what Kubernetes sets for services called striate or striate-metrics: STRIATE_PORT=tcp://10.0.0.1:80."""
    of_kubernetes = [name for name in _PORTS if (variables.get(name) or "").startswith(("tcp://", "udp://"))]
    if of_kubernetes:
        names = ", ".join(map(str.upper, of_kubernetes))
        logger.warning("%s is of a Kubernetes service, and no setting; it is ignored", names)
    return {name: value for name, value in variables.items() if name not in of_kubernetes}


def load(file: Path | None = None, **flags: object) -> Settings:
    """Return the settings of `flags` over the environment over `file`.

    Raises:
        FileNotFoundError: there is no such file.
        pydantic.ValidationError: a setting is unknown or out of its range.
    """
    if file is not None and not file.is_file():
        raise FileNotFoundError(f"there is no configuration file {file}")
    token = _file.set(file)
    try:
        return Settings(**flags)  # type: ignore[arg-type]  # pydantic validates them
    finally:
        _file.reset(token)


def _is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address to listen on."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
