"use strict";
const { pools, items, maps, words } = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["#0969da", "#d9480f", "#2da44e", "#8250df", "#bf8700", "#cf222e", "#0a7ea4", "#6e7781"];
const EMERGENT = ["emergent"], DECLARED = ["declared-emergent", "bridged"], TRAINED = ["trained", "declared-trained"];
const percent = (x) => (x === null || x === undefined ? "" : (100 * x).toFixed(1));
const find = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") node.addEventListener("click", value);
    else if (value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function fill(id, ...children) {
  find(id).replaceChildren(...children.filter((child) => child !== null && child !== undefined));
}

function table(header, rows) {
  const head = make("tr", {}, ...header.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((row) => make("tr", {}, ...row.map((text) => make("td", {}, text))));
  return make("div", { class: "wide" }, make("table", { class: "data" }, make("thead", {}, head), make("tbody", {}, ...body)));
}

function kind(status) {
  if (EMERGENT.includes(status)) return "emergent";
  if (DECLARED.includes(status)) return "declared";
  return TRAINED.includes(status) ? "trained" : "none";
}

function shade(value) {
  return { ink: value > 0.55 ? "#fff" : "#1f2328", paper: `hsl(188 ${25 + 35 * value}% ${94 - 62 * value}%)` };
}

function drawMatrix(name) {
  const report = pools[name], k = String(report.protocol.primary_k), names = report.protocol.modalities;
  const chance = report.pairs.map((cell) => cell.chance[k]);
  find("matrix-words").textContent = `Rows are query modalities, columns gallery modalities. Cells: R@${k} in %, ` +
    `with its 95 % interval. Chance: ${[...new Set([Math.min(...chance), Math.max(...chance)])].map(percent).join(" to ")} %. Select a cell for details.`;
  const head = make("tr", {}, make("td"), ...names.map((each) => make("th", { scope: "col" }, each)));
  const rows = names.map((query) => make("tr", {}, make("th", { scope: "row" }, query), ...names.map((gallery) => {
    const cell = report.pairs.find((each) => each.query === query && each.gallery === gallery);
    if (!cell) return make("td", {}, make("div", { class: "empty" }));
    const { ink, paper } = shade(cell.recall[k]);
    const [low, high] = cell.ci95[k];
    const button = make("button", {
      class: kind(cell.status), "aria-pressed": "false", style: `background-color:${paper};color:${ink}`,
      "aria-label": `${query} to ${gallery}: ${percent(cell.recall[k])} %, ${cell.status}`,
      onclick: () => choose(name, cell, button),
    }, make("b", {}, (100 * cell.recall[k]).toFixed(0)), make("small", {}, `${(100 * low).toFixed(0)}–${(100 * high).toFixed(0)}`),
    make("small", {}, cell.status));
    return make("td", {}, button);
  })));
  fill("matrix", head, ...rows);
}

function choose(name, cell, button) {
  for (const other of document.querySelectorAll("#matrix button")) other.setAttribute("aria-pressed", String(other === button));
  drawCell(name, cell);
}

function fact(value, label) {
  return make("div", { class: "fact" }, make("b", {}, value), make("span", {}, label));
}

function drawCell(name, cell) {
  const report = pools[name], ks = report.protocol.k.map(String), k = String(report.protocol.primary_k);
  const p = cell.p_holm === null ? cell.p : cell.p_holm;
  const counted = (counts) => Object.entries(counts).filter(([, count]) => typeof count === "number").map(([side, count]) => `${side} ${count}`).join(", ");
  const overlap = counted(cell.overlap);
  const rows = ks.map((each) => [`R@${each}`, percent(cell.recall[each]), cell.ci95[each].map(percent).join("–"), percent(cell.chance[each]),
    percent(cell.shuffled[each]), percent(cell.untrained?.[each]), percent(cell.ceiling?.[each]), percent(cell.recall_clean?.[each])]);
  const legs = cell.legs.filter((path) => path.length > 1).map((path) => make("p", { class: "quiet" }, "Legs: " +
    path.map(([a, b, value]) => `${a} → ${b} ${percent(value) || "not measured"}`).join(", ")));
  const told = [cell.unpaired_steps ? `unpaired steps: ${cell.unpaired_steps}` : "", cell.shaped_by?.length ? `shaped by ${cell.shaped_by.join(", ")}` : "",
    cell.selected_on?.length ? `selected on ${cell.selected_on.join(", ")}` : "", cell.bridge ? `bridged by ${cell.bridge} media` : ""].filter(Boolean);
  fill("cell", 
    make("h2", {}, `${cell.query} → ${cell.gallery}`),
    make("p", {}, `Status: ${cell.status}. `, make("span", { class: "quiet" }, words[cell.status] || "")),
    make("div", { class: "facts" }, fact(`${percent(cell.recall[k])} %`, `R@${k} of ${cell.n} queries among ${cell.gallery_size}`),
      fact(String(cell.median_rank), "median rank"), fact(p < 0.001 ? p.toExponential(0) : p.toFixed(3), cell.p_holm === null ? "p by permutation" : "p after Holm"),
      fact(overlap || "unknown", "items seen in training"),
      cell.overlap.near ? fact(counted(cell.overlap.near) || "unknown", "near-duplicates of training media") : null),
    table(["", "recall", "95 %", "chance", "shuffled", "untrained", "ceiling", "clean"], rows),
    told.length ? make("p", { class: "quiet" }, told.join("; ")) : null, ...legs, ...drawExamples(name, cell));
}

function drawItem(id, role, right) {
  const item = items[id];
  const parts = [make("div", { class: "role" }, role)];
  if (item.picture) parts.push(make("img", { src: item.picture, alt: item.name }));
  if (item.sound) parts.push(make("audio", { src: item.sound, controls: "", preload: "none" }));
  if (item.words) parts.push(make("div", {}, item.words));
  return make("div", { class: right ? "item right" : "item" }, ...parts);
}

function drawExamples(name, cell) {
  const examples = (pools[name].examples || {})[`${cell.query}>${cell.gallery}`];
  if (!examples) return [];
  const rows = examples.map((each) => make("div", { class: "example" }, drawItem(each.query, `query; rank of the correct item: ${each.rank}`),
    make("div", { class: "arrow" }, "→"), ...each.found.map(([id, right], place) => drawItem(id, `${place + 1}.`, right)),
    each.right === null ? null : make("div", { class: "arrow" }, "…"), each.right === null ? null : drawItem(each.right, `correct item, rank ${each.rank}`, true)));
  return [make("h3", {}, "Queries with the best and the worst ranks"), make("p", { class: "quiet" }, "Green frames: correct items. Queries are selected by rank only."), ...rows];
}

function drawMap(name) {
  const map = maps[name];
  if (!map) return fill("map");
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 1000 640");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "map of the space");
  map.points.forEach(([x, y, modality, label]) => {
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [key, value] of Object.entries({ cx: 30 + 940 * x, cy: 30 + 580 * y, r: 4, fill: COLOURS[modality % COLOURS.length], "fill-opacity": 0.65 })) dot.setAttribute(key, value);
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${map.modalities[modality]}: ${label}`;
    dot.append(title);
    svg.append(dot);
  });
  const legend = map.modalities.flatMap((each, i) => [make("span", { class: "swatch", style: `background:${COLOURS[i % COLOURS.length]}` }), each]);
  fill("map", make("h2", {}, "Map of the space"), make("p", { class: "quiet" }, map.words), make("p", {}, ...legend), svg);
}

function drawTables(name) {
  const report = pools[name], k = String(report.protocol.primary_k), parts = [];
  const fold = (title, node) => parts.push(make("details", {}, make("summary", {}, title), node));
  if (report.zero_shot.length) fold("Zero-shot classification", table(["modality", "attribute", "status", "accuracy or mAP", "95 %", "chance", "permuted labels"],
    report.zero_shot.map((cell) => [cell.modality, cell.attribute, cell.status, percent(cell.accuracy ?? cell.map), cell.ci95.map(percent).join("–"), percent(cell.chance), cell.control95.map(percent).join("–")])));
  if (report.composed) fold("Composed queries", table(["query → gallery", `R@${k}`, "first modality alone", "second modality alone"],
    report.composed.map((cell) => [`${cell.query.join(" + ")} → ${cell.gallery}`, percent(cell.recall[k]), ...cell.alone.map((each) => percent(each[k]))])));
  if (report.controls) fold("Controls", table(["control", "variant", "query → gallery", `R@${k} of the control`, `R@${k}`],
    report.controls.map((cell) => [cell.control, cell.by, `${cell.query} → ${cell.gallery}`, percent(cell.value[k]), percent(cell.recall[k])])));
  if (report.choices) fold("Multiple choice (hard distractors)", table(["probe", "query → gallery", "n", "accuracy", "95 %", "chance"],
    report.choices.map((cell) => [cell.probe, `${cell.query} → ${cell.gallery}`, String(cell.n), percent(cell.accuracy), cell.ci95.map(percent).join("–"), percent(cell.chance)])));
  if (report.probes) fold("Linear probes", table(["modality", "attribute", "shots per class", "accuracy", "95 %", "chance"],
    report.probes.map((cell) => [cell.modality, cell.attribute, cell.shots || "all", percent(cell.accuracy), cell.ci95.map(percent).join("–"), percent(cell.chance)])));
  if (report.slices) fold(`R@${k} by attribute`, table(["attribute", "value", "query → gallery", "n", `R@${k}`],
    report.slices.map((cell) => [cell.attribute, cell.value, `${cell.query} → ${cell.gallery}`, String(cell.n), percent(cell.recall)])));
  fold("Modality gap", table(["pair", "centroid distance", "alignment", "uniformity", "same-modality neighbour rate", "expected under mixing"],
    report.gap.map((cell) => [cell.pair.join("–"), cell.centroid_distance.toFixed(2), cell.alignment.toFixed(2), cell.uniformity?.toFixed(2) ?? "", percent(cell.own_neighbours), percent(cell.own_by_chance)])));
  fill("tables", make("h2", {}, "Further results of this pool"), ...parts);
}

function drawRecord(name) {
  const { ledger, protocol, system } = pools[name];
  const pairs = (ledger.pairs || []).map((pair) => [pair.of.join("–"), String(pair.paired.steps), String(pair.paired.examples), String(pair.unpaired.steps)]);
  const declared = (ledger.declarations || []).map((each) => make("p", { class: "quiet" }, `Declared, not recorded: ${each.pair.join("–")}, by ${each.by}. ${each.note}`));
  const why = ledger.unknown_reason ? make("p", {}, `Training history unknown: ${ledger.unknown_reason}`) : null;
  fill("ledger", make("h2", {}, "Ledger"), make("p", { class: "quiet" }, "The pairs that contributed to the loss, as recorded. The ledger detects accidents and swapped files; it does not prevent forgery."),
    why, pairs.length ? table(["pair", "steps", "examples", "unpaired steps"], pairs) : null, ...declared);
  fill("protocol", make("h2", {}, "Protocol"), make("pre", {}, JSON.stringify({ ...protocol, system }, null, 1)));
}

function show(name) {
  for (const button of document.querySelectorAll("#pools button")) button.setAttribute("aria-pressed", String(button.textContent === name));
  const { system, protocol } = pools[name];
  find("summary").textContent = `Space ${system.space}: ${protocol.modalities.join(", ")}; pivot ${system.pivot}, ${system.dim} dimensions. ` +
    `${protocol.pool} events, ${protocol.left_out} left out because a modality is missing.`;
  drawMatrix(name); drawMap(name); drawTables(name); drawRecord(name);
  const cells = pools[name].pairs, first = cells.find((cell) => EMERGENT.concat(DECLARED).includes(cell.status)) || cells[0];
  choose(name, first, document.querySelectorAll("#matrix button")[cells.indexOf(first)]);
}

const names = Object.keys(pools);
if (names.length > 1) find("pools").append(...names.map((name) => make("button", { "aria-pressed": "false", onclick: () => show(name) }, name)));
show(names[0]);
