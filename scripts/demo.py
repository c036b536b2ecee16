"""`make demo`: start a server with the embedded model, call three RPCs through the client, write a report, and stop.

It explains a photograph (scikit-learn's "flower.jpg", although the model is trained on drawings only) and a drawing of
the model's own kind.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import striate
from sklearn.datasets import load_sample_image
from striate.show.html import page
from striate_service.models.embedded.pictures import draw

REPORT = Path("report.html")
LAYER = "mixed4d"
START_SECONDS = 120


def main() -> None:
    photo = load_sample_image("flower.jpg")
    drawing = draw(7, "dog").image
    process, target = start_server()
    try:
        with striate.Client(target) as client:
            explain(client, photo, drawing)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=60)
    print(f"stopped the server (exit status {code})")
    sys.exit(code)


def start_server() -> tuple[subprocess.Popen[str], str]:
    """Start `striate serve` on a free loopback port and return it with its address."""
    environment = os.environ | {"STRIATE_METRICS_PORT": "-1"}
    command = [Path(sys.executable).with_name("striate"), "serve", "--model", "parts", "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:  # until the server prints its address, or ends
        print(line, end="")
        if address := re.search(r"serving .*? on (\S+:\d+)", line):
            return process, address[1]
    sys.exit(f"the server ended with status {process.wait()}")


def explain(client: striate.Client, photo: np.ndarray, drawing: np.ndarray) -> None:
    """Call the RPCs for both pictures, print the results, and write the report."""
    model = client.model()
    print(f"\n{model.name} (weights {model.version[:12]}) tells apart {len(model.classes)} classes.")
    activations = client.activations([photo, drawing], [LAYER, "mixed5b"], reduce="mean")
    print(f"Activations: {LAYER} gives {activations[LAYER].shape[1]} channels an image.")
    for name, predictions in zip(("the photograph", "the drawing"), activations.predictions, strict=True):
        said = ", ".join(f"{class_name} {probability:.0%}" for class_name, probability in predictions[:3])
        print(f"  {name}: {said}")

    parts: list[striate.Factorization | striate.SemanticDictionary] = []
    for name, image in (("drawing", drawing), ("photograph", photo)):
        dictionary = client.semantic_dictionary(image, LAYER)
        row, column = np.unravel_index(dictionary.magnitude.argmax(), dictionary.magnitude.shape)
        said = ", ".join(
            f"{neuron.name} ({neuron.activation:.1f})" for neuron in dictionary.at(int(row), int(column))[:4]
        )
        print(f"SemanticDictionary of the {name}: strongest at row {row}, column {column}: {said}.")
        groups = client.factorize(image, LAYER, components=6)
        said = ", ".join(f"{group.name} ({group.importance:.0%})" for group in groups.groups)
        print(f"Factorize of the {name}: {said}; {groups.relative_error:.0%} left out.")
        parts += [groups, dictionary]
    client.wait_for_icons(parts)
    page("What parts sees", parts, REPORT)
    print(f"\nwrote {REPORT.resolve()}")


if __name__ == "__main__":
    main()
