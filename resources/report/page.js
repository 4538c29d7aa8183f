// What the page does beyond being read: variants shown or hidden, tables sorted and filtered, values under the pointer, other axes.
// Without a script, and on paper, the page is whole all the same.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("figures").textContent);
  const every = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (name, attributes = {}, ...inside) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...inside);
    return made;
  };
  const draw = (name, attributes = {}, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const colour = (index) => `var(--series-${index % data.colours})`;

  // Four significant figures, as everywhere in the report.
  const figure = (value) => {
    const size = Math.abs(value);
    for (const [limit, suffix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"]]) if (size >= limit) return `${Number((value / limit).toPrecision(4))}${suffix}`;
    if (size >= 1000) return Math.round(value).toLocaleString("en-US");
    return size > 0 && size < 1e-3 ? value.toExponential(3) : String(Number(value.toPrecision(4)));
  };

  // --- Variants ---------------------------------------------------------------------------------------------------------------------------
  const hidden = new Set();
  const filtered = new WeakSet();
  const refresh = () => {
    for (const each of every("[data-variant]")) each.classList.toggle("off", hidden.has(Number(each.dataset.variant)));
    for (const row of every("table.sortable tbody tr")) row.classList.toggle("out", filtered.has(row));
    for (const picture of every("svg[data-x]")) scatter(picture);
  };
  if (data.variants.length > 1) {
    const bar = make("div", { class: "toolbar", role: "group", "aria-label": "Variants shown" });
    data.variants.forEach((variant, index) => {
      const box = make("input", { type: "checkbox" });
      box.checked = true;
      box.addEventListener("change", () => { box.checked ? hidden.delete(index) : hidden.add(index); refresh(); });
      bar.append(make("label", { dir: "auto", title: variant.name }, box, make("span", { class: "dot", style: `background: ${colour(index)}` }), variant.name));
    });
    document.querySelector("main").prepend(bar);
  }

  // --- Tables -----------------------------------------------------------------------------------------------------------------------------
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (!("value" in cell.dataset)) return cell.textContent.trim().toLocaleLowerCase();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  for (const table of every("table.sortable")) {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    const order = [...body.rows];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", class: "sort", title: `${head.title ? head.title + ": " : ""}sort` }, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort") || "none"];
        for (const other of heads) other.removeAttribute("aria-sort");
        if (next !== "none") head.setAttribute("aria-sort", next);
        const sign = next === "descending" ? -1 : 1;
        const rows = next === "none" ? order : [...order].sort((a, b) => {
          const [left, right] = [valueOf(a, column), valueOf(b, column)];
          if (left === null || right === null) return (left === null) - (right === null);
          return sign * (typeof left === "number" ? left - right : left.localeCompare(right));
        });
        body.append(...rows);
      });
    });
    if (order.length > 2) {
      const wanted = make("input", { type: "search", class: "filter", placeholder: "Filter rows: a name, or a verdict", "aria-label": "Filter the rows of the table below" });
      wanted.addEventListener("input", () => {
        const words = wanted.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
        for (const row of order) {
          const text = row.textContent.toLocaleLowerCase();
          words.every((word) => text.includes(word)) ? filtered.delete(row) : filtered.add(row);
        }
        refresh();
      });
      table.parentElement.before(wanted);
    }
  }

  // --- Other axes -------------------------------------------------------------------------------------------------------------------------
  const WIDTH = 640, HEIGHT = 380, LEFT = 72, RIGHT = 620, TOP = 16, BOTTOM = 328;
  const scaleOf = (values, start, end) => {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    const logarithmic = low > 0 && high / low > 4;
    if (logarithmic) { const air = (high / low) ** 0.12; low /= air; high *= air; }
    else { const air = (high - low) * 0.12 || Math.abs(high) * 0.05 || 1; low -= air; high += air; }
    const [a, b] = logarithmic ? [Math.log(low), Math.log(high)] : [low, high];
    const at = (value) => start + ((logarithmic ? Math.log(value) : value) - a) / (b - a) * (end - start);
    return { at, ticks: logarithmic ? logTicks(low, high) : linearTicks(low, high) };
  };
  const linearTicks = (low, high) => {
    const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
    const found = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-9); k++) found.push(Number((k * step).toPrecision(12)));
    return found;
  };
  const logTicks = (low, high) => {
    for (const factors of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]]) {
      const found = [];
      for (let decade = Math.floor(Math.log10(low)); decade <= Math.ceil(Math.log10(high)); decade++)
        for (const factor of factors) { const value = factor * 10 ** decade; if (value >= low && value <= high) found.push(value); }
      if (found.length >= 4) return found;
    }
    return linearTicks(low, high);
  };
  const better = { lower: " (less is better)", higher: " (more is better)", none: "" };
  const beats = (a, b, signs) => {
    const gains = signs.map((sign, axis) => sign * (b[axis] - a[axis]));
    return gains.every((gain) => gain >= 0) && gains.some((gain) => gain > 0);
  };
  const scatter = (picture) => {
    const keys = [picture.dataset.x, picture.dataset.y];
    const placed = data.variants.map((variant, index) => ({ index, variant, values: keys.map((key) => variant.results[key]) }))
      .filter((each) => each.values.every(Boolean) && !hidden.has(each.index));
    picture.replaceChildren();
    const [x, y] = keys.map((key) => data.keys[key]);
    picture.previousElementSibling.textContent = `${y.name} against ${x.name}`.replace(/^./, (letter) => letter.toUpperCase());
    picture.setAttribute("aria-label", picture.previousElementSibling.textContent);
    if (!placed.length) {
      picture.append(draw("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle", class: "tick" }, "No variant that is shown has both figures."));
      return;
    }
    const across = scaleOf(placed.flatMap((each) => each.values[0]), LEFT, RIGHT);
    const up = scaleOf(placed.flatMap((each) => each.values[1]), BOTTOM, TOP);
    for (const value of across.ticks) {
      const at = across.at(value);
      picture.append(draw("line", { class: "grid", x1: at, x2: at, y1: TOP, y2: BOTTOM }), draw("text", { class: "tick", x: at, y: BOTTOM + 18, "text-anchor": "middle" }, figure(value)));
    }
    for (const value of up.ticks) {
      const at = up.at(value);
      picture.append(draw("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: at, y2: at }), draw("text", { class: "tick", x: LEFT - 8, y: at + 4, "text-anchor": "end" }, figure(value)));
    }
    picture.append(
      draw("line", { class: "axis", x1: LEFT, x2: RIGHT, y1: BOTTOM, y2: BOTTOM }),
      draw("text", { class: "axis-title", x: (LEFT + RIGHT) / 2, y: HEIGHT - 10, "text-anchor": "middle" }, x.short + better[x.better]),
      draw("text", { class: "axis-title", transform: `translate(16 ${(TOP + BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.short + better[y.better]),
    );
    const signs = [x, y].map((each) => (each.better === "higher" ? -1 : 1));
    const points = placed.map((each) => each.values.map((bounds) => bounds[0]));
    const front = placed.map((_, index) => !points.some((other) => beats(other, points[index], signs)));
    const line = placed.map((each, index) => [across.at(points[index][0]), up.at(points[index][1])]).filter((_, index) => front[index]).sort((a, b) => a[0] - b[0]);
    picture.append(draw("path", { class: "front", d: line.map(([px, py], index) => `${index ? "L" : "M"}${px} ${py}`).join("") }));
    const labels = [];
    placed.forEach(({ index, variant, values }, place) => {
      const [px, py] = [across.at(values[0][0]), up.at(values[1][0])];
      const over = variant.over ? " over" : "", stroke = `stroke: ${colour(index)}`;
      picture.append(
        draw("line", { class: `whisker${over}`, style: stroke, x1: across.at(values[0][1]), x2: across.at(values[0][2]), y1: py, y2: py }),
        draw("line", { class: `whisker${over}`, style: stroke, x1: px, x2: px, y1: up.at(values[1][1]), y2: up.at(values[1][2]) }),
        draw("circle", { class: (front[place] ? "on-front" : "beaten") + over, style: `--mark: ${colour(index)}`, cx: px, cy: py, r: 5.5,
          "data-hint": `${variant.name}: ${x.name} ${figure(values[0][0])}, ${y.name} ${figure(values[1][0])}` }),
      );
      labels.push({ name: variant.name, px, py, right: px > (LEFT + RIGHT) / 2, pale: front[place] ? "" : " pale", over });
    });
    const standing = [];
    for (const each of labels.sort((a, b) => a.py - b.py)) {
      let at = each.py - 7;
      for (const other of standing) if (other.right === each.right && Math.abs(other.px - each.px) < 120 && at - other.at < 15) at = other.at + 15;
      standing.push({ ...each, at });
      const name = each.name.length > 27 ? `${each.name.slice(0, 26)}…` : each.name;
      picture.append(draw("text", { class: `name${each.pale}${each.over}`, x: each.px + (each.right ? -9 : 9), y: at, "text-anchor": each.right ? "end" : "start" }, name));
    }
  };
  const shared = Object.keys(data.keys).filter((key) => data.variants.filter((variant) => key in variant.results).length > 1);
  for (const picture of every("svg[data-x]")) {
    const choices = make("div", { class: "axes" });
    for (const [axis, word] of [["x", "Across"], ["y", "Up"]]) {
      const choice = make("select", {}, ...shared.map((key) => make("option", { value: key }, data.keys[key].name)));
      choice.value = picture.dataset[axis];
      choice.addEventListener("change", () => { picture.dataset[axis] = choice.value; scatter(picture); });
      choices.append(make("label", {}, `${word} `, choice));
    }
    picture.closest("figure").append(choices);
  }

  // --- Values under the pointer -----------------------------------------------------------------------------------------------------------
  // The browser's own hint would come late and beside ours.
  for (const title of every("svg title")) { title.parentElement.setAttribute("data-hint", title.textContent); title.remove(); }
  const hint = make("div", { class: "hint", role: "status" });
  document.body.append(hint);
  const back = ([low, high, start, end, logarithmic], pixel) => {
    const share = (pixel - start) / (end - start);
    return logarithmic ? Math.exp(Math.log(low) + share * (Math.log(high) - Math.log(low))) : low + share * (high - low);
  };
  document.addEventListener("pointermove", (event) => {
    const over = event.target.closest ? event.target.closest("[data-hint]") : null;
    hint.classList.toggle("shown", Boolean(over));
    if (!over) return;
    let text = over.dataset.hint;
    const picture = over.closest("svg");
    if (picture.dataset.axes && over.classList.contains("curve")) {
      const axes = JSON.parse(picture.dataset.axes);
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
      text += `: ${figure(back(axes.y, at.y))} ${axes.y_title} at ${figure(back(axes.x, at.x))} ${axes.x_title}`;
    }
    hint.textContent = text;
    const right = event.clientX + 14 + hint.offsetWidth > window.innerWidth;
    hint.style.left = `${Math.max(4, right ? event.clientX - hint.offsetWidth - 10 : event.clientX + 14)}px`;
    hint.style.top = `${Math.max(4, event.clientY - hint.offsetHeight - 8)}px`;
  });
  refresh();
})();
