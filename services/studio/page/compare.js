// Two results held against each other: beside each other or one over the other, in step, with what differs between them.

import { button, choice, complain, el, field, fill } from "./dom.js";
import { Controls, screen } from "./clip.js";
import { measures } from "./wording.js";

let made = 0;

/** A comparison of two turns of the open session. */
export class Comparison {
  constructor(store, a, b, leave) {
    this.id = ++made;
    this.store = store;
    this.session = store.session.id;
    const shown = store.turns.filter((turn) => turn.job?.assets.length);
    const options = shown.map((turn) => [String(turn.number), `turn ${turn.number}: ${turn.instruction.slice(0, 40)}`]);
    const pick = (value) => choice(options, String(value), { on: { change: () => this.#show() } });
    this.a = pick(a);
    this.b = pick(b);
    this.mode = choice([["beside", "side by side"], ["over", "one over the other"]], "beside", { on: { change: () => this.#show() } });
    this.place = el("div", { class: "compare-place" });
    this.below = el("div", { class: "below" });
    this.verdict = el("p", { class: "verdict", role: "status" });
    this.table = el("table", { class: "differences" });
    this.element = el(
      "div",
      { class: "compare", role: "group", "aria-label": "Comparison of two turns" },
      el("div", { class: "compare-row" }, field("Left", this.a), field("Right", this.b), field("Shown", this.mode), button({ sign: "close", words: "Back", kind: "quiet small", act: leave })),
      this.place,
      this.below,
      this.verdict,
      el("div", { class: "table-scroll", tabindex: "0", role: "region", "aria-label": "Differences" }, this.table),
    );
    this.#show();
  }

  #side(select, name) {
    const turn = this.store.turn(Number(select.value));
    const asset = turn.job.assets[0];
    const shown = screen(this.store.media, asset, `${name}: result of turn ${turn.number}, ${turn.instruction}`);
    const caption = el("figcaption", {}, el("span", { class: "tag" }, `turn${turn.number}`), ` ${measures(asset)}`);
    return { turn, asset, video: shown, figure: el("figure", { class: `side ${name.toLowerCase()}` }, shown, caption) };
  }

  #show() {
    const sides = [this.#side(this.a, "Left"), this.#side(this.b, "Right")];
    const over = this.mode.value === "over";
    this.place.classList.toggle("over", over);
    fill(this.place, sides.map((side) => side.figure));
    const clips = sides.filter((side) => side.asset.kind === "video");
    fill(this.below, clips.length ? new Controls(clips).element : null, over ? this.#wipe() : null);
    this.#tell(sides);
  }

  #wipe() {
    const move = () => this.place.style.setProperty("--wipe", `${slider.value}%`);
    const slider = el("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "How much of the left one is shown, in percent", on: { input: () => move() } });
    move();
    return el("label", { class: "wipe" }, el("span", { class: "hint" }, "left"), slider, el("span", { class: "hint" }, "right"));
  }

  async #tell([one, other]) {
    const asked = (this.asked = Symbol("question"));
    try {
      const query = `a=${one.turn.number}&b=${other.turn.number}`;
      const found = await this.store.api.json(`sessions/${this.session}/compare?${query}`);
      if (asked !== this.asked) return;
      this.verdict.textContent = found.identical ? "Every pixel is the same." : found.psnr_db === null ? "Sizes or lengths differ." : `They are ${found.psnr_db.toFixed(1)} dB PSNR apart (higher is closer).`;
      const head = el("thead", {}, el("tr", {}, ["What differs", `turn ${found.a}`, `turn ${found.b}`].map((words) => el("th", { scope: "col" }, words))));
      const rows = found.differences.map(({ name, a, b }) => el("tr", {}, el("th", { scope: "row" }, name.replaceAll("_", " ")), el("td", { dir: "auto" }, a ?? "–"), el("td", { dir: "auto" }, b ?? "–")));
      fill(this.table, rows.length ? [head, el("tbody", {}, rows)] : el("caption", {}, "Asked and made in the same way."));
    } catch (error) {
      if (asked === this.asked) complain(error);
    }
  }
}
