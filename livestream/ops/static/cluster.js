// The cluster as this node knows it: fetched every second, shown as a table and on a map.
"use strict";

const PERIOD_MS = 1000, ANSWER_MS = 5000;
const MOST_LABELS = 60;
const ROLES = ["ingest", "origin", "edge", "all"];
const SVG = "http://www.w3.org/2000/svg";

// Rough outlines of the land, as longitude and latitude: enough to see which continent a node is on.
const LAND = [
  "-168,66 -156,71 -128,70 -95,72 -82,68 -94,60 -82,55 -79,52 -77,62 -65,58 -56,52 -66,45 -70,42 -76,35 -81,31 -80,25 "
    + "-83,30 -90,30 -97,27 -97,20 -91,19 -87,21 -88,16 -83,10 -78,8 -85,10 -94,16 -105,20 -112,30 -117,33 -124,40 "
    + "-124,48 -132,56 -150,60 -165,55 -158,59 -166,62",
  "-78,8 -72,12 -60,9 -51,1 -35,-6 -39,-17 -48,-26 -58,-36 -65,-43 -68,-53 -74,-50 -73,-37 -70,-20 -80,-5",
  "-6,36 10,37 20,31 33,31 43,12 51,12 40,-3 40,-16 33,-27 27,-34 18,-34 12,-18 13,-6 9,4 -8,4 -17,14 -16,22",
  "-9,37 -9,43 -2,44 -4,48 4,52 8,57 12,54 21,55 23,60 29,60 24,66 20,63 17,58 11,59 5,60 14,68 26,71 41,67 44,67 "
    + "54,69 68,69 73,73 104,78 113,74 140,73 160,70 180,69 178,63 163,60 156,51 155,60 142,59 135,54 140,48 130,42 "
    + "127,35 126,38 121,39 122,31 117,23 108,21 109,12 105,9 100,13 104,1 98,9 97,17 91,22 80,15 77,8 72,20 66,25 "
    + "57,26 50,30 56,24 59,22 44,13 35,28 36,36 27,37 29,41 41,41 34,45 28,44 23,36 13,45 18,40 16,38 9,44 3,43",
  "-54,83 -73,78 -54,68 -44,60 -22,70 -18,80 -33,83",
  "114,-22 122,-17 131,-12 136,-12 140,-17 142,-11 146,-19 153,-26 150,-37 143,-39 136,-34 129,-32 115,-34",
  "-5,50 1,51 0,53 -3,59 -6,57",
  "131,31 136,34 141,36 142,40 145,44 141,45 140,41 136,37",
  "44,-25 50,-15 49,-13 44,-17",
  "96,5 104,-2 106,-6 115,-8 105,-7",
  "109,1 117,7 119,1 116,-4 110,-3",
  "131,-1 141,-3 150,-10 138,-8",
  "173,-35 178,-38 174,-41 168,-46 167,-45",
];

const rows = new Map(), places = new Map();
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

const total = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);
const number = (value, digits = 0) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const level = (utilisation) => (utilisation > 0.85 ? "full" : utilisation > 0.6 ? "high" : "low");
const percent = (utilisation) => `${number(utilisation * 100, utilisation < 0.1 ? 1 : 0)} %`;

function order(a, b) {
  return ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || a.id.localeCompare(b.id, "en", { numeric: true });
}

function drawMap() {
  const map = byId("map");
  for (let longitude = -150; longitude <= 150; longitude += 30)
    map.append(drawn("path", { class: "grid", d: `M${longitude},-84V66` }));
  for (let latitude = -60; latitude <= 60; latitude += 30)
    map.append(drawn("path", { class: "grid", d: `M-180,${-latitude}H180` }));
  for (const outline of LAND) {
    const points = outline.split(" ").map((point) => point.split(",").map(Number));
    map.append(drawn("polygon", { class: "land", points: points.map(([x, y]) => `${x},${-y}`).join(" ") }));
  }
}

function newPlace() {
  const group = drawn("g", { class: "place" });
  group.append(drawn("title", {}), drawn("circle", { r: 2.4 }), drawn("text", {}));
  byId("map").append(group);
  return group;
}

function showPlaces(nodes) {
  const shown = [], nowhere = [];
  for (const node of nodes) {
    if (node.latitude === null) {
      nowhere.push(node.id);
      continue;
    }
    if (!places.has(node.id)) places.set(node.id, newPlace());
    const place = places.get(node.id), [title, , label] = place.children;
    const at = { x: node.longitude, y: -node.latitude };
    const near = shown.filter((other) => Math.abs(other.x - at.x) < 20);
    at.y += 4 * near.filter((other) => other.x === at.x && other.where === node.latitude).length;
    at.label = at.y;
    near.sort((a, b) => a.label - b.label);
    for (const other of near) if (Math.abs(other.label - at.label) < 3.6) at.label = other.label + 3.6;
    shown.push({ ...at, where: node.latitude });
    place.setAttribute("transform", `translate(${at.x},${at.y})`);
    label.setAttribute("x", at.x > 140 ? -3.4 : 3.4);
    label.setAttribute("y", 1.1 + at.label - at.y);
    label.setAttribute("text-anchor", at.x > 140 ? "end" : "start");
    place.dataset.load = level(node.utilisation);
    place.dataset.state = node.state;
    say(title, `${node.id}: ${node.role}, ${state(node)}, ${percent(node.utilisation)}`);
    say(label, nodes.length > MOST_LABELS ? "" : node.id);
  }
  say(byId("nowhere"), nowhere.length ? `without a location: ${nowhere.join(", ")}` : "");
}

