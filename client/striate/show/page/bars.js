// Bars of numbers, a row for each class.

function barRow(name, value, bar, text) {
  return element(
    "div",
    { className: "effect", title: `${name}: ${value}` },
    element("span", { className: "label", textContent: name }),
    element("span", { className: "axis" }, bar),
    element("span", { className: "number", textContent: text }),
  );
}

// Effects on the logits: signed bars around a zero line, `scale` being as long as half the axis.
function effectBars(classes, effects, scale) {
  const rows = classes.map((name, index) => {
    const effect = effects[index];
    const length = scale ? Math.min(1, Math.abs(effect) / scale) * 50 : 0;
    const bar = element("i");
    bar.style.width = `${length}%`;
    bar.style.left = `${effect < 0 ? 50 - length : 50}%`;
    bar.style.background = effect < 0 ? "var(--minus)" : "var(--plus)";
    return barRow(name, effect, bar, (effect > 0 ? "+" : "") + effect.toFixed(2));
  });
  return element("div", {}, ...rows);
}

// A group's Sobol indices. They are estimates and may leave 0 to 1; there are none unless they were asked for.
function sobolBars(classes, sobolIndices) {
  if (!sobolIndices.length) return [];
  const meaning = "share of the prediction's variation that this group causes, alone or with others";
  const rows = classes.map((name, index) => {
    const bar = element("i");
    bar.style.width = `${Math.min(1, Math.max(0, sobolIndices[index])) * 100}%`;
    return barRow(name, sobolIndices[index], bar, `${(sobolIndices[index] * 100).toFixed(0)}%`);
  });
  return [
    element("div", { className: "shares" }, element("div", { className: "small", textContent: meaning }), ...rows),
  ];
}
