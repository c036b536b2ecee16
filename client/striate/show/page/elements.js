// What every section is made of. Text from the data is set as a property, never as markup: the names of neurons are
// other people's words.

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function svgElement(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const SMOOTHED =
  "Where a max pool follows, its effects are shared out among all that is active in a window, by the square.";

function section(result, title, text, ...content) {
  const shape = result.shape.length ? ` · ${result.shape.join(" × ")}` : "";
  return element(
    "section",
    {},
    element(
      "h2",
      { textContent: `${title} · ${result.layer}` },
      element("span", { className: "soft small", textContent: shape }),
    ),
    element("p", { className: "soft", textContent: result.smooth ? `${text} ${SMOOTHED}` : text }),
    ...content,
  );
}

// Rows, each a group or neuron: a list to who cannot see it.
function rowList(label, ...rows) {
  const list = element("ul", { className: "rows", ariaLabel: label }, ...rows);
  list.setAttribute("role", "list"); // Safari takes it from lists that are drawn without bullets
  return list;
}

// An icon; while there is none, `crop`: a picture of where the neuron or group is strongest, if there is one.
function iconBox(icon, name, crop) {
  if (icon.data) {
    const picture = element("img", { src: icon.data, alt: `what excites ${name}` });
    if (!icon.preview) return element("div", { className: "icon" }, picture);
    return element("div", { className: "icon preview", title: "a sketch: the icon is being rendered" }, picture);
  }
  const reasons = { queued: "not rendered yet", failed: "not rendered", not_requested: "no icon asked for" };
  const reason = reasons[icon.status] ?? "";
  if (!crop) return element("div", { className: "icon", textContent: reason });
  const title = `where ${name} is strongest in the picture; its icon: ${reason}`;
  return element("div", { className: "icon waiting", title }, crop, element("span", { textContent: "in the picture" }));
}

// One of several nodes is shown: the one that is pointed at or whose button has the focus, or else the one that is held,
// by a click or tap on it, until the next click. `show` is given its number, or undefined where there is none.
// The keyboard, the mouse and a finger do the same. `memory.held` outlives the page's being loaded again.
function chooseByPointing(nodes, buttonOf, show, memory) {
  const showHeld = () => show(memory.held);
  nodes.forEach((node, number) => {
    const button = buttonOf(node);
    for (const [target, event] of [
      [node, "mouseenter"],
      [button, "focus"],
    ]) {
      target.addEventListener(event, () => show(number));
    }
    node.addEventListener("mouseleave", showHeld);
    button.addEventListener("blur", showHeld);
    node.addEventListener("click", () => {
      memory.held = memory.held === number ? undefined : number;
      showPressed();
      showHeld();
    });
  });
  function showPressed() {
    nodes.forEach((node, number) => {
      buttonOf(node).setAttribute("aria-pressed", number === memory.held);
    });
  }
  showPressed();
  showHeld();
}

// The largest absolute value of nested arrays, 0 if they are empty: what bars, squares and lines are scaled by.
function largest(values) {
  return values.flat(Infinity).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
