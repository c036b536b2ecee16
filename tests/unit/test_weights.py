"""Weights as people have them (../shared/cases), each with what is right for it, and formats that are refused."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from striate_service.config import ModelSettings, PreprocessingSettings
from striate_service.models.fitting import fitted
from striate_service.models.loading import LoadedModel, ModelError, load_model
from striate_service.models.torchvision_compat import import_torchvision
from torch import nn

SMALL = PreprocessingSettings(resize=32, crop=32)
OF_TINY = (
    "ckpt_orig_mod.pth",
    "ckpt_module_orig_mod.pth",
    "ckpt_orig_mod_module.pth",
    "ckpt_lightning.ckpt",
    "ckpt_model_state_dict.pth",
    "ckpt_ema_only.pth",
)
SERVED = (
    "drop_paths.pth",
    "cosine_of_none.pth",
    "cosine_of_one.pth",
    "head_first.pth",
    "doubled.pth",
    "tied.safetensors",
    "dict_output.pth",
    "tuple_output.pth",
)


@pytest.fixture
def cases(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(shared / "cases"))
    return shared / "cases" / "models"


def load(factory: str, weights: object, **changes: object) -> LoadedModel:
    settings = {"preprocessing": SMALL} | changes
    return load_model(
        ModelSettings(name="net", architecture=f"case_models:{factory}", weights=str(weights), **settings)
    )


@pytest.mark.parametrize("file", OF_TINY)
def test_checkpoints_of_one_network_are_that_network(cases: Path, file: str) -> None:
    expected, found = load("tiny", cases / "tiny.pth"), load("tiny", cases / file)
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(found.network(image), expected.network(image), rtol=0, atol=0)
    assert found.description.version == expected.description.version, "whatever the file, it is the same network"


def test_half_precision_becomes_single(cases: Path) -> None:
    expected, found = load("tiny", cases / "tiny.pth"), load("tiny", cases / "tiny_bf16.safetensors")
    assert {parameter.dtype for parameter in found.network.parameters()} == {torch.float32}
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(found.network(image), expected.network(image), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("file", SERVED)
def test_unusual_networks_are_served_with_their_ten_classes(cases: Path, file: str) -> None:
    loaded = load(file.partition(".")[0], cases / file)
    assert len(loaded.description.classes) == 10
    assert len(loaded.description.layers) > 0


@pytest.mark.parametrize(
    ("factory", "file", "sentence"),
    [
        ("tiny", "ckpt_numpy_scalar.pth", r"holds numpy\S*scalar.*weights_only=False\)\['state_dict'\]\ntorch.save\("),
        ("tiny", "ckpt_args_namespace.pth", r"holds argparse.Namespace.*weights_only=False\)\['model'\]\ntorch.save\("),
        ("tiny", "ckpt_model_ema.pth", r"6 of the weights hold NaN \(body.0.weight, .*serve FILE#model_ema"),
        ("tiny", "lfs_pointer.pth", "is a git-lfs pointer"),
        ("tiny", "cut.pth", "is cut short"),
        ("tiny", "whole_module.pth", r"is a whole pickled Tiny.*\.state_dict\(\), 'weights.pth'\)"),
        ("grey", "grey.pth", r"takes no image of \[3, 32, 32\]: .*1 channels.*preprocessing says size and channels"),
        ("fixed_size", "fixed_size.pth", r"doesn't match model \(48, 48\)"),
        ("many_names", "tiny.pth", r"402 are missing \(\S+_000.weight, .*\), 4 are not its own \(body.0.weight"),
        ("tiny", "tiny.pth#ema", "has no weights under 'ema'"),
        ("nothing", "tiny.pth", "cannot be imported"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(cases: Path, factory: str, file: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=f"(?s){sentence}") as refused:
        load(factory, cases / file)
    assert len(str(refused.value)) <= 300
    assert str(cases) not in str(refused.value), "no paths of the server"


def test_the_shape_of_the_input_can_be_set(cases: Path) -> None:
    grey = PreprocessingSettings(resize=28, crop=28, mean=(0.5,), std=(0.5,))
    assert load("grey", cases / "grey.pth", preprocessing=grey).description.input_shape == (1, 28, 28)
    sized = PreprocessingSettings(resize=(48, 48), crop=48)
    assert load("fixed_size", cases / "fixed_size.pth", preprocessing=sized).description.input_shape == (3, 48, 48)
    wide = PreprocessingSettings(resize=64, crop=(32, 64))
    assert load("tiny", cases / "tiny.pth", preprocessing=wide).description.layers[0].shape == (8, 32, 64)


def test_a_checkpoints_other_weights_are_chosen_by_their_key(cases: Path) -> None:
    loaded = load("tiny", f"{cases / 'ckpt_model_ema.pth'}#model_ema")
    assert loaded.description.version == load("tiny", cases / "tiny.pth").description.version


def test_weights_in_parts_are_read_by_their_index(cases: Path, tmp_path: Path) -> None:
    state = torch.load(cases / "tiny.pth", weights_only=True)
    names = list(state)
    for part, own in (("a.safetensors", names[:2]), ("b.safetensors", names[2:])):
        save_file({name: state[name] for name in own}, tmp_path / part)
    weights = {name: "a.safetensors" if name in names[:2] else "b.safetensors" for name in names}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weights}))
    assert load("tiny", index).description.version == load("tiny", cases / "tiny.pth").description.version
    index.write_text(json.dumps({"weight_map": weights | {"x": "../b.safetensors"}}))
    with pytest.raises(ModelError, match=r"names \.\./b.safetensors, which is not beside it"):
        load("tiny", index)
    (tmp_path / "b.safetensors").unlink()
    index.write_text(json.dumps({"weight_map": weights}))
    with pytest.raises(ModelError, match=r"names b\.safetensors, which is not beside it"):
        load("tiny", index)


def test_formats_that_are_no_weights_are_named(cases: Path, tmp_path: Path) -> None:
    script = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    torch.jit.save(script, tmp_path / "script.pt")
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "program.pt2")
    (tmp_path / "net.onnx").write_bytes(b"\x08\x07\x12\x07pytorch")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html>")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "cut.safetensors").write_bytes((cases / "tied.safetensors").read_bytes()[:-20])
    torch.save({"fc.weight": torch.zeros(10, 16, dtype=torch.int8)}, tmp_path / "int8.pth")
    torch.save({"epoch": 3}, tmp_path / "nothing.pth")
    sentences = {
        "script.pt": "is TorchScript",
        "program.pt2": "is an exported program: serve it as NAME=export:program.pt2",
        "net.onnx": "is an ONNX graph",
        "page.pth": "is a web page",
        "empty.pth": "is empty",
        "cut.safetensors": "is cut short",
        "int8.pth": "are quantized",
        "nothing.pth": "holds no state dict",
    }
    for file, sentence in sentences.items():
        with pytest.raises(ModelError, match=sentence) as refused:
            load("tiny", tmp_path / file)
        assert len(str(refused.value)) <= 300


def test_prefixes_are_stripped_only_where_the_rest_fits() -> None:
    def state(*names: str) -> dict[str, torch.Tensor]:
        return {name: torch.zeros(1) for name in names}

    expected = ["conv.weight", "fc.weight"]
    for prefix in ("module.", "model.module.", "module.model.backbone.", "student.net.", "_orig_mod.model."):
        held = state(f"{prefix}conv.weight", f"{prefix}fc.weight", "criterion.weight")
        assert list(fitted(held, expected)) == expected, prefix
    inner = state("conv._orig_mod.weight", "fc.weight")
    assert set(fitted(inner, expected)) == set(expected)
    unfit = state("module.conv.weight", "module.other.weight")
    assert list(fitted(unfit, expected)) == ["conv.weight", "other.weight"], "for the error's sake"
    with pytest.raises(ModelError, match=r"several times, under student\., teacher\."):
        fitted(state(*(f"{each}.{name}" for each in ("student", "teacher") for name in expected)), expected)
    both = state(*(f"{each}.{name}" for each in ("model", "teacher") for name in expected))
    assert list(fitted(both, expected)) == expected


def test_older_names_are_translated_as_the_library_does(tmp_path: Path) -> None:
    models = import_torchvision().models
    small = PreprocessingSettings(resize=64, crop=64)
    dense = models.densenet121(num_classes=3).state_dict()
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): value for name, value in dense.items()}
    assert old.keys() != dense.keys()
    torch.save({f"module.{name}": value for name, value in old.items()}, tmp_path / "dense.pth")
    loaded = load_model(
        ModelSettings(name="d", architecture="densenet121", weights=str(tmp_path / "dense.pth"), preprocessing=small)
    )
    torch.testing.assert_close(loaded.network.state_dict(), dense, rtol=0, atol=0)
    mnas = models.mnasnet0_5(num_classes=3)
    state = OrderedDict((f"module.{name}", value) for name, value in mnas.state_dict().items())
    state._metadata = nn.DataParallel(mnas).state_dict()._metadata
    torch.save(state, tmp_path / "mnas.pth")  # with the version, which MNASNet asks for
    save_file(dict(mnas.state_dict()), tmp_path / "mnas.safetensors")  # without it
    for file in ("mnas.pth", "mnas.safetensors"):
        settings = ModelSettings(name="m", architecture="mnasnet0_5", weights=str(tmp_path / file), preprocessing=small)
        torch.testing.assert_close(load_model(settings).network.state_dict(), mnas.state_dict(), rtol=0, atol=0)
