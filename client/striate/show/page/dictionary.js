// A semantic dictionary: a grid of positions over the picture, and beside it the neurons of the chosen position.

function dictionarySection(dictionary) {
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
  const detail = element("div", { ariaLive: "polite" });
  let chosen = [0, 0];
  let held = false; // after a click the position stays, so that a pointer can move over its neurons

  function choose(row, column) {
    const index = indices.get(numberOf(row, column));
    if (index === undefined) return;
    cells[numberOf(...chosen)].classList.remove("chosen");
    chosen = [row, column];
    cells[numberOf(row, column)].classList.add("chosen");
    const text = `row ${row}, column ${column}: its strongest neurons, and what each adds to the logits`;
    detail.replaceChildren(
      element("div", { className: "small", textContent: text }),
      ...dictionary.channels[index].map((_, rank) => neuronRow(dictionary, index, rank, peaks)),
    );
  }

  cells.forEach((cell, number) => {
    const position = [Math.floor(number / columns), number % columns];
    cell.addEventListener("mouseenter", () => {
      if (!held) choose(...position);
    });
    cell.addEventListener("click", () => {
      held = !held;
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
  choose(...largestPosition(dictionary));

  const box = element("div", { className: "picture" });
  if (dictionary.picture) box.append(element("img", { src: dictionary.picture, alt: "what the network saw" }));
  box.append(grid);
  return section(
    dictionary,
    "Semantic dictionary",
    "What each position means to this layer. A larger square is a stronger response; point at one to read it, click to hold it.",
    element(
      "div",
      { className: "columns" },
      element("div", {}, box, ...positionIconsToggle(dictionary.position_icons, grid)),
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
function neuronRow(dictionary, index, rank, peaks) {
  const channel = dictionary.channels[index][rank];
  const activation = dictionary.activations[index][rank];
  const neuron = dictionary.neurons[channel];
  const name = activation < 0 ? `- ${neuron.name}` : neuron.name;
  const icon = activation < 0 ? (neuron.negative_icon ?? neuron.icon) : neuron.icon;
  const strength = element("div", { className: activation < 0 ? "strength negative" : "strength" });
  strength.style.width = `${peaks.activation ? (Math.abs(activation) / peaks.activation) * 100 : 0}%`;
  return element(
    "div",
    { className: "neuron" },
    iconBox(icon, name),
    element(
      "div",
      {},
      element("div", { className: "name", textContent: name, title: neuron.label }),
      element("div", { className: "small", textContent: `channel ${channel} · activation ${activation}` }),
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

function largestPosition({ positions, magnitude }) {
  const at = ([row, column]) => magnitude[row][column];
  return positions.reduce((best, position) => (at(position) > at(best) ? position : best));
}

// A button that shows what the whole layer sees at each position, in place of the picture: the activation grid of
// "The Building Blocks of Interpretability" (Distill, 2018).
function positionIconsToggle(icons, grid) {
  if (!icons.some((icon) => icon.data)) return [];
  const button = element("button", {
    type: "button",
    className: "toggle",
    textContent: "what the whole layer sees",
  });
  button.addEventListener("click", () => button.setAttribute("aria-pressed", grid.classList.toggle("icons")));
  return [button];
}
