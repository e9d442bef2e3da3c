// Two models' pictures side by side, two questions, and what the answers say.
import { bytes, panel, text } from "./shared.js";

const WORTH = { A: 1, tie: 0.5, B: 0 };
const Z = 1.96; // 95%

// The same sum as in Python's `preference`.
export function preference(votes, question) {
  const given = new Map();
  for (const vote of votes) {
    if (vote[question]) given.set(JSON.stringify([vote.rater, vote.item]), vote);
  }
  if (!given.size) return null;
  const answers = [...given.values()];
  const share = (a) => answers.filter((v) => v[question] === a).length / answers.length;
  const items = new Map();
  for (const vote of answers) {
    items.set(vote.item, [...(items.get(vote.item) || []), WORTH[vote[question]]]);
  }
  const mean = (values) => values.reduce((x, y) => x + y) / values.length;
  const n = items.size;
  const p = mean([...items.values()].map(mean));
  const half = Z * Math.sqrt((p * (1 - p)) / n + (Z * Z) / (4 * n * n));
  const centre = p + (Z * Z) / (2 * n);
  const over = 1 + (Z * Z) / n;
  const low = Math.max(0, (centre - half) / over);
  const high = Math.min(1, (centre + half) / over);
  return {
    A: share("A"),
    tie: share("tie"),
    B: share("B"),
    preference: p,
    interval: [low, high],
    n,
    raters: new Set(answers.map((v) => v.rater)).size,
    verdict: low > 0.5 ? "A" : high < 0.5 ? "B" : "tie",
  };
}

function source(png) {
  if (typeof png === "string") return `data:image/png;base64,${png}`;
  const letters = [...bytes(png)].map((c) => String.fromCharCode(c)).join("");
  return `data:image/png;base64,${btoa(letters)}`;
}

function layout(questions) {
  const sides = [
    ["left", "the left"],
    ["tie", "indifferent"],
    ["right", "the right"],
  ];
  const buttons = sides.map(
    ([side, said]) =>
      `<button type="button" data-answer="${side}" aria-pressed="false">${said}</button>`,
  );
  const asked = Object.entries(questions).map(
    ([name, said]) =>
      `<div class="question" data-question="${name}">${text(said)}` +
      `<div class="chips">${buttons.join("")}</div></div>`,
  );
  return (
    '<label>your name <input type="text" class="rater" value="first rater" ' +
    'aria-label="your name"></label><div class="prompt"></div>' +
    '<div class="two"><span>left</span><span>right</span>' +
    '<img class="left" alt="left set"><img class="right" alt="right set"></div>' +
    asked.join("") +
    '<div class="bar"><button type="button" class="back">back</button>' +
    '<button type="button" class="on">next</button>' +
    '<button type="button" class="show">show result</button><output></output></div>' +
    '<div class="result" role="status"></div>'
  );
}

async function render({ model, el }) {
  const get = (name) => model.get(name);
  const [prompts, names, flip] = [get("prompts"), get("names"), get("flip")];
  const questions = Object.keys(get("questions"));
  const root = panel("rating", get, layout(get("questions")));
  const $ = (query) => root.querySelector(query);
  const rater = $(".rater");
  let item = 0;
  let votes = [...get("votes")];
  let shown = false;

  const who = () => rater.value.trim() || "nameless";
  const mine = (i) => votes.find((v) => v.rater === who() && v.item === i);
  // flipped: B stands on the left
  const modelOn = (i, side) =>
    side === "tie" ? "tie" : (side === "left") !== flip[i] ? "A" : "B";

  function everyButton(act) {
    for (const box of root.querySelectorAll(".question")) {
      for (const button of box.querySelectorAll("button"))
        act(button, box.dataset.question);
    }
  }

  function show() {
    $(".prompt").textContent = prompts[item];
    for (const side of ["left", "right"]) {
      const image = $(`.${side}`);
      image.src = source(get(modelOn(item, side).toLowerCase())[item]);
      image.width = get("width");
    }
    everyButton((button, question) => {
      const chosen = mine(item)?.[question] === modelOn(item, button.dataset.answer);
      button.setAttribute("aria-pressed", chosen);
    });
    const done = prompts.filter((_, i) => questions.every((q) => mine(i)?.[q])).length;
    $("output").textContent =
      `${item + 1} of ${prompts.length}, ${done} answered by ${who()}`;
    $(".back").disabled = item === 0;
    $(".on").disabled = item === prompts.length - 1;
    root.dataset.item = item;
    result();
  }

  function said(found) {
    const share = (x) => `${Math.round(100 * x)}%`;
    const [low, high] = found.interval.map(share);
    const name = { A: text(names[0]), B: text(names[1]), tie: "a tie" };
    const raters = `${found.raters} rater${found.raters > 1 ? "s" : ""}`;
    return [
      share(found.A),
      share(found.tie),
      share(found.B),
      `${share(found.preference)} [${low}, ${high}]`,
      name[found.verdict],
      `${found.n} prompts, ${raters}`,
    ];
  }

  function result() {
    $(".result").innerHTML = "";
    if (!shown) return;
    const row = (cells, tag) => cells.map((c) => `<${tag}>${c}</${tag}>`).join("");
    const [a, b] = names.map(text);
    const head = ["", a, "indifferent", b, `preference for ${a}, 95%`, "preferred", ""];
    const rows = questions.map((question) => {
      const found = preference(votes, question);
      const cells = found ? row(said(found), "td") : '<td colspan="6">no answer yet</td>';
      return `<tr data-result="${question}"><td>${question}</td>${cells}</tr>`;
    });
    $(".result").innerHTML = `<table><tr>${row(head, "th")}</tr>${rows.join("")}</table>`;
  }

  function vote(question, side) {
    const before = mine(item) || { rater: who(), item };
    const given = { ...before, [question]: modelOn(item, side) };
    votes = [...votes.filter((v) => v !== before), given];
    if (get("live")) {
      model.set("votes", votes);
      model.save_changes();
    }
    show();
  }

  everyButton((button, question) =>
    button.addEventListener("click", () => vote(question, button.dataset.answer)),
  );
  $(".back").addEventListener("click", () => {
    item--;
    show();
  });
  $(".on").addEventListener("click", () => {
    item++;
    show();
  });
  $(".show").addEventListener("click", () => {
    shown = !shown;
    $(".show").textContent = shown ? "hide result" : "show result";
    result();
  });
  rater.addEventListener("input", () => {
    item = 0;
    show();
  });
  model.on("change:votes", () => {
    votes = [...get("votes")];
    show();
  });
  show();
  el.replaceChildren(root);
}

export default { render };