function newRow() {
  const bar = element("span", { class: "load" }, element("i"), element("b"));
  const cells = ["", "", "state", "", "", "number", "number", "number", "", "streams", "number", "number"];
  const row = element("tr", {}, ...cells.map((kind) => element("td", { class: kind })));
  row.children[4].append(bar);
  return row;
}

function streams(node) {
  const named = Object.entries(node.streams).sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  const texts = named.map(([name, viewers]) => (viewers ? `${name} (${number(viewers)})` : name));
  const more = node.stream_count - named.length;
  return texts.join(", ") + (more > 0 ? `, and ${number(more)} more` : "");
}

function viewers(node) {
  return Object.entries(node.viewers).sort().map(([protocol, count]) => `${protocol} ${number(count)}`).join(", ");
}

function state(node) {
  if (!node.cut_off_since) return node.state;
  const since = `cut off since ${new Date(node.cut_off_since).toLocaleTimeString("en-GB")}`;
  return node.state === "cut_off" ? since : `${node.state}, ${since}`;
}

function answers(node) {
  if (node.state !== "cut_off") return "";
  const age = node.answered_age_s;
  return age === null ? "no answer since it was cut off, or not asked" : `answered ${number(age)} s ago`;
}

function showRow(node) {
  if (!rows.has(node.id)) rows.set(node.id, newRow());
  const row = rows.get(node.id), cells = row.children, bar = cells[4].firstChild;
  row.dataset.state = node.state;
  row.dataset.self = node.is_self;
  const texts = {
    0: node.id, 1: node.role, 2: state(node), 3: node.region, 5: number(node.requests_per_s),
    6: number(node.bits_per_s / 1e6, 1), 7: number(node.connections), 8: viewers(node), 9: streams(node),
    10: `${number(node.delay_ms)} ms`, 11: node.is_self ? "" : `${number(node.age_s, 1)} s ago`,
  };
  for (const [index, text] of Object.entries(texts)) say(cells[index], text);
  cells[0].title = `${node.http} ${node.rtmp}`.trim();
  cells[2].title = answers(node);
  cells[10].classList.toggle("late", node.delay_ms > 100);
  cells[11].classList.toggle("late", node.age_s > 1.5);
  cells[11].title = Math.abs(node.clock_ahead_s) > 1 ? `its clock is ${number(node.clock_ahead_s, 1)} s ahead` : "";
  bar.dataset.load = level(node.utilisation);
  bar.firstChild.style.width = `${Math.min(node.utilisation, 1) * 100}%`;
  say(bar.lastChild, percent(node.utilisation));
  return row;
}

function forget(shown, nodes) {
  const ids = new Set(nodes.map((node) => node.id));
  for (const [id, gone] of shown) {
    if (!ids.has(id)) {
      gone.remove();
      shown.delete(id);
    }
  }
}

function show(nodes) {
  nodes.sort(order);
  forget(rows, nodes);
  forget(places, nodes);
  const body = byId("nodes");
  nodes.map(showRow).forEach((row, index) => {
    if (body.children[index] !== row) body.insertBefore(row, body.children[index] || null);
  });
  showPlaces(nodes);
  const heard = nodes.filter((node) => node.state !== "cut_off");
  const counts = ROLES.map((role) => [role, heard.filter((node) => node.role === role).length]);
  const watched = heard.filter((node) => node.role === "edge" || node.role === "all");
  const parts = counts.filter(([, count]) => count).map(([role, count]) => `${number(count)} ${role}`);
  if (heard.length < nodes.length) parts.push(`${number(nodes.length - heard.length)} cut off`);
  parts.push(`${number(watched.reduce((sum, node) => sum + total(node.viewers), 0))} viewers`);
  parts.push(`${number(watched.reduce((sum, node) => sum + node.bits_per_s, 0) / 1e6, 1)} Mbit/s to them`);
  byId("summary").dataset.state = "";
  say(byId("summary"), parts.join(" · "));
}

let shownAt = null;

async function look() {
  try {
    const answer = await fetch("/api/v1/nodes", { signal: AbortSignal.timeout(ANSWER_MS), cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show((await answer.json()).nodes);
    shownAt = new Date();
  } catch {
    byId("summary").dataset.state = "lost";
    say(byId("summary"), "This node does not respond"
      + (shownAt ? `; last update at ${shownAt.toLocaleTimeString("en-GB")}` : ""));
  }
  setTimeout(look, PERIOD_MS);
}

drawMap();
look();
