// Why there are this many groups: the share of the variance that each number of groups would explain, as a curve.

function choiceFigure(choices, chosen) {
  if (!choices.length) return []; // the caller said how many
  const caption = `${chosen} groups were chosen: beyond this knee of the curve, more groups add little to what is explained.`;
  return [
    element(
      "figure",
      { className: "choice" },
      choiceCurve(choices, chosen),
      element("figcaption", { className: "small", textContent: caption }),
    ),
  ];
}

function choiceCurve(choices, chosen) {
  const [left, right, top, bottom] = [46, 326, 16, 150]; // of the plot inside the drawing
  const numbers = choices.map(([number]) => number);
  const explained = choices.map(([, share]) => share);
  const [fewest, most] = [Math.min(...numbers), Math.max(...numbers)];
  const low = Math.floor(Math.min(...explained) * 10) / 10;
  const high = Math.max(low + 0.1, Math.ceil(Math.max(...explained) * 10) / 10);
  const x = (number) => left + (most > fewest ? (number - fewest) / (most - fewest) : 0.5) * (right - left);
  const y = (share) => bottom - ((share - low) / (high - low)) * (bottom - top);

  const levels = [low, (low + high) / 2, high].flatMap((share) => [
    svgElement("line", { x1: left, x2: right, y1: y(share), y2: y(share), stroke: "var(--line)" }),
    svgElement("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, `${(share * 100).toFixed(0)}%`),
  ]);
  const ticks = numbersWithRoom(numbers, chosen, x).map((number) =>
    svgElement(
      "text",
      { x: x(number), y: bottom + 16, "text-anchor": "middle", class: number === chosen ? "chosen" : "" },
      String(number),
    ),
  );
  const knee = { x1: x(chosen), x2: x(chosen), y1: top, y2: bottom, stroke: "var(--mark)", "stroke-dasharray": "3 3" };
  const points = choices.map(([number, share]) => `${x(number)},${y(share)}`).join(" ");
  const dots = choices.map(([number, share]) => {
    const look = number === chosen ? { r: 5, fill: "var(--mark)", class: "chosen" } : { r: 2.5, fill: "var(--share)" };
    const title = svgElement("title", {}, `${number} groups explain ${(share * 100).toFixed(1)}%`);
    return svgElement("circle", { cx: x(number), cy: y(share), ...look }, title);
  });
  const sideways = `translate(11 ${(top + bottom) / 2}) rotate(-90)`;
  const label = `${chosen} groups were chosen: the knee of the share that ${fewest} to ${most} groups explain`;
  return svgElement(
    "svg",
    { viewBox: "0 0 340 190", role: "img", "aria-label": label },
    ...levels,
    ...ticks,
    svgElement("line", knee),
    svgElement("polyline", { points, fill: "none", stroke: "var(--share)", "stroke-width": 2 }),
    ...dots,
    svgElement("text", { x: (left + right) / 2, y: 186, "text-anchor": "middle" }, "number of groups"),
    svgElement("text", { transform: sideways, "text-anchor": "middle" }, "explained variance"),
  );
}

// The numbers that can stand on the axis without touching one another: the chosen one, then as many others as fit.
function numbersWithRoom(numbers, chosen, x) {
  const width = 20; // of a number with two digits and the space around it
  const placed = [chosen];
  for (const number of numbers) {
    if (placed.every((other) => Math.abs(x(other) - x(number)) >= width)) placed.push(number);
  }
  return placed;
}
