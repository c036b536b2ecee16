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

function iconBox(icon, name) {
  const reasons = { queued: "not rendered yet", failed: "not rendered", not_requested: "no icon asked for" };
  const content = icon.data
    ? element("img", { src: icon.data, alt: `what excites ${name}` })
    : (reasons[icon.status] ?? "");
  return element("div", { className: "icon" }, content);
}

// Call `enter` when a node is pointed at or focused, and `leave` afterwards: the keyboard does what the mouse does.
function onPointing(node, enter, leave) {
  for (const event of ["mouseenter", "focus"]) node.addEventListener(event, enter);
  for (const event of ["mouseleave", "blur"]) node.addEventListener(event, leave);
}

// The largest absolute value of nested arrays, 0 if they are empty: what bars, squares and lines are scaled by.
function largest(values) {
  return values.flat(Infinity).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
