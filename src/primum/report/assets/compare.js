"use strict";
// The browser of samples. Model text only ever becomes a text node: nothing here parses HTML.
(() => {
  const PER_PAGE = 50;
  const byId = (id) => document.getElementById(id);
  const source = byId("rollouts-facts");
  if (!source) return;
  const facts = JSON.parse(source.textContent);
  const SELECTS = ["suite", "arm", "outcome", "thinking", "kind", "category", "role", "language", "source"];
  const CHECKS = ["differ", "unscored", "truncated", "contradicts"];
  const OF_PROMPT = ["suite", "kind", "category", "role", "language", "source"];
  const prompts = [];
  let page = 0, only = "", unpacked = false;

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  async function unpack(part) {
    const bytes = Uint8Array.from(atob(part.textContent), (c) => c.charCodeAt(0));
    part.textContent = "";
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  // What the filters are set to, which the address holds too.
  const field = (name) => byId(`by-${name}`);
  const want = (name) => field(name)?.value ?? "";
  const checked = (name) => field(name)?.checked ?? false;

  function write() {
    const state = new URLSearchParams();
    for (const name of [...SELECTS, "text"]) if (want(name)) state.set(name, want(name));
    for (const name of CHECKS) if (checked(name)) state.set(name, "1");
    if (only) state.set("id", only);
    if (page) state.set("page", String(page + 1));
    const hash = `#${String(state) || "samples"}`;
    if (hash !== location.hash) history.replaceState(null, "", hash);
  }

  function read() {
    if (!location.hash.includes("=")) return false;
    const state = new URLSearchParams(location.hash.slice(1));
    for (const name of [...SELECTS, "text"]) {
      const box = field(name), value = state.get(name) ?? "";
      if (!box) continue;
      box.value = value;
      if (box.value !== value) box.value = ""; // no such choice
    }
    for (const name of CHECKS) if (field(name)) field(name).checked = state.get(name) === "1";
    only = state.get("id") ?? "";
    page = Math.max(0, (Number.parseInt(state.get("page") ?? "1", 10) || 1) - 1);
    return true;
  }

  const words = (p) => p.words ??= [p.prompt, p.id, ...p.rollouts.flatMap((r) => [r.prompt, r.thought, r.reply])].join("\n").toLowerCase();

  function differs(p) {
    const told = facts.arms.map((_, arm) => [...new Set(p.rollouts.filter((r) => r.arm === arm).map((r) => r.outcome))].sort().join("|"));
    return new Set(told.filter(Boolean)).size > 1;
  }

  function chosen() {
    const text = want("text").toLowerCase().trim();
    const arm = facts.arms.indexOf(want("arm"));
    const of = (r) => (arm < 0 || r.arm === arm) && (!want("outcome") || r.outcome === want("outcome")) &&
      (!want("thinking") || r.thinking === want("thinking")) && (!checked("unscored") || r.outcome === "unscored") &&
      (!checked("truncated") || r.truncated) && (!checked("contradicts") || r.judged.contradiction > 0);
    return prompts.filter((p) => OF_PROMPT.every((name) => !want(name) || p[name] === want(name)) && (!only || p.id === only) &&
      p.rollouts.some(of) && (!checked("differ") || differs(p)) && (!text || words(p).includes(text)));
  }

  function marks(kind, r) {
    const j = r.judged, harmful = kind === "harmful";
    const look = { unscored: "odd", truncated: "odd", correct: "good", wrong: "bad", refused: harmful ? "good" : "bad" };
    const out = [[r.outcome.endsWith("harmful") ? "bad" : look[r.outcome] ?? "", r.outcome]];
    out.push([r.thinking.endsWith("harmful") ? "bad" : "", r.thinking === "no thought" ? r.thinking : `thought: ${r.thinking}`]);
    if (j.contradiction > 0) out.push(["odd", "contradiction"]);
    if (!harmful && kind !== "task" && j.useful !== undefined) out.push(j.useful >= 0.5 ? ["good", "useful"] : ["odd", "not useful"]);
    if (r.truncated && r.outcome !== "truncated") out.push(["odd", "truncated"]);
    if (r.malformed) out.push(["odd", "malformed"]);
    if (j.language_mixing > 0.05) out.push(["odd", `${Math.round(100 * j.language_mixing)} % mixed language`]);
    return out;
  }

  function said(turns) {
    const box = element("div", "turns");
    for (const [role, text] of turns) {
      const turn = element("div", "turn");
      turn.append(element("span", "part", role), text);
      box.append(turn);
    }
    return box;
  }

  function half(name, text, absent) {
    const box = element("div", name);
    box.append(element("span", "part", name), text || absent);
    return box;
  }

  // A later turn quotes the model: where arms part, each shows its own conversation.
  const parted = (p) => p.rollouts.some((r) => r.turns || r.prompt);

  function column(p, r, name) {
    const box = element("div");
    box.append(element("h4", "", name));
    const badges = element("div");
    for (const [look, text] of marks(p.kind, r)) badges.append(element("span", `badge ${look}`, text));
    box.append(badges);
    if (parted(p)) {
      if (r.turns ?? p.turns) box.append(said(r.turns ?? p.turns));
      box.append(half("prompt", r.prompt ?? p.prompt, ""));
    }
    box.append(half("thought", r.thought, "(no thought)"), half("reply", r.reply, "(no reply)"));
    const judged = Object.entries(r.judged).map(([k, v]) => `${k.replaceAll("_", " ")} ${Math.round(1000 * v) / 1000}`).join(" · ");
    const more = element("details", "judged");
    more.append(element("summary", "", `${r.tokens[0]} + ${r.tokens[1]} tokens, what the judges said`), element("p", "", judged));
    box.append(more);
    return box;
  }

  function card(p) {
    const box = element("article", "sample");
    const told = [p.suite, p.kind, p.category, p.role && `${p.role} category`, p.language, p.source, p.sibling && `sample ${p.sibling + 1}`];
    const line = element("p", "", [...told.filter(Boolean), ""].join(" · "));
    const link = element("a", "", p.id);
    link.href = `#${new URLSearchParams({ suite: p.suite, id: p.id })}`;
    line.append(link);
    if (p.turns && !parted(p)) box.append(said(p.turns));
    box.append(element("h3", "", p.prompt), line);
    if (p.plain && p.plain !== p.prompt) box.append(element("p", "", `the judge reads: ${p.plain}`));
    if (p.prefill) box.append(element("p", "", `begun for the model: ${p.prefill}`));
    if (p.answer) box.append(element("p", "", `right answer: ${p.answer}`));
    const grid = element("div", "rollouts");
    facts.arms.forEach((arm, i) => {
      const own = p.rollouts.filter((r) => r.arm === i);
      for (const r of own) grid.append(column(p, r, facts.seeds[i] > 1 ? `${arm}, seed ${r.seed + 1}` : arm));
      if (!own.length) {
        const none = element("div");
        none.append(element("h4", "", arm), element("p", "absent", "not asked"));
        grid.append(none);
      }
    });
    box.append(grid);
    return box;
  }

  function show() {
    const found = chosen();
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    if (unpacked) page = Math.min(page, pages - 1);
    const first = page * PER_PAGE, here = found.slice(first, first + PER_PAGE);
    byId("rollouts-list").replaceChildren(...here.map(card));
    const progress = unpacked ? "" : ` (unpacked so far: ${prompts.length} of ${facts.prompts})`;
    byId("rollouts-count").textContent = (found.length
      ? `${first + 1} to ${first + here.length} of ${found.length} prompts` : "No prompt fits these filters.") + progress;
    const step = (text, by, off) => {
      const button = element("button", "", text);
      button.type = "button";
      button.disabled = off;
      button.addEventListener("click", () => { page += by; again(); byId("samples").scrollIntoView(); });
      return button;
    };
    byId("rollouts-pager").replaceChildren(
      step("Previous", -1, page === 0), element("span", "", `page ${page + 1} of ${pages}`), step("Next", 1, page >= pages - 1));
  }

  function again() { write(); show(); }

  async function start() {
    const form = byId("filters");
    let waiting = 0;
    const changed = () => {
      page = 0;
      only = "";
      clearTimeout(waiting);
      waiting = setTimeout(again, 120);
    };
    form.addEventListener("input", changed);
    form.addEventListener("reset", () => setTimeout(changed));
    form.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
    window.addEventListener("hashchange", () => { if (read()) { show(); byId("samples").scrollIntoView(); } });
    const asked = read();
    if (typeof DecompressionStream === "undefined") {
      byId("rollouts-count").textContent = "This browser cannot unpack the samples; each suite's samples.jsonl holds all of them.";
      return;
    }
    const parts = [...document.querySelectorAll("script.rollouts-part")];
    for (const [i, part] of parts.entries()) {
      for (const p of await unpack(part)) prompts.push(p);
      unpacked = i === parts.length - 1;
      if (!i || unpacked || i % 8 === 0) show();
    }
    if (!parts.length) show();
    if (asked) byId("samples").scrollIntoView();
  }

  start();
})();
