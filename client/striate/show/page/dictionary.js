// A semantic dictionary: a grid of positions over the picture, and beside it the neurons of the chosen position.

function dictionarySection(dictionary, memory) {
  const [rows, columns] = dictionary.size;
  const numberOf = (row, column) => row * columns + column;
  // From a cell's number to its position's place in the data, which may have some positions only.
  const indices = new Map(dictionary.positions.map(([row, column], index) => [numberOf(row, column), index]));
  const peaks = {
    activation: largest(dictionary.activations),
    effect: largest(dictionary.effects),
    magnitude: largest(dictionary.magnitude),
  };

  const cells = dictionary.magnitude.flatMap((line, row) =>
    line.map((magnitude, column) => {
      const index = indices.get(numberOf(row, column));
      const share = peaks.magnitude && index !== undefined ? magnitude / peaks.magnitude : 0;
      return gridCell(share, dictionary.position_icons[index]);
    }),
  );
  const label = `positions of ${dictionary.layer}: move with the arrow keys`;
  const grid = element("div", { className: "grid", tabIndex: 0, role: "application", ariaLabel: label }, ...cells);
  grid.style.gridTemplate = `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)`;
  const detail = element("div");
  const told = element("p", { className: "small", ariaLive: "polite" });
  const strongest = strongestPlaces(dictionary);
  let chosen = [0, 0];

  function choose(row, column) {
    const index = indices.get(numberOf(row, column));
    if (index === undefined) return;
    cells[numberOf(...chosen)].classList.remove("chosen");
    memory.position = chosen = [row, column];
    cells[numberOf(row, column)].classList.add("chosen");
    told.textContent = `row ${row}, column ${column}: its strongest neurons, and what each adds to the score of each class`;
    const rows = dictionary.channels[index].map((channel, rank) =>
      neuronRow(dictionary, index, rank, peaks, strongest.get(channel)),
    );
    detail.replaceChildren(told, rowList(`neurons at row ${row}, column ${column}`, ...rows));
  }

  cells.forEach((cell, number) => {
    const position = [Math.floor(number / columns), number % columns];
    cell.addEventListener("mouseenter", () => {
      if (!memory.held) choose(...position);
    });
    cell.addEventListener("click", () => {
      const same = position[0] === chosen[0] && position[1] === chosen[1];
      memory.held = !(memory.held && same); // so that a pointer can move over its neurons
      choose(...position);
    });
  });
  grid.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    choose(within(chosen[0] + step[0], rows), within(chosen[1] + step[1], columns));
  });
  choose(...(memory.position ?? largestPosition(dictionary)));

  const [{ picture }] = dictionary.images;
  const box = element("div", { className: "picture" });
  box.style.aspectRatio = aspect(dictionary.magnitude);
  if (picture) box.append(element("img", { src: picture, alt: "what the network saw" }));
  box.append(grid);
  return section(
    dictionary,
    "Semantic dictionary",
    "What each position means to this layer. A larger square is a stronger response; point at one to read it, click or tap to hold it.",
    element(
      "div",
      { className: "columns" },
      element("div", { className: "beside" }, box, ...positionIconsToggle(dictionary.position_icons, grid, memory)),
      detail,
    ),
  );
}

// A square whose side is the position's share of the largest magnitude; or its icon, while the grid shows icons.
function gridCell(share, icon) {
  const cell = element("div", { className: "cell" });
  cell.style.setProperty("--side", `${Math.round(share * 92)}%`); // 92: neighbors never touch
  if (icon?.data) {
    cell.classList.add("pictured");
    cell.style.setProperty("--icon", `url(${icon.data})`);
  }
  return cell;
}

// The neuron of this rank at a position: its icon, its name, how strongly it responds there, and its effects.
function neuronRow(dictionary, index, rank, peaks, place) {
  const channel = dictionary.channels[index][rank];
  const activation = dictionary.activations[index][rank];
  const neuron = dictionary.neurons[channel];
  const name = activation < 0 ? `- ${neuron.name}` : neuron.name;
  const icon = activation < 0 ? (neuron.negative_icon ?? neuron.icon) : neuron.icon;
  const number = neuron.named ? `channel ${channel} · ` : "";
  const strength = element("div", { className: activation < 0 ? "strength negative" : "strength" });
  strength.style.width = `${peaks.activation ? (Math.abs(activation) / peaks.activation) * 100 : 0}%`;
  const [{ picture }] = dictionary.images;
  const crop = picture && cropAround(picture, place, dictionary.size, `where ${name} is strongest`);
  return element(
    "li",
    { className: "neuron" },
    iconBox(icon, name, crop),
    element(
      "div",
      {},
      element("div", { className: "name", textContent: name, title: neuron.label }),
      element("div", { className: "small", textContent: `${number}activation ${activation}` }),
      strength,
      ...exampleCrops(neuron.examples),
    ),
    effectBars(dictionary.classes, dictionary.effects[index][rank], peaks.effect),
  );
}

// Parts of natural images that excite a neuron.
function exampleCrops(examples) {
  if (!examples.length) return [];
  const crops = examples.map(([src, title]) => element("img", { src, alt: title, title }));
  return [element("div", { className: "examples" }, ...crops)];
}

// Where each channel is farthest from 0, of the positions that list it: [row, column] by channel.
function strongestPlaces({ positions, channels, activations }) {
  const found = new Map();
  channels.forEach((listed, index) => {
    listed.forEach((channel, rank) => {
      const strength = Math.abs(activations[index][rank]);
      if (!(found.get(channel)?.strength >= strength)) found.set(channel, { strength, position: positions[index] });
    });
  });
  return new Map([...found].map(([channel, { position }]) => [channel, position]));
}

function largestPosition({ positions, magnitude }) {
  const at = ([row, column]) => magnitude[row][column];
  return positions.reduce((best, position) => (at(position) > at(best) ? position : best));
}

// A button that shows what the whole layer sees at each position, in place of the picture: the activation grid of
// "The Building Blocks of Interpretability" (Distill, 2018).
function positionIconsToggle(icons, grid, memory) {
  if (!icons.some((icon) => icon.data)) return [];
  const button = element("button", {
    type: "button",
    className: "toggle",
    textContent: "what the whole layer sees",
  });
  const show = () => button.setAttribute("aria-pressed", grid.classList.toggle("icons", Boolean(memory.icons)));
  button.addEventListener("click", () => {
    memory.icons = !memory.icons;
    show();
  });
  show();
  return [button];
}
