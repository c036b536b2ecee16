// Groups of several layers: a column for each layer, and lines from each group to the groups that it feeds.

const COLUMN_WIDTH = 250; // pixels, as are all of these
const ROW_HEIGHT = 108; // an icon and two lines of its name
const TITLE_HEIGHT = 24; // the layer's name above its column
const ICON_WIDTH = 66; // with the border in the group's color: where lines begin
const ICON_MIDDLE = 30; // where lines begin and end, below the icon's top
const WIDEST_LINE = 14;

function flowsSection({ columns, flows, ...result }) {
  const text = element("p", {
    className: "soft",
    ariaLive: "polite",
    textContent: "Point at a group to see what feeds it and what it feeds.",
  });
  const links = flowLinks(flows);
  const nodes = columns.flatMap(({ groups }, column) =>
    groups.map((group, row) => {
      const node = groupNode(group, column, row);
      onPointing(node, () => showGroup(column, row), showAll);
      return node;
    }),
  );

  function showAll() {
    for (const { line } of links) line.classList.remove("faded");
  }

  function showGroup(column, row) {
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

  const width = columns.length * COLUMN_WIDTH;
  const height = Math.max(...columns.map(({ groups }) => groups.length)) * ROW_HEIGHT + TITLE_HEIGHT;
  const drawing = svgElement("svg", { width, height }, ...links.map((link) => link.line));
  const titles = columns.map(({ layer }, column) =>
    placed(element("div", { className: "node small", textContent: layer }), column * COLUMN_WIDTH, 0),
  );
  const box = element("div", { className: "flows" }, drawing, ...titles, ...nodes);
  box.style.height = `${height + 12}px`; // room for a scroll bar
  return section(
    result,
    "How groups feed each other",
    "Each column is a layer's groups. A line is what a group gives to one of the next layer (green) or takes from it (red).",
    text,
    box,
  );
}

// Every pair of groups of neighboring layers, with its line: as wide as the first's influence on the second.
function flowLinks(flows) {
  const peak = largest(flows) || 1;
  const middle = (row) => TITLE_HEIGHT + row * ROW_HEIGHT + ICON_MIDDLE;
  return flows.flatMap((flow, column) =>
    flow.flatMap((influences, from) =>
      influences.map((influence, to) => {
        const line = svgElement("line", {
          x1: column * COLUMN_WIDTH + ICON_WIDTH,
          y1: middle(from),
          x2: (column + 1) * COLUMN_WIDTH,
          y2: middle(to),
          stroke: influence < 0 ? "var(--minus)" : "var(--plus)",
          "stroke-width": (Math.abs(influence) / peak) * WIDEST_LINE,
          "stroke-opacity": 0.55,
        });
        return { line, column, from, to, influence };
      }),
    ),
  );
}

function groupNode(group, column, row) {
  const icon = iconBox(group.icon, group.name);
  icon.style.borderColor = group.color;
  const name = element("div", { className: "name", textContent: group.name });
  const node = element("div", { className: "node", tabIndex: 0 }, icon, name);
  return placed(node, column * COLUMN_WIDTH, TITLE_HEIGHT + row * ROW_HEIGHT);
}

function placed(node, left, top) {
  node.style.left = `${left}px`;
  node.style.top = `${top}px`;
  return node;
}

// The three links of the largest influence, in words: more would not be read.
function strongestInWords(links, nameOf) {
  return [...links]
    .sort((a, b) => Math.abs(b.influence) - Math.abs(a.influence))
    .slice(0, 3)
    .map((link) => `${nameOf(link)} ${link.influence > 0 ? "+" : ""}${link.influence}`)
    .join(", ");
}
