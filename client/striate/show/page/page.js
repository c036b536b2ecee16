// The page itself: what the results are of, and a section for each of them.

const SECTIONS = { dictionary: dictionarySection, factorization: factorizationSection, flows: flowsSection };

function predictionRow([name, probability]) {
  const bar = element("div", { className: "bar" });
  bar.style.width = `${probability * 100}%`;
  return element(
    "li",
    {},
    element("span", { textContent: name }),
    bar,
    element("span", { className: "number", textContent: `${(probability * 100).toFixed(1)}%` }),
  );
}

function showPage(results) {
  const [first] = results; // its model and predictions stand at the top: a page is about one image
  if (first?.model) document.getElementById("about").textContent = `${first.model}, weights ${first.version}`;
  document.getElementById("predictions").append(...(first?.predictions ?? []).map(predictionRow));
  document.querySelector("main").append(...results.map((result) => SECTIONS[result.kind](result)));
}

showPage(JSON.parse(document.getElementById("data").textContent));
