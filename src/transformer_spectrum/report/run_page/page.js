// The report's only script: draws the figures, switches the theme, mutes optimizers, saves data. No network.
(() => {
  "use strict";
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const muted = new Set();

  // Colours are CSS variables, so that a change of theme, or a printer, redraws nothing.
  const CONFIG = {
    aria: false, // the holder has a description, and the numbers stand below it as a table
    background: null,
    font: "system-ui, sans-serif",
    axis: {
      labelColor: "var(--quiet)", titleColor: "var(--ink)", gridColor: "var(--grid)", domainColor: "var(--line)",
      tickColor: "var(--line)", labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal",
    },
    axisY: { minExtent: 34 },
    view: { stroke: "transparent" },
    header: { labelColor: "var(--ink)", labelFontSize: 12, labelFontWeight: "bold", labelAnchor: "start", labelLimit: 300 },
    legend: { labelColor: "var(--quiet)", titleColor: "var(--ink)", labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal" },
    line: { clip: true }, point: { clip: true }, rect: { clip: true }, rule: { clip: true },
  };

  // --- Theme ---------------------------------------------------------------------------------------------------
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`);
  };
  if (["dark", "light"].includes(stored())) root.dataset.theme = stored();
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a page without storage forgets */ }
    label();
  });
  system.addEventListener("change", label);
  label();
  button.hidden = false;
  document.getElementById("no-script").remove();

  // --- Figures -------------------------------------------------------------------------------------------------
  /** As many columns as fit; panels share the width. `panels` is {least, most, gutter}, pixels. */
  function fit(spec, width) {
    const { least, most, gutter } = spec.usermeta.panels;
    const columns = Math.max(1, Math.min(most, Math.floor(width / (least + gutter))));
    const inner = Math.max(120, Math.floor(width / columns) - gutter);
    if (spec.facet) {
      spec.columns = columns;
      spec.spec.width = inner;
    } else if (spec.concat) {
      spec.columns = columns;
      for (const one of spec.concat) one.width = inner;
    } else {
      spec.width = width;
      spec.autosize = { type: "fit-x", contains: "padding" };
    }
  }

  /** Titles "= expression" follow the variables that the reader chooses; Vega-Lite itself cannot say so. */
  function live(tree) {
    if (Array.isArray(tree)) return tree.map(live);
    if (!tree || typeof tree !== "object") return tree;
    const out = {};
    for (const [key, value] of Object.entries(tree)) {
      const expression = key === "title" && typeof value === "string" && value.startsWith("=");
      out[key] = expression ? { signal: value.slice(1).trim() } : key === "values" ? value : live(value);
    }
    return out;
  }

  const drawn = new Map();

  async function draw(name) {
    const { spec, data, parse } = figures[name];
    const holder = document.getElementById(`${name}-figure`);
    const copy = structuredClone(spec);
    const width = holder.clientWidth;
    const format = { type: "csv", parse: Object.fromEntries(parse.map((column) => [column, "number"])) };
    copy.data = { values: data, format };
    fit(copy, width);
    const before = drawn.get(name);
    const controls = document.getElementById(`${name}-controls`);
    for (const param of copy.params || []) {
      if (!param.bind) continue;
      param.bind.element = `#${name}-controls`;
      if (before) param.value = before.view.signal(param.name); // a new width keeps what was chosen
    }
    copy.params = [...(copy.params || []), { name: "muted", value: [...muted] }];
    if (before) before.finalize();
    controls.replaceChildren();
    const options = { mode: "vega-lite", renderer: "svg", actions: false, config: CONFIG, patch: live };
    const result = await vegaEmbed(holder, copy, options);
    drawn.set(name, Object.assign(result, { width }));
  }

  async function drawAll() {
    for (const name of Object.keys(figures)) {
      const before = drawn.get(name);
      const width = document.getElementById(`${name}-figure`).clientWidth;
      if (before && Math.abs(before.width - width) < 8) continue;
      try {
        await draw(name);
      } catch (error) {
        console.error(`figure ${name}: ${error.message}`);
        document.getElementById(`${name}-figure`).textContent = `This figure could not be drawn: ${error.message}`;
      }
      await new Promise((resolve) => setTimeout(resolve)); // the reader may scroll meanwhile
    }
    reach();
    root.dataset.figures = "drawn";
  }

  /** What scrolls sideways is reached by the keyboard; what does not is no stop. */
  function reach() {
    for (const box of document.querySelectorAll(".wide, .figure")) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
      scrolls ? box.setAttribute("tabindex", "0") : box.removeAttribute("tabindex");
    }
  }
  for (const one of document.querySelectorAll("details")) one.addEventListener("toggle", reach);

  let waiting = null, busy = Promise.resolve();
  addEventListener("resize", () => {
    root.dataset.figures = "waiting";
    clearTimeout(waiting);
    waiting = setTimeout(() => { busy = busy.then(drawAll); }, 200);
  });
  busy = busy.then(drawAll);

  // --- Legend: one choice for all figures ----------------------------------------------------------------------
  const keys = document.querySelectorAll("button.key");
  for (const key of keys) {
    key.disabled = false;
    key.addEventListener("click", () => {
      const name = key.dataset.optimizer;
      muted.has(name) ? muted.delete(name) : muted.add(name);
      for (const other of keys) {
        if (other.dataset.optimizer === name) other.setAttribute("aria-pressed", String(!muted.has(name)));
      }
      for (const { view } of drawn.values()) view.signal("muted", [...muted]).runAsync();
    });
  }

  // --- Data ----------------------------------------------------------------------------------------------------
  for (const save of document.querySelectorAll("button.save")) {
    save.hidden = false;
    save.addEventListener("click", () => {
      const name = save.dataset.figure;
      const address = URL.createObjectURL(new Blob([figures[name].data], { type: "text/csv" }));
      const link = Object.assign(document.createElement("a"), { href: address, download: `${name}.csv` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    });
  }
})();
