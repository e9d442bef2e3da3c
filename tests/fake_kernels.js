// Kernels for tests/test_widgets.py, played inside the page.

// base64 -> what a kernel's message carries
const view = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

async function render(esm, model) {
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const module = await import(url);
  await module.default.render({ model, el: document.getElementById("here") });
}

function handlers() {
  const all = {};
  window.kernel = { restart: () => ((kernel.gone = true), all["comm_live_update"]()) };
  return all;
}

// answers each question after `delay` ms with pngs[index]; counts how many wait at once
window.answering = (esm, state, pngs, delay) => {
  const on = handlers();
  const log = (window.log = { asked: [], waiting: 0, most: 0 });
  const send = (message) => {
    if (kernel.gone) return;
    log.asked.push(message.index);
    log.most = Math.max(log.most, ++log.waiting);
    setTimeout(() => {
      log.waiting--;
      const png = pngs[message.index];
      const reply = { view: message.view, seq: message.seq };
      if (png) on["msg:custom"](reply, [view(png)]);
      else on["msg:custom"]({ ...reply, error: "ValueError: no" }, []);
    }, delay);
  };
  const model = { get: (k) => state[k], off() {}, on: (event, f) => (on[event] = f), send };
  return render(esm, model);
};

// answers every mask with the same picture; keeps the words and the masks
window.filling = (esm, state, answer) => {
  const on = handlers();
  const log = (window.log = []);
  state.picture = view(state.picture);
  const send = (message, _, buffers) => {
    log.push([message.text, [...new Uint8Array(buffers[0])]]);
    const reply = { view: message.view, seq: message.seq, text: message.text };
    setTimeout(() => on["msg:custom"](reply, [view(answer)]), 20);
  };
  const model = { get: (k) => state[k], off() {}, on: (event, f) => (on[event] = f), send };
  return render(esm, model);
};
