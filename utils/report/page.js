"use strict";

const MOVE = 700, REST = 1100; // milliseconds: to a view, and at rest where there are several
const still = window.matchMedia("(prefers-reduced-motion: reduce)");
const one = (selector, place = document) => place.querySelector(selector);
const all = (selector, place = document) => [...place.querySelectorAll(selector)];

/* ------------------------------------------------------------------ a picture that turns to its views */

/** Draws the way from a picture at rest to one of its views, out of the card's sheet of frames. */
class Turner {
  constructor(card, place, changed) {
    this.poses = Number(card.dataset.poses);
    this.frames = Number(card.dataset.frames);
    this.changed = changed; // is told which view is seen, 0 at rest
    this.pose = 0;
    this.share = 0;
    this.canvas = document.createElement("canvas");
    this.canvas.className = "turner";
    this.canvas.hidden = true;
    this.canvas.setAttribute("aria-hidden", "true");
    place.append(this.canvas);
    this.sheet = new Image();
    this.ready = new Promise((done) => { this.sheet.onload = done; });
    this.sheet.src = card.dataset.sheet;
  }

  draw() {
    const side = this.sheet.naturalWidth / this.frames;
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    const frame = Math.round(this.share * (this.frames - 1));
    this.canvas.getContext("2d").drawImage(this.sheet, frame * side, this.pose * side, side, side, 0, 0, side, side);
    this.canvas.hidden = this.share === 0;
    this.changed(this.share < 0.5 ? 0 : this.pose + 1);
  }

  /** Goes to a share of the way; resolves to whether it arrived before something else was asked for. */
  async go(goal) {
    const asked = (this.asked = {});
    await this.ready;
    let before = performance.now();
    while (this.asked === asked && this.share !== goal) {
      const now = await new Promise(requestAnimationFrame);
      const way = still.matches ? 1 : Math.max(0, now - before) / MOVE;
      this.share = goal > this.share ? Math.min(goal, this.share + way) : Math.max(goal, this.share - way);
      before = now;
      this.draw();
    }
    return this.asked === asked;
  }

  /** Turns to every view in turn, until something else is asked for. */
  async play() {
    if (this.share > 0 && this.poses > 1 && !(await this.go(0))) return;
    while (await this.go(1)) {
      if (this.poses < 2) return;
      const asked = this.asked;
      await wait(REST);
      if (this.asked !== asked || !(await this.go(0))) return;
      this.pose = (this.pose + 1) % this.poses;
    }
  }
}

const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function turnUnderPointer(card) {
  const button = one(".open", card), prompts = all(".prompts .prompt", card);
  let turner = null;
  const play = () => {
    turner ??= new Turner(card, button, (seen) => {
      card.dataset.seen = seen;
      prompts.forEach((prompt, index) => prompt.classList.toggle("on", index === seen));
    });
    turner.play();
  };
  const rest = () => turner?.go(0);
  card.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") play(); });
  card.addEventListener("pointerleave", rest);
  button.addEventListener("focus", () => { if (button.matches(":focus-visible")) play(); });
  button.addEventListener("blur", rest);
}

/* ------------------------------------------------------------------ one picture, large */

const dialog = one("#large");
const cards = () => all(".card").filter((card) => card.offsetParent !== null);
let shown = null; // the card that is open
let turner = null, look = 0;
let globe = null; // the viewer of the sphere that is open

function open(card) {
  shown = card;
  look = 0;
  const content = one("template", card).content.cloneNode(true);
  one(".content", dialog).replaceChildren(content);
  const stage = one(".stage", dialog), first = one(".look", stage), some = cards();
  turner = card.dataset.poses ? new Turner(card, first, () => {}) : null;
  one(".place", dialog).textContent = some.length > 1 ? `${some.indexOf(card) + 1} of ${some.length}` : "";
  all(".step", dialog).forEach((button) => { button.hidden = some.length < 2; });
  all(".looks button", dialog).forEach((button) => button.addEventListener("click", () => show(Number(button.dataset.look))));
  stage.addEventListener("click", (event) => { if (event.target.closest(".look") && turner) show((look + 1) % (turner.poses + 1)); });
  all(".scroll", stage).forEach(drag);
  if (!dialog.open) dialog.showModal();
  stage.focus();
  lookInto(one(".globe", stage));
}

/** Shows the sphere that is open in the viewer, or unrolled where that does not work here; before, leaves the last one. */
function lookInto(place) {
  globe?.destroy();
  globe = null;
  if (!place) return;
  const flat = place.nextElementSibling;
  const viewer = globe = lookAround(place, flat.src, () => {
    if (globe !== viewer) return;
    globe = null;
    place.hidden = true;
    flat.hidden = false;
    one(".hint", dialog).textContent = "This browser shows no 3-D graphics, so the sphere is unrolled here.";
  });
  place.focus();
}

