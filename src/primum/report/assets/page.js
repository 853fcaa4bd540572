"use strict";
// Model text only ever becomes a text node: nothing here parses HTML.
(() => {
  const PER_PAGE = 10;
  const byId = (id) => document.getElementById(id);

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function theme() {
    const button = byId("theme");
    const choices = ["auto", "light", "dark"];
    let at = 0;
    try { at = Math.max(0, choices.indexOf(localStorage.getItem("primum-theme"))); } catch { /* storage may be closed to files */ }
    const show = () => {
      if (at) document.documentElement.dataset.theme = choices[at];
      else delete document.documentElement.dataset.theme;
      button.setAttribute("aria-label", `Theme: ${choices[at]}`);
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      at = (at + 1) % choices.length;
      try { localStorage.setItem("primum-theme", choices[at]); } catch { /* as above */ }
      show();
    });
    show();
  }

  function marks(kind, r) {
    const out = [];
    if (r.outcome) out.push([r.outcome === "unscored" ? "odd" : "", r.outcome]);
    if (r.harm_in_reply >= 0.5) out.push(["bad", "harmful reply"]);
    if (r.harm_in_thought >= 0.5) out.push(["bad", "harmful thought"]);
    if (r.refusal === 1) out.push([kind === "harmful" ? "good" : "bad", "refused"]);
    else if (r.refusal > 0) out.push(["odd", "partly refused"]);
    if (kind === "task" && r.correct !== undefined) out.push(r.correct >= 0.5 ? ["good", "correct"] : ["bad", "wrong"]);
    if (kind !== "task" && kind !== "harmful" && r.useful !== undefined) out.push(r.useful >= 0.5 ? ["good", "useful"] : ["odd", "not useful"]);
    if (r.truncated) out.push(["odd", "truncated"]);
    if (r.well_formed === false) out.push(["odd", "malformed"]);
    if (r.language_mixing > 0.05) out.push(["odd", `${Math.round(100 * r.language_mixing)} % mixed language`]);
    if (!r.outcome && kind !== "task" && r.harm_in_reply === undefined) out.push(["odd", "unscored"]);
    return out.filter((m, i) => !(i === 0 && out.slice(1).some((other) => other[1] === m[1])));
  }

  function rollout(name, kind, r) {
    const box = element("div");
    box.append(element("h4", "", name));
    if (!r) { box.append(element("p", "absent", "not sampled")); return box; }
    const badges = element("div");
    for (const [look, text] of marks(kind, r)) badges.append(element("span", `badge ${look}`, text));
    const thought = element("div", "thought"), reply = element("div", "reply");
    thought.append(element("span", "part", "thought"), r.thought || "(no thought)");
    reply.append(element("span", "part", "reply"), r.reply || "(no reply)");
    box.append(badges, thought, reply);
    if (r.thought_tokens !== undefined) box.append(element("p", "length", `${r.thought_tokens} + ${r.reply_tokens ?? "?"} tokens`));
    return box;
  }

  function samples() {
    const source = byId("samples-data");
    if (!source) return;
    const data = JSON.parse(source.textContent);
    const field = (name) => byId(`filter-${name}`);
    let page = 0;

    const outcomes = (p) => data.arms.map((a) => [a, p.arms[a]?.outcome ?? ""]).filter((o) => o[1]);
    const fill = (name, values) => {
      for (const v of [...new Set(values)].filter(Boolean)) {
        const option = element("option", "", name === "arm" ? data.names[v] : v);
        option.value = v;
        field(name).append(option);
      }
    };
    for (const name of ["kind", "role", "category"]) fill(name, data.prompts.map((p) => p[name]));
    fill("arm", data.arms);
    fill("outcome", data.prompts.flatMap((p) => outcomes(p).map((o) => o[1])).sort());
    for (const p of data.prompts) {
      p.text = [p.prompt, ...Object.values(p.arms).flatMap((r) => [r.thought, r.reply])].join("\n").toLowerCase();
    }

    const chosen = () => {
      const want = (name) => field(name).value;
      const words = want("text").toLowerCase().trim();
      return data.prompts.filter((p) =>
        ["kind", "role", "category"].every((name) => !want(name) || p[name] === want(name)) &&
        (!want("arm") || p.arms[want("arm")]) &&
        (!want("outcome") || outcomes(p).some(([a, o]) => o === want("outcome") && (!want("arm") || a === want("arm")))) &&
        (!field("differ").checked || new Set(outcomes(p).map((o) => o[1])).size > 1) &&
        (!words || p.text.includes(words)));
    };

    function card(p) {
      const box = element("article", "sample");
      const facts = [p.kind, p.category, p.role && `${p.role} category`, p.id].filter(Boolean).join(" · ");
      const grid = element("div", "rollouts");
      for (const a of data.arms) grid.append(rollout(data.names[a], p.kind, p.arms[a]));
      box.append(element("h3", "", p.prompt), element("p", "", facts), grid);
      return box;
    }

    function show() {
      const found = chosen();
      const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
      page = Math.min(page, pages - 1);
      const first = page * PER_PAGE;
      const here = found.slice(first, first + PER_PAGE);
      byId("samples-list").replaceChildren(...here.map(card));
      byId("samples-count").textContent = found.length
        ? `${first + 1} to ${first + here.length} of ${found.length} prompts`
        : "No prompt fits these filters.";
      const step = (text, by, off) => {
        const button = element("button", "", text);
        button.type = "button";
        button.disabled = off;
        button.addEventListener("click", () => { page += by; show(); byId("samples").scrollIntoView(); });
        return button;
      };
      byId("samples-pager").replaceChildren(
        step("Previous", -1, page === 0), element("span", "", `page ${page + 1} of ${pages}`), step("Next", 1, page >= pages - 1));
    }

    const again = () => { page = 0; show(); };
    byId("filters").addEventListener("input", again);
    byId("filters").addEventListener("submit", (event) => { event.preventDefault(); again(); });
    show();
  }

  theme();
  samples();
})();
