// The images that a result is of: their names, what is predicted for them, and buttons to choose one of several.

function predictionList(predictions) {
  const rows = predictions.map(([name, probability]) => {
    const bar = element("div", { className: "bar" });
    bar.style.width = `${Math.min(1, Math.max(0, probability)) * 100}%`;
    return element(
      "li",
      {},
      element("span", { textContent: name }),
      bar,
      element("span", { className: "number", textContent: `${(probability * 100).toFixed(1)}%` }),
    );
  });
  return element("ul", { className: "predictions" }, ...rows);
}

// An image's name and predictions.
function imageHeading({ name, predictions }) {
  return element("div", { className: "image" }, element("h3", { textContent: name }), predictionList(predictions));
}

// Buttons to choose one of several images.
function thumbnails(images, sources, chosen, choose) {
  if (images.length < 2) return [];
  const buttons = sources.map((src, number) => {
    const { name, predictions } = images[number];
    const says = [name, ...predictions.slice(0, 1).map(([first]) => first)].join(": ");
    const button = element(
      "button",
      { type: "button", ariaLabel: says, title: says },
      element("img", { src, alt: "" }),
    );
    button.addEventListener("click", () => {
      press(number);
      choose(number);
    });
    return button;
  });
  function press(number) {
    buttons.forEach((each, other) => {
      each.setAttribute("aria-pressed", other === number);
    });
  }
  press(chosen);
  return [element("div", { className: "thumbs", role: "group", ariaLabel: "images" }, ...buttons)];
}

const CROP_SHARE = 0.28; // of the picture's side

// The part of a picture around a position of a grid [rows, columns] over it.
function cropAround(picture, [row, column], [rows, columns], label) {
  const start = (index, count) => {
    const share = ((index + 0.5) / count - CROP_SHARE / 2) / (1 - CROP_SHARE);
    return `${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%`;
  };
  const crop = element("div", { className: "crop", role: "img", ariaLabel: label });
  crop.style.backgroundImage = `url("${picture}")`;
  crop.style.backgroundSize = `${100 / CROP_SHARE}%`;
  crop.style.backgroundPosition = `${start(column, columns)} ${start(row, rows)}`;
  return crop;
}
