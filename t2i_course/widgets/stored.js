// A page without a kernel: the widget reads its state from the page and nobody answers.
for (const el of document.querySelectorAll(`[data-t2i="${NAME}"]:not([data-ready])`)) {
  el.dataset.ready = "1";
  render({ el, model: { get: (key) => STATE[key], on() {}, off() {}, send() {} } });
}