/** Shows a look; from one view to another the picture turns. */
async function show(next) {
  const card = shown, last = look, places = all(".look", dialog);
  if (next === last || !places[next]) return;
  look = next;
  all(".looks button", dialog).forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.look) === next)));
  if (turner && last <= turner.poses && next <= turner.poses) {
    reveal(places, 0);
    if (last > 0 && turner.share === 0) { turner.pose = last - 1; turner.share = 1; turner.draw(); }
    if (next > 0 && turner.pose !== next - 1 && turner.share > 0 && !(await turner.go(0))) return;
    if (next > 0) turner.pose = next - 1;
    if (!(await turner.go(next > 0 ? 1 : 0)) || shown !== card) return;
    turner.share = 0;
    turner.canvas.hidden = true;
  } else if (turner) {
    turner.asked = null;
    turner.share = 0;
    turner.canvas.hidden = true;
  }
  reveal(places, next);
}

function reveal(places, seen) {
  places.forEach((place, index) => {
    place.hidden = index !== seen;
    const video = one("video", place);
    if (video && index === seen) video.play().catch(() => {});
    else if (video) video.pause();
  });
  if (one(".globe", places[seen])) globe?.resize(); // the window may have changed while it was hidden
}

function step(by) {
  const some = cards(), place = some.indexOf(shown);
  if (some.length > 1) open(some[(place + by + some.length) % some.length]);
}

/** Lets a strip be drawn along by the pointer, and by a wheel that turns up and down. */
function drag(strip) {
  let from = null;
  strip.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") return;
    from = event.clientX + strip.scrollLeft;
    strip.setPointerCapture(event.pointerId);
    strip.classList.add("dragged");
  });
  strip.addEventListener("pointermove", (event) => { if (from !== null) strip.scrollLeft = from - event.clientX; });
  for (const end of ["pointerup", "pointercancel"]) {
    strip.addEventListener(end, () => { from = null; strip.classList.remove("dragged"); });
  }
  strip.addEventListener("wheel", (event) => {
    if (Math.abs(event.deltaY) <= Math.abs(event.deltaX)) return;
    strip.scrollLeft += event.deltaY;
    event.preventDefault();
  }, { passive: false });
}

dialog.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const along = event.target.closest(".scroll, .globe"); // a strip or sphere that has the focus takes the arrows itself
  if (event.key === "PageDown" || (event.key === "ArrowRight" && !along)) step(1);
  else if (event.key === "PageUp" || (event.key === "ArrowLeft" && !along)) step(-1);
  else if (/^[1-9]$/.test(event.key)) show(Number(event.key) - 1);
  else if (event.key === " " && turner && !event.target.closest("button")) show((look + 1) % (turner.poses + 1));
  else return;
  event.preventDefault();
});
dialog.addEventListener("close", () => {
  lookInto(null);
  one(".content", dialog).replaceChildren();
  if (shown) one(".open", shown).focus();
  shown = turner = null;
});
one(".close", dialog).addEventListener("click", () => dialog.close());
all(".step", dialog).forEach((button) => button.addEventListener("click", () => step(Number(button.dataset.step))));
all(".card").forEach((card) => {
  one(".open", card).addEventListener("click", () => open(card));
  if (card.dataset.poses) turnUnderPointer(card);
});

/* ------------------------------------------------------------------ sorting and filtering */

const items = all("#cards > *"); // cards, or lines of them
const controls = one("#controls");
const number = (text) => (text === "" || text === undefined ? -Infinity : Number(text));
const orders = {
  made: () => 0,
  prompt: (a, b) => a.dataset.prompt.localeCompare(b.dataset.prompt),
  score: (a, b) => number(b.dataset.score) - number(a.dataset.score),
  alignment: (a, b) => number(b.dataset.alignment) - number(a.dataset.alignment),
  seed: (a, b) => number(a.dataset.seed) - number(b.dataset.seed),
};

function arrange() {
  const words = one("#find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const seed = one("#seed")?.value ?? "", least = one("#least"), best = one("#best")?.checked;
  const limit = least && Number(least.value) > Number(least.min) ? Number(least.value) : -Infinity;
  if (least) one("#least-shown").textContent = Number(least.value).toFixed(3);
  for (const item of items) {
    const prompt = item.dataset.prompt.toLowerCase();
    item.hidden = !(words.every((word) => prompt.includes(word)) && (seed === "" || item.dataset.seed === seed)
      && (limit === -Infinity || number(item.dataset.score) >= limit) && (!best || item.dataset.best === "1"));
  }
  const order = orders[one("#order")?.value ?? "made"]; // sorting keeps equals in the order in which they were made
  one("#cards").append(...[...items].sort(order));
  const left = items.filter((item) => !item.hidden).length;
  one(".count").textContent = `${left === items.length ? "" : `${left} of `}${items.length} ${controls.dataset.what}`;
  one(".nothing").hidden = left > 0;
}

if (controls) {
  const scores = items.map((item) => number(item.dataset.score)).filter(Number.isFinite), least = one("#least");
  if (least) {
    least.min = Math.floor(Math.min(...scores) * 1e6) / 1e6; // digits that a browser keeps: none is left out at first
    least.max = Math.ceil(Math.max(...scores) * 1e6) / 1e6;
    least.value = least.min;
  }
  controls.addEventListener("input", arrange);
  controls.addEventListener("submit", (event) => event.preventDefault());
  one("#clear").addEventListener("click", () => {
    controls.reset();
    if (least) least.value = least.min;
    arrange();
    one("#find").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || dialog.open || event.target.closest("input, select")) return;
    event.preventDefault();
    one("#find").focus();
  });
  arrange();
}
