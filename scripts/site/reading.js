// What the course's pages do beside smalldocs: boxes that scroll are reached by keys; and how far
// the readings were read is kept in this browser alone, shown in the sidebar, and offered as a
// place to go on from. Nothing leaves the browser.
(() => {
  "use strict";
  const KEY = "t2i-read";
  const READING = /readings\/(\w+)\.html$/;

  function kept() {
    try {
      return JSON.parse(localStorage.getItem(KEY)) || {};
    } catch (error) {
      return {}; // a private window, or something else's words
    }
  }

  function keep(name, place) {
    try {
      localStorage.setItem(KEY, JSON.stringify({ ...kept(), [name]: place }));
    } catch (error) {
      // a private window
    }
  }

  // what scrolls by itself can be scrolled by keys
  function reachable() {
    for (const box of document.querySelectorAll("main .cell-output-display, main pre, main table"))
      if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
  }
  reachable();
  addEventListener("load", reachable);
  addEventListener("resize", reachable);

  const nameOf = (url) => (new URL(url, location.href).pathname.match(READING) || [])[1];

  // beside each reading of the sidebar, the share of it that was seen
  function mark() {
    const read = kept();
    for (const link of document.querySelectorAll("#quarto-sidebar a.sidebar-link[href]")) {
      const place = read[nameOf(link.href)];
      if (!place) continue;
      let badge = link.querySelector(".read");
      if (!badge) {
        badge = document.createElement("span");
        badge.className = "read";
        link.append(" ", badge);
      }
      badge.textContent = place.share >= 0.97 ? "\u2713" : `${Math.round(100 * place.share)} %`;
      badge.setAttribute("aria-label", `read to ${Math.round(100 * place.share)} %`);
      badge.setAttribute("role", "img");
    }
  }

  const name = nameOf(location.href);
  const main = document.querySelector("main");
  const idOf = (part) => part.id || (part.closest("section[id]") || {}).id;
  const parts = [...document.querySelectorAll("main h2")].filter(idOf);

  function seen() {
    const { bottom, height } = main.getBoundingClientRect();
    const share = Math.min(1, Math.max(0, 1 - (bottom - innerHeight) / height));
    const part = parts.filter((p) => p.getBoundingClientRect().top < innerHeight / 2).pop();
    const before = kept()[name] || { share: 0 };
    if (part || share >= before.share)
      keep(name, { share: Math.max(share, before.share), part: part && idOf(part) });
    mark();
  }

  // one line below the title that leads to the part where the reader was
  function offer() {
    const place = kept()[name];
    const target = place && place.part && document.getElementById(place.part);
    if (!target || location.hash) return;
    const heading = target.matches("h2") ? target : target.querySelector("h2");
    const line = document.createElement("p");
    const link = document.createElement("a");
    line.className = "go-on";
    link.href = `#${place.part}`;
    link.textContent = `Go on where you were: ${heading.textContent.trim()}`;
    line.append(link);
    (document.querySelector("#title-block-header") || main.firstElementChild).after(line);
  }

  mark();
  if (!name || !main) return;
  offer();
  let waiting = 0;
  addEventListener("scroll", () => {
    clearTimeout(waiting);
    waiting = setTimeout(seen, 300);
  }, { passive: true });
})();
