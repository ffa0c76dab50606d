// The lineage: every turn of the session as a tree that grows to the right, with dashed lines from what a turn looked at.

import { el, fill, svg } from "./dom.js";
import { posterOf, thumbnail } from "./media.js";
import { isOpen } from "./store.js";
import { standing } from "./wording.js";

const COLUMN_PX = 104;
const ROW_PX = 86;
const NODE_PX = 64;
const EDGE_PX = 14;

/** Places for the turns: columns by depth, rows so that first children stay level with their parent. */
export function layOut(turns) {
  const children = new Map();
  for (const turn of turns) children.set(turn.parent ?? 0, [...(children.get(turn.parent ?? 0) ?? []), turn.number]);
  const places = [];
  let rows = 0;
  // Without recursion: a conversation may be thousands of turns deep.
  const stack = [{ number: 0, depth: 0, siblings: 1, position: 1, opensRow: false }];
  while (stack.length) {
    const node = stack.pop();
    if (node.opensRow) rows += 1;
    const below = children.get(node.number) ?? [];
    places.push({ ...node, row: rows, children: below });
    for (let index = below.length - 1; index >= 0; index -= 1) {
      stack.push({ number: below[index], depth: node.depth + 1, siblings: below.length, position: index + 1, opensRow: index > 0 });
    }
  }
  return places;
}

/** The tree. One of its nodes is in the tab order; arrow keys move among them, Enter shows a turn. */
export class Lineage {
  #nodes = new Map();
  #shape = "";

  constructor(store, actions) {
    this.store = store;
    this.actions = actions;
    this.element = document.getElementById("tree");
    this.scroll = document.getElementById("tree-scroll");
    this.element.setAttribute("role", "tree");
    this.element.setAttribute("aria-labelledby", "lineage-title");
    this.element.addEventListener("keydown", (event) => this.#onKey(event));
    store.addEventListener("change", () => this.update());
  }

  update() {
    const { turns, session } = this.store;
    const shape = JSON.stringify([session?.id, turns.map((turn) => [turn.number, turn.parent, turn.job_id])]);
    if (shape !== this.#shape) this.#build(turns);
    this.#shape = shape;
    for (const { number } of this.places) this.#refresh(number);
    const current = this.store.selected ?? 0;
    if (this.#nodes.has(current) && this.current !== current) {
      this.current = current;
      const place = this.#at(current);
      this.scroll.scrollTo({ left: place.x - this.scroll.clientWidth / 2, top: place.y - this.scroll.clientHeight / 2 });
    }
    for (const [number, node] of this.#nodes) node.tabIndex = number === (this.#nodes.has(current) ? current : 0) ? 0 : -1;
  }

  #build(turns) {
    this.places = layOut(turns);
    const depth = Math.max(...this.places.map((place) => place.depth));
    const rows = Math.max(...this.places.map((place) => place.row)) + 1;
    this.element.style.width = `${(depth + 1) * COLUMN_PX}px`;
    this.element.style.height = `${rows * ROW_PX}px`;
    const edges = turns.map((turn) => this.#edge(turn.parent ?? 0, turn.number, "edge"));
    const seen = turns.flatMap((turn) => turn.inputs.filter((one) => one.turn && one.turn !== turn.parent).map((one) => this.#edge(one.turn, turn.number, "edge seen")));
    const focused = [...this.#nodes].find(([, node]) => node === document.activeElement)?.[0];
    this.#nodes = new Map(this.places.map((place) => [place.number, this.#node(place)]));
    fill(this.element, svg("svg", { class: "edges", "aria-hidden": "true" }, ...seen, ...edges), [...this.#nodes.values()]);
    if (focused !== undefined) this.#nodes.get(focused)?.focus();
    this.current = undefined;
  }

  #at(number) {
    const place = this.places.find((one) => one.number === number);
    return { x: place.depth * COLUMN_PX + COLUMN_PX / 2, y: place.row * ROW_PX + NODE_PX / 2 + 6 };
  }

  #edge(from, to, kind) {
    const a = this.#at(from);
    const b = this.#at(to);
    const start = from === 0 ? EDGE_PX : NODE_PX / 2;
    const middle = (a.x + start + b.x - NODE_PX / 2) / 2;
    return svg("path", { class: kind, d: `M${a.x + start} ${a.y}C${middle} ${a.y} ${middle} ${b.y} ${b.x - NODE_PX / 2} ${b.y}` });
  }

  #node(place) {
    const { x, y } = this.#at(place.number);
    const node = el("div", {
      class: place.number ? "node" : "node start",
      role: "treeitem",
      "aria-level": place.depth + 1,
      "aria-setsize": place.siblings,
      "aria-posinset": place.position,
      "aria-expanded": place.children.length ? "true" : undefined,
      data: { node: place.number },
      on: { click: () => this.#choose(place.number) },
    });
    node.style.left = `${x}px`;
    node.style.top = `${y}px`;
    return node;
  }

  #refresh(number) {
    const node = this.#nodes.get(number);
    const turn = this.store.turn(number);
    const live = turn && this.store.liveOf(turn);
    const isHead = number === (this.store.head ?? 0);
    const words = number ? `Turn ${number}: ${turn.instruction}. ${turn.job ? standing(turn.job, live) : "Deleted"}` : "The start";
    node.setAttribute("aria-label", isHead ? `${words}. The next turn follows it` : words);
    node.setAttribute("aria-selected", String(number === (this.store.selected ?? 0)));
    node.classList.toggle("head", isHead);
    node.classList.toggle("open", isOpen(turn?.job));
    node.title = turn?.instruction ?? "Start";
    const asset = live?.preview && isOpen(turn.job) ? live.preview : turn?.job?.assets.length ? posterOf(turn.job.assets) : null;
    const key = `${asset?.id} ${turn?.job?.status}`;
    if (node.dataset.shown === key) return;
    node.dataset.shown = key;
    const place = el("span", { class: `node-picture ${turn?.job?.status ?? ""}` }, asset ? thumbnail(this.store.media, asset) : number ? signOf(turn) : null);
    fill(node, place, number ? el("span", { class: "node-name" }, `turn${number}`) : el("span", { class: "node-name" }, "start"));
  }

  #choose(number) {
    if (number === 0) this.actions.toStart();
    else this.actions.show(number);
  }

  #onKey(event) {
    const from = this.places.findIndex((place) => place.number === Number(event.target.dataset?.node));
    if (from < 0) return;
    const { number, children, depth } = this.places[from];
    const parent = this.store.turn(number)?.parent ?? 0;
    const beside = (step) => {
      const row = this.places.filter((place) => place.depth === depth);
      return row[row.findIndex((place) => place.number === number) + step]?.number;
    };
    const moves = {
      ArrowRight: () => children[0],
      ArrowLeft: () => (number ? parent : undefined),
      ArrowDown: () => beside(1),
      ArrowUp: () => beside(-1),
      Home: () => 0,
      End: () => this.places.at(-1).number,
    };
    if (event.key === "Enter" || event.key === " ") this.#choose(number);
    else if (event.key in moves) this.#focus(moves[event.key]());
    else return;
    event.preventDefault();
  }

  #focus(number) {
    if (number === undefined) return;
    for (const [one, node] of this.#nodes) node.tabIndex = one === number ? 0 : -1;
    this.#nodes.get(number).focus();
  }
}

function signOf(turn) {
  const signs = { failed: "!", cancelled: "×", waiting: "?" };
  const words = turn.job?.answer ? "“ ”" : (signs[turn.job?.status] ?? "");
  return el("span", { class: "node-sign", "aria-hidden": "true" }, words);
}
