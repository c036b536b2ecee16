// Groups of several layers: a column for each layer, and between columns lines from each group to those that it feeds.

const ROW_HEIGHT = 96; // pixels, as .flows .node has it
const WIDEST_LINE = 16; // pixels

function flowsSection({ columns, flows, ...result }, memory) {
  const help = "Point at a group to see what feeds it and what it feeds; click or tap to hold it.";
  const text = element("p", { className: "soft", ariaLive: "polite", textContent: help });
  const links = flowLinks(flows);
  const nodes = columns.map(({ groups }) => groups.map(groupNode));
  const places = columns.flatMap(({ groups }, column) => groups.map((_, row) => [column, row]));

  function show(number) {
    if (number === undefined) {
      for (const { line } of links) line.classList.remove("faded");
      text.textContent = help;
      return;
    }
    const [column, row] = places[number];
    const incoming = links.filter((link) => link.column + 1 === column && link.to === row);
    const outgoing = links.filter((link) => link.column === column && link.from === row);
    for (const link of links) {
      link.line.classList.toggle("faded", !incoming.includes(link) && !outgoing.includes(link));
    }
    const sources = strongestInWords(incoming, (link) => columns[column - 1].groups[link.from].name);
    const targets = strongestInWords(outgoing, (link) => columns[column + 1].groups[link.to].name);
    const name = columns[column].groups[row].name;
    text.textContent = name + (sources && `, fed by ${sources}`) + (targets && `; feeds ${targets}`);
  }

  chooseByPointing(nodes.flat(), (node) => node, show, memory);
  const most = Math.max(...columns.map(({ groups }) => groups.length));
  const parts = columns.flatMap(({ layer }, column) => [
    element("div", { className: "layer" }, element("h3", { textContent: layer }), ...nodes[column]),
    ...(column < flows.length ? [linesBetween(links, column, most)] : []),
  ]);
  const box = element("div", { className: "flows" }, ...parts);
  box.style.gridTemplateColumns = columns.map(() => "var(--node)").join(" minmax(var(--between), 1fr) ");
  return section(
    result,
    "How groups feed each other",
    "Each column is a layer's groups. A line is what a group gives to one of the next layer (green) or takes from it (red); between two columns, wider is more.",
    text,
    element("div", { className: "scrolled", tabIndex: 0, role: "region", ariaLabel: "groups and what they feed" }, box),
  );
}

// Every pair of groups of neighboring layers, with its line: as wide as the first's influence on the second.
function flowLinks(flows) {
  const middle = (row) => (row + 0.5) * ROW_HEIGHT;
  return flows.flatMap((flow, column) => {
    const peak = largest(flow) || 1; // of each pair of layers by itself: each counts in its own unit
    return flow.flatMap((influences, from) =>
      influences.map((influence, to) => {
        const line = svgElement("path", {
          d: `M 0 ${middle(from)} C 50 ${middle(from)} 50 ${middle(to)} 100 ${middle(to)}`,
          fill: "none",
          stroke: influence < 0 ? "var(--minus)" : "var(--plus)",
          "stroke-width": (Math.abs(influence) / peak) * WIDEST_LINE,
          "stroke-opacity": 0.55,
          "vector-effect": "non-scaling-stroke",
        });
        return { line, column, from, to, influence };
      }),
    );
  });
}

// The lines from one column to the next, which fill the space between them, however wide it is.
function linesBetween(links, column, rows) {
  const own = links.filter((link) => link.column === column);
  const height = rows * ROW_HEIGHT;
  const attributes = { viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" };
  const drawing = svgElement("svg", attributes, ...own.map((link) => link.line));
  drawing.style.height = `${height}px`;
  return drawing;
}

function groupNode(group) {
  const icon = iconBox(group.icon, group.name, group.crop ? element("img", { src: group.crop, alt: "" }) : undefined);
  icon.style.borderColor = group.color;
  return element(
    "button",
    { type: "button", className: "node" },
    icon,
    element("span", { className: "name", textContent: group.name }),
  );
}

// The three links of the largest influence, in words: more would not be read.
function strongestInWords(links, nameOf) {
  return [...links]
    .sort((a, b) => Math.abs(b.influence) - Math.abs(a.influence))
    .slice(0, 3)
    .map((link) => `${nameOf(link)} ${link.influence > 0 ? "+" : ""}${link.influence}`)
    .join(", ");
}
