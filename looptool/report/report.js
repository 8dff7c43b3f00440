"use strict";
// The theme switch and the list of samples. Text from the data only ever becomes text nodes.
(() => {
  const PAGE = 25;
  const byId = (id) => document.getElementById(id);
  const { rows, tools } = JSON.parse(byId("data").textContent);

  const make = (tag, name, ...inside) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    element.append(...inside);
    return element;
  };

  const theme = byId("theme");
  const stored = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("looptool-theme") || "";
      localStorage.setItem("looptool-theme", value);
    } catch { /* a page from a file may have no storage */ }
    return value || "";
  };
  const dress = (value) => {
    if (value) document.documentElement.dataset.theme = value;
    else delete document.documentElement.dataset.theme;
    theme.value = value;
  };
  dress(["light", "dark"].includes(stored()) ? stored() : "");
  theme.addEventListener("change", () => { stored(theme.value); dress(theme.value); });

  const haystacks = rows.map((row) =>
    JSON.stringify([row, (row.tools || []).map((place) => tools[place].name)]).toLowerCase());

  const lines = (answer) => {
    if (answer === undefined) return ["(none)"];
    if (typeof answer === "string") return answer.split("\n");
    const calls = (answer.calls || []).flatMap((call) =>
      JSON.stringify({ name: call.name, arguments: call.arguments }, null, 2).split("\n"));
    return [...(answer.text ? answer.text.split("\n") : []), ...calls];
  };

  // Longest common subsequence; answers are of bounded length, longer ones are compared as a whole.
  const difference = (a, b) => {
    if (a.length * b.length > 250000) return [a.map((t) => [t, 1]), b.map((t) => [t, 1])];
    const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
    for (let i = a.length - 1; i >= 0; i--)
      for (let j = b.length - 1; j >= 0; j--)
        table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    const left = [], right = [];
    let i = 0, j = 0;
    while (i < a.length || j < b.length) {
      if (i < a.length && j < b.length && a[i] === b[j]) { left.push([a[i++], 0]); right.push([b[j++], 0]); }
      else if (j >= b.length || (i < a.length && table[i + 1][j] >= table[i][j + 1])) left.push([a[i++], 1]);
      else right.push([b[j++], 1]);
    }
    return [left, right];
  };

  const side = (title, marked, name) => {
    const pre = make("pre", "");
    for (const [text, changed] of marked) {
      const line = make("span", changed ? `line ${name}` : "line", text || " ");
      pre.append(line);
    }
    return make("div", "side", make("h4", "", title), pre);
  };

  const fact = (name, value) => make("span", "", `${name} `, make("b", "", String(value)));

  const turn = (message) => {
    const said = [message.text, message.calls].filter(Boolean).join("\n");
    const role = ["user", "assistant", "tool", "system"].includes(message.role) ? message.role : "other";
    return make("div", `turn ${role}`, make("div", "who", message.role), make("div", "said", said));
  };

  const heading = (text) => make("h3", "", text);

  const fill = (body, row) => {
    const facts = make("div", "facts", fact("sample", row.id), fact("fate", row.fate || "–"));
    if (row.parent) facts.append(fact("grown from", row.parent));
    if (row.ppl !== undefined) facts.append(fact("perplexity", row.ppl));
    if (row.passed !== undefined) facts.append(fact("pass rate", `${Math.round(100 * row.passed)}%`));
    if (row.error) facts.append(fact("error", row.error));
    body.append(facts, heading("Conversation"), ...(row.messages || []).map(turn));
    const [label, predicted] = difference(lines(row.label), lines(row.predicted));
    body.append(heading("Label and prediction"));
    const sides = make("div", "sides", side("Label", label, "del"), side("Prediction", predicted, "add"));
    if (row.new !== undefined) sides.append(side("New label", lines(row.new).map((t) => [t, 0]), ""));
    if (row.proposed !== undefined)
      sides.append(side("Proposed label, withheld", lines(row.proposed).map((t) => [t, 0]), ""));
    body.append(sides);
    if (row.difference) body.append(make("p", "who", `First difference: ${row.difference}`));
    if (row.note) body.append(make("p", "who", `Note: ${row.note}`));
    if (row.votes) {
      body.append(heading("Votes of the judge"));
      for (const vote of row.votes) {
        const who = `${vote.by}, ${vote.first} shown first: ${vote.verdict}${vote.error ? `, ${vote.error}` : ""}`;
        const why = [vote.why, vote.right && `Right: ${vote.right}`].filter(Boolean).join("\n");
        body.append(make("div", "turn", make("div", "who", who), make("div", "said", why)));
      }
    }
    if (row.tools) {
      const list = make("ul", "tools");
      for (const place of row.tools) {
        const tool = tools[place];
        list.append(make("li", "", make("code", "", `${tool.name}(${tool.parameters})`), ` ${tool.about}`));
      }
      body.append(heading("Tools (a star marks required parameters)"), list);
    }
  };

  const KNOWN = ["matched", "PRED_WRONG", "LABEL_WRONG", "BOTH_CORRECT", "BOTH_WRONG"];
  const show = (row) => {
    const last = [...(row.messages || [])].reverse().find((message) => message.role === "user");
    const tag = make("span", KNOWN.includes(row.outcome) ? `tag ${row.outcome}` : "tag", row.outcome || "–");
    const summary = make("summary", "",
      make("span", "tag", `round ${row.round}`), tag, make("span", "tag", row.kind || "–"),
      make("span", "tag", row.origin || "–"), make("span", "says", last ? last.text : row.id));
    const details = make("details", "sample", summary);
    details.addEventListener("toggle", () => {
      if (details.open && details.childElementCount === 1) {
        const body = make("div", "body");
        fill(body, row);
        details.append(body);
      }
    });
    return details;
  };

  const form = byId("filters"), query = byId("query");
  const selects = [...form.querySelectorAll("select[data-field]")];
  let found = rows, page = 0;

  const draw = () => {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    page = Math.min(page, pages - 1);
    byId("list").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(show));
    byId("count").textContent = `${found.length} of ${rows.length} samples`;
    byId("where").textContent = `page ${page + 1} of ${pages}`;
    byId("back").disabled = page === 0;
    byId("next").disabled = page >= pages - 1;
  };
  const search = () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = selects.filter((select) => select.value).map((s) => [s.dataset.field, s.value]);
    found = rows.filter((row, place) =>
      wanted.every(([name, value]) => String(row[name]) === value) &&
      words.every((word) => haystacks[place].includes(word)));
    page = 0;
    draw();
  };
  form.addEventListener("input", search);
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
  form.addEventListener("reset", () => setTimeout(search));
  const go = (step) => { page += step; draw(); byId("count").scrollIntoView({ block: "start" }); };
  byId("back").addEventListener("click", () => go(-1));
  byId("next").addEventListener("click", () => go(1));
  draw();
})();
