// The conversation: the turns from the start to the head, each a card that changes in place.

import { fill } from "./dom.js";
import { TurnCard } from "./card.js";

/** The list of turns of the branch. */
export class Conversation {
  #cards = new Map();
  #shown = "";

  constructor(store, actions) {
    this.store = store;
    this.actions = actions;
    this.list = document.getElementById("turns");
    this.scroll = document.getElementById("scroll");
    this.empty = document.getElementById("empty");
    store.addEventListener("change", () => this.update());
  }

  update() {
    const branch = this.store.branch();
    this.empty.hidden = branch.length > 0;
    const atEnd = this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < 80;
    const cards = branch.map((turn) => this.#card(turn));
    const shown = `${this.store.session?.id} ${branch.map((turn) => turn.number).join(" ")}`;
    if (shown !== this.#shown) fill(this.list, cards.map((card) => card.element));
    for (const [index, card] of cards.entries()) card.update(branch[index], this.store.liveOf(branch[index]));
    // A plan is read from its top; what comes after must not push it away.
    const reading = this.list.querySelector(".plan") !== null;
    if (shown !== this.#shown || (atEnd && !reading)) this.scroll.scrollTop = this.scroll.scrollHeight;
    this.#shown = shown;
  }

  /** Bring a turn's card into view, if it is on the branch. */
  reveal(number) {
    this.#cards.get(number)?.element.scrollIntoView({ block: "nearest" });
  }

  #card(turn) {
    const known = this.#cards.get(turn.number);
    if (known?.jobId === turn.job_id) return known;
    const made = new TurnCard(turn, this.store, this.actions);
    this.#cards.set(turn.number, made);
    return made;
  }
}
