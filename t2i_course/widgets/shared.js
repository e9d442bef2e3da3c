// What every widget of the course needs. Python puts this file in front of each of them.

// What stands there when the kernel that answered a widget is gone, or takes long.
export const GONE = "The kernel was restarted: run this cell again.";
const SLOW = "No answer yet. The kernel is busy; if it was restarted, run this cell again.";
const PATIENCE = 20000; // milliseconds

// Binary data: base64 on a page without a kernel, a DataView with one.
export function bytes(data) {
  if (typeof data === "string") return Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

// Numbers as float32.
export function floats(data) {
  const raw = bytes(data);
  return new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
}

// Bytes of a picture -> decoded. Awaited before anything on the page is touched.
export function bitmap(data, type = "image/png") {
  return createImageBitmap(new Blob([bytes(data)], { type }));
}

// Text that stays text in HTML.
export function text(value) {
  return String(value).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

// The same, with x_t and x0_hat typeset as in the prose.
export function rich(value) {
  return text(value)
    .replace("x0_hat", "x\u0302_0")
    .replace(/([A-Za-z0-9]\u0302?)_([A-Za-z0-9]+)/g, "$1<sub>$2</sub>");
}

// The frame of a widget: style, title, `inner`, caption. Its keys do not reach JupyterLab.
export function panel(kind, get, inner) {
  const root = document.createElement("div");
  const line = (name) => (get(name) ? `<div class="${name}">${rich(get(name))}</div>` : "");
  root.className = `t2i-${kind}`;
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", get("title") || kind);
  root.innerHTML = `<style>${get("css")}</style>${line("title")}${inner}${line("caption")}`;
  root.dataset.lmSuppressShortcuts = "true";
  root.addEventListener("keydown", (event) => event.stopPropagation());
  return root;
}

// How often something was drawn on an element: tests and screen readers look here.
export function count(element) {
  element.dataset.drawn = Number(element.dataset.drawn || 0) + 1;
}

// One name for a view, so that it knows which answers are its own.
export function viewName() {
  return Math.random().toString(36).slice(2);
}

// Questions to the kernel. tell(sentence): where a kernel that is gone or slow is named.
export function kernel(model, answer, tell) {
  let timer = 0;
  let lost = false;
  const listen = (message, buffers) => {
    clearTimeout(timer);
    lost = false;
    answer(message, buffers);
  };
  const leave = () => {
    clearTimeout(timer);
    lost = true;
    tell(GONE);
  };
  model.on("msg:custom", listen);
  model.on("comm_live_update", leave);
  return {
    lost: () => lost,
    ask(message, buffers = []) {
      clearTimeout(timer);
      if (lost) tell(GONE);
      else timer = setTimeout(() => tell(SLOW), PATIENCE);
      model.send(message, undefined, buffers);
    },
    close() {
      clearTimeout(timer);
      model.off("msg:custom", listen);
      model.off("comm_live_update", leave);
    },
  };
}
