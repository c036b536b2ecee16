// A factorization: the groups over the picture, and beside it what each group is made of and what it adds.

function factorizationSection(factorization) {
  const { groups, classes, residual } = factorization;
  const scale = largest([...groups.map((group) => group.effects), residual]);
  const image = element("img");
  const canvas = element("canvas");
  let shown = 0; // the image, of those that were factorized together

  const rows = groups.map((group, number) => {
    const row = groupRow(group, classes, scale);
    onPointing(row, () => showGroup(number), showAll);
    return row;
  });

  // All groups: the overlay that the server made.
  function showAll() {
    for (const row of rows) row.classList.remove("chosen");
    canvas.hidden = true;
    image.src = factorization.overlays[shown];
    image.alt = "all groups over the picture";
  }

  // One group: its map, in its color, over the picture.
  function showGroup(number) {
    rows.forEach((row, other) => {
      row.classList.toggle("chosen", other === number);
    });
    canvas.hidden = false;
    image.src = factorization.pictures[shown] || factorization.overlays[shown];
    image.alt = `where ${groups[number].name} is present`;
    const maps = factorization.spatial.map((map) => map.map((line) => line.map((cell) => cell[number])));
    drawMap(canvas, maps[shown], largest(maps), groups[number].color);
  }

  function showImage(number) {
    shown = number;
    showAll();
  }

  showAll();
  const legend = element("div", {}, ...rows);
  if (classes.length) legend.append(residualRow(factorization, scale));
  return section(
    factorization,
    factorization.basis ? `Neuron groups “${factorization.basis}”` : "Neuron groups",
    "Neurons of this layer that are active together, and what each group adds to the logits. Point at a group to see where it is.",
    element(
      "div",
      { className: "columns" },
      element(
        "div",
        {},
        element("div", { className: "picture" }, image, canvas),
        ...thumbnails(factorization.overlays, showImage),
        ...choiceFigure(factorization.choices, groups.length),
      ),
      legend,
    ),
  );
}

function groupRow(group, classes, scale) {
  const swatch = element("div", { className: "swatch" });
  swatch.style.background = group.color;
  const text = `explains ${(group.importance * 100).toFixed(0)}% · channels ${group.channels.join(", ")}`;
  const crops = group.crops.map((src) => element("img", { src, alt: "where it is strongest" }));
  return element(
    "div",
    { className: "group", tabIndex: 0 },
    swatch,
    iconBox(group.icon, group.name),
    element(
      "div",
      {},
      element("div", { className: "name", textContent: group.name, title: group.label }),
      element("div", { className: "small", textContent: text }),
      element("div", { className: "crops" }, ...crops),
    ),
    element("div", {}, effectBars(classes, group.effects, scale), ...sobolBars(classes, group.shares)),
  );
}

// What the groups leave out of the layer's activations, and what that adds to the logits.
function residualRow({ classes, residual, relative_error, fidelity }, scale) {
  const norm = `${(relative_error * 100).toFixed(0)}% of the activations' norm`;
  return element(
    "div",
    { className: "group" },
    element("div"),
    element("div", { className: "icon", textContent: "left out" }),
    element(
      "div",
      {},
      element("div", { className: "name", textContent: "what the groups leave out" }),
      element("div", { className: "small", textContent: norm }),
      element("div", { className: "small", textContent: fidelityText(fidelity) }),
    ),
    effectBars(classes, residual, scale),
  );
}

// What becomes of the predictions if the layer holds nothing but the groups.
function fidelityText(fidelity) {
  if (!fidelity.length) return "";
  const kept = fidelity.filter(([, sameTopClass]) => sameTopClass).length;
  const worst = Math.max(...fidelity.map(([divergence]) => divergence));
  const where = fidelity.length > 1 ? ` for ${kept} of ${fidelity.length} images` : "";
  return `without it the network ${kept ? "keeps" : "loses"} its first class${where}; the predictions differ by ${worst.toPrecision(2)} nats`;
}

// One pixel for each position of the layer, more opaque where the group is stronger; the browser enlarges the canvas.
function drawMap(canvas, map, peak, color) {
  canvas.width = map[0].length; // which also empties the canvas
  canvas.height = map.length;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  const rgb = [1, 3, 5].map((start) => Number.parseInt(color.slice(start, start + 2), 16)); // of "#rrggbb"
  map.flat().forEach((presence, index) => {
    const opacity = peak ? Math.round(235 * (presence / peak)) : 0; // 235 of 255: the picture shines through
    pixels.data.set([...rgb, opacity], 4 * index);
  });
  context.putImageData(pixels, 0, 0);
}

// Buttons to choose one of several images.
function thumbnails(sources, choose) {
  if (sources.length < 2) return [];
  const buttons = sources.map((src, number) => {
    const button = element(
      "button",
      { type: "button", ariaLabel: `image ${number + 1}` },
      element("img", { src, alt: "" }),
    );
    button.setAttribute("aria-pressed", number === 0);
    button.addEventListener("click", () => {
      buttons.forEach((each, other) => {
        each.setAttribute("aria-pressed", other === number);
      });
      choose(number);
    });
    return button;
  });
  return [element("div", { className: "thumbs" }, ...buttons)];
}
