// A factorization: the groups over the picture, and beside it what each group is made of and what it adds.

function factorizationSection(factorization, memory) {
  const { groups, classes, residual, images } = factorization;
  const scale = largest([...groups.map((group) => group.effects), residual]);
  const image = element("img");
  const canvas = element("canvas");
  const heading = element("div", { ariaLive: "polite" });
  const becomes = element("div", { className: "small" });
  const maps = groups.map((_, number) =>
    factorization.spatial.map((map) => map.map((line) => line.map((cell) => cell[number]))),
  );
  let shown = Math.min(memory.image ?? 0, Math.max(0, images.length - 1)); // of the images that were factorized together
  let group; // the number of the one that is shown; undefined: all of them

  const rows = groups.map((each) => groupRow(each, classes, scale));

  // One group's map, in its color, over the picture; or else the overlay of all groups that the server made.
  function draw() {
    const one = group !== undefined;
    rows.forEach((row, number) => {
      row.classList.toggle("chosen", number === group);
    });
    canvas.hidden = !one;
    image.src = (one && images[shown]?.picture) || (factorization.overlays[shown] ?? "");
    image.alt = one ? `where ${groups[group].name} is present` : "all groups over the picture";
    if (one) drawMap(canvas, maps[group][shown], largest(maps[group]), groups[group].color);
  }

  function showImage(number) {
    memory.image = shown = number;
    if (images.length > 1) heading.replaceChildren(imageHeading(images[number]));
    becomes.textContent = becomesText(factorization.becomes[number]);
    draw();
  }

  function showGroup(number) {
    group = number;
    draw();
  }

  const list = rowList("neuron groups", ...rows);
  list.append(residualRow(factorization, scale, becomes));
  const picture = element("div", { className: "picture" }, image, canvas);
  picture.style.aspectRatio = aspect(factorization.spatial[0]);
  showImage(shown);
  chooseByPointing(rows, (row) => row.querySelector("button"), showGroup, memory);
  return section(
    factorization,
    factorization.basis ? `Neuron groups “${factorization.basis}”` : "Neuron groups",
    "Neurons of this layer that are active together, and what each group adds to the score of each class. Point at a group to see where it is; click or tap to hold it.",
    element(
      "div",
      { className: "columns" },
      element(
        "div",
        { className: "beside" },
        picture,
        ...thumbnails(images, factorization.overlays, shown, showImage),
        heading,
        ...choiceFigure(factorization.choices, groups.length),
      ),
      list,
    ),
  );
}

// Width by height of a map's picture, from the map's lines.
function aspect(map) {
  return `${map[0].length} / ${map.length}`;
}

function groupRow(group, classes, scale) {
  const swatch = element("div", { className: "swatch" });
  swatch.style.background = group.color;
  const channels = group.channels.length ? ` · channels ${group.channels.join(", ")}` : "";
  const crops = group.crops.map((src) => element("img", { src, alt: "where it is strongest" }));
  return element(
    "li",
    { className: "group" },
    swatch,
    iconBox(group.icon, group.name, group.crops.length ? element("img", { src: group.crops[0], alt: "" }) : undefined),
    element(
      "div",
      {},
      element("button", { type: "button", className: "name", textContent: group.name, title: group.label }),
      element("div", { className: "small", textContent: `${group.share}% of the activations${channels}` }),
      element("div", { className: "crops" }, ...crops),
    ),
    element("div", {}, effectBars(classes, group.effects, scale), ...sobolBars(classes, group.shares)),
  );
}

// What the groups leave out of the layer's activations, and what that adds to the scores.
function residualRow({ classes, residual, left_out, more_groups }, scale, becomes) {
  const more = `More is left out than explained: ${more_groups} groups would explain more.`;
  return element(
    "li",
    { className: "group" },
    element("div"),
    element("div", { className: "icon", textContent: "left out" }),
    element(
      "div",
      {},
      element("div", { className: "name", textContent: "what the groups leave out" }),
      element("div", { className: "small", textContent: `${left_out}% of the activations` }),
      becomes,
      ...(more_groups ? [element("div", { className: "small more", textContent: more })] : []),
    ),
    effectBars(classes, residual, scale),
  );
}

// What becomes of an image's first prediction if the layer holds nothing but the groups.
function becomesText(becomes) {
  return becomes ? `with the groups alone, ${becomes}` : "";
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
