// The page itself: what the results are of, and a section for each of them.

const SECTIONS = { dictionary: dictionarySection, factorization: factorizationSection, flows: flowsSection };
const LOAD_AGAIN = 5000; // milliseconds; the command that completes a page writes it as often
const ABANDONED = 60000; // milliseconds since it was written: nobody completes it any more

function showPage(results) {
  const [first] = results;
  const memory = history.state?.memory ?? [];
  if (first?.model) document.getElementById("about").textContent = `${first.model}, weights ${first.version}`;
  const sections = results.map((result, number) => {
    memory[number] ??= {};
    const node = SECTIONS[result.kind](result, memory[number]);
    if (!isAboutOneImage(results) && result.images.length === 1)
      node.querySelector("h2").after(imageHeading(result.images[0]));
    return node;
  });
  if (isAboutOneImage(results))
    document.getElementById("predictions").append(predictionList(first.images[0].predictions));
  document.querySelector("main").append(...sections);
  focusables()[history.state?.focused]?.focus({ preventScroll: true });
  loadAgainWhileCompleted(memory);
}

// Whether all results are of one and the same image, whose predictions then stand at the top, once.
function isAboutOneImage(results) {
  const told = new Set(
    results.map(({ images }) => JSON.stringify(images.map(({ name, predictions }) => [name, predictions]))),
  );
  return told.size === 1 && results[0].images.length === 1;
}

// While a command completes this page, show what it has written since. A page that is a file cannot read another, but it
// can be loaded again: what the reader has chosen is kept in the history's entry meanwhile, and the browser keeps the place.
function loadAgainWhileCompleted(memory) {
  const written = document.getElementById("missing")?.dataset.written;
  if (!written || Date.now() - written > ABANDONED) return;
  setTimeout(() => {
    if (!getSelection().isCollapsed) return loadAgainWhileCompleted(memory); // somebody is copying a text
    history.replaceState({ memory, focused: focusables().indexOf(document.activeElement) }, "");
    location.reload();
  }, LOAD_AGAIN);
}

function focusables() {
  return [...document.querySelectorAll("button, [tabindex]")];
}

showPage(JSON.parse(document.getElementById("data").textContent));
